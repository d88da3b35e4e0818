"""What it costs to start a command: the CPU of whole commands, beside that of C{python -c pass} in the same rounds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define

from bench.clients import COMMAND, children_time, environment, run_command
from bench.machine import Unmeasurable
from bench.report import Figure
from bench.served import START_TIME, STATE, start_daemon
from securemsg.account.wake import wake

NOTHING = (sys.executable, "-c", "pass")
BARE = "python -c pass"
# Enough for a median that other load does not move much.
ROUNDS = 10
MILLI = 1e3
SEND = "send bob hello"
# What is run, by the key of its figure, and the aim. The last one has somebody beside it who has the connection.
COMMANDS = {
    "start_whoami": ("whoami", "100"),
    "start_contacts": ("contacts", "100"),
    "start_history": ("history bob", "100"),
    "start_send": (SEND, "150"),
    "start_recv": ("recv", ""),
    "start_send_beside": (f"{SEND}, beside recv --follow", "150"),
}


@define
class Starts:
    """Alice and bob with profiles on disk, and a daemon of their own, which has the other core."""

    _folder: Path
    _core: int

    def measure(self, rounds: int, say: Callable[[str], None]) -> list[Figure]:
        """The interpreter alone and each command, in turn."""
        daemon = start_daemon(self._folder, self._core, 100)
        bare: list[float] = []
        used: dict[str, list[float]] = {key: [] for key in COMMANDS}
        try:
            invite = (self._folder / STATE / "first-invite").read_text("utf-8").strip()
            for name in ("alice", "bob"):
                run_command(self._command(f"join {invite} {name}", name), self._folder)
            # It makes them known to each other, and begins a session.
            run_command(self._command(SEND), self._folder)
            for _ in range(rounds):
                bare.append(self._cost(NOTHING))
                for key, (text, _) in COMMANDS.items():
                    if key != "start_send_beside":
                        used[key].append(self._cost(self._command(text)))
                with self._owner():
                    used["start_send_beside"].append(self._cost(self._command(SEND)))
                say(", ".join(f"{key} {costs[-1]:.0f} ms" for key, costs in used.items()))
        finally:
            daemon.stop()
        return [
            Figure(key, f"CPU of {text}", "ms", {"securemsg": used[key], BARE: bare}, aim)
            for key, (text, aim) in COMMANDS.items()
        ]

    def _command(self, text: str, name: str = "alice") -> list[str]:
        return [*COMMAND, "--profile", str(self._folder / name), *text.split()]

    def _cost(self, argv: Sequence[str]) -> float:
        """Run it: its processor time, milliseconds."""
        before = children_time()
        run_command(argv, self._folder)
        return (children_time() - before) * MILLI

    @contextlib.contextmanager
    def _owner(self) -> Iterator[None]:
        """
        Have another process that has the connection of alice's profile, and has logged in.

        @raise Unmeasurable: it does not get it.
        """
        argv = self._command("recv --follow")
        with subprocess.Popen(argv, env=environment(self._folder), stdout=subprocess.DEVNULL) as owner:
            try:
                deadline = time.monotonic() + START_TIME
                while not wake(self._folder / "alice"):
                    if owner.poll() is not None or time.monotonic() > deadline:
                        raise Unmeasurable("recv --follow does not get the connection")
                    time.sleep(0.05)
                run_command(self._command("ping"), self._folder)
                yield
            finally:
                owner.terminate()
