"""Tests of L{securemsg.responders.command} that start no process; C{tests/functional} runs real commands."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.responders.command import PATH, Command, CommandRun, decode_output
from securemsg.responders.errors import AnswerFailed
from tests.net.fakes import scratch
from tests.responders.question import LIMIT


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
            self.assertEqual(decode_output(written), text)


class ProcessTransport:
    """The transport of a process that does nothing."""

    pid = os.getpid()

    def write(self, data: bytes) -> None:
        """Drop it."""

    def closeStdin(self) -> None:
        """Do nothing."""


class ProcessClock(Clock):
    """A reactor that starts nothing."""

    def spawnProcess(self, protocol: ProcessProtocol, *args: object) -> None:
        """See C{IReactorProcess}."""
        protocol.makeConnection(cast(Any, ProcessTransport()))


class RunTests(SynchronousTestCase):
    """One run of a command."""

    def test_clock_is_set(self) -> None:
        """A clock that is set forward ends no command: its limit is counted by the monotonic clock."""
        clock = ProcessClock()
        run = CommandRun(clock, b"", LIMIT)
        run.start(["true"], Path("/"), {})
        clock.advance(3600)
        self.assertNoResult(run.ended)
        self.assertEqual(len(clock.getDelayedCalls()), 1)

    def test_no_process(self) -> None:
        """Where the system has no process left, the code is C{not-started}."""
        clock = ProcessClock()

        def fail(*args: object) -> None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        self.patch(clock, "spawnProcess", fail)
        error = self.assertRaises(AnswerFailed, CommandRun(clock, b"", LIMIT).start, ["true"], Path("/"), {})
        assert isinstance(error, AnswerFailed)
        self.assertEqual((error.code, error.reason), ("not-started", os.strerror(errno.EAGAIN)))
