"""
A log of JSON lines for other programs: private, durable, and of bounded size.

Libraries that rotate files do not make their lines durable, nor say when a line could not be written; here a line is either in
the file for good, or an error says that it is not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from securemsg.storage.errors import StateUnusable
from securemsg.storage.files import check_private, create_private_file

# Full files, `FILE.1` the youngest, that are kept beside the one in use.
KEPT = 9
# Bytes that are written at once, of many lines.
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

    def open(self) -> None:
        """
        Open the file, or make it if there is none.

        @raise StateUnusable: it cannot be used; the text says why, and what to do.
        """
        try:
            self._open()
        except OSError as error:
            raise _explained(self._path, error) from error

    def append(self, lines: Iterable[bytes]) -> None:
        """
        Add lines, durably: all of them are in the file when this returns. If the file was moved or deleted, they go to the
        one that has its name now, which is made if there is none.

        @param lines: each without a line end.
        @raise StateUnusable: they are not, or not all of them; the same may be tried again.
        """
        try:
            if not self._is_in_place():
                self._open()
            waiting = bytearray()
            for line in lines:
                length = os.fstat(self._descriptor).st_size + len(waiting)
                is_full = length > 0 and length + len(line) >= self._size
                if is_full or len(waiting) >= CHUNK:
                    self._write(bytes(waiting))
                    waiting.clear()
                if is_full:
                    self._rotate()
                waiting += line + b"\n"
            self._write(bytes(waiting))
        except OSError as error:
            raise _explained(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_in_place(self) -> bool:
        """Whether the open file still has its name."""
        try:
            return self._descriptor >= 0 and os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self.close()
        if not os.path.lexists(self._path):
            with contextlib.suppress(FileExistsError):
                create_private_file(self._path, b"")
        self._descriptor = _open_existing(self._path)

    def _write(self, data: bytes) -> None:
        """Write whole lines, durably. A last line that a crash has torn is ended first."""
        if not data:
            return
        end = os.fstat(self._descriptor).st_size
        if end and os.pread(self._descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end)  # none of it counts
            raise

    def _rotate(self) -> None:
        """Begin another file, unless another program did. A crash here leaves out a number, and loses only the oldest file."""
        if self._is_in_place():
            names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1))]
            for younger, older in reversed(list(zip(names, names[1:], strict=False))):
                with contextlib.suppress(FileNotFoundError):
                    younger.rename(older)
        self._open()


def check_line_file(path: Path) -> None:
    """
    Check whether a file can be used or made; nothing is changed.

    @raise StateUnusable: it cannot.
    """
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StateUnusable(f"{path} cannot be made: {folder} is not a folder that this user can write to; name another file")
    try:
        os.close(_open_existing(path))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _explained(path, error) from error


def _open_existing(path: Path) -> int:
    """
    Open and lock the file.

    @raise StorageError: it is not a regular file, or open to others.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        check_private(path, os.fstat(descriptor))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _explained(path: Path, error: OSError) -> StateUnusable:
    """An error of the system in words for people."""
    if error.errno == errno.EWOULDBLOCK:
        return StateUnusable(f"another process writes to {path}; name another file")
    if error.errno == errno.ELOOP:
        return StateUnusable(f"{path} is a symbolic link; name the file that it points to")
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "fix that"
    return StateUnusable(f"{path} cannot be written: {error.strerror}; {advice}, or name another file")
