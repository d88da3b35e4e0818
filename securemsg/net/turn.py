"""The end of a reactor turn: many connections share one timer for their work then, and it is then that they write."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

# Calls of a turn may ask for others: a commit has answers written. Both rounds belong to one turn; whatever asks for more waits
# for the next, so that the network has its share.
ROUNDS = 2


class Turn:
    """Collects calls, and makes them in order once the reactor has finished its current work."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        """Wait for the turns of this clock."""
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._flushes: list[Callable[[], None]] = []
        # Whether the end of this turn is sure to come.
        self._is_due = False

    def later(self, call: Callable[[], None]) -> None:
        """Make this call at the end of the turn."""
        if not self._is_due:
            self.expect()
        self._calls.append(call)

    def flush_with(self, flush: Callable[[], None]) -> None:
        """Make this call at the end of every turn, after all others."""
        self._flushes.append(flush)

    def expect(self) -> None:
        """Let there be an end of this turn, whether or not calls wait for it."""
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self.end)

    def begin(self) -> None:
        """Spare the timer: whoever begins a turn also ends it."""
        self._is_due = True

    def end(self) -> None:
        """Make the calls; one that fails does not stop the others."""
        for _ in range(ROUNDS):
            calls, self._calls = self._calls, []
            for call in calls:
                try:
                    call()
                except Exception:  # noqa: BLE001 - logged in full, and the calls of other connections go on
                    self._log.failure("a call at the end of a turn failed")
        self._is_due = False
        if self._calls:
            self.expect()
        for flush in self._flushes:
            flush()


def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end; a failure that it does not deal with itself is logged."""
    Deferred.fromCoroutine(coroutine).addErrback(lambda failure: Turn._log.failure("a coroutine failed", failure))
