"""Receipts: tell senders which of their messages are committed, in as few messages as possible."""

from __future__ import annotations

import msgspec
from attrs import define, field

from securemsg.client.state.profile import Profile
from securemsg.client.state.receipts import bucket_of
from securemsg.client.state.records import OUTBOX, RECEIPTS, ROWS, OutboxRow, ReceiptRow, draft, next_seq, save
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import MAX_RECEIPT_IDS, Content, Kind, Receipt, decode_record, encode_record
from securemsg.protocol.messages import MAX_EXPIRY

# Rows that one transaction looks at.
PAGE = 4096
# Receipts are made in rounds, one for each conversation, at least so many seconds apart.
ROUND = 1
# Receipts at once, and then one in so many seconds, over all conversations: a quarter of what the server takes from a device is
# the most that others can use up by asking for receipts. The rest stays for what the user writes.
BURST = 50_000
SECONDS = 1


@define(eq=False)
class ReceiptRounds:
    """When receipts may be made, and how many; what was not made waits in the store."""

    _left: float = field(default=BURST, init=False)
    _at: float = field(default=float("-inf"), init=False)

    def is_due(self, seconds: float) -> bool:
        """Whether it is time for a round."""
        return seconds - self._at >= ROUND

    def make(self, records: IRecords, profile: Profile, now: int, seconds: float) -> int:
        """
        Put the receipts that are due into the outbox, one message for each conversation and kind.

        @return: how many messages.
        """
        self._left, self._at = min(self._left + (seconds - self._at) / SECONDS, BURST), seconds
        made = make_receipts(records, profile, now, int(self._left))
        self._left -= made
        return made


def make_receipts(records: IRecords, profile: Profile, now: int, limit: int) -> int:
    """
    Put receipts into the outbox, in at most so many messages.

    @return: how many messages.
    """
    asked: dict[bytes, list[tuple[int, ReceiptRow]]] = {}
    for _, order, data in records.scan(RECEIPTS, limit=PAGE):
        wanted = decode_record(ReceiptRow, data)
        bucket = bucket_of(wanted)
        if bucket in asked or len(asked) < limit:
            rows = asked.setdefault(bucket, [])
            if len(rows) < MAX_RECEIPT_IDS:
                rows.append((order, wanted))
    for bucket, rows in asked.items():
        first = rows[0][1]
        body = encode_record(Receipt([wanted.message_id for _, wanted in rows]))
        content = encode_record(draft_receipt(profile, body, now, first.kind))
        row = OutboxRow(first.conversation, first.kind, 0, now, MAX_EXPIRY, content)
        save(records, OUTBOX, ROWS, row, next_seq(records))
        for order, _ in rows:
            records.delete(RECEIPTS, bucket, order)
    return len(asked)


def draft_receipt(profile: Profile, body: bytes, now: int, kind: int = Kind.RECEIPT) -> Content:
    """The content of a receipt, but for what depends on the contact."""
    return msgspec.structs.replace(draft(profile, Kind(kind), now), body=body)
