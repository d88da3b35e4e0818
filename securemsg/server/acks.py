"""
Deposits of visitors, which are answered when their reader has committed them, and not before.

The store's commit says that a deposit is kept; to whoever has no mailbox, and is gone when its connection is, that says little.
So the answer waits for the acknowledgement, however long after the commit that comes, and over which connection of the reader.
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
    A deposit that is committed here.

    @ivar acceptance: the answer.
    @ivar places: devices and positions that are not acknowledged.
    """

    caller: ClientConnection
    acceptance: Acceptance
    places: list[tuple[DeviceState, int]]


@define(eq=False)
class PendingAcks:
    """Everybody who waits. Bounded: as many a caller as it may have unanswered, and none of a caller that is gone."""

    _by_caller: dict[ClientConnection, dict[bytes, PendingAck]] = field(init=False, factory=dict)
    _by_device: dict[DeviceState, dict[int, PendingAck]] = field(init=False, factory=dict)

    def begin(self, caller: ClientConnection, acceptance: Acceptance, places: list[tuple[DeviceState, int]]) -> None:
        """Somebody waits for all of these. To be called before any of them can be acknowledged."""
        if not caller.is_open:
            return
        wait = PendingAck(caller, acceptance, places)
        self._by_caller.setdefault(caller, {})[acceptance.deposit_id] = wait
        for device, position in places:
            self._by_device.setdefault(device, {})[position] = wait
            device.uses += 1

    def has(self, caller: ClientConnection, deposit_id: bytes) -> bool:
        """Does this caller wait for the answer to this deposit?"""
        return deposit_id in self._by_caller.get(caller, ())

    def end(self, device: DeviceState, positions: Iterable[int]) -> dict[ClientConnection, list[Acceptance]]:
        """
        A device has committed what it got at these positions.

        @return: who is to be told of what.
        """
        told: dict[ClientConnection, list[Acceptance]] = {}
        if device not in self._by_device:
            return told
        for position in positions:
            wait = self._drop(device, position)
            if wait is None:
                continue
            wait.places.remove((device, position))
            if not wait.places:
                told.setdefault(wait.caller, []).append(wait.acceptance)
                waits = self._by_caller[wait.caller]
                del waits[wait.acceptance.deposit_id]
                if not waits:
                    del self._by_caller[wait.caller]
        return told

    def forget(self, caller: ClientConnection) -> None:
        """Nobody is there any more who could be told."""
        for wait in self._by_caller.pop(caller, {}).values():
            for device, position in wait.places:
                self._drop(device, position)

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(waits) for waits in self._by_caller.values())

    def _drop(self, device: DeviceState, position: int) -> PendingAck | None:
        waits = self._by_device.get(device, {})
        wait = waits.pop(position, None)
        if wait is not None:
            device.uses -= 1
            if not waits:
                del self._by_device[device]
        return wait
