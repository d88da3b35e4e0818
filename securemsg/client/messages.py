"""
What user interfaces ask of a profile's store, in any process: write a message into history and outbox, follow it, read others.

Nothing here uses the network or a session: that is left to the owner of the profile's lock (L{securemsg.client.agent}).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec
from attrs import evolve, field, frozen

from securemsg.client.rooms import store as rooms
from securemsg.client.rooms.events import RoomEvent
from securemsg.client.rooms.store import NO_LIST, Room, RoomState
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import pinned_suite
from securemsg.client.state import disappearing, preferences, quarantine, questions
from securemsg.client.state.conversations import Conversation, ConversationKind, direct
from securemsg.client.state.gaps import open_gaps
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.state.questions import Asked
from securemsg.client.state.receipts import asks, note_read
from securemsg.client.state.records import (
    HISTORY,
    INBOUND,
    INDEX,
    META,
    NOTICE,
    OUTBOX,
    ROWS,
    HistoryRow,
    LeftOut,
    MessageIndex,
    Notice,
    OutboxRow,
    QuarantinedPeer,
    Status,
    UnreadRow,
    delete_unread,
    draft,
    find_sent,
    is_of_events,
    load,
    load_all,
    load_back,
    load_totals,
    next_seq,
    save,
    unread_by_conversation,
    unsealed,
)
from securemsg.client.times import MAX_DELAY
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import check_name
from securemsg.protocol.envelope import (
    FROM_LOBBY,
    LINES,
    MAX_LOBBY_TEXT,
    WITH_TEXT,
    Content,
    Kind,
    Person,
    RefusedLine,
    RelayedLine,
    decode_record,
)
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT, MIN_EXPIRY
from securemsg.protocol.rooms import RoomInvite

# Messages that are read in one transaction, to bound memory.
PAGE = 500
# The code of a message that its user must let go.
ROOM_CHANGED = "room-changed"
# No seq is higher.
LAST_SEQ = 2**63 - 1
# The end of the year 9999, the last that can be shown: a sender's clock may say anything.
LAST_SECOND = 253_402_300_799


@frozen
class Sent:
    """
    A sent message, and its status.

    @ivar status: C{queued}, C{accepted}, C{delivered}, C{failed} or C{withdrawn}.
    @ivar code: why it waits or failed, or empty.
    @ivar accepted_at: by the server's clock; 0: not yet. C{delivered_at}: when its receipt came; C{read_at}: when it was said
        that it was read; 0: not yet.
    @ivar devices: ids of the recipient's devices that confirmed it.
    @ivar lacks_one_time: it opened a session that began without a one-time prekey.
    @ivar missed: in a room: members who do not get it, and why.
    @ivar keep: for how long both ends keep it, seconds; 0: as long as each likes.
    @ivar at: in a list of what waits: when it is to be sent; 0: at once.
    @ivar question: that it asks, or answers.
    """

    seq: int
    id: bytes
    conversation: Conversation
    status: str
    code: str
    sent_at: int
    accepted_at: int
    delivered_at: int
    devices: tuple[bytes, ...]
    text: str = field(repr=False)
    kind: int
    suite: str
    lacks_one_time: bool = False
    missed: tuple[LeftOut, ...] = ()
    read_at: int = 0
    keep: int = 0
    at: int = 0
    question: Asked | None = None

    @property
    def to(self) -> str:
        """The name of the recipient, or of the room."""
        return self.conversation.name

    @property
    def needs_relay(self) -> bool:
        """Whether it was said in the lobby: it is delivered once it is relayed, and may be refused after it was accepted."""
        return self.conversation.kind is ConversationKind.LOBBY and self.kind in LINES

    @property
    def room(self) -> str:
        """The name of the room that it was said in; empty: in none."""
        return self.conversation.room


@frozen
class Received:
    """
    A received message.

    @ivar seq: its place in the profile's history, for L{mark_read}.
    @ivar sender: an account, or a guest; in the lobby: whom C{server} says it is from, or about.
    @ivar sent_at: the sender's clock; C{received_at}: when it was committed here.
    @ivar verified: whether the sender's identity was verified when it came.
    @ivar gap_before: how many messages of this sender, right before this one, are missing.
    @ivar device: the sender's device that sent it.
    @ivar note: what is odd about it: C{unsupported}, C{late}, C{forked}, C{repeated}; mostly empty.
    @ivar lacks_one_time: it opened a session that began without a one-time prekey.
    @ivar event: what has changed in a room, where it is no text; C{invite}: the invitation that it is.
    @ivar keep: as in L{Sent}; C{question} likewise.
    """

    seq: int
    id: bytes
    sender: str
    to: str
    sent_at: int
    received_at: int
    text: str = field(repr=False)
    kind: int
    verified: bool
    suite: str
    gap_before: int
    note: str
    device: bytes = b""
    lacks_one_time: bool = False
    event: RoomEvent | None = None
    invite: RoomInvite | None = None
    keep: int = 0
    question: Asked | None = None
    conversation: Conversation = field()

    @conversation.default
    def _of_accounts(self) -> Conversation:
        return direct(self.sender)

    @property
    def room(self) -> str:
        """The name of the room that it was said in; empty: in none."""
        return self.conversation.room


Line = Sent | Received


def as_sent(conversation: Conversation, seq: int, row: HistoryRow) -> Sent:
    """A row of history as a message."""
    content, asked = row.content, questions.asked_in(row)
    return Sent(
        seq=seq,
        id=content.message_id,
        conversation=conversation,
        status=row.status.value,
        code=row.code,
        sent_at=content.sent_at,
        accepted_at=row.accepted_at,
        delivered_at=row.delivered_at,
        devices=row.devices,
        text=content.body.decode("utf-8", "replace") if asked is None else asked.said,
        kind=content.kind,
        suite=row.suite,
        lacks_one_time=row.lacks_one_time,
        missed=row.missed,
        read_at=row.read_at,
        keep=content.keep,
        question=asked,
    )


def as_received(records: IRecords, profile: Profile, conversation: Conversation, seq: int, row: HistoryRow) -> Received:
    """A row of history as a message."""
    content, account, asked = row.content, row.sender or conversation.account, questions.asked_in(row)
    if not conversation.room:
        # Guests with one key file share a history.
        conversation = profile.conversation(account, content.device)
    said = Received(
        seq=seq,
        id=content.message_id,
        sender=account,
        to=profile.name,
        sent_at=min(content.sent_at, LAST_SECOND),
        received_at=row.at,
        text=content.body.decode("utf-8", "replace") if asked is None else asked.said,
        kind=content.kind,
        verified=row.verified,
        suite=row.suite,
        gap_before=row.lost + open_gaps(records, content, row.gap),
        note=row.note,
        device=content.device,
        lacks_one_time=row.lacks_one_time,
        keep=content.keep,
        question=asked,
        conversation=conversation,
    )
    if content.kind == Kind.LIST:
        event = decode_record(RoomEvent, content.body)
        return evolve(said, sender=event.author, text=event.title, event=event)
    if content.kind == Kind.INVITE:
        invite = decode_record(RoomInvite, content.body)
        return evolve(said, text=invite.title, invite=invite)
    return _from_lobby(said, content) if content.kind in FROM_LOBBY else said


def as_line(records: IRecords, profile: Profile, conversation: Conversation, seq: int, row: HistoryRow) -> Line:
    """A row of history as a message."""
    if row.sent:
        return as_sent(conversation, seq, row)
    return as_received(records, profile, conversation, seq, row)


def _from_lobby(said: Received, content: Content) -> Received:
    """What C{server} says of the lobby, as from the person that it is about; nobody's number was compared for that."""
    said = evolve(said, verified=False, device=b"", text="")
    match content.kind:
        case Kind.RELAYED:
            line = decode_record(RelayedLine, content.body)
            text, sent_at = line.text.decode("utf-8", "replace"), min(line.sent_at, LAST_SECOND)
            return evolve(said, sender=line.author, id=line.message_id, kind=line.kind, sent_at=sent_at, text=text)
        case Kind.ENTERED | Kind.LEFT:
            return evolve(said, sender=decode_record(Person, content.body).name)
        case Kind.REFUSED:
            refused = decode_record(RefusedLine, content.body)
            return evolve(said, id=refused.message_id, text=refused.code)
    return said


@frozen
class Draft:
    """
    A text that is to be sent; see L{compose}.

    @ivar to: the name of an account, or of a room.
    @ivar wants_receipt: C{None}: as the user has chosen for the profile.
    @ivar keep: for how long both ends keep it, seconds; 0: as long as each likes; C{None}: as chosen for the conversation.
    @ivar at: when it is to be sent, up to L{MAX_DELAY} from now; 0: at once.
    """

    to: str
    text: str = field(repr=False)
    message_id: bytes | None = None
    wants_receipt: bool | None = None
    expiry: int = MAX_EXPIRY
    to_newcomers: bool = False
    keep: int | None = None
    at: int = 0


def compose(
    store: IProfileStore,
    to: str,
    text: str,
    *,
    now: float,
    message_id: bytes | None = None,
    wants_receipt: bool = False,
    expiry: int = MAX_EXPIRY,
    kind: int = Kind.TEXT,
    to_newcomers: bool = False,
    keep: int | None = None,
) -> bytes:
    """
    Commit a message to the outbox. It is sent once there is a connection.

    With the same id, recipient and text it is the same message: nothing new is sent, except that a message that failed or was
    withdrawn is tried again.

    @param to: the name of an account.
    @return: its message id.
    @raise Refusal: see L{compose_in}.
    """
    with store.writing() as records:
        conversation = rooms.conversation(records, own_profile(records), to)
        return compose_in(
            records,
            conversation,
            text,
            now=int(now),
            message_id=message_id,
            wants_receipt=wants_receipt,
            expiry=expiry,
            kind=kind,
            to_newcomers=to_newcomers,
            keep=keep,
        )


def compose_all(store: IProfileStore, drafts: Iterable[Draft], *, now: float) -> list[bytes | Refusal]:
    """
    As L{compose}, for several drafts in one transaction.

    @return: of each its message id, or why it is refused: the others are committed all the same.
    """
    written: list[bytes | Refusal] = []
    with store.writing() as records:
        for each in drafts:
            try:
                profile = own_profile(records)
                to = rooms.conversation(records, profile, each.to)
                written.append(
                    compose_in(
                        records,
                        to,
                        each.text,
                        now=int(now),
                        message_id=each.message_id,
                        wants_receipt=asks(records, profile, to) if each.wants_receipt is None else each.wants_receipt,
                        expiry=each.expiry,
                        to_newcomers=each.to_newcomers,
                        keep=each.keep,
                        at=each.at,
                    )
                )
            except Refusal as refusal:
                # Nothing has changed: it is refused before anything is written.
                written.append(refusal)
    return written


def compose_in(
    records: IRecords,
    to: Conversation,
    text: str,
    *,
    now: int,
    message_id: bytes | None = None,
    wants_receipt: bool = False,
    expiry: int = MAX_EXPIRY,
    kind: int = Kind.TEXT,
    to_newcomers: bool = False,
    keep: int | None = None,
    at: int = 0,
) -> bytes:
    """
    As L{compose}, within a transaction.

    @param to_newcomers: in a room: it may go to members who join before it is accepted.
    @param keep: see L{Draft}; an answer or a text is kept so.
    @param at: see L{Draft}.
    @raise Refusal: C{no-such-account}: no guest of this name is known. C{too-large}, C{lobby-too-large}, C{illegal-name},
        C{bad-request} (to ourselves, or an invalid expiry or time), C{lobby-keep}, C{conflict} (the id belongs to another
        message), C{no-profile}.
    """
    body = _encode_text(text)
    if len(body) > text_limit(to):
        raise Refusal("lobby-too-large" if to.kind is ConversationKind.LOBBY else "too-large")
    return write_in(
        records,
        to,
        body,
        now=now,
        message_id=message_id,
        wants_receipt=wants_receipt,
        expiry=expiry,
        kind=kind,
        to_newcomers=to_newcomers,
        keep=keep,
        at=at,
    )


def text_limit(conversation: Conversation) -> int:
    """The longest text of a message there, in bytes."""
    return MAX_LOBBY_TEXT if conversation.kind is ConversationKind.LOBBY else MAX_TEXT


def write_in(
    records: IRecords,
    to: Conversation,
    body: bytes,
    *,
    now: int,
    message_id: bytes | None = None,
    wants_receipt: bool = False,
    expiry: int = MAX_EXPIRY,
    kind: int = Kind.TEXT,
    to_newcomers: bool = False,
    keep: int | None = None,
    at: int = 0,
) -> bytes:
    """
    As L{compose_in}, with a body that is made already.

    @raise Refusal: likewise.
    """
    profile = own_profile(records)
    peer_list = NO_LIST
    if to.is_room:
        peer_list = _writable_room(records, to).mark
    else:
        check_name(to.account)
    if to.account == profile.name or (to.is_room and wants_receipt) or not MIN_EXPIRY <= expiry <= MAX_EXPIRY:
        raise Refusal("bad-request")
    if at > now + MAX_DELAY:
        raise Refusal("bad-request")
    message_id = keys.random_id() if message_id is None else message_id
    if len(message_id) != keys.ID_SIZE:
        raise Refusal("bad-request")
    if not to.is_room and preferences.get(records, to.account).is_blocked:
        raise Refusal("contact-blocked")
    if not PEERS[to.kind].is_known(records, to):
        raise Refusal("no-such-account")
    if keep is None:
        keep = disappearing.chosen(records, to) if kind in WITH_TEXT else 0
    elif keep:
        disappearing.check_keep(keep)
        if to.kind is ConversationKind.LOBBY:
            raise Refusal("lobby-keep")
    known = load(records, MessageIndex, INDEX, message_id)
    if known is not None:
        repeat(records, known, to, kind, body, now, at)
        return message_id
    sent_at = max(now, at)
    seq = next_seq(records)
    content = msgspec.structs.replace(
        draft(profile, kind, sent_at, message_id), wants_receipt=wants_receipt, body=body, peer_list=peer_list, keep=keep
    )
    suite = pinned_suite(records, to).suite
    row = HistoryRow(content, sent=True, at=now, status=Status.QUEUED, expiry=expiry, suite=suite)
    save(records, HISTORY, to.bucket, row, seq)
    save(records, OUTBOX, ROWS, OutboxRow(to, int(kind), seq, sent_at, expiry, newcomers=to_newcomers, at=at), seq)
    save(records, INDEX, message_id, MessageIndex(to, seq, seq))
    disappearing.schedule(records, to.bucket, seq, now)
    return message_id


def _writable_room(records: IRecords, to: Conversation) -> Room:
    """
    The room of a conversation, if messages may be written there.

    @raise Refusal: C{not-in-room}.
    """
    room = rooms.get_room(records, to.room_id)
    if room is None or room.state in (RoomState.INVITED, RoomState.OUT, RoomState.LEAVING):
        raise Refusal("not-in-room")
    return room


def let_go(store: IProfileStore, name: str) -> int:
    """
    Let the messages go that wait because somebody has joined a room since they were written.

    @return: how many there are.
    @raise Refusal: C{no-such-room}; C{room-unclear}.
    """
    with store.writing() as records:
        to = rooms.find_room(records, name).conversation
        held = _held(records, to)
        for seq, row, history in held:
            save(records, OUTBOX, ROWS, msgspec.structs.replace(row, newcomers=True), seq)
            save(records, HISTORY, to.bucket, msgspec.structs.replace(history, code=""), row.history)
        return len(held)


def is_any_waiting(records: IRecords, to: Conversation) -> bool:
    """Whether a message to somebody is still to be sent."""
    return any(row.to == to and row.history for _, row in load_all(records, OutboxRow, OUTBOX, ROWS))


def held(store: IProfileStore, name: str) -> list[bytes]:
    """
    The ids of the messages that wait because somebody has joined a room since they were written.

    @raise Refusal: C{no-such-room}; C{room-unclear}.
    """
    with store.reading() as records:
        to = rooms.find_room(records, name).conversation
        return [history.content.message_id for _, _, history in _held(records, to)]


def _held(records: IRecords, to: Conversation) -> list[tuple[int, OutboxRow, HistoryRow]]:
    found = []
    for seq, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        history = load(records, HistoryRow, HISTORY, to.bucket, row.history) if row.to == to and row.history else None
        if history is not None and history.code == ROOM_CHANGED and not row.withdrawn:
            found.append((seq, row, history))
    return found


def sent(store: IProfileStore, message_id: bytes) -> Sent | None:
    """A sent message by its id; C{None}: there is none."""
    with store.reading() as records:
        return sent_in(records, message_id)


def sent_in(records: IRecords, message_id: bytes) -> Sent | None:
    """As L{sent}, within a transaction."""
    found = find_sent(records, message_id)
    return as_sent(found[0].conversation, found[0].history, found[1]) if found else None


def first_with_status(store: IProfileStore, message_ids: Iterable[bytes], statuses: Collection[str]) -> list[Sent | None]:
    """The first of these messages, up to one that has none of these statuses; C{None} for each that has disappeared since."""
    found: list[Sent | None] = []
    with store.reading() as records:
        for message_id in message_ids:
            message = sent_in(records, message_id)
            if message is not None and message.status not in statuses:
                break
            found.append(message)
    return found


def withdraw(store: IProfileStore, message_id: bytes) -> bool:
    """
    Withdraw a message that is not accepted yet. Nothing happens to one that was accepted, or failed.

    @return: whether it may have been sent: then a void takes its counter, and the recipient may have got it anyway.
    """
    with store.writing() as records:
        found = find_sent(records, message_id)
        if found is None:
            return False
        known, row = found
        if row.status is not Status.QUEUED:
            return row.status in (Status.ACCEPTED, Status.DELIVERED) or row.content.counter > 0
        waiting = load(records, OutboxRow, OUTBOX, ROWS, known.outbox)
        sealed = waiting is not None and waiting.sealed
        if waiting is not None and sealed:
            withdrawn = msgspec.structs.replace(waiting, withdrawn=True)
            save(records, OUTBOX, ROWS, withdrawn, known.outbox)
        else:
            records.delete(OUTBOX, ROWS, known.outbox)
        gone = msgspec.structs.replace(row, status=Status.WITHDRAWN, code="")
        save(records, HISTORY, known.conversation.bucket, gone, known.history)
        return sealed or row.content.counter > 0


def unread(store: IProfileStore, sender: str | None = None, limit: int = PAGE, after: int = -1) -> list[Received]:
    """
    The unread messages, in order; of all, or of one sender or room.

    @param after: only messages with a higher seq.
    """
    return unread_after(store, sender, limit, after)[0]


def last_unread(store: IProfileStore) -> int:
    """The seq behind which unread messages will come."""
    with store.reading() as records:
        return records.last(INBOUND, ROWS)


def unread_after(store: IProfileStore, sender: str | None, limit: int, after: int) -> tuple[list[Received], int]:
    """
    As L{unread}, for a reader that continues where it stopped.

    @return: the messages, and the seq up to which this looked: continue after it.
    """
    with store.reading() as records:
        profile = own_profile(records)
        if sender is None:
            rows = [(seq, row.conversation) for seq, row in load_all(records, UnreadRow, INBOUND, ROWS, after, limit)]
        else:
            rows = _unread_in(records, sender, after, limit)
        found = []
        for seq, conversation in rows:
            row = load(records, HistoryRow, HISTORY, conversation.bucket, seq)
            if row is not None:
                found.append(as_received(records, profile, conversation, seq, row))
        if len(rows) < limit:
            return found, max(after, records.last(INBOUND, ROWS))
        return found, rows[-1][0] if rows else after


def _unread_in(records: IRecords, name: str, after: int, limit: int) -> list[tuple[int, Conversation]]:
    """The seqs of what is unread from a sender, or in a room."""
    found = []
    for conversation, bucket in unread_by_conversation(records):
        if conversation.name == name:
            found += [(seq, conversation) for _, seq, _ in records.scan(INBOUND, bucket, after, limit)]
    return sorted(found, key=lambda each: each[0])[:limit]


def still_unread(store: IProfileStore, seqs: Iterable[int]) -> list[Received]:
    """Those of these messages that are unread, as they are now."""
    found = []
    with store.reading() as records:
        profile = own_profile(records)
        for seq in seqs:
            waiting = load(records, UnreadRow, INBOUND, ROWS, seq)
            row = None if waiting is None else load(records, HistoryRow, HISTORY, waiting.conversation.bucket, seq)
            if waiting is not None and row is not None:
                found.append(as_received(records, profile, waiting.conversation, seq, row))
    return found


def unread_of(store: IProfileStore, seqs: Iterable[int]) -> set[int]:
    """Which of these messages are unread."""
    with store.reading() as records:
        return {seq for seq in seqs if records.get(INBOUND, ROWS, seq) is not None}


def mark_read(store: IProfileStore, seqs: Iterable[int], *, now: float) -> None:
    """Mark messages as read."""
    wanted = list(seqs)
    if wanted:
        with store.writing() as records:
            for seq in wanted:
                unread = load(records, UnreadRow, INBOUND, ROWS, seq)
                if unread is not None:
                    note_read(records, unread.conversation, seq)
                    take_from_unread(records, seq, now)


def take_from_unread(records: IRecords, seq: int, now: float) -> None:
    """A message is not unread any more."""
    row = delete_unread(records, seq)
    if row is not None:
        disappearing.schedule(records, row.conversation.bucket, seq, int(now))


def history(store: IProfileStore, name: str, limit: int = PAGE, before: int = LAST_SEQ) -> list[Line]:
    """
    The last messages to and from a contact, or in a room, in order.

    @param before: only those with a lower seq.
    """
    with store.reading() as records:
        profile = own_profile(records)
        conversation = rooms.conversation(records, profile, name)
        rows = load_back(records, HistoryRow, HISTORY, conversation.bucket, before, limit)
        return [as_line(records, profile, conversation, seq, row) for seq, row in reversed(rows)]


def unread_counts(store: IProfileStore) -> dict[str, int]:
    """How many messages of each sender, and in each room, are unread."""
    counts: dict[str, int] = {}
    with store.reading() as records:
        for conversation, bucket in unread_by_conversation(records):
            if not is_of_events(bucket):
                counts[conversation.name] = counts.get(conversation.name, 0) + records.count(INBOUND, bucket)
    return counts


def quarantined(store: IProfileStore) -> tuple[int, int]:
    """How many messages are in quarantine, and how many were dropped because it was full."""
    with store.reading() as records:
        totals = load_totals(records)
        return totals.rows, totals.overflow


def held_back(store: IProfileStore) -> tuple[QuarantinedPeer, ...]:
    """Whose messages are in quarantine."""
    with store.reading() as records:
        return load_totals(records).peers


def pop_unreported(store: IProfileStore, name: str | None = None) -> list[QuarantinedPeer]:
    """Whose messages could not be opened and were asked for again, of which the user does not know yet: each is told once."""
    if not any(peer.unreported for peer in held_back(store)):
        return []
    with store.writing() as records:
        return quarantine.pop_unreported(records, name or "")


def notices(store: IProfileStore) -> list[Notice]:
    """The warnings that were saved for the user, oldest first."""
    with store.reading() as records:
        return [notice for _, notice in load_all(records, Notice, META, NOTICE)]


def own_profile(records: IRecords) -> Profile:
    """
    The profile of this store.

    @raise Refusal: C{no-profile}: there is none.
    """
    profile = load_profile(records)
    if profile is None:
        raise Refusal("no-profile")
    return profile


def _encode_text(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refusal("bad-request", "not a text") from error


def repeat(records: IRecords, known: MessageIndex, to: Conversation, kind: int, body: bytes, now: int, at: int = 0) -> None:
    """
    Handle a message id that is in use already: a message that has failed or was withdrawn is queued again, and one that waits
    for its time gets another.

    @param at: see L{Draft}.

    @raise Refusal: C{conflict}: it is another message; C{not-in-room}.
    """
    row = load(records, HistoryRow, HISTORY, known.conversation.bucket, known.history)
    if row is None or known.conversation != to or row.content.body != body or row.content.kind != kind:
        raise Refusal("conflict")
    waiting = load(records, OutboxRow, OUTBOX, ROWS, known.outbox)
    is_scheduled = waiting is not None and waiting.at > now and not waiting.sealed and row.status is Status.QUEUED
    if is_scheduled:
        # Whoever sends finds it under a number that is new.
        records.delete(OUTBOX, ROWS, known.outbox)
        waiting = None
    elif row.status not in (Status.FAILED, Status.WITHDRAWN):
        return
    if waiting is not None and waiting.withdrawn:
        # Its sealed form is still there, and is sent after all.
        save(records, OUTBOX, ROWS, msgspec.structs.replace(waiting, withdrawn=False), known.outbox)
    else:
        seq = next_seq(records)
        content = row.content
        peer_list = _writable_room(records, to).mark if to.is_room else NO_LIST
        sent_at = content.sent_at if content.counter else max(now, at)
        unsent = msgspec.structs.replace(unsealed(content), peer_list=peer_list, sent_at=sent_at)
        row = msgspec.structs.replace(row, content=unsent)
        save(records, OUTBOX, ROWS, OutboxRow(to, int(kind), known.history, max(now, at), row.expiry, at=at), seq)
        save(records, INDEX, content.message_id, MessageIndex(to, known.history, seq))
    again = msgspec.structs.replace(row, status=Status.QUEUED, code="")
    save(records, HISTORY, to.bucket, again, known.history)
