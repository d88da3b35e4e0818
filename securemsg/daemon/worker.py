"""A thread that makes one call after another, for what would hold up the reactor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from securemsg.responders.errors import without_text

Call = Callable[[], object]
P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """A thread that makes one call after another. The process ends without waiting for it."""

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        """
        @param name: of the thread.
        """
        self._reactor = reactor
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def do(self, call: Call) -> None:
        """Make a call after those that wait; from any thread. One that fails is logged."""
        self._calls.put(call)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Make a call after those that wait; from the reactor's thread.

        @return: fires there with what came of it.
        """
        result: Deferred[T] = Deferred()

        def make() -> None:
            """In the thread."""
            try:
                value = function(*args, **kwargs)
            except Exception:  # noqa: BLE001 - handed to the reactor's thread, whole
                self._reactor.callFromThread(result.errback, Failure())
            else:
                self._reactor.callFromThread(result.callback, value)

        self.do(make)
        return result

    def stop(self) -> Deferred[None]:
        """
        End after what waits already.

        @return: fires in the reactor's thread when that is done.
        """
        done = self.call(lambda: None)
        self._calls.put(None)
        return done

    def _run(self) -> None:
        """The thread."""
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - logged but for its text; the thread has more to do
                self._log.failure("a call in a thread of its own failed", without_text(Failure()))
