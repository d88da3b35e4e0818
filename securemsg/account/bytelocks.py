"""
Locks between the processes of a profile: single bytes of a file, which the kernel frees when a process dies.

Each name has a byte. Two names with one hash wait for each other, which loses nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from securemsg.account.errors import error_for
from securemsg.crypto.keys import sha256
from securemsg.storage.files import open_lock_file

# Bytes of the hash that gives a name's offset, as many as offsets allow.
OFFSET_SIZE = 7


class ByteLocks:
    """The locks that one process holds; it must have only one of these for a file."""

    def __init__(self, path: Path | None) -> None:
        """
        @param path: of the file; C{None}: the profile is in memory, and nobody else has it.
        """
        self._path = path
        self._descriptor = -1

    def take(self, name: str) -> bool:
        """
        Try to lock; this never waits.

        @return: whether it is ours now.
        @raise SecuremsgError: the profile cannot be locked.
        """
        if self._path is None:
            return True
        try:
            if self._descriptor < 0:
                self._descriptor = open_lock_file(self._path)
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(name))
        except (BlockingIOError, PermissionError) as error:
            if self._descriptor < 0:
                raise error_for("profile-unreadable", text=f"cannot lock the profile: {error.strerror}") from None
            return False
        except OSError as error:
            raise error_for("profile-unreadable", text=f"cannot lock the profile: {error.strerror}") from None
        return True

    def free(self, name: str) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _offset(name))

    def close(self) -> None:
        """Free all."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _offset(name: str) -> int:
    return int.from_bytes(sha256(name.encode())[:OFFSET_SIZE], "big")
