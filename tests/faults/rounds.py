"""What all rounds share: each makes a world, does its worst, lets all settle, and counts."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import define

from tests.faults.processes import NOT_COPIED
from tests.faults.verdict import Verdict
from tests.faults.world import Ledger, World, make_base
from tests.functional.support import until

# See L{Rounds}.
FAULTS, LINES = 4, 30
# Seconds after which a fault that has not happened will not.
SPAN = 2


def up_to(limit: int, chance: random.Random) -> int:
    """A number, small ones as likely as large ones."""
    return min(limit, int(limit ** chance.random() * (1 + chance.random())))


@define(eq=False)
class Rounds:
    """
    @ivar faults: of one round: more of them in one world cost less, and meet what earlier ones left behind.
    @ivar lines: that Ada types between two of them.
    @ivar note: what the round did, for whoever must repeat it.
    """

    _folder: Path
    _port: int
    faults: int
    lines: int
    _used: Ledger | None = None
    note: str = ""

    @classmethod
    @contextlib.contextmanager
    def make(cls, faults: int = FAULTS, lines: int = LINES) -> Iterator[Rounds]:
        """Make the disk that rounds begin with."""
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        try:
            yield cls(folder, make_base(folder / "base"), faults, lines)
        finally:
            shutil.rmtree(folder)

    def use(self) -> Ledger:
        """Make a disk that was in use when everything was killed, once: messages wait at the daemon and with their sender."""
        if self._used is None:
            with self.world() as world:
                world.start_all()
                world.talk(self.lines)
                world.settle()
                world.kill("reader", "responder")
                world.start("chat")
                world.talk(self.lines)
                until(lambda: world.is_quiet, "messages that wait")
                world.note_accepted()
                world.kill()
                self._used = world.ledger()
                shutil.copytree(world.disk, self._folder / "used", ignore=NOT_COPIED)
        return self._used

    def world(self, folders: str = "", disk: str = "base") -> contextlib.AbstractContextManager[World]:
        """See L{World.make}."""
        return World.make(self._folder / disk if disk else None, self._port, folders)

    def start(self, world: World, chance: random.Random) -> None:
        """Start everything, or everything but those who receive: then messages wait at the daemon."""
        world.start_all()
        if chance.random() < 0.5:
            world.kill("reader", "responder")

    def finish(self, world: World, is_damaged: bool = False) -> Verdict:
        """Let everything settle, and count."""
        world.settle()
        log = world.running["daemon"].out + world.running["daemon"].err
        assert "Traceback" not in log, log
        return world.verdict(is_damaged)

    def begin(self, world: World) -> Verdict:
        """People join a daemon whose first start was cut short."""
        world.start("daemon")
        invite = world.daemon.invite(9)
        for name in ("ada", "ben", "bix"):
            world.person(name).join(invite)
        world.start_all()
        world.talk(1)
        return self.finish(world)
