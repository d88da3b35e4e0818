"""Tests of L{securemsg.answers}: what can be named, functions, and threads. Commands are run in C{tests/functional}."""

from __future__ import annotations

import errno
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.autoresponder import Immediate
from securemsg.client.messages import Received
from securemsg.daemon.contact import EXPECTED_ERRORS
from securemsg.responders.choice import ANSWERS, BadAnswer, prepare
from securemsg.responders.command import PATH, Command, CommandRun, _decode
from securemsg.responders.errors import AnswerFailed, Stopped
from securemsg.responders.function import Function, load_function
from securemsg.responders.pool import PLACES, NoThread, ThreadPool
from tests.net.fakes import scratch

# A thread that has not answered by then never will.
LIMIT = 30
SECRET = "nobody else's business"


def message(text: str = "hello") -> Received:
    """A message of Ada's."""
    return Received(1, bytes(16), "ada", "server", 1, 1_795_255_200, text, 1, True, "pqxdh", 0, "")


def never(call: Callable[[], None]) -> None:
    """For sources that answer at once."""
    raise AssertionError("nothing is called later")


class ChoiceTests(SynchronousTestCase):
    """What C{--answer} names."""

    def test_words(self) -> None:
        """The words answer at once."""
        for word in ANSWERS:
            self.assertIsInstance(prepare(word)(None, never), Immediate)

    def test_machines(self) -> None:
        """Commands and functions answer a few questions at once, in threads."""
        for text in ("exec:/bin/true", "python:json.dumps"):
            source = prepare(text)(None, never)
            self.assertIsInstance(source, ThreadPool)
            self.assertEqual(source.places, 4)
            source.stop()

    def test_none_of_these(self) -> None:
        """Whatever else is named is refused in one line."""
        for text in ("", "all", "exec:", "exec: ", "exec:'x", "python:", "python:json", "python:no.such", "python:json.x"):
            with self.assertRaises(BadAnswer) as caught:
                prepare(text)
            self.assertIn("--answer", str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


    def test_folder_is_gone(self) -> None:
        """A folder that was removed while we are in it is told, too: nothing could be found from there."""

        def gone() -> Path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

        self.patch(Path, "cwd", gone)
        for text in ("exec:/bin/true", "python:json.dumps"):
            self.assertIn("the current folder", str(self.assertRaises(BadAnswer, prepare, text)))


class CommandTests(SynchronousTestCase):
    """A command, before it runs."""

    def test_there(self) -> None:
        """
        It is looked for as it will be when it is started: on the plain path, or where its name says, and it must be a program.
        """
        folder = scratch(self)
        program, text = folder / "program", folder / "text"
        for path in (program, text):
            path.write_text("#!/bin/sh\n", "utf-8")
        program.chmod(0o755)
        self.patch(os, "environ", {**os.environ, "PATH": str(folder)})
        for line in ("cat", "/bin/cat -n", str(program)):
            self.assertEqual(Command(line).problem, "")
        for line in ("program", "no-such-command -x"):
            problem = Command(line).problem
            self.assertIn(line.split()[0], problem)
            self.assertIn(PATH, problem)
        for path in (folder / "missing", text, folder):
            self.assertIn(f"{path} is not a program", Command(str(path)).problem)

    def test_line_end(self) -> None:
        """Of what it writes one line end of either kind is dropped."""
        cases = {b"hi\n": "hi", b"hi\r\n": "hi", b"hi\n\n": "hi\n", b"hi\r\n\r\n": "hi\r\n", b"hi\r": "hi\r"}
        for written, text in cases.items():
            self.assertEqual(_decode(written), text)


class ProcessTransport:
    """Of a process that is there, and does nothing."""

    pid = os.getpid()

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def closeStdin(self) -> None:
        """Nobody sees it."""


class ProcessClock(Clock):
    """A reactor that starts nothing."""

    def spawnProcess(self, protocol: ProcessProtocol, *args: object) -> None:
        """See C{IReactorProcess}."""
        protocol.makeConnection(cast(Any, ProcessTransport()))


class RunTests(SynchronousTestCase):
    """One run of a command."""

    def test_clock_is_set(self) -> None:
        """A clock that is set forward ends no command: its limit is counted by one that nobody can set."""
        clock = ProcessClock()
        run = CommandRun(clock, b"", LIMIT)
        run.start(["true"], Path("/"), {})
        clock.advance(3600)
        self.assertNoResult(run.ended)
        self.assertEqual(len(clock.getDelayedCalls()), 1)

    def test_no_process(self) -> None:
        """Where the system has no process for us, the command was not started."""
        clock = ProcessClock()

        def fail(*args: object) -> None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        self.patch(clock, "spawnProcess", fail)
        error = self.assertRaises(AnswerFailed, CommandRun(clock, b"", LIMIT).start, ["true"], Path("/"), {})
        assert isinstance(error, AnswerFailed)
        self.assertEqual((error.code, error.reason), ("not-started", os.strerror(errno.EAGAIN)))


class FunctionTests(SynchronousTestCase):
    """A function of somebody's."""

    def test_called(self) -> None:
        """It gets the message, and its answer is the answer; an empty one is none."""
        self.assertEqual(Function(lambda got: f"{got.sender}: {got.text}")(None, message()), "ada: hello")
        self.assertIsNone(Function(lambda got: None)(None, message()))
        self.assertIsNone(Function(lambda got: "")(None, message()))

    def test_exception(self) -> None:
        """
        An exception of any kind is a code, and so is what is no text; nothing of it is told but what it is, and where it was
        raised.
        """

        def leave(got: Received) -> object:
            raise SystemExit(got.text)

        def fail(got: Received) -> object:
            raise ValueError(got.text)

        here = f"{__file__}:{fail.__code__.co_firstlineno + 1}"
        calls: list[tuple[Callable[[Any], object], str]] = [
            (leave, "SystemExit in "),
            (fail, f"ValueError in {here}"),
            (lambda got: got.text.encode(), "it returned bytes, not a text"),
            (cast(Any, lambda: None), "TypeError when it was called"),
        ]
        for call, reason in calls:
            with self.assertRaises(AnswerFailed) as caught:
                Function(call)(None, message(SECRET))
            self.assertEqual(caught.exception.code, "exception")
            self.assertIn(reason, caught.exception.reason)
            self.assertNotIn(SECRET, repr(caught.exception) + caught.exception.reason)

    def test_current_folder(self) -> None:
        """A module of the current folder is found."""
        folder = scratch(self)
        (folder / "its_answers.py").write_text("def answer(message):\n    return message.text.upper()\n", "utf-8")
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "its_answers", None)
        self.patch(Path, "cwd", lambda: folder)
        self.assertEqual(load_function("its_answers.answer")(None, message()), "HELLO")

    def test_broken_module(self) -> None:
        """A module that cannot be imported, whatever it does, is told in one line."""
        folder = scratch(self)
        self.patch(sys, "path", [str(folder), *sys.path])
        for number, source in enumerate(("raise SystemExit(0)", "raise ValueError('a\\nb')", "def")):
            (folder / f"broken_{number}.py").write_text(source, "utf-8")
            with self.assertRaises(ValueError) as caught:
                load_function(f"broken_{number}.answer")
            self.assertIn("cannot be imported", str(caught.exception))
            self.assertIn(f"python -c 'from broken_{number} import answer'", str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


@define
class Work:
    """Answers as it is told."""

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
        """Somebody waits for answers."""
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
        """An answer is handed over in the thread of whoever asked, and not before that has time."""
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
        self.assertEqual(str(formatEvent(event)), "a message could not be answered by machine: status 3")
        self.assertNotIn(SECRET, str(event))

    def test_reason(self) -> None:
        """More of it is for the log, and not for whoever asked."""

        def fail(got: Received) -> str:
            raise AnswerFailed("not-started", "No such file")

        with capturedLogs() as events:
            self.assertEqual(self.answer(fail), "error: not-started")
        self.assertIn("not-started (No such file)", str(formatEvent(events[0])))

    def test_problem(self) -> None:
        """What will answer nothing is logged at the start."""
        with capturedLogs() as events:
            ThreadPool(Work(lambda got: None), None, self.calls.put)
            self.assertEqual(events, [])
            ThreadPool(Work(lambda got: None, "tr2 is nowhere"), None, self.calls.put)
        self.assertEqual(str(formatEvent(events[0])), "no message will be answered by machine: tr2 is nowhere")

    def test_bug(self) -> None:
        """Even a bug of ours leaves nobody waiting."""

        def fail(got: Received) -> str:
            raise LookupError

        self.assertEqual(self.answer(fail), "error: internal")
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

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
        self.assertEqual(PLACES, 4)
