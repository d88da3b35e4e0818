"""Machines that answer keep only so much of what people write to them."""

from __future__ import annotations

import msgspec

from securemsg.client import context, messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.sending import receipts
from securemsg.client.sessions import resets
from securemsg.client.state import retention, settings
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import (
    HISTORY,
    INDEX,
    OUTBOX,
    ROWS,
    SEEN,
    SENT,
    HistoryRow,
    OutboxRow,
    load_all,
    next_seq,
    save,
)
from securemsg.client.state.retention import Retention
from securemsg.client.state.settings import UserSettings
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Kind, Missing, Reset, encode_record
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import decoded

ROOM = 10
TIMES = 3


class RetentionTests(WorldCase):
    """Alice writes to a machine that keeps little."""

    def setUp(self) -> None:
        """It repeats what it is told."""
        super().setUp()
        self.bot = self.world.user("bot")
        self.retention = Retention(rows=ROOM, age=30 * DAY)
        self.asked: list[str] = []

    def answer(self) -> None:
        """Let the machine answer what has come."""

        def echo(question: messages.Received) -> str:
            self.asked.append(question.text)
            return question.text

        Autoresponder(self.bot.store, Immediate(echo), lambda: self.world.clock, retention=self.retention).run()
        self.bot.pump()

    def ask(self, count: int, first: int = 0) -> list[str]:
        """Write so many questions, and have them answered."""
        texts = [f"{number}" for number in range(first, first + count)]
        for text in texts:
            self.alice.send("bot", text)
            self.answer()
        return texts

    def count(self, table: str, name: str | None = None) -> int:
        """How many records of a kind the machine has, of one person or of all."""
        with self.bot.store.reading() as records:
            return len(records.scan(table)) if name is None else records.count(table, direct(name).bucket)

    def test_at_most(self) -> None:
        """However much somebody writes, what is kept is as much as before; every question is answered all the same."""
        texts = self.ask(ROOM * TIMES)
        self.assertEqual(self.count(HISTORY), ROOM)
        self.assertLessEqual(max(self.count(INDEX), self.count(SENT)), ROOM)
        self.assertEqual(self.count(OUTBOX), 0)
        self.assertEqual(self.alice.read(), texts)
        self.assertEqual({line.gap_before for line in self.alice.has_read}, {0})
        self.assertEqual([line.text for line in self.bot.lines("alice")], [text for text in texts[-5:] for _ in range(2)])

    def test_everybody_has_room(self) -> None:
        """Who writes much does not shorten what is kept of others."""
        self.bob.send("bot", "hello")
        self.answer()
        self.ask(ROOM * TIMES)
        self.assertEqual(self.count(HISTORY, "bob"), 2)

    def test_still_known(self) -> None:
        """What was dropped is not taken in again when the server delivers it once more."""
        assert self.bot.wire is not None, "connected"
        self.ask(ROOM * TIMES)
        seen = self.count(SEEN)
        first = decoded(self.bot.wire, Side.SERVER, m.Deliver)[0]
        self.bot.disconnect()
        self.world.settle()
        wire = self.bot.connect()
        wire.inject(Side.SERVER, m.Deliver(1, *[getattr(first, name) for name in first.__struct_fields__[1:]]))
        self.world.settle()
        self.answer()
        self.assertEqual(len(self.asked), ROOM * TIMES)
        self.assertEqual(self.count(SEEN), seen)

    def test_missed_later(self) -> None:
        """Who asks for what was dropped gets nothing, and goes on missing it."""
        self.bot.send("alice", "one")
        self.bot.send("alice", "two")
        self.ask(ROOM * TIMES)
        profile = self.bot.profile()
        with self.alice.store.reading() as records:
            known = get_contact(records, "bot")
        assert known is not None, "they have talked"
        conversation = conversation_of(profile.identity.public, self.alice.profile().identity.public)
        with self.bot.store.writing() as records:
            contact = get_contact(records, "alice")
            assert contact is not None, "they have talked"
            missing = Missing(conversation, profile.incarnation, [1, 2], 10_000)
            body = encode_record(Reset([missing]))
            content = receipts.draft_receipt(profile, body, int(self.world.clock))
            content = msgspec.structs.replace(content, conversation=conversation)
            self.assertEqual(resets.answer_reset(records, profile, contact, content, int(self.world.clock)), 0)

    def test_not_fetched(self) -> None:
        """Answers that cannot be sent do not pile up; those that remain come in order and without a gap."""
        self.bot.disconnect()
        self.world.settle()
        texts = [f"{number}" for number in range(ROOM * TIMES)]
        for text in texts:
            self.alice.send("bot", text)
        wire = self.bot.connect(settle=False)
        wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        self.world.settle()
        self.answer()
        self.assertLessEqual(self.count(HISTORY, "alice"), ROOM + 16)
        self.assertLessEqual(self.count(OUTBOX), 2 * (ROOM + 16))
        self.bot.connect()
        self.assertEqual(self.alice.read(), texts[-ROOM:])
        self.assertEqual({line.gap_before for line in self.alice.has_read}, {0})
        self.assertEqual(self.count(HISTORY, "alice"), ROOM)

    def test_on_its_way(self) -> None:
        """What may have left us stays until the server answers for it."""
        assert self.bot.wire is not None, "connected"
        self.ask(1)
        self.bot.wire.held = {Side.CLIENT}
        self.ask(ROOM, first=1)
        self.assertGreaterEqual(self.count(HISTORY, "alice"), ROOM)
        # Each answer as a row, and as it was sealed.
        self.assertEqual(self.count(OUTBOX), 2 * ROOM)
        self.bot.wire.held = set()
        self.world.settle()
        self.assertEqual(self.alice.read(), [f"{number}" for number in range(ROOM + 1)])
        self.assertEqual({line.gap_before for line in self.alice.has_read}, {0})

    def test_not_answered_yet(self) -> None:
        """What came and was not answered yet stays, whatever its number and age."""
        for number in range(ROOM * TIMES):
            self.alice.send("bot", f"{number}")
        self.world.clock += 31 * DAY
        self.retention.sweep(self.bot.store, self.world.clock)
        self.answer()
        self.assertEqual(len(self.asked), ROOM * TIMES)

    def test_age(self) -> None:
        """After a month everything is gone, also of those who write no more; not before."""
        self.ask(2)
        for moment, kept in ((30 * DAY, 4), (30 * DAY + 1, 0)):
            self.retention.sweep(self.bot.store, self.world.clock + moment)
            self.assertEqual(self.count(HISTORY), kept)
        self.assertEqual((self.count(INDEX), self.count(SENT)), (0, 0))

    def test_receipts_that_wait(self) -> None:
        """Receipts that cannot be sent do not pile up either."""
        self.part(self.bot)
        now = int(self.world.clock)
        draft = encode_record(receipts.draft_receipt(self.bot.profile(), b"", now))
        with self.bot.store.writing() as records:
            for name in ("alice", "bob"):
                for _ in range(ROOM * TIMES if name == "alice" else 2):
                    row = OutboxRow(direct(name), int(Kind.RECEIPT), 0, now, DAY, draft)
                    save(records, OUTBOX, ROWS, row, next_seq(records))
        self.retention.sweep(self.bot.store, now)
        self.assertEqual(self.count(OUTBOX), ROOM + 2)


class KeepTests(WorldCase):
    """A person keeps messages for a time only."""

    def setUp(self) -> None:
        """They have talked two months ago; one message is unread, one not sent."""
        super().setUp()
        for number in range(3):
            self.alice.send("bob", f"a{number}")
            self.bob.read()
            self.bob.send("alice", f"b{number}")
            self.alice.read()
        self.bob.send("alice", "unread")
        self.bob.disconnect()
        self.world.clock += 60 * DAY
        self.alice.send("bob", "young")

    def keep(self, seconds: int) -> list[str]:
        """Alice keeps so much, and what she has then, once she was connected."""
        with self.alice.store.inner.writing() as records:
            settings.put(records, UserSettings(keep=seconds))
        self.alice.disconnect()
        self.alice.connect()
        return self.alice.texts("bob")

    def test_old(self) -> None:
        """What is older goes, but for what was not read."""
        self.assertEqual(self.keep(30 * DAY), ["unread"])
        self.assertEqual(self.alice.read(), ["unread"])
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["young"])

    def test_not_sent(self) -> None:
        """What was not sent in all that time stays until it has failed, which its user can see."""
        self.part(self.alice)
        sent = self.alice.send("bob", "never left")
        self.world.clock += 31 * DAY
        self.keep(30 * DAY)
        self.assertEqual((self.alice.sent(sent).status, self.alice.sent(sent).code), ("failed", "expired"))
        self.keep(30 * DAY)
        self.assertIsNone(messages.sent(self.alice.store, sent))

    def test_out_of_order(self) -> None:
        """What is old goes also where younger ones stand before it."""
        self.patch(retention, "PAGE", 2)
        with self.alice.store.inner.writing() as records:
            for seq, row in load_all(records, HistoryRow, HISTORY, direct("bob").bucket)[:3]:
                save(records, HISTORY, direct("bob").bucket, msgspec.structs.replace(row, at=int(self.world.clock)), seq)
        self.assertEqual(self.keep(30 * DAY), ["b0", "unread"])

    def test_all(self) -> None:
        """Where no time is chosen, and where all is younger, nothing goes."""
        for seconds in (0, 90 * DAY):
            self.assertEqual(len(self.keep(seconds)), 4)

    def test_wrong_clock(self) -> None:
        """A clock that is wrong makes nothing old."""
        self.patch(context, "CLOCK_TOLERANCE", -1)
        self.assertEqual(len(self.keep(30 * DAY)), 4)

    def test_pages(self) -> None:
        """However many there are."""
        self.patch(retention, "PAGE", 2)
        self.assertEqual(self.keep(30 * DAY), ["unread"])
