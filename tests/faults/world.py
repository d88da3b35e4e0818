"""
A small world at work: Ada chats with Ben, asks Bix, which answers by machine, and writes to the daemon's own contact, which
records and echoes; so does a guest with a key file. Whatever anybody was told is noted outside of it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

from tests.faults.calls import Fault, Traced, stopped, trace
from tests.faults.mount import Mount
from tests.faults.verdict import Verdict, judge, printed
from tests.functional.support import HOST, LIMIT, SECUREMSG, TWISTD, Daemon, Done, Json, Person, Place, Running, until
from tests.functional.test_clock import STEPPING

# Everything that a power cut can take is in this folder of a place: what is the daemon's, and each profile by its name.
DISK, DAEMON = "disk", "daemon"
RECORD, KEY_FILE = "record.jsonl", "shared.key"
# What cannot be copied, and is made anew.
PASSING = shutil.ignore_patterns("wake", "control")
ACCEPTED = ("accepted", "delivered")
# Seconds until everything has come that will come: a client that was cut off tries again after some.
PATIENCE = 60
# What a warning or an error must be called to tell of a loss; a record in a history may tell as well.
TELLING = {
    "server-behind",
    "state-restored",
    "state-copied",
    "profile-damaged",
    "messages-forked",
    "server-identity",
    "trust-lost",
    "trust-changed",
    "key-file-damaged",
}


# Whose processes keep running, and what they are told.
LASTING = {
    "daemon": ("",),
    "reader": ("ben", "recv", "--follow", "--json"),
    "machine": ("bix", "respond", "--exec", "tr a-z A-Z", "--json"),
    "chat": ("ada", "chat", "ben", "--json"),
}


class Owner(Person):
    """Somebody whose profile is on the disk."""

    @property
    def profile(self) -> Path:
        """The folder."""
        return self.place.folder / DISK / self.name


@frozen
class Ledger:
    """
    What was told and shown before this world began: what its disk began with.

    @ivar told: as of L{World}; C{printed}: ids that were printed; C{guests}: ids that they were told of.
    """

    told: dict[str, dict[str, str]] = field(factory=lambda: {"ben": {}, "bix": {}, "server": {}})
    printed: list[str] = field(factory=list)
    guests: list[str] = field(factory=list)


@define(eq=False)
class World:
    """
    @ivar clock: a file that says how many seconds the clock of what keeps running is off.
    @ivar told: what a client said was accepted, by recipient: ids and texts.
    @ivar running: processes by what they are: C{daemon}, C{reader}, C{machine}, C{chat}.
    @ivar said: the codes of warnings and errors of all clients.
    """

    place: Place
    daemon: Daemon
    mount: Mount | None = None
    clock: Path | None = None
    before: Ledger = field(factory=Ledger)
    told: dict[str, dict[str, str]] = field(factory=lambda: {"ben": {}, "bix": {}, "server": {}})
    running: dict[str, Running] = field(factory=dict)
    _readers: list[Running] = field(factory=list)
    _guests: list[Running] = field(factory=list)
    _clients: list[Running] = field(factory=list)
    _typed: int = 0
    _last_line: str = ""
    _traces: int = 0

    @classmethod
    @contextlib.contextmanager
    def make(cls, source: Path | None, port: int | None = None, folders: str = "") -> Iterator[World]:
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
                shutil.copytree(source or empty, disk, ignore=PASSING)
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

    def start(self, what: str, fault: Fault | None = None, may_end: bool = False) -> Traced | None:
        """
        Start, or start again, what keeps running, with a fault ahead.

        @param may_end: whether the daemon may end before it listens.
        @return: how to ask whether it came to that.
        """
        if what in self.running:
            self.running[what].kill()
        with stopped(self.place) if fault else contextlib.nullcontext():
            running = self.running[what] = self._launch(what)
        traced = None
        if fault:
            traced = self.trace(running, fault)
        if what == "daemon":
            control = self.daemon.state / "control"
            # With a fault it may neither end nor listen.
            with contextlib.suppress(AssertionError) if fault else contextlib.nullcontext():
                until(
                    lambda: not running.is_alive or (control.exists() and self._is_listening()),
                    "a daemon that listens",
                    LIMIT / 6 if fault else LIMIT,
                )
            assert fault or may_end or running.is_alive, f"the daemon did not start: {running.err or running.out}"
        else:
            self._clients.append(running)
        if what == "reader":
            self._readers.append(running)
        return traced

    def trace(self, running: Running, fault: Fault) -> Traced:
        """Have what was started stopped begin."""
        self._traces += 1
        return trace(running, fault, self.place.folder / f"calls.{self._traces}")

    def _is_listening(self) -> bool:
        """Whether the daemon has said that it listens; to connect would make one more client."""
        return "securemsg listens on" in self.running["daemon"].out + self.running["daemon"].err

    def _launch(self, what: str) -> Running:
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

    def hear(self) -> None:
        """Note what Ada is told of her messages now."""
        for to, told in self.told.items():
            for row in self.history("ada", to):
                if row["from"] == "ada" and row["status"] in ACCEPTED:
                    told[row["id"]] = row["text"]

    def history(self, who: str, name: str) -> list[Json]:
        """A conversation, as somebody has it; nothing if there is none, or it cannot be read."""
        return _rows(self.call(who, "history", name).out)

    def call(self, who: str, *arguments: str) -> Done:
        """A command, however it ends; never with a traceback."""
        done = self.command(who, *arguments).wait()
        assert "Traceback" not in done.err and "internal error" not in done.err, f"{who} {' '.join(arguments)}: {done.err}"
        return done

    @property
    def said(self) -> set[str]:
        """The codes of all warnings and errors of clients."""
        return {str(row.get("code")) for running in self._clients for row in _rows(running.err)}

    @property
    def is_quiet(self) -> bool:
        """Whether all commands are done, and all that was typed is accepted."""
        if any(running.is_alive for running in self._clients if running not in self.running.values()):
            return False
        rows = [row for row in self.history("ada", "ben") if row["from"] == "ada"]
        return bool(rows) and rows[-1]["text"] == self._last_line and all(row["status"] in ACCEPTED for row in rows)

    # --- how it ends --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have everything go on without faults until it is done."""
        self.start_all()
        self.running["chat"].end_input()
        for running in self._clients:
            if running not in self.running.values() or running is self.running["chat"]:
                running.wait(2 * PATIENCE)
        self.call("ada", "recv")
        self.hear()
        deadline = time.monotonic() + PATIENCE
        while not self._is_complete() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _is_complete(self) -> bool:
        """Whether all that is expected has come; cheap first."""
        if set(self.told["ben"]) - set(self._printed()) or set(self.told["server"]) - set(self.recorded()):
            return False
        self.call("ada", "recv")
        return all(set(wanted) <= set(came) for _, wanted, _, came in self._answers())

    def ledger(self) -> Ledger:
        """For a world that goes on from this one's disk."""
        return Ledger({to: {**told} for to, told in self.told.items()}, self._printed(), self._told_guests())

    def resume(self, ledger: Ledger) -> None:
        """Go on from another world's disk."""
        self.before = ledger
        # No text comes twice.
        self._typed = 1000
        self.told = {to: {**told} for to, told in ledger.told.items()}

    def _printed(self) -> list[str]:
        runs = ([row["id"] for row in _rows(reader.out) if row["from"] == "ada"] for reader in self._readers)
        return printed([self.before.printed, *runs])

    def _told_guests(self) -> list[str]:
        rows = (row for running in self._guests for row in _rows(running.out))
        return self.before.guests + [row["id"] for row in rows if row["status"] == "accepted"]

    def recorded(self) -> list[str]:
        """The ids in the daemon's record, each once: a crash may repeat its last lines."""
        path = self.disk / DAEMON / RECORD
        rows = _rows(path.read_text("utf-8", "replace")) if path.exists() else []
        return list(dict.fromkeys(str(row.get("id")) for row in rows))

    def _answers(self) -> list[tuple[str, list[str], list[str], list[str]]]:
        """Of each that answers: its name, what it must answer, all it was asked, in order, and what it did answer."""
        found = []
        for name, change in (("bix", str.upper), ("server", str)):
            rows = self.history("ada", name)
            asked = [change(row["text"]) for row in rows if row["from"] == "ada"]
            came = [row["text"] for row in rows if row["from"] == name]
            found.append((f"answers of {name}", [change(text) for text in self.told[name].values()], asked, came))
        return found

    def verdict(self, is_damaged: bool = False, is_told: bool = False) -> Verdict:
        """
        Compare what was told with what came.

        @param is_told: whether a loss by damage was told by others than the clients.
        """
        ours = {to: [row["id"] for row in self.history("ada", to) if row["from"] == "ada"] for to in self.told}
        came = [row for row in self.history("ben", "ada") if row["from"] == "ada"]
        questions = [row["id"] for row in self.history("bix", "ada") if row["from"] == "ada"]
        is_told = is_told or any(row["gap_before"] or row["note"] for row in came) or bool(self.said & TELLING)
        guests = self._told_guests()
        total = Verdict(accepted=sum(map(len, self.told.values())) + len(guests))
        total.accepted -= sum(map(len, self.before.told.values())) + len(self.before.guests)
        for what, told, sent, seen in (
            ("history of ben", self.told["ben"], ours["ben"], [row["id"] for row in came]),
            ("output of ben", self.told["ben"], ours["ben"], self._printed()),
            ("history of bix", self.told["bix"], ours["bix"], questions),
            ("record", [*self.told["server"], *guests], ours["server"], self.recorded()),
            *self._answers(),
        ):
            total.add(judge(what, told, sent, seen, is_damaged, is_told))
        return total


def _rows(text: str) -> list[Json]:
    """The whole lines of JSON."""
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def make_base(folder: Path) -> int:
    """
    Make a disk on which Ada, Ben and Bix have joined and know each other.

    @return: the daemon's port, which the profiles know.
    """
    with World.make(None) as world:
        world.start("daemon")
        invite = world.daemon.invite(10)
        for name in ("ada", "ben", "bix"):
            world.person(name).join(invite)
        world.person("ben").send("ada", "hello")
        world.person("ada").run("recv")
        world.running["daemon"].process.terminate()
        world.running["daemon"].wait()
        shutil.copytree(world.disk, folder, ignore=PASSING)
        return world.daemon.port
