"""
A program of its own, which starts the commands that answer, and ends them: also when whoever wanted them was killed.

It is run as a file, and needs nothing but Python itself. Its standard input is a socket; over it comes one byte for each run
of the command, with three descriptors: its standard input, its standard output, and a I{leash}. On the leash one line of JSON
has come before: the environment. Once the command has ended, however that was, whatever is left of its process group is killed,
and one line is written on the leash: C{status} and a number, of a signal below zero, or C{errno} and a number where nothing
could be started. When the other end of the leash is closed, the group is killed at once. The kernel closes it when its holder
dies: nobody has to live for that.

Nothing else can be done about a kill in the moment between the start of a process and the moment in which somebody knows of it:
here the one that starts it is not the one that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
from types import FrameType

# What is killed is gone at once, unless the kernel has to wait for a disk: then it is left to itself.
FAREWELL = 2
# Open files of a command: what is usual. The daemon has asked for more, and many programs walk through all that there may be.
FILES = 1024
SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Run:
    """A command that runs."""

    def __init__(self, run: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.run = run
        self.process = process

    def has_ended(self) -> bool:
        """Whether it has, without taking its number away from it: its group has the same, and is to be killed first."""
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """Kill what is left, and say how it ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        try:
            status = self.process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        _say(self.run, f"status {status}")


class Guard:
    """The program."""

    def __init__(self, argv: list[str], line: socket.socket) -> None:
        """
        @param argv: the command.
        @param line: where we are asked to run it.
        """
        self._argv = argv
        self._line = line
        self._runs: list[Run] = []
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Run what is asked for, until nobody is left who could ask."""
        woken = _wake_up()
        self._selector.register(self._line, selectors.EVENT_READ)
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            while True:
                ready = {key.fileobj for key, _ in self._selector.select()}
                if woken in ready:
                    os.read(woken, 4096)
                for run in [run for run in self._runs if run.run in ready or run.has_ended()]:
                    self._runs.remove(run)
                    self._selector.unregister(run.run)
                    run.end()
                if self._line in ready and not self._take():
                    return
        finally:
            for run in self._runs:
                run.end()

    def _take(self) -> bool:
        """
        Take what is asked for.

        @return: whether anybody is left who could ask.
        """
        message, descriptors, _, _ = socket.recv_fds(self._line, 1, 3)
        if not message:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        stdin, stdout = descriptors[:2]
        run = socket.socket(fileno=descriptors[2])
        try:
            self._start(run, stdin, stdout)
        finally:
            os.close(stdin)
            os.close(stdout)
        return True

    def _start(self, run: socket.socket, stdin: int, stdout: int) -> None:
        """Start the command."""
        with run.makefile("rb") as file:
            asked = file.readline()
        if not asked.endswith(b"\n"):
            # Whoever asked is gone.
            run.close()
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - what the operator named, split there, seen by no shell
                self._argv,
                stdin=stdin,
                stdout=stdout,
                # It may say anything about the message, and a log is read by others.
                stderr=subprocess.DEVNULL,
                env=json.loads(asked),
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            _say(run, f"errno {error.errno or 0}" if isinstance(error, OSError) else "errno 0")
            return
        self._runs.append(Run(run, process))
        self._selector.register(run, selectors.EVENT_READ)


def _say(run: socket.socket, line: str) -> None:
    """The last word of a leash, if anybody listens."""
    with run, contextlib.suppress(OSError):
        run.sendall(f"{line}\n".encode())


def _nothing(number: int, frame: FrameType | None) -> None:
    """A signal is no reason to leave commands alone; ours ends when its own does, and what it starts gets the usual signals."""


def _wake_up() -> int:
    """
    Wake up when a process ends.

    @return: what can be read then.
    """
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _nothing)
    return woken


def main() -> None:
    """Guard the command that our arguments are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft > FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    with socket.socket(fileno=os.dup(0)) as line:
        os.set_inheritable(line.fileno(), False)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        Guard(sys.argv[1:], line).serve()


if __name__ == "__main__":
    main()
