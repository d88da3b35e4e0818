"""
Messages that disappear: each says for how long both ends keep it.

A message of ours is kept that long from its acceptance, one that was received from when it was read. A row in the table says
when to look at it; what waits to be sent or read by then stays.

A clock that is wrong must delete nothing early, and keep nothing for long. So it is remembered when the server last agreed
with ours: without a connection it is believed for some days after that. Source: C{docs/protocol.md}, section "Receiving".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import (
    HISTORY,
    META,
    ROWS,
    HistoryRow,
    Status,
    load,
    load_all,
    load_number,
    save,
    save_number,
)
from securemsg.client.state.retention import drop
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import MAX_KEEP, MIN_KEEP
from securemsg.protocol.messages import Counter, Record

TABLE = "disappearing"  # bucket ROWS: messages by when they are due; that of a conversation: what is chosen for it

# The order of a row: the second in which it is due, then the end of its seq.
_SEQ_BITS = 20
# Rows that one transaction looks at.
PAGE = 256
# Seconds after which a message is looked at again whose encrypted form is still to be sent.
RETRY_DELAY = 60
# How long our clock is believed after the server has last said that it is right, seconds.
BELIEVED = 7 * DAY
# In the table C{META}: when that was; and the latest time at which one of these times began.
_CONFIRMED_AT = b"keep/confirmed"
_NEWEST = b"keep/newest"


class _Due(Record, frozen=True):
    """
    A message to be looked at: the bucket of its conversation, and its seq.

    @ivar since: when its time began, if it was accepted when it was looked at: the server's clock may be ahead of ours.
    """

    bucket: bytes
    seq: Counter
    since: Counter = 0


def chosen(records: IRecords, conversation: Conversation) -> int:
    """For how long what our user writes there is kept, seconds; 0: as long as each end likes."""
    return load_number(records, TABLE, conversation.bucket)


def choose(records: IRecords, conversation: Conversation, keep: int) -> None:
    """
    Choose for how long what our user writes there from now on is kept.

    @raise Refusal: C{bad-request}: too short or too long a time.
    """
    if not keep:
        records.delete(TABLE, conversation.bucket)
        return
    check_keep(keep)
    save_number(records, TABLE, conversation.bucket, keep)


def check_keep(keep: int) -> None:
    """
    Check that a message may be kept for so long.

    @raise Refusal: C{bad-request}.
    """
    if not MIN_KEEP <= keep <= MAX_KEEP:
        raise Refusal("bad-request")


def schedule(records: IRecords, bucket: bytes, seq: int, now: int) -> None:
    """A message was written or read: if it disappears, its time runs from now on."""
    row = load(records, HistoryRow, HISTORY, bucket, seq)
    if row is not None and row.content.keep:
        confirmed_at = load_number(records, META, _CONFIRMED_AT)
        if now < confirmed_at:
            # Our clock is behind: until it is right, nothing says when this time begins.
            now = confirmed_at + BELIEVED
        _put_due(records, _Due(bucket, seq), now + row.content.keep)
        save_number(records, META, _NEWEST, max(now, load_number(records, META, _NEWEST)))


def confirm_clock(records: IRecords, now: int) -> None:
    """The server has said that it is about this time. What was written or read with a clock that was wrong begins now."""
    save_number(records, META, _CONFIRMED_AT, now)
    if load_number(records, META, _NEWEST) <= now:
        return
    save_number(records, META, _NEWEST, now)
    for order, due in load_all(records, _Due, TABLE, ROWS):
        row = load(records, HistoryRow, HISTORY, due.bucket, due.seq)
        if row is not None and order >> _SEQ_BITS > now + row.content.keep:
            records.delete(TABLE, ROWS, order)
            _put_due(records, due, now + row.content.keep)


def sweep(store: IProfileStore, now: int, *, is_confirmed: bool = False) -> int:
    """
    Delete the messages whose time is over.

    @param is_confirmed: whether the server says that our clock is right.
    @return: how many.
    """
    if not is_confirmed:
        with store.reading() as records:
            now = min(now, load_number(records, META, _CONFIRMED_AT) + BELIEVED)
    dropped, is_more = 0, True
    while is_more:
        with store.reading() as records:
            first = load_all(records, _Due, TABLE, ROWS, limit=1)
        if not first or first[0][0] >> _SEQ_BITS > now:
            break
        with store.writing() as records:
            first = load_all(records, _Due, TABLE, ROWS, limit=PAGE)
            page = [(order, due) for order, due in first if order >> _SEQ_BITS <= now]
            for order, due in page:
                records.delete(TABLE, ROWS, order)
                dropped += _end(records, due, now)
        is_more = len(page) == PAGE
    return dropped


def _end(records: IRecords, due: _Due, now: int) -> bool:
    """
    Delete a message that is due, or note when to look at it again.

    @return: whether it was deleted.
    """
    row = load(records, HistoryRow, HISTORY, due.bucket, due.seq)
    if row is None or not row.content.keep:
        return False
    since, later = 0, now
    match row.status:
        case Status.QUEUED:
            later = now + row.content.keep
        case Status.ACCEPTED | Status.DELIVERED:
            since = due.since or min(row.accepted_at or row.delivered_at, now)
            later = since + row.content.keep
    if later <= now:
        if drop(records, due.bucket, due.seq, row):
            return True
        later = now + RETRY_DELAY
    _put_due(records, msgspec.structs.replace(due, since=since), later)
    return False


def _put_due(records: IRecords, due: _Due, at: int) -> None:
    order = at << _SEQ_BITS | due.seq & (1 << _SEQ_BITS) - 1
    while records.get(TABLE, ROWS, order) is not None:
        order += 1
    save(records, TABLE, ROWS, due, order)
