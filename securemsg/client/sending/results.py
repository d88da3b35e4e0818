"""
What becomes of the rows of the outbox: accepted, given up, or delayed.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Deposit and delivery".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.conversations import Conversation
from securemsg.client.state.counters import chain_digest
from securemsg.client.state.records import (
    HISTORY,
    OUTBOX,
    ROWS,
    SEALED,
    HistoryRow,
    OutboxRow,
    Status,
    load,
    load_all,
    save,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content, Kind, decode_record, encode_record

# Where there is nobody any more, nobody misses a counter.
GONE = "no-such-account"


def accepted(records: IRecords, seq: int, server_now: int) -> bool:
    """
    The server answers for a deposit.

    @return: whether anybody can see a difference.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    remove(records, seq)
    if row is None or not row.history or row.again:
        return False
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history)
    if history is None:
        return False
    status = Status.DELIVERED if history.status is Status.DELIVERED else Status.ACCEPTED
    done = msgspec.structs.replace(history, status=status, code="", accepted_at=server_now)
    save(records, HISTORY, row.to.bucket, done, row.history)
    return True


def give_up(records: IRecords, seq: int, code: str, now: int) -> OutboxRow | None:
    """
    A row will never be sent, or its user does not want it to be. If it was sealed a void takes its place and its counter.

    @return: the row of the void, if there is one.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None:
        return None
    content = content_of(records, row)
    if row.history and not row.again and not row.withdrawn:
        _mark_history(records, row, Status.FAILED, code)
    remove(records, seq)
    if not row.sealed or content is None or not content.counter or content.kind == Kind.VOID or code == GONE:
        return None
    void = OutboxRow(row.to, int(Kind.VOID), 0, now, row.expiry, encode_record(void_of(content)))
    save(records, OUTBOX, ROWS, void, seq)
    return void


def void_of(content: Content) -> Content:
    """What fills the counter of a content that will not come."""
    return msgspec.structs.replace(
        content, message_id=keys.random_id(), kind=int(Kind.VOID), wants_receipt=False, body=chain_digest(content)
    )


def mark_stale(records: IRecords, seq: int) -> None:
    """The server says that a deposit is not for the devices that there are: it is to be made anew."""
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is not None:
        save(records, OUTBOX, ROWS, msgspec.structs.replace(row, stale=True), seq)


def note_waiting(records: IRecords, seq: int, code: str) -> bool:
    """
    Say in history why a row waits.

    @return: whether that is news.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None or not row.history or row.again or row.withdrawn:
        return False
    return _mark_history(records, row, Status.QUEUED, code)


def _mark_history(records: IRecords, row: OutboxRow, status: Status, code: str) -> bool:
    """Say in history how things stand with a row."""
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history)
    if history is None or (history.status, history.code) == (status, code):
        return False
    marked = msgspec.structs.replace(history, status=status, code=code)
    save(records, HISTORY, row.to.bucket, marked, row.history)
    return True


def drafts(records: IRecords, to: Conversation) -> int:
    """
    How many messages of a conversation are not sealed yet, and so go out with the suite that is chosen when they are.
    """
    rows = load_all(records, OutboxRow, OUTBOX, ROWS)
    return sum(row.to == to and row.history > 0 and not (row.sealed or row.withdrawn) for _, row in rows)


def content_of(records: IRecords, row: OutboxRow) -> Content | None:
    """What a row says, as far as it is known."""
    if row.content:
        return decode_record(Content, row.content)
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history)
    return None if history is None else history.content


def remove(records: IRecords, seq: int) -> None:
    """Take a row out of the outbox."""
    records.delete(OUTBOX, ROWS, seq)
    records.delete(OUTBOX, SEALED, seq)
