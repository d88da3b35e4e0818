"""
The note of what was shown and is not marked as read yet: a file that each process which shows messages appends to.

To mark a message as read takes a transaction, so that is done for many together. The note, which is written and synchronised
right after each message, is there for a process that is killed, or loses power, in between: the others find there what it had
shown, and show only the one message again that it had no time to note.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.crypto.keys import digest
from securemsg.interfaces import IProfileStore
from securemsg.storage.files import open_lock_file, sync_folder

# A file in a profile's folder. Whoever has something in it that is not marked as read holds a shared lock.
SHOWN = "shown"
SEQ_SIZE = 8
DIGEST_SIZE = 16
ENTRY_SIZE = SEQ_SIZE + DIGEST_SIZE
# Messages that are shown before they are marked as read, together.
MAX_NOTED = 64
# Bytes of the file: while it is longer, because a process holds it up, each message is marked as read at once.
MAX_SIZE = 64 * 1024
MAX_SEQ = 2**63 - 1


def entry_of(message: Received) -> bytes:
    """What the note says of a message; a restored profile may give its seq to another one."""
    return message.seq.to_bytes(SEQ_SIZE, "big") + digest(message.id)[:DIGEST_SIZE]


class ShownNote:
    """
    The note of a profile, as one process uses it.

    @ivar is_due: nothing more may be shown before L{mark_read}.
    """

    def __init__(self, folder: Path | None, store: IProfileStore, now: Callable[[], float] = time.time) -> None:
        """
        @param folder: of the profile; C{None}: it is in memory, and ends with this process.
        """
        self._path = None if folder is None else folder / SHOWN
        self._store = store
        self._now = now
        self._descriptor = -1
        self._noted: list[Received] = []
        self.is_due = False

    def add(self, message: Received) -> bool:
        """
        Note a message that was just shown; from any thread, but from one at a time.

        @return: whether another one may be shown before L{mark_read}.
        """
        self._noted.append(message)
        self.is_due = len(self._noted) >= MAX_NOTED or not self._write(entry_of(message))
        return not self.is_due

    def mark_read(self) -> int:
        """
        Mark as read what was noted, in one transaction.

        @return: how many messages that were.
        @raise StorageError: the profile cannot be written; what was noted stays noted.
        """
        noted = list(self._noted)
        if not noted:
            return 0
        messages.mark_read(self._store, [message.seq for message in noted], now=self._now())
        del self._noted[: len(noted)]
        self.is_due = False
        self._empty({entry_of(message) for message in noted})
        return len(noted)

    def known(self, unread: Iterable[Received]) -> list[Received]:
        """Those of these messages that a process has shown, and not marked as read so far."""
        entries = self._read() if self._path is not None else frozenset()
        return [message for message in unread if entry_of(message) in entries] if entries else []

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, entry: bytes) -> bool:
        """Append an entry; C{False}: somebody empties the file just now, or there is no room."""
        if self._path is None:
            return True
        try:
            descriptor = self._open()
            if len(self._noted) == 1:
                self._share(descriptor)
            if os.lseek(descriptor, 0, os.SEEK_END) >= MAX_SIZE or os.write(descriptor, entry) < ENTRY_SIZE:
                return False
            os.fdatasync(descriptor)
        except OSError:
            return False
        return True

    def _share(self, descriptor: int) -> None:
        """Hold the shared lock; if nobody else does, first cut off what a power cut or a full disk has left of an entry."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, size - size % ENTRY_SIZE)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _read(self) -> frozenset[bytes]:
        """All entries; none where the file cannot be read."""
        try:
            descriptor = self._open()
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        except OSError:
            return frozenset()
        entries = [data[start : start + ENTRY_SIZE] for start in range(0, len(data) - ENTRY_SIZE + 1, ENTRY_SIZE)]
        # What is no entry, because the file was damaged, says nothing.
        return frozenset(entry for entry in entries if int.from_bytes(entry[:SEQ_SIZE], "big") <= MAX_SEQ)

    def _empty(self, ours: set[bytes]) -> None:
        """Empty the file, unless another process has something in it; what a dead one has left is marked as read first."""
        if self._path is None:
            return
        try:
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                left = self._read() - ours
                seqs = [int.from_bytes(entry[:SEQ_SIZE], "big") for entry in left]
                shown = [message.seq for message in messages.still_unread(self._store, seqs) if entry_of(message) in left]
                messages.mark_read(self._store, shown, now=self._now())
                os.ftruncate(descriptor, 0)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            # The next one empties it.
            return

    def _open(self) -> int:
        if self._descriptor < 0:
            assert self._path is not None, "a profile in a folder"
            self._descriptor = open_lock_file(self._path)
            sync_folder(self._path.parent)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)
        return self._descriptor
