"""
Commands and daemons as real processes that need not import anything: each is a fork of a process that has imported the program.

What a test sees is what a shell would see: a process with its own environment, folder, descriptors and session, which runs the
program's C{main} from its first line and ends as any other. Only the time that Python takes to import Twisted and the rest is
spent once, and not some hundred times.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from attrs import define

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = "from tests.functional.nursery import serve; serve()"
# The bytes of a request: arguments with the program's name before them, folder, environment.
MAX_REQUEST = 1 << 18
# What commands import when they need it.
LATER = (
    "Crypto.Cipher.AES", "Crypto.Cipher.PKCS1_OAEP", "cryptography.x509", "securemsg.cli.connected", "securemsg.client.guest",
    "securemsg.net.quicendpoint", "wcwidth",
)  # fmt: skip
# In the environment of a process: it stops before it begins, for a tracer to take hold of it.
STOPPED = "NURSERY_STOPPED"
# What goes with it: the line that the process is heard of by, and its three standard streams.
DESCRIPTORS = 4


@define(eq=False)
class Born:
    """
    A process that the nursery made; as much of C{subprocess.Popen} as tests need.

    @ivar returncode: once it has ended.
    """

    pid: int
    stdin: IO[bytes] | None
    _line: socket.socket
    stdout: IO[bytes] | None = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its status, if it has ended."""
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self.returncode = int(self._line.recv(16))
            self._line.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """
        Wait for its end.

        @raise subprocess.TimeoutExpired: it did not come in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired("a command", timeout)
            select.select([self._line], [], [], left)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without order."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


@define(eq=False)
class Nursery:
    """The process that has imported the program, started when it is first needed. It ends with us."""

    _control: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: list[str], folder: Path, environment: dict[str, str], pipe: bool, out: int, err: int) -> Born:
        """
        Start a program.

        @param arguments: C{securemsg} or C{twistd}, and what it is told.
        @param pipe: whether it gets a standard input that we write to; else it is empty.
        """
        if self._control is None:
            self._open()
            assert self._control is not None
        line, its_line = socket.socketpair()
        read, write = os.pipe()
        request = json.dumps([arguments, str(folder), environment]).encode()
        socket.send_fds(self._control, [request], [its_line.fileno(), read, out, err])
        its_line.close()
        os.close(read)
        if not pipe:
            os.close(write)
        pid = b""
        while not pid.endswith(b"\n"):
            piece = line.recv(1)
            assert piece, "the nursery is gone"
            pid += piece
        return Born(int(pid), os.fdopen(write, "wb") if pipe else None, line)

    def _open(self) -> None:
        """Start the process."""
        self._control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=its_end.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        its_end.close()


def serve() -> None:
    """Make processes until nobody is there to ask. In such a process this runs the program."""
    # Before anything is asked for: what is imported already, every process finds at hand.
    from twisted.scripts.twistd import run

    from securemsg.cli.main import COMMANDS, load
    from securemsg.cli.start import main

    for name in COMMANDS:
        load(name)
    for name in (*LATER, "securemsg.tap", "twisted.internet.epollreactor", "encodings.idna"):
        importlib.import_module(name)
    # What is here by now is not looked through for garbage again, and so not copied by every process.
    gc.freeze()

    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be shared"
    control = socket.socket(fileno=os.dup(0))
    # Whoever waits for a command is not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST, DESCRIPTORS)
        if not request:
            return
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    control.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line, *streams = descriptors
    os.setsid()
    command = os.fork()
    if command:
        _attend(line, streams, command)
    os.close(line)
    # A group of its own, as a shell gives to each command.
    os.setpgid(0, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Another file than ours, which may not be like it.
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    arguments, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    random.seed()
    if os.environ.pop(STOPPED, ""):
        os.kill(os.getpid(), signal.SIGSTOP)
    {"securemsg": main, "twistd": run}[arguments[0]]()


def _attend(line: int, streams: list[int], command: int) -> None:
    """Wait for a command, and tell how it ended."""
    for stream in streams:
        os.close(stream)
    os.write(line, b"%d\n" % command)
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(OSError):
        os.write(line, b"%d" % status)
    os._exit(0)
