"""
A profile's way to the server while a command runs: a connection of its own, or the one of the process that has the lock.

Either way a command does the same: it writes into the store, and waits until something can be read there. When the process
with the lock dies, whoever waits takes it and connects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from securemsg.account.errors import Exit, error_for
from securemsg.account.holder import Holder
from securemsg.account.locks import FileLock, OwnLock
from securemsg.client import jobs
from securemsg.client.jobs import Outcome
from securemsg.interfaces import IProfileStore
from securemsg.storage.errors import StateDamaged, StorageError

T = TypeVar("T")

# How often we look into the store while another process has the connection; and while we have it, in case a ring got lost.
GUEST_POLL = 0.1
HOLDER_POLL = 1.0
# Who waits for ever leaves an errand anew after so long, for nobody shall run one whose asker was killed long ago.
JOB_LIFE = 30
# Between two questions of which the first was refused for the moment.
RETRY_PAUSE = 1.0


@frozen
class Retry:
    """
    The wish to go on while the server is not there, full or stopping.

    @ivar told: is told why, each time the waiting for a connection begins: a code, and where the server is.
    """

    told: Callable[[str, str], None]


@define(eq=False)
class ServerConnection:
    """
    @ivar ring: tells the process with the lock that there is something for it.
    @ivar hold: makes the holder, once the lock is ours; it must be told whom to call when anything changes.
    @ivar again: whether to connect again after a failure; else the first failure ends the command.
    @ivar where: of the server, for messages.
    @ivar retry: whether to go on after the failures that pass (status 6), which is less than C{again}; C{None}: no.
    """

    _clock: Any
    _store: IProfileStore
    _now: Callable[[], float]
    _lock: FileLock | OwnLock
    _ring: Callable[[], object]
    _hold: Callable[[Callable[[], None]], Holder]
    _again: bool = False
    where: str = "the server"
    _retry: Retry | None = None
    _holder: Holder | None = field(default=None, init=False)
    _is_stopped: bool = field(default=False, init=False)
    _sleepers: dict[Deferred[None], IDelayedCall] = field(factory=dict, init=False)
    _was_told: bool = field(default=False, init=False)

    @property
    def holder(self) -> Holder | None:
        """Our own connection, if the lock is ours."""
        return self._holder

    @property
    def is_stopped(self) -> bool:
        """Whether it is over."""
        return self._is_stopped

    @property
    def last_failure(self) -> str:
        """Why we have no connection just now, as far as that is known here; empty: we have one, or it is not ours."""
        return self._holder.last_failure if self._holder is not None else ""

    @property
    def unreached(self) -> str:
        """Why the server was never reached, as far as that is known here; empty: it was, or the connection is not ours."""
        holder = self._holder
        return "" if holder is None or holder.was_ready else holder.last_failure or "timeout"

    def start(self) -> None:
        """
        Take the lock, or tell who has it to look.

        @raise Trouble: the lock's file cannot be used.
        """
        self._step()
        self.nudge()

    def nudge(self) -> None:
        """Something was written into the store: it is to be sent."""
        if self._holder is not None:
            self._holder.look()
        else:
            self._ring()

    def stop(self) -> Deferred[None]:
        """
        End the connection, if it is ours, and free the lock.

        @return: fires when nothing is left; that takes bounded time.
        """
        self._is_stopped = True
        holder, self._holder = self._holder, None
        done = succeed(None) if holder is None else holder.stop()
        if holder is not None:
            done.addBoth(lambda result: self._lock.free())
        # Whoever waits has nothing to wait for any more.
        self.changed()
        return done

    def changed(self) -> None:
        """There may be something new: let the command look."""
        sleepers, self._sleepers = self._sleepers, {}
        for sleeper, alarm in sleepers.items():
            if alarm.active():
                alarm.cancel()
            sleeper.callback(None)

    async def until(self, check: Callable[[], T | None], timeout: float | None) -> T | None:
        """
        Wait until a look into the store brings something.

        @param check: looks; C{None}: not yet.
        @param patience: seconds; C{None}: for ever.
        @return: what it brought, or C{None} when the time is over.
        @raise Trouble: there is no connection, and none is to be expected; or C{stopped}.
        """
        deadline = None if timeout is None else self._clock.seconds() + timeout
        while True:
            self._step()
            value = check()
            if value is not None:
                return value
            if self._is_stopped:
                raise error_for("stopped")
            left = None if deadline is None else deadline - self._clock.seconds()
            self._raise_trouble()
            self._tell_waiting()
            if left is not None and left <= 0:
                return None
            await self._wait(left)

    async def ask(self, kind: str, argument: str = "", *, timeout: float | None) -> dict[str, str]:
        """
        Have an errand run by whoever has the connection. With L{Retry} it is left again where a failure passes.

        @param patience: seconds; C{None}: for ever.
        @return: its facts.
        @raise Trouble: it was refused, or nobody answered in time.
        """
        deadline = None if timeout is None else self._clock.seconds() + timeout
        while True:
            left = None if deadline is None else max(deadline - self._clock.seconds(), 0)
            outcome = await self._job(kind, argument, JOB_LIFE if left is None else left)
            if outcome is None and deadline is None:
                continue
            if outcome is not None and not outcome.code:
                return outcome.facts
            if outcome is not None:
                problem = error_for(outcome.code, argument or self.where)
            else:
                problem = error_for(self.last_failure or "timeout", self.where)
            is_over = deadline is not None and deadline <= self._clock.seconds()
            if self._retry is None or is_over or problem.status is not Exit.NOT_CONNECTED:
                raise problem
            # Else they would be asked and refused as fast as the server can.
            await self.until(lambda: None, RETRY_PAUSE)

    async def _job(self, kind: str, argument: str, timeout: float) -> Outcome | None:
        """Leave an errand, and wait for what comes of it."""
        number = jobs.leave(self._store, kind, argument, now=self._now(), timeout=timeout)
        self.nudge()
        outcome: Outcome | None = None
        try:
            outcome = await self.until(lambda: jobs.collect(self._store, number), timeout)
        finally:
            if outcome is None:
                jobs.give_up(self._store, number)
        return outcome

    def _step(self) -> None:
        """Take the lock if nobody has it."""
        if self._holder is None and not self._is_stopped and self._take():
            self._holder = self._hold(self.changed)
            self._holder.start(self._again or self._retry is not None)

    def _take(self) -> bool:
        """Try the lock."""
        try:
            return self._lock.take()
        except OSError as error:
            raise error_for("profile-unreadable", text=f"the profile cannot be locked: {error.strerror}") from None

    def _raise_trouble(self) -> None:
        """Say what makes waiting useless."""
        holder = self._holder
        if holder is None:
            return
        if holder.fatal:
            raise error_for(holder.fatal, self.where)
        if isinstance(holder.local_error, StateDamaged):
            raise holder.local_error
        if not holder.last_failure or self._again:
            return
        problem = error_for(holder.last_failure, self.where)
        if self._retry is None or problem.status is not Exit.NOT_CONNECTED:
            raise holder.local_error if isinstance(holder.local_error, StorageError) else problem

    def _tell_waiting(self) -> None:
        """Where somebody wants to go on, say once why there is nothing to see."""
        is_waiting = bool(self.last_failure)
        if self._retry is not None and is_waiting and not self._was_told:
            self._retry.told(self.last_failure, self.where)
        self._was_told = is_waiting

    def _wait(self, left: float | None) -> Deferred[None]:
        """Sleep until something changes, and not for long."""
        sleeper: Deferred[None] = Deferred()
        poll = GUEST_POLL if self._holder is None else HOLDER_POLL
        self._sleepers[sleeper] = self._clock.callLater(poll if left is None else min(poll, left), self._wake, sleeper)
        return sleeper

    def _wake(self, sleeper: Deferred[None]) -> None:
        """One has slept long enough."""
        if self._sleepers.pop(sleeper, None) is not None:
            sleeper.callback(None)
