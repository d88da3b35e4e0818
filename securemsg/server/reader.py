"""The delivery to a connection that is logged in as a device: as the device's mailbox, and as the connection, need it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from zope.interface import Interface

from securemsg.protocol.messages import Message, RoomItem


class IReader(Interface):
    """The connection that is logged in as a device, as the device's mailbox needs it."""

    def deliver_now(
        position: int, account: str, device: bytes, deposit_id: bytes, arrived_at: int, common: bytes, own: bytes
    ) -> bool:
        """
        Deliver a message, which is not of a room, before it is committed, if all messages before it were delivered and there is
        room.
        """

    def committed(
        position: int,
        account: str,
        device: bytes,
        deposit_id: bytes,
        arrived_at: int,
        common: bytes,
        own: bytes,
        room: RoomItem | None,
    ) -> bool:
        """
        Deliver a message that was just committed, unless it was delivered already; to be called before C{device.committed} is
        advanced.

        @return: whether it was delivered now.
        """

    def run(work: Coroutine[Any, Any, Message | None]) -> None:
        """Run a coroutine as part of the connection, and send the message that it returns, if any."""

    def end(code: str) -> None:
        """Hang up with this code."""


class ISubscription(Interface):
    """The delivery to a connection that is logged in as a device, as the connection needs it."""

    def acknowledge(tag: int) -> list[tuple[int, int]]:
        """
        Everything up to this tag is committed by the client.

        @return: position and size of the messages that were not acknowledged before, in order.
        @raise RemoteProtocolError: C{bad-acknowledgement}: this was never sent.
        """

    def deliver_pending() -> None:
        """Deliver messages that wait in the store, if there is room for them."""

    def left() -> None:
        """The connection has ended. It keeps its device, because its commands may still run."""
