"""Somebody renews all keys: who follows, who does not, and what happens in between."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client import messages, renewal
from securemsg.client.sessions import prekeys, suites
from securemsg.client.sessions.store import TABLE as SESSIONS
from securemsg.client.state import contacts, lists, successions, verification
from securemsg.client.state.contacts import Contact, Policy, is_signed_claim
from securemsg.client.state.profile import Profile, sign_list
from securemsg.client.state.rsakeys import load_rsa_key, save_rsa_key
from securemsg.crypto.keys import SigningKey
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.protocol.devices import MAX_SUCCESSIONS, Succession
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import Fate, User


class RenewalCase(WorldCase):
    """Bob renews his keys; Alice has verified the old ones."""

    def setUp(self) -> None:
        """They know each other."""
        super().setUp()
        self.alice.send("bob", "hello")
        self.bob.send("alice", "hello")
        self.assertEqual((self.alice.read(), self.bob.read()), (["hello"], ["hello"]))
        with self.alice.store.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None
            contacts.put_contact(records, replace(contact, verified=True))

    def choose(self, policy: Policy) -> None:
        """What Alice wants."""
        with self.alice.store.writing() as records:
            verification.set_policy(records, "bob", policy, int(self.world.clock))

    def contact(self) -> Contact:
        """What Alice knows of Bob."""
        with self.alice.store.reading() as records:
            contact = contacts.get_contact(records, "bob")
        assert contact is not None
        return contact

    def begin(self, rsa_key: RsaKey | None = None) -> Profile:
        """Bob has hung up, and makes new keys."""
        self.bob.die()
        self.world.settle()
        profile = self.bob.profile()
        with self.bob.store.writing() as records:
            return renewal.begin(records, profile, rsa_key, int(self.world.clock))

    def renew(self) -> None:
        """Bob renews his keys."""
        self.begin()
        self.bob.connect()
        self.assertTrue(self.bob.profile().registered)
        self.bob.events.clear()


class FollowingTests(RenewalCase):
    """What contacts make of it."""

    def test_pinned(self) -> None:
        """By default nothing is sent to the new keys, and it is said that the old ones have signed them."""
        before = self.contact().identity
        self.renew()
        waiting = self.alice.send("bob", "for whom?")
        self.assertEqual((self.alice.sent(waiting).status, self.alice.sent(waiting).code), ("queued", "identity-changed"))
        self.assertEqual((self.contact().identity, self.contact().has_changed), (before, True))
        self.assertTrue(is_signed_claim(self.contact()))
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.world.advance(2, ticks=2)
        self.assertEqual(self.bob.read(), ["for whom?"])
        self.assertFalse(self.contact().verified)

    def test_signed(self) -> None:
        """Whoever has chosen so follows at once, is told, and goes on trusting."""
        self.choose(Policy.SIGNED)
        self.renew()
        self.alice.send("bob", "and now?")
        self.bob.send("alice", "as before")
        self.assertEqual((self.bob.read(), self.alice.read()), (["and now?"], ["as before"]))
        self.assertEqual(self.contact().identity, self.bob.profile().identity.public)
        self.assertTrue(self.contact().verified)
        self.assertEqual(self.alice.codes().count("identity-renewed"), 1)

    def test_never_written_to(self) -> None:
        """Who has no session with the old device learns of the new one when it asks for prekeys."""
        for policy in (Policy.PIN, Policy.SIGNED):
            self.setUp()
            with self.alice.store.writing() as records:
                suites.archive(records, "bob", self.bob.profile().device_id)
            self.choose(policy)
            self.renew()
            waiting = self.alice.send("bob", "hello?")
            self.world.advance(3, ticks=3)
            if policy is Policy.SIGNED:
                self.assertEqual(self.bob.read(), ["hello?"])
            else:
                self.assertEqual(self.alice.sent(waiting).code, "identity-changed")

    def test_both_renewed(self) -> None:
        """Both may renew at once."""
        self.choose(Policy.SIGNED)
        with self.bob.store.writing() as records:
            verification.set_policy(records, "alice", Policy.SIGNED, int(self.world.clock))
        self.renew()
        self.alice.die()
        self.world.settle()
        profile = self.alice.profile()
        with self.alice.store.writing() as records:
            renewal.begin(records, profile, None, int(self.world.clock))
        self.alice.connect()
        self.alice.send("bob", "new to new")
        self.world.advance(3, ticks=3)
        self.assertEqual(self.bob.read(), ["new to new"])
        self.bob.send("alice", "likewise")
        self.assertEqual(self.alice.read(), ["likewise"])

    def test_signed_first_heard_from(self) -> None:
        """It makes no difference if the new keys speak first."""
        self.choose(Policy.SIGNED)
        self.renew()
        self.bob.send("alice", "it is me")
        self.assertEqual(self.alice.read(), ["it is me"])
        self.assertIn("identity-renewed", self.alice.codes())
        self.alice.send("bob", "I see")
        self.assertEqual(self.bob.read(), ["I see"])

    def test_waiting_messages_come_first(self) -> None:
        """What the old keys have sealed, and waits, is opened before the new ones are taken."""
        self.choose(Policy.SIGNED)
        self.alice.die()
        self.bob.send("alice", "old")
        self.renew()
        self.bob.send("alice", "new")
        messages.compose(self.alice.store, "bob", "waiting", now=self.world.clock)
        wire = self.alice.connect(settle=False)
        # The directory answers first.
        wire.to_client = lambda message: [] if isinstance(message, m.Deliver | m.Drained) else [message]
        self.world.settle()
        self.world.advance(3, ticks=3)
        self.assertNotEqual(self.contact().identity, self.bob.profile().identity.public)
        self.alice.connect()
        self.world.advance(3, ticks=3)
        self.assertEqual(self.alice.read(), ["old", "new"])
        self.assertEqual(self.bob.read(), ["waiting"])

    def test_several(self) -> None:
        """Who was away for several renewals follows all of them at once; for more than a list names, none."""
        self.choose(Policy.SIGNED)
        self.alice.disconnect()
        for _ in range(MAX_SUCCESSIONS):
            self.renew()
        self.alice.connect()
        self.alice.send("bob", "there?")
        self.assertEqual(self.bob.read(), ["there?"])
        self.alice.disconnect()
        for _ in range(MAX_SUCCESSIONS + 1):
            self.renew()
        self.alice.connect()
        self.alice.send("bob", "still there?")
        self.assertTrue(self.contact().has_changed)

    def test_not_signed(self) -> None:
        """Keys that the old ones have not signed are followed by no such policy, whatever they say of themselves."""
        self.choose(Policy.SIGNED)
        profile = self.bob.profile()
        record = m.AccountRecord("bob", profile.identity.public, profile.devices)
        thief = SigningKey.generate()
        signed = successions.successions_of(profile, thief.public)
        forgeries = {
            "by nobody": (),
            "by itself": (Succession(record.identity, thief.sign(b"securemsg/1 identity succession", b"")),),
            "for another": successions.successions_of(profile, SigningKey.generate().public),
        }
        listing = replace(profile.listing, version=profile.listing.version + 1, previous=bytes(32))
        own = self.alice.profile()
        for what, forged in forgeries.items():
            body = sign_list(thief, replace(listing, successions=forged))
            with self.assertRaises(contacts.IdentityChanged, msg=what):
                contacts.judge(own, self.contact(), m.AccountRecord("bob", thief.public, body), 0, contacts.DIRECTORY)
        good = sign_list(thief, replace(listing, successions=signed))
        followed = contacts.judge(own, self.contact(), m.AccountRecord("bob", thief.public, good), 0, contacts.DIRECTORY)
        self.assertEqual(followed.identity, thief.public)
        old = sign_list(thief, replace(listing, version=self.contact().version, previous=b"", successions=signed))
        with self.assertRaises(contacts.IdentityChanged, msg="a list that is not newer"):
            contacts.judge(own, self.contact(), m.AccountRecord("bob", thief.public, old), 0, contacts.DIRECTORY)

    def test_old_keys_again(self) -> None:
        """A server that shows the old keys again is not believed, and it is no claim that would hold anything up."""
        self.choose(Policy.SIGNED)
        old = self.bob.profile()
        self.renew()
        self.alice.send("bob", "one")
        record = m.AccountRecord("bob", old.identity.public, old.devices)
        own, known = self.alice.profile(), self.contact()
        problem = self.assertRaises(Refusal, contacts.judge, own, known, record, 0, contacts.DIRECTORY)
        self.assertEqual(problem.code, "list-rolled-back")
        self.alice.send("bob", "two")
        self.assertEqual(self.bob.read(), ["one", "two"])

    def test_claim_of_an_old_list(self) -> None:
        """A claim that stands on no newer list than the known one is not called signed, and no policy follows it."""
        profile, thief = self.bob.profile(), SigningKey.generate()
        signed = successions.successions_of(profile, thief.public)
        old = replace(profile.listing, version=self.contact().version, successions=signed)
        claimed = replace(self.contact(), changed_to=thief.public, changed_devices=sign_list(thief, old))
        self.assertFalse(is_signed_claim(claimed))

    def test_policy_after_the_fact(self) -> None:
        """A change that waits is followed as soon as the user chooses a policy that does."""
        self.renew()
        self.alice.send("bob", "for whom?")
        self.choose(Policy.SIGNED)
        self.assertTrue(self.contact().verified)
        self.world.advance(2, ticks=2)
        self.assertEqual(self.bob.read(), ["for whom?"])

    def test_lists_of_the_old_keys(self) -> None:
        """What is known of the lists of the old keys says nothing of those of the new."""
        self.choose(Policy.SIGNED)
        with self.alice.store.reading() as records:
            self.assertIsNotNone(lists.seen_list(records, "bob", 1))
        self.renew()
        self.alice.send("bob", "hello")
        with self.alice.store.reading() as records:
            self.assertIsNone(lists.seen_list(records, "bob", 1))

    def test_restored_policy(self) -> None:
        """Who we follow is part of what is noted of a contact's trust: it cannot be put back unnoticed."""
        before = self.contact().trust_digest
        self.choose(Policy.SIGNED)
        self.assertNotEqual(self.contact().trust_digest, before)


class TofuTests(RenewalCase):
    """Whatever the directory shows is followed."""

    def setUp(self) -> None:
        """Alice wants that; then Bob's account is made anew, with keys that nobody has signed."""
        super().setUp()
        self.choose(Policy.TOFU)
        self.assertFalse(self.contact().verified)
        self.world.store.remove_account("bob")
        self.bob.die()
        self.world.restart_server()
        self.bob = self.world.user("bob")
        self.alice.connect()

    def test_sent(self) -> None:
        """What is written goes to the new keys, with a warning."""
        self.alice.send("bob", "to whom it may concern")
        self.assertEqual(self.bob.read(), ["to whom it may concern"])
        self.assertIn("identity-followed", self.alice.codes())
        self.assertFalse(self.contact().verified)

    def test_received(self) -> None:
        """What the new keys write is read once the directory has named them."""
        self.bob.send("alice", "hello again")
        self.world.advance(2, ticks=2)
        self.assertEqual(self.alice.read(), ["hello again"])
        self.assertNotIn("identity-changed", self.alice.codes())

    def test_claim_waits(self) -> None:
        """While such a message waits for the directory's word, the directory is asked before anything is sent."""
        claimed = replace(self.contact(), changed_to=self.bob.profile().identity.public)
        with self.alice.store.writing() as records:
            contacts.put_contact(records, claimed)
        self.alice.send("bob", "are you there?")
        self.assertEqual(self.bob.read(), ["are you there?"])

    def test_message_alone(self) -> None:
        """A message alone changes nothing: one from before could bring the old keys back."""
        profile = self.bob.profile()
        record = m.AccountRecord("bob", profile.identity.public, profile.devices)
        with self.assertRaises(contacts.IdentityChanged):
            contacts.judge(self.alice.profile(), self.contact(), record, 0, contacts.MESSAGE)

    def test_verified_later(self) -> None:
        """The number of keys that the directory has not confirmed verifies nothing."""
        claimed, own = replace(self.contact(), changed_to=self.bob.profile().identity.public), self.alice.profile()
        with self.alice.store.writing() as records:
            contacts.put_contact(records, claimed)
            verification.mark_shown(records, claimed)
            problem = self.assertRaises(Refusal, verification.confirm, records, own, "bob")
        self.assertEqual(problem.code, "identity-changed")


class OwnTests(RenewalCase):
    """What Bob goes through."""

    def test_new_keys(self) -> None:
        """Nothing of the old keys is left: identity, device, prekeys, sessions, RSA key."""
        with self.bob.store.writing() as records:
            save_rsa_key(records, RsaKey.generate())
            old_rsa, old_prekeys = load_rsa_key(records), {order for _, order, _ in records.scan(prekeys.TABLE)}
            self.assertTrue(records.scan(SESSIONS))
        old = self.bob.profile()
        assert old_rsa is not None
        new_rsa = RsaKey.generate(old_rsa.bits)
        self.begin(new_rsa)
        self.bob.connect()
        new = self.bob.profile()
        self.assertNotIn(old.identity.public, (new.identity.public, new.device_key.public))
        for name in ("device_id", "device_key", "agreement"):
            self.assertNotEqual(getattr(old, name), getattr(new, name))
        self.assertEqual([device.rsa_key for device in new.listing.devices], [new_rsa.public])
        with self.bob.store.reading() as records:
            self.assertEqual(records.scan(SESSIONS), [])
            self.assertEqual(load_rsa_key(records), new_rsa)
            self.assertFalse({order for _, order, _ in records.scan(prekeys.TABLE) if order} & old_prekeys - {0})
            self.assertFalse(renewal.is_begun(records))

    def test_sealed(self) -> None:
        """What is sealed with the old keys has to be sent first."""
        wire = self.bob.wire
        assert wire is not None
        wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        self.bob.send("alice", "on its way")
        self.assertEqual(self.assertRaises(Refusal, self.begin).code, "messages-wait")

    def test_drafts(self) -> None:
        """What is not sealed yet goes out with the new keys."""
        self.choose(Policy.SIGNED)
        self.bob.die()
        messages.compose(self.bob.store, "alice", "a draft", now=self.world.clock)
        self.renew()
        self.assertEqual(self.alice.read(), ["a draft"])

    def test_mailbox_not_empty(self) -> None:
        """The server does not drop what waits for the old keys; with them it is read, and then all goes well."""
        old = self.bob.profile()
        self.bob.die()
        self.world.settle()
        self.alice.send("bob", "in the last moment")
        self.begin()
        self.bob.connect()
        self.assertIn("mailbox-not-empty", self.bob.codes())
        self.bob.die()
        with self.bob.store.writing() as records:
            renewal.swap_keys(records)
        self.assertEqual(self.bob.profile().identity.public, old.identity.public)
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["in the last moment"])
        with self.bob.store.reading() as records:
            self.assertFalse(renewal.is_refused(records))
        self.renew()

    def test_login_of_before(self) -> None:
        """A login with the old keys that is answered after the new ones were made ends, and finishes nothing."""
        self.bob.die()
        self.world.settle()
        wire = self.bob.connect(settle=False)
        held: list[m.Message] = []

        def hold(message: m.Message) -> list[m.Message]:
            if isinstance(message, m.Welcome) or held:
                held.append(message)
                return []
            return [message]

        wire.to_client = hold
        self.world.settle()
        old = self.bob.profile()
        with self.bob.store.writing() as records:
            renewal.begin(records, old, None, int(self.world.clock))
        wire.to_client = lambda message: [message]
        for message in held:
            wire.inject(Side.SERVER, message)
        self.world.settle()
        self.assertFalse(self.bob.profile().registered)
        self.bob.die()
        self.world.settle()
        self.bob.connect()
        self.assertTrue(self.bob.profile().registered)

    def test_server_lies(self) -> None:
        """A server that has taken the new keys, and says it has not, ends nothing: they are kept until a login proves it."""
        self.choose(Policy.SIGNED)
        self.begin()
        new = self.bob.profile().identity.public
        wire = self.bob.connect(settle=False)
        wire.to_client = lambda message: [m.Failed("mailbox-not-empty")] if isinstance(message, m.Welcome) else [message]
        self.world.settle()
        self.bob.die()
        self.world.settle()
        with self.bob.store.writing() as records:
            renewal.swap_keys(records)
        self.bob.events.clear()
        self.bob.connect()
        self.assertIn("login-failed", self.bob.codes())
        self.bob.die()
        with self.bob.store.writing() as records:
            self.assertTrue(renewal.is_refused(records))
            renewal.swap_keys(records)
        self.bob.connect()
        self.assertEqual((self.bob.profile().registered, self.bob.profile().identity.public), (True, new))
        self.alice.send("bob", "after the lie")
        self.assertEqual(self.bob.read(), ["after the lie"])

    def test_copy(self) -> None:
        """A copy of the profile from before is shut out."""
        copy = self.bob.backup()
        self.renew()
        self.bob.die()
        thief = self.world.users["thief"] = User(self.world, "bob", type(self.bob.store)(copy))
        thief.connect()
        self.assertIn("login-failed", thief.codes())
        stolen = thief.profile()
        with thief.store.writing() as records:
            renewal.begin(records, stolen, None, int(self.world.clock))
        thief.die()
        thief.connect()
        self.assertIn("login-failed", thief.codes()[1:])

    def test_killed(self) -> None:
        """Killed at any moment, before or after each commit of either side, it goes on where it was."""
        moments = self._moments()
        self.assertGreater(moments["bob"], 4)
        for who, count in moments.items():
            for moment in range(1, count + 1):
                self.setUp()
                self.choose(Policy.SIGNED)
                self.begin()
                fate = self.world.store.fate if who == "server" else self.bob.store.fate
                fate.moments, fate.deadline = 0, moment
                self.world.survive(lambda: self.bob.connect(settle=False))
                fate.deadline = 0
                self.assertTrue(self.bob.profile().registered, f"{who} {moment}")
                self.alice.send("bob", "after all")
                self.assertEqual(self.bob.read(), ["after all"], f"{who} {moment}")

    def _moments(self) -> dict[str, int]:
        """At how many moments somebody may die in a renewal."""
        self.begin()
        self.bob.store.fate, self.world.store.fate = Fate(), Fate()
        self.bob.connect()
        return {"bob": self.bob.store.fate.moments, "server": self.world.store.fate.moments}
