"""What is remembered of the sessions that others have begun."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import initiations, prekeys
from securemsg.client.sessions.initiations import MAX_INITIATIONS
from securemsg.client.sessions.prekeys import KEPT_ROTATING, RETIRED_LIFE, ROTATION
from securemsg.crypto.keys import random_bytes
from securemsg.protocol.envelope import PrekeyHeader
from securemsg.storage.memory import MemoryRecords
from tests.client.people import NOW, friends


class InitiationTests(SynchronousTestCase):
    """The map from initiations to sessions."""

    def setUp(self) -> None:
        """Alice and Bob know each other; nothing of Bob's for one use is left."""
        self.alice, self.bob = friends()
        self.bob.shelf.sell_out()

    def prune(self, now: int) -> None:
        """Time passes for Bob."""
        with self.bob.store.writing() as records:
            prekeys.prune(records, now)
            initiations.prune(records)

    def kept(self) -> int:
        """How many records Bob keeps of initiations: two of each."""
        with self.bob.store.reading() as records:
            return len(records.scan(initiations.TABLE))

    def header(self) -> PrekeyHeader:
        """An initiation with Bob's last-resort prekey."""
        bundle = self.bob.shelf.claim("alice")
        return PrekeyHeader(
            self.alice.profile.identity.public,
            self.alice.profile.devices,
            random_bytes(32),
            bundle.signed.id,
            bundle.kem.id,
            True,
            bytes(1088),
            None,
        )

    def test_pruned(self) -> None:
        """An initiation is remembered as long as a prekey in it, and no longer."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        for week in range(1, KEPT_ROTATING + 1):
            self.bob.stock_up(NOW + week * ROTATION)
        for moment, kept in ((RETIRED_LIFE - 1, 2), (RETIRED_LIFE, 0)):
            self.prune(NOW + ROTATION + moment)
            self.assertEqual(self.kept(), kept)

    def test_bounded(self) -> None:
        """
        A device that begins session after session makes us remember the newest of them, and cannot crowd out those of others.
        """
        device = self.alice.profile.device_id
        headers = [self.header() for _ in range(MAX_INITIATIONS + 3)]
        with self.bob.store.writing() as records:
            initiations.remember(records, "carol", device, headers[0], 1)
            for number, header in enumerate(headers, 1):
                initiations.remember(records, "alice", device, header, number)
            found = [initiations.session_of(records, "alice", device, header) for header in headers]
            self.assertEqual(found, [None, None, None, *range(4, len(headers) + 1)])
            self.assertEqual(initiations.session_of(records, "carol", device, headers[0]), 1)
        self.assertEqual(self.kept(), 2 * (MAX_INITIATIONS + 1))

    def test_not_read_whole(self) -> None:
        """To see what may be forgotten, the oldest are looked at and not all."""
        for number in range(20):
            device = bytes([number]) * 16
            with self.bob.store.writing() as records:
                initiations.remember(records, "alice", device, self.header(), 1)
        with self.bob.store.writing() as records:
            assert isinstance(records, MemoryRecords), "in memory"
            counting = CountingRecords(records.tables, records.sequences, True)
            initiations.prune(counting)
        self.assertEqual(counting.reads, 1)


class CountingRecords(MemoryRecords):
    """Records that count how many initiations are opened."""

    reads = 0

    def get(self, table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """See L{MemoryRecords.get}."""
        self.reads += table == initiations.TABLE
        return super().get(table, bucket, order)
