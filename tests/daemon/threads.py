"""A thread beside the test's, with a reactor that is none: what the tests of the daemon's contact share."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.worker import Worker

# Seconds; a thread that does not answer within this time will not.
TIMEOUT = 10


class ThreadClock(Clock):
    """A clock that takes calls from other threads, and makes them in the test's."""

    def __init__(self) -> None:
        """Nothing came yet."""
        super().__init__()
        self.waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        """See C{IReactorFromThreads}."""
        self.waiting.put(lambda: call(*args, **kwargs))

    def settle(self, worker: Worker) -> None:
        """Let thread and reactor work until neither has anything left for the other."""
        quiet = 0
        while quiet < 3:
            self.advance(0)
            done = threading.Event()
            worker.do(done.set)
            if not done.wait(TIMEOUT):
                raise AssertionError("the thread hangs")
            quiet += 1
            while not self.waiting.empty():
                self.waiting.get()()
                quiet = 0

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Make calls until something is seen."""
        while not seen():
            self.waiting.get(timeout=TIMEOUT)()


class ThreadCase(SynchronousTestCase):
    """Has a reactor."""

    def setUp(self) -> None:
        """Of a reactor no more is used here than this clock has."""
        self.clock = ThreadClock()
        self.reactor = cast(Any, self.clock)
