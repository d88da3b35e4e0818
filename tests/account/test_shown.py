"""What was shown and is not marked as read yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve

from securemsg.account import shown
from securemsg.account.readlocks import ReadLocks
from securemsg.account.shown import ENTRY_SIZE, MAX_NOTED, SHOWN, ShownNote, entry_of
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.interfaces import IProfileStore
from tests.cli.rig import PlaceCase


class ShownTests(PlaceCase):
    """Ada has messages, and several processes that show them."""

    def setUp(self) -> None:
        """They have arrived."""
        super().setUp()
        self.ada = self.place.person("ada", again=True)
        for name in ("ben", "cleo"):
            store = self.place.person(name, again=True).context.store
            for number in range(3):
                messages.compose(store, "ada", f"{name} {number}", now=self.place.now())
            self.place.settle(5)
        self.page = messages.unread(self.ada.context.store)
        self.file = self.ada.context.profile_folder / SHOWN

    def process(self) -> ReadLocks:
        """Another process."""
        locks = ReadLocks(self.ada.context.folder, self.ada.context.store)
        self.addCleanup(locks.close)
        return locks

    def killed(self, *shown: Received) -> None:
        """A process has shown these, and was killed before it marked them as read."""
        locks = self.process()
        for message in shown:
            self.assertTrue(locks.shown.add(message))
        locks.close()

    def unread(self) -> list[str]:
        """What is not marked as read."""
        return [message.text for message in messages.unread(self.ada.context.store)]

    def texts(self, page: list[Received]) -> list[str]:
        """What these say."""
        return [message.text for message in page]

    def test_settled(self) -> None:
        """What was noted is marked as read together, and then the note is empty."""
        locks = self.process()
        ours = locks.take_all(self.page)
        self.assertEqual(ours, self.page)
        for message in ours[:2]:
            self.assertTrue(locks.shown.add(message))
        self.assertEqual(len(self.unread()), 6)
        self.assertEqual(self.file.stat().st_size, 2 * ENTRY_SIZE)
        self.assertEqual(locks.mark_shown(ours), 2)
        self.assertEqual(self.unread(), self.texts(self.page[2:]))
        self.assertEqual(self.file.stat().st_size, 0)
        self.assertEqual(locks.mark_shown([]), 0)

    def test_killed(self) -> None:
        """What a process had noted that was killed is not shown again, and is marked as read."""
        self.killed(*self.page[:2])
        ours = self.process().take_all(self.page[:4])
        self.assertEqual(ours, self.page[2:4])
        self.assertEqual(self.unread(), self.texts(self.page[2:]))

    def test_left(self) -> None:
        """Whoever empties the note marks as read what dead processes have left there, and nothing else."""
        self.killed(self.page[0], self.page[1])
        locks = self.process()
        locks.shown.add(self.page[4])
        locks.mark_shown([])
        self.assertEqual(self.unread(), self.texts([*self.page[2:4], self.page[5]]))
        self.assertEqual(self.file.stat().st_size, 0)

    def test_beside(self) -> None:
        """The note is not emptied while another process has something in it."""
        living, other = self.process(), self.process()
        living.shown.add(self.page[0])
        other.shown.add(self.page[4])
        other.mark_shown([])
        self.assertEqual(self.unread(), self.texts([*self.page[:4], self.page[5]]))
        living.close()
        self.assertEqual(self.process().take_all(self.page[:1]), [])

    def test_another_message(self) -> None:
        """A note of another message with this seq, as of a profile that was restored since, says nothing of this one."""
        self.killed(evolve(self.page[0], id=bytes(16)))
        locks = self.process()
        self.assertEqual(locks.take_all(self.page), self.page)
        locks.shown.add(self.page[1])
        locks.mark_shown(self.page)
        self.assertEqual(self.unread(), self.texts([self.page[0], *self.page[2:]]))

    def test_rubbish(self) -> None:
        """A damaged note is none."""
        entry = entry_of(self.page[0])
        self.file.write_bytes(entry[:-1] + bytes([entry[-1] ^ 1]) + bytes(7))
        self.assertEqual(self.process().take_all(self.page), self.page)

    def test_absurd(self) -> None:
        """A number that no message has is none, and does not reach the profile."""
        asked: list[int] = []
        still_unread = messages.still_unread

        def note(store: IProfileStore, seqs: Iterable[int]) -> list[Received]:
            asked.extend(seqs)
            return still_unread(store, asked)

        self.patch(messages, "still_unread", note)
        self.file.write_bytes(b"\xff" * ENTRY_SIZE + (2**63 - 1).to_bytes(8, "big") + bytes(16))
        locks = self.process()
        locks.shown.add(self.page[0])
        locks.mark_shown(self.page)
        self.assertEqual((asked, self.file.stat().st_size), ([2**63 - 1], 0))

    def test_torn(self) -> None:
        """What is left of an entry that was not written whole does not hide those that come after it."""
        self.killed(self.page[0])
        with self.file.open("ab") as file:
            file.write(bytes(10))
        self.killed(self.page[1])
        self.assertEqual(self.process().take_all(self.page), self.page[2:])

    def test_synchronised(self) -> None:
        """Each entry is on disk before the next message is shown, and the file's name before the first."""
        synchronised: list[int] = []
        self.patch(os, "fdatasync", synchronised.append)
        folders: list[Path] = []
        self.patch(shown, "sync_folder", folders.append)
        locks = self.process()
        for count, message in enumerate(self.page[:2], start=1):
            self.assertTrue(locks.shown.add(message))
            self.assertEqual(len(synchronised), count)
        self.assertEqual(folders, [self.file.parent])

    def test_held_up(self) -> None:
        """While a process that goes on holds up the note, it does not grow for ever: others mark each message at once."""
        self.patch(shown, "MAX_SIZE", 2 * ENTRY_SIZE)
        living, other = self.process(), self.process()
        self.assertTrue(living.shown.add(self.page[0]))
        self.assertTrue(other.shown.add(self.page[3]))
        self.assertFalse(other.shown.add(self.page[4]))
        other.mark_shown([])
        self.assertFalse(other.shown.add(self.page[5]))
        other.mark_shown([])
        self.assertEqual(self.file.stat().st_size, 2 * ENTRY_SIZE)
        self.assertEqual(self.unread(), self.texts(self.page[:3]))

    def test_bounded(self) -> None:
        """After so many messages they have to be marked as read before more are shown."""
        locks = self.process()
        added = [locks.shown.add(evolve(self.page[0], seq=1000 + number)) for number in range(MAX_NOTED)]
        self.assertEqual(added, [True] * (MAX_NOTED - 1) + [False])
        self.assertTrue(locks.shown.is_due)
        locks.mark_shown([])
        self.assertFalse(locks.shown.is_due)

    def test_no_note(self) -> None:
        """Where nothing can be noted, each message is marked as read before the next one is shown."""
        self.file.symlink_to("elsewhere")
        locks = self.process()
        self.assertEqual(locks.take_all(self.page), self.page)
        self.assertFalse(locks.shown.add(self.page[0]))
        self.assertEqual(locks.mark_shown(self.page), 1)
        self.assertEqual(self.unread(), self.texts(self.page[1:]))

    def test_in_memory(self) -> None:
        """A profile in memory needs no note."""
        note = ShownNote(None, self.ada.context.store)
        self.assertTrue(note.add(self.page[0]))
        self.assertEqual(note.known(self.page), [])
        self.assertEqual(note.mark_read(), 1)
        self.assertEqual(self.unread(), self.texts(self.page[1:]))
