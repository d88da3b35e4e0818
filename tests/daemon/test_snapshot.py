"""Copies of the daemon's databases for a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon import snapshot
from securemsg.daemon.folder import SNAPSHOT
from securemsg.daemon.snapshot import Snapshots
from securemsg.errors import Refusal
from securemsg.storage.errors import StateUnusable
from tests.storage.stores import HandReactor


@define
class Copied:
    """Stands for a store or a contact that is copied."""

    name: str
    log: list[str]
    result: Deferred[None] = field(factory=lambda: succeed(None))

    def copy(self, path: Path) -> Deferred[None]:
        """Note it."""
        assert path.parent.is_dir()
        self.log.append(str(path.relative_to(path.parents[0 if self.name == "store" else 1])))
        return self.result


class SnapshotTests(SynchronousTestCase):
    """A daemon of which copies are made."""

    def setUp(self) -> None:
        """Make it."""
        self.state = Path(self.mktemp())
        (self.state / SNAPSHOT).mkdir(parents=True)
        (self.state / "server.db").write_bytes(bytes(1000))
        self.log: list[str] = []
        self.reactor = HandReactor()
        self.store = Copied("store", self.log)
        store: Any = self.store
        contact: Any = Copied("contact", self.log)
        self.snapshots = Snapshots(self.state, self.reactor, store, contact)

    def refused(self) -> None:
        """It is refused for now."""
        self.assertEqual(self.assertRaises(Refusal, self.reactor.wait, self.snapshots.take()).code, "retry-later")

    def test_order(self) -> None:
        """The contact is copied last, so that it has lost nothing that the server has."""
        self.reactor.wait(self.snapshots.take())
        self.assertEqual(self.log, ["server.db", "contact/profile.db"])
        self.assertEqual((self.state / SNAPSHOT).stat().st_mode & 0o777, 0o700)

    def test_left(self) -> None:
        """What was left by a process that was killed is removed at the start."""
        self.assertFalse((self.state / SNAPSHOT).exists())

    def test_no_room(self) -> None:
        """The disk is not filled: there must be room for the copy and for the server."""
        self.patch(snapshot, "free_space", lambda folder: snapshot.SPARE_SPACE + 999)
        self.refused()
        self.assertEqual(self.log, [])
        self.patch(snapshot, "free_space", lambda folder: snapshot.SPARE_SPACE + 1000)
        self.reactor.wait(self.snapshots.take())

    def test_one_at_a_time(self) -> None:
        """A second one waits for nobody."""
        self.store.result = Deferred()
        first = Deferred.fromCoroutine(self.snapshots.take())
        self.reactor.until(lambda: self.log)
        self.refused()
        self.store.result.errback(StateUnusable("the disk is full"))
        self.failureResultOf(first, Refusal)
        self.store.result = succeed(None)
        self.reactor.wait(self.snapshots.take())
