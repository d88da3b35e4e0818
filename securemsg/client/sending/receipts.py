"""Receipts: to tell senders, all at once and not too often, what is committed here."""

from __future__ import annotations

from securemsg.client.sessions.resets import RESET_EXPIRY, draft_receipt
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import OUTBOX, RECEIPTS, ROWS, OutboxRow, ReceiptRow, load_all, next_places, save
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import MAX_RECEIPT_IDS, Kind, Receipt, encode_record

# Rows that are looked at in one transaction.
PAGE = 1024


def make_receipts(records: IRecords, profile: Profile, now: int) -> int:
    """
    Put what is to be confirmed into the outbox, in one message for each sender.

    @return: how many messages that makes.
    """
    senders: dict[tuple[str, bytes], dict[bytes, list[int]]] = {}
    for order, row in load_all(records, ReceiptRow, RECEIPTS, ROWS, limit=PAGE):
        ids = senders.setdefault((row.name, row.device), {})
        if row.message_id in ids or len(ids) < MAX_RECEIPT_IDS:
            ids.setdefault(row.message_id, []).append(order)
    for (name, device), ids in senders.items():
        body = encode_record(Receipt(list(ids)))
        draft = encode_record(draft_receipt(profile, body, now))
        letter = OutboxRow(name, int(Kind.RECEIPT), 0, now, RESET_EXPIRY, draft, device=device)
        save(records, OUTBOX, ROWS, letter, next_places(records))
        for orders in ids.values():
            for order in orders:
                records.delete(RECEIPTS, ROWS, order)
    return len(senders)
