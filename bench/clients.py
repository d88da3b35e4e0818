"""What one profile sends and receives in a second: through the command line, and in a program with C{securemsg.bot}."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from bench.jobs import Reading
from bench.machine import Unmeasurable
from bench.report import Figure
from bench.rows import MICRO, Seen, made
from bench.served import ROOT, STATE, start_daemon
from bench.sizes import MESSAGE_SIZE
from securemsg.bot import open_bot

COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'securemsg'; from securemsg.cli.start import main; main()")
BOT = (sys.executable, "-m", "bench.clients")
TEXT = "x" * MESSAGE_SIZE
AIM = "3,000"
CHAT, RECV, PROGRAM = "chat on a pipe", "recv", "bot"
LIMIT = 1800


@define
class Clients:
    """Two people with profiles on disk, and a daemon of their own, which has the other core."""

    _folder: Path
    _core: int
    _lines: int
    _port: int = field(init=False, default=0)

    def measure(self, rounds: int, say: Callable[[str], None]) -> list[Figure]:
        """Through the commands, then through a program, in turn."""
        daemon = start_daemon(self._folder, self._core, 100)
        self._port = daemon.port
        try:
            invite = (self._folder / STATE / "first-invite").read_text("utf-8").strip()
            for name in ("alice", "bob"):
                run_command(self._command(name, "join", invite, name), self._folder)
            sends: Seen = {CHAT: [], PROGRAM: []}
            receives: Seen = {RECV: [], CHAT: [], PROGRAM: []}
            for _ in range(rounds):
                sends[CHAT].append([self._chat()])
                receives[RECV].append([self._timed(self._command("bob", "recv", "--count", str(self._lines)))])
                self._chat()
                receives[CHAT].append([self._measured(self._read_in_chat)])
                sends[PROGRAM].append([self._timed([*BOT, "send", str(self._folder / "alice"), str(self._lines)])])
                receives[PROGRAM].append([self._timed([*BOT, "receive", str(self._folder / "bob"), str(self._lines)])])
                for what, seen in (("sends", sends), ("receives", receives)):
                    rates = ", ".join(f"{name} {readings[-1][0].rate:.0f}" for name, readings in seen.items())
                    say(f"one profile {what}, a second: {rates}")
        finally:
            daemon.stop()
        figures = []
        for what, seen in (("sends", sends), ("receives", receives)):
            label = f"messages a second that one profile {what}"
            figures.append(made(f"profile_{what}", label, "1/s", seen, lambda one: one.rate, AIM))
            label = f"CPU a message that one profile {what}"
            figures.append(made(f"profile_{what}_cpu", label, "us", seen, lambda one: one.cost))
        return figures

    def _chat(self) -> Reading:
        """Alice sends through a pipe."""
        return self._timed(self._command("alice", "chat", "bob"), "\n".join([TEXT] * self._lines))

    def _read_in_chat(self) -> None:
        """
        Bob chats through a pipe, and says nothing until everything has come.

        @raise Unmeasurable: it did not come.
        """
        with subprocess.Popen(
            self._command("bob", "chat", "alice"),
            env=environment(self._folder),
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as chat:
            assert chat.stdin is not None, "a pipe"
            assert chat.stdout is not None, "a pipe"
            come = sum(1 for _ in islice(chat.stdout, self._lines))
            chat.stdin.close()
        if come < self._lines:
            raise Unmeasurable(f"{come} of {self._lines} messages came in a chat")

    def _command(self, name: str, *words: str) -> list[str]:
        return [*COMMAND, "--profile", str(self._folder / name), *words]

    def _timed(self, argv: list[str], text: str = "") -> Reading:
        """Run it."""
        return self._measured(lambda: run_command(argv, self._folder, text))

    def _measured(self, work: Callable[[], None]) -> Reading:
        """Measure it: all of it counts, the start as well."""
        began, before = time.monotonic(), children_time()
        work()
        return Reading((children_time() - before) / self._lines * MICRO, self._lines / (time.monotonic() - began))

def run_command(argv: Sequence[str], folder: Path, text: str = "") -> None:
    """
    Run a command in a folder, which is its home, to its end.

    @raise Unmeasurable: it failed.
    """
    done = subprocess.run(
        argv,
        input=text,
        text=True,
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode:
        raise Unmeasurable(f"{' '.join(argv[2:])[-80:]}: {done.stderr.strip()[-300:]}")


def environment(folder: Path) -> dict[str, str]:
    """Ours, with nothing in it that changes what a command does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SECUREMSG"))}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder)}


def children_time() -> float:
    """Processor time of the children that have ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def bot(reactor: Any, what: str, folder: str, count: str) -> None:
    """A program that sends or receives so many messages."""
    async with open_bot(reactor, folder) as account:
        if what == "send":
            # All at once, and each until the server has accepted it.
            await gatherResults([Deferred.fromCoroutine(account.send("bob", TEXT)) for _ in range(int(count))])
            return
        left = int(count)
        async for message in account.messages():
            # Else the last one would come again.
            account.done(message)
            left -= 1
            if not left:
                return


if __name__ == "__main__":
    react(bot, sys.argv[1:])
