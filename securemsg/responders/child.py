"""
Our end of the guard (L{securemsg.responders.guard}): a process of ours that starts commands, and ends them when we do.

It is started once, when it is first needed; where somebody has killed it, it is started again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from securemsg.responders import guard
from securemsg.responders.errors import AnswerFailed, Stopped

# Of the guard and of ours: seconds, at the end.
FAREWELL = guard.FAREWELL + 1


@define(eq=False)
class CommandRun:
    """
    One run of the command.

    @ivar line: where the guard says how it ended; who closes it ends the run.
    @ivar stdin: to write to, C{stdout}: to read from.
    @ivar guard: who sees to it.
    """

    line: socket.socket
    stdin: int
    stdout: int
    guard: subprocess.Popen[bytes]
    _is_closed: bool = field(default=False, init=False)

    def pull(self) -> None:
        """Have the command killed, and wait until it is."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)
            self.line.settimeout(FAREWELL)
            while self.line.recv(64):
                pass

    def hear(self) -> str:
        """The guard's last word, once there is one: nothing, if it was killed."""
        try:
            return self.line.recv(64).decode("ascii", "replace").strip()
        except ConnectionResetError:
            # It did not even read what was asked for.
            return "errno 0"

    def close_stdin(self) -> None:
        """There is no more to be read for the command."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Let go of everything."""
        self.line.close()
        self.close_stdin()
        os.close(self.stdout)


@define(eq=False)
class CommandRuns:
    """All runs of one command. For several threads."""

    _argv: list[str]
    _folder: Path
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _line: socket.socket | None = field(default=None, init=False)
    _is_stopped: bool = field(default=False, init=False)

    @property
    def is_stopped(self) -> bool:
        """Whether it is over."""
        return self._is_stopped

    def start(self, environment: Mapping[str, str]) -> CommandRun:
        """
        Have the command run.

        @raise AnswerFailed: C{not-started}.
        @raise Stopped: it is over.
        """
        try:
            with contextlib.ExitStack() as undo:
                ours, theirs = socket.socketpair()
                undo.callback(theirs.close)
                with contextlib.ExitStack() as kept:
                    kept.callback(ours.close)
                    stdin, to_stdin = os.pipe()
                    undo.callback(os.close, stdin)
                    kept.callback(os.close, to_stdin)
                    from_stdout, stdout = os.pipe()
                    undo.callback(os.close, stdout)
                    kept.callback(os.close, from_stdout)
                    ours.sendall(json.dumps(dict(environment)).encode("ascii") + b"\n")
                    asked = self._ask([stdin, stdout, theirs.fileno()])
                    kept.pop_all()
                return CommandRun(ours, to_stdin, from_stdout, asked)
        except OSError as error:
            raise AnswerFailed("not-started", error.strerror or "") from None

    def lose(self, run: CommandRun) -> None:
        """The guard of a run was killed: it is asked for nothing more."""
        with self._lock:
            if self._guard is run.guard:
                self._dismiss()

    def stop(self) -> None:
        """Kill what runs, and start nothing any more."""
        with self._lock:
            self._is_stopped = True
            self._dismiss()

    def _dismiss(self) -> None:
        """Have the guard kill what runs, and leave; no dead process stays behind."""
        line, self._line = self._line, None
        process, self._guard = self._guard, None
        if line is not None:
            line.close()
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(FAREWELL)

    def _ask(self, descriptors: list[int]) -> subprocess.Popen[bytes]:
        """
        Ask the guard, and a new one where the old one is gone.

        @return: whom we asked.
        """
        with self._lock:
            if self._is_stopped:
                raise Stopped
            if self._guard is not None and self._guard.poll() is not None:
                self._dismiss()
            if self._guard is None:
                self._begin()
            assert self._guard is not None and self._line is not None, "it was started just now"
            socket.send_fds(self._line, [b"!"], descriptors)
            return self._guard

    def _begin(self) -> None:
        """Start the guard."""
        self._line, theirs = socket.socketpair()
        with theirs:
            try:
                self._guard = subprocess.Popen(  # noqa: S603 - our own program, and what the operator named
                    # Its own folder and the user's packages are no place to look for modules.
                    [sys.executable, "-I", "-S", guard.__file__, *self._argv],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd=self._folder,
                    # Ctrl-C at a terminal is not meant for it.
                    start_new_session=True,
                )
            # Whatever it is, an interrupt too: nobody else would close our end. Nothing is swallowed.
            except BaseException:
                self._dismiss()
                raise
