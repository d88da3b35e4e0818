"""
A command of the operator's that answers: run for each message, without a shell, and never for longer than its time.

The text is its standard input, and what it writes to its standard output is the answer. It leads a process group of its own,
and when it has ended, or its time is up, whatever is left of that group is killed: a child that holds the pipe open keeps
nobody waiting. A command that leaves its group on purpose is not followed.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from securemsg.answers.failure import AnswerFailed, Stopped
from securemsg.client.journal import Received
from securemsg.protocol.messages import MAX_TEXT

# Seconds for one message.
LIMIT = 10
# Seconds between two looks whether the command has ended, while somebody holds its output open.
LOOK = 0.05
# What is killed is gone at once, unless the kernel has to wait for a disk: then it is left to itself.
FAREWELL = 2
CHUNK = 65536
# Where programs are found, and a language in which text is text; nothing else of our environment is the command's business.
PATH = "/usr/local/bin:/usr/bin:/bin"
LANGUAGE = "C.UTF-8"


class Command:
    """
    Runs one command, for several messages at once. Called from several threads.

    @ivar limit: seconds for one message.
    """

    def __init__(self, line: str, limit: float = LIMIT) -> None:
        """
        @param line: program and arguments, quoted as for a shell. A relative path counts from the folder of this moment.
        @raise ValueError: the quotes do not match, or nothing is named.
        """
        self._argv = shlex.split(line)
        if not self._argv:
            raise ValueError("no command is named")
        self._folder = Path.cwd()
        self.limit = limit
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_stopped = False

    def __call__(self, question: Received) -> str | None:
        """
        Run it for a message.

        @return: what it wrote; C{None}: nothing.
        @raise AnswerFailed: C{not-started}, C{timeout}, C{status N}, C{signal N}.
        @raise Stopped: see L{Command.stop}.
        """
        deadline = time.monotonic() + self.limit
        process = self._start(question)
        try:
            written = _converse(process, question.text.encode("utf-8", "replace"), deadline)
        finally:
            status = self._end(process)
        if self._is_stopped:
            raise Stopped
        if written is None:
            raise AnswerFailed("timeout")
        if status:
            raise AnswerFailed(f"status {status}" if status > 0 else f"signal {-status}")
        return _decode(written) or None

    def stop(self) -> None:
        """
        Kill what runs, and start nothing any more.
        """
        with self._lock:
            self._is_stopped = True
            for leader in self._running:
                _kill_group(leader)

    def _start(self, question: Received) -> subprocess.Popen[bytes]:
        """
        Start it.

        @raise AnswerFailed: it cannot be.
        """
        with self._lock:
            if self._is_stopped:
                raise Stopped
            try:
                process = subprocess.Popen(  # noqa: S603 - what the operator named, split here, seen by no shell
                    self._argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # It may say anything about the message, and a log is read by others.
                    stderr=subprocess.DEVNULL,
                    cwd=self._folder,
                    env=environment(question),
                    start_new_session=True,
                    bufsize=0,
                )
            except (OSError, ValueError, subprocess.SubprocessError):
                raise AnswerFailed("not-started") from None
            self._running.add(process.pid)
            return process

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """
        Kill what is left, and learn how it ended.

        @return: its status; of a signal, the number below zero.
        """
        # The group is killed before its leader is waited for: until then nobody else can get this number.
        status = _status(process)
        with self._lock:
            _kill_group(process.pid)
            self._running.discard(process.pid)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(FAREWELL)
        return -signal.SIGKILL if status is None else status


def environment(question: Received) -> dict[str, str]:
    """
    All that a command knows besides the text.
    """
    return {
        "PATH": PATH,
        "HOME": os.path.expanduser("~"),
        "LANG": LANGUAGE,
        "SECUREMSG_SENDER": question.sender,
        "SECUREMSG_ID": question.id.hex(),
        "SECUREMSG_TIME": f"{datetime.fromtimestamp(question.sent_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """
    How it ended, without taking its number away from it; C{None}: it has not.
    """
    if process.returncode is not None:
        return process.returncode
    if not hasattr(os, "waitid"):
        return process.poll()
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _kill_group(leader: int) -> None:
    """
    Kill a process and all that it started and that stayed with it.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _converse(process: subprocess.Popen[bytes], text: bytes, deadline: float) -> bytes | None:
    """
    Write the text to a process and read what it writes, until it ends.

    What it writes beyond one message is read, and thrown away; what it does not read stays unread.

    @return: the first bytes that it wrote, one more than a message holds at most; C{None}: it did not end in time.
    """
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    written = bytearray()
    rest = memoryview(text)
    with selectors.DefaultSelector() as selector, _watching(process.pid, selector):
        for pipe, event in ((process.stdin, selectors.EVENT_WRITE), (process.stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, event)
        while _status(process) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            ready = {key.fileobj for key, _ in selector.select(min(left, LOOK))}
            if process.stdout in ready and not _read(process.stdout.fileno(), written):
                selector.unregister(process.stdout)
            if process.stdin in ready:
                rest = _write(process.stdin.fileno(), rest)
                if not rest:
                    selector.unregister(process.stdin)
                    process.stdin.close()
    # Whatever stayed behind writes no more; what is in the pipe already counts.
    _kill_group(process.pid)
    while len(written) <= MAX_TEXT and _read(process.stdout.fileno(), written):
        pass
    return bytes(written)


@contextlib.contextmanager
def _watching(pid: int, selector: selectors.BaseSelector) -> Iterator[None]:
    """
    Wake up when a process ends, where the kernel offers that; elsewhere it is looked at now and then.
    """
    if not hasattr(os, "pidfd_open"):
        yield
        return
    watch = os.pidfd_open(pid)
    try:
        selector.register(watch, selectors.EVENT_READ)
        yield
    finally:
        os.close(watch)


def _read(descriptor: int, written: bytearray) -> bool:
    """
    Read what is there, and keep what one message holds.

    @return: whether there was anything.
    """
    try:
        data = os.read(descriptor, CHUNK)
    except BlockingIOError:
        return False
    written += data[: MAX_TEXT + 1 - len(written)]
    return bool(data)


def _write(descriptor: int, rest: memoryview) -> memoryview:
    """
    Write what fits.

    @return: what is left to be written; nothing, if nobody reads it.
    """
    try:
        return rest[os.write(descriptor, rest[:CHUNK]) :]
    except BlockingIOError:
        return rest
    except OSError:
        return rest[:0]


def _decode(written: bytes) -> str:
    """
    What was written, as a text: no more than one message holds, no half character at its end, no line end after it.
    """
    kept = written[:MAX_TEXT]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(kept, final=len(kept) == len(written))
    return text.removesuffix("\n")
