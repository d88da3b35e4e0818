"""
A malicious server: whatever it does is detected, and changes nothing, or shows as a gap.

The real server stands behind L{Malice}, which alters what it says; so every lie here comes at the moment at which it would fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from attrs import evolve

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.restored import MAX_LEAP, MAX_LEAPS_A_DAY
from securemsg.client.sessions import initiations, store
from securemsg.client.state import contacts, invites
from securemsg.client.state.contacts import Contact
from securemsg.client.state.profile import DAY, Profile, create_profile
from securemsg.client.state.records import COUNTERS, NUMBER, load_number, save_number
from securemsg.client.warnings import warning_text
from securemsg.crypto import pqxdh
from securemsg.crypto.dump import load_ratchet
from securemsg.crypto.keys import SigningKey
from securemsg.protocol import messages as m
from securemsg.protocol.devices import DEVICE_LIST_LABEL, DeviceList, encode_device_list
from securemsg.protocol.messages import AccountRecord, SignedDeviceList
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, Tap, User, Wire, decoded
from tests.client.sessions.test_resets import Loss
from tests.protocol.examples import reencoded

# As far as is believed, and room for a small lie in the rest of a day.
FAR = MAX_LEAP - 1000
Alteration = Callable[[Any], Any]


def replacing(kind: type, alter: Alteration) -> Tap:
    """Alter every message of a kind; C{None} drops it."""

    def tap(message: m.Message) -> list[m.Message]:
        if not isinstance(message, kind):
            return [message]
        altered = alter(message)
        return [] if altered is None else [altered]

    return tap


def signed(identity: SigningKey, devices: DeviceList) -> SignedDeviceList:
    """A list that this identity signs."""
    body = encode_device_list(devices)
    return SignedDeviceList(body, identity.sign(DEVICE_LIST_LABEL, body))


class MaliceCase(WorldCase):
    """Alice and Bob know each other, and the server has turned bad."""

    def setUp(self) -> None:
        """They have talked."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        self.past = self.bob.read()
        self.alice.read()

    def wire(self, user: User) -> Wire:
        """Somebody's connection."""
        assert user.wire is not None, "connected"
        return user.wire

    def lie(self, user: User, kind: type, alter: Alteration) -> None:
        """Alter what the server says to somebody."""
        self.wire(user).to_client = replacing(kind, alter)

    def contact(self, user: User, name: str) -> Contact:
        """What somebody knows of a contact."""
        with user.store.reading() as records:
            contact = contacts.get_contact(records, name)
        assert contact is not None, "they have met"
        return contact

    def mallory(self, name: str = "bob") -> Profile:
        """The profile of somebody else under a name."""
        return create_profile(self.world.link, name, int(self.world.clock))

    def not_sent(self, user: User, message_id: bytes, code: str) -> None:
        """Check that a message waits, for this reason, and that nobody got anything."""
        sent = user.sent(message_id)
        self.assertEqual((sent.status, sent.code), ("queued", code))
        self.assertEqual([deposit for deposit in decoded(self.wire(user), Side.CLIENT, m.Deposit) if deposit.n > 1], [])


class DirectoryTests(MaliceCase):
    """Lies about accounts."""

    def setUp(self) -> None:
        """Alice will look Bob up again before her next message."""
        super().setUp()
        self.world.clock += 2 * DAY
        self.before = self.contact(self.alice, "bob")

    def shown(self, record: AccountRecord, code: str) -> None:
        """Show Alice a record, and check that she does not believe it."""
        self.lie(self.alice, m.Account, lambda answer: m.Account(answer.request, record))
        self.not_sent(self.alice, self.alice.send("bob", "secret"), code)
        self.assertEqual(self.contact(self.alice, "bob").identity, self.before.identity)
        self.assertEqual(self.contact(self.alice, "bob").digest, self.before.digest)
        self.assertIn(code, [notice.code for notice in messages.notices(self.alice.store)])

    def listing(self, **fields: Any) -> DeviceList:
        """Bob's list, altered."""
        return msgspec.structs.replace(self.bob.profile().listing, **fields)

    def test_other_identity(self) -> None:
        """Another identity under a known name blocks sending, and the user is told."""
        mallory = self.mallory()
        self.shown(AccountRecord("bob", mallory.identity.public, mallory.devices), "identity-changed")

    def test_other_identity_again(self) -> None:
        """
        A claim that ended, because the directory showed the known identity again, does not keep the next one quiet, be it the
        same one within a day; and what was told of it stays to be read. While it lasts, it is told once.
        """
        bob, mallory = self.bob.profile(), self.mallory()
        true = AccountRecord("bob", bob.identity.public, bob.devices)
        false = AccountRecord("bob", mallory.identity.public, mallory.devices)
        for record, times in ((false, 1), (false, 1), (true, 1), (false, 2), (true, 2), (false, 3)):
            self.world.clock += 3600
            self.lie(self.alice, m.Account, partial(msgspec.structs.replace, record=record))
            assert self.alice.agent is not None, "connected"
            self.alice.agent._sender.fetch_list("bob")
            self.world.settle()
            self.assertEqual(self.contact(self.alice, "bob").has_changed, record is false)
            told = [notice.text for notice in messages.notices(self.alice.store) if notice.code == "identity-changed"]
            self.assertEqual(told, [warning_text("identity-changed", "bob")] * times)

    def test_added_device(self) -> None:
        """A device that the server adds to a list is not on the list that was signed."""
        bob, mallory = self.bob.profile(), self.mallory()
        listing = self.listing(version=2, devices=[*bob.listing.devices, *mallory.listing.devices])
        forged = SignedDeviceList(encode_device_list(listing), bob.devices.signature)
        self.shown(AccountRecord("bob", bob.identity.public, forged), "unauthentic")

    def test_signed_by_server(self) -> None:
        """The server's own signature makes no device list."""
        listing = self.listing(version=2, devices=self.mallory().listing.devices)
        record = AccountRecord("bob", self.bob.profile().identity.public, signed(self.world.identity, listing))
        self.shown(record, "unauthentic")

    def test_list_of_another_account(self) -> None:
        """A list that Bob signed for an account of another name is not the list of this one."""
        bob = self.bob.profile()
        record = AccountRecord("bob", bob.identity.public, signed(bob.identity, self.listing(account="robert", version=2)))
        self.shown(record, "bad-device-list")

    def test_list_of_another_server(self) -> None:
        """A list that Bob signed for another server does not count on this one."""
        bob = self.bob.profile()
        record = AccountRecord("bob", bob.identity.public, signed(bob.identity, self.listing(server=bytes(32), version=2)))
        self.shown(record, "bad-device-list")

    def test_forked(self) -> None:
        """Two lists of the same version cannot both be right; the second is not believed, even with a good signature."""
        bob = self.bob.profile()
        record = AccountRecord("bob", bob.identity.public, signed(bob.identity, self.listing(issued_at=1)))
        self.shown(record, "list-forked")

    def test_answer_about_another(self) -> None:
        """An answer about somebody else is no answer."""
        carol = self.world.user("carol").profile()
        record = AccountRecord("carol", carol.identity.public, carol.devices)
        self.lie(self.alice, m.Account, lambda answer: m.Account(answer.request, record))
        self.not_sent(self.alice, self.alice.send("bob", "secret"), "bad-device-list")

    def test_rolled_back(self) -> None:
        """An older list is not believed once a newer one was seen."""
        old = self.bob.profile()
        self.world.clock += 8 * DAY
        self.bob.connect()
        self.alice.connect()
        self.alice.send("bob", "with the new list")
        self.assertEqual(self.contact(self.alice, "bob").version, 2)
        self.before = self.contact(self.alice, "bob")
        self.world.clock += 2 * DAY
        self.lie(
            self.alice,
            m.Account,
            lambda answer: m.Account(answer.request, AccountRecord("bob", old.identity.public, old.devices)),
        )
        sent = self.alice.sent(self.alice.send("bob", "secret"))
        self.assertEqual((sent.status, sent.code), ("queued", "list-rolled-back"))
        self.assertEqual(self.contact(self.alice, "bob").version, 2)

    def test_stale_answer(self) -> None:
        """A refusal that brings another identity's list does not turn a sealed message over to it."""
        self.world.set_clocks(-2 * DAY)
        mallory = self.mallory()
        record = AccountRecord("bob", mallory.identity.public, mallory.devices)
        wire = self.wire(self.alice)
        self.lie(
            self.alice,
            m.Accepted,
            lambda answer: m.DepositRefused(answer.deposits[0].deposit_id, "stale-devices", [record]),
        )
        wire.log.clear()
        sent = self.alice.sent(self.alice.send("bob", "secret"))
        self.assertEqual((sent.status, sent.code), ("queued", "identity-changed"))
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 1)

    def test_invited(self) -> None:
        """Who came with an invite knows the inviter already: another identity is found out at first contact."""
        carol = self.world.user("carol", connect=False)
        bob, mallory = self.bob.profile(), self.mallory()
        link = evolve(self.world.link, inviter="bob", inviter_identity=bob.identity.public)
        profile = carol.profile()
        with carol.store.inner.writing() as records:
            invites.trust_inviter(records, profile, link, int(self.world.clock))
        carol.connect()
        record = AccountRecord("bob", mallory.identity.public, mallory.devices)
        self.lie(carol, m.Account, lambda answer: m.Account(answer.request, record))
        self.not_sent(carol, carol.send("bob", "secret"), "identity-changed")

    def test_list_withheld_from_contacts(self) -> None:
        """When the server goes on showing others our old list their messages say so, and we are told."""
        self.world.clock += 8 * DAY
        old = self.alice.profile()
        self.alice.connect()
        self.assertEqual(self.alice.profile().listing.version, 2)
        self.world.clock += 3 * DAY
        self.bob.connect()
        record = AccountRecord("alice", old.identity.public, old.devices)
        self.lie(self.bob, m.Account, lambda answer: m.Account(answer.request, record))
        self.bob.send("alice", "hello")
        self.assertIn("own-list-old", [notice.code for notice in messages.notices(self.alice.store)])

    def test_list_withheld_from_us(self) -> None:
        """When a contact speaks of a newer list than the server shows, we are told."""
        old = self.bob.profile()
        self.world.clock += 8 * DAY
        self.bob.connect()
        self.alice.connect()
        record = AccountRecord("bob", old.identity.public, old.devices)
        self.lie(self.alice, m.Account, lambda answer: m.Account(answer.request, record))
        self.bob.send("alice", "hello")
        self.assertIn("contact-list-withheld", [notice.code for notice in messages.notices(self.alice.store)])

    def test_other_list_for_us(self) -> None:
        """A contact that was shown a list of ours that we never made gives that away with its first message."""
        carol = self.world.user("carol")
        alice = self.alice.profile()
        # The server cannot sign for Alice; this is a stolen key, which is the most that it could have.
        listing = msgspec.structs.replace(alice.listing, issued_at=1)
        record = AccountRecord("alice", alice.identity.public, signed(alice.identity, listing))
        self.lie(carol, m.Account, lambda answer: m.Account(answer.request, record))
        carol.send("alice", "hello")
        self.assertIn("own-list-forked", [notice.code for notice in messages.notices(self.alice.store)])


class PrekeyTests(MaliceCase):
    """Lies about prekeys: no session begins with keys that the device did not sign for that use."""

    def setUp(self) -> None:
        """Carol is about to write to Bob for the first time."""
        super().setUp()
        self.carol = self.world.user("carol")

    def handed(self, alter: Callable[[m.Bundle], m.Bundle], code: str = "unauthentic") -> None:
        """Hand out something else, and check that no session begins."""
        self.lie(self.carol, m.Bundle, alter)
        sent = self.carol.sent(self.carol.send("bob", "secret"))
        self.assertEqual((sent.status, sent.code), ("queued", code))
        self.assertEqual(decoded(self.wire(self.carol), Side.CLIENT, m.Deposit), [])
        with self.carol.store.reading() as records:
            self.assertEqual(store.all_sessions(records, store.bucket_of("bob", self.bob.profile().device_id)), {})
        self.assertIn(code, [notice.code for notice in messages.notices(self.carol.store)])

    def own(self, make: Callable[[SigningKey, int], tuple[bytes, pqxdh.PublicPrekey]]) -> m.Prekey:
        """A prekey of the server's own."""
        _, public = make(SigningKey.generate(), 7)
        return m.Prekey(public.id, public.key, public.signature)

    def test_signed(self) -> None:
        """The signed prekey is not the device's."""
        self.handed(lambda bundle: msgspec.structs.replace(bundle, signed=self.own(pqxdh.make_signed_prekey)))

    def test_kem(self) -> None:
        """The KEM prekey is not the device's."""
        self.handed(lambda bundle: msgspec.structs.replace(bundle, kem=self.own(pqxdh.make_kem_prekey)))

    def test_one_time(self) -> None:
        """The one-time prekey is not the device's."""
        self.handed(lambda bundle: msgspec.structs.replace(bundle, one_time=self.own(pqxdh.make_one_time_prekey)))

    def test_swapped(self) -> None:
        """A one-time prekey does not stand in for the signed one, though the device signed both."""
        self.handed(lambda bundle: msgspec.structs.replace(bundle, signed=bundle.one_time))

    def test_not_the_last_resort(self) -> None:
        """A KEM prekey for one use is not passed off as the last resort, to be used again and again."""
        self.handed(lambda bundle: msgspec.structs.replace(bundle, kem_is_last_resort=True))

    def test_other_id(self) -> None:
        """A prekey under another id is not what was signed."""
        self.handed(
            lambda bundle: msgspec.structs.replace(bundle, kem=msgspec.structs.replace(bundle.kem, id=bundle.kem.id + 1))
        )

    def test_of_another_device(self) -> None:
        """Prekeys of another device are not this one's."""
        stolen: list[m.Bundle] = []

        def steal(bundle: m.Bundle) -> m.Bundle:
            stolen.append(bundle)
            return bundle

        self.lie(self.bob, m.Bundle, steal)
        self.world.user("dave")
        self.bob.send("dave", "hello")
        self.handed(lambda bundle: msgspec.structs.replace(stolen[0], request=bundle.request))

    def test_without_one_time(self) -> None:
        """A server that withholds the one-time X25519 prekey changes the bundle, and both sides know which one it was."""
        self.lie(self.carol, m.Bundle, lambda bundle: msgspec.structs.replace(bundle, one_time=None))
        self.carol.send("bob", "hello")
        self.assertEqual(self.bob.read(), ["hello"])


class DeliveryTests(MaliceCase):
    """Lies about messages."""

    def sessions(self) -> dict[int, store.Session]:
        """Bob's sessions with Alice."""
        device = self.alice.profile().device_id
        with self.bob.store.reading() as records:
            return store.all_sessions(records, store.bucket_of("alice", device))

    def silence(self) -> None:
        """Nothing that Bob says in return arrives, so that what he knows comes of deliveries alone."""
        self.wire(self.bob).to_server = lambda message: [message] if isinstance(message, m.Acknowledge) else []

    def rejected(self, alter: Callable[[m.Deliver], m.Deliver]) -> None:
        """Deliver something else, and check that Bob shows nothing and that no session of his has received anything."""
        before = self.sessions()
        self.silence()
        wire = self.wire(self.bob)
        self.lie(self.bob, m.Deliver, alter)
        self.alice.send("bob", "secret")
        self.assertEqual(self.bob.read(), [])
        self.unmoved(before)
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
        # It was acknowledged, so that it blocks nothing.
        self.assertEqual(decoded(wire, Side.CLIENT, m.Acknowledge)[-1].tag, decoded(wire, Side.SERVER, m.Deliver)[-1].tag)

    def unmoved(self, before: dict[int, store.Session]) -> None:
        """Check that no session of Bob's has received anything, and that there is no new one."""
        after = self.sessions()
        self.assertEqual(list(after), list(before))
        for number, session in before.items():
            now, then = load_ratchet(after[number].ratchet), load_ratchet(session.ratchet)
            self.assertEqual(
                (now.peer_public, now.receiving, now.received, now.skipped),
                (then.peer_public, then.receiving, then.received, then.skipped),
            )

    def recovered(self, texts: list[str]) -> None:
        """Check that with an honest server everything comes after all."""
        self.bob.connect()
        self.world.advance(4000, ticks=10)
        self.assertEqual([line.text for line in self.bob.lines("alice") if isinstance(line, Received)], [*self.past, *texts])

    def test_altered_common(self) -> None:
        """A changed common part is rejected, and what it was comes after all."""
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, common=flip(delivery.common, 20)))
        self.recovered(["secret"])

    def test_altered_own(self) -> None:
        """A changed own part is rejected, wherever it was changed."""
        capacity = 12
        delivery = self.caught()
        before = self.sessions()
        self.silence()
        for place in range(capacity):
            own = flip(delivery.own, place * (len(delivery.own) - 1) // (capacity - 1))
            self.inject(msgspec.structs.replace(delivery, own=own))
        self.assertEqual(self.bob.read(), [])
        self.unmoved(before)

    def test_truncated_common(self) -> None:
        """A common part that was cut is rejected."""
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, common=delivery.common[:-16]))
        self.recovered(["secret"])

    def test_truncated_own(self) -> None:
        """An own part that was cut is rejected."""
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, own=delivery.own[:-1]))
        self.recovered(["secret"])

    def test_emptied(self) -> None:
        """A delivery of nothing is rejected."""
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, own=b"", common=b""))
        self.recovered(["secret"])

    def test_relabelled_account(self) -> None:
        """Nobody's message is shown under another name."""
        self.world.user("carol").send("bob", "hello from carol")
        self.bob.read()
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, account="carol"))

    def test_relabelled_device(self) -> None:
        """A message under another device of its account is rejected."""
        self.rejected(lambda delivery: msgspec.structs.replace(delivery, device=bytes(16)))

    def test_relabelled_deposit(self) -> None:
        """The deposit id says nothing of a message: under another one it is the same message, and shown once."""
        delivery = self.caught()
        self.inject(delivery)
        self.inject(msgspec.structs.replace(delivery, deposit_id=bytes(16)))
        self.assertEqual(self.bob.read(), ["caught"])

    def test_relabelled_time(self) -> None:
        """When something was sent its sender says, not the server."""
        self.lie(self.bob, m.Deliver, lambda delivery: msgspec.structs.replace(delivery, time=5))
        self.alice.send("bob", "hello")
        self.assertEqual(messages.unread(self.bob.store)[0].sent_at, self.world.clock)

    def test_mixed(self) -> None:
        """The common part of one message does not go with the own part of another."""
        first, second = self.caught("one"), self.caught("two")
        self.inject(msgspec.structs.replace(first, common=second.common))
        self.inject(msgspec.structs.replace(second, common=first.common))
        self.assertEqual(self.bob.read(), [])

    def test_replayed(self) -> None:
        """A message that is delivered again, now or after a new login, is shown once."""
        delivery = self.caught()
        for _ in range(3):
            self.inject(delivery)
        self.bob.connect()
        self.inject(delivery)
        self.assertEqual(self.bob.read(), ["caught"])
        self.assertEqual(messages.quarantined(self.bob.store), (0, 0))

    def test_first_message_replayed(self) -> None:
        """The first message of a session, replayed, makes no second session and shows nothing again."""
        carol = self.world.user("carol")
        carol.send("bob", "first")
        delivery = decoded(self.wire(self.bob), Side.SERVER, m.Deliver)[-1]
        with self.bob.store.reading() as records:
            before = records.scan(store.TABLE)
        self.inject(delivery)
        with self.bob.store.reading() as records:
            self.assertEqual(records.scan(store.TABLE), before)
        self.assertEqual(self.bob.read(), ["first"])

    def test_reencoded_opening(self) -> None:
        """The first message of a session that is forgotten, written otherwise in msgpack, does not bring the session back."""
        carol, dora = self.world.user("carol"), self.world.user("dora", connect=False)
        # Nothing for one use: what opens the session is still there when it comes again.
        wire = dora.connect(settle=False)
        wire.to_server = replacing(m.Upload, lambda upload: msgspec.structs.replace(upload, one_time=[], kem=[]))
        self.world.settle()
        carol.send("dora", "first")
        self.assertEqual(dora.read(), ["first"])
        delivery = decoded(wire, Side.SERVER, m.Deliver)[-1]
        with dora.store.writing() as records:
            for table in (store.TABLE, initiations.TABLE):
                for bucket, order, _ in records.scan(table):
                    records.delete(table, bucket, order)
        # Whatever is done about what does not open makes no session either.
        wire.to_server = lambda message: [message] if isinstance(message, m.Acknowledge) else []
        encodings = reencoded(delivery.own)
        self.assertEqual(len(encodings), 3)
        for own in encodings:
            self.inject(msgspec.structs.replace(delivery, own=own), dora)
        with dora.store.reading() as records:
            self.assertEqual(store.all_sessions(records, store.bucket_of("carol", delivery.device)), {})
        self.assertEqual(messages.quarantined(dora.store), (3, 0))

    def test_delivered_to_another(self) -> None:
        """A message for Bob says nothing to Carol."""
        carol = self.world.user("carol")
        self.alice.send("carol", "hello carol")
        carol.read()
        self.inject(self.caught(), carol)
        self.assertEqual(carol.read(), [])
        self.assertEqual(messages.quarantined(carol.store), (1, 0))

    def test_reflected(self) -> None:
        """A message that comes back to its sender, under its own name or the recipient's, is not taken for an answer."""
        self.alice.send("bob", "mirror")
        delivery = decoded(self.wire(self.bob), Side.SERVER, m.Deliver)[-1]
        for account, device in (("alice", self.alice.profile().device_id), ("bob", self.bob.profile().device_id)):
            self.inject(msgspec.structs.replace(delivery, account=account, device=device), self.alice)
        self.assertEqual(self.alice.read(), [])
        self.assertEqual(messages.quarantined(self.alice.store), (2, 0))

    def test_reordered(self) -> None:
        """Messages that come in another order are marked, and stand in history in their own."""
        first, second = self.caught("one"), self.caught("two")
        self.inject(second)
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.bob.store)], [("two", 1)])
        self.inject(first)
        self.assertEqual(
            [(line.text, line.gap_before, line.note) for line in messages.unread(self.bob.store)],
            [("one", 0, "late"), ("two", 0, "")],
        )
        self.assertEqual(self.bob.texts("alice"), [*self.past, "one", "two"])

    def test_dropped(self) -> None:
        """A message that the server accepted and dropped shows as a gap, once a later one comes."""
        self.caught("dropped")
        self.inject(self.caught("later"))
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.bob.store)], [("later", 1)])

    def test_never_kept(self) -> None:
        """A deposit that the server only claims to have accepted shows as a gap, once a later one comes."""
        wire = self.wire(self.alice)

        def accept(deposit: m.Deposit) -> None:
            wire.inject(Side.SERVER, m.Accepted(1, [m.Acceptance(deposit.deposit_id, [], stored=True)]))

        wire.to_server = replacing(m.Deposit, accept)
        self.assertEqual(self.alice.sent(self.alice.send("bob", "never")).status, "accepted")
        wire.to_server = None
        self.alice.send("bob", "later")
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.bob.store)], [("later", 1)])

    def test_first_dropped(self) -> None:
        """Even the very first message of a new contact is missed, once a later one comes."""
        carol = self.world.user("carol")
        Loss(self.bob).lose(0)
        carol.send("bob", "first")
        carol.send("bob", "second")
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.bob.store)], [("second", 1)])

    def test_old_state(self) -> None:
        """A server that is put back to an older state loses messages, which are sent again."""
        self.bob.disconnect()
        self.world.settle()
        backup = self.world.store.crash()
        self.alice.send("bob", "after the backup")
        self.world.store = backup
        self.world.restart_server()
        self.alice.connect()
        self.alice.send("bob", "later")
        self.bob.connect()
        unread = [(line.text, line.gap_before) for line in messages.unread(self.bob.store)]
        self.assertEqual(unread, [("after the backup", 0), ("later", 0)])

    def test_forged(self) -> None:
        """The server cannot write a message itself, however well it knows the form."""
        delivery = self.caught()
        for own in (b"", b"\x00" * 100, b"\x92\xc4\x00\xc4\x00", delivery.own + b"\x00"):
            self.inject(msgspec.structs.replace(delivery, own=own))
        self.assertEqual(self.bob.read(), [])

    def test_false_restoration(self) -> None:
        """A server that says it has seen more than was sent costs new sessions, and loses nothing."""
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=10**6))
        self.world.settle()
        self.assertIn("state-copied", self.alice.codes())
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.read(), ["hello"])
        self.assertEqual(self.bob.has_read[-1].gap_before, 0)

    def test_absurd_count(self) -> None:
        """A count that nobody can reach is not believed: it would be the last one."""
        for own, highest in ((0, 2**63 - 1), (0, MAX_LEAP + 1000), (m.MAX_N - 10, m.MAX_N + 1)):
            with self.alice.store.inner.writing() as records:
                save_number(records, COUNTERS, NUMBER, max(own, load_number(records, COUNTERS, NUMBER)))
            incarnation = self.alice.profile().incarnation
            wire = self.alice.connect(settle=False)
            wire.to_client = replacing(m.Welcome, partial(msgspec.structs.replace, highest=highest))
            self.world.settle()
            self.assertEqual((self.alice.profile().incarnation, wire.client.code), (incarnation, "bad-count"))
        self.alice.connect()
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.read(), ["hello"])

    def test_used_up(self) -> None:
        """A server that is ahead at each login does not use up our numbers: it is believed so far in a day and no further."""
        for day in range(3):
            for _ in range(10):
                wire = self.alice.connect(settle=False)
                wire.to_client = replacing(m.Welcome, lambda said: msgspec.structs.replace(said, highest=self.count() + FAR))
                self.world.settle()
            self.assertEqual(wire.client.code, "bad-count")
            self.assertLessEqual(self.count(), (day + 1) * MAX_LEAPS_A_DAY + 10)
            self.alice.connect()
            self.alice.send("bob", "hello")
            self.assertEqual(self.bob.read(), ["hello"])
            self.world.clock += DAY

    def count(self) -> int:
        """Alice's n."""
        with self.alice.store.reading() as records:
            return load_number(records, COUNTERS, NUMBER)

    def test_false_receipt(self) -> None:
        """Accepted is all that the server can say; delivered is for the recipient alone."""
        self.bob.disconnect()
        self.world.settle()
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.wire(self.alice).inject(Side.SERVER, m.Accepted(1, [m.Acceptance(message_id, [], stored=True)]))
        self.world.settle()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_cloned_sender(self) -> None:
        """Two lives of one device that count alike contradict each other, and that shows."""
        backup = self.alice.backup()
        self.alice.send("bob", "one")
        self.alice.die()
        clone = self.world.users["alice"] = User(self.world, "alice", MortalProfile(backup))
        wire = clone.connect(settle=False)
        wire.to_client = replacing(m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=0, logins=[]))
        self.world.settle()
        clone.send("bob", "another one")
        clone.send("bob", "and more")
        shown = [(line.text, line.note) for line in messages.unread(self.bob.store)]
        # Where her sessions begin anew another one can be read; else its key was used, and it is held back.
        self.assertIn(shown, ([("one", ""), *held, ("and more", "forked")] for held in ([], [("another one", "repeated")])))
        self.assertIn("messages-forked", [notice.code for notice in messages.notices(self.bob.store)])

    # --- tools ----------------------------------------------------------------------------------------------------

    def caught(self, text: str = "caught") -> m.Deliver:
        """A message of Alice's to Bob that the server holds back."""
        held: list[m.Deliver] = []
        self.lie(self.bob, m.Deliver, held.append)
        self.alice.send("bob", text)
        return held[0]

    def inject(self, delivery: m.Deliver, user: User | None = None) -> None:
        """Deliver something to Bob, or to another, under the tag that is due."""
        user = user or self.bob
        wire = self.wire(user)
        tag = max((message.tag for message in decoded(wire, Side.CLIENT, m.Acknowledge)), default=0) + 1
        before = wire.to_server
        # The real server knows nothing of this delivery, and must not hear that it arrived.
        wire.to_server = lambda message: (
            [] if isinstance(message, m.Acknowledge) and message.tag >= tag else before(message) if before else [message]
        )
        wire.inject(Side.SERVER, msgspec.structs.replace(delivery, tag=tag))
        self.world.settle()
        self.assertIn(m.Acknowledge(tag), decoded(wire, Side.CLIENT, m.Acknowledge))
        self.assertIsNone(wire.client.code)


def lie_about_number(user: User) -> None:
    """Somebody's connection breaks, and in the next one the server claims to have seen more than was sent."""
    if user.is_connected:
        wire = user.connect(settle=False)
        wire.to_client = replacing(
            m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=welcome.highest + 3)
        )
        user.world.settle()


class LyingWelcomeTests(DeliveryTests):
    """The same lies about messages, and everybody who has sent one is made to begin a new incarnation."""

    def setUp(self) -> None:
        """From here on."""
        super().setUp()
        self.world.after_send = lie_about_number


class LyingWelcomeAfterRestoreTests(LyingWelcomeTests):
    """The same after Alice's profile was truly put back."""

    def setUp(self) -> None:
        """She has forgotten a message."""
        super().setUp()
        self.put_back()

    def put_back(self) -> None:
        """Forget a message, and how it was sent."""
        backup = self.alice.backup()
        self.alice.send("bob", "forgotten")
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.alice.connect()
        self.past += self.bob.read()


class LyingWelcomeBeforeRestoreTests(LyingWelcomeAfterRestoreTests):
    """The same where the server had lied before."""

    def put_back(self) -> None:
        """The state that comes back is older than a lie."""
        self.alice.send("bob", "remembered")
        super().put_back()


def flip(data: bytes, place: int) -> bytes:
    """Change one bit."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
