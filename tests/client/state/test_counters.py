"""Counters of our own, and which of them a device of the peer gets."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state import counters, gaps
from securemsg.client.state.records import draft
from securemsg.protocol.envelope import Content, Kind, Share, StreamEnd
from tests.client.people import NOW, friends

OLD, NEW = b"the older device", b"the newer device"


class ShareTests(SynchronousTestCase):
    """Alice has sent Bob fifty messages, and the server's lie has made her begin a new incarnation; then Bob adds a device."""

    def setUp(self) -> None:
        """The older device was there from the first message on."""
        self.alice, self.bob = friends()
        self.conversation = counters.conversation_of(self.alice.profile.identity.public, self.bob.profile.identity.public)
        for counter in range(1, 51):
            self.sealed(self.content(1, counter), OLD)
        self.first = self.content(2, 1)

    def content(self, incarnation: int, counter: int) -> Content:
        """A message of Alice's."""
        with self.alice.store.reading() as records:
            continues = counters.out_stream(records, self.conversation, incarnation).continues
        return msgspec.structs.replace(
            draft(self.alice.profile, Kind.TEXT, NOW),
            conversation=self.conversation,
            incarnation=incarnation,
            counter=counter,
            continues=continues,
        )

    def sealed(self, content: Content, device: bytes) -> Share | None:
        """What the own part for a device says."""
        with self.alice.store.writing() as records:
            base = counters.base_for(records, device, content)
            counters.note_sent(records, content, counters.chain_digest(content))
        return base

    def missing(self, content: Content, device: bytes) -> int:
        """How much a device waits for that has got nothing else."""
        with self.bob.store.writing() as records:
            return gaps.receive(records, content, self.sealed(content, device), NOW).gap

    def test_new_device(self) -> None:
        """It misses nothing that was sent before it was there."""
        self.assertEqual(self.missing(self.first, NEW), 0)

    def test_old_device(self) -> None:
        """Whatever incarnation Alice is in, a device that had a share misses what does not come of it."""
        self.assertEqual(self.missing(self.first, OLD), 50)

    def test_far_back(self) -> None:
        """However many incarnations have begun since, its share is the same."""
        for incarnation in range(2, 20):
            base = self.sealed(self.content(incarnation, 1), OLD)
        self.assertEqual(base, Share(9, 0))
        self.assertEqual(self.missing(self.content(20, 1), OLD), 8)

    def test_sealed_again(self) -> None:
        """What is sealed for a device later than what follows belongs to its share as well."""
        self.assertEqual(self.sealed(self.content(2, 2), NEW), Share(0, 1))
        self.assertEqual(self.sealed(self.first, NEW), Share(0, 0))
        self.assertEqual(self.sealed(self.content(1, 50), NEW), Share(0, 49))
        self.assertEqual(self.sealed(self.content(2, 3), NEW), Share(1, 49))

    def test_outside(self) -> None:
        """What is not counted says nothing of it."""
        self.assertIsNone(self.sealed(msgspec.structs.replace(self.first, counter=0), NEW))
        self.assertEqual(self.first.continues, (StreamEnd(1, 50, self.first.continues[0].digest),))
