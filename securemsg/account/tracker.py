"""Tracking of many sent messages at once, in the reactor, for programs; of one: L{securemsg.account.tracking}."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError, error_for
from securemsg.account.tracking import has_tried, held_up_in, is_enough, problem_of, too_late
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.interfaces import IProfileStore
from securemsg.storage.errors import StorageError

# Seconds after which a L{Tracker} looks at all messages again.
FULL_CHECK = 1.0


@define(eq=False)
class _Waiter:
    """Somebody who waits for a message; C{done} fires with it, or with what is wrong."""

    message_id: bytes
    wait: str
    done: Deferred[Sent] = field(factory=Deferred, init=False)

    def fire(self, result: Sent | Exception) -> None:
        """Wait no longer."""
        if self.done.called:
            return
        if isinstance(result, Exception):
            self.done.errback(result)
        else:
            self.done.callback(result)


@define(eq=False)
class Tracker:
    """
    As L{follow}, for a program that waits for many messages, each of them new: what became of them is looked up together.

    The server answers in order, as a rule. So after a change the first messages to each recipient are looked up, up to one that
    is still queued, and all of them about once a second.
    """

    _clock: Any
    _store: IProfileStore
    _connection: AccountConnection
    _waiting: dict[str, dict[_Waiter, None]] = field(factory=dict, init=False)
    _is_watching: bool = field(default=False, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)

    async def follow(self, to: str, message_id: bytes, wait: str, timeout: float | None) -> Sent:
        """
        Wait for a message that was committed just now.

        @raise SecuremsgError: see L{follow}.
        """
        waiter = _Waiter(message_id, wait)
        waiters = self._waiting.setdefault(to, {})
        waiters[waiter] = None
        alarm = None if timeout is None else self._clock.callLater(timeout, self._give_up, waiter)
        if not self._is_watching:
            self._is_watching = True
            Deferred.fromCoroutine(self._watch())
        try:
            return await waiter.done
        finally:
            del waiters[waiter]
            if alarm is not None and alarm.active():
                alarm.cancel()

    async def _watch(self) -> None:
        """Look whenever something has changed, as long as anybody waits."""
        try:
            await self._connection.until(self._check_waiting, None)
        # Whatever it is, everybody who waits hears of it, and nobody else would.
        except Exception as problem:  # noqa: BLE001
            for waiter in [waiter for waiters in self._waiting.values() for waiter in waiters]:
                waiter.fire(problem)
        finally:
            self._is_watching = False

    def _check_waiting(self) -> bool | None:
        """Tell those whose messages have come far enough, or will not; C{True}: nobody waits any more."""
        is_full = self._clock.seconds() - self._looked_at >= FULL_CHECK
        if is_full:
            self._looked_at = self._clock.seconds()
        was_tried = has_tried(self._connection)
        results: list[tuple[_Waiter, Sent | SecuremsgError]] = []
        with self._store.reading() as records:
            for waiters in self._waiting.values():
                for waiter in waiters:
                    sent = messages.sent_in(records, waiter.message_id)
                    if sent is None:
                        results.append((waiter, error_for("disappeared")))
                        continue
                    held_up = held_up_in(records, sent) if was_tried else ""
                    if is_enough(sent, waiter.wait):
                        results.append((waiter, sent))
                    elif sent.status in ("failed", "withdrawn") or held_up:
                        results.append((waiter, problem_of(sent, held_up)))
                    elif sent.status == "queued" and not is_full:
                        break
        for waiter, result in results:
            waiter.fire(result)
        self._waiting = {to: waiters for to, waiters in self._waiting.items() if waiters}
        return None if self._waiting else True

    def _give_up(self, waiter: _Waiter) -> None:
        """Its time is over."""
        try:
            problem: Exception = too_late(self._store, self._connection, waiter.message_id)
        except (SecuremsgError, StorageError) as error:
            problem = error
        waiter.fire(problem)
