"""Receipts: who asks for it hears that a message arrived."""

from __future__ import annotations

from securemsg.client import messages
from securemsg.client.sessions.resets import draft_receipt
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, next_seq, save
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Kind, Receipt, encode_record
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import decoded


class ReceiptTests(WorldCase):
    """Who asks for it hears that a message arrived."""

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
        self.assertEqual(messages.pending(carol.store), 0)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
