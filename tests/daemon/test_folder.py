"""Tests of L{securemsg.daemon.folder}: the state folder, its lock and its key files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon import folder
from securemsg.daemon.folder import (
    FolderLock,
    StateError,
    check_folder,
    free_space,
    keep_key,
    open_folder,
    read_private,
    write_private,
)
from securemsg.storage.files import FileExposed
from tests.net.fakes import scratch


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return path.stat().st_mode & 0o777


class StateCase(SynchronousTestCase):
    """A path for a state folder, and a careless umask."""

    def setUp(self) -> None:
        """Choose a path."""
        self.addCleanup(os.umask, os.umask(0))
        self.folder = scratch(self) / "place" / "state"

    def complaint(self, path: Path) -> str:
        """What is said of a folder that cannot be used, in one line."""
        with self.assertRaises(StateError) as caught:
            check_folder(path)
        text = str(caught.exception)
        self.assertIn(str(path), text)
        self.assertNotIn("\n", text)
        return text


class FolderTests(StateCase):
    """The folder itself."""

    def test_made(self) -> None:
        """A folder that is not there is made for its owner alone; to check makes nothing."""
        check_folder(self.folder)
        self.assertFalse(self.folder.exists())
        open_folder(self.folder)
        self.assertEqual(mode(self.folder), 0o700)
        check_folder(self.folder)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_of_another_user(self) -> None:
        """Root does not start in a folder of another user, unless the daemon becomes that user."""
        self.folder.mkdir(0o700, parents=True)
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        for refuse in (check_folder, open_folder):
            self.assertIn("run this as that user", str(self.assertRaises(FileExposed, refuse, self.folder)))
        self.assertEqual(list(self.folder.iterdir()), [])
        check_folder(self.folder, os.getuid())

    def test_empty_is_tightened(self) -> None:
        """An empty folder that exists already is made private."""
        self.folder.mkdir(0o755, parents=True)
        check_folder(self.folder)
        open_folder(self.folder)
        self.assertEqual(mode(self.folder), 0o700)

    def test_foreign_is_left_alone(self) -> None:
        """A folder with things in it that others may look at is not ours to lock up; the message says what to do."""
        self.folder.mkdir(0o755, parents=True)
        (self.folder / "something").touch()
        self.assertIn("chmod 700", self.complaint(self.folder))
        self.assertEqual(mode(self.folder), 0o755)

    def test_file(self) -> None:
        """A file is no folder."""
        self.folder.parent.mkdir()
        self.folder.touch()
        self.assertIn("not a folder", self.complaint(self.folder))

    def test_below_a_file(self) -> None:
        """Nor can one be made below a file."""
        self.folder.parent.parent.mkdir(exist_ok=True)
        self.folder.parent.touch()
        self.complaint(self.folder)

    def test_unreadable(self) -> None:
        """A folder that the system does not let us use is named as such."""
        self.patch(os, "access", lambda path, wanted: False)
        self.folder.mkdir(0o700, parents=True)
        self.assertIn("this user", self.complaint(self.folder))
        self.assertIn("cannot be made", self.complaint(self.folder / "deeper" / "still"))

    def test_space(self) -> None:
        """There is some room left."""
        self.folder.mkdir(parents=True)
        self.assertGreater(free_space(self.folder), 0)


class LockTests(StateCase):
    """One daemon a folder."""

    def test_second(self) -> None:
        """The second daemon gets an error in words, at once."""
        open_folder(self.folder)
        first, second = FolderLock(self.folder), FolderLock(self.folder)
        first.take()
        with self.assertRaises(StateError) as caught:
            second.take()
        self.assertIn("another daemon", str(caught.exception))
        self.assertIn("another daemon", self.complaint(self.folder))
        first.release()
        second.take()
        second.release()

    def test_left_behind(self) -> None:
        """A lock file that a dead daemon left is no lock, and is private."""
        open_folder(self.folder)
        with FolderLock(self.folder):
            pass
        self.assertEqual(mode(self.folder / folder.LOCK_FILE), 0o600)
        check_folder(self.folder)


class KeyTests(StateCase):
    """Keys in files."""

    def setUp(self) -> None:
        """Make the folder."""
        super().setUp()
        open_folder(self.folder)
        self.path = self.folder / "key"

    def test_made_once(self) -> None:
        """A key is made at the first start, and is the same ever after."""
        self.assertEqual(keep_key(self.path, lambda: b"\x07" * 32, 32), b"\x07" * 32)
        self.assertEqual(keep_key(self.path, lambda: b"\x08" * 32, 32), b"\x07" * 32)
        self.assertEqual(mode(self.path), 0o600)

    def test_damaged(self) -> None:
        """What is no key any more is named, and stays as it is."""
        for content in (b"", b"07" * 31, b"zz" * 32, b"\xff" * 64):
            write_private(self.path, content)
            with self.assertRaises(StateError) as caught:
                keep_key(self.path, lambda: bytes(32), 32)
            self.assertIn("damaged", str(caught.exception))
            self.assertEqual(self.path.read_bytes(), content)

    def test_readable_by_others(self) -> None:
        """A key that others can read is refused."""
        write_private(self.path, b"x")
        self.path.chmod(0o640)
        with self.assertRaises(StateError) as caught:
            read_private(self.path)
        self.assertIn("chmod 600", str(caught.exception))

    def test_all_or_nothing(self) -> None:
        """A draft that a dead daemon left is no obstacle, and does not stay."""
        (self.folder / "key.new").write_bytes(b"half")
        write_private(self.path, b"whole")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["key"])
        self.assertEqual(read_private(self.path), b"whole")

    def test_nothing_there(self) -> None:
        """A file that is not there is no error; one that cannot be written is."""
        self.assertIsNone(read_private(self.path))
        with self.assertRaises(StateError):
            write_private(self.folder / "none" / "key", b"x")
