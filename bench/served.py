"""The programs under measurement: started on their core, asked what they have used, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from attrs import define

from bench.accounts import write_accounts
from bench.machine import Unmeasurable, cpu_time, pinned, resident

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
# The daemon's folder, beside its log.
STATE = "state"
# Seconds. A daemon starts in one or two.
START_TIME = 30
STOP_TIME = 10


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@define
class Served:
    """A running server."""

    name: str
    host: str
    port: int
    log: Path
    _process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def cpu(self) -> float:
        """Processor time used so far, seconds."""
        return cpu_time(self._process.pid)

    def resident(self) -> int:
        """Memory, bytes."""
        return resident(self._process.pid)

    def state_size(self) -> int:
        """What its state takes on disk, bytes."""
        return sum(path.stat().st_size for path in (self.log.parent / STATE).rglob("*") if path.is_file())

    def wait_until_up(self) -> None:
        """
        Wait until it listens.

        @raise Unmeasurable: it does not, or ended.
        """
        deadline = time.monotonic() + START_TIME
        while True:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last = self.log.read_text("utf-8", "replace").strip().splitlines()[-1:]
                raise Unmeasurable(f"the {self.name} did not start: {''.join(last)}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_daemon(
    folder: Path, core: int, max_clients: int, profile: Path | None = None, host: str = HOST, mailbox: int = 0
) -> Served:
    """
    Start the daemon, with its state in C{folder} and open to everybody.

    @param profile: where to write what cProfile saw of it; measured times are then useless.
    @param host: where it listens, with one number for TCP and UDP.
    @param mailbox: lets a mailbox hold so many messages; 0: the usual number.
    """
    port = free_port()
    argv = [sys.executable, "-c", TWISTD, "-n"]
    if profile is not None:
        argv += ["--profile", str(profile), "--profiler=cprofile", "--savestats"]
    argv += ["securemsg", "--host", host, "--port", str(port), "--udp-port", str(port), "--state", str(folder / STATE)]
    argv += ["--registration", "open", "--max-clients", str(max_clients), "--answer", "none"]
    # The few accounts of the load log in more often than any real one.
    argv += ["--logins-per-minute", "100000000"]
    if mailbox:
        argv += ["--max-mailbox-messages", str(mailbox), "--max-mailbox-size", "1T"]
    return start("daemon", argv, host, port, folder, core)


def start_with_accounts(folder: Path, core: int, accounts: int, max_clients: int) -> Served:
    """Start the daemon for the first time, have these accounts written, and start it for good."""
    start_daemon(folder, core, max_clients).stop()
    write_accounts(folder / STATE, accounts)
    return start_daemon(folder, core, max_clients)


def start(name: str, argv: list[str], host: str, port: int, folder: Path, core: int) -> Served:
    """Start a program on its core, and wait until it listens."""
    log = folder / f"{name}.log"
    with log.open("ab") as output, pinned(core):
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    served = Served(name, host, port, log, process)
    served.wait_until_up()
    return served
