"""
The records of history, outbox and inbox, and where each lies in the store.

A record is a msgpack array: fields are only ever added at the end, with a default. One sequence numbers everything that is
sent or received: this I{seq} is the order of a row in history, outbox and inbox alike.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import Private, Profile
from securemsg.crypto import keys
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import PQXDH, Content, Kind
from securemsg.protocol.messages import Code, Counter, Id, ListMark, Name, Record, RoomItem

# Tables of the records here; other modules name their own.
OUTBOX = "outbox"
HISTORY = "history"
INBOUND = "inbound"
_LINES, _EVENTS = b"lines/", b"events/"
INDEX = "index"
SEEN = "seen"
SENT = "sent"
COUNTERS = "counters"
RECEIPTS = "receipts"
QUARANTINE = "quarantine"
QUESTIONS = "questions"
META = "meta"

# Buckets that stand beside others in one table; the others are longer or begin otherwise.
ROWS = b""
SEALED = b"sealed"
SEQUENCE = b"sequence"
NUMBER = b"n"
STORED = b"n/stored"
NOTICE = b"notice"
LATE = b"late"
LOGINS = b"logins"
LEAPS = b"leaps"
TOTALS = b"quarantine"
MESSAGE = b"message/"

# In place of what a content gets with its counter.
_NOWHERE = bytes(keys.ID_SIZE)
_NO_LIST = ListMark(0, b"")

# Older notices make room for new ones.
MAX_NOTICES = 200


class Status(enum.StrEnum):
    """The status of a sent message."""

    QUEUED = "queued"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    RECEIVED = "received"


class LeftOut(Record, frozen=True):
    """A member of a room that does not get a message, and why."""

    account: Name
    code: Code


class Outcome(Private, frozen=True):
    """
    What has become of a question. In the row of an answer: what it answers.

    @ivar choice: the index of what was chosen; C{None}: nothing, yet.
    @ivar at: when that was committed here; C{answer}: seq of the answer's history row; C{signature}: of the answer.
    @ivar device: that signed it.
    @ivar closed: nobody waits for an answer any more, and none is taken.
    @ivar question: in the row of an answer: the body of the question.
    """

    choice: Counter | None = None
    at: Counter = 0
    answer: Counter = 0
    signature: bytes = b""
    device: bytes = b""
    closed: bool = False
    question: bytes = b""


class HistoryRow(Private, frozen=True):
    """
    A message, sent or received. Bucket: of the conversation; order: its seq.

    @ivar content: as it was or will be encrypted; while a message is a draft, its counter is 0 and what depends on it is empty.
    @ivar at: when it was committed here.
    @ivar code: why it waits or failed.
    @ivar devices: those that confirmed it.
    @ivar expiry: for how long the server may keep it.
    @ivar suite: that it came with or was sealed with; of a draft: that the user wants now.
    @ivar gap: of a received one: how many counters before it had not come when it came, and may still come.
    @ivar lost: how many before it will not come.
    @ivar note: a code for what is odd about it.
    @ivar lacks_one_time: it opened a session that began without a one-time prekey.
    @ivar n: of the last deposit of it that the server has stored; 0: of none.
    @ivar sender: of a received one in a room: the member's name; else empty.
    @ivar read_at: when it was shown to its recipient, as that one says; 0: that is not known.
    @ivar accepted_under: in a room: the number of the list that it was accepted under; C{missed}: who did not get it, and why.
    @ivar outcome: of a question or an answer; C{None}: it is neither, or a question that is open.
    """

    content: Content
    sent: bool
    at: Counter
    status: Status
    code: Code = ""
    accepted_at: Counter = 0
    delivered_at: Counter = 0
    devices: tuple[Id, ...] = ()
    expiry: Counter = 0
    verified: bool = False
    suite: Annotated[str, Meta(max_length=16)] = PQXDH
    gap: Counter = 0
    lost: Counter = 0
    note: Code = ""
    lacks_one_time: bool = False
    n: Counter = 0
    sender: Name = ""
    accepted_under: Counter = 0
    missed: tuple[LeftOut, ...] = ()
    read_at: Counter = 0
    outcome: Outcome | None = None


class OutboxRow(Private, frozen=True):
    """
    Something to be sent. Bucket: C{ROWS}; order: its seq, which its sealed form shares under C{SEALED}.

    @ivar kind: as in the content.
    @ivar history: seq of its history row; 0 where there is none.
    @ivar content: encoded, of what has no history row of its own.
    @ivar stale: the devices it was sealed for are not those of its recipient any more.
    @ivar again: send what the history row holds once more, as it is: the first time is not undone by what becomes of this,
        unless the server has lost it, and the history says that it is queued.
    @ivar sealed: there is a sealed form: its bytes may have left us.
    @ivar withdrawn: the user has withdrawn it.
    @ivar home: the room whose message is sent again to one of its members; C{None}: C{to}.
    @ivar newcomers: in a room: it may go to members who joined since it was written.
    @ivar at: when it is to be sent, by the clock of this machine; 0: at once.
    """

    to: Conversation
    kind: int
    history: Counter
    created_at: Counter
    expiry: Counter
    content: bytes = b""
    sealed: bool = False
    withdrawn: bool = False
    again: bool = False
    stale: bool = False
    home: Conversation | None = None
    newcomers: bool = False
    at: Counter = 0

    @property
    def bucket(self) -> bytes:
        """Where its history row is."""
        return (self.home or self.to).bucket


class SealedPart(Private, frozen=True):
    """The ciphertext for one device of an account."""

    device: Id
    own: bytes
    account: Name = ""


class SealedDeposit(Private, frozen=True):
    """
    A deposit as it goes over the wire, however often. Bucket: C{SEALED}; order: that of its outbox row.

    @ivar account: that it is for.
    @ivar key: of the common part, for devices that join the account while this waits.
    @ivar suite: of the own parts; empty: not known.
    @ivar key_file: fingerprint of the file that they were sealed under, where the suite has one.
    @ivar room: what the server orders it by, in a room; C{left_out}: members that it is not for.
    """

    deposit_id: Id
    n: Counter
    account: Name
    common: bytes
    key: bytes
    parts: tuple[SealedPart, ...]
    suite: Annotated[str, Meta(max_length=16)] = ""
    key_file: bytes = b""
    room: RoomItem | None = None
    left_out: tuple[LeftOut, ...] = ()


class SentRow(Record, frozen=True):
    """
    What we sent under a counter. Bucket: conversation and incarnation; order: the counter.

    @ivar history: seq of its history row.
    @ivar digest: of the content, for a void in its place.
    """

    conversation: Conversation
    history: Counter
    digest: bytes


class ReceiptRow(Record, frozen=True):
    """
    A receipt that is due for a message. Bucket: see L{securemsg.client.state.receipts.bucket_of}.

    @ivar kind: C{RECEIPT} or C{READ}.
    """

    conversation: Conversation
    message_id: Id
    kind: Counter = Kind.RECEIPT


class UnreadRow(Record, frozen=True):
    """
    An unread message. Bucket: C{ROWS}; order: the seq of its history row. One that comes late has a lower seq than others that
    came earlier; how many of these there were is the number C{LATE} in the table C{META}.

    @ivar was_shown: the observer of an L{securemsg.client.autoresponder.Autoresponder} has seen it.
    """

    conversation: Conversation
    kind: int
    was_shown: bool = False


# What happens in a room, and is not said there.
EVENTS = frozenset({Kind.ENTER, Kind.LEAVE, Kind.ENTERED, Kind.LEFT, Kind.LIST})


def save_unread(records: IRecords, conversation: Conversation, kind: int, seq: int) -> None:
    """Keep that a message is unread: in the order of all of them, and by conversation, so that neither has to be searched."""
    row = UnreadRow(conversation, kind)
    save(records, INBOUND, ROWS, row, seq)
    records.put(INBOUND, _unread_bucket(row), b"", seq)


def index_unread(store: IProfileStore) -> None:
    """Make the buckets of what is unread by conversation, which profiles lack that were made before there were any."""
    with store.reading() as records:
        is_missing = records.buckets(INBOUND) == [ROWS]
    if is_missing:
        with store.writing() as records:
            for seq, row in load_all(records, UnreadRow, INBOUND, ROWS):
                records.put(INBOUND, _unread_bucket(row), b"", seq)


def delete_unread(records: IRecords, seq: int) -> UnreadRow | None:
    """
    Forget that a message is unread.

    @return: its row, if there was one.
    """
    row = load(records, UnreadRow, INBOUND, ROWS, seq)
    if row is not None:
        records.delete(INBOUND, ROWS, seq)
        records.delete(INBOUND, _unread_bucket(row), seq)
    return row


def unread_by_conversation(records: IRecords) -> list[tuple[Conversation, bytes]]:
    """The conversations in which anything is unread, each with a bucket of seqs; what happens in a room has one of its own."""
    found = []
    for bucket in records.buckets(INBOUND):
        if bucket != ROWS:
            [(_, seq, _)] = records.scan(INBOUND, bucket, limit=1)
            row = load(records, UnreadRow, INBOUND, ROWS, seq)
            assert row is not None, "both are saved and deleted together"
            found.append((row.conversation, bucket))
    return found


def is_of_events(bucket: bytes) -> bool:
    """Whether a bucket of unread seqs is one of what happens in a room."""
    return bucket.startswith(_EVENTS)


def _unread_bucket(row: UnreadRow) -> bytes:
    return (_EVENTS if row.kind in EVENTS else _LINES) + row.conversation.bucket


class MessageIndex(Record, frozen=True):
    """Where a message of ours is found. Bucket: its message id."""

    conversation: Conversation
    history: Counter
    outbox: Counter


class Notice(Private, frozen=True):
    """
    A warning for the user, kept until newer ones replace it. Table C{META}, bucket C{NOTICE}.

    @ivar about: what it is about, where code and name do not say it: there may be several such. Empty once that is over.
    """

    at: Counter
    code: Code
    name: Name
    text: str
    about: bytes = b""


class QuarantinedPeer(Record, frozen=True):
    """
    What the quarantine holds of a peer.

    @ivar identity: which the peer had when somebody else's claim to its name put something here; else empty.
    @ivar again: it is to be tried again: the user gave a key.
    @ivar locked: how many of these rows wait for a key file.
    @ivar unreported: how many were asked for again, and the user does not know yet; C{why}: the code of the last one.
    """

    name: Name
    rows: Counter = 0
    identity: bytes = b""
    again: bool = False
    locked: Counter = 0
    unreported: Counter = 0
    why: Code = ""


class QuarantineTotals(Record, frozen=True):
    """What the quarantine holds, and what it had no room for. Table C{META}, bucket C{TOTALS}."""

    rows: Counter = 0
    size: Counter = 0
    overflow: Counter = 0
    peers: tuple[QuarantinedPeer, ...] = ()


class Number(Record, frozen=True):
    """A number of our own."""

    value: Counter


T = TypeVar("T", bound=Record)

_encode = msgspec.msgpack.Encoder().encode


def load(records: IRecords, kind: type[T], table: str, bucket: bytes, order: int = 0) -> T | None:
    """One record, or C{None}."""
    value = records.get(table, bucket, order)
    return None if value is None else msgspec.msgpack.decode(value, type=kind)


def load_all(
    records: IRecords, kind: type[T], table: str, bucket: bytes, after: int = -1, limit: int = -1
) -> list[tuple[int, T]]:
    """The records of a bucket with their orders, ascending."""
    rows = records.scan(table, bucket, after, limit)
    return [(order, msgspec.msgpack.decode(value, type=kind)) for _, order, value in rows]


def load_back(
    records: IRecords, kind: type[T], table: str, bucket: bytes, before: int, limit: int
) -> list[tuple[int, T]]:
    """The last records of a bucket below an order, with their orders, descending."""
    rows = records.scan_back(table, bucket, before, limit)
    return [(order, msgspec.msgpack.decode(value, type=kind)) for order, value in rows]


def save(records: IRecords, table: str, bucket: bytes, record: Record, order: int = 0) -> None:
    """Write or overwrite one record."""
    records.put(table, bucket, _encode(record), order)


def load_number(records: IRecords, table: str, bucket: bytes) -> int:
    """A number of our own; 0 where it was never written."""
    number = load(records, Number, table, bucket)
    return 0 if number is None else number.value


def save_number(records: IRecords, table: str, bucket: bytes, value: int) -> None:
    """Write a number of our own."""
    save(records, table, bucket, Number(value))


def next_seq(records: IRecords, count: int = 1) -> int:
    """Use the next numbers of the sequence, and return the first."""
    last = load_number(records, META, SEQUENCE)
    save_number(records, META, SEQUENCE, last + count)
    return last + 1


def find_sent(records: IRecords, message_id: bytes) -> tuple[MessageIndex, HistoryRow] | None:
    """A sent message, and its index entry."""
    known = load(records, MessageIndex, INDEX, message_id)
    row = None if known is None else load(records, HistoryRow, HISTORY, known.conversation.bucket, known.history)
    return None if known is None or row is None else (known, row)


def load_totals(records: IRecords) -> QuarantineTotals:
    """What the quarantine holds."""
    return load(records, QuarantineTotals, META, TOTALS) or QuarantineTotals()


def draft(profile: Profile, kind: int, now: int, message_id: bytes | None = None) -> Content:
    """A content of ours as it is before it is sealed: an empty one, without a counter and what depends on that."""
    return Content(
        message_id=message_id or keys.random_id(),
        kind=int(kind),
        conversation=_NOWHERE,
        device=profile.device_id,
        incarnation=profile.incarnation,
        counter=0,
        previous=b"",
        continues=(),
        own_list=_NO_LIST,
        peer_list=_NO_LIST,
        sent_at=now,
        wants_receipt=False,
        body=b"",
    )


def unsealed(content: Content) -> Content:
    """A content as it was before it was given its counter, with what depends on that."""
    return msgspec.structs.replace(
        content,
        conversation=_NOWHERE,
        counter=0,
        previous=b"",
        continues=(),
        own_list=_NO_LIST,
        peer_list=_NO_LIST,
    )


def seen_envelope(account: str, device: bytes, common: bytes, own: bytes) -> bytes:
    """The bucket under which these very bytes from this device are known."""
    return b"envelope/" + keys.digest(account.encode("utf-8"), device, common, own)


def seen_message(account: str, message_id: bytes) -> bytes:
    """The bucket under which a message of this account is known: nobody can use up the ids of others."""
    return MESSAGE + account.encode("utf-8") + b"/" + message_id


def add_notice(records: IRecords, notice: Notice) -> None:
    """Save a warning for the user."""
    seq = records.last(META, NOTICE) + 1
    save(records, META, NOTICE, notice, seq)
    records.delete(META, NOTICE, seq - MAX_NOTICES)


def clear_notices(records: IRecords, code: str, name: str) -> None:
    """Delete the warnings that a decision of the user has settled."""
    for seq, notice in load_all(records, Notice, META, NOTICE):
        if (notice.code, notice.name) == (code, name):
            records.delete(META, NOTICE, seq)


def end_notices(records: IRecords, code: str, name: str) -> None:
    """What these warnings are about is over: they stay to be read, and do not keep the next such event quiet."""
    for seq, notice in load_all(records, Notice, META, NOTICE):
        if (notice.code, notice.name) == (code, name):
            save(records, META, NOTICE, msgspec.structs.replace(notice, about=b""), seq)


def remove_row(records: IRecords, seq: int) -> None:
    """Take a row out of the outbox."""
    records.delete(OUTBOX, ROWS, seq)
    records.delete(OUTBOX, SEALED, seq)
