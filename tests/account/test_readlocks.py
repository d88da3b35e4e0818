"""Locks between processes that show messages."""

from __future__ import annotations

import os

from securemsg.account.errors import SecuremsgError
from securemsg.account.readlocks import READ_LOCK, ReadLocks
from securemsg.client import messages
from securemsg.client.messages import Received
from tests.cli.rig import PlaceCase


class ReadLockTests(PlaceCase):
    """Ada has messages by Ben and by Cleo."""

    def setUp(self) -> None:
        """They have arrived."""
        super().setUp()
        self.ada = self.place.person("ada", again=True)
        for name in ("ben", "cleo"):
            messages.compose(self.place.person(name, again=True).context.store, "ada", "hello", now=self.place.now())
        self.place.settle(5)
        waiting = {message.sender: message for message in messages.unread(self.ada.context.store)}
        self.ben, self.cleo = waiting["ben"], waiting["cleo"]
        self.read_locks = ReadLocks(self.ada.context.folder, self.ada.context.store)

    def elsewhere(self, message: Received) -> bool:
        """Whether another process could have the turn."""
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if ReadLocks(self.ada.context.folder, self.ada.context.store).take(message) else 1)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_one_at_a_time(self) -> None:
        """While we give a message no other process gives anything of its sender's, but well of others; and afterwards again."""
        self.assertTrue(self.read_locks.take(self.ben))
        self.assertEqual((self.elsewhere(self.ben), self.elsewhere(self.cleo)), (False, True))
        self.read_locks.free("ben")
        self.assertTrue(self.elsewhere(self.ben))

    def test_given(self) -> None:
        """What was given meanwhile is not given again."""
        messages.mark_read(self.ada.context.store, [self.ben.seq], now=0)
        self.assertFalse(self.read_locks.take(self.ben))
        self.assertTrue(self.elsewhere(self.cleo))

    def test_ours(self) -> None:
        """Only messages whose senders nobody is busy with are ours."""
        read, write = os.pipe()
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                ReadLocks(self.ada.context.folder, self.ada.context.store).take(self.ben)
                os.write(go, b"x")
                os.read(read, 1)
            finally:
                os._exit(0)
        os.read(ready, 1)
        busy = self.read_locks.free_of([self.ben, self.cleo])
        os.write(write, b"x")
        os.waitpid(child, 0)
        for descriptor in (read, write, ready, go):
            os.close(descriptor)
        self.assertEqual(busy, [self.cleo])
        self.assertEqual(self.read_locks.free_of([self.ben, self.cleo]), [self.ben, self.cleo])

    def test_cannot_be_locked(self) -> None:
        """A folder in which nothing can be locked is said so."""
        lock = self.ada.context.profile_folder / READ_LOCK
        lock.symlink_to("elsewhere")
        error = self.assertRaises(SecuremsgError, self.read_locks.take, self.ben)
        self.assertEqual(error.code, "profile-unreadable")
