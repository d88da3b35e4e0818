"""How much resets can make a client remember and send."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import resets
from securemsg.client.sessions.resets import MAX_ASKED, MAX_DUE, MAX_RESENT, RESEND_AGE, RESETS, Dues
from securemsg.client.state import contacts
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import BASES, GAPS, STREAMS, Begin, conversation_of, out_bucket
from securemsg.client.state.gaps import Gap
from securemsg.client.state.records import (
    COUNTERS,
    HISTORY,
    META,
    OUTBOX,
    ROWS,
    SENT,
    HistoryRow,
    OutboxRow,
    SentRow,
    Status,
    draft,
    load,
    load_all,
    save,
)
from securemsg.protocol.envelope import Kind, Missing, Reset, decode_record, encode_record
from securemsg.protocol.messages import MIN_EXPIRY
from securemsg.storage.memory import MemoryProfile
from tests.client.people import NOW, friends, person


class DueTests(SynchronousTestCase):
    """Peers that wait for a reset."""

    def test_bounded(self) -> None:
        """So many wait at once; others follow with their next message, and one that waits already stays."""
        with MemoryProfile().writing() as records:
            profile = person("bob").profile
            names = [f"peer{number}" for number in range(MAX_DUE + 2)]
            for name in (*names, names[0]):
                resets.request_reset(records, profile, name, bytes(16), NOW, gaps=False)
            kept = load(records, Dues, META, RESETS)
            assert kept is not None, "some wait"
            self.assertEqual([due.name for due in kept.dues], names[:MAX_DUE])


class AskTests(SynchronousTestCase):
    """What a reset of Alice's asks for."""

    def test_given_up(self) -> None:
        """A counter that was asked for so many times is not asked for any more, whatever else is."""
        alice, bob = friends()
        conversation = conversation_of(alice.profile.identity.public, bob.profile.identity.public)
        stream = bob.profile.device_id + bob.profile.incarnation.to_bytes(8, "big") + conversation
        with alice.store.writing() as records:
            records.put(COUNTERS, STREAMS + conversation, stream, 1)
            for counter, asked in ((1, MAX_ASKED), (2, MAX_ASKED - 1), (3, 0)):
                save(records, COUNTERS, GAPS + stream, Gap(counter, NOW, asked=asked), counter)
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they are friends"
            body = resets.make_reset_body(records, alice.profile, contact, NOW)
        self.assertEqual([missing.counters for missing in decode_record(Reset, body).missing], [[2, 3]])


class AnswerTests(SynchronousTestCase):
    """Alice has sent Bob more than one reset may ask for, in two incarnations."""

    def setUp(self) -> None:
        """Bob has seen nothing of it."""
        self.alice, self.bob = friends()
        profile = self.alice.profile
        self.conversation = conversation_of(profile.identity.public, self.bob.profile.identity.public)
        self.incarnations = (profile.incarnation - 1, profile.incarnation)

    def sent(self, incarnation: int, counter: int, at: int, status: Status = Status.ACCEPTED) -> None:
        """Alice sent a message under this counter."""
        content = msgspec.structs.replace(
            draft(self.alice.profile, Kind.TEXT, at), conversation=self.conversation, incarnation=incarnation, counter=counter
        )
        with self.alice.store.writing() as records:
            seq = records.last(HISTORY, direct("bob").bucket) + 1
            row = HistoryRow(content, sent=True, at=at, status=status, expiry=2 * RESEND_AGE)
            save(records, HISTORY, direct("bob").bucket, row, seq)
            save(records, SENT, out_bucket(self.conversation, incarnation), SentRow(direct("bob"), seq, bytes(32)), counter)

    def answered(self, missing: list[Missing]) -> int:
        """How many messages Alice sends again for this reset."""
        content = msgspec.structs.replace(
            draft(self.bob.profile, Kind.RESET, NOW), conversation=self.conversation, body=encode_record(Reset(missing))
        )
        contact = self.alice.contact(self.bob)
        with self.alice.store.writing() as records:
            before = records.count(OUTBOX, ROWS)
            made = resets.answer_reset(records, self.alice.profile, contact, content, NOW)
            self.assertEqual(records.count(OUTBOX, ROWS), before + made)
        return made

    def test_resent(self) -> None:
        """At most so many are sent again for one reset, over all that it names."""
        each = MAX_RESENT // 2 + 10
        for incarnation in self.incarnations:
            for counter in range(1, each + 1):
                self.sent(incarnation, counter, NOW)
        wanted = [Missing(self.conversation, incarnation, [], 1) for incarnation in self.incarnations]
        self.assertEqual(self.answered(wanted), MAX_RESENT)

    def test_resent_listed(self) -> None:
        """Counters that it lists count as well as those behind."""
        for counter in range(1, MAX_RESENT + 21):
            self.sent(self.incarnations[1], counter, NOW)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], list(range(1, 13)), 13)]), MAX_RESENT)

    def test_old(self) -> None:
        """To a contact that names nothing of ours nothing is sent again that is older than 30 days; who names it gets it."""
        self.sent(self.incarnations[1], 1, NOW - RESEND_AGE - 1)
        self.sent(self.incarnations[1], 2, NOW - RESEND_AGE)
        start = self.alice.store.snapshot()
        self.assertEqual(self.answered([]), 1)
        self.alice.restore(start)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], [], 1)]), 2)

    def test_expired(self) -> None:
        """What the server would hardly keep any more is not sent again."""
        for counter, left in ((1, MIN_EXPIRY - 1), (2, MIN_EXPIRY)):
            self.sent(self.incarnations[1], counter, NOW + left - 2 * RESEND_AGE)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], [], 1)]), 1)

    def test_taken_back(self) -> None:
        """What was withdrawn, or has failed, stays unread: a void takes its counter."""
        for counter, status in ((1, Status.WITHDRAWN), (2, Status.FAILED), (3, Status.DELIVERED)):
            self.sent(self.incarnations[1], counter, NOW, status)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], [], 1)]), 3)
        with self.alice.store.reading() as records:
            kinds = [row.kind for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)]
        self.assertEqual(kinds, [Kind.VOID, Kind.VOID, Kind.TEXT])

    def test_waiting(self) -> None:
        """What is about to be sent again is not put into the outbox once more."""
        self.sent(self.incarnations[1], 1, NOW)
        self.sent(self.incarnations[1], 2, NOW)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], [1], 3)]), 1)
        self.assertEqual(self.answered([Missing(self.conversation, self.incarnations[1], [], 1)]), 1)

    def test_new_device(self) -> None:
        """A device that names nothing of ours gets nothing again that was sent before it was there."""
        for incarnation in self.incarnations:
            for counter in (1, 2, 3):
                self.sent(incarnation, counter, NOW)
        begin = Begin(self.incarnations[1], 2)
        with self.alice.store.writing() as records:
            save(records, COUNTERS, BASES + self.bob.profile.device_id + self.conversation, begin)
        self.assertEqual(self.answered([]), 1)

    def test_never_used(self) -> None:
        """What was never sent is not answered for, by a void or anything: it would only show that Alice is online."""
        self.sent(self.incarnations[1], 1, NOW)
        made_up = [Missing(self.conversation, incarnation, [2, 3], 4) for incarnation in (7, *self.incarnations)]
        self.assertEqual(self.answered(made_up), 0)
