"""
Locks that decide which process shows a message: C{recv} and any number of chats may read one profile at the same time.

A message is marked read after it was shown, so that a kill in between loses nothing. Until then a lock keeps others away from
its sender's messages. Each sender, or room, has one of its own, so that a slow reader holds up nothing else. What was shown is
noted first (L{securemsg.account.shown}), and marked together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from securemsg.account.bytelocks import ByteLocks
from securemsg.account.errors import error_for
from securemsg.account.shown import ShownNote
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.interfaces import IProfileStore
from securemsg.storage.files import FileLock

# Files in a profile's folder: the lock for reading the messages of all senders, and the locks of single senders.
RECV_LOCK = "recv.lock"
READ_LOCK = "read.lock"


def take_read_lock(folder: Path) -> FileLock:
    """
    Become the only process that reads the messages of all senders, in order.

    @raise SecuremsgError: C{second-recv}, or the folder is not writable.
    """
    lock = FileLock(folder / RECV_LOCK)
    try:
        taken = lock.take()
    except OSError as error:
        raise error_for("profile-unreadable", text=f"cannot lock the profile: {error.strerror}") from None
    if not taken:
        raise error_for("second-recv")
    return lock


class ReadLocks:
    """The locks that one process holds; it must have only one of these for a profile."""

    def __init__(self, folder: Path | None, store: IProfileStore, now: Callable[[], float] = time.time) -> None:
        """
        @param folder: of the profile; C{None}: it is in memory, so that nobody else can read it.
        """
        self._locks = ByteLocks(None if folder is None else folder / READ_LOCK)
        self._store = store
        self._now = now
        self.shown = ShownNote(folder, store, now)

    def take_all(self, page: Sequence[Received]) -> list[Received]:
        """
        Lock messages before they are shown. L{mark_shown} must follow.

        @return: those that are ours: see L{take}.
        @raise SecuremsgError: the profile cannot be locked.
        """
        locked = {name for name in {message.conversation.name for message in page} if self._locks.take(name)}
        unread = messages.unread_of(self._store, [message.seq for message in page if message.conversation.name in locked])
        waiting = [message for message in page if message.seq in unread]
        known = [message.seq for message in self.shown.known(waiting)]
        messages.mark_read(self._store, known, now=self._now())
        ours = [message for message in waiting if message.seq not in known]
        for name in locked - {message.conversation.name for message in ours}:
            self.free(name)
        return ours

    def mark_shown(self, page: Iterable[Received]) -> int:
        """
        Mark as read what was shown of a page, and free its locks.

        @return: how many messages were shown.
        """
        try:
            return self.shown.mark_read()
        finally:
            for name in {message.conversation.name for message in page}:
                self.free(name)

    def take(self, message: Received) -> bool:
        """
        Lock a message before it is shown. After success L{free} must follow.

        @return: whether it is ours: no other process shows a message of this sender just now, or has shown this one.
        @raise SecuremsgError: the profile cannot be locked.
        """
        return bool(self.take_all([message]))

    def free(self, sender: str) -> None:
        """Let other processes show what this sender wrote, or what was said in this room."""
        self._locks.free(sender)

    def close(self) -> None:
        """Free all locks."""
        self.shown.close()
        self._locks.close()

    def free_of(self, messages: list[Received]) -> list[Received]:
        """
        Those of these messages whose sender's lock is free.

        @raise SecuremsgError: the profile cannot be locked.
        """
        senders = {message.conversation.name for message in messages}
        free = {sender for sender in senders if self._is_free(sender)}
        return [message for message in messages if message.conversation.name in free]

    def _is_free(self, sender: str) -> bool:
        """Whether nobody else holds this sender's lock."""
        is_free = self._locks.take(sender)
        if is_free:
            self.free(sender)
        return is_free
