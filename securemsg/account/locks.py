"""Locks between processes: files that the kernel frees when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

# In a profile's folder: who has the connection, and who gives out the messages of all in order.
LOCK = "lock"
RECV_LOCK = "recv.lock"


class OwnLock:
    """The lock of what lies in the memory of one process: nobody else can want it."""

    def take(self) -> bool:
        """Take it."""
        return True

    def free(self) -> None:
        """Nobody waits for it."""


class FileLock:
    """One lock, held or not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor >= 0

    def take(self) -> bool:
        """
        Take the lock if nobody has it; this never waits.

        @raise OSError: the file cannot be made or locked here.
        """
        if self.is_held:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def free(self) -> None:
        """Let somebody else have it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
