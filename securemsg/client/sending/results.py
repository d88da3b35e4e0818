"""
The results of outbox rows: accepted, given up, or delayed.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Deposit and delivery".
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from securemsg.client.rooms import ordering, steps
from securemsg.client.state import outpipes
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.counters import chain_digest
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    COUNTERS,
    HISTORY,
    OUTBOX,
    ROWS,
    SEALED,
    STORED,
    HistoryRow,
    LeftOut,
    OutboxRow,
    SealedDeposit,
    Status,
    load,
    load_all,
    load_number,
    remove_row,
    save,
    save_number,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content, Kind, decode_record, encode_record
from securemsg.protocol.messages import Missed

# If the recipient is gone, or we are from the room, nobody misses the counter.
GONE = "no-such-account"
NOT_IN_ROOM = "not-in-room"


def accepted(
    records: IRecords, profile: Profile, seq: int, n: int, server_now: int, missed: Iterable[Missed], now: int
) -> bool:
    """
    The server has accepted a deposit: update the history, and remove the row. A step of a room counts from now on.

    @param n: of the deposit, if it was stored; 0: it was not.
    @param missed: devices that did not get it.
    @return: whether the history has changed.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    sealed = load(records, SealedDeposit, OUTBOX, SEALED, seq) if row is not None and row.to.is_room else None
    remove_row(records, seq)
    if row is not None and row.kind == Kind.LIST:
        steps.accepted(records, profile, row, seq, now)
        return True
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history) if row is not None and row.history else None
    if row is None or history is None:
        return False
    done = msgspec.structs.replace(history, n=n)
    if not row.again or history.status is Status.QUEUED:
        # The recipient's word may come before the server's answer: a receipt, or that the lobby has refused it.
        if history.status not in (Status.DELIVERED, Status.FAILED):
            done = msgspec.structs.replace(done, status=Status.ACCEPTED, code="")
        done = msgspec.structs.replace(done, accepted_at=server_now)
    if sealed is not None and sealed.room is not None:
        absent = {each.account: each.code for each in missed}
        left_out = (*sealed.left_out, *(LeftOut(account, code) for account, code in absent.items()))
        done = msgspec.structs.replace(done, accepted_under=sealed.room.n, missed=left_out)
        ordering.accepted(records, sealed.room.room, sealed.room.n)
    save(records, HISTORY, row.bucket, done, row.history)
    return done.status is not history.status


def note_stored(records: IRecords, n: int) -> None:
    """Note that the server has stored a deposit with this C{n}."""
    if n > load_number(records, COUNTERS, STORED):
        save_number(records, COUNTERS, STORED, n)


def give_up(records: IRecords, seq: int, code: str, now: int) -> OutboxRow | None:
    """
    Give up a row that cannot be sent or was withdrawn. If it was sealed, a void takes its place and its counter.

    @return: the row of the void, if there is one.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None:
        return None
    if row.kind == Kind.LIST:
        steps.lost(records, row, seq, now, code)
    content = content_of(records, row)
    if row.kind == Kind.PART and content is not None:
        outpipes.note_lost(records, content.body, code)
    if row.history and not row.withdrawn and (not row.again or _is_queued(records, row)):
        _mark_history(records, row, Status.FAILED, code)
    remove_row(records, seq)
    if not row.sealed or content is None or not content.counter or content.kind == Kind.VOID or code in (GONE, NOT_IN_ROOM):
        return None
    void = OutboxRow(row.to, int(Kind.VOID), 0, now, row.expiry, encode_record(void_of(content)), home=row.home)
    save(records, OUTBOX, ROWS, void, seq)
    return void


def void_of(content: Content) -> Content:
    """The void that takes the counter of a content that is given up."""
    return msgspec.structs.replace(
        content, message_id=keys.random_id(), kind=int(Kind.VOID), wants_receipt=False, body=chain_digest(content), keep=0
    )


def mark_stale(records: IRecords, seq: int) -> None:
    """Mark a row to be rebuilt: its deposit was not for the recipient's current devices."""
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is not None:
        save(records, OUTBOX, ROWS, msgspec.structs.replace(row, stale=True), seq)


def note_waiting(records: IRecords, seq: int, code: str) -> bool:
    """
    Note in history why a row waits.

    @return: whether the history has changed.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None or not row.history or row.again or row.withdrawn:
        return False
    return _mark_history(records, row, Status.QUEUED, code)


def _is_queued(records: IRecords, row: OutboxRow) -> bool:
    """Whether the history says that this waits to be sent: also of what is sent again because the server has lost it."""
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
    return history is not None and history.status is Status.QUEUED


def _mark_history(records: IRecords, row: OutboxRow, status: Status, code: str) -> bool:
    """Note the status of a row in history."""
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
    if history is None or (history.status, history.code) == (status, code):
        return False
    marked = msgspec.structs.replace(history, status=status, code=code)
    save(records, HISTORY, row.bucket, marked, row.history)
    return True


def drafts(records: IRecords, to: Conversation) -> int:
    """
    Count the messages of a conversation that are not sealed yet, and will use the suite that is chosen by then.
    """
    rows = load_all(records, OutboxRow, OUTBOX, ROWS)
    return sum(row.to == to and row.history > 0 and not (row.sealed or row.withdrawn) for _, row in rows)


def first_code(records: IRecords, to: Conversation) -> str:
    """Why the first message of a conversation that is not sent yet has to wait; empty: nothing holds it up."""
    for _, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        if row.to == to and row.history and not row.withdrawn:
            history = load(records, HistoryRow, HISTORY, to.bucket, row.history)
            return "" if history is None else history.code
    return ""


def content_of(records: IRecords, row: OutboxRow) -> Content | None:
    """The content of a row, if it is known yet."""
    if row.content:
        return decode_record(Content, row.content)
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
    return None if history is None else history.content
