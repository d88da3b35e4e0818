"""
A command that answers: run for each message, without a shell, and never for longer than its limit.

The text is its standard input, and what it writes to its standard output is the answer. It runs in a session of its own. When
it has ended, when its limit is reached, or when we stop, whatever is left of that session's process group is killed. A child
that holds the output open delays nothing; one that leaves the session (C{setsid}) is not killed, and its output is not read.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

from securemsg.client.messages import Received
from securemsg.client.times import iso
from securemsg.protocol.messages import MAX_TEXT
from securemsg.responders import launcher
from securemsg.responders.errors import AnswerFailed, Stopped

# Seconds for one message.
LIMIT = 10
# Seconds after the end of a command in which its output is read to the end, if a child that left the session holds it open.
GRACE = 1
# Where programs are found, and a language with UTF-8; the command gets nothing else of our environment.
PATH = "/usr/local/bin:/usr/bin:/bin"
LANGUAGE = "C.UTF-8"


class Command:
    """
    Runs one command, for several messages at once.

    @ivar limit: seconds for one message.
    @ivar problem: why it cannot be started, as far as is known without trying; or empty.
    """

    def __init__(self, line: str, limit: float = LIMIT) -> None:
        """
        @param line: program and arguments, quoted as for a shell. A relative path counts from the folder of this moment.
        @raise ValueError: the quotes do not match, nothing is named, or the folder is gone.
        """
        self._argv = shlex.split(line)
        if not self._argv:
            raise ValueError("no command is named")
        self._folder = current_folder()
        self.problem = missing(self._argv[0])
        self.limit = limit
        self._runs: set[CommandRun] = set()
        # Between the start of a run and a stop in another thread.
        self._lock = threading.Lock()
        self._is_stopped = False

    def __call__(self, reactor: Any, question: Received) -> str | None:
        """
        Run it for a message, and wait. Not in the reactor's thread.

        @return: what it wrote; C{None}: nothing.
        @raise AnswerFailed: C{not-started}, C{timeout}, C{status N}, C{signal N}.
        @raise Stopped: see L{Command.stop}.
        """
        # Its type annotations do not cover coroutines.
        run: Any = self._run
        output: bytes = blockingCallFromThread(reactor, run, reactor, question)
        return decode_output(output) or None

    def stop(self) -> None:
        """Kill all running commands, and start no more. From any thread."""
        with self._lock:
            self._is_stopped = True
            for run in tuple(self._runs):
                run.kill()

    async def _run(self, reactor: Any, question: Received) -> bytes:
        """In the reactor's thread: run it once."""
        run = CommandRun(reactor, question.text.encode("utf-8", "replace"), self.limit)
        try:
            with self._lock:
                if self._is_stopped:
                    raise Stopped
                run.start(self._argv, self._folder, environment(question))
                self._runs.add(run)
            return await run.ended
        except AnswerFailed:
            if self._is_stopped:
                raise Stopped from None
            raise
        finally:
            self._runs.discard(run)


class CommandRun(ProcessProtocol):
    """
    One run of a command.

    @ivar ended: fires with the first bytes that it wrote, one more than a message holds at most; or with L{AnswerFailed}.
    """

    # Of its process group, which outlives the process as long as a child does.
    _group: int

    def __init__(self, reactor: Any, text: bytes, limit: float) -> None:
        self._reactor = reactor
        self._text = text
        self._limit = limit
        self._deadline = time.monotonic() + limit
        self._output = bytearray()
        self._report = b""
        self._timer: IDelayedCall | None = None
        self.ended: Deferred[bytes] = Deferred()

    def start(self, argv: list[str], folder: Path, environment: dict[str, str]) -> None:
        """
        Start it.

        @raise AnswerFailed: C{not-started}.
        """
        # Neither the launcher's own folder nor the user's packages are places to look for modules.
        program = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(self._limit + GRACE), str(folder)]
        arguments = [os.fsencode(word) for word in program + argv]
        try:
            self._reactor.spawnProcess(self, sys.executable, arguments, environment)
        except OSError as error:
            raise AnswerFailed("not-started", error.strerror or "") from None

    def kill(self) -> None:
        """Kill it and its children. From any thread."""
        with contextlib.suppress(ProcessExitedAlready, PermissionError):
            cast(IProcessTransport, self.transport).signalProcess("KILL")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, signal.SIGKILL)

    def connectionMade(self) -> None:
        """It was started: write the text to it."""
        transport = cast(Any, self.transport)
        self._group = transport.pid
        self._timer = self._reactor.callLater(self._limit, self._check_limit)
        transport.write(self._text)
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Keep what one message holds; the rest is thrown away, and the command is not held up."""
        self._output += data[: MAX_TEXT + 1 - len(self._output)]

    def errReceived(self, data: bytes) -> None:
        """What the launcher reports; the command has no standard error."""
        self._report += data

    def processExited(self, reason: Failure) -> None:
        """It has ended: kill its children, then read what is left of its output."""
        self.kill()
        if time.monotonic() >= self._deadline:
            self._fail("timeout")
        self._stop_timer()
        self._timer = self._reactor.callLater(GRACE, self._finish, reason)

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and nobody holds its output open."""
        self._finish(reason)

    def _check_limit(self) -> None:
        """Kill it if its limit is reached. The reactor's clock can be set, so the monotonic one decides."""
        left = self._deadline - time.monotonic()
        if left > 0:
            self._timer = self._reactor.callLater(left, self._check_limit)
        else:
            self.kill()
            self._fail("timeout")

    def _finish(self, reason: Failure) -> None:
        self._stop_timer()
        cast(IProcessTransport, self.transport).loseConnection()
        end = reason.value
        if self._report:
            self._fail("not-started", _reason(self._report))
        elif isinstance(end, ProcessTerminated):
            self._fail(f"status {end.exitCode}" if end.signal is None else f"signal {end.signal}")
        elif not self.ended.called:
            self.ended.callback(bytes(self._output))

    def _fail(self, code: str, reason: str = "") -> None:
        """Report a failure; the first one counts."""
        if not self.ended.called:
            self.ended.errback(AnswerFailed(code, reason))

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def missing(program: str) -> str:
    """Why a program cannot be found, looked up as when it is started; or empty."""
    if shutil.which(program, path=PATH) is not None:
        return ""
    if os.sep in program:
        where = current_folder()
        return f"{program} is not a program that this user can run from {where}; give its full path and check its mode"
    return f"{program} is in none of {PATH}; give its full path"


def current_folder() -> Path:
    """
    The current folder.

    @raise ValueError: that folder was removed.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise ValueError(f"the current folder cannot be used ({error.strerror}); change to another one first") from None


def environment(question: Received) -> dict[str, str]:
    """The environment of a command: all that it knows besides the text."""
    return {
        "PATH": PATH,
        "HOME": os.path.expanduser("~"),
        "LANG": LANGUAGE,
        "SECUREMSG_SENDER": question.sender,
        "SECUREMSG_ID": question.id.hex(),
        "SECUREMSG_TIME": iso(question.sent_at),
    }


def _reason(report: bytes) -> str:
    """Why the launcher could not start the command; empty where it reported no C{errno}."""
    return os.strerror(int(report)) if report.isdigit() else ""


def decode_output(output: bytes) -> str:
    """The output as a text: no more than one message holds, no half character at its end, no line end after it."""
    kept = output[:MAX_TEXT]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(kept, final=len(kept) == len(output))
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
