"""
Load: messages from one end of a pair to the other, as many in flight as wanted or so many a second.

The load on Twisted has them, over UDP and TCP alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime


@define
class Flow:
    """
    One direction of one pair.

    A message is in flight until it has been delivered I{and} accepted.

    @ivar submit: sends so many messages.
    @ivar clock: seconds, steadily rising.
    @ivar window: keep so many in flight; 0: whoever holds the flow decides when to send.
    """

    submit: Callable[[int], None]
    clock: Callable[[], float]
    window: int = 0
    sent: int = 0
    accepted: int = 0
    delivered: int = 0
    delays: list[float] = field(factory=list, repr=False)
    _stamps: deque[float] = field(factory=deque, repr=False)

    @property
    def done(self) -> int:
        """How many are not in flight any more."""
        return min(self.accepted, self.delivered)

    def push(self, count: int, stamp: float) -> None:
        """Send so many now; C{stamp} is when they should have gone out."""
        self.sent += count
        self._stamps.extend([stamp] * count)
        self.submit(count)

    def arrived(self, count: int = 1) -> None:
        """The other end has got the next ones; they come in order."""
        now = self.clock()
        for _ in range(count):
            self.delays.append(now - self._stamps.popleft())
        self.delivered += count
        self.refill()

    def answered(self, count: int = 1) -> None:
        """The server answers for the next ones."""
        self.accepted += count
        self.refill()

    def refill(self) -> None:
        """Fill the window."""
        room = self.window - (self.sent - self.done)
        if room > 0:
            self.push(room, self.clock())


@define
class Everybody:
    """
    The other end of a flow to many: a message has arrived when the last of them has it.

    @ivar count: how many they are.
    """

    flow: Flow
    count: int
    _copies: int = 0

    def arrived(self) -> None:
        """One of them has got the next one."""
        self._copies += 1
        if self._copies % self.count == 0:
            self.flow.arrived()


@define
class Pace:
    """
    An open loop: so many messages a second over all flows in turn, whether the server keeps up or not.

    The delay of a message counts from the moment it was I{due}, so a server that stalls does not stall the measurement. The
    loop spins, for a sleeping process wakes up a millisecond late; it has a core of its own.
    """

    _reactor: IReactorTime
    _flows: Sequence[Flow]
    _rate: float
    _began: float = 0.0
    _count: int = 0
    _running: bool = False

    def start(self) -> None:
        """Begin now."""
        self._began = self._reactor.seconds()
        self._running = True
        self._tick()

    def stop(self) -> None:
        """Send no more."""
        self._running = False

    def _tick(self) -> None:
        """Send what is due."""
        if not self._running:
            return
        due = int((self._reactor.seconds() - self._began) * self._rate)
        while self._count < due:
            self._count += 1
            self._flows[self._count % len(self._flows)].push(1, self._began + self._count / self._rate)
        self._reactor.callLater(0, self._tick)


def percentile(values: Sequence[float], share: float) -> float:
    """
    The value that this share of all does not exceed.

    @param values: sorted; at least one.
    """
    return values[min(len(values) - 1, int(len(values) * share))]
