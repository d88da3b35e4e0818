"""
What runs in a small world: Ada chats with Ben, asks Bix, which answers by machine, and writes to the daemon's own contact,
which records and echoes; so does a guest with a key file.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from attrs import define, field

from tests.faults.calls import Fault, Traced, stopped, trace
from tests.faults.mount import Mount
from tests.functional.support import HOST, LIMIT, SECUREMSG, TWISTD, Daemon, Done, Json, Person, Place, Running, until
from tests.functional.test_clock import STEPPING

# Everything that a power cut can take is in this folder of a place: what is the daemon's, and each profile by its name.
DISK, DAEMON = "disk", "daemon"
RECORD, KEY_FILE = "record.jsonl", "shared.key"
# What cannot be copied, and is made anew.
NOT_COPIED = shutil.ignore_patterns("wake", "control")
# Whose processes keep running, and what they are told.
LASTING = {
    "daemon": ("",),
    "reader": ("ben", "recv", "--follow", "--json"),
    "responder": ("bix", "respond", "--exec", "tr a-z A-Z", "--json"),
    "chat": ("ada", "chat", "ben", "--json"),
}


class Owner(Person):
    """Somebody whose profile is on the disk."""

    @property
    def profile(self) -> Path:
        """The folder."""
        return self.place.folder / DISK / self.name


@define(eq=False)
class Processes:
    """
    @ivar clock: a file that says how many seconds the clock of what keeps running is off.
    @ivar running: processes by what they are: C{daemon}, C{reader}, C{responder}, C{chat}.
    """

    place: Place
    daemon: Daemon
    mount: Mount | None = None
    clock: Path | None = None
    running: dict[str, Running] = field(factory=dict)
    _readers: list[Running] = field(factory=list)
    _guests: list[Running] = field(factory=list)
    _clients: list[Running] = field(factory=list)
    _typed: int = 0
    _last_line: str = ""
    _traces: int = 0

    @classmethod
    @contextlib.contextmanager
    def make(cls, source: Path | None, port: int | None = None, folders: str = "") -> Iterator[Self]:
        """
        A world that passes.

        @param source: the disk of another world, to begin with.
        @param folders: mount a file system that forgets: C{ordered} or C{strict}.
        """
        place = Place.make()
        disk = place.folder / DISK
        owned = f"{DISK}/{DAEMON}"
        options = ("--record", f"{owned}/{RECORD}", "--answer", "echo", "--key-file", f"{owned}/{KEY_FILE}")
        world = cls(place, Daemon(place, options, f"{owned}/state"))
        try:
            if port is not None:
                world.daemon.port = port
            empty = place.folder / "empty"
            (empty / DAEMON).mkdir(parents=True)
            if folders:
                world.mount = Mount.make(disk, source or empty, folders)
            else:
                shutil.copytree(source or empty, disk, ignore=NOT_COPIED)
            yield world
        finally:
            for running in [*world.running.values(), *world._clients]:
                running.close()
            if world.mount is not None:
                world.mount.close()
            place.forget()

    @property
    def disk(self) -> Path:
        """The folder with everything."""
        return self.place.folder / DISK

    def person(self, name: str) -> Owner:
        """Somebody."""
        return Owner(self.place, name)

    # --- processes ----------------------------------------------------------------------------------------------------

    def start(self, what: str, may_end: bool = False) -> None:
        """
        Start, or start again, what keeps running.

        @param may_end: whether the daemon may end before it listens.
        """
        running = self._launch(what)
        if what == "daemon":
            until(self._is_ready, "a daemon that listens")
            assert may_end or running.is_alive, f"the daemon did not start: {running.err or running.out}"

    def start_traced(self, what: str, fault: Fault) -> Traced:
        """The same with a fault ahead; the daemon may neither listen nor end."""
        with stopped(self.place):
            running = self._launch(what)
        traced = self._trace(running, fault)
        if what == "daemon":
            with contextlib.suppress(AssertionError):
                until(self._is_ready, "a daemon that listens", LIMIT / 6)
        return traced

    def command_traced(self, who: str, fault: Fault, *arguments: str) -> Traced:
        """See L{command}; with a fault ahead."""
        with stopped(self.place):
            running = self.command(who, *arguments)
        return self._trace(running, fault)

    def _trace(self, running: Running, fault: Fault) -> Traced:
        """Have what was started stopped begin."""
        self._traces += 1
        return trace(running, fault, self.place.folder / f"calls.{self._traces}")

    def _is_ready(self) -> bool:
        """Whether the daemon has ended, or said that it listens; to connect would make one more client."""
        daemon = self.running["daemon"]
        has_said = "securemsg listens on" in daemon.out + daemon.err
        return not daemon.is_alive or ((self.daemon.state / "control").exists() and has_said)

    def _launch(self, what: str) -> Running:
        """Start it, once what ran before is dead."""
        if what in self.running:
            self.running[what].kill()
        running = self.running[what] = self._process(what)
        if what != "daemon":
            self._clients.append(running)
        if what == "reader":
            self._readers.append(running)
        return running

    def _process(self, what: str) -> Running:
        if what == "daemon" and self.clock is None:
            return self.daemon.launch()
        who, *arguments = LASTING[what]
        if self.clock is None:
            return self.person(who).start(*arguments, pipe=what == "chat")
        options = ("--host", HOST, "--port", str(self.daemon.port), "--state", str(self.daemon.state), *self.daemon.options)
        program, arguments = (TWISTD, ["-n", "securemsg", *options]) if what == "daemon" else (SECUREMSG, arguments)
        code = STEPPING.format(path=str(self.clock)) + program
        profile = str(self.person(who).profile)
        return self.place.start(what, code, *arguments, pipe=what == "chat", SECUREMSG_PROFILE=profile)

    def start_all(self) -> None:
        """Start what does not run."""
        for what in LASTING:
            if what not in self.running or not self.running[what].is_alive:
                self.start(what)

    def kill(self, *names: str) -> None:
        """End processes without order; all of them, if none is named."""
        for what in names or list(self.running):
            self.running[what].kill()
        if not names:
            for running in self._clients:
                running.kill()

    def of(self, tree: str) -> list[Running]:
        """The processes that live on a part of the disk."""
        name = "twistd" if tree == DAEMON else f"{tree}-" * bool(tree)
        return [running for running in [*self.running.values(), *self._clients] if running.name.startswith(name)]

    # --- what they do -------------------------------------------------------------------------------------------------

    def talk(self, lines: int) -> None:
        """Type so many lines into the chat, and send one message to everybody else."""
        text = ""
        for _ in range(lines):
            self._typed += 1
            self._last_line = f"line {self._typed}"
            text += self._last_line + "\n"
        with contextlib.suppress(BrokenPipeError):
            self.running["chat"].type(text)
        for to in ("bix", "server"):
            self._typed += 1
            self.command("ada", "send", to, f"question {self._typed}", "--timeout", "60")
        self._guests.append(self._guest(f"guest {self._typed}"))
        self._clients.append(self._guests[-1])

    def greet(self, name: str) -> None:
        """Have somebody who has just joined write to the daemon's contact."""
        self._guests.append(self.command(name, "send", "server", f"{name} is here", "--timeout", "60"))

    def command(self, who: str, *arguments: str) -> Running:
        """Start a command that ends by itself."""
        running = self.person(who).start(*arguments, "--json")
        self._clients.append(running)
        if (who, arguments[0]) == ("ben", "recv"):
            self._readers.append(running)
        return running

    def _guest(self, text: str) -> Running:
        where = ("--host", HOST, "--port", str(self.daemon.port), "--key-file", str(self.disk / DAEMON / KEY_FILE))
        return self.place.start_command("guest", "send", "server", text, *where, "--json", "--timeout", "20")

    def history(self, who: str, name: str) -> list[Json]:
        """A conversation, as somebody has it; nothing if there is none, or it cannot be read."""
        return rows_of(self.call(who, "history", name).out)

    def call(self, who: str, *arguments: str) -> Done:
        """A command, however it ends; never with a traceback."""
        done = self.command(who, *arguments).wait()
        assert "Traceback" not in done.err and "internal error" not in done.err, f"{who} {' '.join(arguments)}: {done.err}"
        return done


def rows_of(text: str) -> list[Json]:
    """The whole lines of JSON."""
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows
