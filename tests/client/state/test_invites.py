"""One invite verifies both ways."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.events import Warned
from securemsg.client.sessions import budgets
from securemsg.client.state import contacts, invites
from securemsg.client.state.contacts import DIRECTORY, INVITE, Contact, IdentityChanged
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY, create_profile, resigned, save_profile
from securemsg.client.state.records import META, OUTBOX, ROWS, OutboxRow, draft, load_all, next_seq, save
from securemsg.crypto.keys import SigningKey
from securemsg.protocol.envelope import Content, Kind, decode_record, encode_record
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import MAX_OPEN_INVITES, AccountRecord
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.people import LINK, NOW, person
from tests.client.rig import START, MortalProfile, User

SECRET = bytes(range(32))

TOLD = "carol has joined with your invite, and is verified"


class JoinTests(WorldCase):
    """Alice has invited Carol, who joins."""

    def setUp(self) -> None:
        """The invite, with a secret that Alice keeps for a week."""
        super().setUp()
        self.link = self.invite()

    def invite(self, days: int = 7) -> InviteLink:
        """An invite of Alice's."""
        alice = self.alice.profile()
        with self.alice.store.writing() as records:
            secret = invites.make_secret(records, START + days * DAY, START)
        return evolve(self.world.link, inviter="alice", inviter_identity=alice.identity.public, secret=secret)

    def join(self, name: str, link: InviteLink) -> User:
        """Somebody joins with an invite; all that happens then happens by itself."""
        store = MortalProfile(MemoryProfile())
        profile = create_profile(link, name, START)
        with store.inner.writing() as records:
            save_profile(records, profile)
            invites.trust_inviter(records, profile, link, START)
            invites.write_proof(records, profile, link, START)
        user = self.world.users[name] = User(self.world, name, store)
        user.connect()
        return user

    def contact(self, name: str) -> Contact | None:
        """What Alice knows of somebody."""
        with self.alice.store.reading() as records:
            return contacts.get_contact(records, name)

    def is_verified(self, name: str) -> bool:
        """Whether Alice has somebody verified, and knows her."""
        contact = self.contact(name)
        return contact is not None and contact.verified and contact.known

    def wrong(self) -> int:
        """How many wrong proofs Alice has counted."""
        with self.alice.store.reading() as records:
            return invites.wrong_proofs(records)

    def test_both_ways(self) -> None:
        """Both have each other verified, which the inviter is told, and neither has seen a message or a gap."""
        carol = self.join("carol", self.link)
        self.assertTrue(self.is_verified("carol"))
        self.assertEqual([event for event in self.alice.events if isinstance(event, Warned)], [Warned("joined", "carol", TOLD)])
        with carol.store.reading() as records:
            inviter = contacts.get_contact(records, "alice")
        assert inviter is not None
        self.assertTrue(inviter.verified and inviter.known)
        carol.send("alice", "I am here")
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.alice.store)], [("I am here", 0)])
        self.assertEqual(self.wrong(), 0)

    def test_receipts(self) -> None:
        """So each confirms what the other sends, though Alice has written nothing yet."""
        carol = self.join("carol", self.link)
        self.assertEqual(carol.sent(carol.send("alice", "hi", wants_receipt=True)).status, "delivered")

    def test_inviter_away(self) -> None:
        """It need not be at the same time."""
        self.part(self.alice)
        self.join("carol", self.link)
        self.assertFalse(self.is_verified("carol"))
        self.alice.connect()
        self.assertTrue(self.is_verified("carol"))

    def test_inviter_long_away(self) -> None:
        """Nor need the invite still be valid when the inviter comes back: the proof was sent in time."""
        self.part(self.alice)
        self.join("carol", self.link)
        self.world.clock += 8 * DAY
        self.alice.connect()
        self.assertTrue(self.is_verified("carol"))
        self.assertEqual(self.wrong(), 0)

    def test_held_back(self) -> None:
        """So it is where the proof came in time, and could be opened only after the invite had expired."""
        link = self.invite(days=1)
        with self.alice.store.writing() as records:
            for _ in range(budgets.MAX_BEGUN):
                budgets.note_begun(records, "carol", bytes(16), 0, START)
        self.join("carol", link)
        self.assertEqual(messages.quarantined(self.alice.store), (1, 0))
        self.world.clock += 2 * DAY
        self.alice.connect()
        self.assertTrue(self.is_verified("carol"))

    def test_last_moment(self) -> None:
        """Who joins in the last moment still has some minutes to send the proof."""
        self.world.clock += 7 * DAY + invites.GRACE
        self.alice.connect()
        self.join("carol", self.link)
        self.assertTrue(self.is_verified("carol"))

    def test_once(self) -> None:
        """Whoever comes second with the same invite is not verified, however many it admits; it is counted, and not told."""
        self.join("carol", self.link)
        mallory = self.join("mallory", self.link)
        self.assertFalse(self.is_verified("mallory"))
        self.assertEqual((self.wrong(), mallory.codes(), mallory.lines("alice")), (1, [], []))

    def test_without_secret(self) -> None:
        """Whoever has the token alone, as the server has, is not verified."""
        self.join("carol", evolve(self.link, secret=b""))
        self.join("mallory", evolve(self.link, secret=SECRET))
        self.assertFalse(self.is_verified("carol") or self.is_verified("mallory"))
        self.assertNotIn("joined", self.alice.codes())
        self.assertEqual(self.wrong(), 1)

    def test_expired(self) -> None:
        """A proof that is sent after the invite has expired verifies nobody, though the secret is still kept."""
        self.world.clock += 7 * DAY + invites.GRACE + 1
        self.alice.connect()
        self.join("carol", self.link)
        self.assertFalse(self.is_verified("carol"))
        self.assertEqual(self.wrong(), 1)

    def test_added_device(self) -> None:
        """A proof proves the identity, and nothing of a device that was added since: that stays to be confirmed."""
        bob, alice = self.bob.profile(), self.alice.profile()
        [other] = person("bob").profile.listing.devices
        signed = resigned(bob, START + 1, [*bob.listing.devices, other])
        with self.alice.store.writing() as records:
            record = AccountRecord("bob", bob.identity.public, signed.devices)
            contact = contacts.adopt(records, alice, AccountRecord("bob", bob.identity.public, bob.devices), START, DIRECTORY)
            contacts.adopt(records, alice, record, START, DIRECTORY)
            body = invites.proof(self.link.secret, "alice", alice.identity.public, "bob", bob.identity.public)
            invites.check_proof(records, alice, contact, body, START, START)
        proved = self.contact("bob")
        assert proved is not None
        self.assertEqual((proved.origin, proved.known), (INVITE, True))
        self.assertEqual((proved.verified, proved.unconfirmed), (False, (other.id,)))

    def test_of_another(self) -> None:
        """A proof that somebody else made, or made for somebody else, proves nothing."""
        alice = self.alice.profile()
        with self.bob.store.reading() as records:
            assert contacts.get_contact(records, "alice") is None
        bob = self.bob.profile()
        ours, theirs = ("alice", alice.identity.public), ("bob", bob.identity.public)
        other = SigningKey.generate().public
        for ends in (
            (*ours, "carol", other),
            (*theirs, *ours),
            ("alice", other, *theirs),
            ("bob", alice.identity.public, *theirs),
            (*ours, "carol", bob.identity.public),
            (*ours, "bob", other),
        ):
            self.claim(invites.proof(self.link.secret, *ends))
        self.claim(b"")
        self.assertFalse(self.is_verified("bob"))
        self.assertEqual(self.wrong(), 7)
        self.claim(invites.proof(self.link.secret, *ours, *theirs))
        self.assertTrue(self.is_verified("bob"))

    def claim(self, body: bytes) -> None:
        """Bob, with a program of his own, says that he joined with Alice's invite."""
        content = msgspec.structs.replace(draft(self.bob.profile(), Kind.JOINED, START), body=body)
        with self.bob.store.writing() as records:
            row = OutboxRow(direct("alice"), int(Kind.JOINED), 0, START, DAY, encode_record(content))
            save(records, OUTBOX, ROWS, row, next_seq(records))
        self.bob.pump()


class SecretTests(SynchronousTestCase):
    """What the inviter keeps, and what the newcomer sends."""

    def setUp(self) -> None:
        """Alice, with no invite yet."""
        self.alice = person("alice")

    def secrets(self) -> list[bytes]:
        """What Alice keeps."""
        with self.alice.store.reading() as records:
            return [kept.secret for _, kept in load_all(records, invites.InviteSecret, META, invites.SECRETS)]

    def make(self, expires_at: int = NOW + DAY, now: int = NOW) -> bytes:
        """Make an invite's secret."""
        with self.alice.store.writing() as records:
            return invites.make_secret(records, expires_at, now)

    def test_kept(self) -> None:
        """Each invite has a secret of its own, which is kept until long after it has expired."""
        first, second = self.make(), self.make(NOW + 2 * DAY)
        self.assertEqual(self.secrets(), [first, second])
        third = self.make(now=NOW + DAY + invites.KEPT)
        self.assertEqual(self.secrets(), [second, third])
        self.assertEqual(len({first, second, third}), 3)

    def test_new_device(self) -> None:
        """A proof says nothing of a device that was added since the newcomer was met."""
        bob, profile = person("bob"), self.alice.profile
        secret = self.make()
        body = invites.proof(secret, "alice", profile.identity.public, "bob", bob.profile.identity.public)
        self.alice.meet(bob)
        with self.alice.store.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they have met"
            contacts.put_contact(records, msgspec.structs.replace(contact, unconfirmed=(bytes(16),)))
            invites.check_proof(records, profile, contact, body, NOW, NOW)
            contact = contacts.get_contact(records, "bob")
        assert contact is not None, "they have met"
        self.assertEqual((contact.verified, contact.known), (False, True))

    def test_bounded(self) -> None:
        """No more are kept than a server lets be open; those that have expired go first, then the oldest."""
        made = [self.make() for _ in range(MAX_OPEN_INVITES + 3)]
        self.assertEqual(self.secrets(), made[3:])
        expired = self.make(expires_at=NOW)
        self.assertEqual(self.secrets(), [*made[4:], expired])
        latest = self.make()
        self.assertEqual(self.secrets(), [*made[4:], latest])

    def test_shows_no_secret(self) -> None:
        """The representation of what is kept, and of an invite, shows no secret."""
        self.assertEqual(repr(invites.InviteSecret(SECRET, NOW)), "<InviteSecret>")
        self.assertNotIn(repr(SECRET), repr(evolve(LINK, inviter="alice", inviter_identity=bytes(32), secret=SECRET)))

    def rows(self) -> list[OutboxRow]:
        """What Alice has to send."""
        with self.alice.store.reading() as records:
            return [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)]

    def write(self, link: InviteLink) -> None:
        """Alice joins, or joins again."""
        with self.alice.store.writing() as records:
            invites.trust_inviter(records, self.alice.profile, link, NOW)
            invites.write_proof(records, self.alice.profile, link, NOW)

    def test_newer_invite(self) -> None:
        """Who tries again with another invite proves that one; an invite of the operator's has nothing to prove."""
        bob = SigningKey.generate().public
        for name in ("bob", "carol"):
            link = evolve(LINK, inviter=name, inviter_identity=bob, secret=SECRET)
            self.write(link)
            (row,) = self.rows()
            content = decode_record(Content, row.content)
            expected = invites.proof(SECRET, name, bob, "alice", self.alice.profile.identity.public)
            self.assertEqual((row.to, content.body), (direct(name), expected))
        self.write(LINK)
        self.assertEqual(self.rows(), [])

    def test_other_identity(self) -> None:
        """Nothing is proved to an inviter whose name we know under another identity."""
        for _ in range(2):
            link = evolve(LINK, inviter="bob", inviter_identity=SigningKey.generate().public, secret=SECRET)
            self.write(link)
        self.assertEqual(self.rows(), [])

    def test_registered(self) -> None:
        """Who has joined and joins again, with the invite of another, proves both, each once."""
        self.alice.renew(evolve(self.alice.profile, registered=True))
        for name in ("bob", "carol", "carol"):
            self.write(evolve(LINK, inviter=name, inviter_identity=SigningKey(name.encode().ljust(32)).public, secret=SECRET))
        self.assertEqual([row.to for row in self.rows()], [direct("bob"), direct("carol")])


class InviteTests(SynchronousTestCase):
    """Joining with an invite is verification of those who are named in it."""

    def setUp(self) -> None:
        """Alice has joined with Bob's invite."""
        self.bob, self.server = person("bob"), person("server")
        self.link = evolve(
            LINK,
            contact=self.server.profile.identity.public,
            inviter="bob",
            inviter_identity=self.bob.profile.identity.public,
        )
        self.alice = person("alice", self.link)
        self.trust(self.link)

    def trust(self, link: InviteLink) -> None:
        """Alice takes in what an invite says."""
        with self.alice.store.writing() as records:
            invites.trust_inviter(records, self.alice.profile, link, NOW)

    def test_verified(self) -> None:
        """Inviter and C{server} are verified, and no device of theirs is known yet."""
        for other in (self.bob, self.server):
            contact = self.alice.contact(other)
            self.assertEqual((contact.verified, contact.origin), (True, contacts.INVITE))
            self.assertEqual(contacts.devices(contact), [])

    def test_directory_fills_in(self) -> None:
        """The directory brings the list of the identity in the invite, which stays verified."""
        contact = self.alice.meet(self.bob)
        self.assertEqual((contact.verified, contact.version), (True, 1))

    def test_directory_lies(self) -> None:
        """A directory that shows another identity than the invite's is found out at first contact."""
        self.assertRaises(IdentityChanged, self.alice.meet, person("bob"))

    def test_again(self) -> None:
        """The same invite again changes nothing."""
        before = self.alice.dump()
        self.trust(self.link)
        self.assertEqual(self.alice.dump(), before)

    def test_new_device(self) -> None:
        """An invite vouches for no device that was added since."""
        self.alice.meet(self.bob)
        self.bob.profile = resigned(self.bob.profile, NOW, [self.bob.device, *person("bob").profile.listing.devices])
        self.alice.meet(self.bob)
        self.trust(self.link)
        self.assertFalse(self.alice.contact(self.bob).verified)

    def test_other_invite(self) -> None:
        """An invite cannot replace a known identity: it waits for the user's word."""
        self.trust(evolve(self.link, inviter_identity=bytes(32)))
        contact = self.alice.contact(self.bob)
        self.assertEqual(contact.identity, self.bob.profile.identity.public)
        self.assertTrue(contact.has_changed)

    def test_own_invite(self) -> None:
        """Nobody is a contact of his own."""
        self.trust(evolve(self.link, inviter="alice"))
        with self.alice.store.reading() as records:
            self.assertIs(contacts.get_contact(records, "alice"), None)
