"""Receipts: tell senders which of their messages are committed, in as few messages as possible."""

from __future__ import annotations

from securemsg.client.sessions.resets import RESET_EXPIRY, draft_receipt
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import OUTBOX, RECEIPTS, ROWS, OutboxRow, ReceiptRow, load_all, next_seq, save
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import MAX_RECEIPT_IDS, Kind, Receipt, encode_record

# Rows that one transaction looks at.
PAGE = 1024


def make_receipts(records: IRecords, profile: Profile, now: int) -> int:
    """
    Put the receipts that are due into the outbox, one message for each conversation.

    @return: how many messages.
    """
    asked: dict[Conversation, dict[bytes, list[int]]] = {}
    for seq, wanted in load_all(records, ReceiptRow, RECEIPTS, ROWS, limit=PAGE):
        ids = asked.setdefault(wanted.conversation, {})
        if wanted.message_id in ids or len(ids) < MAX_RECEIPT_IDS:
            ids.setdefault(wanted.message_id, []).append(seq)
    for conversation, ids in asked.items():
        body = encode_record(Receipt(list(ids)))
        draft = encode_record(draft_receipt(profile, body, now))
        row = OutboxRow(conversation, int(Kind.RECEIPT), 0, now, RESET_EXPIRY, draft)
        save(records, OUTBOX, ROWS, row, next_seq(records))
        for seqs in ids.values():
            for seq in seqs:
                records.delete(RECEIPTS, ROWS, seq)
    return len(asked)
