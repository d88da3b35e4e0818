"""
Deposits of guests, which are answered only when the reader has acknowledged them.

The server's own commit means little to a guest, who has no mailbox and is gone when the connection ends. So the answer waits
for the reader's acknowledgement, however long after the commit and over whichever connection of the reader that comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from securemsg.protocol.messages import Acceptance
from securemsg.server.accounts import DeviceState
from securemsg.server.connection import ClientConnection


@define(eq=False)
class PendingAck:
    """
    A committed deposit that its readers have not acknowledged yet.

    @ivar acceptance: the answer.
    @ivar digest: that a repetition must share.
    @ivar places: devices and positions that are not acknowledged.
    """

    connection: ClientConnection
    acceptance: Acceptance
    digest: bytes
    places: list[tuple[DeviceState, int]]


@define(eq=False)
class PendingAcks:
    """All of them. Bounded: a connection may have a limited number unanswered, and one that is gone has none."""

    _by_connection: dict[ClientConnection, dict[bytes, PendingAck]] = field(init=False, factory=dict)
    _by_device: dict[DeviceState, dict[int, PendingAck]] = field(init=False, factory=dict)

    def add(
        self, connection: ClientConnection, acceptance: Acceptance, digest: bytes, places: list[tuple[DeviceState, int]]
    ) -> None:
        """Wait for the acknowledgement of these places, none of which has been acknowledged yet."""
        if not connection.is_open:
            return
        wait = PendingAck(connection, acceptance, digest, places)
        self._by_connection.setdefault(connection, {})[acceptance.deposit_id] = wait
        for device, position in places:
            self._by_device.setdefault(device, {})[position] = wait
            device.pins += 1

    def digest(self, connection: ClientConnection, deposit_id: bytes) -> bytes | None:
        """The digest of a deposit of this connection that waits; C{None}: it does not."""
        wait = self._by_connection.get(connection, {}).get(deposit_id)
        return wait.digest if wait is not None else None

    def acknowledged(self, device: DeviceState, positions: Iterable[int]) -> dict[ClientConnection, list[Acceptance]]:
        """
        A device has acknowledged these positions.

        @return: the answers that are due, by connection.
        """
        answers: dict[ClientConnection, list[Acceptance]] = {}
        if device not in self._by_device:
            return answers
        for position in positions:
            wait = self._drop(device, position)
            if wait is None:
                continue
            wait.places.remove((device, position))
            if not wait.places:
                answers.setdefault(wait.connection, []).append(wait.acceptance)
                waits = self._by_connection[wait.connection]
                del waits[wait.acceptance.deposit_id]
                if not waits:
                    del self._by_connection[wait.connection]
        return answers

    def forget(self, connection: ClientConnection) -> None:
        """Drop all answers to a connection that is gone."""
        for wait in self._by_connection.pop(connection, {}).values():
            for device, position in wait.places:
                self._drop(device, position)

    def __bool__(self) -> bool:
        """Whether any deposit waits."""
        return bool(self._by_connection)

    def __len__(self) -> int:
        """The number of deposits that wait."""
        return sum(len(waits) for waits in self._by_connection.values())

    def _drop(self, device: DeviceState, position: int) -> PendingAck | None:
        waits = self._by_device.get(device, {})
        wait = waits.pop(position, None)
        if wait is not None:
            device.pins -= 1
            if not waits:
                del self._by_device[device]
        return wait
