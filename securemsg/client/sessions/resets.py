"""
Resets: ask for messages that did not arrive, and send again what a contact is missing.

A reset is a message in a new session (or, where only counters are missing, in the present one) that lists what did not come;
its receiver encrypts that again from its history, with the same message ids and counters. Source: C{docs/protocol.md}, section
"Receiving".
"""

from __future__ import annotations

import msgspec

from securemsg.client.rooms import lists
from securemsg.client.rooms import store as rooms
from securemsg.client.rooms.store import Room
from securemsg.client.sessions import suites
from securemsg.client.sessions.budgets import STRANGERS
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, direct
from securemsg.client.state.counters import (
    conversations_with,
    incarnation_of,
    left_out,
    out_bucket,
    out_stream,
    own_incarnations,
    share_of,
)
from securemsg.client.state.gaps import in_stream, load_gaps, note_asked, streams_in
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.receipts import policy_of
from securemsg.client.state.records import (
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
    next_seq,
    save,
)
from securemsg.client.state.settings import Policy
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    MAX_RESET_COUNTERS,
    MAX_RESET_ENTRIES,
    Content,
    Kind,
    Missing,
    Reset,
    decode_record,
    encode_record,
)
from securemsg.protocol.messages import MAX_EXPIRY, MAX_N, MIN_EXPIRY, Counter, Id, Name, Record
from securemsg.protocol.rooms import Member

RESETS = b"resets"
RESETS_BY_PEER = b"reset/"

# A reset costs the peer a session and us its prekeys, so each peer gets at most one in this time, seconds. For messages that
# cannot be opened this is a token bucket of so many, because a state that is put back again and again needs one each time; they
# go no closer together than late messages may take.
RESET_PAUSE = 3600
RESET_BURST = 3
# It also shows the peer that this user is online, which a stranger learns this rarely. With no reset at all, a state that was
# put back to before it knew a contact, or has dropped its prekeys because the server lied, could never read that contact again.
STRANGER_PAUSE = DAY
# Late messages arrive by themselves within this time, seconds.
GAP_DELAY = 60
# A message is given up after this many resets.
MAX_ASKED = 5
# Peers that wait for a reset at once. More would be an attack; the others follow with their next message.
MAX_DUE = 256
# What one reset may make us send again, and how many resets of a peer we answer in an hour: it may have lost some itself.
MAX_RESENT = 512
MAX_ANSWERED = 4
# Messages older than this are not sent again to a contact who has lost all state.
RESEND_AGE = 30 * DAY


class Due(Record, frozen=True):
    """
    A reset that is to be sent.

    @ivar gaps: only counters are missing: sessions are well.
    @ivar asked_at: when it was asked for; a clock that was set back since does not hold it up.
    """

    name: Name
    device: Id
    at: Counter
    gaps: bool
    asked_at: Counter = 0

    def is_ripe(self, now: int) -> bool:
        """Whether it is to be sent."""
        return not self.asked_at <= now < self.at


class Dues(Record, frozen=True):
    """All resets that are to be sent. Table C{META}, bucket C{RESETS}."""

    dues: tuple[Due, ...] = ()


class ResetHistory(Record, frozen=True):
    """
    The resets to and from a peer. Table C{META}, bucket C{RESETS_BY_PEER} and the name.

    @ivar sent_at: when our last reset was made; C{seq}: of its outbox row.
    @ivar bucket_full_at: when the token bucket, which gets a token each C{RESET_PAUSE}, has C{RESET_BURST} again.
    @ivar answered_at: when the hour began in which C{answered} resets of the peer were answered; of strangers: were sent.
    """

    sent_at: Counter = 0
    seq: Counter = 0
    answered_at: Counter = 0
    answered: Counter = 0
    bucket_full_at: Counter = 0


def request_reset(records: IRecords, profile: Profile, name: str, device: bytes, now: int, *, gaps: bool) -> None:
    """
    Something of this device did not arrive: send it a reset, as soon as that is allowed.

    @param gaps: only counters are missing, and may still come by themselves.
    """
    dues = _dues(records)
    peer = _history(records, name)
    if _is_stranger(records, profile, name):
        allowed = peer.sent_at + STRANGER_PAUSE
    elif gaps:
        allowed = peer.sent_at + RESET_PAUSE
    else:
        allowed = max(peer.sent_at + GAP_DELAY, peer.bucket_full_at - (RESET_BURST - 1) * RESET_PAUSE)
    at = max(now + (GAP_DELAY if gaps else 0), allowed if 0 < peer.sent_at <= now else 0)
    known = next((due for due in dues if due.name == name), None)
    if known is not None:
        merged = Due(name, known.device if gaps else device, min(known.at, at), known.gaps and gaps, now)
        _keep(records, tuple(merged if due is known else due for due in dues))
    elif len(dues) < MAX_DUE:
        _keep(records, (*dues, Due(name, device, at, gaps, now)))


def has_asked(records: IRecords, name: str, now: int) -> bool:
    """Whether this account may be answering a reset of ours: it was sent, and has not expired."""
    sent_at = _history(records, name).sent_at
    return sent_at > 0 and abs(now - sent_at) <= MAX_EXPIRY


def is_due(records: IRecords, now: int) -> bool:
    """Whether a reset is to be sent."""
    return any(due.is_ripe(now) for due in _dues(records))


def make_resets(records: IRecords, profile: Profile, now: int) -> int:
    """
    Put the resets that are due into the outbox.

    @return: how many there are.
    """
    dues = _dues(records)
    ripe = [due for due in dues if due.is_ripe(now)]
    _keep(records, tuple(due for due in dues if due not in ripe))
    made = 0
    for due in ripe:
        peer = _history(records, due.name)
        if load(records, OutboxRow, OUTBOX, ROWS, peer.seq) is not None:
            # The previous one was not sent yet.
            request_reset(records, profile, due.name, due.device, now + GAP_DELAY, gaps=due.gaps)
            continue
        if due.gaps and not _is_anything_open(records, profile, due.name):
            continue
        if _is_stranger(records, profile, due.name) and not _within_limit(records, STRANGERS, now):
            request_reset(records, profile, due.name, due.device, now + RESET_PAUSE, gaps=due.gaps)
            continue
        if not due.gaps:
            suites.archive(records, due.name, due.device)
        seq = next_seq(records)
        content = encode_record(draft(profile, Kind.RESET, now))
        save(records, OUTBOX, ROWS, OutboxRow(direct(due.name), int(Kind.RESET), 0, now, MAX_EXPIRY, content), seq)
        # A clock that was set back does not make this longer than it is.
        bucket_full_at = min(max(peer.bucket_full_at, now), now + (RESET_BURST - 1) * RESET_PAUSE) + RESET_PAUSE
        sent = msgspec.structs.replace(peer, sent_at=now, seq=seq, bucket_full_at=bucket_full_at)
        save(records, META, RESETS_BY_PEER + due.name.encode(), sent)
        made += 1
    return made


def make_reset_body(records: IRecords, profile: Profile, contact: Contact, now: int) -> bytes:
    """
    List the counters that are missing from a contact when the reset is sealed. They count as asked for, and another reset is
    scheduled in case they do not come.
    """
    missing = []
    remains = False
    for conversation, stream in _streams_from(records, profile, contact)[:MAX_RESET_ENTRIES]:
        counters = []
        for counter, gap in load_gaps(records, stream)[:MAX_RESET_COUNTERS]:
            if gap.asked < MAX_ASKED:
                counters.append(counter)
                note_asked(records, stream, counter, gap)
                remains = remains or gap.asked + 1 < MAX_ASKED
        missing.append(Missing(conversation, incarnation_of(stream), counters, in_stream(records, stream).highest + 1))
    if remains:
        request_reset(records, profile, contact.name, bytes(keys.ID_SIZE), now, gaps=True)
    return encode_record(Reset(missing))


def answer_reset(records: IRecords, profile: Profile, contact: Contact, content: Content, now: int) -> int:
    """
    Put what a contact is missing into the outbox once more.

    @return: how many messages that is.
    @raise Refusal: C{bad-envelope}: that is no reset.
    """
    since = {room.id: member.since for room, member in _shared(records, contact)}
    reset = decode_record(Reset, content.body)
    if not _within_limit(records, contact.name, now):
        return 0
    between = conversations_with(profile, contact.name, contact.identity)
    conversations = between | {lists.conversation_id(room.id): room.conversation for room, _ in _shared(records, contact)}
    asked = {(entry.conversation, entry.incarnation): entry for entry in reset.missing if entry.conversation in conversations}
    # A device that does not name a stream of ours has seen nothing of it; but what was sent before it was there was not for it.
    # Of rooms only what it names counts: it may have been taken out of one, and come back.
    unknown = set()
    for conversation in between:
        ours = own_incarnations(records, profile, conversation)
        base = share_of(records, content.device, conversation, ours)
        for incarnation in set(ours) - {incarnation for known, incarnation in asked if known == conversation}:
            begin = left_out(base, ours.index(incarnation), MAX_N) + 1
            unknown.add((conversation, incarnation))
            asked[conversation, incarnation] = Missing(conversation, incarnation, [], begin)
    outbox = load_all(records, OutboxRow, OUTBOX, ROWS)
    waiting = {row.history for _, row in outbox if row.again and row.to in conversations.values()}
    made = 0
    for entry in asked.values():
        bucket = out_bucket(entry.conversation, entry.incarnation)
        last = records.last(SENT, bucket)
        if not last and entry.incarnation != profile.incarnation and len(profile.listing.devices) > 1:
            # It may have been sent by another device of ours.
            continue
        oldest = now - RESEND_AGE if (entry.conversation, entry.incarnation) in unknown else 0
        wanted = sorted({*entry.counters, *range(entry.next, min(last, entry.next + MAX_RESENT) + 1)})
        for counter in wanted[: MAX_RESENT - made]:
            if not counter or (counter > last and entry.incarnation == profile.incarnation):
                continue
            to = conversations[entry.conversation]
            joined = since[to.room_id] if to.is_room else 0
            row = _again(records, profile, contact, to, entry, counter, oldest, joined, now)
            if row is not None and row.history not in waiting:
                save(records, OUTBOX, ROWS, row, next_seq(records))
                made += 1
    return made


def _again(
    records: IRecords,
    profile: Profile,
    contact: Contact,
    to: Conversation,
    entry: Missing,
    counter: int,
    oldest: int,
    joined: int,
    now: int,
) -> OutboxRow | None:
    """
    The outbox row for a counter that a contact is missing: the message again, or a void if it was given up, or was accepted in
    a room before the contact joined with the list of number C{joined}.

    Nothing, where it has expired or is not known here, as to a state that was restored: the contact goes on missing it.
    """
    bucket = out_bucket(entry.conversation, entry.incarnation)
    sent = load(records, SentRow, SENT, bucket, counter)
    history = sent and load(records, HistoryRow, HISTORY, sent.conversation.bucket, sent.history)
    if not isinstance(history, HistoryRow) or sent is None or history.at < oldest:
        return None
    content, left = history.content, history.at + history.expiry - now
    # One that was given up may have been sealed again since, under another counter.
    is_same = (content.incarnation, content.counter) == (entry.incarnation, counter)
    home = to if to.is_room else None
    to = direct(contact.name) if to.is_room else to
    if home is not None and history.status is Status.QUEUED:
        # Nobody has it yet; it goes to all.
        return None
    if is_same and history.status not in (Status.FAILED, Status.WITHDRAWN) and history.accepted_under >= joined:
        if left < MIN_EXPIRY:
            return None
        return OutboxRow(to, content.kind, sent.history, now, min(left, MAX_EXPIRY), again=True, home=home)
    before = out_stream(records, entry.conversation, entry.incarnation).continues
    void = msgspec.structs.replace(
        draft(profile, Kind.VOID, now),
        conversation=entry.conversation,
        incarnation=entry.incarnation,
        counter=counter,
        continues=tuple(end for end in before if end.incarnation < entry.incarnation),
        own_list=profile.mark,
        peer_list=contact.mark,
        body=sent.digest,
    )
    return OutboxRow(to, int(Kind.VOID), 0, now, MAX_EXPIRY, encode_record(void), home=home)


def _is_stranger(records: IRecords, profile: Profile, name: str) -> bool:
    """
    Whether an account is none that the user knows, and in no room with us; where everybody gets receipts, all contacts count as
    known.
    """
    contact = contacts.get_contact(records, name)
    if contact is None:
        return True
    return not (contact.known or policy_of(records, profile) is Policy.EVERYBODY or _shared(records, contact))


def _is_anything_open(records: IRecords, profile: Profile, name: str) -> bool:
    """Is there a counter of this contact that is still worth asking for?"""
    contact = contacts.get_contact(records, name)
    if contact is None:
        return False
    streams = [stream for _, stream in _streams_from(records, profile, contact)]
    return any(gap.asked < MAX_ASKED for stream in streams for _, gap in load_gaps(records, stream))


def _streams_from(records: IRecords, profile: Profile, contact: Contact) -> list[tuple[bytes, bytes]]:
    """The streams that come from a contact, each with its conversation; those of rooms last."""
    conversations = [
        *conversations_with(profile, contact.name, contact.identity),
        *(lists.conversation_id(room.id) for room, _ in _shared(records, contact)),
    ]
    return [(found, stream) for found in conversations for stream in streams_in(records, found)]


def _shared(records: IRecords, contact: Contact) -> list[tuple[Room, Member]]:
    """The rooms that we are in and whose newest list has a contact under this identity, and its row there."""
    found = []
    for room in rooms.all_rooms(records):
        newest = rooms.newest(records, room) if room.is_member else None
        member = None if newest is None else newest.body.member(contact.name)
        if member is not None and member.identity == contact.identity:
            found.append((room, member))
    return found


def _within_limit(records: IRecords, name: str, now: int) -> bool:
    """Count a reset of this peer, or one to strangers, and see whether there were not too many."""
    history = _history(records, name)
    if not 0 <= now - history.answered_at < RESET_PAUSE:
        history = msgspec.structs.replace(history, answered_at=now, answered=0)
    counted = msgspec.structs.replace(history, answered=min(history.answered + 1, MAX_ANSWERED))
    save(records, META, RESETS_BY_PEER + name.encode(), counted)
    return history.answered < MAX_ANSWERED


def _history(records: IRecords, name: str) -> ResetHistory:
    return load(records, ResetHistory, META, RESETS_BY_PEER + name.encode()) or ResetHistory()


def _dues(records: IRecords) -> tuple[Due, ...]:
    return (load(records, Dues, META, RESETS) or Dues()).dues


def _keep(records: IRecords, dues: tuple[Due, ...]) -> None:
    if dues != _dues(records):
        save(records, META, RESETS, Dues(dues))
