"""A condition to wait for: something has changed, so look again."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall


@define(eq=False)
class Condition:
    """A condition variable for coroutines: L{notify} wakes everybody who waits."""

    _clock: Any
    _waiting: dict[Deferred[None], IDelayedCall] = field(factory=dict, init=False)

    def notify(self) -> None:
        """Wake everybody who waits now."""
        waiting, self._waiting = self._waiting, {}
        for waiter, alarm in waiting.items():
            if alarm.active():
                alarm.cancel()
            waiter.callback(None)

    def wait(self, seconds: float) -> Deferred[None]:
        """Wait for L{notify}, but no longer than this."""
        waiter: Deferred[None] = Deferred()
        self._waiting[waiter] = self._clock.callLater(seconds, self._time_out, waiter)
        return waiter

    def _time_out(self, waiter: Deferred[None]) -> None:
        if self._waiting.pop(waiter, None) is not None:
            waiter.callback(None)
