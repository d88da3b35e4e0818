"""The format of a backup."""

from __future__ import annotations

import io
import tarfile

from twisted.trial.unittest import SynchronousTestCase

from securemsg.storage.backupfile import MAX_DATABASE, check_end, end_archive, next_member, read_member, write_member
from securemsg.storage.errors import BackupDamaged, StateUnusable

KEY, DATABASE = b"k" * 100, b"d" * 1300
BLOCK = 512


def archive_of(*members: tuple[str, bytes]) -> bytes:
    """An archive with these files."""
    out = io.BytesIO()
    for name, content in members:
        write_member(out, name, io.BytesIO(content), len(content), lambda count: None)
    end_archive(out)
    return out.getvalue()


def read(data: bytes, limit: int = MAX_DATABASE) -> tuple[bytes, bytes]:
    """The two files of an archive."""
    archive, key, database = io.BytesIO(data), io.BytesIO(), io.BytesIO()
    read_member(archive, "store.key", limit, key, lambda count: None)
    read_member(archive, "profile.db", limit, database, lambda count: None)
    check_end(archive)
    return key.getvalue(), database.getvalue()


class ArchiveTests(SynchronousTestCase):
    """Archives as we write them, and as others might."""

    def setUp(self) -> None:
        """A whole one."""
        self.good = archive_of(("store.key", KEY), ("profile.db", DATABASE))

    def tar(self, **fields: object) -> bytes:
        """A header of C{store.key} with something else in it, and what follows it."""
        info = tarfile.TarInfo("store.key")
        info.size = len(KEY)
        for name, value in fields.items():
            setattr(info, name, value)
        return info.tobuf(tarfile.USTAR_FORMAT) + self.good[BLOCK:]

    def test_there_and_back(self) -> None:
        """What was written is read, however long; every step is told."""
        for size in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 << 20):
            content = bytes(size)
            steps: list[int] = []
            out = io.BytesIO()
            write_member(out, "profile.db", io.BytesIO(content), size, steps.append)
            self.assertEqual(sum(steps), size)
            data = archive_of(("store.key", KEY), ("profile.db", content))
            self.assertEqual(read(data), (KEY, content))

    def test_any_tar(self) -> None:
        """Python's own reader lists and unpacks it: two private files, without owner or time."""
        with tarfile.open(fileobj=io.BytesIO(self.good)) as archive:
            self.assertEqual(archive.getnames(), ["store.key", "profile.db"])
            self.assertEqual({(info.mode, info.uid, info.mtime) for info in archive.getmembers()}, {(0o600, 0, 0)})
            file = archive.extractfile("profile.db")
            assert file is not None
            self.assertEqual(file.read(), DATABASE)

    def test_cut_off(self) -> None:
        """Wherever an archive is cut off, it is refused."""
        for size in range(0, len(self.good), 7):
            self.assertRaises(BackupDamaged, read, self.good[:size])

    def test_names(self) -> None:
        """A file of another name is refused: nothing in an archive says where a file goes."""
        for name in ("../store.key", "/tmp/store.key", "./store.key", "profile/store.key", "store.key\n", "", "profile.db"):
            self.assertRaises(BackupDamaged, read, self.tar(name=name))
        self.assertRaises(BackupDamaged, read, archive_of(("profile.db", DATABASE), ("store.key", KEY)))

    def test_kinds(self) -> None:
        """Links, folders, devices and extended headers are refused."""
        for kind in (*b"12345678LKxgSV",):
            self.assertRaises(BackupDamaged, read, self.tar(type=bytes([kind])))

    def test_negative_size(self) -> None:
        """A size below nothing, which GNU's headers can say, is refused."""
        info = tarfile.TarInfo("store.key")
        info.size = -1
        data = info.tobuf(tarfile.GNU_FORMAT) + self.good[BLOCK:]
        self.assertIn("other contents", str(self.assertRaises(BackupDamaged, next_member, io.BytesIO(data))))

    def test_sizes(self) -> None:
        """A file that is larger than it may be is refused before anything of it is read."""
        self.assertRaises(BackupDamaged, read, self.good, limit=len(KEY) - 1)
        info = tarfile.TarInfo("store.key")
        for size in (MAX_DATABASE + 1, 1 << 60, -1):
            info.size = size
            data = info.tobuf(tarfile.GNU_FORMAT) + self.good[BLOCK:]
            self.assertRaises(BackupDamaged, read, data)

    def test_too_large(self) -> None:
        """A database that no header can describe is not written."""
        self.assertRaises(
            StateUnusable, write_member, io.BytesIO(), "profile.db", io.BytesIO(), MAX_DATABASE + 1, lambda count: None
        )

    def test_more_files(self) -> None:
        """An archive with more than the two files is refused."""
        more = archive_of(("store.key", KEY), ("profile.db", DATABASE), ("authorized_keys", b"x"))
        self.assertRaises(BackupDamaged, read, more)

    def test_headers(self) -> None:
        """A header that was altered anywhere is refused, and so is what is no archive."""
        for place in (*range(0, 148, 3), *range(157, BLOCK, 5)):  # in between is the checksum itself
            altered = bytearray(self.good)
            altered[place] ^= 0x41
            self.assertRaises(BackupDamaged, read, bytes(altered))
        for data in (b"", bytes(5000), b"\xff" * 5000, b"SQLite format 3\x00" * 100):
            self.assertRaises(BackupDamaged, read, data)
