"""Which session sends: the table, and what a server gains by holding back, repeating and reordering."""

from __future__ import annotations

from itertools import permutations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import selection, store, suites
from securemsg.client.sessions.pqxdh import NeedBundle
from securemsg.client.sessions.selection import CHOICES, Choice, Current, Novelty
from securemsg.client.sessions.store import MAX_SESSIONS, PrekeyInfo, Session, SessionIndex
from securemsg.client.state import contacts
from securemsg.client.state.profile import DAY, resigned
from securemsg.crypto.keys import AgreementKey, SigningKey, sha256
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import DEVICE_LIST_LABEL, encode_device_list
from securemsg.protocol.messages import SignedDeviceList
from securemsg.storage.memory import MemoryRecords
from tests.client.people import NOW, Person, chosen_by, friends, seal_part, sessions_of

STAY, MOVE, LOWER = Choice.STAY, Choice.MOVE, Choice.LOWER
COLUMNS = (Current.NONE, Current.FIRST, Current.LATER, Current.SHARED)
# The specification's table, written once more.
TABLE = {
    Novelty.OLD: (STAY, STAY, STAY, STAY),
    Novelty.FRESH: (MOVE, MOVE, MOVE, MOVE),
    Novelty.ARCHIVED: (STAY, STAY, STAY, STAY),
    Novelty.FIRST: (MOVE, LOWER, STAY, MOVE),
    Novelty.NEWER: (MOVE, MOVE, MOVE, MOVE),
}
OURS, THEIRS = 2, 3
OPENING = PrekeyInfo(1, 1, False, bytes(1088), None)


def session(ephemeral: bytes, *, initiated: bool, confirmed: bool = False) -> Session:
    """A session, as far as it matters here."""
    opening = OPENING if initiated and not confirmed else None
    return Session("pqxdh", b"", b"", b"", ephemeral, b"", initiated, confirmed, opening, NOW, b"")


# What leads to each row, with session 1 given up: the session of the message, its place, and what was seen before.
MESSAGES = {
    Novelty.OLD: [(THEIRS, (5, 2), (5, 2)), (THEIRS, (4, 9), (5, 2)), (THEIRS, (5, 1), (5, 2)), (THEIRS, (5, 1), (6, 1))],
    Novelty.FRESH: [(THEIRS, (4, 9), (5, 2)), (THEIRS, (5, 2), (5, 2))],
    Novelty.ARCHIVED: [(1, (5, 1), (0, 0)), (1, (5, 3), (5, 2)), (1, (6, 1), (5, 2))],
    Novelty.FIRST: [(THEIRS, (5, 1), (0, 0))],
    Novelty.NEWER: [(THEIRS, (5, 2), (0, 0)), (THEIRS, (5, 3), (5, 2)), (THEIRS, (6, 1), (5, 2))],
}
# Of our signed prekeys in their sequence: the newest when sending was last moved, and a newer one.
PREKEY, NEWER_PREKEY = 3, 4
# What leads to each column: the session that sends, and our generation.
SENDERS: dict[Current, list[tuple[Session | None, int]]] = {
    Current.NONE: [(None, 0), (None, 2)],
    Current.FIRST: [(session(b"m", initiated=True), 0), (session(b"m", initiated=True), 1)],
    Current.LATER: [(session(b"m", initiated=True), 2)],
    Current.SHARED: [(session(b"m", initiated=True, confirmed=True), 1), (session(b"m", initiated=False), 0)],
}


class TableTests(SynchronousTestCase):
    """Every message, whatever sends when it comes."""

    def test_table(self) -> None:
        """The table is the specification's, no more and no less."""
        for message, row in TABLE.items():
            self.assertEqual(tuple(CHOICES[message, sending] for sending in COLUMNS), row)
        self.assertEqual(len(CHOICES), len(TABLE) * len(COLUMNS))

    def test_every_row(self) -> None:
        """Every message and every session that sends find their row, and the choice follows."""
        for message, row in TABLE.items():
            for sending, choice in zip(COLUMNS, row, strict=True):
                for number, place, seen in MESSAGES[message]:
                    for current, generation in SENDERS[sending]:
                        for ephemeral in (b"a", b"z"):
                            index = SessionIndex(
                                OURS if current else 0, 1, generation=generation, seen=seen, prekey=PREKEY
                            )
                            moves = choice is MOVE or (choice is LOWER and ephemeral == b"a")
                            prekey = NEWER_PREKEY if message is Novelty.FRESH else PREKEY
                            theirs = session(ephemeral, initiated=False)
                            found = selection.choose(index, current, number, theirs, place, prekey)
                            with self.subTest(message=message, sending=sending, place=place, seen=seen):
                                self.assertEqual(found, number if moves else index.current)


class ThiefTests(SynchronousTestCase):
    """Alice and Bob have talked. Somebody has a copy of Alice's profile, and the server holds a message of hers back."""

    def setUp(self) -> None:
        """The copy has every key that the message which is held back began or goes on with."""
        self.alice, self.bob = friends()
        for _ in range(2):
            self.bob.read(self.alice.send(self.bob, b"hi"))
            self.alice.read(self.bob.send(self.alice, b"hi"))
        self.held = [self.alice.send(self.bob, b"held back") for _ in range(2)]
        self.thief = Person(self.alice.profile, self.alice.store.snapshot())

    def goes_on(self) -> None:
        """Alice and Bob speak in Alice's new session; then what was held back comes, and Bob answers it."""
        self.assertEqual(self.bob.read(self.alice.send(self.bob, b"new")), b"new")
        self.alice.read(self.bob.send(self.alice, b"new"))
        for held in self.held:
            self.assertEqual(self.bob.read(held), b"held back")
            text = self.bob.send(self.alice, b"for alice")
            self.assertRaises(Unauthentic, self.thief.read, text)
            self.assertEqual(self.alice.read(text), b"for alice")

    def test_before_a_restore(self) -> None:
        """What was held back since before a restore brings no old session back: the copy does not open what follows."""
        self.alice.renew(evolve(self.alice.profile, incarnation=self.alice.profile.incarnation + 1))
        with self.alice.store.writing() as records:
            suites.archive_all(records)
        self.goes_on()

    def test_before_a_reset(self) -> None:
        """Likewise within one incarnation: what was sealed before a session was given up does not bring it back."""
        self.alice.forget(self.bob)
        self.goes_on()

    def test_unanswered_session(self) -> None:
        """Likewise where Alice has not been answered yet, and where all comes at once in any order."""
        self.alice.forget(self.bob)
        new = [self.alice.send(self.bob, b"new") for _ in range(2)]
        start = self.bob.store.snapshot()
        for order in permutations([*self.held, *new]):
            self.bob.restore(start)
            for post in order:
                self.bob.read(post)
            text = self.bob.send(self.alice, b"for alice")
            self.assertRaises(Unauthentic, self.thief.read, text)


class FalsePlaceTests(SynchronousTestCase):
    """Whoever has a copy of Alice's profile has stated a place in her name that she can never reach."""

    def setUp(self) -> None:
        """Bob sends in that session."""
        self.alice, self.bob = friends()
        for _ in range(2):
            self.bob.read(self.alice.send(self.bob, b"hi"))
            self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.shelf.sell_out()
        self.bob.shelf.claims.clear()
        self.thief = Person(self.alice.profile, self.alice.store.snapshot())
        self.thief.renew(evolve(self.alice.profile, incarnation=2**62))
        self.thief.forget(self.bob)
        self.bob.read(self.thief.send(self.bob, b"from the thief"))
        self.alice.forget(self.bob)
        self.held = self.alice.send(self.bob, b"held back")
        self.later = NOW + 8 * DAY

    def rotate(self) -> None:
        """Bob makes a signed prekey; what is for one use is sold out."""
        self.bob.stock_up(self.later)
        self.bob.shelf.sell_out()

    def test_until_a_new_prekey(self) -> None:
        """Bob follows her into the first session that she begins with a prekey he has made since, and the thief is out."""
        self.assertRaises(Refusal, self.alice.read, self.bob.send(self.alice, b"to whom?"))
        self.bob.read(self.alice.send(self.bob, b"still with the old one"))
        self.assertRaises(Refusal, self.alice.read, self.bob.send(self.alice, b"to whom?"))
        self.rotate()
        self.alice.forget(self.bob)
        self.bob.read(self.alice.send(self.bob, b"anew", self.later), self.later)
        text = self.bob.send(self.alice, b"for alice", self.later)
        self.assertRaises(Refusal, self.thief.read, text)
        self.assertEqual(self.alice.read(text), b"for alice")

    def test_held_back(self) -> None:
        """An opening that was held back, and used the prekey of its time, does not move sending then or later."""
        self.rotate()
        before = chosen_by(self.bob, self.alice)
        self.bob.read(self.held, self.later)
        self.assertEqual(chosen_by(self.bob, self.alice), before)

    def test_same_prekey_again(self) -> None:
        """Once it has moved sending, the same prekey moves nothing any more."""
        self.rotate()
        self.alice.forget(self.bob)
        first = self.alice.send(self.bob, b"first", self.later)
        self.alice.forget(self.bob)
        self.bob.read(self.alice.send(self.bob, b"second", self.later), self.later)
        before = chosen_by(self.bob, self.alice)
        self.bob.read(first, self.later)
        self.assertEqual(chosen_by(self.bob, self.alice), before)


class PlaceTests(SynchronousTestCase):
    """What a message states of the session it was sealed in."""

    def setUp(self) -> None:
        """Alice and Bob know each other."""
        self.alice, self.bob = friends()

    def test_generation(self) -> None:
        """It rises with each change of the session that sends, and with nothing else."""
        incarnation = self.alice.profile.incarnation
        places = [self.bob.open(self.alice.send(self.bob, b"hi")).content_key.place for _ in range(2)]
        self.alice.read(self.bob.send(self.alice, b"hi"))
        places.append(self.bob.open(self.alice.send(self.bob, b"hi")).content_key.place)
        self.assertEqual(places, [(incarnation, 1)] * 3)
        self.alice.forget(self.bob)
        places = [self.bob.open(self.alice.send(self.bob, b"hi")).content_key.place for _ in range(2)]
        self.assertEqual(places, [(incarnation, 3)] * 2)

    def test_content_sent_again(self) -> None:
        """The incarnation is that of the sender as it seals, not that of an old content."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.renew(evolve(self.alice.profile, incarnation=self.alice.profile.incarnation + 1))
        place = self.bob.open(self.alice.send(self.bob, b"again")).content_key.place
        self.assertEqual(place[0], self.alice.profile.incarnation)

    def test_no_write_more(self) -> None:
        """Within a session a message writes that session and nothing else, on either side."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.read(self.alice.send(self.bob, b"hi"))
        contact = self.alice.contact(self.bob)
        common, key = suites.make_common(b"hi")
        counting = CountingRecords.of(self.alice)
        own = seal_part(counting, self.alice.profile, contact, self.bob.device.id, key)
        self.assertEqual(counting.written, [1])
        counting = CountingRecords.of(self.bob)
        suites.open_envelope(counting, self.bob.profile, "alice", self.alice.device.id, own, sha256(common), NOW)
        self.assertEqual(counting.written, [1])


class BothBeginTests(SynchronousTestCase):
    """Both begin a session at the same time."""

    def setUp(self) -> None:
        """Alice and Bob know each other."""
        self.alice, self.bob = friends()

    def settle(self) -> None:
        """After one message each way, which do not cross, both send in one session and stay there."""
        for sender, reader in ((self.alice, self.bob), (self.bob, self.alice)):
            self.assertEqual(reader.read(sender.send(reader, b"more")), b"more")
        session = chosen_by(self.alice, self.bob)
        for sender, reader in ((self.alice, self.bob), (self.bob, self.alice)) * 2:
            self.assertEqual(reader.read(sender.seal(reader, b"more")), b"more")
        self.assertEqual((chosen_by(self.alice, self.bob), chosen_by(self.bob, self.alice)), (session, session))

    def cross(self) -> None:
        """A message from either is on its way before one has come."""
        posts = self.alice.send(self.bob, b"from alice"), self.bob.send(self.alice, b"from bob")
        self.assertEqual((self.bob.read(posts[0]), self.alice.read(posts[1])), (b"from alice", b"from bob"))

    def test_again(self) -> None:
        """Where both gave up what there was, each follows the other until one message is answered."""
        self.cross()
        self.alice.forget(self.bob)
        self.bob.forget(self.alice)
        for _ in range(3):
            self.cross()
        self.settle()

    def test_one_anew(self) -> None:
        """A first session that meets one which its peer began because others failed gives way, on both sides."""
        for _ in range(6):
            self.setUp()
            self.alice.forget(self.bob)
            self.cross()
            anew = min(sessions_of(self.alice, self.bob))
            ephemeral = sessions_of(self.alice, self.bob)[anew].ephemeral
            self.assertEqual((chosen_by(self.alice, self.bob), chosen_by(self.bob, self.alice)), (ephemeral, ephemeral))
            self.settle()

    def test_bundle_comes_late(self) -> None:
        """Whom the peer reached while its own bundle was on its way begins no second session with that."""
        bundle = self.bob.shelf.claim("alice")
        self.alice.read(self.bob.send(self.alice, b"hi"))
        before = self.alice.dump()
        self.alice.begin(self.bob, bundle)
        self.assertEqual(self.alice.dump(), before)


class KeptTests(SynchronousTestCase):
    """How many sessions with a device there are."""

    def setUp(self) -> None:
        """Alice and Bob have a session that both use, and Bob has nothing left for one use."""
        self.alice, self.bob = friends()
        for _ in range(2):
            self.alice.read(self.bob.send(self.alice, b"hi"))
            self.bob.read(self.alice.send(self.bob, b"hi"))
        self.bob.shelf.sell_out()

    def test_few(self) -> None:
        """
        A few are kept, and the oldest go; but never the one that sends, nor the one before it, in which the peer may still be.
        """
        late = self.bob.send(self.alice, b"late")
        for week in range(1, MAX_SESSIONS + 3):
            self.bob.stock_up(NOW + week * 7 * DAY)
            self.bob.shelf.sell_out()
            self.alice.forget(self.bob)
            self.alice.send(self.bob, b"hi", NOW + week * 7 * DAY)
        kept = sessions_of(self.alice, self.bob)
        self.assertEqual(sorted(kept), [1, *range(5, MAX_SESSIONS + 4)])
        self.assertEqual(chosen_by(self.alice, self.bob), kept[max(kept)].ephemeral)
        self.assertEqual(self.alice.read(late), b"late")


    def test_out_of_order(self) -> None:
        """Nor does the one that sends go where a peer's openings come the newest first."""
        self.alice.shelf.sell_out()
        posts = []
        for _ in range(MAX_SESSIONS + 2):
            self.bob.forget(self.alice)
            posts.append(self.bob.send(self.alice, b"hi"))
        self.alice.read(posts[-1])
        newest = chosen_by(self.alice, self.bob)
        for post in reversed(posts[:-1]):
            self.alice.read(post)
        self.assertIsNotNone(newest)
        self.assertEqual(chosen_by(self.alice, self.bob), newest)


class OwnKeysTests(SynchronousTestCase):
    """A session belongs to the keys of its two ends."""

    def setUp(self) -> None:
        """Alice and Bob have a session that both use."""
        self.alice, self.bob = friends()
        for _ in range(2):
            self.bob.read(self.alice.send(self.bob, b"hi"))
            self.alice.read(self.bob.send(self.alice, b"hi"))

    def assert_begins(self) -> None:
        """Alice does not send in the session that is there, and opens nothing in it."""
        post = self.bob.seal(self.alice, b"in the old session")
        self.assertRaises(NeedBundle, self.alice.seal, self.bob, b"ho")
        self.assertEqual(self.assertRaises(Refusal, self.alice.read, post).code, "no-session")

    def test_other_identity(self) -> None:
        """An identity that was accepted gets nothing in a session with the one before, though it took over the device's id."""
        with self.alice.store.writing() as records:
            contact = self.contact(records)
            identity = SigningKey.generate().public
            contacts.put_contact(records, msgspec.structs.replace(contact, identity=identity))
        self.assert_begins()

    def test_other_device_key(self) -> None:
        """Nor does a device that has another key on the contact's next list."""
        device = msgspec.structs.replace(self.bob.device, agreement_key=AgreementKey.generate().public)
        listing = msgspec.structs.replace(self.bob.profile.listing, version=2, devices=[device])
        body = encode_device_list(listing)
        devices = SignedDeviceList(body, self.bob.profile.identity.sign(DEVICE_LIST_LABEL, body))
        with self.alice.store.writing() as records:
            contacts.put_contact(records, msgspec.structs.replace(self.contact(records), devices=devices, version=2))
        self.assert_begins()

    def test_own_identity(self) -> None:
        """Nor is a session used under another identity of our own."""
        self.alice.renew(evolve(self.alice.profile, identity=SigningKey.generate()))
        self.assert_begins()

    def test_repeated_opening(self) -> None:
        """Whoever holds a session still does not speak in it for an identity that was accepted since, by its opening either."""
        alice, bob = friends()
        bob.read(alice.send(bob, b"hi"))
        alice.renew(resigned(evolve(alice.profile, identity=SigningKey.generate()), NOW + 1))
        [(number, held)] = sessions_of(alice, bob).items()
        claimed = msgspec.structs.replace(held, own_identity=alice.profile.identity.public)
        with alice.store.writing() as records:
            store.save_session(records, store.bucket_of(bob.name, bob.device.id), number, claimed)
        accepted = msgspec.structs.replace(bob.contact(alice), identity=alice.record.identity, devices=alice.profile.devices)
        with bob.store.writing() as records:
            contacts.put_contact(records, msgspec.structs.replace(accepted, version=2))
        post, before = alice.seal(bob, b"in the old session"), bob.dump()
        self.assertEqual(self.assertRaises(Refusal, bob.read, post).code, "no-session")
        self.assertEqual(bob.dump(), before)

    def contact(self, records: IRecords) -> contacts.Contact:
        """Bob, as Alice knows him."""
        contact = contacts.get_contact(records, "bob")
        assert contact is not None, "they have met"
        return contact


class CountingRecords(MemoryRecords):
    """Records that note which rows of the sessions are written; what is done with them is not kept."""

    written: list[int]

    @classmethod
    def of(cls, one: Person) -> CountingRecords:
        """The records of somebody."""
        with one.store.writing() as records:
            assert isinstance(records, MemoryRecords), "in memory"
            counting = cls(records.tables, records.sequences, True)
        counting.written = []
        return counting

    def put(self, table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """See L{MemoryRecords.put}."""
        if table == store.TABLE:
            self.written.append(order)
        super().put(table, bucket, value, order)
