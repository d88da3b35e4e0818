"""What is not sent: what waits, what has failed, and how it is tried again."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client import messages, unsent
from securemsg.client.messages import PAGE
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.records import (
    HISTORY,
    OUTBOX,
    RECEIPTS,
    ROWS,
    OutboxRow,
    ReceiptRow,
    Status,
    find_sent,
    save,
)
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_EXPIRY
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import START, decoded, outbox_rows
from tests.client.test_histories import BOB, CIA, HistoryCase


class UnsentTests(HistoryCase):
    """In a store, with nobody connected."""

    def compose(self, text: str, to: Conversation = BOB) -> bytes:
        """Write a message."""
        return messages.compose(self.store, to.account, text, now=START)

    def status(self, message_id: bytes) -> tuple[str, str]:
        """What became of a message, and why."""
        found = messages.sent(self.store, message_id)
        assert found is not None
        return found.status, found.code

    def mark(self, message_id: bytes, status: Status = Status.FAILED, code: str = "expired") -> None:
        """What a server's refusal does."""
        with self.store.writing() as records:
            found = find_sent(records, message_id)
            assert found is not None
            known, row = found
            if status is Status.FAILED:
                records.delete(OUTBOX, ROWS, known.outbox)
            save(records, HISTORY, known.conversation.bucket, replace(row, status=status, code=code), known.history)

    def test_waiting(self) -> None:
        """What waits is listed in order; what is no message is counted."""
        self.compose("one")
        self.compose("two", CIA)
        withdrawn = self.compose("gone")
        with self.store.writing() as records:
            found = find_sent(records, withdrawn)
            assert found is not None
            row = OutboxRow(BOB, int(Kind.TEXT), found[0].history, START, MAX_EXPIRY, sealed=True)
            save(records, OUTBOX, ROWS, row, found[0].outbox)
        messages.withdraw(self.store, withdrawn)
        with self.store.writing() as records:
            for number, kind in enumerate((Kind.RECEIPT, Kind.LIST, Kind.VOID, Kind.RESET), 100):
                save(records, OUTBOX, ROWS, OutboxRow(BOB, int(kind), 0, START, MAX_EXPIRY), number)
            save(records, RECEIPTS, b"bob", ReceiptRow(BOB, bytes(16)), 1)
        waiting = unsent.waiting(self.store)
        self.assertEqual([(message.to, message.text) for message in waiting.messages], [("bob", "one"), ("cia", "two")])
        self.assertEqual((waiting.count, waiting.receipts, waiting.lists, waiting.others), (2, 2, 1, 3))
        self.assertEqual((unsent.count(self.store, START), unsent.count(self.store, START, 1)), (2, 1))
        self.assertEqual(unsent.waiting_ids(self.store, START), [message.id for message in waiting.messages])

    def test_bounded(self) -> None:
        """No more are listed than the limit says; all are counted."""
        for number in range(5):
            self.compose(f"{number}")
        found = unsent.waiting(self.store, 3)
        self.assertEqual(([message.text for message in found.messages], found.count), (["0", "1", "2"], 5))

    def test_failed(self) -> None:
        """What has failed lately is listed in order, over all conversations; what failed long ago is not."""
        self.add(BOB, "old", sent=True, at=START - 10, status=Status.FAILED)
        self.add(CIA, "one", sent=True, status=Status.FAILED)
        self.add(BOB, "two", sent=True, status=Status.FAILED)
        self.add(BOB, "fine", sent=True)
        self.add(BOB, "received")
        self.assertEqual([message.text for message in unsent.failed(self.store, START)], ["one", "two"])

    def test_failed_bounded(self) -> None:
        """Of many the newest are listed."""
        count = unsent.MAX_FAILED + PAGE
        self.add(BOB, *(f"{number}" for number in range(count)), sent=True, status=Status.FAILED)
        found = [message.text for message in unsent.failed(self.store, START)]
        self.assertEqual((len(found), found[-1]), (unsent.MAX_FAILED, f"{count - 1}"))

    def test_found(self) -> None:
        """A message is found by the first digits of its id; by the whole id also if it is older."""
        one = messages.compose(self.store, "bob", "one", now=START, message_id=b"\xab\xcd" + bytes(14))
        other = messages.compose(self.store, "cia", "two", now=START - 10, message_id=b"\xab\xce" + bytes(14))
        self.mark(other)
        self.assertEqual([message.id for message in unsent.find(self.store, "abcd", START)], [one])
        self.assertEqual([message.id for message in unsent.find(self.store, "ab", 0)], [one, other])
        self.assertEqual(unsent.find(self.store, "abce", START), [])
        self.assertEqual([message.id for message in unsent.find(self.store, other.hex(), START)], [other])
        self.assertEqual(unsent.find(self.store, "00" * 16, 0), [])

    def test_waits_for_long(self) -> None:
        """What waits is found however old it is."""
        waiting = messages.compose(self.store, "bob", "one", now=START - 100)
        self.assertEqual([message.id for message in unsent.find(self.store, waiting.hex()[:8], START)], [waiting])

    def test_retry(self) -> None:
        """What has failed or was withdrawn is queued again under its id, once; the rest stays as it is."""
        failed, withdrawn, waiting = (self.compose(text) for text in ("failed", "withdrawn", "waiting"))
        self.mark(failed)
        messages.withdraw(self.store, withdrawn)
        for _ in range(2):
            for message_id in (failed, withdrawn, waiting):
                unsent.retry(self.store, message_id, START + 5)
        self.assertEqual([self.status(each) for each in (failed, withdrawn, waiting)], [("queued", "")] * 3)
        self.assertEqual(outbox_rows(self.store), 3)

    def test_clear_codes(self) -> None:
        """Why something waited is forgotten, but for what the user has to decide."""
        refused, held = self.compose("one"), self.compose("two", CIA)
        self.mark(refused, Status.QUEUED, "rate-limited")
        self.mark(held, Status.QUEUED, "identity-changed")
        unsent.clear_codes(self.store, frozenset({"identity-changed"}))
        self.assertEqual(self.status(refused), ("queued", ""))
        self.assertEqual(self.status(held), ("queued", "identity-changed"))


class SendNowTests(WorldCase):
    """With a server."""

    def test_no_pause(self) -> None:
        """What the server has refused for now is sent at once if the user asks for it."""
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        self.alice.send("bob", "one")
        wire.inject(Side.SERVER, m.DepositRefused(decoded(wire, Side.CLIENT, m.Deposit)[-1].deposit_id, "retry-later", []))
        self.world.settle()
        wire.to_server = lambda message: [message]
        self.alice.pump()
        self.assertEqual(self.bob.read(), ["zero"])
        assert self.alice.agent is not None
        self.alice.agent.send_now()
        self.world.settle()
        self.assertEqual(self.bob.read(), ["one"])

    def test_retried(self) -> None:
        """A message that had failed arrives under its own id, once."""
        message_id = self.alice.send("nobody", "hello")
        self.assertEqual(self.alice.sent(message_id).status, "failed")
        nobody = self.world.user("nobody")
        unsent.retry(self.alice.store, message_id, self.world.now())
        self.alice.pump()
        self.assertEqual((self.alice.sent(message_id).status, nobody.read()), ("accepted", ["hello"]))
        self.assertEqual(nobody.has_read[0].id, message_id)
