"""What a profile on disk suffers: other processes, other people, other keys, time and decay."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state.vault import Vault
from securemsg.storage.errors import (
    ProfileBusy,
    ProfileDamaged,
    ProfileMissing,
    StateTooNew,
    StateTooOld,
    StateUnusable,
    StorageError,
)
from securemsg.storage.profile import PROFILE_FILE, ProfileStore, create_profile, open_profile
from securemsg.storage.sealed import CACHED

KEY = bytes(range(32))
NO_WAIT = 0.01


class ProfileTests(SynchronousTestCase):
    """The file of a profile."""

    def setUp(self) -> None:
        """A profile with one record."""
        self.folder = Path(self.mktemp())
        self.path = self.folder / PROFILE_FILE
        self.store = self.create()
        with self.store.writing() as records:
            records.put("history", b"bob", b"the first message", 1)

    def create(self) -> ProfileStore:
        """The profile, open until the test is over."""
        store = create_profile(self.folder, Vault(KEY), timeout=NO_WAIT)
        self.addCleanup(store.close)
        return store

    def edit(self, *statements: str) -> None:
        """Change the file behind our back."""
        self.store.close()
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def refused(self, kind: type[StorageError], key: bytes = KEY) -> str:
        """
        Open the profile, which must fail and change nothing.

        @return: what is said about it.
        """
        before = self.path.read_bytes()
        error = self.assertRaises(kind, open_profile, self.folder, Vault(key))
        self.assertIn(str(self.folder), str(error))
        self.assertEqual(self.path.read_bytes(), before)
        return str(error)

    def test_reopened(self) -> None:
        """What was committed is there for the next process, the sequences too."""
        with self.store.writing() as records:
            records.put("history", b"bob", b"x", 7)
            records.delete("history", b"bob", 7)
        self.store.close()
        store = open_profile(self.folder, Vault(KEY))
        self.addCleanup(store.close)
        with store.reading() as records:
            self.assertEqual(records.scan("history"), [(b"bob", 1, b"the first message")])
            self.assertEqual(records.last("history", b"bob"), 7)

    def test_made_again(self) -> None:
        """Making a profile where one is opens it."""
        with self.create().reading() as records:
            self.assertEqual(records.get("history", b"bob", 1), b"the first message")

    def test_rights(self) -> None:
        """Folder, file and journal are the owner's alone, whatever the umask."""
        folder = Path(self.mktemp())
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        store = create_profile(folder, Vault(KEY))
        self.addCleanup(store.close)
        with store.writing() as records:
            records.put("meta", b"k", b"v")
            records.count("meta", b"k")  # so that it is in the file
            found = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        self.assertEqual(found, {PROFILE_FILE: 0o600, f"{PROFILE_FILE}-journal": 0o600})
        self.assertEqual(folder.stat().st_mode & 0o777, 0o700)

    def test_rights_taken_back(self) -> None:
        """A file that others came to read is the owner's alone again once it is opened."""
        self.store.close()
        self.path.chmod(0o644)
        open_profile(self.folder, Vault(KEY)).close()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_nothing_in_clear(self) -> None:
        """Neither values nor names of buckets are in the bytes of the file, or of its journal."""
        with self.store.writing() as records:
            records.put("contacts", b"name-of-a-contact", b"text of a message")
            records.put("contacts", b"name-of-a-contact", b"text of a message", 5)
            records.count("contacts", b"name-of-a-contact")  # so that they are in the file
            found = b"".join(path.read_bytes() for path in self.folder.iterdir())
        found += b"".join(path.read_bytes() for path in self.folder.iterdir())
        for word in (b"name-of-a-contact", b"text of a message", b"bob", b"first message"):
            self.assertNotIn(word, found)

    def test_deleted_bytes_gone(self) -> None:
        """The sealed bytes of a deleted record do not stay in the file."""
        (sealed,) = sqlite3.connect(self.path).execute("SELECT value FROM records").fetchone()
        self.assertIn(sealed, self.path.read_bytes())
        with self.store.writing() as records:
            records.delete("history", b"bob", 1)
        self.assertNotIn(sealed, self.path.read_bytes())

    def test_moved_order(self) -> None:
        """A record that was moved to another order does not open."""
        self.edit("UPDATE records SET ord = 9")
        with self.create().reading() as records:
            self.assertRaises(ProfileDamaged, records.get, "history", b"bob", 9)
            self.assertRaises(ProfileDamaged, records.scan, "history", b"bob")

    def test_moved_bucket(self) -> None:
        """A record that was moved to another bucket does not open."""
        with self.store.writing() as records:
            records.put("history", b"eve", b"hers", 2)
        self.edit("UPDATE records SET tag = (SELECT tag FROM records WHERE ord = 2) WHERE ord = 1")
        with self.create().reading() as records:
            self.assertRaises(ProfileDamaged, records.get, "history", b"eve", 1)
            self.assertRaises(ProfileDamaged, records.scan, "history")

    def test_moved_table(self) -> None:
        """A record that was moved to another table does not open."""
        self.edit("UPDATE records SET tab = 7")
        with self.create().reading() as records:
            self.assertRaises(ProfileDamaged, records.scan, "outbox")

    def test_exchanged(self) -> None:
        """Two records of one bucket cannot be exchanged for each other."""
        with self.store.writing() as records:
            records.put("history", b"bob", b"the second message", 2)
        self.edit("UPDATE records SET value = (SELECT value FROM records WHERE ord = 2) WHERE ord = 1")
        with self.create().reading() as records:
            self.assertEqual(records.get("history", b"bob", 2), b"the second message")
            self.assertRaises(ProfileDamaged, records.get, "history", b"bob", 1)

    def test_altered(self) -> None:
        """A record with a changed byte does not open, and says where."""
        self.edit("UPDATE records SET value = CAST(value || x'00' AS BLOB)")
        with self.create().reading() as records:
            error = self.assertRaises(ProfileDamaged, records.get, "history", b"bob", 1)
            # Counting opens none.
            self.assertEqual(records.count("history", b"bob"), 1)
        self.assertIn("table history", str(error))

    def test_other_key(self) -> None:
        """A profile that was sealed with another key is refused at once."""
        self.assertIn("store.key", self.refused(ProfileDamaged, bytes(32)))

    def test_garbage(self) -> None:
        """A file of something else is refused, and left as it is."""
        self.store.close()
        for content in (b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000):
            self.path.write_bytes(content)
            self.refused(ProfileDamaged)
            self.assertRaises(ProfileDamaged, create_profile, self.folder, Vault(KEY))
            self.assertEqual(self.path.read_bytes(), content)

    def test_other_database(self) -> None:
        """The database of another program is refused, also where a profile should be made."""
        self.edit("PRAGMA application_id = 7", "PRAGMA user_version = 0")
        self.refused(ProfileDamaged)
        self.assertRaises(ProfileDamaged, create_profile, self.folder, Vault(KEY))

    def test_cut_off(self) -> None:
        """A file that lost its end is refused."""
        with self.store.writing() as records:
            for order in range(200):
                records.put("history", b"bob", bytes(1000), order)
        self.store.close()
        os.truncate(self.path, self.path.stat().st_size // 2)
        self.refused(ProfileDamaged)

    def test_too_new(self) -> None:
        """A profile of a newer release is refused with the advice to upgrade."""
        self.edit("PRAGMA user_version = 4")
        self.assertIn("upgrade", self.refused(StateTooNew))

    def test_too_old(self) -> None:
        """A profile from before the first release is refused, with what to do."""
        self.edit("PRAGMA user_version = 1")
        self.assertIn("use another folder", self.refused(StateTooOld))

    def test_missing(self) -> None:
        """Where there is no profile, the way to one is told, and nothing is made."""
        folder = Path(self.mktemp())
        error = self.assertRaises(ProfileMissing, open_profile, folder, Vault(KEY))
        self.assertIn("join", str(error))
        self.assertFalse(folder.exists())

    def test_unfinished(self) -> None:
        """A file that was made and never filled is no profile yet, and becomes one."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / PROFILE_FILE).touch()
        self.assertRaises(ProfileMissing, open_profile, folder, Vault(KEY))
        create_profile(folder, Vault(KEY)).close()
        open_profile(folder, Vault(KEY)).close()

    def test_unusable(self) -> None:
        """A folder where the file should be, or a file where the folder should be, has its own message."""
        folder = Path(self.mktemp())
        (folder / PROFILE_FILE).mkdir(parents=True)
        self.assertRaises(StateUnusable, open_profile, folder, Vault(KEY))
        self.assertRaises(StateUnusable, create_profile, self.path, Vault(KEY))
        self.assertRaises(ProfileMissing, open_profile, self.path, Vault(KEY))

    def test_shared(self) -> None:
        """Two that hold the profile open see each other's commits."""
        other = self.create()
        with other.writing() as records:
            records.put("history", b"bob", b"from the other", records.last("history", b"bob") + 1)
        with self.store.writing() as records:
            self.assertEqual(records.get("history", b"bob", 2), b"from the other")
            records.put("history", b"bob", b"back", 3)
        with other.reading() as records:
            self.assertEqual(records.last("history", b"bob"), 3)

    def test_one_writer(self) -> None:
        """While one writes, another writer waits, then gives up; a reader sees the state before."""
        other = self.create()
        with self.store.writing() as records:
            records.put("history", b"bob", b"not yet", 2)
            with self.assertRaises(ProfileBusy), other.writing():
                self.fail("two writers")
            with other.reading() as view:
                self.assertIsNone(view.get("history", b"bob", 2))
        with other.writing() as records:
            self.assertEqual(records.get("history", b"bob", 2), b"not yet")

    def test_commit_kept_out(self) -> None:
        """A commit that a reader holds off for too long is undone as a whole, and can be tried again."""
        other = self.create()
        with other.reading() as view:
            self.assertEqual(view.last("history", b"bob"), 1)
            with self.assertRaises(ProfileBusy), self.store.writing() as records:
                records.put("history", b"bob", b"new", 2)
        with self.store.writing() as records:
            self.assertIsNone(records.get("history", b"bob", 2))
            records.put("history", b"bob", b"new", 2)
        with other.reading() as view:
            self.assertEqual(view.get("history", b"bob", 2), b"new")

    def test_killed(self) -> None:
        """A process that dies within a transaction leaves the state before it, one that dies after it the state after it."""
        copies = []
        with self.store.writing() as records:
            for order in range(2, 2000):  # more than the cache holds, so that the file is written before the commit
                records.put("history", b"bob", bytes(2000), order)
            copies.append((self.copied(), 1))
        copies.append((self.copied(), 1999))
        for folder, last in copies:
            store = open_profile(folder, Vault(KEY))
            self.addCleanup(store.close)
            with store.reading() as records:
                self.assertEqual(len(records.scan("history")), last)
                self.assertEqual(records.last("history", b"bob"), last)

    def copied(self) -> Path:
        """The files as a kill at this moment would leave them."""
        folder = Path(self.mktemp())
        shutil.copytree(self.folder, folder)
        return folder

    def test_memory_bounded(self) -> None:
        """A transaction writes to the file before its end, if it writes much."""
        journal = self.folder / f"{PROFILE_FILE}-journal"
        with self.store.writing() as records:
            for order in range(CACHED):
                records.put("history", b"eve", b"", order)
            self.assertEqual(journal.stat().st_size, 0)
            records.put("history", b"eve", b"", CACHED)
            self.assertGreater(journal.stat().st_size, 0)

    def test_disk_full(self) -> None:
        """A full disk is said so; nothing of the transaction is kept, and the profile goes on once there is room."""
        self.store._connection.execute("PRAGMA max_page_count = 8")
        with self.assertRaises(StateUnusable) as caught, self.store.writing() as records:
            for order in range(2, 100):
                records.put("history", b"bob", bytes(1000), order)
        self.assertIn("free some space", str(caught.exception))
        self.store._connection.execute("PRAGMA max_page_count = 1000")
        with self.store.writing() as records:
            self.assertEqual(len(records.scan("history")), 1)
            records.put("history", b"bob", bytes(1000), 2)
