"""The small world, observed and judged: whatever anybody was told is noted outside of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from attrs import define, field, frozen

from tests.faults.processes import DAEMON, NOT_COPIED, RECORD, Processes, rows_of
from tests.faults.verdict import Verdict, judge, printed

ACCEPTED = ("accepted", "delivered")
# Seconds until everything has come that will come: a client that was cut off tries again after some.
SETTLE_TIME = 60
# What a warning or an error must be called to tell of a loss; a record in a history may tell as well.
LOSS_CODES = {
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
class World(Processes):
    """
    @ivar before: what its disk began with.
    @ivar told: what a client said was accepted, by recipient: ids and texts.
    """

    before: Ledger = field(factory=Ledger)
    told: dict[str, dict[str, str]] = field(factory=lambda: {"ben": {}, "bix": {}, "server": {}})

    def note_accepted(self) -> None:
        """Note what Ada is told of her messages now."""
        for to, told in self.told.items():
            for row in self.history("ada", to):
                if row["from"] == "ada" and row["status"] in ACCEPTED:
                    told[row["id"]] = row["text"]

    @property
    def said(self) -> set[str]:
        """The codes of all warnings and errors of clients."""
        return {str(row.get("code")) for running in self._clients for row in rows_of(running.err)}

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
                running.wait(2 * SETTLE_TIME)
        self.call("ada", "recv")
        self.note_accepted()
        deadline = time.monotonic() + SETTLE_TIME
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
        runs = ([row["id"] for row in rows_of(reader.out) if row["from"] == "ada"] for reader in self._readers)
        return printed([self.before.printed, *runs])

    def _told_guests(self) -> list[str]:
        rows = (row for running in self._guests for row in rows_of(running.out))
        return self.before.guests + [row["id"] for row in rows if row["status"] == "accepted"]

    def recorded(self) -> list[str]:
        """The ids in the daemon's record, each once: a crash may repeat its last lines."""
        path = self.disk / DAEMON / RECORD
        rows = rows_of(path.read_text("utf-8", "replace")) if path.exists() else []
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

    def verdict(self, is_damaged: bool = False) -> Verdict:
        """Compare what was told with what came."""
        ours = {to: [row["id"] for row in self.history("ada", to) if row["from"] == "ada"] for to in self.told}
        came = [row for row in self.history("ben", "ada") if row["from"] == "ada"]
        questions = [row["id"] for row in self.history("bix", "ada") if row["from"] == "ada"]
        is_told = any(row["gap_before"] or row["note"] for row in came) or bool(self.said & LOSS_CODES)
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
        shutil.copytree(world.disk, folder, ignore=NOT_COPIED)
        return world.daemon.port
