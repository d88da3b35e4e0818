"""What the server's database suffers: kills, full disks, decay, other daemons, other releases."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.interfaces import ClockReading, WriteOutcome
from securemsg.storage.errors import StateDamaged, StateTooNew, StateUnusable, StorageError
from securemsg.storage.sqlite import mailboxes
from securemsg.storage.sqlite.schema import APPLICATION_ID, FAR, MIGRATIONS, migrate
from securemsg.storage.sqlite.store import ServerStore, check_server_store, prepare
from tests.storage.dying import dies_after
from tests.storage.stores import DAY, NOW, HandReactor, account, batch, deposit, until


class FileContract(SynchronousTestCase):
    """A store with Alice and Bob."""

    __test__ = False

    def setUp(self) -> None:
        """Open it, and register both."""
        self.reactor = HandReactor()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "server.db"
        self.store = self.open(self.path)
        for name in ("alice", "bob"):
            self.reactor.wait(self.store.register(account(name)))
        self.alice, self.bob = self.mailbox("alice"), self.mailbox("bob")

    def open(self, path: Path) -> ServerStore:
        """A store that is closed in the end."""
        store = self.reactor.open(path)
        self.addCleanup(lambda: self.close(store))
        return store

    def close(self, store: ServerStore | None = None) -> None:
        """Close a store, and wait for it."""
        self.reactor.wait((store or self.store).close())

    def mailbox(self, name: str) -> int:
        """The mailbox of an account's first device."""
        stored = self.reactor.wait(self.store.load_account(name))
        assert stored is not None
        return stored.devices[0].mailbox

    def send(self, n: int, store: ServerStore | None = None) -> None:
        """Commit a message from Alice to Bob."""
        self.reactor.write(store or self.store, batch(deposit(self.alice, b"d%d" % n, n, (self.bob, n))))

    def positions(self, store: ServerStore) -> list[int]:
        """What waits for Bob."""
        return [message.position for message in self.reactor.wait(store.page(self.bob, 0, 10000, 2**30))]


class DurabilityTests(FileContract):
    """What was committed stays, and nothing else."""

    __test__ = True

    def test_reopened(self) -> None:
        """A store that was closed is found as it was, in one file."""
        self.send(1)
        self.close()
        self.assertEqual([path.name for path in self.folder.iterdir()], ["server.db"])
        store = self.open(self.path)
        self.assertEqual(self.positions(store), [1])
        self.send(2, store)
        self.assertEqual(self.positions(store), [1, 2])

    def test_killed(self) -> None:
        """The files, as a kill after each commit would leave them, hold exactly what was committed."""
        copies = []
        for n in range(1, 6):
            self.send(n)
            copies.append(Path(self.mktemp()))
            shutil.copytree(self.folder, copies[-1])
        for n, folder in enumerate(copies, 1):
            check_server_store(folder / "server.db")
            self.assertEqual(self.positions(self.open(folder / "server.db")), list(range(1, n + 1)))

    def test_killed_within_write(self) -> None:
        """A log that was cut at any place holds the commits that are whole in it."""
        for n in range(1, 4):
            self.send(n)
        folder = Path(self.mktemp())
        shutil.copytree(self.folder, folder)
        content = (folder / "server.db-wal").read_bytes()
        self.close()
        seen = set()
        for size in range(len(content), len(content) - 16 * 4096, -1500):
            (folder / "server.db-wal").write_bytes(content[:size])
            copy = folder / f"{size}"
            copy.mkdir()
            for name in ("server.db", "server.db-wal"):
                shutil.copy(folder / name, copy / name)
            store = self.open(copy / "server.db")
            found = self.positions(store)
            self.assertEqual(found, list(range(1, len(found) + 1)))
            seen.add(len(found))
        self.assertGreater(len(seen), 1)

    def test_answered_after_commit(self) -> None:
        """When a batch is reported, another process would find it."""
        found: list[list[int]] = []

        def look(outcome: WriteOutcome) -> None:
            self.assertEqual(outcome, WriteOutcome({}))
            folder = Path(self.mktemp())
            shutil.copytree(self.folder, folder)
            found.append(self.positions(self.open(folder / "server.db")))

        self.store.write(batch(deposit(self.alice, b"d1", 1, (self.bob, 1))), look)
        self.reactor.until(lambda: found)
        self.assertEqual(found, [[1]])

    def test_disk_full(self) -> None:
        """Where the disk is full, neither the batch nor anything behind it is answered, and what was committed before stays."""
        self.send(1)
        self.reactor.wait(self.store._writer.submit(limit_pages))
        answered: list[object] = []
        large = deposit(self.alice, b"d2", 2, (self.bob, 2), common=bytes(60000))
        self.store.write(batch(large), answered.append)
        self.store.write(batch(deposit(self.alice, b"d3", 3, (self.bob, 3))), answered.append)
        self.store.load_account("alice").addBoth(answered.append)
        self.reactor.until(lambda: self.reactor.full)
        self.close()
        self.assertEqual((answered, self.reactor.failures), ([], []))
        folder = Path(self.mktemp())
        shutil.copytree(self.folder, folder)
        self.assertEqual(self.positions(self.open(folder / "server.db")), [1])

    def test_closed_in_turn(self) -> None:
        """What was asked for before closing is done and answered first; afterwards nothing is taken."""
        answered: list[object] = []
        self.store.write(batch(deposit(self.alice, b"d1", 1, (self.bob, 1))), answered.append)
        closed = self.store.close()
        self.store.write(batch(deposit(self.alice, b"d2", 2, (self.bob, 2))), answered.append)
        self.failureResultOf(self.store.load_account("alice"), StateUnusable)
        self.reactor.wait(closed)
        self.assertEqual(answered, [WriteOutcome({})])
        self.assertEqual(self.positions(self.open(self.path)), [1])

    def test_closed_twice(self) -> None:
        """Closing again is closing."""
        self.close()
        self.close()

    def test_rights(self) -> None:
        """Database and log are the owner's alone, whatever the umask."""
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        folder = Path(self.mktemp())
        folder.mkdir()
        self.open(folder / "server.db")
        found = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        self.assertEqual(found, {"server.db": 0o600, "server.db-wal": 0o600})

    def test_log_size(self) -> None:
        """The size of the log is told; there is none when the store is closed."""
        before = self.store.wal_size()
        self.send(1)
        self.assertGreater(self.store.wal_size(), before)
        self.close()
        self.assertEqual(self.store.wal_size(), 0)

    def test_space_used_again(self) -> None:
        """Storing and acknowledging for ever does not let the messages grow: only the known deposits stay."""
        sizes = []
        for n in range(1, 31):
            rows = [deposit(self.alice, b"%d/%d" % (n, k), 1, (self.bob, 100 * n + k), common=bytes(2000)) for k in range(50)]
            self.reactor.write(self.store, batch(*rows))
            self.reactor.write(self.store, batch(acknowledged={self.bob: 100 * n + 99}))
            (pages,) = self.reactor.wait(
                self.store._writer.submit(lambda connection: connection.execute("PRAGMA page_count").fetchone())
            )
            sizes.append(pages)
        self.assertLess(sizes[-1] - sizes[0], 50)

    def test_forgotten_in_steps(self) -> None:
        """
        However many deposits are out of date, and however far in the future the wall clock was then, one call forgets them all
        but the newest.
        """
        rows = [
            until(deposit(self.alice, b"d%d" % n, n, (self.bob, n)), NOW + 1, NOW + 2, arrived_at=NOW + 365 * DAY)
            for n in range(1, 2 * mailboxes.FORGET_STEP + 10)
        ]
        self.reactor.write(self.store, batch(*rows))
        self.reactor.wait(self.store.expire(ClockReading(NOW + DAY, NOW), 0, 0, len(rows)))
        known = "SELECT (SELECT count(*) FROM deposits) + (SELECT count(*) FROM messages)"
        left = self.store._writer.submit(lambda connection: connection.execute(known).fetchone())
        self.assertEqual(self.reactor.wait(left), (1,))

    def test_high_water(self) -> None:
        """How far it has come is found in the file, rises with each deposit and each device, and never falls."""
        seen = [self.reactor.wait(self.store.high_water())]

        def look(difference: int) -> None:
            seen.append(self.reactor.wait(self.store.high_water()))
            self.assertEqual(seen[-1] - seen[-2], difference)

        self.send(1)
        look(1)
        self.send(1)
        look(0)
        self.send(2)
        look(1)
        self.reactor.write(self.store, batch(acknowledged={self.bob: 2}))
        for _ in range(2):
            self.reactor.wait(self.store.expire(ClockReading(NOW + 100 * DAY, NOW), 0, 0, 10))
        look(0)
        self.send(3)
        look(1)
        self.reactor.wait(self.store.remove_account("bob"))
        look(0)
        self.reactor.wait(self.store.register(account("bob")))
        look(1)
        self.close()
        self.assertEqual(check_server_store(self.path), seen[-1])


class OlderTests(FileContract):
    """A file of the first layout."""

    __test__ = True

    def test_first_layout(self) -> None:
        """It is brought up to date: its mail waits as it did, and its deposits are known for sixty days."""
        path = self.folder / "older.db"
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in MIGRATIONS[0]:
            assert isinstance(statement, str)
            connection.execute(statement)
        connection.execute("INSERT INTO mailboxes (mailbox, messages, size, next_expiry) VALUES (2, 1, 9, ?)", (NOW + DAY,))
        for number in (1, 2):
            connection.execute("INSERT INTO deposits VALUES (?, ?, x'01', x'02', ?, ?)", (number, number, NOW, NOW + DAY))
        place = mailboxes.place(self.bob, 1)
        connection.execute("INSERT INTO messages VALUES (?, 9, ?, NULL, ?, 'a', x'', x'', x'', x'')", (place, NOW + DAY, NOW))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.close()
        store = self.open(path)
        self.assertEqual(store.last_clock(), ClockReading(NOW, 0))
        for now, waiting, known in ((DAY - 1, [1], b"\2"), (DAY, [], b"\2"), (60 * DAY - 1, [], b"\2"), (60 * DAY, [], None)):
            self.reactor.wait(store.expire(ClockReading(NOW + now, NOW), 0, 0, 10))
            self.assertEqual(self.positions(store), waiting)
            self.assertEqual(self.reactor.wait(store.find_deposit(1, b"\1")), known)


class LayoutFiveTests(FileContract):
    """A file of the fifth layout, which did not know when somebody was seen."""

    __test__ = True

    def make(self) -> Path:
        """The file."""
        path = self.folder / "older.db"
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in (statement for statements in MIGRATIONS[:5] for statement in statements):
            statement(connection) if callable(statement) else connection.execute(statement)
        for name, root in (("ada", None), ("ben", 1)):
            values = name, b"i", 1, NOW, b"", b"", b"", root
            connection.execute(
                "INSERT INTO accounts (name, identity, version, created_at, token, body, signature, root)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        connection.execute("INSERT INTO devices (account, device, signing_key) VALUES (1, x'01', x'02')")
        connection.execute("INSERT INTO mailboxes (mailbox) VALUES (1)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 5")
        connection.close()
        return path

    def version(self, path: Path) -> int:
        """The layout of a file, which has the same accounts in each."""
        connection = sqlite3.connect(path)
        try:
            self.assertEqual(connection.execute("SELECT name FROM accounts").fetchall(), [("ada",), ("ben",)])
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            return int(version)
        finally:
            connection.close()

    def test_copied_before(self) -> None:
        """What an older release has written is kept beside it, private, once: that of the last change."""
        path = self.make()
        kept = self.folder / "older.db.schema5"
        (self.folder / "older.db.schema4").touch()
        kept.with_name("older.db.schema5.new").write_bytes(b"x" * 5000)
        self.close(self.open(path))
        self.assertEqual((self.version(path), self.version(kept)), (len(MIGRATIONS), 5))
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
        self.assertEqual([one.name for one in sorted(self.folder.glob("older.db*"))], ["older.db", "older.db.schema5"])
        kept.unlink()
        self.close(self.open(path))
        self.assertFalse(kept.exists())

    def test_no_copy(self) -> None:
        """Where it cannot be copied nothing changes."""
        path = self.make()
        (self.folder / "older.db.schema5").mkdir()
        self.assertRaises(StateUnusable, self.reactor.open, path)
        self.assertEqual(self.version(path), 5)

    def test_killed(self) -> None:
        """Whatever step a kill comes before, the file has the old layout or the new one, and the next start goes on."""
        seen = set()
        path = self.make()
        connection = sqlite3.connect(path, isolation_level=None)
        prepare(connection)
        copies: list[Path] = []

        def copy(statement: str) -> None:
            copies.append(self.folder / f"copy{len(copies)}")
            shutil.copytree(self.folder, copies[-1], ignore=shutil.ignore_patterns("copy*", "server*"))

        connection.set_trace_callback(copy)
        migrate(connection, path)
        connection.set_trace_callback(None)
        copy("")
        connection.close()
        for left in copies:
            # What SQLite had not written yet is in its log.
            seen.add(self.version(left / "older.db"))
            self.close(self.open(left / "older.db"))
            self.assertEqual(self.version(left / "older.db"), len(MIGRATIONS))
        self.assertEqual((seen, len(copies) > 10), ({5, len(MIGRATIONS)}, True))

    def test_killed_while_copying(self) -> None:
        """So it is while the copy is made."""
        for steps in range(100):
            path = self.make()
            connection = sqlite3.connect(path, isolation_level=None)
            died = dies_after(steps, partial(migrate, connection, path))
            connection.close()
            self.assertIn(self.version(path), (5, len(MIGRATIONS)))
            for kept in self.folder.glob("*.schema5"):
                self.assertEqual(self.version(kept), 5)
            self.close(self.open(path))
            for name in self.folder.glob("older.db*"):
                name.unlink()
            if not died:
                break
        self.assertGreater(steps, 3)

    def test_seen(self) -> None:
        """Its devices count as seen now, so that nobody is purged for what was not noted; who was invited is one step deep."""
        path = self.make()
        before = int(time.time())
        store = self.open(path)
        ada, ben = (self.reactor.wait(store.load_account(name)) for name in ("ada", "ben"))
        assert ada is not None and ben is not None
        self.assertGreaterEqual(ada.devices[0].last_seen, before)
        self.assertEqual([(one.depth, one.suspended, one.quota) for one in (ada, ben)], [(0, False, 0), (1, False, 0)])


class StartTests(FileContract):
    """What is refused at the start, by the check before the fork and by the opening after it, and left as it is."""

    __test__ = True

    def edit(self, *statements: str) -> None:
        """Change the file behind our back."""
        self.close()
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def refused(self, kind: type[StorageError], word: str) -> None:
        """Neither check nor opening takes the file; both say so in the same words, and neither changes it."""
        before = self.path.read_bytes()
        for use in (lambda: check_server_store(self.path, timeout=0.01), lambda: self.reactor.open(self.path)):
            error = self.assertRaises(kind, use)
            self.assertIn(str(self.path), str(error))
            self.assertIn(word, str(error))
            self.assertEqual(self.path.read_bytes(), before)

    def test_good(self) -> None:
        """A good file passes the check, closed or left behind by a kill, and can be opened afterwards."""
        folder = Path(self.mktemp())
        shutil.copytree(self.folder, folder)
        self.close()
        for path in (self.path, folder / "server.db"):
            check_server_store(path)
            self.open(path)

    def test_none(self) -> None:
        """No file passes the check, and none is made by it."""
        path = self.folder / "other.db"
        check_server_store(path)
        self.assertFalse(path.exists())

    def test_empty(self) -> None:
        """A file that was made and never filled is laid out."""
        path = self.folder / "other.db"
        path.touch()
        check_server_store(path)
        self.reactor.wait(self.open(path).register(account()))

    def test_garbage(self) -> None:
        """A file of something else is refused."""
        self.close()
        for content in (b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000):
            self.path.write_bytes(content)
            self.refused(StateDamaged, "backup")

    def test_cut_off(self) -> None:
        """A file that lost its end is refused."""
        for n in range(1, 100):
            self.send(n)
        self.close()
        os.truncate(self.path, self.path.stat().st_size // 2)
        self.refused(StateDamaged, "recover")

    def test_decayed(self) -> None:
        """A page that was overwritten is found by the check."""
        for n in range(1, 100):
            self.send(n)
        self.close()
        with open(self.path, "r+b") as file:
            file.seek(self.path.stat().st_size - 4096)
            file.write(b"\xff" * 4096)
        error = self.assertRaises(StateDamaged, check_server_store, self.path)
        self.assertNotIn("\n", str(error))

    def test_no_trace(self) -> None:
        """The check leaves nothing beside a closed file: a log would spoil a backup that is put back."""
        self.close()
        before = set(self.folder.iterdir())
        check_server_store(self.path)
        self.assertEqual(set(self.folder.iterdir()), before)

    def test_used(self) -> None:
        """The check tells whether anybody is in a file."""
        self.assertFalse(check_server_store(self.folder / "other.db"))
        self.reactor.wait(self.open(self.folder / "other.db").close())
        self.assertFalse(check_server_store(self.folder / "other.db"))
        self.close()
        self.assertTrue(check_server_store(self.path))

    def test_other_database(self) -> None:
        """The database of another program is refused."""
        self.edit("PRAGMA application_id = 7")
        self.refused(StateDamaged, "not a server's database")

    def test_too_new(self) -> None:
        """The database of a newer release is refused with the advice to upgrade."""
        self.edit(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        self.refused(StateTooNew, "upgrade")

    def test_second_daemon(self) -> None:
        """A file that a daemon uses is refused to another, and the first goes on."""
        self.refused(StateUnusable, "another daemon")
        self.send(1)

    def test_folder(self) -> None:
        """A folder in the place of the file, and a file in the place of the folder, are refused."""
        self.close()
        path, self.path = self.path, self.folder / "other.db"
        self.path.mkdir()
        for use in (lambda: check_server_store(self.path), lambda: self.reactor.open(self.path)):
            self.assertRaises(StateUnusable, use)
        below = path / "server.db"
        for use in (lambda: check_server_store(below), lambda: self.reactor.open(below)):
            self.assertIn(str(below), str(self.assertRaises(StateUnusable, use)))

    def test_nowhere(self) -> None:
        """A folder that is not there is not made."""
        path = self.folder / "nowhere" / "server.db"
        self.assertRaises(StateUnusable, self.reactor.open, path)
        self.assertFalse(path.parent.exists())

    def test_layout_agrees(self) -> None:
        """The value in the layout that stands for I{nothing expires} is the one the code uses."""
        (default,) = self.reactor.wait(
            self.store._writer.submit(
                lambda connection: connection.execute(
                    "SELECT dflt_value FROM pragma_table_info('mailboxes') WHERE name = 'next_expiry'"
                ).fetchone()
            )
        )
        self.assertEqual(int(default), FAR)


def limit_pages(connection: sqlite3.Connection) -> None:
    """Let the disk be full, but for a little."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
