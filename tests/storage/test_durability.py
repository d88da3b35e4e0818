"""What a commit is worth: the settings of connections as they are, and claims of prekeys that are cut short."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state.vault import Vault
from securemsg.interfaces import StoredStock
from securemsg.storage.profile import PROFILE_FILE, ProfileStore, create_profile, open_profile
from securemsg.storage.sqlite.store import ServerStore
from tests.storage.stores import NOW, HandReactor, account, prekeys

# As SQLite numbers them.
SYNCHRONOUS_FULL = 2
DELETE_OVERWRITES, DELETE_OVERWRITES_FAST = 1, 2

SETTINGS = ("synchronous", "journal_mode", "secure_delete", "fullfsync")


def settings_of(connection: sqlite3.Connection) -> dict[str, object]:
    """What a connection really does, whatever it was told."""
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS}


class ServerCase(SynchronousTestCase):
    """A server's store on disk."""

    def setUp(self) -> None:
        """Open it."""
        self.reactor = HandReactor()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.store = self.open(self.folder)

    def open(self, folder: Path) -> ServerStore:
        """A store that is closed in the end."""
        store = self.reactor.open(folder / "server.db")
        self.addCleanup(lambda: self.reactor.wait(store.close()))
        return store


class ServerSettingsTests(ServerCase):
    """The daemon's connection."""

    def settings(self) -> dict[str, object]:
        """As its own thread sees them."""
        return self.reactor.wait(self.store._writer.submit(settings_of, writes=False))

    def test_durable(self) -> None:
        """
        A commit reaches the disk before it returns: the log is synchronised every time, and what is deleted is overwritten
        where that costs nothing.
        """
        wanted = {
            "synchronous": SYNCHRONOUS_FULL,
            "journal_mode": "wal",
            "secure_delete": DELETE_OVERWRITES_FAST,
            "fullfsync": 1,
        }
        self.assertEqual(self.settings(), wanted)
        self.reactor.wait(self.store.register(account("alice")))
        self.assertEqual(self.settings(), wanted)

    def test_alone(self) -> None:
        """The file is locked for as long as it is open."""
        mode = self.store._writer.submit(lambda connection: connection.execute("PRAGMA locking_mode").fetchone(), writes=False)
        self.assertEqual(self.reactor.wait(mode), ("exclusive",))


class ProfileSettingsTests(SynchronousTestCase):
    """The connection of a command."""

    def assert_durable(self, store: ProfileStore) -> None:
        """
        A commit reaches the disk before it returns, through a rollback journal that other processes may share, and nothing
        that was deleted stays in the file.
        """
        self.addCleanup(store.close)
        connection = store._connection
        assert connection is not None, "open"
        with store.writing() as records:
            records.put("history", b"bob", b"text")
        self.assertEqual(
            settings_of(connection),
            {
                "synchronous": SYNCHRONOUS_FULL,
                "journal_mode": "truncate",
                "secure_delete": DELETE_OVERWRITES,
                "fullfsync": 1,
            },
        )

    def test_made(self) -> None:
        """A profile that was just made."""
        folder = Path(self.mktemp())
        self.assert_durable(create_profile(folder, Vault(bytes(32))))
        self.assertFalse((folder / f"{PROFILE_FILE}-wal").exists())

    def test_opened(self) -> None:
        """A profile that was there, whatever journal was used on it last."""
        folder = Path(self.mktemp())
        create_profile(folder, Vault(bytes(32))).close()
        connection = sqlite3.connect(folder / PROFILE_FILE)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        self.assert_durable(open_profile(folder, Vault(bytes(32))))


class ClaimTests(ServerCase):
    """A claim takes prekeys off the shelf, and keeps who got them: both or neither."""

    def setUp(self) -> None:
        """Alice's device has two prekeys of each kind."""
        super().setUp()
        self.reactor.wait(self.store.register(account("alice")))
        signed, last_resort = prekeys(11, 12)
        self.reactor.wait(self.store.add_prekeys(1, signed, last_resort, prekeys(1, 2), prekeys(3, 4), 10, False))

    def run_sql(self, statement: str) -> None:
        """Change the database from within."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement)

        self.reactor.wait(self.store._writer.submit(work))

    def claim(self, store: ServerStore) -> tuple[int, int]:
        """What Bob's device gets: the ids of both prekeys for one use."""
        bundle = self.reactor.wait(store.claim(1, 2, NOW, True, 0))
        assert bundle is not None and bundle.one_time is not None and not bundle.kem_is_last_resort, bundle
        return bundle.one_time.id, bundle.kem.id

    def test_failed(self) -> None:
        """A claim that fails on its last step has taken nothing: the same prekeys are there for the next."""
        full = StoredStock(11, 12, 2, 2)
        for table in ("claims", "spent"):
            self.run_sql(f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no room'); END")
            self.assertRaises(sqlite3.IntegrityError, self.claim, self.store)
            self.assertEqual(self.reactor.wait(self.store.stock(1)), full)
            self.run_sql("DROP TRIGGER broken")
            spent = self.store._writer.submit(lambda connection: connection.execute("SELECT count(*) FROM spent").fetchone())
            self.assertEqual(self.reactor.wait(spent), (0,))
        self.assertEqual(self.claim(self.store), (1, 3))
        self.assertEqual(self.reactor.failures, [])

    def test_killed(self) -> None:
        """
        A kill before any statement of a claim leaves a store in which the same device gets the same prekeys, and they once.
        """
        copies: list[Path] = []

        def copy(statement: str) -> None:
            folder = self.folder.with_name(f"{self.folder.name}-{len(copies)}")
            shutil.copytree(self.folder, folder)
            copies.append(folder)

        def watch(connection: sqlite3.Connection) -> None:
            connection.set_trace_callback(copy)

        self.reactor.wait(self.store._writer.submit(watch, writes=False))
        answered = self.claim(self.store)
        self.reactor.wait(self.store._writer.submit(lambda connection: connection.set_trace_callback(None), writes=False))
        self.assertEqual(answered, (1, 3))
        self.assertGreater(len(copies), 5)
        for folder in copies:
            after = self.open(folder)
            self.assertEqual(self.claim(after), answered, folder.name)
            self.assertEqual(self.reactor.wait(after.stock(1)), StoredStock(11, 12, 1, 1))
