"""What a peer, or a server in its name, can make a client look at, keep and try."""

from __future__ import annotations

import contextlib

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import budgets, store, suites
from securemsg.client.sessions.budgets import (
    BUDGETS,
    FREE_JUMP,
    HOUR,
    MAX_BEGUN,
    MAX_REMEMBERED,
    MAX_WASTED,
    Budget,
)
from securemsg.client.sessions.store import MAX_SESSIONS
from securemsg.client.state.profile import resigned
from securemsg.client.state.records import META, load
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import sha256
from securemsg.crypto.ratchet import MAX_JUMP, AlreadyUsed
from securemsg.errors import Refusal, Unauthentic
from securemsg.protocol.devices import DEVICE_LIST_LABEL, encode_device_list
from securemsg.protocol.envelope import Envelope, EnvelopeHeader, decode_record, encode_record
from securemsg.protocol.messages import SignedDeviceList
from securemsg.storage.memory import MemoryRecords
from tests.client.people import NOW, Sender, friends, person, sessions_of


def with_key(post: Sender, ratchet_key: bytes) -> Sender:
    """A message under another ratchet key."""
    envelope = decode_record(Envelope, post.own)
    header = msgspec.structs.replace(decode_record(EnvelopeHeader, envelope.header), ratchet_key=ratchet_key)
    return evolve(post, own=encode_record(Envelope(encode_record(header), envelope.sealed)))


def with_number(post: Sender, number: int) -> Sender:
    """A message that says it is another one of its chain."""
    envelope = decode_record(Envelope, post.own)
    header = msgspec.structs.replace(decode_record(EnvelopeHeader, envelope.header), number=number)
    return evolve(post, own=encode_record(Envelope(encode_record(header), envelope.sealed)))


class CountingRecords(MemoryRecords):
    """Records that note which skipped message keys are read."""

    reads = 0

    def get(self, table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """See L{MemoryRecords.get}."""
        self.reads += table == store.SKIPPED
        return super().get(table, bucket, order)


class SkippedTests(SynchronousTestCase):
    """Bob has sessions with Alice in which messages are missing."""

    def setUp(self) -> None:
        """They are on their way."""
        self.alice, self.bob = friends()
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.late = [self.alice.send(self.bob, b"%d" % number) for number in range(4)]
        self.bob.read(self.alice.send(self.bob, b"next"))

    def kept(self) -> list[int]:
        """The numbers of the messages whose keys Bob keeps for the session."""
        with self.bob.store.reading() as records:
            skipped = store.load_skipped(records, store.bucket_of("alice", self.alice.device.id), 1)
        return [number for chain in skipped.chains for number in chain.keys]

    def counted(self) -> int:
        """How many the session says there are."""
        (session,) = sessions_of(self.bob, self.alice).values()
        self.assertEqual(len(load_ratchet(session.ratchet).skipped), 0)
        return session.skipped

    def test_apart(self) -> None:
        """They lie beside the session; each serves once, and the last one leaves nothing."""
        self.assertEqual((self.kept(), self.counted()), ([1, 2, 3, 4], 4))
        for left, post in zip((3, 2, 1, 0), self.late, strict=True):
            self.bob.read(post)
            self.assertRaises(AlreadyUsed if left else Unauthentic, self.bob.read, post)
            self.assertEqual((len(self.kept()), self.counted()), (left, left))
        with self.bob.store.reading() as records:
            self.assertEqual(records.scan(store.SKIPPED), [])

    def test_joined(self) -> None:
        """What is missing of a later chain joins them, and a chain that is under way finds its own."""
        self.alice.read(self.bob.send(self.alice, b"hi"))
        later = [self.alice.send(self.bob, b"later %d" % number) for number in range(3)]
        self.bob.read(later[1])
        self.assertEqual((self.kept(), self.counted()), ([1, 2, 3, 4, 0], 5))
        self.alice.send(self.bob, b"missing")
        self.bob.read(self.alice.send(self.bob, b"much later"))
        self.assertEqual((self.kept(), self.counted()), ([1, 2, 3, 4, 0, 2, 3], 7))
        for number, post in enumerate(self.late):
            self.assertEqual(self.bob.read(post), b"%d" % number)
        self.assertEqual([self.bob.read(later[number]) for number in (0, 2)], [b"later 0", b"later 2"])

    def test_not_read(self) -> None:
        """A message in order reads none of them, nor does garbage; a late one reads those of its session."""
        in_order = self.alice.send(self.bob, b"in order")
        for post, reads in ((in_order, 0), (with_key(in_order, bytes([9]) * 32), 0), (self.late[0], 1)):
            with self.bob.store.writing() as records:
                assert isinstance(records, MemoryRecords), "in memory"
                counting = CountingRecords(records.tables, records.sequences, True)
            with contextlib.suppress(Unauthentic):
                common = sha256(post.common)
                suites.open_envelope(counting, self.bob.profile, "alice", self.alice.device.id, post.own, common, NOW)
            self.assertEqual(counting.reads, reads)

    def test_gone_with_the_session(self) -> None:
        """A session that has to go takes them along."""
        self.alice.shelf.sell_out()
        self.bob.shelf.sell_out()
        for _ in range(MAX_SESSIONS + 2):
            self.alice.forget(self.bob)
            self.bob.read(self.alice.send(self.bob, b"hi"))
        self.assertNotIn(1, sessions_of(self.bob, self.alice))
        self.assertEqual(self.kept(), [])


class NewKeyTests(SynchronousTestCase):
    """A message whose ratchet key is new."""

    def test_all_unanswered_are_tried(self) -> None:
        """It opens in the oldest session that is kept, where none of them was answered."""
        alice, bob = friends()
        answers = []
        for _ in range(MAX_SESSIONS):
            alice.forget(bob)
            bob.read(alice.send(bob, b"hi"))
            answers.append(bob.send(alice, b"answer"))
        for answer in answers:
            self.assertEqual(alice.read(answer), b"answer")


class BudgetTests(SynchronousTestCase):
    """Bob may make Alice keep so much, with all his devices together; others have budgets of their own."""

    def setUp(self) -> None:
        """Alice has nothing left for one use."""
        self.alice, self.bob = friends()
        self.alice.shelf.sell_out()
        self.carol = person("carol")
        self.carol.meet(self.alice)

    def begin(self, device: bytes = b"", now: int = NOW) -> Sender:
        """Bob begins a session; with another device, whose list he has signed."""
        if device:
            replaced = msgspec.structs.replace(self.bob.device, id=device)
            listing = resigned(self.bob.profile, now).listing
            body = encode_device_list(msgspec.structs.replace(listing, devices=[replaced]))
            devices = SignedDeviceList(body, self.bob.profile.identity.sign(DEVICE_LIST_LABEL, body))
            self.bob.renew(evolve(self.bob.profile, device_id=device, devices=devices))
        self.bob.forget(self.alice)
        return self.bob.send(self.alice, b"hi", now)

    def lose(self, count: int) -> None:
        """Bob seals so many messages that nobody gets."""
        bucket = store.bucket_of("alice", self.alice.device.id)
        number, session = max(sessions_of(self.bob, self.alice).items())
        ratchet = load_ratchet(session.ratchet)
        for _ in range(count):
            ratchet = ratchet.next_sending()[0]
        with self.bob.store.writing() as records:
            store.save_session(records, bucket, number, msgspec.structs.replace(session, ratchet=dump_ratchet(ratchet)))

    def refused(self, post: Sender, code: str, now: int = NOW) -> None:
        """Alice refuses a message, and nothing changes."""
        before = self.alice.dump()
        self.assertEqual(self.assertRaises(Refusal, self.alice.read, post, now).code, code)
        self.assertEqual(self.alice.dump(), before)

    def test_new_sessions(self) -> None:
        """So many new sessions an hour, whatever device begins them; those that there are go on, and others begin theirs."""
        for number in range(MAX_BEGUN):
            self.alice.read(self.begin(bytes([number + 1]) * 16))
        post = self.begin(bytes([99]) * 16)
        self.refused(post, "too-many-sessions", NOW + HOUR - 1)
        self.assertEqual(self.alice.read(self.carol.send(self.alice, b"hi")), b"hi")
        self.assertEqual(self.alice.read(post, NOW + HOUR), b"hi")

    def test_under_way(self) -> None:
        """A session that there is goes on."""
        for _ in range(MAX_BEGUN):
            self.alice.read(self.begin())
        self.assertEqual(self.alice.read(self.bob.send(self.alice, b"more")), b"more")

    def test_hourly_resets(self) -> None:
        """A peer that begins anew every hour, on ten devices, is never refused."""
        devices = [bytes([number + 1]) * 16 for number in range(10)]
        for hour in range(4):
            for device in devices:
                now = NOW + hour * HOUR
                self.assertEqual(self.alice.read(self.begin(device, now), now), b"hi")

    def test_only_authentic(self) -> None:
        """What somebody else makes up in the peer's name uses up nothing."""
        post = self.begin()
        for _ in range(MAX_BEGUN + 1):
            self.assertRaises(Unauthentic, self.alice.read, evolve(post, common=post.common + b"x"))
        self.assertEqual(self.alice.read(post), b"hi")

    def test_never_answered(self) -> None:
        """Of sessions that were never answered the oldest go; one in which Alice has sent stays."""
        self.alice.read(self.begin(b"a" * 16))
        answered = store.bucket_of("bob", b"a" * 16)
        self.alice.seal(self.bob, b"answer")
        for number in range(MAX_REMEMBERED + 2):
            now = NOW + number * HOUR
            self.alice.read(self.begin(bytes([number + 1]) * 16, now), now)
        with self.alice.store.reading() as records:
            kept = [bucket for bucket, _, _ in records.scan(store.TABLE, after=0)]
        self.assertIn(answered, kept)
        self.assertEqual(len(kept), MAX_REMEMBERED + 1)

    def test_skipped(self) -> None:
        """So many skipped message keys, over all sessions and devices; what needs more is refused, and all else opens."""
        for number in range(3):
            self.begin(bytes([number + 1]) * 16)
            self.lose(MAX_JUMP - 1)
            post = self.bob.seal(self.alice, b"far ahead")
            if number < 2:
                self.assertEqual(self.alice.read(post), b"far ahead")
            else:
                self.refused(post, "too-many-skipped")
        self.assertEqual(self.alice.read(self.carol.send(self.alice, b"hi")), b"hi")
        self.assertEqual(self.alice.read(self.begin()), b"hi")

    def test_far_jump_costs_nothing_durable(self) -> None:
        """A message that claims to be far ahead and does not authenticate leaves nothing."""
        self.alice.read(self.begin())
        before = self.alice.dump()
        envelope = decode_record(Envelope, self.bob.seal(self.alice, b"hi").own)
        header = msgspec.structs.replace(decode_record(EnvelopeHeader, envelope.header), number=MAX_JUMP, prekey=None)
        post = Sender("bob", self.bob.device.id, encode_record(Envelope(encode_record(header), envelope.sealed)), b"x")
        self.assertRaises(Unauthentic, self.alice.read, post)
        self.assertEqual(self.alice.dump(), before)


class WastedTests(SynchronousTestCase):
    """Garbage that says it is far ahead in a chain that there is."""

    def setUp(self) -> None:
        """Alice has sessions with Bob and Carol, who have sent a lot that nobody got."""
        self.alice, self.bob = friends()
        self.carol = person("carol")
        self.carol.meet(self.alice)
        self.ahead = {}
        for sender in (self.bob, self.carol):
            self.alice.read(sender.send(self.alice, b"hi"))
            posts = [sender.seal(self.alice, b"%d" % number) for number in range(FREE_JUMP + 2)]
            self.ahead[sender.name] = posts[-2:]

    def waste(self, now: int = NOW) -> None:
        """Garbage in Bob's name, as much as is tried in an hour."""
        garbage = with_number(self.ahead["bob"][0], MAX_JUMP)
        common = sha256(garbage.common)
        for _ in range(MAX_WASTED // (MAX_JUMP - 1)):
            with self.alice.store.writing() as records, contextlib.suppress(Refusal):
                suites.open_envelope(records, self.alice.profile, "bob", garbage.device, garbage.own, common, now)

    def test_bounded(self) -> None:
        """So many keys an hour are derived in vain; after that what is far ahead has to wait, and all else opens."""
        self.waste()
        near, far = self.ahead["bob"]
        self.assertRaises(Unauthentic, self.alice.read, far)
        self.assertEqual(self.alice.read(near), b"%d" % FREE_JUMP)
        self.assertEqual(self.alice.read(self.bob.seal(self.alice, b"more")), b"more")

    def test_others(self) -> None:
        """Others are not concerned."""
        self.waste()
        self.assertEqual(self.alice.read(self.ahead["carol"][1]), b"%d" % (FREE_JUMP + 1))

    def test_an_hour_later(self) -> None:
        """After an hour it opens, and the next hour has a budget of its own."""
        self.waste()
        self.waste(now=NOW + HOUR)
        far = self.ahead["bob"][1]
        self.assertRaises(Unauthentic, self.alice.read, far, NOW + 2 * HOUR - 1)
        self.assertEqual(self.alice.read(far, NOW + 2 * HOUR), b"%d" % (FREE_JUMP + 1))

    def test_what_opens(self) -> None:
        """What opens costs nothing of it."""
        for _ in range(MAX_WASTED // FREE_JUMP):
            posts = [self.bob.seal(self.alice, b"more") for _ in range(2)]
            self.alice.read(posts[1])
            self.alice.read(posts[0])
        with self.alice.store.reading() as records:
            budget = load(records, Budget, META, BUDGETS + b"bob")
        assert budget is not None, "Bob has begun a session"
        self.assertEqual(budget.wasted, 0)

    def test_strangers(self) -> None:
        """Strangers have one together, and leave no more than that."""
        with self.alice.store.writing() as records:
            for number in range(3):
                budgets.note_wasted(records, f"stranger{number}", MAX_JUMP, NOW)
            self.assertFalse(budgets.may_jump(records, "somebody", MAX_WASTED - 3 * MAX_JUMP + 1, NOW))
            self.assertTrue(budgets.may_jump(records, "somebody", MAX_WASTED - 3 * MAX_JUMP, NOW))
            self.assertTrue(budgets.may_jump(records, "bob", MAX_WASTED, NOW))
            kept = [bucket for bucket, _, _ in records.scan(META) if bucket.startswith(BUDGETS)]
        self.assertEqual(sorted(kept), [BUDGETS, BUDGETS + b"bob", BUDGETS + b"carol"])
