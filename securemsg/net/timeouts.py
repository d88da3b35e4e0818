"""
How long anything may take on a connection: one timer, for one thing at a time.

Each limit is there so that somebody who does nothing, or next to nothing, cannot keep a place for ever. They cost nothing
while bytes flow: what is noted then is one time, and a timer that fires looks whether it is still wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from securemsg.net.link import Wire, unsent_mark
from securemsg.protocol.connection import Connection
from securemsg.protocol.states import Phase

# A stranger that is silent in its handshake, or after it, holds a place for this long.
HANDSHAKE_TIME = 10
LOGIN_TIME = 10
# A peer that takes nothing of a full buffer for this long does not read.
STALL_TIME = 30
# A device that has sent nothing for this long is not at home, though its kernel may still answer TCP's probes: a process
# that was stopped keeps no place. Clients say something three times as often.
IDLE_TIME = 15 * 60
# Whoever does not take the last words within this time does not get them.
CLOSING_TIME = 5


class TimedConnection(Protocol):
    """A connection as its patience sees it."""

    transport: Wire
    connection: Connection

    def expire(self, say: bool) -> None:
        """Time is up: hang up, with a last word or without."""


class Timeouts:
    """
    The timer of one connection.

    @ivar heard: when the last byte came; set by whoever gets the bytes.
    @ivar is_full: whether the transport's buffer is full.
    @ivar is_paused: whether we do not read at present, so that silence says nothing.
    """

    __slots__ = ("_clock", "_idle_time", "_mark", "_of", "_timer", "heard", "is_paused", "is_full")

    def __init__(self, of: TimedConnection, clock: IReactorTime, idle_time: float) -> None:
        """
        @param idle_time: how long a peer that is logged in may be silent; 0: for ever.
        """
        self._of = of
        self._clock = clock
        self._idle_time = idle_time
        self._timer: IDelayedCall | None = None
        self._mark = (0, 0, 0)
        self.heard = 0.0
        self.is_full = False
        self.is_paused = False

    def await_handshake(self) -> None:
        """TLS begins."""
        self._arm(HANDSHAKE_TIME, self._cut_off)

    def await_login(self) -> None:
        """The transport stands; the login is next."""
        self.heard = self._clock.seconds()
        self._arm(LOGIN_TIME, self._check_login)

    def await_reader(self) -> None:
        """The buffer is full. Before the login that has a limit of its own; after it the buffer is given some time to move."""
        self.is_full = True
        if self._of.connection.phase is Phase.READY:
            self._watch()

    def await_end(self) -> None:
        """The last words are on their way."""
        self._arm(CLOSING_TIME, self._of.transport.abortConnection)

    def hear_again(self) -> None:
        """We read again: silence counts from now."""
        self.is_paused = False
        self.heard = self._clock.seconds()

    def cancel(self) -> None:
        """Wait for nothing any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _cut_off(self) -> None:
        """The time for the handshake is over."""
        self._timer = None
        self._of.expire(False)

    def _check_login(self) -> None:
        """The time for the login is over."""
        self._timer = None
        if self._of.connection.phase is Phase.READY:
            self._go_on()
        else:
            self._of.expire(True)

    def _go_on(self) -> None:
        """Logged in: wait for what is most urgent."""
        if self.is_full:
            self._watch()
        elif self._idle_time:
            self._arm(self._idle_left(), self._check_idle)

    def _idle_left(self) -> float:
        """How long this silence may still last."""
        now = self._clock.seconds()
        if self.is_paused:
            self.heard = now
        return self.heard + self._idle_time - now

    def _check_idle(self) -> None:
        """Nothing may have come since this timer was set, or something: then it is set again, for what is left."""
        self._timer = None
        if self._idle_left() <= 0:
            self._of.expire(True)
        else:
            self._go_on()

    def _watch(self) -> None:
        """Give a full buffer some time to move."""
        self._mark = unsent_mark(self._of.transport)
        self._arm(STALL_TIME, self._check_buffer)

    def _check_buffer(self) -> None:
        """That time is over."""
        self._timer = None
        if self.is_full and unsent_mark(self._of.transport) == self._mark:
            self._of.expire(False)
        else:
            self._go_on()

    def _arm(self, delay: float, call: Callable[[], object]) -> None:
        """There is one timer."""
        self.cancel()
        self._timer = self._clock.callLater(max(delay, 0), call)
