"""Key files on disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.storage.keyfiles import KeyFileError, KeyFileExists, KeyFileExposed, KeyFileMissing, make_key_file, read_key_file
from tests.net.fakes import give_away

SECRET = bytes(range(32))


class KeyFileTests(SynchronousTestCase):
    """Made once, read by its owner."""

    def setUp(self) -> None:
        """A folder that passes."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "shared.key"

    def test_made(self) -> None:
        """What was made is read again, and is its owner's alone whatever the umask says."""
        before = os.umask(0)
        try:
            make_key_file(self.path, SECRET)
        finally:
            os.umask(before)
        self.assertEqual(read_key_file(self.path), SECRET)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_durable(self) -> None:
        """It is durable with its whole content before it has its name, and then its name is; if that fails, nothing is left."""
        noted: list[object] = []
        sync = os.fsync

        def is_folder(descriptor: int) -> bool:
            return stat.S_ISDIR(os.fstat(descriptor).st_mode)

        def note(descriptor: int) -> None:
            sync(descriptor)
            noted.append("name" if is_folder(descriptor) else os.fstat(descriptor).st_size)
            self.assertEqual(self.path.exists(), is_folder(descriptor))

        def fail_at(kind: bool) -> Callable[[int], None]:
            def fail(descriptor: int) -> None:
                if is_folder(descriptor) is kind:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))

            return fail

        for kind in (False, True):
            self.patch(os, "fsync", fail_at(kind))
            self.assertIn("cannot write", str(self.assertRaises(KeyFileError, make_key_file, self.path, SECRET)))
            self.assertEqual(list(self.folder.iterdir()), [])
        self.patch(os, "fsync", note)
        make_key_file(self.path, SECRET)
        self.assertEqual(noted, [len(SECRET), "name"])

    def test_strict_umask(self) -> None:
        """A umask that takes everything away does not make a file that its owner cannot read."""
        before = os.umask(0o777)
        try:
            make_key_file(self.path, SECRET)
        finally:
            os.umask(before)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_never_overwritten(self) -> None:
        """A file, or a link to nowhere, is left as it is."""
        self.path.write_bytes(b"something else")
        self.assertIn(str(self.path), str(self.assertRaises(KeyFileExists, make_key_file, self.path, SECRET)))
        self.assertEqual(self.path.read_bytes(), b"something else")
        link = self.folder / "link"
        link.symlink_to(self.folder / "nowhere")
        self.assertRaises(KeyFileExists, make_key_file, link, SECRET)
        self.assertFalse((self.folder / "nowhere").exists())

    def test_no_folder(self) -> None:
        """Where nothing can be made, that is said, and why."""
        error = self.assertRaises(KeyFileError, make_key_file, self.folder / "none" / "key", SECRET)
        self.assertIn("No such file", str(error))

    def test_missing(self) -> None:
        """A missing file is told apart, with the command that makes one."""
        self.assertIn("securemsg keygen", str(self.assertRaises(KeyFileMissing, read_key_file, self.path)))

    def test_exposed(self) -> None:
        """Any right of others makes a file exposed, unless that is wanted."""
        make_key_file(self.path, SECRET)
        for mode in (0o604, 0o640, 0o660, 0o602, 0o601, 0o777):
            self.path.chmod(mode)
            self.assertIn("chmod 600", str(self.assertRaises(KeyFileExposed, read_key_file, self.path)))
            self.assertEqual(read_key_file(self.path, loose=True), SECRET)
        self.path.chmod(0o400)
        self.assertEqual(read_key_file(self.path), SECRET)

    def test_of_another_user(self) -> None:
        """So does an owner other than us and root."""
        make_key_file(self.path, SECRET)
        give_away(self, self.path)
        text = str(self.assertRaises(KeyFileExposed, read_key_file, self.path))
        self.assertIn(f"the key file {self.path} belongs to another user", text)
        self.assertEqual(read_key_file(self.path, loose=True), SECRET)

    def test_other_size(self) -> None:
        """A file of another size is none, loose or not; the size is said, the content is not."""
        for size in (0, 31, 33, 64, 100_000):
            self.path.write_bytes(b"S" * size)
            self.path.chmod(0o600)
            for loose in (False, True):
                text = str(self.assertRaises(KeyFileError, read_key_file, self.path, loose))
                self.assertIn(f"{size} bytes", text)
                self.assertNotIn("SSS", text)

    def test_other_mode(self) -> None:
        """Where others may write or run it and not read it, it is not said that they may read it."""
        make_key_file(self.path, SECRET)
        for mode in (0o622, 0o611):
            self.path.chmod(mode)
            text = str(self.assertRaises(KeyFileExposed, read_key_file, self.path))
            self.assertIn(f"the key file {self.path} is open to other users (mode {mode:o})", text)

    def test_link(self) -> None:
        """A link to a key file is one."""
        make_key_file(self.path, SECRET)
        link = self.folder / "link"
        link.symlink_to(self.path)
        self.assertEqual(read_key_file(link), SECRET)

    def test_not_a_regular_file(self) -> None:
        """A folder is no key file, nor is a pipe: nobody waits for somebody to write to it, and what is in it is not taken."""
        pipe = self.folder / "pipe"
        os.mkfifo(pipe, 0o600)
        for path in (self.folder, pipe):
            self.assertIn("not a regular file", str(self.assertRaises(KeyFileError, read_key_file, path)))
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        pipe.write_bytes(SECRET)
        self.assertIn("not a regular file", str(self.assertRaises(KeyFileError, read_key_file, pipe, True)))
        self.assertEqual(os.read(reader, 100), SECRET)
