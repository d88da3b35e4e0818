"""The machine that measures and is measured: cores, open files, what a process has used, and what all of it is called."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from attrs import frozen

# Besides connections: the interpreter's own files, logs, databases.
SPARE_FILES = 128
_TICK = os.sysconf("SC_CLK_TCK")


class Unmeasurable(Exception):
    """Why there is no figure; said to the user as it stands."""


@frozen
class Cores:
    """Which core serves, and which one makes the load."""

    server: int
    load: int

    @property
    def apart(self) -> bool:
        """Whether the load leaves the server's core alone."""
        return self.server != self.load


def choose_cores() -> Cores:
    """The first core we may use serves, the last one makes the load."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on this core alone; programs that are started meanwhile stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_files(connections: int) -> None:
    """
    See to it that this process, and those it starts, may hold so many connections.

    @raise Unmeasurable: the system does not allow that many.
    """
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Unmeasurable(
                f"{connections} connections need {wanted} open files, and the limit here is {hard}:"
                " raise it (ulimit -Hn), or give fewer --connections"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_time(pid: int) -> float:
    """The processor time that a process has used in all its threads, user and system, in seconds; to the nanosecond."""
    # What clock_getcpuclockid(3) gives on Linux.
    return time.clock_gettime(~pid << 3 | 2)


def resident(pid: int) -> int:
    """The memory that a process holds, in bytes (C{VmRSS})."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Unmeasurable(f"no VmRSS of {pid}")


def own_time() -> float:
    """The processor time of this process, and of those it started that have ended, seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def all_time() -> float:
    """The processor time that the whole machine has used, idle time left out, seconds."""
    # user, nice, system, idle, iowait, irq, softirq, steal
    fields = [int(field) for field in Path("/proc/stat").read_text("utf-8").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICK


def describe(folder: Path) -> dict[str, str]:
    """
    What stands beside the figures, for they mean nothing without it.

    @param folder: where the daemon keeps its state.
    """
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    versions = {name: metadata.version(name) for name in ("twisted", "pyopenssl", "cryptography", "msgspec")}
    return {
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": _openssl(),
        "sqlite": sqlite3.sqlite_version,
        "file system": _file_system(folder),
        **versions,
    }


def _openssl() -> str:
    """The library under pyOpenSSL, which is not the one of the standard library."""
    from OpenSSL import SSL

    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii").split()[1]


def _file_system(folder: Path) -> str:
    """Its type, for an fsync in memory is none."""
    try:
        done = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
