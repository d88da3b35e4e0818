"""A check of a whole profile."""

from __future__ import annotations

import sqlite3

from securemsg.account.check import MAX_FAULTS, Fault, check_permissions, check_records
from securemsg.client.recordcheck import is_readable
from securemsg.client.rooms import steps
from securemsg.client.state import preferences
from securemsg.client.state.profile import TABLE
from securemsg.client.state.records import HISTORY, OUTBOX, ROWS
from securemsg.client.state.vault import KEY_FILE, Vault
from securemsg.storage.errors import ProfileBusy
from securemsg.storage.profile import PROFILE_FILE, open_profile
from tests.account.test_backup import BackupCase, ignore
from tests.client.rig import World


class CheckCase(BackupCase):
    """Somebody whose profile is checked."""

    def run_sql(self, statement: str) -> None:
        """Somebody writes into the file."""
        connection = sqlite3.connect(self.folder / PROFILE_FILE)
        connection.execute(statement)
        connection.commit()
        connection.close()

    def faults(self) -> list[Fault]:
        """What is wrong with the records."""
        return check_records(self.folder, self.key, ignore)[1]


class RecordTests(CheckCase):
    """The database."""

    def test_whole(self) -> None:
        """A whole profile has no faults, all records are counted, and nothing is changed."""
        with self.store.writing() as records:
            for number in range(1200):
                records.put("seen", b"%d" % number, b"")
        before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.folder.iterdir()}
        steps: list[int] = []
        number, faults = check_records(self.folder, self.key, steps.append)
        self.assertEqual((faults, sum(steps)), ([], number))
        self.assertGreater(number, 1200)
        self.assertEqual({path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.folder.iterdir()}, before)

    def test_altered(self) -> None:
        """Each record that was altered or moved is found, and the rest is looked at all the same."""
        with self.store.writing() as records:
            for number in range(5):
                records.put(HISTORY, b"x", b"", number)
        self.run_sql("UPDATE records SET value = zeroblob(40) WHERE tab = 8 AND ord IN (1, 3)")
        self.run_sql("UPDATE records SET ord = 9 WHERE tab = 8 AND ord = 2")
        altered = [fault for fault in self.faults() if "was altered or moved" in fault.text]
        self.assertEqual(len(altered), 3)
        self.assertTrue(all("(table history)" in fault.text and "restore" in fault.hint for fault in altered))

    def test_unknown_table(self) -> None:
        """A record of a table that there is not is a fault."""
        self.run_sql("INSERT INTO records VALUES (99, x'00', 1, x'00')")
        self.assertIn("unknown", self.faults()[0].text)

    def test_unreadable(self) -> None:
        """A record that opens and makes no sense is a fault."""
        with self.store.writing() as records:
            records.put(OUTBOX, ROWS, b"nonsense", 1)
        self.assertIn("(table outbox) cannot be read", self.faults()[0].text)

    def test_no_account(self) -> None:
        """A profile without an account is none."""
        with self.store.writing() as records:
            records.delete(TABLE, b"")
        self.assertIn("no account", self.faults()[-1].text)

    def test_bounded(self) -> None:
        """However much is wrong, the list is short."""
        with self.store.writing() as records:
            for number in range(100):
                records.put(HISTORY, b"x", b"nonsense", number)
        self.assertEqual(len(self.faults()), MAX_FAULTS)

    def test_broken_file(self) -> None:
        """Damage that SQLite sees is told in its words, and nothing is raised."""
        with self.store.writing() as records:
            for number in range(400):
                records.put(HISTORY, b"x", bytes(200), number)
        self.store.close()
        path = self.folder / PROFILE_FILE
        good = path.read_bytes()
        for place in range(4096, len(good) - 4096, 8192):
            path.write_bytes(good[:place] + bytes(4096) + good[place + 4096 :])
            self.assertNotEqual(self.faults(), [], place)
        path.write_bytes(bytes(5000))
        self.assertIn("not a", self.faults()[0].text + self.faults()[0].hint)

    def test_other_key(self) -> None:
        """A key that is not its own is a fault of one line."""
        [fault] = check_records(self.folder, Vault(bytes(32)), ignore)[1]
        self.assertIn("belongs to another key", fault.text)

    def test_busy(self) -> None:
        """A profile that another process holds is not damaged."""
        other = sqlite3.connect(self.folder / PROFILE_FILE, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.assertRaises(ProfileBusy, check_records, self.folder, self.key, ignore, timeout=0)

    def test_everything_that_is_kept(self) -> None:
        """What people's clients keep can be read, all of it."""
        world = World()
        alice, bob = world.user("alice"), world.user("bob")
        alice.send("bob", "hello", wants_receipt=True)
        bob.send("alice", "hi")
        bob.disconnect()
        alice.send("bob", "waiting", keep=60)
        profile = alice.profile()
        with alice.store.inner.writing() as records:
            preferences.set_alias(records, profile, "bob", "boss")
            steps.create(records, profile, "team", "Team", int(world.clock))
        self.assertLessEqual({"rooms", "preferences"}, set(alice.backup()._tables))
        for user in (alice, bob):
            tables = user.backup()._tables
            self.assertLessEqual({"history", "sessions", "contacts", "index", "lists", "sent"}, set(tables))
            for table, rows in tables.items():
                for (bucket, order), value in rows.items():
                    self.assertTrue(is_readable(table, bucket, order, value), (table, bucket))


class RightsTests(CheckCase):
    """The folder and the files."""

    def test_private(self) -> None:
        """What a join makes is in order."""
        self.assertEqual(check_permissions(self.folder), [])

    def test_exposed(self) -> None:
        """Files and a folder that others may use are named, with what to do, and stay as they are."""
        for path, mode in ((self.folder, 0o755), (self.folder / KEY_FILE, 0o640), (self.folder / PROFILE_FILE, 0o604)):
            before = path.stat().st_mode
            path.chmod(mode)
            [fault] = check_permissions(self.folder)
            self.assertIn("chmod", fault.hint)
            self.assertFalse(fault.is_damage)
            check_records(self.folder, self.key, ignore)
            self.assertEqual(path.stat().st_mode & 0o777, mode)
            path.chmod(before)

    def test_leftovers(self) -> None:
        """What killed commands have left, perhaps with keys, is named."""
        for name in (".store.key.securemsg-draft-x", ".restore.x", ".snapshot.x"):
            (self.folder / name).touch()
            [fault] = check_permissions(self.folder)
            self.assertIn(name, fault.text)
            (self.folder / name).unlink()


class OpenTests(CheckCase):
    """What a check opens."""

    def test_not_mended(self) -> None:
        """A store that is opened to be used takes permissions away from others; a check says so instead."""
        (self.folder / PROFILE_FILE).chmod(0o644)
        open_profile(self.folder, self.key, mend=False).close()
        self.assertEqual((self.folder / PROFILE_FILE).stat().st_mode & 0o777, 0o644)
        open_profile(self.folder, self.key).close()
        self.assertEqual((self.folder / PROFILE_FILE).stat().st_mode & 0o777, 0o600)
