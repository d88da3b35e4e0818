"""The end of a reactor turn: many connections share one timer for their work then."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Turn:
    """Collects calls, and makes them in order once the reactor has finished its current work."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        """Wait for the turns of this clock."""
        self._clock = clock
        self._calls: list[Callable[[], None]] = []

    def later(self, call: Callable[[], None]) -> None:
        """Make this call at the end of the turn."""
        if not self._calls:
            self._clock.callLater(0, self._run)
        self._calls.append(call)

    def _run(self) -> None:
        """Make the calls; one that fails does not stop the others."""
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001 - logged in full, and the calls of other connections go on
                self._log.failure("a call at the end of a turn failed")


def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end; a failure that it does not deal with itself is logged."""
    Deferred.fromCoroutine(coroutine).addErrback(lambda failure: Turn._log.failure("a coroutine failed", failure))
