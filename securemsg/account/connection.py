"""
The connection of a profile to its server. The process that holds the profile's lock owns the connection; other processes
share it through the store.

Either way a command does the same: it writes to the store, and waits for a change there. If the owner dies, a waiting
process takes the lock and connects. When to connect again is decided in L{securemsg.net.dialer}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from securemsg.account.address import ServerAddress
from securemsg.account.condition import Condition
from securemsg.account.errors import Exit, error_for
from securemsg.account.routes import routes
from securemsg.account.timeouts import LONGEST_WAIT, IdleTimeout, Timeout
from securemsg.account.wake import WAKE, wake
from securemsg.account.wakefifo import WakeFifo
from securemsg.client import jobs
from securemsg.client.agent import Agent
from securemsg.client.events import Changed, Disconnected, Drained, Event, Failed, Ready, ShortInviteEnded, Warned
from securemsg.client.jobs import Outcome
from securemsg.client.requests import Question
from securemsg.client.state.profile import Profile
from securemsg.client.times import iso
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.net.clock import monotonic_seconds
from securemsg.net.dialer import Dialer
from securemsg.net.link import LinkInfo
from securemsg.net.turn import Turn
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IPeer
from securemsg.protocol.invite import UDP
from securemsg.storage.errors import StateDamaged, StorageError
from securemsg.storage.files import FileLock

T = TypeVar("T")

# A file in a profile's folder: the process that locks it owns the connection.
LOCK = "lock"

# Seconds between ticks of the agent, and between looks into the store: as the owner, in case a wake-up was lost, and while
# another process is the owner.
TICK = 1.0
OWNER_POLL = 1.0
WAITING_POLL = 0.1
# A wait without a timeout renews its job this often, so that a job whose process was killed is not run much later.
JOB_LIFE = 30
# Seconds before a question is repeated that was refused for now.
RETRY_PAUSE = 1.0

# Called with the outcome of a question: a code, empty if it was answered, and the facts.
Done = Callable[[str, dict[str, str]], None]


@frozen
class Retry:
    """
    The option C{--retry}: keep trying while the server is unreachable, full or shutting down.

    @ivar on_waiting: called with a code and the server's address each time waiting for a connection begins.
    """

    on_waiting: Callable[[str, str], None]


class NoLock:
    """The lock of a profile in the memory of this process: no other process can want it."""

    def take(self) -> bool:
        """Take it."""
        return True

    def free(self) -> None:
        """Nobody waits for it."""


class Dialing(Protocol):
    """Keeps the agent connected (L{securemsg.net.dialer.Dialer})."""

    def start(self) -> None:
        """Connect now."""

    def stop(self, code: str = "") -> Deferred[None]:
        """Hang up, and do not connect again."""


class Listening(Protocol):
    """Receives the wake-ups of other processes (L{securemsg.account.wakefifo.WakeFifo})."""

    def close(self) -> None:
        """Stop listening."""


@define(eq=False)
class AccountConnection:
    """
    @ivar dial: makes the dialer, given the peer, a callback for failed attempts, and whether to try again.
    @ivar listen: opens the wake-up FIFO, given a callback; C{None}: no other process can use this profile.
    @ivar wake_owner: wakes the process that has the lock.
    @ivar again: whether to connect again after a failure; else the first failure ends the command.
    @ivar where: the server's address, for messages.
    @ivar retry: whether to keep trying after temporary failures (status 6) only; C{None}: no.
    @ivar watch: called with every message on the wire while the connection is ours.
    @ivar is_stopped: L{stop} was called.
    @ivar is_ready: our connection is logged in; C{was_ready}: now or before.
    @ivar is_drained: everything that waited on the server is in the store; known only while the connection is ours.
    @ivar link: how our connection is protected, once there was one.
    @ivar short_invite_end: the last end of a short invite that this connection has opened.
    @ivar fatal: the code of a failure that connecting again would not fix; empty: none.
    @ivar last_failure: why there is no connection now; empty: there is one, the first attempt still runs, or it is not ours.
    """

    _clock: Any
    _store: IProfileStore
    _profile: Profile
    _now: Callable[[], float]
    _soon: Callable[[Callable[[], None]], None]
    _lock: FileLock | NoLock
    _dial: Callable[[IPeer, Callable[[str], None], bool], Dialing]
    _listen: Callable[[Callable[[], None]], Listening] | None
    _wake_owner: Callable[[], object]
    _warn: Callable[[Warned], None]
    _again: bool = False
    where: str = "the server"
    _retry: Retry | None = None
    _watch: Callable[[m.Message | m.Unknown], None] | None = None
    # For what passes between processes, which all have it; a program's reactor may have another.
    _seconds: Callable[[], float] = monotonic_seconds
    is_stopped: bool = field(default=False, init=False)
    is_ready: bool = field(default=False, init=False)
    was_ready: bool = field(default=False, init=False)
    is_drained: bool = field(default=False, init=False)
    link: LinkInfo | None = field(default=None, init=False)
    short_invite_end: ShortInviteEnded | None = field(default=None, init=False)
    fatal: str = field(default="", init=False)
    last_failure: str = field(default="", init=False)
    _agent: Agent | None = field(default=None, init=False)
    _dialer: Dialing | None = field(default=None, init=False)
    _wake_fifo: Listening | None = field(default=None, init=False)
    _timer: LoopingCall | None = field(default=None, init=False)
    _running_jobs: set[int] = field(factory=set, init=False)
    _condition: Condition = field(init=False)
    _was_waiting: bool = field(default=False, init=False)
    _is_paused: bool = field(default=False, init=False)
    _is_notify_due: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._condition = Condition(self._clock)

    @property
    def is_owner(self) -> bool:
        """Whether the profile's lock, and so the connection, is ours."""
        return self._agent is not None

    @property
    def local_error(self) -> Exception | None:
        """What is wrong with the profile itself, if that ended the connection."""
        return None if self._agent is None else self._agent.local_error

    @property
    def unreached(self) -> str:
        """Why the server was never reached, as far as that is known here; empty: it was, or the connection is not ours."""
        return "" if not self.is_owner or self.was_ready else self.last_failure or "timeout"

    # --- for commands and programs --------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Take the lock and connect, or wake the process that has it.

        @raise SecuremsgError: the lock's file cannot be used.
        """
        self._take_lock()
        self.nudge()

    def nudge(self) -> None:
        """Send what was written to the store, or wake the owner to send it."""
        if self.is_owner:
            self._refresh()
        else:
            self._wake_owner()

    def stop(self) -> Deferred[None]:
        """
        End the connection, if it is ours, and free the lock.

        @return: fires when everything is closed, within bounded time.
        """
        self.is_stopped = True
        done = self._hang_up()
        # Nothing is left to wait for.
        self.changed()
        return done

    @property
    def is_paused(self) -> bool:
        """Whether L{pause} was called, and L{resume} not yet."""
        return self._is_paused

    def pause(self) -> Deferred[None]:
        """
        End the connection, if it is ours, and leave it to other processes until L{resume}; not to be called again before.

        @return: fires when everything is closed and the lock is free, within bounded time.
        """
        self._is_paused = True
        return self._hang_up()

    def resume(self) -> None:
        """Whoever waits connects again, unless another process has the connection now."""
        self._is_paused = False
        self.changed()

    async def log_in_again(self) -> None:
        """Connect anew, with the profile as it is now. The connection is ours, and nobody else gets the lock meanwhile."""
        before, agent = self._dialer, self._agent
        assert before is not None and agent is not None, "it is ours"
        self.is_ready = self.is_drained = False
        await before.stop()
        self.fatal = self.last_failure = ""
        if not self.is_stopped:
            self._dialer = self._dial(agent, self._attempt_failed, self._again or self._retry is not None)
            self._dialer.start()

    def changed(self) -> None:
        """The store or the connection has changed: wake everybody who waits, to check again."""
        self._condition.notify()

    def changed_later(self) -> None:
        """Call L{changed} once this turn is done, however often this is called in it."""
        if not self._is_notify_due:
            self._is_notify_due = True
            self._soon(self._notify)

    def at_end_of_turn(self, call: Callable[[], None]) -> None:
        """Make a call once this turn is done."""
        self._soon(call)

    def time_left(self, since: float, limit: Timeout) -> float | None:
        """Seconds that are left of a limit of a wait that began at C{since}; C{None}: no limit."""
        if isinstance(limit, IdleTimeout):
            quiet_since = since if self._agent is None else max(since, self._agent.quiet_since)
            since, limit = min(quiet_since, since + LONGEST_WAIT), limit.seconds
        return None if limit is None else since + limit - self._clock.seconds()

    async def until(self, check: Callable[[], T | None], timeout: Timeout) -> T | None:
        """
        Wait until a check of the store gives a result.

        @param check: returns the result, or C{None} for not yet.
        @return: the result, or C{None} after the timeout.
        @raise SecuremsgError: there is no connection and there will be none; or C{stopped}.
        """
        since = self._clock.seconds()
        while True:
            self._take_lock()
            value = check()
            if value is not None:
                return value
            if self.is_stopped:
                raise error_for("stopped")
            left = self.time_left(since, timeout)
            self._raise_failure()
            self._report_waiting()
            if left is not None and left <= 0:
                return None
            poll = OWNER_POLL if self.is_owner else WAITING_POLL
            await self._condition.wait(poll if left is None else min(poll, left))

    async def ask(self, kind: str, argument: str = "", *, timeout: Timeout) -> dict[str, str]:
        """
        Ask the server a question, or ask about the connection. With L{Retry} it is repeated after temporary failures.

        @param kind: C{drained}, C{link}, C{ping}, C{invite}, C{short-invite}, C{fetch}, C{accept-device}, C{remove-device},
            C{publish-key} or C{send-now}.
        @return: the facts.
        @raise SecuremsgError: it was refused, or not answered in time.
        """
        since = self._clock.seconds()
        # Words and invites are for nobody who reads errors.
        about = self.where if kind == "short-invite" else argument or self.where
        while True:
            left = self.time_left(since, timeout)
            self._take_lock()
            if self.is_owner:
                outcome = await self._ask_agent(kind, argument, timeout if isinstance(timeout, IdleTimeout) else left)
            else:
                outcome = await self._ask_owner(kind, argument, JOB_LIFE if left is None else max(left, 0))
            if outcome is None and timeout is None:
                continue
            if outcome is not None and not outcome.code:
                return outcome.facts
            if outcome is not None:
                problem = error_for(outcome.code, about)
            else:
                problem = error_for(self.last_failure or "timeout", self.where)
            left = self.time_left(since, timeout)
            if self._retry is None or (left is not None and left <= 0) or problem.status is not Exit.NOT_CONNECTED:
                raise problem
            # Without a pause it would be asked and refused in a tight loop.
            await self.until(lambda: None, RETRY_PAUSE)

    async def _ask_agent(self, kind: str, argument: str, timeout: Timeout) -> Outcome | None:
        """Ask over our own connection, once it is logged in."""
        outcomes: list[Outcome] = []
        is_asked = False

        def done(code: str, facts: dict[str, str]) -> None:
            outcomes.append(Outcome(code, facts, 0))
            self.changed_later()

        def look() -> Outcome | None:
            nonlocal is_asked
            is_asked = is_asked or self._run(kind, argument, done)
            return outcomes[0] if outcomes else None

        return await self.until(look, timeout)

    async def _ask_owner(self, kind: str, argument: str, timeout: float) -> Outcome | None:
        """Leave a job to the process that has the connection, and wait for its outcome."""
        number = jobs.request(self._store, kind, argument, seconds=self._seconds(), timeout=timeout)
        self.nudge()
        outcome: Outcome | None = None
        try:
            outcome = await self.until(lambda: jobs.pop_outcome(self._store, number), timeout)
        finally:
            if outcome is None:
                jobs.cancel(self._store, number)
        return outcome

    def _raise_failure(self) -> None:
        """Raise the error that makes waiting useless, if there is one."""
        if self.fatal:
            raise error_for(self.fatal, self.where)
        if isinstance(self.local_error, StateDamaged):
            raise self.local_error
        if not self.last_failure or self._again:
            return
        problem = error_for(self.last_failure, self.where)
        if self._retry is None or problem.status is not Exit.NOT_CONNECTED:
            raise self.local_error if isinstance(self.local_error, StorageError) else problem

    def _report_waiting(self) -> None:
        """With L{Retry}, report once why there is no connection."""
        is_waiting = bool(self.last_failure)
        if self._retry is not None and is_waiting and not self._was_waiting:
            self._retry.on_waiting(self.last_failure, self.where)
        self._was_waiting = is_waiting

    # --- the owner of the connection ------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        """Connect, if nobody else has the lock."""
        if self.is_owner or self.is_stopped or self._is_paused:
            return
        try:
            if not self._lock.take():
                return
        except OSError as error:
            raise error_for("profile-unreadable", text=f"cannot lock the profile: {error.strerror}") from None
        self._agent = Agent(
            self._store,
            self._profile,
            now=self._now,
            seconds=self._clock.seconds,
            soon=self._soon,
            notify=self._notified,
            expected_errors=(OSError, StorageError),
            watch=self._watch,
        )
        if self._listen is not None:
            self._wake_fifo = self._listen(self._refresh)
        self._timer = LoopingCall(self._tick)
        self._timer.clock = self._clock
        self._timer.start(TICK, now=False)
        self._dialer = self._dial(self._agent, self._attempt_failed, self._again or self._retry is not None)
        self._dialer.start()

    def _hang_up(self) -> Deferred[None]:
        """Stop everything that L{_take_lock} started."""
        self.is_ready = self.is_drained = False
        self.last_failure = ""
        self._running_jobs.clear()
        dialer, self._dialer, self._agent = self._dialer, None, None
        if self._timer is not None and self._timer.running:
            self._timer.stop()
        if self._wake_fifo is not None:
            self._wake_fifo.close()
        stopped = succeed(None) if dialer is None else dialer.stop()
        return stopped.addBoth(lambda result: self._lock.free())

    def _tick(self) -> None:
        if self._agent is not None:
            self._agent.tick()
            self._refresh()

    def _refresh(self) -> None:
        """Send what was written to the store, and run the jobs of other processes."""
        if self._agent is None:
            return
        self._agent.pump()
        try:
            for job in jobs.pending(self._store, clock=self._seconds):
                if job.number in self._running_jobs:
                    continue
                # Before it starts: it may be done at once.
                self._running_jobs.add(job.number)
                if not self._run(job.kind, job.argument, self._finisher(job.number)):
                    self._running_jobs.discard(job.number)
        except StorageError:
            # The disk is full, or another process holds the profile for too long. Timer and FIFO must survive that: the next
            # look may succeed, and a command that cannot go on gets the same error itself.
            return

    def _notified(self, event: Event) -> None:
        if isinstance(event, ShortInviteEnded):
            self.short_invite_end = event
        if self._agent is None:
            # We have hung up: that the connection has ended is no failure.
            return
        match event:
            case Ready(link):
                self.is_ready = self.was_ready = True
                self.last_failure = ""
                self.link = link if isinstance(link, LinkInfo) else None
            case Drained():
                self.is_drained = True
            case Failed(code):
                self.fatal = self.fatal or code
            case Disconnected(code):
                self.is_ready = self.is_drained = False
                self.last_failure = code or "lost"
                # Connecting again would replace the other connection, which would then replace this one.
                self.fatal = self.fatal or (code if code == "replaced" else "")
                self._running_jobs.clear()
            case Warned():
                self._warn(event)
            case Changed() | ShortInviteEnded():
                pass
        if isinstance(event, Ready | Drained):
            self._soon(self._refresh)
        # The agent may be in the middle of a step.
        self.changed_later()

    def _attempt_failed(self, code: str) -> None:
        self.last_failure = code
        self.changed_later()

    def _notify(self) -> None:
        self._is_notify_due = False
        self.changed()

    # --- questions ------------------------------------------------------------------------------------------------

    def _run(self, kind: str, argument: str, done: Done) -> bool:
        """
        Start a question to the server, or one about the connection.

        @return: whether C{done} will be called, once, now or later; else it is too early to ask.
        """
        if self._agent is None or not self.is_ready:
            return False
        if kind == "drained" and not (self.is_drained and self._agent.retry()):
            return False
        question = _QUESTIONS.get(kind)
        if question is not None:
            asked_at = self._clock.seconds()
            self._agent.ask(question(argument), lambda answer: done(*self._facts_of(answer, asked_at)))
        elif kind in ("accept-device", "remove-device", "publish-key"):
            self._agent.change_devices(kind, bytes.fromhex(argument), lambda answer: done(*self._facts_of(answer, 0)))
        elif kind == "short-invite":
            words, _, invite = argument.partition(" ")
            self._agent.open_short_invite(words, invite, lambda answer: done(*self._facts_of(answer, 0)))
        elif kind == "send-now":
            self._agent.send_now()
            done("", {})
        elif kind in ("drained", "link"):
            done("", self.link_facts() if kind == "link" else {})
        else:
            done("unknown-message", {})
        return True

    def link_facts(self) -> dict[str, str]:
        """How the connection is protected."""
        link = self.link
        if link is None:
            return {}
        transport = link.binding.transport
        # As users call it.
        way = UDP if transport == "quic" else transport
        facts = {"transport": way, "tls": link.version, "cipher": link.cipher, "group": link.group}
        return {**facts, "certificate_expires_at": iso(link.certificate_expires_at)} if link.certificate_expires_at else facts

    def _facts_of(self, answer: object, asked_at: float) -> tuple[str, dict[str, str]]:
        """The code and the facts in an answer of the server."""
        match answer:
            case Refusal(code=code):
                return code, {}
            case m.Pong(now=server_now):
                return "", {"seconds": json.dumps(self._clock.seconds() - asked_at), "now": str(server_now)}
            case m.Invited(token=token, expires_at=expires_at):
                return "", {"token": token.hex(), "expires_at": str(expires_at)}
            case m.CodeOpened(number=number):
                return "", {"number": str(number)}
            case m.Account(record=record):
                return self._adopt(record), {}
            case m.Done():
                return "", {}
        return "out-of-turn", {}

    def _adopt(self, record: m.AccountRecord) -> str:
        """
        Adopt a record from the directory.

        @return: the code of a refusal; empty: it was adopted.
        """
        assert self._agent is not None, "it asked"
        try:
            # Another identity's claim is stored in the contact, where the process that asked finds it.
            self._agent.adopt(record)
        except Refusal as refusal:
            return refusal.code
        return ""

    def _finisher(self, number: int) -> Done:
        """The callback that stores the outcome of a job for the process that asked."""

        def done(code: str, facts: dict[str, str]) -> None:
            self._running_jobs.discard(number)
            jobs.finish(self._store, number, code, facts, seconds=self._seconds())
            # The process that asked may be this one, which has taken the lock since.
            self.changed_later()

        return done


_QUESTIONS: dict[str, Callable[[str], Question]] = {
    "ping": lambda argument: m.Ping(0),
    "invite": lambda argument: m.Invite(0, 1, int(argument)),
    "fetch": lambda argument: m.Fetch(0, argument),
}


def make_connection(
    reactor: Any,
    folder: Path | None,
    store: IProfileStore,
    profile: Profile,
    server: ServerAddress,
    *,
    now: Callable[[], float],
    again: bool,
    warn: Callable[[Warned], None],
    retry: Retry | None = None,
    watch: Callable[[m.Message | m.Unknown], None] | None = None,
) -> AccountConnection:
    """
    Make the connection of a profile to its server, over TCP, UDP or both. It must be started.

    @param folder: of the profile; C{None}: it is in memory, so that no other process can share the connection.
    """
    turn = Turn(reactor)

    def dial(peer: IPeer, failed: Callable[[str], None], persistent: bool) -> Dialing:
        return Dialer(routes(reactor, server), peer, reactor, turn, failed, persistent)

    return AccountConnection(
        reactor,
        store,
        profile,
        now,
        turn.later,
        NoLock() if folder is None else FileLock(folder / LOCK),
        dial,
        None if folder is None else lambda woken: WakeFifo(reactor, folder / WAKE, woken),
        lambda: wake(folder),
        warn,
        again,
        server.in_words,
        retry,
        watch,
    )
