"""
A profile's way to the server while a command runs: a connection of its own, or the one of the process that has the lock.

Either way a command does the same: it writes into the store, and waits until something can be read there. When the process
with the lock dies, whoever waits takes it and connects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from securemsg.client import errands
from securemsg.client.errands import Outcome
from securemsg.interfaces import IProfileStore
from securemsg.station.holder import Holder
from securemsg.station.locks import FileLock
from securemsg.station.troubles import trouble
from securemsg.storage.errors import StateDamaged, StorageError

T = TypeVar("T")

# How often we look into the store while another process has the connection; and while we have it, in case a ring got lost.
GUEST_POLL = 0.1
HOLDER_POLL = 1.0


@define(eq=False)
class Uplink:
    """
    @ivar ring: tells the process with the lock that there is something for it.
    @ivar hold: makes the holder, once the lock is ours; it must be told whom to call when anything changes.
    @ivar again: whether to connect again after a failure; else the first failure ends the command.
    @ivar where: of the server, for messages.
    """

    _clock: Any
    _store: IProfileStore
    _now: Callable[[], float]
    _lock: FileLock
    _ring: Callable[[], object]
    _hold: Callable[[Callable[[], None]], Holder]
    _again: bool = False
    _where: str = "the server"
    _holder: Holder | None = field(default=None, init=False)
    _is_stopped: bool = field(default=False, init=False)
    _sleepers: dict[Deferred[None], IDelayedCall] = field(factory=dict, init=False)

    @property
    def holder(self) -> Holder | None:
        """
        Our own connection, if the lock is ours.
        """
        return self._holder

    def start(self) -> None:
        """
        Take the lock, or tell who has it to look.

        @raise Trouble: the lock's file cannot be used.
        """
        self._step()
        self.nudge()

    def nudge(self) -> None:
        """
        Something was written into the store: it is to be sent.
        """
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
        if holder is None:
            return succeed(None)
        done = holder.stop()
        done.addBoth(lambda result: self._lock.free())
        return done

    def changed(self) -> None:
        """
        There may be something new: let the command look.
        """
        sleepers, self._sleepers = self._sleepers, {}
        for sleeper, alarm in sleepers.items():
            if alarm.active():
                alarm.cancel()
            sleeper.callback(None)

    async def until(self, check: Callable[[], T | None], patience: float | None) -> T | None:
        """
        Wait until a look into the store brings something.

        @param check: looks; C{None}: not yet.
        @param patience: seconds; C{None}: for ever.
        @return: what it brought, or C{None} when the time is over.
        @raise Trouble: there is no connection, and none is to be expected.
        """
        deadline = None if patience is None else self._clock.seconds() + patience
        while True:
            self._step()
            value = check()
            if value is not None:
                return value
            left = None if deadline is None else deadline - self._clock.seconds()
            self._raise_trouble()
            if left is not None and left <= 0:
                return None
            await self._wait(left)

    async def ask(self, kind: str, argument: str = "", *, patience: float) -> dict[str, str]:
        """
        Have an errand run by whoever has the connection.

        @return: its facts.
        @raise Trouble: it was refused, or nobody answered in time.
        """
        number = errands.leave(self._store, kind, argument, now=self._now(), patience=patience)
        self.nudge()
        outcome: Outcome | None = None
        try:
            outcome = await self.until(lambda: errands.collect(self._store, number), patience)
        finally:
            if outcome is None:
                errands.give_up(self._store, number)
        if outcome is None:
            holder = self._holder
            code = holder.last_failure if holder is not None and holder.last_failure else "timeout"
            raise trouble(code, self._where)
        if outcome.code:
            raise trouble(outcome.code, argument or self._where)
        return outcome.facts

    def _step(self) -> None:
        """
        Take the lock if nobody has it.
        """
        if self._holder is None and not self._is_stopped and self._take():
            self._holder = self._hold(self.changed)
            self._holder.start(self._again)

    def _take(self) -> bool:
        """
        Try the lock.
        """
        try:
            return self._lock.take()
        except OSError as error:
            raise trouble("profile-unreadable", text=f"the profile cannot be locked: {error.strerror}") from None

    def _raise_trouble(self) -> None:
        """
        Say what makes waiting useless.
        """
        holder = self._holder
        if holder is None:
            return
        if holder.fatal:
            raise trouble(holder.fatal, self._where)
        if isinstance(holder.trouble, StateDamaged):
            raise holder.trouble
        if holder.last_failure and not self._again:
            raise holder.trouble if isinstance(holder.trouble, StorageError) else trouble(holder.last_failure, self._where)

    def _wait(self, left: float | None) -> Deferred[None]:
        """
        Sleep until something changes, and not for long.
        """
        sleeper: Deferred[None] = Deferred()
        poll = GUEST_POLL if self._holder is None else HOLDER_POLL
        self._sleepers[sleeper] = self._clock.callLater(poll if left is None else min(poll, left), self._wake, sleeper)
        return sleeper

    def _wake(self, sleeper: Deferred[None]) -> None:
        """
        One has slept long enough.
        """
        if self._sleepers.pop(sleeper, None) is not None:
            sleeper.callback(None)
