"""
The time limits of a connection, one at a time, with one timer.

Each limit keeps an idle peer from occupying a connection forever. While bytes flow the limits cost
nothing: only the time of the last byte is stored, and a timer that fires checks whether it still applies. A limit that ends
later than the one before it leaves the timer as it is, because most connections are further by then, or gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from securemsg.net.link import Wire, unsent
from securemsg.protocol.connection import Connection
from securemsg.protocol.states import Phase

# How long the handshake may take; after it, how long nothing may move until the login is done, and how long that may take in
# all: a registration of 16 KiB at 1 kB/s passes, and who sends a byte now and then keeps no place.
HANDSHAKE_TIME = 10
LOGIN_TIME = 10
LOGIN_LIMIT = 60
# How long a full buffer may make no progress, seconds.
STALL_TIME = 30
# How long a device may be silent: the kernel of a stopped process still answers TCP's probes. Clients send something three
# times as often.
IDLE_TIME = 15 * 60
# How long the last message may take to leave before the connection is cut.
CLOSING_TIME = 5


class TimedConnection(Protocol):
    """What a timer needs of its connection."""

    transport: Wire
    connection: Connection

    def expire(self, say: bool) -> None:
        """Hang up because a time limit was reached; C{say}: with a last message."""


class Timeouts:
    """
    The timer of one connection.

    @ivar last_received: when the last byte came; set by the connection.
    @ivar is_full: whether the transport's buffer is full.
    @ivar is_paused: whether we do not read at present, so that silence says nothing.
    """

    __slots__ = (
        "_at_end",
        "_clock",
        "_end",
        "_idle_time",
        "_login_end",
        "_stream",
        "_taken_at",
        "_timer",
        "_unsent",
        "_unsent_when_full",
        "last_received",
        "is_paused",
        "is_full",
    )

    def __init__(self, stream: TimedConnection, clock: IReactorTime, idle_time: float) -> None:
        """
        @param idle_time: how long a peer that is logged in may be silent; 0: forever.
        """
        self._stream = stream
        self._clock = clock
        self._idle_time = idle_time
        self._timer: IDelayedCall | None = None
        # When the limit ends, and what is done then; the timer may fire before.
        self._end = 0.0
        self._at_end: Callable[[], object] | None = None
        self._login_end = 0.0
        self._unsent_when_full = self._unsent = 0
        self._taken_at = 0.0
        self.last_received = 0.0
        self.is_full = False
        self.is_paused = False

    def await_handshake(self) -> None:
        """Limit the TLS handshake."""
        self._arm(HANDSHAKE_TIME, self._cut_off)

    def await_login(self) -> None:
        """Limit the login."""
        self.last_received = self._clock.seconds()
        self._login_end = self.last_received + LOGIN_LIMIT
        self._arm(LOGIN_TIME, self._check_login)

    def await_reader(self) -> None:
        """Limit how long a full buffer may stand still. Before the login the limit of the login applies."""
        self.is_full = True
        if self._stream.connection.phase is Phase.READY:
            self._await_drain()

    def await_end(self) -> None:
        """Limit how long the last message may take."""
        self._arm(CLOSING_TIME, self._stream.transport.abortConnection)

    def resume(self) -> None:
        """Count silence from now: we read again."""
        self.is_paused = False
        self.last_received = self._clock.seconds()

    def moved_at(self) -> float:
        """When bytes last moved in either direction, as far as this look and the one before it show."""
        left = unsent(self._stream.transport)
        if left < self._unsent:
            self._taken_at = self._clock.seconds()
        self._unsent = left
        return max(self._taken_at, self.last_received)

    def cancel(self) -> None:
        """Stop the timer."""
        timer, self._timer, self._at_end = self._timer, None, None
        if timer is not None and timer.active():
            timer.cancel()

    def _cut_off(self) -> None:
        """The handshake took too long."""
        self._stream.expire(False)

    def _check_login(self) -> None:
        """The login may have taken too long."""
        now = self._clock.seconds()
        left = min(self.moved_at() + LOGIN_TIME, self._login_end) - now
        if self._stream.connection.phase is Phase.READY:
            self._await_next()
        elif left > 0:
            self._arm(left, self._check_login)
        else:
            self._stream.expire(True)

    def _await_next(self) -> None:
        """Set the timer for the next limit after the login."""
        if self.is_full:
            self._await_drain()
        elif self._idle_time:
            self._arm(self._idle_left(), self._check_idle)

    def _idle_left(self) -> float:
        """Seconds that the peer may still be silent."""
        now = self._clock.seconds()
        if self.is_paused:
            self.last_received = now
        return self.last_received + self._idle_time - now

    def _check_idle(self) -> None:
        """The peer may have been silent for too long."""
        if self._idle_left() <= 0:
            self._stream.expire(True)
        else:
            self._await_next()

    def _await_drain(self) -> None:
        """Give a full buffer some time to move."""
        self._unsent_when_full = unsent(self._stream.transport)
        self._arm(STALL_TIME, self._check_buffer)

    def _check_buffer(self) -> None:
        """The buffer may have stood still for too long."""
        if self.is_full and unsent(self._stream.transport) >= self._unsent_when_full:
            self._stream.expire(False)
        else:
            self._await_next()

    def _arm(self, delay: float, call: Callable[[], object]) -> None:
        """Make this call after so long, and no other any more."""
        end = self._clock.seconds() + delay
        if self._timer is not None and self._timer.getTime() > end:
            self.cancel()
        self._end, self._at_end = end, call
        if self._timer is None:
            self._timer = self._clock.callLater(max(delay, 0), self._timer_fired)

    def _timer_fired(self) -> None:
        """The time of a limit is over, or that of an earlier one."""
        self._timer = None
        left = self._end - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._timer_fired)
        else:
            assert self._at_end is not None, "cancel drops the call and the timer together"
            self._at_end()
