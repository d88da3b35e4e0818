"""A thread that does one thing after another, for what would hold up the reactor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

Call = Callable[[], object]


class Worker:
    """A thread that makes one call after another. A call that fails is logged, and the next one is made."""

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        """
        @param name: of the thread.
        """
        self._reactor = reactor
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopped: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def do(self, call: Call) -> None:
        """Make this call after those that wait; from any thread."""
        self._calls.put(call)

    def stop(self) -> Deferred[None]:
        """
        End after what waits already.

        @return: fires in the reactor's thread when the thread is through.
        """
        self._calls.put(None)
        return self._stopped

    def _run(self) -> None:
        """The thread."""
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - logged in full; the thread has more to do
                self._log.failure("a call in a thread of its own failed")
        self._reactor.callFromThread(self._stopped.callback, None)
