"""Tests of L{securemsg.storage.jsonlog}: lines that are in the file for good, or of which it was said that they are not."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.daemon.printer import record_line
from securemsg.storage.errors import StateUnusable
from securemsg.storage.jsonlog import CHUNK, LineFile, check_line_file
from tests.net.fakes import give_away, scratch


def line(number: int, size: int = 0) -> bytes:
    """A line of JSON, all of the same length."""
    message = Received(1, bytes(16), "ada", "server", 1, 1, f"{number} {'x' * size}", 1, True, "pqxdh", 0, "")
    return record_line(message)


class LineFileCase(SynchronousTestCase):
    """A file in a folder."""

    def setUp(self) -> None:
        """Choose its name."""
        self.path = scratch(self) / "record"

    def make(self, size: int = 1 << 20, kept: int = 9) -> LineFile:
        """Open it."""
        file = LineFile(self.path, size, kept)
        file.open()
        self.addCleanup(file.close)
        return file

    def put(self, content: bytes, mode: int = 0o600) -> None:
        """Have it there before."""
        self.path.write_bytes(content)
        self.path.chmod(mode)

    def modes(self) -> set[int]:
        """The modes of all files beside it."""
        return {path.stat().st_mode & 0o777 for path in self.path.parent.iterdir()}

    def complaint(self, call: Callable[[], object]) -> str:
        """What is said when something cannot be done: one line."""
        with self.assertRaises(StateUnusable) as caught:
            call()
        text = str(caught.exception)
        self.assertIn(str(self.path), text)
        self.assertNotIn("\n", text)
        return text


class AppendTests(LineFileCase):
    """Lines."""

    def test_append(self) -> None:
        """Lines follow each other, also over a restart, in a file that nobody else can read whatever the umask says."""
        self.addCleanup(os.umask, os.umask(0))
        file = self.make()
        file.append([line(1), line(2)])
        file.append([])
        file.append([line(3)])
        file.close()
        self.make().append([line(4)])
        self.assertEqual(self.path.read_bytes().splitlines(), [line(number) for number in (1, 2, 3, 4)])
        self.assertEqual(self.modes(), {0o600})

    def test_durable(self) -> None:
        """Nothing counts before it was synchronised."""
        done: list[int] = []
        sync = os.fsync

        def note(descriptor: int) -> None:
            sync(descriptor)
            done.append(self.path.stat().st_size)

        file = self.make()
        self.patch(os, "fsync", note)
        file.append([line(1)])
        self.assertEqual(done, [len(line(1)) + 1])

    def test_strict_umask(self) -> None:
        """A umask that takes everything away does not make a file that its owner cannot open again."""
        self.addCleanup(os.umask, os.umask(0o777))
        self.make().append([line(1)])
        self.assertEqual(self.modes(), {0o600})

    def folders(self) -> list[bool]:
        """Begin to note what is synchronised: for each time, whether it is a folder."""
        noted: list[bool] = []
        sync = os.fsync

        def note(descriptor: int) -> None:
            sync(descriptor)
            noted.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))

        self.patch(os, "fsync", note)
        return noted

    def test_name(self) -> None:
        """The name of a new file is made durable before anything is written into it, also of one that follows another."""
        noted = self.folders()
        file = self.make(size=len(line(0)) + 1)
        file.append([line(1), line(2)])
        self.assertEqual(noted, [False, True, False] * 2)
        file.close()
        self.make()
        self.assertEqual(noted, [False, True, False] * 2)

    def test_name_again(self) -> None:
        """If that fails, there is no new file, and one is made when it is opened again."""
        file = LineFile(self.path, 1 << 20)
        self.addCleanup(file.close)
        sync = os.fsync

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        self.patch(os, "fsync", fail)
        self.complaint(file.open)
        self.assertFalse(self.path.exists())
        self.patch(os, "fsync", sync)
        noted = self.folders()
        file.append([line(1)])
        self.assertEqual(noted, [False, True, False])

    def test_many(self) -> None:
        """Of very many lines no more than a part is held in memory, and all are written."""
        count = 3 * CHUNK // 1000
        self.make(1 << 30).append(line(number, 1000) for number in range(count))
        self.assertEqual(len(self.path.read_bytes().splitlines()), count)

    def test_rotation(self) -> None:
        """A file that is full makes room for another; so many old ones are kept, all of them private, and no line is cut."""
        file = self.make(size=len(line(0)) * 3 + 3, kept=2)
        for number in range(10):
            file.append([line(number)])
        names = [path.name for path in sorted(self.path.parent.iterdir())]
        self.assertEqual(names, ["record", "record.1", "record.2"])
        kept = [self.path.with_name(name).read_bytes().splitlines() for name in ("record.2", "record.1", "record")]
        self.assertEqual(kept, [[line(3), line(4), line(5)], [line(6), line(7), line(8)], [line(9)]])
        self.assertEqual(self.modes(), {0o600})

    def test_rotation_within(self) -> None:
        """Lines that come together are spread over as many files as they need."""
        self.make(size=len(line(0)) + 1).append([line(1), line(2), line(3)])
        kept = [self.path.with_name(name).read_bytes() for name in ("record.2", "record.1", "record")]
        self.assertEqual(kept, [line(1) + b"\n", line(2) + b"\n", line(3) + b"\n"])

    def test_long_line(self) -> None:
        """A line that is longer than a file may be has one of its own."""
        file = self.make(size=64)
        for number, size in ((1, 0), (2, 1000), (3, 0)):
            file.append([line(number, size)])
        kept = [self.path.with_name(name).read_bytes() for name in ("record.2", "record.1", "record")]
        self.assertEqual(kept, [line(1) + b"\n", line(2, 1000) + b"\n", line(3) + b"\n"])


class TornTests(LineFileCase):
    """What a power cut leaves."""

    def test_torn(self) -> None:
        """A last line that is torn anywhere is ended, so that the next line is whole; the lines before it stay."""
        whole = line(1) + b"\n"
        for torn in (*(line(2)[:end] for end in range(1, len(line(2)) + 1)), bytes(7), line(2)[:5] + bytes(3)):
            self.put(whole + torn)
            file = self.make()
            self.assertEqual(self.path.read_bytes(), whole + torn)
            file.append([line(3), line(4)])
            file.close()
            self.assertEqual(self.path.read_bytes(), whole + torn + b"\n" + line(3) + b"\n" + line(4) + b"\n")

    def test_nothing_but_torn(self) -> None:
        """It may be the only one."""
        self.put(line(1))
        self.make().append([line(2)])
        self.assertEqual(self.path.read_bytes(), line(1) + b"\n" + line(2) + b"\n")


class OthersTests(LineFileCase):
    """What others do to the file while it is open."""

    def setUp(self) -> None:
        """It holds a line."""
        super().setUp()
        self.aside = self.path.with_name("aside")
        self.file = self.make()
        self.file.append([line(1)])

    def test_removed(self) -> None:
        """Once it is removed, what comes goes into a new file, which is as private as the one before."""
        self.addCleanup(os.umask, os.umask(0))
        self.path.unlink()
        self.file.append([line(2)])
        self.file.append([line(3)])
        self.assertEqual(self.path.read_bytes().splitlines(), [line(2), line(3)])
        self.assertEqual(self.modes(), {0o600})

    def test_put_aside(self) -> None:
        """
        Whoever puts it aside, as C{logrotate} does, has every line of before in that file and every other in the next, whether
        they make that themselves or leave it to us.
        """
        self.path.rename(self.aside)
        self.file.append([line(2)])
        self.assertEqual((self.aside.read_bytes(), self.path.read_bytes()), (line(1) + b"\n", line(2) + b"\n"))
        self.path.rename(self.aside)
        self.put(b"")
        self.file.append([line(3)])
        self.assertEqual((self.aside.read_bytes(), self.path.read_bytes()), (line(2) + b"\n", line(3) + b"\n"))

    def test_cut(self) -> None:
        """In one that was emptied or cut, what comes is whole lines behind what is left; nothing is filled with zeros."""
        self.file.append([line(2), line(3)])
        torn = line(1) + b"\n" + line(2)[:5]
        for length, left in ((len(torn), torn + b"\n"), (0, b"")):
            os.truncate(self.path, length)
            self.file.append([line(4)])
            self.assertEqual(self.path.read_bytes(), left + line(4) + b"\n")

    def test_replaced(self) -> None:
        """What is no file of ours is not written to, and what is in it stays; once it is gone everything follows."""
        self.path.rename(self.aside)
        foreign = self.path.with_name("foreign")
        foreign.touch(0o600)
        for make, unmake, said in (
            (lambda: self.path.mkdir(), lambda: self.path.rmdir(), "directory"),
            (lambda: os.mkfifo(self.path, 0o600), lambda: self.path.unlink(), "not a regular file"),
            (lambda: self.path.symlink_to(foreign), lambda: self.path.unlink(), "is a symbolic link"),
            (lambda: self.put(b"", 0o644), lambda: self.path.unlink(), "chmod 600"),
        ):
            make()
            before = self.path.read_bytes() if self.path.is_file() else b""
            for _ in range(2):
                self.assertIn(said, self.complaint(lambda: self.file.append([line(2)])))
            self.assertEqual(self.path.read_bytes() if self.path.is_file() else b"", before)
            unmake()
            self.file.append([line(2)])
            self.assertEqual(self.path.read_bytes(), line(2) + b"\n")
            self.path.unlink()
        self.assertEqual(foreign.read_bytes(), b"")
        self.assertEqual(self.aside.read_bytes(), line(1) + b"\n")

    def test_put_aside_within(self) -> None:
        """What somebody else puts in its place while lines are written is not put aside by us."""
        self.file.close()
        self.path.unlink()
        file = self.make(size=len(line(0)) + 1)

        def lines() -> Iterator[bytes]:
            yield line(1)
            yield line(2)
            # The first was written, and is in the file that the second put aside.
            self.path.rename(self.aside)
            self.put(b"")
            yield line(3)

        file.append(lines())
        kept = [path.read_bytes() for path in (self.path.with_name("record.1"), self.aside, self.path)]
        self.assertEqual(kept, [line(1) + b"\n", line(2) + b"\n", line(3) + b"\n"])
        self.assertFalse(self.path.with_name("record.2").exists())


class FailureTests(LineFileCase):
    """A file that cannot be used."""

    def test_open_to_others(self) -> None:
        """A file that others may read is refused, and not changed."""
        self.put(line(1) + b"\n", 0o640)
        self.assertIn("chmod 600", self.complaint(self.make))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)

    def test_of_another_user(self) -> None:
        """A file of another user is refused, by the check before the start as well."""
        self.put(line(1) + b"\n", 0o600)
        give_away(self, self.path)
        self.assertIn("belongs to another user", self.complaint(self.make))
        self.assertIn("belongs to another user", self.complaint(lambda: check_line_file(self.path)))

    def test_no_file(self) -> None:
        """What is not a regular file is refused: it could not be made durable, nor put aside."""
        self.path.mkdir()
        self.complaint(self.make)
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.assertIn("not a regular file", self.complaint(self.make))
        self.path.unlink()
        other = self.path.with_name("other")
        other.touch(0o600)
        self.path.symlink_to(other)
        self.assertIn("is a symbolic link", self.complaint(self.make))

    def test_link_later(self) -> None:
        """A link that takes its place while it is closed is not followed."""
        file = self.make()
        file.close()
        other = self.path.with_name("other")
        other.touch(0o600)
        self.path.unlink()
        self.path.symlink_to(other)
        self.assertIn("is a symbolic link", self.complaint(lambda: file.append([line(1)])))
        self.assertEqual(other.read_bytes(), b"")

    def test_no_folder(self) -> None:
        """The folder has to be there."""
        self.path = self.path / "in" / "no" / "folder"
        self.assertIn("is not a folder", self.complaint(lambda: check_line_file(self.path)))
        self.assertIn("No such file", self.complaint(self.make))

    def test_two(self) -> None:
        """Two processes do not write to one file."""
        self.make()
        self.assertIn("another process", self.complaint(self.make))

    def test_check(self) -> None:
        """A check changes nothing: it neither makes a file nor ends a torn line."""
        check_line_file(self.path)
        self.assertFalse(self.path.exists())
        self.put(line(1))
        check_line_file(self.path)
        self.assertEqual(self.path.read_bytes(), line(1))
        self.make()
        self.assertIn("another process", self.complaint(lambda: check_line_file(self.path)))

    def test_disk_full(self) -> None:
        """A line that was written in part is taken back; once there is room, everything follows, whole and once."""
        file = self.make()
        file.append([line(1)])
        write = os.write

        def fail(descriptor: int, data: Any) -> int:
            write(descriptor, data[:5])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for _ in range(2):
            self.patch(os, "write", fail)
            self.assertIn("free some space", self.complaint(lambda: file.append([line(2)])))
            self.patch(os, "write", write)
            self.assertEqual(self.path.read_bytes(), line(1) + b"\n")
        file.append([line(2), line(3)])
        self.assertEqual(self.path.read_bytes().splitlines(), [line(1), line(2), line(3)])

    def test_not_durable(self) -> None:
        """A line that could not be made durable does not count, even if what was written of it cannot be taken back at once."""
        file = self.make()
        file.append([line(1)])
        sync, truncate = os.fsync, os.ftruncate

        def fail(*given: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        self.patch(os, "fsync", fail)
        self.complaint(lambda: file.append([line(2)]))
        self.assertEqual(self.path.read_bytes(), line(1) + b"\n")
        self.patch(os, "ftruncate", fail)
        self.complaint(lambda: file.append([line(2)]))
        self.patch(os, "fsync", sync)
        self.patch(os, "ftruncate", truncate)
        file.append([line(2)])
        self.assertEqual(self.path.read_bytes().splitlines()[-1], line(2))

    def test_rotation_fails(self) -> None:
        """A file that cannot be put aside stays as it is, and the line waits."""
        file = self.make(size=len(line(0)) + 1)
        file.append([line(1)])

        def fail(self: Path, target: Path) -> Path:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

        rename = Path.rename
        self.patch(Path, "rename", fail)
        self.complaint(lambda: file.append([line(2)]))
        self.assertEqual(self.path.read_bytes(), line(1) + b"\n")
        self.patch(Path, "rename", rename)
        file.append([line(2)])
        self.assertEqual(self.path.read_bytes(), line(2) + b"\n")
