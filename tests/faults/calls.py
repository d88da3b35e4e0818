"""System calls of a process that kill it, or fail, at a chosen moment: C{strace} takes hold of it before it begins."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import define, frozen

from tests.functional.nursery import STOPPED
from tests.functional.support import Place, Running, until

# Whatever changes a disk or leaves the machine, with the names that the call has elsewhere.
KINDS = {
    "write": "write",
    "pwrite64": "pwrite64",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "rename": "/^rename(at2?)?$",
    "link": "/^link(at)?$",
    "unlink": "/^unlink(at)?$",
    "ftruncate": "ftruncate",
    "mkdir": "/^mkdir(at)?$",
    "sendto": "sendto",
}
KILL = "signal=SIGKILL"


def skip_reason() -> str:
    """Why nothing can be traced here; empty if it can."""
    if shutil.which("strace") is None:
        return "needs strace; on Debian: apt-get install strace"
    process = subprocess.Popen(["sleep", "60"])
    tracer = subprocess.Popen(["strace", "-qq", "-o", os.devnull, "-p", str(process.pid)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: tracer.poll() is not None or _is_traced(process.pid), "strace")
        return "" if tracer.poll() is None else "needs permission to trace processes, as with kernel.yama.ptrace_scope=0"
    finally:
        process.kill()
        process.wait()
        tracer.wait()


def _status(pid: int, name: str) -> str:
    """A line of what the kernel says about a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return line.split()[1]
    return ""


def _is_traced(pid: int) -> bool:
    return _status(pid, "TracerPid") not in ("", "0")


@frozen
class Fault:
    """
    What happens at a call.

    @ivar number: which call of its kind, of one thread since its process began; with C{+} that one and all later ones.
    """

    kind: str
    number: int
    action: str = KILL
    later: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"{self.action} at {self.kind} {self.number}{self.later}"


@define(eq=False)
class Traced:
    """A process with a fault ahead."""

    running: Running
    _tracer: subprocess.Popen[bytes]
    _log: Path

    @property
    def was_hit(self) -> bool:
        """Whether it came to that. Ask before anybody else kills it."""
        log = self._log.read_text("utf-8", "replace")
        return "INJECTED" in log or "killed by SIGKILL" in log

    def close(self) -> None:
        """Let it go."""
        self._tracer.terminate()
        self._tracer.wait()


@contextlib.contextmanager
def stopped(place: Place) -> Iterator[None]:
    """What a place starts meanwhile does not begin before L{trace}."""
    place.settings[STOPPED] = "1"
    try:
        yield
    finally:
        del place.settings[STOPPED]


def trace(running: Running, fault: Fault, log: Path) -> Traced:
    """Have a process that was started L{stopped} begin, with a fault ahead."""
    pid = running.process.pid
    until(lambda: _status(pid, "State") == "T", "a process that waits")
    inject = f"inject={KINDS[fault.kind]}:{fault.action}:when={fault.number}{fault.later}"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", str(log), "-e", inject, "-p", str(pid)], stderr=subprocess.DEVNULL)
    until(lambda: tracer.poll() is not None or _is_traced(pid), "strace")
    os.kill(pid, signal.SIGCONT)
    return Traced(running, tracer, log)
