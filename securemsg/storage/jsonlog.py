"""
A file that lines are added to, for other programs to read: private, durable, whole, and of bounded size.

Libraries that rotate files do not make their lines durable, nor mend what a power cut has torn, nor say when a line could not
be written; here a line is either in the file for good, or it was said that it is not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from securemsg.storage.errors import StateUnusable
from securemsg.storage.files import FILE_MODE, sync_folder

OTHERS = 0o077
# Files of before, `FILE.1` the youngest, that are kept beside the one in use.
KEPT = 9
# No line of ours is longer: what is torn and longer was not written here.
MAX_LINE = 1 << 20
# How every line begins, and which members it has: what is torn and begins otherwise is somebody else's, and so is what is
# not torn at all, and has others.
LEAD = b'{"id": "'
MEMBERS = frozenset(("id", "from", "device", "sent_at", "received_at", "kind", "suite", "text"))
# What is written at once, of many lines.
CHUNK = 1 << 20


class LineFile:
    """The file, once it is open. For one process and one thread."""

    def __init__(self, path: Path, size: int, kept: int = KEPT) -> None:
        """
        @param size: of one file in bytes, before another is begun; a longer line has a file of its own.
        @param kept: how many older files there may be, at least one.
        """
        self._path = path
        self._size = size
        self._kept = kept
        self._descriptor = -1
        # Whether its name and mode are not durable yet.
        self._is_new = False
        # How far the file is whole and durable.
        self._end = 0

    def open(self) -> None:
        """
        Open the file, make it if there is none, and take away a last line that is torn: nobody was told that it was written.

        @raise StateUnusable: it cannot be used; the text says why, and what to do.
        """
        try:
            self._checked_open()
        except OSError as error:
            self.close()
            raise _trouble(self._path, error) from error

    def append(self, lines: Iterable[bytes]) -> None:
        """
        Add lines, durably: all of them are in the file when this returns. If it was removed, put aside or replaced meanwhile,
        they go to the one that has its name now, which is made if there is none.

        @param lines: each without a line end.
        @raise StateUnusable: they are not, or not all of them; the same may be tried again.
        """
        try:
            if not self._is_in_place():
                self.close()
                self._checked_open()
            waiting = bytearray()
            for line in lines:
                if self._end + len(waiting) and self._end + len(waiting) + len(line) >= self._size:
                    self._write(waiting)
                    self._rotate()
                    waiting = bytearray()
                elif len(waiting) >= CHUNK:
                    self._write(waiting)
                    waiting = bytearray()
                waiting += line + b"\n"
            self._write(waiting)
        except OSError as error:
            self.close()
            raise _trouble(self._path, error) from error

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_in_place(self) -> bool:
        """Whether what we have open is under its name still, and as long as we left it."""
        if self._descriptor < 0:
            return False
        ours = os.fstat(self._descriptor)
        return ours.st_size == self._end and self._is_named(ours)

    def _is_named(self, ours: os.stat_result) -> bool:
        """Whether this is the file that has the name."""
        try:
            return os.path.samestat(ours, os.lstat(self._path))
        except FileNotFoundError:
            return False

    def _checked_open(self) -> None:
        """
        Open it after a look at what is there: it may be somebody else's.

        @raise StateUnusable: it is, or cannot be used.
        """
        check_line_file(self._path, self._kept)
        self._open()

    def _open(self) -> None:
        """Open, lock and mend it."""
        self._is_new = self._is_new or not self._path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, FILE_MODE)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._is_new:
            os.fchmod(self._descriptor, FILE_MODE)
            sync_folder(self._path.parent)
            self._is_new = False
        length = os.fstat(self._descriptor).st_size
        self._end = length - len(_torn(self._descriptor, length))
        if self._end < length:
            os.ftruncate(self._descriptor, self._end)
            os.fsync(self._descriptor)

    def _write(self, data: bytearray) -> None:
        """Write whole lines, durably."""
        if not data:
            return
        rest = memoryview(bytes(data))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError:
            # Taken back at once if that goes, else when it is opened again. Nothing of it counts: all of it is written anew.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)

    def _rotate(self) -> None:
        """
        Begin another file. A crash in between leaves a number out, and loses nothing but the oldest. If somebody else was
        faster, what has the name now is not put aside.

        @raise StateUnusable: there is no room beside it.
        """
        if self._is_named(os.fstat(self._descriptor)):
            _check_beside(self._path, self._kept)
            names = [self._path, *_older(self._path, self._kept)]
            for younger, older in reversed(list(zip(names, names[1:], strict=False))):
                with contextlib.suppress(FileNotFoundError):
                    younger.rename(older)
        self.close()
        self._checked_open()


def check_line_file(path: Path, kept: int = KEPT) -> None:
    """
    See whether a file can be used, or made; nothing is changed.

    @param kept: how many older files there may be.
    @raise StateUnusable: it cannot.
    """
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StateUnusable(
            f"{path} cannot be made, nor older files kept beside it: {folder} is no folder that this user can write"
        )
    _check_beside(path, kept)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _trouble(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StateUnusable(f"{path} is no ordinary file; name another")
        if found.st_mode & OTHERS:
            raise StateUnusable(
                f"{path} is open to other users (mode {found.st_mode & 0o777:o}); make it yours alone: chmod 600 {path}"
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        torn = _torn(descriptor, found.st_size)
        if len(torn) > MAX_LINE or not _is_ours(torn):
            raise StateUnusable(f"{path} does not end with a line of ours, and was left as it was; name another file")
    except OSError as error:
        raise _trouble(path, error) from error
    finally:
        os.close(descriptor)


def _check_beside(path: Path, kept: int) -> None:
    """
    See whether older files can be put aside.

    @raise StateUnusable: they cannot.
    """
    for name in _older(path, kept):
        if name.is_dir() and not name.is_symlink():
            raise StateUnusable(f"{name} is a folder, where {path} is to be put aside once it is full: move it away")


def _older(path: Path, kept: int) -> list[Path]:
    """Where older files are put, the youngest first."""
    return [path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1)]


def _is_ours(torn: bytes) -> bool:
    """Whether this may be what is left of a line of ours, which may be taken away."""
    # A power cut may leave zeros where the line should be.
    begun = torn.strip(b"\0")
    if begun[: len(LEAD)] != LEAD[: len(begun)]:
        return False
    try:
        found = json.loads(begun)
    except ValueError:
        return True
    except RecursionError:
        return False
    return isinstance(found, dict) and set(found) == MEMBERS


def _torn(descriptor: int, length: int) -> bytes:
    """What follows the last line end; of something long, no more than tells that it is too long."""
    start = max(0, length - MAX_LINE - 1)
    tail = os.pread(descriptor, length - start, start)
    return tail[tail.rfind(b"\n") + 1 :]


def _trouble(path: Path, error: OSError) -> StateUnusable:
    """What the disk says, for people."""
    if error.errno == errno.EWOULDBLOCK:
        return StateUnusable(f"another process writes to {path}; name another file")
    if error.errno == errno.ELOOP:
        return StateUnusable(f"{path} is a link; name the file that it leads to")
    advice = "make room for it" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "see to that"
    return StateUnusable(f"{path} cannot be written: {error.strerror}; {advice}, or name another file")
