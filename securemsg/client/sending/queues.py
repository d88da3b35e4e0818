"""
In which order, and when, the rows of the outbox are sent.

A lane is a conversation: with a contact, or with one connection of those who call. Its rows go in order; what holds one up
holds up those behind it, and nobody else. All of this is in memory alone: after a new login it begins with what the outbox
holds.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from attrs import define, field

# Deposits that are not answered, over all lanes.
WINDOW = 16
# What is refused for now is tried again after a second, then after twice as long each time.
FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0


@define(eq=False)
class Lane:
    """
    A conversation.

    @ivar device: the only one of it; empty: all of them.
    @ivar waiting: orders of rows that are to be sent, ascending.
    @ivar flying: how many were sent and not answered.
    @ivar is_asking: a question about it is on its way to the server.
    @ivar is_blocked: the user must decide something first.
    @ivar not_before: when it may go on.
    @ivar failures: how often in a row it was told to wait.
    """

    name: str
    device: bytes = b""
    waiting: list[int] = field(factory=list)
    flying: int = 0
    is_asking: bool = False
    is_blocked: bool = False
    not_before: float = 0.0
    failures: int = 0

    def may_go(self, now: float) -> bool:
        """Is there a row that may be sent?"""
        return bool(self.waiting) and not self.is_asking and not self.is_blocked and now >= self.not_before


@define(eq=False)
class Lanes:
    """
    All conversations with something in the outbox.

    @ivar last: the highest order of a row that was seen in the outbox.
    """

    _jitter: Callable[[], float]
    last: int = 0
    _lanes: dict[tuple[str, bytes], Lane] = field(init=False, factory=dict)
    _flights: dict[bytes, tuple[Lane, int, float]] = field(init=False, factory=dict)

    def add(self, name: str, order: int, device: bytes = b"") -> None:
        """There is a new row in the outbox."""
        self.last = max(self.last, order)
        insort(self._lane(name, device).waiting, order)

    def next(self, now: float) -> Lane | None:
        """The lane whose first row is the next to be sent; C{None}: nothing may be sent now."""
        if len(self._flights) >= WINDOW:
            return None
        ready = [lane for lane in self._lanes.values() if lane.may_go(now)]
        return min(ready, key=lambda lane: lane.waiting[0], default=None)

    def drop(self, lane: Lane) -> None:
        """There is nothing to be sent in the first row of a lane."""
        lane.waiting.pop(0)
        self._tidy(lane)

    def depart(self, lane: Lane, deposit_id: bytes, now: float) -> None:
        """The first row of a lane is sent."""
        order = lane.waiting.pop(0)
        lane.flying += 1
        self._flights[deposit_id] = (lane, order, now)

    def land(self, deposit_id: bytes) -> tuple[Lane, int] | None:
        """
        A deposit is answered.

        @return: its lane and its row; C{None}: there was no such deposit.
        """
        found = self._flights.pop(deposit_id, None)
        if found is None:
            return None
        lane, order, _ = found
        lane.flying -= 1
        self._tidy(lane)
        return lane, order

    def put_back(self, lane: Lane, order: int) -> None:
        """A row is to be sent again, in its place."""
        self._lanes[lane.name, lane.device] = lane
        insort(lane.waiting, order)

    def pause(self, lane: Lane, now: float) -> None:
        """Not now: wait for longer than the last time."""
        pause = min(FIRST_PAUSE * 2.0 ** min(lane.failures, 10), MAX_PAUSE)
        lane.failures += 1
        lane.not_before = now + pause * (0.5 + self._jitter() / 2)

    def oldest_flight(self) -> float | None:
        """Since when the oldest unanswered deposit is on its way."""
        return min((since for _, _, since in self._flights.values()), default=None)

    def blocked(self) -> list[Lane]:
        """Lanes that wait for the user."""
        return [lane for lane in self._lanes.values() if lane.is_blocked]

    def _lane(self, name: str, device: bytes) -> Lane:
        """The lane of a contact, or of one of those who call."""
        lane = self._lanes.get((name, device))
        if lane is None:
            lane = self._lanes[name, device] = Lane(name, device)
        return lane

    def _tidy(self, lane: Lane) -> None:
        """Forget a lane that holds nothing and waits for nothing."""
        if not lane.waiting and not lane.flying and not lane.is_asking:
            self._lanes.pop((lane.name, lane.device), None)
