"""How drafts become deposits: in one transaction, for exactly the devices that there are."""

from __future__ import annotations

import msgspec
from attrs import evolve

from securemsg.client import messages
from securemsg.client.agent import Agent
from securemsg.client.sending import outbox, receipts, results
from securemsg.client.sessions import pins
from securemsg.client.sessions.peers import NeedAccount
from securemsg.client.sessions.pqxdh import NeedBundle
from securemsg.client.state import contacts, counters, gaps
from securemsg.client.state.conversations import direct
from securemsg.client.state.ownlist import PUBLISHED
from securemsg.client.state.profile import DAY, Profile, create_profile, resigned, save_profile
from securemsg.client.state.records import (
    HISTORY,
    META,
    OUTBOX,
    ROWS,
    SEALED,
    HistoryRow,
    OutboxRow,
    SealedDeposit,
    load,
    load_all,
    next_seq,
    save,
    save_number,
)
from securemsg.client.state.settings import Policy
from securemsg.crypto.keys import SigningKey, random_id
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol import messages as m
from securemsg.protocol.devices import DEVICE_LIST_LABEL, Device, encode_device_list
from securemsg.protocol.envelope import PSK, Content, Kind, encode_record
from securemsg.protocol.messages import SignedDeviceList
from securemsg.protocol.states import Side
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, User, decoded, outbox_rows

TABLES = ("profile", "contacts", "lists", "sessions", "outbox", "history", "index", "counters", "sent", "meta")


def dump(store: IProfileStore) -> dict[str, list[tuple[bytes, int, bytes]]]:
    """Everything that sending touches."""
    with store.reading() as records:
        return {table: records.scan(table) for table in TABLES}


class SealingTests(WorldCase):
    """A draft is sealed in one transaction."""

    def setUp(self) -> None:
        """There is a session."""
        super().setUp()
        self.alice.send("bob", "zero")

    def test_at_once(self) -> None:
        """Ratchet, counter, n, ciphertext and history move together or not at all."""
        self.alice.die()
        message_id = messages.compose(self.alice.store, "bob", "one", now=self.world.clock)
        store = self.alice.store.inner
        before = dump(store)
        profile = self.alice.profile()
        order = self.alice.sent(message_id).seq
        with self.assertRaises(RuntimeError), store.writing() as records:
            outbox.prepare(records, profile, order, int(self.world.clock))
            raise RuntimeError("a crash")
        self.assertEqual(dump(store), before)
        with store.writing() as records:
            first = outbox.prepare(records, profile, order, int(self.world.clock))
        after = dump(store)
        self.assertEqual(
            {table for table in TABLES if after[table] != before[table]},
            {"sessions", "outbox", "history", "counters", "sent"},
        )
        with store.writing() as records:
            self.assertEqual(outbox.prepare(records, profile, order, int(self.world.clock)), first)
        self.assertEqual(dump(store), after)

    def test_waits_unsealed(self) -> None:
        """Without a session nothing is sealed, and nothing has changed."""
        self.world.user("carol")
        self.alice.die()
        message_id = messages.compose(self.alice.store, "carol", "one", now=self.world.clock)
        before = dump(self.alice.store.inner)
        profile = self.alice.profile()
        with self.alice.store.inner.writing() as records, self.assertRaises(NeedAccount):
            outbox.prepare(records, profile, self.alice.outbox_seq(message_id, records), int(self.world.clock))
        self.assertEqual(dump(self.alice.store.inner), before)

    def test_gone(self) -> None:
        """A row that is not there any more is nothing to send."""
        profile = self.alice.profile()
        with self.alice.store.inner.writing() as records:
            self.assertIsNone(outbox.prepare(records, profile, 99, int(self.world.clock)))

    def test_other_identity(self) -> None:
        """What was said to one identity is not said again to another that has the name by now."""
        self.alice.die()
        now, profile = int(self.world.clock), self.alice.profile()
        with self.alice.store.inner.writing() as records:
            [(said, _)] = load_all(records, HistoryRow, HISTORY, direct("bob").bucket)
            pins.pin_suite(records, direct("bob"), PSK, bytes(32))  # which needs no session
            for is_same in (True, False):
                order = next_seq(records)
                row = OutboxRow(direct("bob"), int(Kind.TEXT), said, now, DAY, again=True)
                save(records, OUTBOX, ROWS, row, order)
                self.assertEqual(outbox.prepare(records, profile, order, now) is not None, is_same)
                contact = contacts.get_contact(records, "bob")
                assert contact is not None, "they have talked"
                contacts.put_contact(records, msgspec.structs.replace(contact, identity=SigningKey.generate().public))

    def test_numbers_rise(self) -> None:
        """C{n} rises with every deposit, whoever it goes to."""
        self.world.user("carol")
        for _ in range(3):
            self.alice.send("bob", "hello")
            self.alice.send("carol", "hello")
        assert self.alice.wire is not None, "connected"
        numbers = [deposit.n for deposit in decoded(self.alice.wire, Side.CLIENT, m.Deposit)]
        self.assertEqual(numbers, list(range(1, 8)))

    def test_own_keys(self) -> None:
        """Equal texts give deposits that have nothing in common but their sizes."""
        for _ in range(2):
            self.alice.send("bob", "the same")
        assert self.alice.wire is not None, "connected"
        first, second = decoded(self.alice.wire, Side.CLIENT, m.Deposit)[-2:]
        self.assertEqual(len(first.common), len(second.common))
        self.assertNotEqual(first.common, second.common)
        self.assertNotEqual(first.to, second.to)

    def test_key_stays_secret(self) -> None:
        """What opens a waiting deposit is not part of what it looks like in a log."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.SERVER}
        message_id = self.alice.send("bob", "one")
        with self.alice.store.reading() as records:
            sealed = load(records, SealedDeposit, OUTBOX, SEALED, self.alice.outbox_seq(message_id, records))
        assert sealed is not None, "on its way"
        self.assertNotIn(repr(sealed.key), repr(sealed))


class DeviceTests(WorldCase):
    """A contact whose devices change."""

    def setUp(self) -> None:
        """Alice knows Bob, who has one device."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")

    def link(self) -> User:
        """Give Bob a second device, as linking would: the account's identity signs a list with both."""
        first = self.bob.profile()
        fresh = create_profile(self.world.link, "bob", int(self.world.clock))
        device = Device(random_id(), fresh.device_key.public, fresh.agreement.public, None)
        following = resigned(first, int(self.world.clock))
        body = encode_device_list(
            type(following.listing)(
                following.listing.server,
                "bob",
                following.listing.version,
                following.listing.previous,
                following.listing.issued_at,
                [*following.listing.devices, device],
            )
        )
        devices = SignedDeviceList(body, first.identity.sign(DEVICE_LIST_LABEL, body))
        with self.bob.store.inner.writing() as records:
            save_profile(records, evolve(first, devices=devices))
        self.bob.connect()
        store = MortalProfile(MemoryProfile())
        with store.inner.writing() as records:
            save_profile(
                records,
                evolve(fresh, identity=first.identity, device_id=device.id, devices=devices, registered=True),
            )
            save_number(records, META, PUBLISHED, following.listing.version)
        second = User(self.world, "bob", store)
        for user in (self.bob, second):
            user.confirm_to(Policy.EVERYBODY)
        self.world.users["bob's second"] = second
        second.connect()
        return second

    def bob_account(self) -> m.AccountRecord:
        """What the directory says of Bob."""
        bob = self.bob.profile()
        return m.AccountRecord("bob", bob.identity.public, bob.devices)

    def leap(self, profile: Profile, contact: contacts.Contact) -> Content:
        """A message of Bob's that shows that others are missing."""
        return msgspec.structs.replace(
            receipts.draft_receipt(self.bob.profile(), b"", int(self.world.clock)),
            kind=int(Kind.TEXT),
            conversation=counters.conversation_of(profile.identity.public, contact.identity),
            counter=5,
        )

    def test_added(self) -> None:
        """A message to an account with a new device is made anew, and reaches both."""
        second = self.link()
        message_id = self.alice.send("bob", "to both", wants_receipt=True)
        self.assertEqual(self.bob.read(), ["zero", "to both"])
        self.assertEqual(second.read(), ["to both"])
        sent = self.alice.sent(message_id)
        self.assertEqual(set(sent.devices), {self.bob.profile().device_id, second.profile().device_id})

    def test_same_bytes(self) -> None:
        """The device that was there before gets its bytes again, under a new deposit id and a higher n."""
        self.link()
        assert self.alice.wire is not None, "connected"
        self.alice.wire.log.clear()
        self.alice.send("bob", "to both")
        deposits = decoded(self.alice.wire, Side.CLIENT, m.Deposit)
        first, last = deposits[0], deposits[-1]
        self.assertEqual((len(first.to[0].parts), len(last.to[0].parts)), (1, 2))
        self.assertEqual(last.to[0].parts[0], first.to[0].parts[0])
        self.assertEqual(last.common, first.common)
        self.assertNotEqual(last.deposit_id, first.deposit_id)
        self.assertGreater(last.n, first.n)

    def test_all_or_none(self) -> None:
        """
        Where one of two devices has no session yet, nothing is sealed for the other, however often that is tried: neither a
        draft, nor a reset, nor what waits to be made anew.
        """
        self.alice.die()
        self.link()
        profile, now = self.alice.profile(), int(self.world.clock)
        store = self.alice.store.inner
        message_id = messages.compose(self.alice.store, "bob", "to both", now=now)
        with store.writing() as records:
            sealed = self.alice.outbox_seq(message_id, records)
            outbox.prepare(records, profile, sealed, now)
            results.mark_stale(records, sealed)
            contact = contacts.adopt(records, profile, self.bob_account(), now, contacts.DIRECTORY)
            contacts.put_contact(records, msgspec.structs.replace(contact, unannounced=False))
        message_id = messages.compose(self.alice.store, "bob", "draft", now=now)
        with store.writing() as records:
            draft = self.alice.outbox_seq(message_id, records)
            gaps.receive(records, self.leap(profile, contact), None, now)
            reset = next_seq(records)
            body = encode_record(msgspec.structs.replace(receipts.draft_receipt(profile, b"", now), kind=int(Kind.RESET)))
            save(records, OUTBOX, ROWS, OutboxRow(direct("bob"), int(Kind.RESET), 0, now, DAY, body), reset)
        before = dump(store)
        for _ in range(3):
            for order in (sealed, draft, reset):
                with store.writing() as records, self.assertRaises(NeedBundle):
                    outbox.prepare(records, profile, order, now)
        self.assertEqual(dump(store), before)

    def test_base(self) -> None:
        """A new device is told that there was something before its time, and shows that as a gap."""
        second = self.link()
        self.alice.send("bob", "one")
        self.alice.send("bob", "two")
        second.read()
        self.assertEqual([(line.text, line.gap_before) for line in second.has_read], [("one", 1), ("two", 0)])

    def test_two_senders(self) -> None:
        """What two devices of a contact send is counted for each."""
        second = self.link()
        for number in range(3):
            self.bob.send("alice", f"first {number}")
            second.send("alice", f"second {number}")
        self.alice.read()
        self.assertEqual([line.gap_before for line in self.alice.has_read], [0] * 7)

    def test_removed(self) -> None:
        """What was sealed for a device that is gone goes to the one that stays."""
        second = self.link()
        self.alice.send("bob", "to both")
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.CLIENT}
        self.alice.send("bob", "on its way")
        profile = resigned(self.bob.profile(), int(self.world.clock))
        listing = profile.listing
        body = encode_device_list(
            type(listing)(listing.server, "bob", listing.version, listing.previous, listing.issued_at, listing.devices[:1])
        )
        devices = SignedDeviceList(body, profile.identity.sign(DEVICE_LIST_LABEL, body))
        with self.bob.store.inner.writing() as records:
            save_profile(records, evolve(profile, devices=devices))
        self.bob.connect()
        self.alice.connect()
        self.assertEqual(self.bob.read(), ["zero", "to both", "on its way"])
        self.assertEqual(second.read(), ["to both"])


class HorizonTests(WorldCase):
    """What waits for too long."""

    def test_sealed_and_expired(self, **options: int) -> None:
        """A sealed message that waited for a month becomes a void; later ones show no gap."""
        self.alice.send("bob", "zero")
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "too late", **options)
        self.alice.disconnect()
        self.world.settle()
        self.world.clock += 31 * DAY
        self.bob.connect()
        self.alice.connect()
        self.alice.send("bob", "later")
        self.assertEqual(self.alice.sent(message_id).code, "expired")
        self.assertEqual(self.bob.read(), ["zero", "later"])
        self.assertEqual([line.gap_before for line in self.bob.has_read], [0, 0])

    def test_disappearing(self) -> None:
        """So does one that disappears: what takes its place does not."""
        self.test_sealed_and_expired(keep=DAY)

    def test_wrong_clock(self) -> None:
        """A clock that is a month ahead for one login, or from one moment to the next, fails nothing of what waits."""
        waiting = []
        self.alice.send("bob", "before")
        self.bob.send("alice", "answer")
        self.assertEqual(self.bob.read(), ["before"])
        self.alice.disconnect()
        self.world.settle()
        waiting.append(messages.compose(self.alice.store, "bob", "hello", now=self.world.clock))
        self.alice.die()
        agent = self.alice.agent = Agent(
            self.alice.store,
            self.alice.profile(),
            now=lambda: self.world.clock + self.ahead,
            seconds=self.world.seconds,
            soon=self.world.later,
            notify=self.alice.events.append,
            jitter=lambda: 0.5,
        )
        self.ahead = 31 * DAY
        self.alice.connect()
        self.assertIn("clock", self.alice.codes())
        self.assertNotIn("expired", [self.alice.sent(message_id).code for message_id in waiting])
        self.assertEqual(self.bob.read(), ["hello"])
        self.ahead = 0
        self.alice.connect()
        waiting.append(messages.compose(self.alice.store, "bob", "later", now=self.world.clock))
        self.world.advance(3601, ticks=60)
        self.ahead = 31 * DAY
        waiting.append(messages.compose(self.alice.store, "bob", "much later", now=self.world.clock))
        agent.pump()
        self.world.settle()
        self.assertEqual(self.bob.read(), ["later", "much later"])
        self.assertEqual({self.alice.sent(message_id).status for message_id in waiting}, {"accepted"})


class RefusalTests(WorldCase):
    """Codes."""

    def test_need_account(self) -> None:
        """A contact that was not looked up for a day is looked up before the next message."""
        self.alice.send("bob", "zero")
        assert self.alice.wire is not None, "connected"
        self.alice.wire.log.clear()
        self.world.clock += DAY + 1
        self.alice.send("bob", "one")
        self.assertEqual(len(decoded(self.alice.wire, Side.CLIENT, m.Fetch)), 1)
        self.assertEqual(self.bob.read(), ["zero", "one"])

    def test_account_removed(self) -> None:
        """When a contact's account is gone for good, what waits has failed."""
        self.alice.send("bob", "zero")
        self.world.store.remove_account("bob")
        self.bob.die()
        self.bob.is_online = False
        self.world.restart_server()
        self.alice.connect()
        sent = self.alice.sent(self.alice.send("bob", "one"))
        self.assertEqual((sent.status, sent.code), ("failed", "no-such-account"))
        self.assertEqual(outbox_rows(self.alice.store), 0)

    def test_refusals_are_refusals(self) -> None:
        """What a row needs is said as a refusal, so that nothing but a code leaves this layer."""
        self.assertTrue(issubclass(NeedAccount, Refusal))
