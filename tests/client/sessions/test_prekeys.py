"""Tests of C{securemsg.client.sessions.prekeys}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import prekeys
from securemsg.client.sessions.prekeys import (
    BATCH,
    KEM,
    LAST_RESORT,
    LOW,
    MAX_HALVES,
    ONE_TIME,
    RETIRED_LIFE,
    ROTATION,
    SIGNED,
)
from securemsg.client.state.profile import DAY
from securemsg.crypto import keys, pqxdh
from securemsg.protocol.messages import Prekey, PrekeyStock, Upload
from securemsg.storage.memory import MemoryProfile
from tests.client.people import NOW, Person, person


class PrekeyTests(SynchronousTestCase):
    """Making, rotating, retrying and forgetting prekeys."""

    def setUp(self) -> None:
        """Alice, whose prekeys are uploaded."""
        self.alice = person("alice")

    def replenish(self, stock: PrekeyStock, now: int = NOW) -> Upload | None:
        """What Alice would upload."""
        with self.alice.store.writing() as records:
            return prekeys.replenish(records, self.alice.profile, stock, now)

    def retire(self, now: int) -> None:
        """The server tells Alice what it has left."""
        with self.alice.store.writing() as records:
            prekeys.retire_claimed(records, self.alice.shelf.stock(), now)

    def prune(self, now: int) -> None:
        """Time passes."""
        with self.alice.store.writing() as records:
            prekeys.prune(records, now)

    def count(self, kind: bytes) -> int:
        """How many private halves of a kind Alice has."""
        with self.alice.store.reading() as records:
            return len(records.scan(prekeys.TABLE, kind))

    def has(self, kind: bytes, prekey: Prekey | None) -> bool:
        """Does Alice still have the private half?"""
        assert prekey is not None
        with self.alice.store.reading() as records:
            return prekeys.find(records, kind, prekey.id) is not None

    def test_first_upload(self) -> None:
        """The first upload holds everything, each prekey signed under the label of its kind."""
        fresh = Person(self.alice.profile, MemoryProfile())
        upload = fresh.stock_up()
        assert upload is not None
        assert upload.signed is not None and upload.last_resort is not None
        self.assertEqual((len(upload.one_time), len(upload.kem)), (BATCH, BATCH))
        self.assertFalse(upload.replace)
        kinds = {
            keys.SIGNED_PREKEY: [upload.signed],
            keys.LAST_RESORT_PREKEY: [upload.last_resort],
            keys.ONE_TIME_PREKEY: upload.one_time,
            keys.KEM_PREKEY: upload.kem,
        }
        for label, offered in kinds.items():
            for prekey in offered:
                public = pqxdh.PublicPrekey(prekey.id, prekey.key, prekey.signature)
                public.verify(fresh.profile.device_key.public, label)

    def test_nothing_needed(self) -> None:
        """With enough on the server nothing is made."""
        before = self.alice.dump()
        self.assertIs(self.replenish(self.alice.shelf.stock()), None)
        self.assertEqual(self.alice.dump(), before)

    def test_low(self) -> None:
        """Only the kind that runs low is made, with ids that were never given before."""
        stock = self.alice.shelf.stock()
        upload = self.replenish(PrekeyStock(stock.signed_id, stock.last_resort_id, LOW, LOW - 1))
        assert upload is not None
        self.assertEqual((upload.signed, upload.last_resort, upload.one_time), (None, None, []))
        self.assertEqual(len(upload.kem), BATCH)
        self.assertGreater(min(prekey.id for prekey in upload.kem), max(self.alice.shelf.kem))

    def test_retry(self) -> None:
        """Until an upload is confirmed the same set goes out again."""
        empty = PrekeyStock(0, 0, 0, 0)
        later = NOW + ROTATION
        upload = self.replenish(empty, later)
        self.assertEqual(self.replenish(empty, later + 1), upload)
        assert upload is not None
        with self.alice.store.writing() as records:
            prekeys.mark_uploaded(records, upload, later)
        self.alice.shelf.take(upload)
        self.assertIs(self.replenish(self.alice.shelf.stock(), later + 1), None)

    def test_ids_survive_restore(self) -> None:
        """After an older state was restored no id is given twice: they begin at the time of making."""
        before = self.alice.store.snapshot()
        empty = PrekeyStock(0, 0, 0, 0)
        lost = self.replenish(empty, NOW + ROTATION)
        self.alice.restore(before)
        again = self.replenish(empty, NOW + ROTATION + 1)
        assert lost is not None and again is not None
        ids = [{prekey.id for prekey in (*upload.one_time, *upload.kem)} for upload in (lost, again)]
        self.assertEqual(ids[0] & ids[1], set())

    def test_rotation(self) -> None:
        """Signed and last-resort prekeys rotate weekly; the old halves live until no message can name them any more."""
        old = self.alice.shelf.signed, self.alice.shelf.last_resort
        self.assertIs(self.alice.stock_up(NOW + ROTATION - 1), None)
        upload = self.alice.stock_up(NOW + ROTATION)
        assert upload is not None
        self.assertEqual(upload.one_time, [])
        for moment, kept in ((RETIRED_LIFE - 1, True), (RETIRED_LIFE, False)):
            with self.alice.store.writing() as records:
                prekeys.prune(records, NOW + ROTATION + moment)
            self.assertEqual((self.has(SIGNED, old[0]), self.has(LAST_RESORT, old[1])), (kept, kept))
        self.assertTrue(self.has(SIGNED, upload.signed) and self.has(LAST_RESORT, upload.last_resort))
        self.assertGreaterEqual(RETIRED_LIFE, 60 * DAY)

    def test_unconfirmed_does_not_retire(self) -> None:
        """A rotation that the server has not confirmed retires nothing."""
        old = self.alice.shelf.signed
        self.replenish(self.alice.shelf.stock(), NOW + ROTATION)
        with self.alice.store.writing() as records:
            prekeys.prune(records, NOW + ROTATION + RETIRED_LIFE)
        self.assertTrue(self.has(SIGNED, old))

    def test_server_lost_them(self) -> None:
        """A server that has lost the signed prekeys gets the current ones again."""
        upload = self.replenish(PrekeyStock(0, 0, BATCH, BATCH))
        assert upload is not None
        self.assertEqual((upload.signed, upload.last_resort), (self.alice.shelf.signed, self.alice.shelf.last_resort))

    def test_made_by_another_life(self) -> None:
        """A signed prekey on the server whose private half a restore took from us is replaced at once."""
        before = self.alice.store.snapshot()
        self.alice.stock_up(NOW + ROTATION)
        stock = self.alice.shelf.stock()
        self.alice.restore(before)
        upload = self.replenish(stock, NOW + ROTATION - 1)
        assert upload is not None and upload.signed is not None and upload.last_resort is not None
        self.assertNotEqual(upload.signed.id, stock.signed_id)

    def test_discard(self) -> None:
        """
        After a restore all halves for one use go, and the next upload tells the server to drop theirs, until it is confirmed.
        """
        with self.alice.store.writing() as records:
            prekeys.discard_one_time(records)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (0, 0))
        upload = self.replenish(self.alice.shelf.stock())
        assert upload is not None
        self.assertTrue(upload.replace)
        self.assertEqual((len(upload.one_time), len(upload.kem)), (BATCH, BATCH))
        self.assertEqual(self.replenish(self.alice.shelf.stock()), upload)
        self.alice.shelf.take(upload)
        with self.alice.store.writing() as records:
            prekeys.mark_uploaded(records, upload, NOW)
        self.assertIs(self.replenish(self.alice.shelf.stock()), None)
        self.assertEqual(set(self.alice.shelf.kem), {prekey.id for prekey in upload.kem})

    def test_claimed_and_not_used(self) -> None:
        """
        A prekey that the server handed out, the oldest first, is deleted when nothing that names it can come any more; what may
        be handed out yet stays, however old it is.
        """
        claimed = [self.alice.shelf.claim(f"stranger {number}") for number in range(3)]
        self.retire(NOW + DAY)
        self.retire(NOW + 2 * DAY)
        left = list(self.alice.shelf.kem.values())
        for moment, kept in ((RETIRED_LIFE - 1, True), (RETIRED_LIFE, False)):
            self.prune(NOW + DAY + moment)
            for bundle in claimed:
                self.assertEqual((self.has(KEM, bundle.kem), self.has(ONE_TIME, bundle.one_time)), (kept, kept))
        self.prune(NOW + 10 * RETIRED_LIFE)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (BATCH - 3, BATCH - 3))
        self.assertTrue(all(self.has(KEM, prekey) for prekey in left))

    def test_unconfirmed_is_not_claimed(self) -> None:
        """What the server has not confirmed was handed out to nobody, and does not count among what is left there."""
        self.alice.shelf.sell_out()
        self.replenish(self.alice.shelf.stock())
        self.retire(NOW)
        upload = self.alice.stock_up()
        assert upload is not None
        self.retire(NOW)
        self.prune(NOW + RETIRED_LIFE)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (BATCH, BATCH))
        self.assertTrue(all(self.has(KEM, prekey) for prekey in upload.kem))

    def test_insatiable(self) -> None:
        """A server that always says it has none left does not make us keep more and more private halves."""
        for number in range(MAX_HALVES // BATCH + 2):
            self.alice.shelf.sell_out()
            self.alice.stock_up(NOW + number)
            self.retire(NOW + number)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (MAX_HALVES, MAX_HALVES))
        later = NOW + DAY + RETIRED_LIFE
        self.prune(later)
        upload = self.alice.stock_up(later)
        assert upload is not None
        self.assertEqual((len(upload.one_time), len(upload.kem)), (BATCH, BATCH))

    def test_shows_no_secret(self) -> None:
        """The representation of a prekey holds no private key."""
        prekey = self.alice.shelf.signed
        assert prekey is not None
        with self.alice.store.reading() as records:
            half = prekeys.find(records, SIGNED, prekey.id)
        self.assertEqual(repr(half), "<PrivatePrekey>")
