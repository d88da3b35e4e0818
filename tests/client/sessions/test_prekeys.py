"""Tests of C{securemsg.client.sessions.prekeys}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import prekeys
from securemsg.client.sessions.prekeys import (
    BATCH,
    BATCH_PAUSE,
    ID_SHIFT,
    KEM,
    KEPT_ROTATING,
    LAST_RESORT,
    LOW,
    MAX_BUNDLE_AGE,
    MAX_CLOCK_SKEW,
    MAX_HALVES,
    MAX_ROTATING,
    ONE_TIME,
    RETIRED_LIFE,
    ROTATION,
    SIGNED,
)
from securemsg.client.state.profile import DAY
from securemsg.crypto import keys, pqxdh
from securemsg.errors import Refusal
from securemsg.protocol.messages import Bundle, Prekey, PrekeyStock, Upload
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
        upload = self.replenish(PrekeyStock(stock.signed_id, stock.last_resort_id, LOW, LOW - 1), NOW + BATCH_PAUSE)
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

    def test_ids_of_copies(self) -> None:
        """Two copies of a profile that make prekeys in the same second give other ids; both say when they were made."""
        before = self.alice.store.snapshot()
        made = []
        for _ in range(2):
            upload = self.replenish(PrekeyStock(0, 0, 0, 0), NOW + ROTATION)
            assert upload is not None and upload.signed is not None and upload.last_resort is not None
            kinds = ([upload.signed], [upload.last_resort], upload.one_time, upload.kem)
            made.append([[prekey.id for prekey in prekeys] for prekeys in kinds])
            self.alice.restore(before)
        # One of the four may repeat, once in some thousand runs; all of them do not.
        self.assertNotEqual(*made)
        ids = {prekey_id >> ID_SHIFT for upload_ids in made for kind in upload_ids for prekey_id in kind}
        self.assertEqual(ids, {NOW + ROTATION})

    def test_rotation(self) -> None:
        """Signed and last-resort prekeys rotate weekly; the old halves live until no message can name them any more."""
        old = self.alice.shelf.signed, self.alice.shelf.last_resort
        self.assertIs(self.alice.stock_up(NOW + ROTATION - 1), None)
        upload = self.rotate(1)
        self.assertEqual(upload.one_time, [])
        for week in range(2, KEPT_ROTATING + 1):
            upload = self.rotate(week)
        for moment, kept in ((RETIRED_LIFE - 1, True), (RETIRED_LIFE, False)):
            with self.alice.store.writing() as records:
                prekeys.prune(records, NOW + ROTATION + moment)
            self.assertEqual((self.has(SIGNED, old[0]), self.has(LAST_RESORT, old[1])), (kept, kept))
        self.assertTrue(self.has(SIGNED, upload.signed) and self.has(LAST_RESORT, upload.last_resort))
        self.assertGreaterEqual(RETIRED_LIFE, 60 * DAY)

    def rotate(self, week: int) -> Upload:
        """The rotation of a week, which the server confirms."""
        upload = self.alice.stock_up(NOW + week * ROTATION)
        assert upload is not None and upload.signed is not None and upload.last_resort is not None
        return upload

    def test_unconfirmed(self) -> None:
        """
        A server that confirms nothing holds up no rotation. What it has is kept for as long as a sender may take it, and then
        until no message can name it any more.
        """
        old, stock = self.alice.shelf.signed, self.alice.shelf.stock()
        ids = set()
        for week in range(1, KEPT_ROTATING + 1):
            upload = self.replenish(stock, NOW + week * ROTATION)
            assert upload is not None and upload.signed is not None
            ids.add(upload.signed.id)
        self.assertEqual(len(ids), KEPT_ROTATING)
        life = MAX_BUNDLE_AGE + RETIRED_LIFE
        for moment, kept in ((life - 1, True), (life, False)):
            self.prune(NOW + moment)
            self.assertEqual(self.has(SIGNED, old), kept)

    def test_unconfirmed_since(self) -> None:
        """How long the server has confirmed no new prekey is known."""
        stock = self.alice.shelf.stock()
        with self.alice.store.reading() as records:
            self.assertIs(prekeys.unconfirmed_since(records), None)
        for week in (1, 2, 3):
            self.replenish(stock, NOW + week * ROTATION)
        with self.alice.store.reading() as records:
            self.assertEqual(prekeys.unconfirmed_since(records), NOW + ROTATION)
        self.rotate(4)
        with self.alice.store.reading() as records:
            self.assertIs(prekeys.unconfirmed_since(records), None)

    def test_clock_jumps(self) -> None:
        """Whatever the clock says, the newest eleven that rotate stay, and never more than twice as many."""
        newest = []
        for jump in range(3 * KEPT_ROTATING):
            moment = NOW + (10**9 if jump % 2 else -(10**8)) + jump * ROTATION
            upload = self.replenish(PrekeyStock(0, 0, BATCH, BATCH), moment)
            assert upload is not None
            newest.append(upload.signed)
            self.prune(moment)
            self.prune(10**10)
            self.prune(0)
            self.assertTrue(all(self.has(SIGNED, prekey) for prekey in newest[-KEPT_ROTATING:]))
            self.assertLessEqual(self.count(SIGNED), MAX_ROTATING)
        self.assertEqual(len({prekey.id for prekey in newest if prekey is not None}), 3 * KEPT_ROTATING)

    def test_bounded(self) -> None:
        """A clock that goes back again and again makes us keep no more of a rotating kind than twice the newest."""
        for jump in range(3 * MAX_ROTATING):
            self.replenish(self.alice.shelf.stock(), NOW - jump * (MAX_CLOCK_SKEW + 1))
            self.prune(NOW - jump * (MAX_CLOCK_SKEW + 1))
        self.assertEqual(self.count(SIGNED), MAX_ROTATING)

    def test_clock_was_ahead(self) -> None:
        """What was made while the clock was years ahead is replaced once it is right, under ids that senders believe."""
        self.alice.stock_up(NOW + 1000 * DAY)
        upload = self.alice.stock_up(NOW + BATCH_PAUSE)
        assert upload is not None and upload.signed is not None
        self.assertEqual(upload.signed.id >> ID_SHIFT, NOW + BATCH_PAUSE)
        self.assertEqual(self.alice.shelf.signed, upload.signed)
        self.assertIs(self.alice.stock_up(NOW + 2 * BATCH_PAUSE), None)

    def test_unknown_to_us(self) -> None:
        """A server that always claims to have other prekeys than ours makes us make a pair an hour, not one each time."""
        for second in range(0, 2 * BATCH_PAUSE, 60):
            self.replenish(PrekeyStock(7, 7, BATCH, BATCH), NOW + second)
        self.assertEqual((self.count(SIGNED), self.count(LAST_RESORT)), (2, 2))

    def test_batches(self) -> None:
        """A server that always says that few are left makes us make a batch of each kind an hour."""
        for second in range(0, 3 * BATCH_PAUSE, 60):
            self.alice.shelf.sell_out()
            self.alice.stock_up(NOW + second)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (3 * BATCH, 3 * BATCH))

    def test_age(self) -> None:
        """The age of a bundle is that of its older rotating prekey; one that is too old or from the future is refused."""
        stock = self.alice.shelf
        for bundle in (stock.claim("bob"), Bundle(0, *self.last_resort(), True, None)):
            for age in (-MAX_CLOCK_SKEW, 0, MAX_BUNDLE_AGE):
                self.assertEqual(prekeys.bundle_age(bundle, NOW + age), age)
            for age in (-MAX_CLOCK_SKEW - 1, MAX_BUNDLE_AGE + 1):
                refused = self.assertRaises(Refusal, prekeys.bundle_age, bundle, NOW + age)
                self.assertEqual(refused.code, "stale-bundle")

    def test_age_of_last_resort(self) -> None:
        """A young signed prekey makes an old last resort no younger."""
        _, last_resort = self.last_resort()
        signed = self.rotate(5).signed
        assert signed is not None
        refused = self.assertRaises(
            Refusal, prekeys.bundle_age, Bundle(0, signed, last_resort, True, None), NOW + 5 * ROTATION
        )
        self.assertEqual(refused.code, "stale-bundle")

    def last_resort(self) -> tuple[Prekey, Prekey]:
        """Alice's prekeys that rotate."""
        signed, last_resort = self.alice.shelf.signed, self.alice.shelf.last_resort
        assert signed is not None and last_resort is not None
        return signed, last_resort

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
        upload = self.replenish(self.alice.shelf.stock(), NOW + BATCH_PAUSE)
        assert upload is not None
        self.assertTrue(upload.replace)
        self.assertEqual((len(upload.one_time), len(upload.kem)), (BATCH, BATCH))
        self.assertEqual(self.replenish(self.alice.shelf.stock()), upload)
        self.alice.shelf.take(upload)
        with self.alice.store.writing() as records:
            prekeys.mark_uploaded(records, upload, NOW)
        self.assertIs(self.replenish(self.alice.shelf.stock()), None)
        self.assertEqual(set(self.alice.shelf.kem), {prekey.id for prekey in upload.kem})

    def test_discarded_again_and_again(self) -> None:
        """
        A server that makes us discard our prekeys does not make us generate more: within the hour it is told to drop what it
        has, and gets nothing new.
        """
        for second in range(0, 3 * BATCH_PAUSE, 60):
            with self.alice.store.writing() as records:
                prekeys.discard_one_time(records)
            upload = self.alice.stock_up(NOW + second)
            assert upload is not None, "there is something to drop"
            made = len(upload.one_time) + len(upload.kem)
            self.assertEqual((upload.replace, made), (True, 2 * BATCH if second and not second % BATCH_PAUSE else 0))
            self.assertEqual(len(self.alice.shelf.one_time) + len(self.alice.shelf.kem), made)

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
        self.replenish(self.alice.shelf.stock(), NOW + BATCH_PAUSE)
        self.retire(NOW)
        upload = self.alice.stock_up(NOW + BATCH_PAUSE)
        assert upload is not None
        self.retire(NOW)
        self.prune(NOW + RETIRED_LIFE)
        self.assertEqual((self.count(ONE_TIME), self.count(KEM)), (BATCH, BATCH))
        self.assertTrue(all(self.has(KEM, prekey) for prekey in upload.kem))

    def test_insatiable(self) -> None:
        """A server that always says it has none left does not make us keep more and more private halves."""
        for number in range(MAX_HALVES // BATCH + 2):
            self.alice.shelf.sell_out()
            self.alice.stock_up(NOW + number * BATCH_PAUSE)
            self.retire(NOW + number * BATCH_PAUSE)
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
