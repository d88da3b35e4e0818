"""Tests of C{securemsg.client.sessions.encrypt}: what two honest devices may rely on."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import initiations, prekeys, suites
from securemsg.client.sessions.addresses import UNANSWERED_LIFE
from securemsg.client.sessions.pqxdh import NeedBundle
from securemsg.client.sessions.prekeys import KEM, KEPT_ROTATING, LAST_RESORT, ONE_TIME, RETIRED_LIFE, ROTATION, SIGNED
from securemsg.client.sessions.store import MAX_SESSIONS
from securemsg.client.state import contacts, verification
from securemsg.client.state.profile import DAY, resigned
from securemsg.crypto.keys import sha256
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.errors import LocalProtocolError, Refusal, Unauthentic
from securemsg.protocol.envelope import MAX_CONTENT, Envelope, EnvelopeHeader, PrekeyHeader, bucket, decode_record
from tests.client.people import NOW, Sender, chosen_by, friends, person, seal_part, sessions_of


def opening_of(post: Sender) -> PrekeyHeader | None:
    """The prekey header of a message."""
    return decode_record(EnvelopeHeader, decode_record(Envelope, post.own).header).prekey


class CommonPartTests(SynchronousTestCase):
    """What all devices share."""

    def test_round_trip(self) -> None:
        """A content comes out as it went in, and its length only shows in steps."""
        for size in (0, 1, 255, 256, 5000, MAX_CONTENT):
            common, content_key = suites.make_common(b"x" * size)
            self.assertEqual(suites.open_common(common, content_key), b"x" * size)
            self.assertEqual(len(common), 16 + bucket(size) + 16 + 32)

    def test_fresh_key(self) -> None:
        """The same content twice has nothing in common."""
        one, other = suites.make_common(b"hi"), suites.make_common(b"hi")
        self.assertNotEqual(one[1].key, other[1].key)
        self.assertNotEqual(one[0][:16], other[0][:16])

    def test_too_large(self) -> None:
        """More than a message may hold is our own mistake."""
        self.assertRaises(LocalProtocolError, suites.make_common, b"x" * (MAX_CONTENT + 1))

    def test_changed(self) -> None:
        """A common part that anybody changed does not open, even if its hash is made to fit."""
        common, content_key = suites.make_common(b"hi")
        for place in range(len(common)):
            changed = common[:place] + bytes([common[place] ^ 0x80]) + common[place + 1 :]
            self.assertRaises(Unauthentic, suites.open_common, changed, content_key)
            fitting = msgspec.structs.replace(content_key, common=sha256(changed))
            self.assertRaises(Unauthentic, suites.open_common, changed, fitting)


class FirstMessageTests(SynchronousTestCase):
    """Writing to somebody who is away."""

    def setUp(self) -> None:
        """Alice knows Bob; Bob does not know Alice."""
        self.alice, self.bob = person("alice"), person("bob")
        self.alice.meet(self.bob)

    def test_needs_bundle(self) -> None:
        """Without a session nothing is sealed and nothing changes."""
        before = self.alice.dump()
        need = self.assertRaises(NeedBundle, self.alice.seal, self.bob, b"hi")
        self.assertEqual((need.account, need.device_id, need.spent), ("bob", self.bob.device.id, 0))
        self.assertEqual(self.alice.dump(), before)

    def test_introduces(self) -> None:
        """The first message makes its sender known, unverified, and says that it was the first."""
        post = self.alice.send(self.bob, b"hi")
        opened = self.bob.open(post)
        self.assertTrue(opened.first)
        self.assertEqual(suites.open_common(post.common, opened.content_key), b"hi")
        contact = self.bob.contact(self.alice)
        self.assertEqual(opened.contact, contact)
        self.assertEqual((contact.identity, contact.verified), (self.alice.profile.identity.public, False))
        self.assertEqual((contact.origin, opened.device_id), (contacts.MESSAGE, self.alice.device.id))

    def test_answer(self) -> None:
        """The answer goes back in the same session, and needs no bundle."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        post = self.bob.seal(self.alice, b"you too")
        self.assertIs(opening_of(post), None)
        opened = self.alice.open(post)
        self.assertFalse(opened.first)
        self.assertEqual(suites.open_common(post.common, opened.content_key), b"you too")

    def test_opening_repeated(self) -> None:
        """Every message carries the opening until an answer was decrypted, and none after that."""
        posts = [self.alice.send(self.bob, b"%d" % number) for number in range(3)]
        self.assertEqual({opening_of(post) for post in posts}, {opening_of(posts[0])})
        for post in posts:
            self.bob.read(post)
        self.alice.read(self.bob.send(self.alice, b"you too"))
        self.assertIs(opening_of(self.alice.send(self.bob, b"thanks")), None)

    def test_first_lost(self) -> None:
        """Any of the first messages may be the first to arrive; the others still open, and make no other session."""
        posts = [self.alice.send(self.bob, b"%d" % number) for number in range(4)]
        self.assertEqual([self.bob.read(posts[number]) for number in (2, 3, 0)], [b"2", b"3", b"0"])
        self.assertEqual(len(sessions_of(self.bob, self.alice)), 1)

    def test_used_prekeys_go(self) -> None:
        """With the first message its one-time prekeys are deleted, those and no others."""
        before = self.bob.dump()[prekeys.TABLE]
        post = self.alice.send(self.bob, b"hi")
        opening = opening_of(post)
        assert opening is not None
        self.bob.read(post)
        with self.bob.store.reading() as records:
            self.assertIs(prekeys.find(records, KEM, opening.kem_id), None)
            self.assertIs(prekeys.find(records, ONE_TIME, opening.one_time_id or 0), None)
            self.assertIsNot(prekeys.find(records, SIGNED, opening.signed_id), None)
        self.assertEqual(len(self.bob.dump()[prekeys.TABLE]), len(before) - 2)

    def test_died_before_commit(self) -> None:
        """Where the process dies before the commit, map and prekeys are as they were, and the same message opens again."""
        post = self.alice.send(self.bob, b"hi")
        before = self.bob.dump()

        def die() -> None:
            raise InterruptedError

        self.bob.store.before_commit = die
        self.assertRaises(InterruptedError, self.bob.read, post)
        self.assertEqual(self.bob.dump(), before)
        self.bob.store.before_commit = None
        self.assertEqual(self.bob.read(post), b"hi")

    def test_died_before_acknowledgement(self) -> None:
        """
        Where the process dies after the commit, the map knows the session: the repetition is one, and the next message opens.
        """
        first, second = self.alice.send(self.bob, b"1"), self.alice.send(self.bob, b"2")
        self.bob.read(first)
        self.bob.restore(self.bob.store)
        before = self.bob.dump()
        self.assertRaises(AlreadyUsed, self.bob.read, first)
        self.assertEqual(self.bob.dump(), before)
        self.assertEqual(self.bob.read(second), b"2")
        self.assertEqual(len(sessions_of(self.bob, self.alice)), 1)

    def test_renewed_list(self) -> None:
        """A message that waited while its sender's list was renewed still opens; the newer list stays."""
        post = self.alice.send(self.bob, b"hi")
        self.alice.renew(resigned(self.alice.profile, NOW + DAY))
        self.bob.meet(self.alice)
        self.assertEqual(self.bob.read(post), b"hi")
        self.assertEqual(self.bob.contact(self.alice).version, 2)
        self.assertEqual(self.bob.read(self.alice.send(self.bob, b"ho")), b"ho")

    def test_newer_list_in_opening(self) -> None:
        """A repeated opening brings the sender's list as it is now."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.renew(resigned(self.alice.profile, NOW + DAY))
        self.bob.read(self.alice.send(self.bob, b"ho"))
        self.assertEqual(self.bob.contact(self.alice).version, 2)

    def test_long_unanswered(self) -> None:
        """An opening that nobody answered for a week is given up for a new one, before its bundle is too old to be answered."""
        self.alice.send(self.bob, b"hi")
        self.alice.seal(self.bob, b"ho", NOW + UNANSWERED_LIFE - 1)
        need = self.assertRaises(NeedBundle, self.alice.seal, self.bob, b"ho", NOW + UNANSWERED_LIFE)
        self.assertNotEqual(need.spent, 0)
        self.assertGreaterEqual(RETIRED_LIFE, UNANSWERED_LIFE + 60 * DAY)

    def test_older_than_the_map(self) -> None:
        """A session that we never answered opens repetitions of its opening even when the map has forgotten it."""
        self.bob.shelf.sell_out()
        posts = [self.alice.send(self.bob, b"%d" % number) for number in range(2)]
        self.bob.read(posts[0])
        for week in range(1, KEPT_ROTATING + 1):
            self.bob.stock_up(NOW + week * ROTATION)
        with self.bob.store.writing() as records:
            prekeys.prune(records, NOW + ROTATION + RETIRED_LIFE)
            initiations.prune(records)
            self.assertEqual(records.scan(initiations.TABLE), [])
        self.assertEqual(self.bob.read(posts[1]), b"1")

    def test_last_resort(self) -> None:
        """When nothing for one use is left, the last resort serves any number of sessions, and stays."""
        self.bob.shelf.sell_out()
        carol = person("carol")
        carol.meet(self.bob)
        for sender in (self.alice, carol, self.alice):
            sender.forget(self.bob)
            post = sender.send(self.bob, b"hi")
            opening = opening_of(post)
            assert opening is not None
            self.assertEqual((opening.kem_is_last_resort, opening.one_time_id), (True, None))
            self.assertEqual(self.bob.read(post), b"hi")
            self.assertRaises(AlreadyUsed, self.bob.read, post)
            with self.bob.store.reading() as records:
                self.assertIsNot(prekeys.find(records, LAST_RESORT, opening.kem_id), None)
        self.assertEqual((len(sessions_of(self.bob, self.alice)), len(sessions_of(self.bob, carol))), (2, 1))


class ChoiceTests(SynchronousTestCase):
    """Several sessions with one device."""

    def setUp(self) -> None:
        """Alice and Bob know each other."""
        self.alice, self.bob = friends()

    def test_both_begin(self) -> None:
        """Where both begin at once, both read both, and from then on both send in the one with the lower ephemeral key."""
        for _ in range(8):
            alice, bob = friends()
            posts = alice.send(bob, b"from alice"), bob.send(alice, b"from bob")
            self.assertEqual((bob.read(posts[0]), alice.read(posts[1])), (b"from alice", b"from bob"))
            openings = [opening_of(post) for post in posts]
            lower = min(opening.ephemeral for opening in openings if opening is not None)
            self.assertEqual((chosen_by(alice, bob), chosen_by(bob, alice)), (lower, lower))
            for sender, reader in ((alice, bob), (bob, alice), (alice, bob), (bob, alice)):
                self.assertEqual(reader.read(sender.seal(reader, b"more")), b"more")
                self.assertEqual(chosen_by(sender, reader), lower)

    def test_last_decrypted(self) -> None:
        """Who lost everything begins anew, and the other follows into the session that last decrypted something."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.alice.forget(self.bob)
        post = self.alice.send(self.bob, b"anew")
        opening = opening_of(post)
        assert opening is not None
        self.bob.read(post)
        self.assertEqual(chosen_by(self.bob, self.alice), opening.ephemeral)

    def test_forget(self) -> None:
        """A forgotten session sends no more, also after it has received again; it receives as ever."""
        self.bob.read(self.alice.send(self.bob, b"hi"))
        late = self.bob.send(self.alice, b"late")
        later = self.bob.send(self.alice, b"later")
        self.alice.forget(self.bob)
        need = self.assertRaises(NeedBundle, self.alice.seal, self.bob, b"ho")
        self.assertNotEqual(need.spent, 0)
        self.assertEqual(self.alice.read(late), b"late")
        self.assertRaises(NeedBundle, self.alice.seal, self.bob, b"ho")
        post = self.alice.send(self.bob, b"ho")
        self.assertEqual(self.alice.read(later), b"later")
        self.assertEqual(chosen_by(self.alice, self.bob), sessions_of(self.alice, self.bob)[2].ephemeral)
        self.assertEqual(self.bob.read(post), b"ho")

    def test_forget_all(self) -> None:
        """After a restore no session with anybody sends any more."""
        carol = person("carol")
        self.alice.meet(carol)
        for other in (self.bob, carol):
            other.read(self.alice.send(other, b"hi"))
            self.alice.read(other.send(self.alice, b"hi"))
        with self.alice.store.writing() as records:
            suites.archive_all(records)
        for other in (self.bob, carol):
            self.assertRaises(NeedBundle, self.alice.seal, other, b"ho")
            self.assertEqual(other.read(self.alice.send(other, b"ho")), b"ho")

    def test_evicted(self) -> None:
        """A session that had to go is not made again from its opening, though the last resort would still answer it."""
        self.alice.shelf.sell_out()
        first = [self.bob.send(self.alice, b"%d" % number) for number in range(2)]
        self.alice.read(first[0])
        for number in range(MAX_SESSIONS):
            self.bob.forget(self.alice)
            post = self.bob.send(self.alice, b"%d" % number)
            self.assertEqual(self.alice.read(post), b"%d" % number)
        self.assertEqual(len(sessions_of(self.alice, self.bob)), MAX_SESSIONS)
        before = self.alice.dump()
        for post in first:
            self.assertEqual(self.assertRaises(Refusal, self.alice.read, post).code, "no-session")
        self.assertEqual(self.alice.dump(), before)

    def test_restored_state(self) -> None:
        """
        An older state cannot read what came since in a new ratchet step, loses nothing by trying, and heals in a new session.
        """
        self.bob.read(self.alice.send(self.bob, b"1"))
        self.alice.read(self.bob.send(self.alice, b"2"))
        backup = self.bob.store.snapshot()
        self.bob.read(self.alice.send(self.bob, b"3"))
        self.alice.read(self.bob.send(self.alice, b"4"))
        post = self.alice.send(self.bob, b"5")
        self.bob.restore(backup)
        before = self.bob.dump()
        self.assertRaises(Unauthentic, self.bob.read, post)
        self.assertEqual(self.bob.dump(), before)
        with self.bob.store.writing() as records:
            suites.archive_all(records)
            prekeys.discard_one_time(records)
        self.bob.stock_up()
        self.assertEqual(self.alice.read(self.bob.send(self.alice, b"reset")), b"reset")
        self.assertEqual(self.bob.read(self.alice.send(self.bob, b"5 again")), b"5 again")


class LimitTests(SynchronousTestCase):
    """Whom we may write to, and what is shown of secrets."""

    def setUp(self) -> None:
        """Alice and Bob are in conversation."""
        self.alice, self.bob = friends()
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.read(self.bob.send(self.alice, b"hi"))

    def test_blocked(self) -> None:
        """Nothing is sealed for a contact whose identity changed, until it was accepted; then a new session begins."""
        other = person("bob")
        with self.alice.store.writing() as records:
            self.assertRaises(
                contacts.IdentityChanged, contacts.adopt, records, self.alice.profile, other.record, NOW, contacts.DIRECTORY
            )
        before = self.alice.dump()
        self.assertEqual(self.assertRaises(Refusal, self.alice.seal, self.bob, b"ho").code, "identity-changed")
        bundle = self.bob.shelf.claim("alice")
        self.assertEqual(self.assertRaises(Refusal, self.alice.begin, self.bob, bundle).code, "identity-changed")
        self.assertEqual(self.alice.dump(), before)
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", NOW)
        self.assertRaises(NeedBundle, self.alice.seal, other, b"ho")
        self.assertEqual(other.read(self.alice.send(other, b"ho")), b"ho")

    def test_not_on_the_list(self) -> None:
        """Nothing is sealed for a device that does not stand on the contact's list."""
        contact = self.alice.contact(self.bob)
        _, content_key = suites.make_common(b"hi")
        with self.alice.store.writing() as records:
            error = self.assertRaises(Refusal, seal_part, records, self.alice.profile, contact, bytes(16), content_key)
            self.assertEqual(error.code, "unknown-device")

    def test_spent_bundle(self) -> None:
        """A bundle for one use that we used is not used again, whoever hands it out."""
        bundle = self.bob.shelf.claims["alice"]
        before = self.alice.dump()
        self.assertEqual(self.assertRaises(Refusal, self.alice.begin, self.bob, bundle).code, "spent-bundle")
        self.assertEqual(self.alice.dump(), before)

    def test_shows_no_secret(self) -> None:
        """The representations of sessions and of opened messages hold no keys."""
        for session in sessions_of(self.alice, self.bob).values():
            self.assertEqual(repr(session), "<Session>")
        opened = self.bob.open(self.alice.send(self.bob, b"hi"))
        self.assertNotIn(repr(opened.content_key.key), repr(opened))
