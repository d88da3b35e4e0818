"""The whole server over a database, for tests: its commits take their time, and L{DiskRig} waits for them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from securemsg.interfaces import WriteBatch, WriteOutcome
from securemsg.storage.sqlite.store import ServerStore
from tests.server.rig import Rig
from tests.storage.stores import HandReactor


@define(eq=False)
class DiskStore:
    """
    A store on disk in the place of the one in memory.

    @ivar held: how much was asked for and not answered yet.
    """

    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp()))
    held: int = 0
    reactor: HandReactor = field(factory=HandReactor, repr=False)
    _inner: ServerStore = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Open it."""
        self._inner = self.reactor.open(self.folder / "server.db")

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's; what it answers later is counted."""
        attribute = getattr(self._inner, name)
        return lambda *arguments: self._count(attribute(*arguments))

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """See L{securemsg.interfaces.IMailboxStore.write}."""
        self.held += 1

        def committed(outcome: WriteOutcome) -> None:
            self.held -= 1
            done(outcome)

        self._inner.write(batch, committed)

    def flush(self) -> None:
        """Wait for the next answers."""
        self.reactor.turn()

    def crash(self) -> DiskStore:
        """The store as a kill at this moment leaves it to the next process. Nothing must be on its way."""
        assert self.held == 0, "this would copy half a commit"
        folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        self.remove()
        return DiskStore(folder)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.reactor.wait(self._inner.close())
        shutil.rmtree(self.folder)
        assert self.reactor.failures == []

    def _count(self, answer: Any) -> Any:
        """See whether this comes later."""
        if isinstance(answer, Deferred):
            self.held += 1
            answer.addBoth(self._counted)
        return answer

    def _counted(self, result: Any) -> Any:
        """Here it is."""
        self.held -= 1
        return result


@define(eq=False)
class DiskRig(Rig):
    """A run waits for the disk."""

    def run(self) -> None:
        """Turn and wait until nothing happens any more."""
        super().run()
        while self.store.held:
            self.store.flush()
            super().run()


def disk_rig() -> DiskRig:
    """A server over an empty database. Its store is to be removed in the end."""
    return DiskRig(store=DiskStore())  # type: ignore[arg-type]
