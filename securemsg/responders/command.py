"""
A command of the operator's that answers: run for each message, without a shell, and never for longer than its time.

The text is its standard input, and what it writes to its standard output is the answer. It leads a process group of its own,
and when it has ended, or its time is up, or we are killed, whatever is left of that group is killed: a child that holds the
pipe open keeps nobody waiting. A command that leaves its group on purpose is not followed.
"""

from __future__ import annotations

import codecs
import os
import selectors
import shlex
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from securemsg.client.messages import Received
from securemsg.protocol.messages import MAX_TEXT
from securemsg.responders.child import CommandRun, CommandRuns
from securemsg.responders.errors import AnswerFailed, Stopped

# Seconds for one message.
LIMIT = 10
CHUNK = 65536
# Where programs are found, and a language in which text is text; nothing else of our environment is the command's business.
PATH = "/usr/local/bin:/usr/bin:/bin"
LANGUAGE = "C.UTF-8"


class Command:
    """
    Runs one command, for several messages at once. Called from several threads.

    @ivar limit: seconds for one message.
    @ivar problem: why it cannot be started, as far as can be seen without trying; empty: nothing is known.
    """

    def __init__(self, line: str, limit: float = LIMIT) -> None:
        """
        @param line: program and arguments, quoted as for a shell. A relative path counts from the folder of this moment.
        @raise ValueError: the quotes do not match, nothing is named, or the folder is gone.
        """
        argv = shlex.split(line)
        if not argv:
            raise ValueError("no command is named")
        self._pack = CommandRuns(argv, current_folder())
        self.problem = missing(argv[0])
        self.limit = limit

    def __call__(self, question: Received) -> str | None:
        """
        Run it for a message.

        @return: what it wrote; C{None}: nothing.
        @raise AnswerFailed: C{not-started}, C{timeout}, C{status N}, C{signal N}.
        @raise Stopped: see L{Command.stop}.
        """
        deadline = time.monotonic() + self.limit
        run = self._pack.start(environment(question))
        try:
            said, written = _converse(run, question.text.encode("utf-8", "replace"), deadline)
            if said is None:
                run.pull()
            elif not said:
                self._pack.lose(run)
        finally:
            run.close()
        if self._pack.is_stopped:
            raise Stopped
        if said is None:
            raise AnswerFailed("timeout")
        _check(said)
        return _decode(written) or None

    def stop(self) -> None:
        """Kill what runs, and start nothing any more."""
        self._pack.stop()


def missing(program: str) -> str:
    """What is wrong with the name of a program: it is looked for as it will be when it is started. Empty: it is there."""
    if shutil.which(program, path=PATH) is not None:
        return ""
    if os.sep in program:
        return f"{program} is no program that this user may run from {current_folder()}; give its full path, and see its mode"
    return f"{program} is in none of {PATH}; give its full path"


def current_folder() -> Path:
    """
    Where we are.

    @raise ValueError: that folder was removed.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise ValueError(f"the current folder cannot be used ({error.strerror}): go to another one first") from None


def environment(question: Received) -> dict[str, str]:
    """All that a command knows besides the text."""
    return {
        "PATH": PATH,
        "HOME": os.path.expanduser("~"),
        "LANG": LANGUAGE,
        "SECUREMSG_SENDER": question.sender,
        "SECUREMSG_ID": question.id.hex(),
        "SECUREMSG_TIME": f"{datetime.fromtimestamp(question.sent_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _check(said: str) -> None:
    """
    See whether the command ended well.

    @param said: by the guard; nothing, if it was killed: then the command is not known to have ended in another way.
    @raise AnswerFailed: it did not.
    """
    word, _, number = said.partition(" ")
    status = int(number or -signal.SIGKILL)
    if word == "errno":
        raise AnswerFailed("not-started", os.strerror(status) if status else "")
    if status:
        raise AnswerFailed(f"status {status}" if status > 0 else f"signal {-status}")


def _converse(run: CommandRun, text: bytes, deadline: float) -> tuple[str | None, bytes]:
    """
    Write the text to a command and read what it writes, until it ends.

    What it writes beyond one message is read, and thrown away; what it does not read stays unread.

    @return: what the guard says of its end, C{None}: it did not end in time; and the first bytes that it wrote, one more than a
        message holds at most.
    """
    written = bytearray()
    rest = memoryview(text)
    with selectors.DefaultSelector() as selector:
        selector.register(run.line, selectors.EVENT_READ)
        for pipe, event in ((run.stdin, selectors.EVENT_WRITE), (run.stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe, False)
            selector.register(pipe, event)
        ready: set[object] = set()
        while run.line not in ready:
            left = deadline - time.monotonic()
            if left <= 0:
                return None, b""
            ready = {key.fileobj for key, _ in selector.select(left)}
            if run.stdout in ready and not _read(run.stdout, written):
                selector.unregister(run.stdout)
            if run.stdin in ready:
                rest = _write(run.stdin, rest)
                if not rest:
                    selector.unregister(run.stdin)
                    run.close_stdin()
    # Its group is gone, and writes no more; what is in the pipe already counts.
    while len(written) <= MAX_TEXT and _read(run.stdout, written):
        pass
    return run.hear(), bytes(written)


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
    """What was written, as a text: no more than one message holds, no half character at its end, no line end after it."""
    kept = written[:MAX_TEXT]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(kept, final=len(kept) == len(written))
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
