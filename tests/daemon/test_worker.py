"""Tests of L{securemsg.daemon.worker}. The thread is real; the reactor is not."""

from __future__ import annotations

import threading

from twisted.logger import capturedLogs

from securemsg.daemon.worker import Worker
from tests.daemon.threads import ThreadCase
from tests.responders.question import SECRET
from tests.responders.test_pool import formatted


class WorkerTests(ThreadCase):
    """One call after another."""

    def setUp(self) -> None:
        """A thread that has not begun."""
        super().setUp()
        self.worker = Worker(self.reactor, "contact")

    def end(self) -> None:
        """Wait for its end."""
        stopped = self.worker.stop()
        self.clock.wait_for(lambda: stopped.called)
        self.successResultOf(stopped)

    def test_order(self) -> None:
        """Calls are made in order, in the thread; one that fails is logged, and the next is made."""
        made: list[str] = []
        self.worker.start()
        self.worker.do(lambda: made.append(threading.current_thread().name))
        self.worker.do(lambda: [][0])
        self.worker.do(lambda: made.append("after"))
        self.end()
        self.assertEqual(made, ["contact", "after"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    def test_text(self) -> None:
        """What a failed call quotes is in no log, because the contact works here."""

        def fail() -> None:
            raise ValueError(SECRET)

        self.worker.start()
        with capturedLogs() as events:
            self.worker.do(fail)
            self.end()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertNotIn(SECRET, formatted(events))

    def test_call(self) -> None:
        """What comes of a call, or what it raises, is handed to the reactor's thread."""
        self.worker.start()
        name = self.worker.call(lambda: threading.current_thread().name)
        failed = self.worker.call(int, "no number")
        self.assertFalse(name.called or failed.called, "not in the reactor's thread")
        self.end()
        self.assertEqual(self.successResultOf(name), "contact")
        self.failureResultOf(failed, ValueError)
