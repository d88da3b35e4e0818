"""Tests of L{securemsg.responders.pool}."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.logger import LogEvent, capturedLogs, eventAsText, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.daemon.contact import EXPECTED_ERRORS
from securemsg.daemon.logs import json_line
from securemsg.responders.errors import AnswerFailed, Stopped
from securemsg.responders.pool import CAPACITY, NoThread, ThreadPool
from tests.responders.question import LIMIT, SECRET, message


def formatted(events: Sequence[LogEvent]) -> str:
    """All that any log could hold of these."""
    traces = [event["log_failure"] for event in events if "log_failure" in event]
    return "".join(
        [repr(events), *map(json_line, events), *[eventAsText(event) for event in events]]
        + [trace.getTraceback(detail=detail) for trace in traces for detail in ("verbose", "default", "brief")]
    )


@define
class Work:
    """Answers with a function of the test's."""

    make: Callable[[Received], str | None]
    problem: str = ""
    stopped: list[bool] = field(factory=list)

    def __call__(self, reactor: object, question: Received) -> str | None:
        """See L{securemsg.responders.pool.Work}."""
        return self.make(question)

    def stop(self) -> None:
        """See L{securemsg.responders.pool.Work}."""
        self.stopped.append(True)


class PoolTests(SynchronousTestCase):
    """Threads that answer."""

    def setUp(self) -> None:
        """A queue takes the calls for the thread that asks."""
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.given: list[str | None] = []

    def ask(self, make: Callable[[Received], str | None]) -> ThreadPool:
        """Ask for one answer."""
        pool = ThreadPool(Work(make), None, self.calls.put)
        pool.ask(message(SECRET), self.given.append)
        return pool

    def answer(self, make: Callable[[Received], str | None]) -> str | None:
        """Ask, and wait for the answer."""
        self.ask(make)
        self.calls.get(timeout=LIMIT)()
        return self.given.pop()

    def test_answer(self) -> None:
        """An answer is handed over in the thread that asked, and not before it has time."""
        self.ask(lambda got: got.text)
        call = self.calls.get(timeout=LIMIT)
        self.assertEqual(self.given, [])
        call()
        self.assertEqual(self.given, [SECRET])

    def test_failure(self) -> None:
        """A failure is answered with its code, and logged in one event without the message."""

        def fail(got: Received) -> str:
            raise AnswerFailed("status 3")

        with capturedLogs() as events:
            self.assertEqual(self.answer(fail), "error: status 3")
        (event,) = events
        self.assertEqual(str(formatEvent(event)), "a message could not be answered automatically: status 3")
        self.assertNotIn(SECRET, str(event))

    def test_reason(self) -> None:
        """The reason is logged, and not sent."""

        def fail(got: Received) -> str:
            raise AnswerFailed("not-started", "No such file")

        with capturedLogs() as events:
            self.assertEqual(self.answer(fail), "error: not-started")
        self.assertIn("not-started (No such file)", str(formatEvent(events[0])))

    def test_problem(self) -> None:
        """A known problem is logged at the start."""
        with capturedLogs() as events:
            ThreadPool(Work(lambda got: None), None, self.calls.put)
            self.assertEqual(events, [])
            ThreadPool(Work(lambda got: None, "tr2 is nowhere"), None, self.calls.put)
        self.assertEqual(str(formatEvent(events[0])), "no message will be answered automatically: tr2 is nowhere")

    def test_bug(self) -> None:
        """After a bug of ours the sender still gets an answer. The log says where it was, and nothing of the message."""

        def fail(got: Received) -> str:
            raise LookupError(got.text)

        with capturedLogs() as events:
            self.assertEqual(self.answer(fail), "error: internal")
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        said = formatted(events)
        self.assertIn("raise LookupError(got.text)", said)
        self.assertNotIn(SECRET, said)

    def test_no_thread(self) -> None:
        """
        Where the system has no thread for us, that is an error like that of a full disk, after which the same is asked again.
        """

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        start = threading.Thread.start
        self.patch(threading.Thread, "start", fail)
        pool = ThreadPool(Work(lambda got: got.text), None, self.calls.put)
        error = self.assertRaises(NoThread, pool.ask, message(), self.given.append)
        self.assertIsInstance(error, EXPECTED_ERRORS)
        self.patch(threading.Thread, "start", start)
        pool.ask(message(), self.given.append)
        self.calls.get(timeout=LIMIT)()
        self.assertEqual(self.given, ["hello"])

    def test_stopped(self) -> None:
        """What was stopped is not answered."""
        ended: queue.Queue[bool] = queue.Queue()

        def stop(got: Received) -> str:
            ended.put(True)
            raise Stopped

        pool = self.ask(stop)
        ended.get(timeout=LIMIT)
        pool.stop()
        # What is asked next is answered, and nothing comes before it.
        self.assertEqual(self.answer(lambda got: "next"), "next")
        self.assertEqual(CAPACITY, 4)
