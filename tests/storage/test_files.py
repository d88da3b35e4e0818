"""Tests of L{securemsg.storage.files}: files of one user, and locks between processes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.storage import files
from securemsg.storage.errors import StateUnusable
from securemsg.storage.files import (
    FileExposed,
    FileLock,
    NotAFile,
    check_owner,
    check_private,
    create_private_file,
    make_private_file,
    make_private_folder,
    read_private_file,
    write_private_file,
)
from tests.net.fakes import give_away, scratch


class FileCase(SynchronousTestCase):
    """A folder, and a careless umask."""

    def setUp(self) -> None:
        """Choose a name in it."""
        self.addCleanup(os.umask, os.umask(0))
        self.folder = scratch(self)
        self.path = self.folder / "file"

    def mode(self, path: Path | None = None) -> int:
        """Who may do what with the file."""
        return (path or self.path).stat().st_mode & 0o777

    def names(self) -> list[str]:
        """What is in the folder."""
        return sorted(path.name for path in self.folder.iterdir())


class MakeTests(FileCase):
    """Empty files and folders."""

    def test_file(self) -> None:
        """A file is made for its owner alone; one that is there keeps its content and loses the rights of others."""
        make_private_file(self.path)
        self.assertEqual((self.path.read_bytes(), self.mode()), (b"", 0o600))
        self.path.write_bytes(b"content")
        self.path.chmod(0o644)
        make_private_file(self.path)
        self.assertEqual((self.path.read_bytes(), self.mode()), (b"content", 0o600))

    def test_folder(self) -> None:
        """A folder is made for its owner alone, and one that is there is left as it is."""
        below = self.folder / "a" / "b"
        make_private_folder(below)
        self.assertEqual(self.mode(below), 0o700)
        below.chmod(0o755)
        make_private_folder(below)
        self.assertEqual(self.mode(below), 0o755)

    def test_folder_lasts(self) -> None:
        """Each folder that is made survives a power cut: the one above it is synchronised; of one that is there, nothing is."""
        synced: list[Path] = []
        self.patch(files, "sync_folder", synced.append)
        make_private_folder(self.folder / "a" / "b")
        self.assertEqual(synced, [self.folder, self.folder / "a"])
        make_private_folder(self.folder / "a" / "b")
        self.assertEqual(len(synced), 2)

    def test_owner(self) -> None:
        """A folder of another user is refused, also to root; so is one that would lie in it, but for root's, such as /tmp."""
        missing = self.folder / "missing" / "below"
        check_owner(self.folder)
        check_owner(missing)
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        self.assertIn(f"uid {os.getuid()}", str(self.assertRaises(FileExposed, check_owner, self.folder)))
        check_owner(self.folder, os.getuid())
        self.patch(files, "ROOT", -1)
        self.assertIn(str(self.folder), str(self.assertRaises(FileExposed, check_owner, missing)))
        self.patch(files, "ROOT", os.getuid())
        check_owner(missing)

    def test_impossible(self) -> None:
        """What cannot be made is named."""
        self.path.touch()
        for make in (make_private_file, make_private_folder):
            self.assertIn(str(self.path / "x"), str(self.assertRaises(StateUnusable, make, self.path / "x")))


class ContentTests(FileCase):
    """Files with something in them."""

    def fail_to_sync(self) -> None:
        """The disk fails from now on."""

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        self.patch(os, "fsync", fail)

    def test_written(self) -> None:
        """Both ways to write make a private file that can be read again, as much of it as is wanted, and nothing beside it."""
        for write in (create_private_file, write_private_file):
            write(self.path, b"content")
            self.assertEqual((read_private_file(self.path), read_private_file(self.path, 3)), (b"content", b"con"))
            self.assertEqual((self.mode(), self.names()), (0o600, ["file"]))

    def test_created_once(self) -> None:
        """A new file replaces nothing."""
        self.path.write_bytes(b"before")
        self.assertRaises(FileExistsError, create_private_file, self.path, b"after")
        self.assertEqual((self.path.read_bytes(), self.names()), (b"before", ["file"]))

    def test_replaced_whole(self) -> None:
        """A file that is replaced is the old one until the new one is on disk."""
        write_private_file(self.path, b"before")
        self.fail_to_sync()
        self.assertRaises(OSError, write_private_file, self.path, b"after")
        self.assertEqual(self.path.read_bytes(), b"before")

    def test_created_whole(self) -> None:
        """Of a new file that cannot be put on disk nothing is left."""
        self.fail_to_sync()
        self.assertRaises(OSError, create_private_file, self.path, b"content")
        self.assertEqual(self.names(), [])

    def test_exposed(self) -> None:
        """A file that others may use is read only where that is wanted; the error says what to do."""
        write_private_file(self.path, b"content")
        for mode in (0o640, 0o604, 0o620, 0o601):
            self.path.chmod(mode)
            text = str(self.assertRaises(FileExposed, read_private_file, self.path))
            self.assertIn(f"restrict it to yourself: chmod 600 {self.path}", text)
            self.assertEqual(read_private_file(self.path, exposed=True), b"content")

    def test_of_another_user(self) -> None:
        """A file of another user is read only where others may use it, whatever its mode: its owner can change that."""
        write_private_file(self.path, b"content")
        give_away(self, self.path)
        text = str(self.assertRaises(FileExposed, read_private_file, self.path))
        self.assertIn(f"{self.path} belongs to another user", text)
        self.assertEqual(read_private_file(self.path, exposed=True), b"content")

    def test_owners(self) -> None:
        """Of the owners of a file, we and root are not others."""
        for user, is_ours in ((os.geteuid(), True), (0, True), (os.geteuid() + 1, False)):
            found = os.stat_result((0o100600, 1, 1, 1, user, 0, 0, 0, 0, 0))
            if is_ours:
                check_private(self.path, found)
            else:
                self.assertRaises(FileExposed, check_private, self.path, found)

    def test_not_a_file(self) -> None:
        """A folder and a pipe are refused at once, also where others may use a file."""
        os.mkfifo(self.path, 0o600)
        for path in (self.path, self.folder):
            for exposed in (False, True):
                error = self.assertRaises(NotAFile, read_private_file, path, exposed=exposed)
                self.assertIn("is not a regular file", str(error))


class LockTests(FileCase):
    """Locks."""

    def test_one_holder(self) -> None:
        """Only one can hold a lock; when that one frees it, another can take it, and taking it twice is taking it once."""
        one, other = FileLock(self.path), FileLock(self.path)
        self.assertTrue(one.take())
        self.assertTrue(one.take())
        self.assertFalse(other.take())
        self.assertEqual((one.is_held, other.is_held, self.mode()), (True, False, 0o600))
        one.free()
        self.assertTrue(other.take())
        other.free()

    def test_link(self) -> None:
        """A link in the place of the lock file is not followed."""
        self.path.symlink_to(self.folder / "elsewhere")
        self.assertRaises(OSError, FileLock(self.path).take)
        self.assertFalse((self.folder / "elsewhere").exists())
