"""Receipts: who asks for it hears that a message arrived."""

from __future__ import annotations

import msgspec
from attrs import evolve

from securemsg.client import messages
from securemsg.client.sending import receipts
from securemsg.client.sending.receipts import BURST, ROUND, SECONDS, ReceiptRounds, draft_receipt, make_receipts
from securemsg.client.state import invites, verification
from securemsg.client.state.contacts import new_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY, load_profile
from securemsg.client.state.receipts import bucket_of, note_receipt, policy_of
from securemsg.client.state.records import OUTBOX, RECEIPTS, ROWS, OutboxRow, ReceiptRow, find_sent, load_all, next_seq, save
from securemsg.client.state.settings import Policy
from securemsg.crypto.keys import random_id
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import MAX_RECEIPT_IDS, Content, Kind, Receipt, decode_record, encode_record
from securemsg.protocol.states import Side
from securemsg.server.limits import Settings
from tests.client.case import WorldCase
from tests.client.rig import START, User, decoded, outbox_rows


class ReceiptTests(WorldCase):
    """Who asks for it hears that a message arrived, where everybody gets receipts."""

    def setUp(self) -> None:
        """Neither has written to the other yet."""
        super().setUp()
        for user in (self.alice, self.bob):
            user.confirm_to(Policy.EVERYBODY)

    def test_delivered(self) -> None:
        """A receipt says on which device the message is."""
        sent = self.alice.sent(self.alice.send("bob", "hello", wants_receipt=True))
        self.assertEqual((sent.status, sent.devices), ("delivered", (self.bob.profile().device_id,)))
        self.assertEqual(sent.delivered_at, self.world.clock)

    def test_not_asked(self) -> None:
        """Who does not ask is not told."""
        wire = self.bob.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "hello")
        self.assertEqual(decoded(wire, Side.CLIENT, m.Deposit), [])

    def test_together(self) -> None:
        """What came together is confirmed in one message."""
        self.alice.send("bob", "first")
        self.part(self.bob)
        sent = [self.alice.send("bob", f"{number}", wants_receipt=True) for number in range(100)]
        wire = self.bob.connect()
        self.assertEqual({self.alice.sent(message_id).status for message_id in sent}, {"delivered"})
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 1)

    def test_many(self) -> None:
        """A message names no more than its recipient takes; the rest follows."""
        profile, due = self.bob.profile(), ReceiptRow(direct("alice"), random_id())
        with self.bob.store.inner.writing() as records:
            for order in range(1, MAX_RECEIPT_IDS + 2):
                save(records, RECEIPTS, bucket_of(due), msgspec.structs.replace(due, message_id=random_id()), order)
            self.assertEqual(make_receipts(records, profile, START, BURST), 1)
            [(_, row)] = load_all(records, OutboxRow, OUTBOX, ROWS)
            receipt = decode_record(Receipt, decode_record(Content, row.content).body)
            self.assertEqual(len(receipt.message_ids), MAX_RECEIPT_IDS)
            self.assertEqual(records.count(RECEIPTS, bucket_of(due)), 1)

    def test_before_accepted(self) -> None:
        """A receipt that comes before the server's answer is not undone by that."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.to_client = lambda message: [] if isinstance(message, m.Accepted) else [message]
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.assertEqual(self.alice.sent(message_id).status, "delivered")
        self.alice.connect()
        sent = self.alice.sent(message_id)
        self.assertEqual((sent.status, sent.accepted_at), ("delivered", self.world.clock))

    def receipts(self, user: User) -> int:
        """How many deposits somebody made on the present connection; nothing but receipts, here."""
        assert user.wire is not None, "connected"
        return len(decoded(user.wire, Side.CLIENT, m.Deposit))

    def test_one_a_second(self) -> None:
        """However many messages ask for it, their sender gets one receipt a second, which names them all."""
        sent = [self.alice.send("bob", f"{number}", wants_receipt=True) for number in range(50)]
        self.assertEqual(self.receipts(self.bob), 1)
        self.world.advance(ROUND)
        self.assertEqual(self.receipts(self.bob), 2)
        self.assertEqual({self.alice.sent(message_id).status for message_id in sent}, {"delivered"})

    def test_not_lost(self) -> None:
        """A receipt that waits for its second is in the store, and goes out after a restart."""
        first, second = (self.alice.send("bob", text, wants_receipt=True) for text in ("first", "second"))
        self.assertEqual([self.alice.sent(message_id).status for message_id in (first, second)], ["delivered", "accepted"])
        self.bob.die()
        self.bob.connect()
        self.assertEqual(self.alice.sent(second).status, "delivered")

    def test_own_rate(self) -> None:
        """However many people ask, receipts take a quarter of what the server allows; the rest waits, in the store."""
        rounds, profile = ReceiptRounds(), self.bob.profile()
        deposits = Settings().deposits
        self.assertLessEqual((4 * BURST, 1 / SECONDS), (deposits.burst, 1 / deposits.seconds / 4))
        made = 0
        for second in range(2000):
            with self.bob.store.writing() as records:
                for number in range(64):
                    name = f"n{second % 10}.{number}"
                    save(records, RECEIPTS, name.encode(), ReceiptRow(direct(name), bytes(16)), 1)
                made += rounds.make(records, profile, START, second)
                for bucket, order, _ in records.scan(OUTBOX, ROWS):
                    records.delete(OUTBOX, bucket, order)
        self.assertEqual(made, BURST + 1999 // SECONDS)

    def test_fair(self) -> None:
        """Whoever asks for thousands of receipts does not hold up those of others."""
        self.patch(receipts, "PAGE", 64)
        profile = self.bob.profile()
        with self.bob.store.writing() as records:
            for name, count in (("mallory", 3 * receipts.PAGE), ("carol", 1)):
                contact = new_contact(name, bytes(32), "message", 0)
                for number in range(count):
                    note_receipt(records, profile, contact, direct(name), number.to_bytes(16, "big"), START)
            self.assertEqual(make_receipts(records, profile, START, 9), 2)

    def test_repeated(self) -> None:
        """A receipt of the same message is not noted again within an hour, wherever the clock goes."""
        profile = self.bob.profile()
        contact = new_contact("carol", bytes(32), "message", 0)
        with self.bob.store.writing() as records:
            for now, noted in ((START, 1), (START + 3599, 1), (START - 3599, 1), (START + 3600, 2)):
                note_receipt(records, profile, contact, direct("carol"), bytes(16), now)
                self.assertEqual(len(records.scan(RECEIPTS)), noted)

    def test_never_for_receipts(self) -> None:
        """Nobody answers a receipt."""
        self.alice.send("bob", "hello", wants_receipt=True)
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 1)

    def test_not_shown(self) -> None:
        """A receipt is nothing to read, and leaves no gap between messages."""
        self.bob.send("alice", "one")
        self.alice.send("bob", "hello", wants_receipt=True)
        self.bob.send("alice", "two")
        self.assertEqual(self.alice.read(), ["one", "two"])
        self.assertEqual([message.gap_before for message in self.alice.has_read], [0, 0])

    def test_recipient_away(self) -> None:
        """As long as nobody fetched the message it is accepted, not delivered."""
        self.part(self.bob)
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        self.bob.connect()
        self.assertEqual(self.alice.sent(message_id).status, "delivered")

    def test_never_sent(self) -> None:
        """What was never sealed cannot have arrived, whatever its recipient says; it can be sent later."""
        self.part(self.alice)
        withdrawn = self.alice.send("bob", "withdrawn")
        messages.withdraw(self.alice.store, withdrawn)
        self.alice.connect()
        for kind in (Kind.RECEIPT, Kind.READ):
            self.confirm(withdrawn, kind)
            sent = self.alice.sent(withdrawn)
            self.assertEqual((sent.status, sent.read_at), ("withdrawn", 0))

    def confirm(self, message_id: bytes, kind: Kind) -> None:
        """Bob confirms a message, whether he has it or not."""
        body = encode_record(Receipt([message_id]))
        content = encode_record(draft_receipt(self.bob.profile(), body, int(self.world.clock), kind))
        with self.bob.store.inner.writing() as records:
            row = OutboxRow(direct("alice"), int(kind), 0, int(self.world.clock), DAY, content)
            save(records, OUTBOX, ROWS, row, next_seq(records))
        self.bob.pump()

    def test_only_by_recipient(self) -> None:
        """Nobody confirms what was sent to somebody else."""
        carol = self.world.user("carol")
        self.part(self.bob)
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        now = int(self.world.clock)
        body = encode_record(Receipt([message_id]))
        receipt = encode_record(draft_receipt(carol.profile(), body, now))
        draft = OutboxRow(direct("alice"), int(Kind.RECEIPT), 0, now, DAY, receipt)
        with carol.store.writing() as records:
            save(records, OUTBOX, ROWS, draft, next_seq(records))
        carol.pump()
        self.assertEqual(outbox_rows(carol.store), 0)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")


class PolicyTests(WorldCase):
    """Who learns that Bob has a message."""

    def is_confirmed(self) -> bool:
        """Whether Alice learns that a message has come."""
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.world.advance(2, ticks=2)
        return self.alice.sent(message_id).status == "delivered"

    def test_everybody(self) -> None:
        """Strangers too, if that is what he wants."""
        self.bob.confirm_to(Policy.EVERYBODY)
        self.assertTrue(self.is_confirmed())

    def test_nobody(self) -> None:
        """Nobody, not even people he writes to."""
        self.bob.confirm_to(Policy.NOBODY)
        self.bob.send("alice", "hi")
        self.assertFalse(self.is_confirmed())

    def test_strangers(self) -> None:
        """By default strangers learn nothing, also if a machine has answered them."""
        self.assertFalse(self.is_confirmed())
        self.bob.send("alice", "an answer", kind=Kind.ANSWER)
        self.assertFalse(self.is_confirmed())

    def test_written_to(self) -> None:
        """By default whoever he wrote to."""
        self.bob.send("alice", "hi")
        self.assertTrue(self.is_confirmed())

    def test_accepted(self) -> None:
        """By default whoever he accepted."""
        self.alice.send("bob", "here I am")
        with self.bob.store.writing() as records:
            verification.accept(records, "alice", START)
        self.assertTrue(self.is_confirmed())

    def test_inviter(self) -> None:
        """By default whoever invited him."""
        alice = self.alice.profile()
        link = evolve(self.world.link, inviter="alice", inviter_identity=alice.identity.public)
        bob = self.bob.profile()
        with self.bob.store.writing() as records:
            invites.trust_inviter(records, bob, link, START)
        self.assertTrue(self.is_confirmed())

    def test_server(self) -> None:
        """The contact `server` confirms to everybody."""
        bob = self.bob.profile()
        with self.bob.store.reading() as records:
            self.assertIs(policy_of(records, evolve(bob, name="server")), Policy.EVERYBODY)
            self.assertIs(policy_of(records, bob), Policy.KNOWN)


class DefaultTests(WorldCase):
    """What people write asks for receipts, unless they do not want any."""

    def asked(self, to: str, wants_receipt: bool | None = None) -> bool:
        """Whether a message asks."""
        drafts = [messages.Draft(to, "hello", wants_receipt=wants_receipt)]
        [message_id] = messages.compose_all(self.alice.store, drafts, now=self.world.clock)
        assert isinstance(message_id, bytes), message_id
        with self.alice.store.inner.reading() as records:
            found = find_sent(records, message_id)
        assert found is not None, "it was written"
        return found[1].content.wants_receipt

    def test_people(self) -> None:
        """To people it does; the contact `server` answers, and is not asked."""
        self.assertEqual((self.asked("bob"), self.asked("bob", False), self.asked("server")), (True, False, False))

    def test_nobody(self) -> None:
        """Who gives none asks for none, but where that is waited for."""
        self.alice.confirm_to(Policy.NOBODY)
        self.assertEqual((self.asked("bob"), self.asked("bob", True)), (False, True))


class ReadTests(WorldCase):
    """Who wants that tells others what was read."""

    def setUp(self) -> None:
        """They know each other."""
        super().setUp()
        self.bob.send("alice", "hello")
        self.alice.read()

    def seen(self) -> tuple[str, bool]:
        """Bob reads, and what Alice knows of it a moment later; the message was delivered before."""
        number = self.alice.send("bob", "one", wants_receipt=True)
        self.world.advance(3, ticks=3)
        before = self.alice.sent(number)
        self.assertEqual((before.status, before.read_at), ("delivered", 0))
        self.bob.read()
        self.world.advance(3, ticks=3)
        return self.alice.sent(number).status, self.alice.sent(number).read_at > 0

    def test_read(self) -> None:
        """With the setting, the message is read."""
        self.bob.confirm_to(Policy.READ)
        self.assertEqual(self.seen(), ("delivered", True))

    def test_default(self) -> None:
        """Without it, nobody knows."""
        self.assertEqual(self.seen(), ("delivered", False))

    def test_unasked(self) -> None:
        """What did not ask is not confirmed."""
        self.bob.confirm_to(Policy.READ)
        number = self.alice.send("bob", "one")
        self.bob.read()
        self.world.advance(3, ticks=3)
        self.assertEqual((self.alice.sent(number).status, self.alice.sent(number).read_at), ("accepted", 0))

    def test_stranger(self) -> None:
        """Nor is a stranger told anything."""
        self.bob.confirm_to(Policy.READ)
        carol = self.world.user("carol")
        number = carol.send("bob", "one", wants_receipt=True)
        self.bob.read()
        self.world.advance(3, ticks=3)
        self.assertEqual((carol.sent(number).status, carol.sent(number).read_at), ("accepted", 0))

    def test_of_others(self) -> None:
        """Nobody marks as read what was not sent to it."""
        carol = self.world.user("carol")
        number = self.alice.send("bob", "one", wants_receipt=True)
        self.world.advance(3, ticks=3)
        self.alice.send("carol", "hello")
        carol.read()
        with carol.store.inner.writing() as records:
            carol_profile = load_profile(records)
            assert carol_profile is not None
            body = encode_record(Receipt([number]))
            content = encode_record(draft_receipt(carol_profile, body, START, Kind.READ))
            save(records, OUTBOX, ROWS, OutboxRow(direct("alice"), int(Kind.READ), 0, START, 3600, content), next_seq(records))
        carol.pump()
        self.assertEqual((self.alice.sent(number).status, self.alice.sent(number).read_at), ("delivered", 0))
