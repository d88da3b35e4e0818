"""
What the running daemon knows of itself: its counters, whether it is well, and what the last hour was like.

Everything is measured whether somebody looks or not once the monitor has started, and kept in bounded memory.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import cast

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from securemsg.counters import DURATIONS, ConnectionCounters, Histogram, ServerCounters, WriterCounters
from securemsg.storage.sqlite.store import ServerStore
from securemsg.storage.sqlite.waiting import Waiting

# Seconds between two samples, and between two questions to the database.
PERIOD = 10
# How many samples are kept: an hour.
SAMPLES = 360
# The database is stuck if it has not answered for so many seconds.
STUCK = 10
# Seconds between two looks at how late the reactor is.
BEAT = 1.0


@frozen
class Sample:
    """
    What it was like for some seconds.

    @ivar connections: that were open at its end.
    @ivar messages: deposits a second.
    @ivar latency: seconds from a deposit to its Accepted, the mean.
    @ivar waiting: messages in all mailboxes.
    @ivar refusals: refused commands and connections that we ended, a second.
    """

    connections: float
    messages: float
    latency: float
    waiting: float
    refusals: float


@define(eq=False)
class Monitor:
    """
    Measures the daemon.

    @ivar now: the wall clock.
    @ivar transports: counters of connections, by transport.
    @ivar hangups: connections that we ended, by code.
    @ivar logged_in: how many devices and guests are logged in; C{turned_away}: how many connections were closed for want of
        room. Both are set once there is a server.
    @ivar has_room: whether the disk has room for new messages; C{free_space}: its bytes.
    @ivar is_draining: whether the operator lets nobody in.
    @ivar expires_at: when the certificate expires; C{refused_certificates}: how many others were not good enough to take its
        place.
    @ivar waiting: what waits in the mailboxes; C{oldest}: when the oldest of it came, C{None}: nothing waits.
    @ivar lateness: how much later than asked for the reactor makes a call, seconds.
    @ivar errors: exceptions that nobody expected.
    @ivar is_disk_full: whether the disk holds up everything; C{is_lost}: whether the database cannot be used any more.
    @ivar samples: the last hour.
    """

    _reactor: IReactorTime
    now: Callable[[], float]
    server: ServerCounters = field(init=False, factory=ServerCounters)
    writer: WriterCounters = field(init=False, factory=WriterCounters)
    transports: dict[str, ConnectionCounters] = field(
        init=False, factory=lambda: {"tcp": ConnectionCounters(), "udp": ConnectionCounters()}
    )
    hangups: Counter[str] = field(init=False, factory=Counter)
    logged_in: Callable[[], int] = field(init=False, default=lambda: 0)
    turned_away: Callable[[], int] = field(init=False, default=lambda: 0)
    has_room: Callable[[], bool] = field(init=False, default=lambda: True)
    free_space: Callable[[], int] = field(init=False, default=lambda: 0)
    is_draining: Callable[[], bool] = field(init=False, default=lambda: False)
    expires_at: Callable[[], float] = field(init=False, default=lambda: 0.0)
    refused_certificates: Callable[[], int] = field(init=False, default=lambda: 0)
    waiting: Waiting = field(init=False, default=Waiting(0, 0, None, 0))
    oldest: int | None = field(init=False, default=None)
    lateness: Histogram = field(init=False, factory=lambda: Histogram(DURATIONS))
    errors: int = field(init=False, default=0)
    is_disk_full: bool = field(init=False, default=False)
    is_lost: bool = field(init=False, default=False)
    samples: deque[Sample] = field(init=False, factory=lambda: deque(maxlen=SAMPLES))
    _log: Logger = field(init=False, factory=Logger)
    _store: ServerStore | None = field(init=False, default=None)
    _loop: LoopingCall | None = field(init=False, default=None)
    _beat: IDelayedCall | None = field(init=False, default=None)
    _began: float = field(init=False, default=0.0)
    _asked: float | None = field(init=False, default=None)
    _oldest_so_far: int | None = field(init=False, default=None)
    _before: tuple[float, ...] = field(init=False, default=())

    def start(self, store: ServerStore) -> None:
        """Begin to measure."""
        self._store = store
        self._began = self._reactor.seconds()
        self._before = self._totals()
        globalLogPublisher.addObserver(cast(ILogObserver, self._observe))
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self._reactor
        self._loop.start(PERIOD).addErrback(lambda failure: self._log.failure("the daemon is no longer measured", failure))
        self._expect_beat()

    def stop(self) -> None:
        """Measure no more."""
        if self._loop is not None:
            globalLogPublisher.removeObserver(cast(ILogObserver, self._observe))
            if self._loop.running:
                self._loop.stop()
            self._loop = None
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self._reactor.seconds() - self._began

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(counters.opened - counters.closed for counters in self.transports.values())

    @property
    def age(self) -> float:
        """How long the oldest message has waited, seconds; 0: none waits."""
        return 0.0 if self.oldest is None else max(0.0, self.now() - self.oldest)

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence; empty: all is well."""
        if self.is_lost:
            return "The database cannot be used any more; the log says why."
        if self.is_disk_full:
            return "The disk is full: nothing is accepted until there is room."
        if not self.has_room():
            return "The disk has too little room: new messages are refused until there is more."
        if self._asked is not None and (silent := self._reactor.seconds() - self._asked) > STUCK:
            return f"The database has not answered for {silent:.0f} seconds."
        return ""

    # --- inside -----------------------------------------------------------------------------------------------------

    def _observe(self, event: LogEvent) -> None:
        """Count what was logged as a failure."""
        self.errors += event.get("log_level") is LogLevel.critical

    def _expect_beat(self) -> None:
        self._beat = self._reactor.callLater(BEAT, self._measure_lateness, self._reactor.seconds() + BEAT)

    def _measure_lateness(self, due: float) -> None:
        self.lateness.observe(max(0.0, self._reactor.seconds() - due))
        self._expect_beat()

    def _totals(self) -> tuple[float, ...]:
        """What samples are the differences of."""
        server = self.server
        refusals = sum(server.refusals.values()) + sum(self.hangups.values())
        return server.deposits, server.accept.total, sum(server.accept.counts), refusals

    def _tick(self) -> None:
        """Take a sample, and ask the database, unless it still owes an answer."""
        if self.uptime:
            totals = self._totals()
            deposits, seconds, accepted, refusals = (new - old for new, old in zip(totals, self._before, strict=True))
            self._before = totals
            latency = seconds / accepted if accepted else 0.0
            waiting = self.waiting.messages
            self.samples.append(Sample(self.connections, deposits / PERIOD, latency, waiting, refusals / PERIOD))
        if self._asked is None and self._store is not None:
            self._asked = self._reactor.seconds()
            self._store.waiting(self.waiting.last).addCallbacks(self._answered, self._not_answered)

    def _not_answered(self, failure: Failure) -> None:
        """The database does not do its work any more."""
        self._asked = None
        if not self.is_lost:
            self._log.failure("what waits in the mailboxes could not be counted", failure)

    def _answered(self, waiting: Waiting) -> None:
        """The database has counted; the oldest message is known when it has been through all mailboxes."""
        self._asked = None
        self.waiting = waiting
        found = [one for one in (self._oldest_so_far, waiting.oldest) if one is not None]
        self._oldest_so_far = min(found, default=None)
        if not waiting.last:
            self.oldest, self._oldest_so_far = self._oldest_so_far, None
