"""Backups of a profile, and what becomes of them."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.backup import restore_backup, write_backup
from securemsg.account.errors import SecuremsgError
from securemsg.client.state import vault
from securemsg.client.state.profile import create_profile, load_profile, save_profile
from securemsg.client.state.records import HISTORY, META, save_number
from securemsg.client.state.vault import KEY_FILE, LOWEST_COST, create_vault, open_vault
from securemsg.protocol.invite import InviteLink
from securemsg.storage.backupfile import SNAPSHOT, end_archive, write_member
from securemsg.storage.errors import BackupDamaged, StateUnusable
from securemsg.storage.profile import PROFILE_FILE, ProfileStore, open_profile
from securemsg.storage.profile import create_profile as create_store
from tests.storage.dying import dies_after

LINK = InviteLink("127.0.0.1", 1, bytes(range(32)), b"token")
SECRET = b"correct horse"


def ignore(count: int) -> None:
    """No progress is shown."""


class BackupCase(SynchronousTestCase):
    """Somebody with a profile, and a place for another one."""

    def setUp(self) -> None:
        """Make the profile."""
        self.place = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)
        self.folder, self.other = self.place / "profile", self.place / "other"
        self.key = create_vault(self.folder, None)
        self.store = create_store(self.folder, self.key)
        self.addCleanup(self.store.close)
        with self.store.writing() as records:
            self.profile = create_profile(LINK, "ada", 1)
            save_profile(records, self.profile)

    def backup(self) -> bytes:
        """Make a backup."""
        out = io.BytesIO()
        write_backup(self.store, self.folder, self.key.key_file(SECRET, cost=LOWEST_COST), out)
        return out.getvalue()

    def restore(self, backup: bytes, passphrase: bytes = SECRET) -> None:
        """Restore a backup into the other place."""
        restore_backup(io.BytesIO(backup), "FILE", self.other, passphrase)

    def open(self, folder: Path, passphrase: bytes | None) -> ProfileStore:
        """Open a profile."""
        store = open_profile(folder, open_vault(folder, passphrase))
        self.addCleanup(store.close)
        return store

    def names(self, folder: Path) -> list[str]:
        """What is in a folder."""
        return sorted(path.name for path in folder.iterdir())

    def archive(self, key: bytes, database: bytes) -> bytes:
        """A backup with these contents."""
        out = io.BytesIO()
        for name, content in ((KEY_FILE, key), (PROFILE_FILE, database)):
            write_member(out, name, io.BytesIO(content), len(content), ignore)
        end_archive(out)
        return out.getvalue()


class BackupTests(BackupCase):
    """Making one."""

    def test_killed_before(self) -> None:
        """What a backup left that was killed is removed by the next; what one that is under way works at is not."""
        left, busy = (self.folder / f"{SNAPSHOT}{name}" for name in ("left", "busy"))
        left.touch()
        with busy.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.backup()
        self.assertEqual((left.exists(), busy.exists()), (False, True))

    def test_nothing_left(self) -> None:
        """Beside the profile nothing is left of it."""
        before = self.names(self.folder)
        self.backup()
        self.assertEqual(self.names(self.folder), before)

    def test_sealed(self) -> None:
        """The store key is in it under its passphrase alone, also if the profile has none."""
        backup = self.backup()
        self.assertNotIn((self.folder / KEY_FILE).read_bytes(), backup)
        self.assertNotIn(b"ada", backup)

    def test_one_moment(self) -> None:
        """While it is made, others may not commit; so it shows the profile as it is at one moment. Afterwards they may."""
        with self.store.writing() as records:
            for number in range(8000):
                records.put(HISTORY, b"filling", bytes(1000), number)
        other = open_profile(self.folder, self.key, timeout=0)
        self.addCleanup(other.close)
        refused: list[StateUnusable] = []

        def step(count: int) -> None:
            if not refused:
                try:
                    with other.writing() as records:
                        save_number(records, META, b"meanwhile", 1)
                except StateUnusable as error:
                    refused.append(error)

        out = io.BytesIO()
        write_backup(self.store, self.folder, self.key.key_file(SECRET, cost=LOWEST_COST), out, step)
        self.assertEqual(len(refused), 1)
        with other.writing() as records:
            save_number(records, META, b"meanwhile", 1)

    def test_of_what_is_committed(self) -> None:
        """Everything that was committed is in it, and nothing that comes later."""
        with self.store.writing() as records:
            save_number(records, META, b"before", 7)
        backup = self.backup()
        with self.store.writing() as records:
            save_number(records, META, b"after", 8)
        self.restore(backup)
        with self.open(self.other, SECRET).reading() as records:
            self.assertEqual([records.get(META, name) is None for name in (b"before", b"after")], [False, True])


class RestoreTests(BackupCase):
    """Restoring one."""

    def test_restored(self) -> None:
        """It is the same account, under the passphrase of the backup, in private files, and nothing else is left."""
        self.restore(self.backup())
        with self.open(self.other, SECRET).reading() as records:
            restored = load_profile(records)
        assert restored is not None
        self.assertEqual((restored.name, restored.identity.public), ("ada", self.profile.identity.public))
        self.assertEqual(self.names(self.other), [PROFILE_FILE, KEY_FILE])
        modes = {path.stat().st_mode & 0o777 for path in self.other.iterdir()}
        self.assertEqual((modes, self.other.stat().st_mode & 0o777), ({0o600}, 0o700))

    def test_new_incarnation(self) -> None:
        """It has a new incarnation, before anybody has opened it; the original keeps its own."""
        self.restore(self.backup())
        with self.open(self.other, SECRET).reading() as records:
            restored = load_profile(records)
        assert restored is not None
        self.assertGreater(restored.incarnation, self.profile.incarnation)
        with self.store.reading() as records:
            self.assertEqual(load_profile(records), self.profile)

    def assert_refused(self, kind: type[Exception], backup: bytes, passphrase: bytes = SECRET) -> str:
        """Check that a backup is refused, and nothing comes of it."""
        error = self.assertRaises(kind, self.restore, backup, passphrase)
        self.assertEqual(self.names(self.other), [])
        return str(error)

    def test_wrong_passphrase(self) -> None:
        """Another passphrase opens nothing, and the error names the backup."""
        said = self.assert_refused(vault.WrongPassphrase, self.backup(), b"battery staple")
        self.assertIn("FILE", said)
        self.assertNotIn(str(self.other), said)

    def test_cut_off(self) -> None:
        """A backup that was cut off, wherever, is refused."""
        backup = self.backup()
        for size in (0, 100, 512, 700, 1024, 1600, 5000, len(backup) - 1024, len(backup) - 1):
            self.assertIn("FILE is not a whole backup", self.assert_refused(BackupDamaged, backup[:size]))

    def test_plain_key(self) -> None:
        """A key that no passphrase seals is none of a backup's, and opens nothing."""
        backup = self.archive(bytes(32), self.backup()[1536:-1024])
        self.assert_refused(BackupDamaged, backup)

    def test_other_database(self) -> None:
        """A database of another key, and one that is none, are refused."""
        other = create_vault(self.place / "third", None)
        create_store(self.place / "third", other).close()
        sealed = self.key.key_file(SECRET, cost=LOWEST_COST)
        for content in ((self.place / "third" / PROFILE_FILE).read_bytes(), b"", bytes(4096), b"SQLite format 3\x00"):
            self.assert_refused(BackupDamaged, self.archive(sealed, content))

    def test_altered(self) -> None:
        """A database in which one record was altered is refused."""
        self.store.close()
        path = self.folder / PROFILE_FILE
        connection = sqlite3.connect(path)
        connection.execute("UPDATE records SET value = zeroblob(length(value)) WHERE rowid = 1")
        connection.commit()
        connection.close()
        sealed = self.key.key_file(SECRET, cost=LOWEST_COST)
        self.assertIn("altered", self.assert_refused(BackupDamaged, self.archive(sealed, path.read_bytes())))

    def test_existing(self) -> None:
        """Where there is a profile, or a part of one, nothing is touched."""
        backup = self.backup()
        self.restore(backup)
        for keep in ((KEY_FILE, PROFILE_FILE), (KEY_FILE,), (PROFILE_FILE,)):
            for name in (KEY_FILE, PROFILE_FILE):
                (self.other / name).unlink(missing_ok=True)
            for name in keep:
                (self.other / name).write_bytes(b"precious")
            error = self.assertRaises(SecuremsgError, self.restore, backup)
            self.assertEqual(error.code, "profile-exists")
            self.assertEqual([(self.other / name).read_bytes() for name in keep], [b"precious"] * len(keep))
            self.assertEqual([path.name for path in self.other.iterdir() if path.name.startswith(".")], [])

    def test_killed(self) -> None:
        """Wherever it is killed, there is a whole profile in a new incarnation, or none, and it can be restored again."""
        backup, steps, whole = self.backup(), 0, []
        while dies_after(steps, lambda: self.restore(backup)):
            there = self.other.exists() and os.path.lexists(self.other / KEY_FILE)
            whole.append(there)
            if there:
                self.assertRaises(SecuremsgError, self.restore, backup)
            else:
                self.restore(backup)
            store = open_profile(self.other, open_vault(self.other, SECRET))
            with store.reading() as records:
                restored = load_profile(records)
            store.close()
            assert restored is not None
            self.assertGreater(restored.incarnation, self.profile.incarnation)
            shutil.rmtree(self.other)
            steps += 1
        self.assertGreater(steps, 10)
        self.assertEqual(set(whole), {False, True})
