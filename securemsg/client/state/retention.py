"""
Retention: how much history is kept.

Of an automatic account, so that nobody can fill the disk; of a person's, only where the person has chosen a time. Ids of
dropped messages stay known, so that nothing is received twice.
"""

from __future__ import annotations

from attrs import frozen

from securemsg.client.state import contacts
from securemsg.client.state.conversations import Conversation, lobby
from securemsg.client.state.counters import out_bucket
from securemsg.client.state.profile import DAY, load_profile
from securemsg.client.state.records import (
    HISTORY,
    INBOUND,
    INDEX,
    OUTBOX,
    QUESTIONS,
    ROWS,
    SENT,
    HistoryRow,
    MessageIndex,
    OutboxRow,
    Status,
    load,
    load_all,
)
from securemsg.interfaces import IProfileStore, IRecords

# In one conversation: messages both ways, and other rows that wait to be sent.
MAX_ROWS = 1000
# As long as the server may keep what was sent, so that a recipient who is missing something can still ask for it.
MAX_AGE = 30 * DAY
# Rows that one call drops at most: of what was there before anything was dropped, some at a time.
PAGE = 256
# Conversations that one transaction trims.
PERSONS = 64


@frozen
class Retention:
    """
    What is kept.

    @ivar rows: of one person.
    @ivar age: seconds.
    """

    rows: int = MAX_ROWS
    age: int = MAX_AGE

    def trim(self, records: IRecords, conversation: Conversation, now: int) -> int:
        """
        Drop messages of a conversation that are too old or too many: the oldest first, and none that is unanswered or may still
        be on its way.

        @return: how many messages were dropped.
        """
        bucket = conversation.bucket
        surplus = records.count(HISTORY, bucket) - self.rows
        dropped, after = 0, -1
        while dropped < PAGE:
            rows = load_all(records, HistoryRow, HISTORY, bucket, after, min(max(surplus - dropped, 1), PAGE))
            for seq, row in rows:
                if dropped >= surplus and now - row.at <= self.age:
                    return dropped
                dropped += drop(records, bucket, seq, row)
                after = seq
            if not rows:
                break
        return dropped

    def sweep(self, store: IProfileStore, now: float) -> None:
        """
        Trim all conversations, and drop rows that wait besides messages: receipts, and messages sent again after a reset.
        """
        with store.writing() as records:
            self._clear_outbox(records)
        with store.reading() as records:
            profile = load_profile(records)
            names = [contact.name for contact in contacts.all_contacts(records)] if profile is not None else []
        for first in range(0, len(names), PERSONS):
            with store.writing() as records:
                for name in names[first : first + PERSONS]:
                    if profile is not None:
                        self.trim(records, profile.conversation(name), int(now))
                        self.trim(records, lobby(name), int(now))

    def _clear_outbox(self, records: IRecords) -> None:
        """Keep only the newest of the rows that are not in history and were not sealed."""
        if records.count(OUTBOX, ROWS) <= self.rows:
            return
        waiting: dict[bytes, list[int]] = {}
        for seq, row in load_all(records, OutboxRow, OUTBOX, ROWS):
            if not row.history and not row.sealed:
                waiting.setdefault(row.to.bucket, []).append(seq)
        for seqs in waiting.values():
            for seq in seqs[: max(len(seqs) - self.rows, 0)]:
                records.delete(OUTBOX, ROWS, seq)


def drop_old(store: IProfileStore, age: int, now: int) -> int:
    """
    Drop the messages of all conversations that are older than this, in seconds, but for those that are unread, or are still to
    be sent.

    @return: how many messages were dropped.
    """
    with store.reading() as records:
        buckets = records.buckets(HISTORY)
    dropped = 0
    for bucket in buckets:
        after, is_more = -1, True
        while is_more:
            with store.writing() as records:
                page = load_all(records, HistoryRow, HISTORY, bucket, after, PAGE)
                old = [(seq, row) for seq, row in page if now - row.at > age and row.status is not Status.QUEUED]
                dropped += sum(drop(records, bucket, seq, row) for seq, row in old)
            is_more = len(page) == PAGE
            after = page[-1][0] if page else after
    return dropped


def drop(records: IRecords, bucket: bytes, seq: int, row: HistoryRow) -> bool:
    """
    Delete a message and what points to it.

    @return: whether that may be.
    """
    content = row.content
    if row.sent:
        known = load(records, MessageIndex, INDEX, content.message_id)
        waiting = load(records, OutboxRow, OUTBOX, ROWS, known.outbox) if known is not None else None
        if known is not None and waiting is not None:
            if waiting.sealed:
                return False
            records.delete(OUTBOX, ROWS, known.outbox)
        records.delete(INDEX, content.message_id)
        if content.counter:
            records.delete(SENT, out_bucket(content.conversation, content.incarnation), content.counter)
    elif records.get(INBOUND, ROWS, seq) is not None:
        return False
    records.delete(HISTORY, bucket, seq)
    records.delete(QUESTIONS, bucket, seq)
    return True
