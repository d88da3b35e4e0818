"""
The inbox: turns deliveries into history.

A delivery and its consequences are committed in one transaction, and only then is it acknowledged.
Source: C{docs/protocol.md}, section "Receiving".
"""

from __future__ import annotations

from itertools import pairwise

from attrs import evolve, field, frozen

from securemsg.client.receiving import rooms
from securemsg.client.receiving.listchecks import check_lists
from securemsg.client.rooms import ordering
from securemsg.client.sessions import resets, suites
from securemsg.client.sessions.addresses import Opened
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import pinned_suite
from securemsg.client.state import contacts, inpipes, invites, lobby, outpipes, preferences, quarantine, questions
from securemsg.client.state.contacts import IdentityChanged, Policy
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.counters import conversations_with
from securemsg.client.state.gaps import Arrival
from securemsg.client.state.profile import Profile
from securemsg.client.state.quarantine import QuarantinedRow
from securemsg.client.state.receipts import mark_delivered, mark_read, note_receipt
from securemsg.client.state.records import (
    HISTORY,
    LATE,
    META,
    SEEN,
    HistoryRow,
    Status,
    load_number,
    next_seq,
    save,
    save_number,
    save_unread,
    seen_envelope,
    seen_message,
)
from securemsg.crypto import keys
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.codes import NO_RESET, WAITS
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import (
    ABOUT_ROOMS,
    FROM_LOBBY,
    IN_ROOM,
    KINDS,
    LINES,
    ONLY_DIRECT,
    ONLY_IN_ROOM,
    PIPED,
    TO_LOBBY,
    UNKNOWN,
    WITH_TEXT,
    Content,
    Kind,
    PipePart,
    PipeTaken,
    Receipt,
    RelayedLine,
    decode_record,
)
from securemsg.protocol.messages import Deliver, RoomItem

# What counts though it comes from somebody who is blocked: what it says of our messages, and of rooms that we share.
FROM_BLOCKED = frozenset({Kind.RECEIPT, Kind.READ, Kind.LISTS})


@frozen
class Change:
    """
    What a delivery changed, beyond its own record.

    @ivar account: of the sender, as the server says.
    @ivar shown: there is a new message, or a sent one has a new status.
    @ivar began: the device that began a session, so that messages of it in quarantine may open now; else empty.
    @ivar behind: the version of the sender's device list, if ours is older; else 0.
    @ivar warnings: codes of warnings about the sender.
    """

    account: str
    shown: bool = False
    began: bytes = b""
    behind: int = 0
    warnings: tuple[str, ...] = field(default=())


def receive(records: IRecords, profile: Profile, delivery: Deliver, now: int) -> Change:
    """Save a delivery, in history or in quarantine. Then it may be acknowledged."""
    envelope = seen_envelope(delivery.account, delivery.device, delivery.common, delivery.own)
    if records.get(SEEN, envelope) is not None:
        return Change(delivery.account)
    if delivery.room is not None and not rooms.is_in_order(records, delivery.room):
        return Change(delivery.account)
    try:
        change = _open(records, profile, delivery, now)
    except Refusal as refusal:
        if delivery.room is None and preferences.get(records, delivery.account).is_blocked:
            # It is told nothing, not even that something did not arrive.
            preferences.note_dropped(records, delivery.account)
            records.put(SEEN, envelope, b"")
            return Change(delivery.account)
        change, stored = _quarantine(records, profile, delivery, refusal, now)
        if not stored:
            return change
    records.put(SEEN, envelope, b"")
    return change


@frozen
class Retry:
    """
    What of a peer's quarantine is to be tried again.

    @ivar device: only what may open because this one has begun a session; empty: all.
    @ivar after: where the next page begins.
    """

    name: str
    device: bytes = b""
    after: int = -1


def retry(records: IRecords, profile: Profile, wanted: Retry, now: int) -> tuple[list[Change], Retry | None]:
    """
    Try a page of a peer's quarantined deliveries again.

    @return: what they changed, and the next page; C{None}: there is none.
    """
    name = wanted.name
    if wanted.after < 0 and not wanted.device:
        quarantine.mark_tried(records, name)
    rows = quarantine.rows_of(records, name, wanted.after)
    results = []
    for seq, row in rows:
        if quarantine.is_old(row, now):
            quarantine.release(records, name, seq, row)
            continue
        if not quarantine.may_open(row, wanted.device):
            continue
        try:
            results.append(_open(records, profile, _delivery(row), now, row.code))
        except Refusal as refusal:
            if refusal.code != row.code:
                quarantine.set_code(records, name, seq, row, refusal.code)
                if refusal.code == "wrong-key":
                    results.append(Change(name, warnings=(refusal.code,)))
                _ask_again(records, profile, _delivery(row), refusal, now)
        else:
            quarantine.release(records, name, seq, row)
    if len(rows) < quarantine.PAGE:
        contact = contacts.get_contact(records, name)
        if not wanted.device and (contact is None or not contact.has_changed):
            quarantine.forget_identity(records, name)
        return results, None
    return results, evolve(wanted, after=rows[-1][0])


def _open(records: IRecords, profile: Profile, delivery: Deliver, now: int, waited: str = "") -> Change:
    """
    Decrypt a delivery and apply its content.

    @param waited: the code under which it has waited in quarantine; empty: it has not.
    @raise Refusal: it cannot be opened: nothing has changed but the sender's budget of wasted keys. C{bad-content}: authentic,
        but malformed; the session has advanced.
    """
    item = delivery.room
    if item is not None and not rooms.may_open(records, profile, delivery, now, waited):
        return Change(delivery.account)
    if delivery.account == profile.name:
        # Accounts do not write to themselves: the server reflected it.
        raise Refusal("own-account")
    digest = keys.sha256(delivery.common)
    opened = suites.open_envelope(records, profile, delivery.account, delivery.device, delivery.own, digest, now)
    try:
        content = decode_record(Content, suites.open_common(delivery.common, opened.content_key))
        conversation = _check(records, profile, opened, content, item)
    except Refusal as refusal:
        if item is not None:
            ordering.spoiled(records, profile, item, opened.contact.name, now)
        raise Refusal("bad-content") from refusal
    if item is None and conversation.is_room and not rooms.is_asked_for(records, opened, content, now):
        return Change(delivery.account)
    if item is not None and not rooms.apply(records, profile, opened, content, item, now):
        return Change(delivery.account, shown=True, began=opened.device_id if opened.first else b"")
    return _accept(records, profile, evolve(opened, conversation=conversation), content, delivery.time, now)


def _check(
    records: IRecords, profile: Profile, opened: Opened, content: Content, item: RoomItem | None
) -> Conversation:
    """
    Check that what a content claims is what its session proved.

    @return: the conversation that it names.
    @raise Refusal: it differs.
    """
    contact, rules = opened.contact, KINDS.get(content.kind, UNKNOWN)
    known = conversations_with(profile, contact.name, contact.identity, opened.device_id)
    conversation = known.get(content.conversation) or rooms.conversation_of(records, opened, content)
    if rooms.is_redated(opened, item) or (item is not None and (conversation is None or conversation.room_id != item.room)):
        raise Refusal("bad-content")
    if conversation is None or content.device != opened.device_id or not _belongs(profile, conversation, content.kind):
        raise Refusal("bad-content")
    if rules.counted != bool(content.counter) and content.kind in KINDS:
        raise Refusal("bad-content")
    incarnations = [content.incarnation, *(end.incarnation for end in content.continues)]
    if any(earlier >= later for later, earlier in pairwise(incarnations)):
        raise Refusal("bad-content")
    if rules.size not in (0, len(content.body)):
        raise Refusal("bad-content")
    if content.keep and (content.kind in KINDS.keys() - WITH_TEXT or conversation.kind is ConversationKind.LOBBY):
        raise Refusal("bad-content")
    if rules.record is not None:
        lobby.check_names(decode_record(rules.record, content.body))
    return conversation


def _belongs(profile: Profile, conversation: Conversation, kind: int) -> bool:
    """Whether a kind comes in a conversation, from its peer: in the lobby the one side says what the other must not."""
    if kind in ONLY_DIRECT:
        return conversation.kind is ConversationKind.DIRECT
    if conversation.is_room:
        return kind in IN_ROOM
    if conversation.kind is not ConversationKind.LOBBY:
        return kind not in TO_LOBBY | FROM_LOBBY | ONLY_IN_ROOM
    return kind not in (FROM_LOBBY if profile.name == SERVER_NAME else TO_LOBBY | LINES)


def _accept(records: IRecords, profile: Profile, opened: Opened, content: Content, deposited_at: int, now: int) -> Change:
    """
    Count an authentic message, save it, and act on its kind.

    @param deposited_at: when the server got it, as the server says.
    """
    contact = opened.contact
    name = contact.name
    peer = PEERS[opened.conversation.kind]
    is_room = opened.conversation.is_room
    marks = check_lists(records, profile, contact, content, is_room) if peer.has_account else []
    is_shown = KINDS.get(content.kind, UNKNOWN).shown
    known = seen_message(name, content.message_id)
    is_new = records.get(SEEN, known) is None
    if is_new:
        records.put(SEEN, known, b"")
    arrival = Arrival()
    is_blocked = preferences.get(records, _author(content) or name).is_blocked
    if content.counter:
        arrival = peer.count(records, content, opened.content_key.base, now)
        if arrival.gap and not arrival.seq and peer.has_account:
            resets.request_reset(records, profile, name, opened.device_id, now, gaps=True)
    if is_blocked and content.kind not in FROM_BLOCKED:
        if is_shown and is_new:
            preferences.note_dropped(records, _author(content) or name)
        return Change(name, began=opened.device_id if opened.first else b"")
    unfit = ""
    if is_new and content.kind == Kind.CHOICE:
        unfit = questions.problem_of(records, profile, contact, content, now)
        is_shown = not unfit
    if content.wants_receipt and is_shown and not is_room:
        # Also for a repeated message: its sender may not have got the receipt.
        note_receipt(records, profile, contact, opened.conversation, content.message_id, now)
    has_news, has_joined, has_begun = arrival.note == "late", False, False
    if is_new and content.kind in FROM_LOBBY:
        has_news = lobby.apply(records, content, now) or has_news
    if is_new and is_shown:
        _keep(records, opened, content, arrival, now)
        has_news = True
        if content.kind == Kind.INVITE:
            rooms.apply_direct(records, profile, opened, content, now)
    elif is_new and content.kind in (Kind.RECEIPT, Kind.READ):
        has_news = _apply_receipt(records, opened, content, now)
    elif is_new and content.kind in PIPED:
        has_news, has_begun = True, _apply_piped(records, profile, opened, content, now)
    elif is_new and peer.has_account:
        has_joined = _apply_silent(records, profile, opened, content, deposited_at, now)
    warnings = [code for code in marks if code != "contact-list-behind"]
    if has_joined:
        warnings.append("joined")
    if unfit:
        warnings.append(unfit)
    if has_begun:
        warnings.append(inpipes.BEGUN)
    if arrival.note == "forked":
        warnings.append("messages-forked")
    return Change(
        name,
        shown=has_news,
        began=opened.device_id if opened.first else b"",
        behind=content.own_list.version if "contact-list-behind" in marks else 0,
        warnings=tuple(warnings),
    )


def _author(content: Content) -> str:
    """Who has written what C{server} relays; empty: it relays nothing."""
    return decode_record(RelayedLine, content.body).author if content.kind == Kind.RELAYED else ""


def _keep(records: IRecords, opened: Opened, content: Content, arrival: Arrival, now: int) -> None:
    """Save a message in history, where it belongs, and among the unread ones."""
    conversation = opened.conversation
    seq = arrival.seq or next_seq(records)
    note = arrival.note if content.kind in KINDS else "unsupported"
    if opened.suite != pinned_suite(records, conversation).suite:
        note = note or "other-suite"
    row = HistoryRow(
        content,
        sent=False,
        at=now,
        status=Status.RECEIVED,
        verified=opened.contact.verified,
        suite=opened.suite,
        gap=arrival.gap,
        lost=arrival.lost,
        note=note,
        lacks_one_time=opened.lacks_one_time,
        sender=opened.contact.name if conversation.is_room else "",
    )
    if content.kind == Kind.CHOICE:
        row = questions.answered(records, row, seq)
    save(records, HISTORY, conversation.bucket, row, seq)
    if content.kind == Kind.QUESTION:
        questions.received(records, conversation, seq, content.message_id)
    save_unread(records, conversation, content.kind, seq)
    if arrival.seq:
        # Readers may have passed this seq already.
        save_number(records, META, LATE, load_number(records, META, LATE) + 1)


def _apply_silent(
    records: IRecords, profile: Profile, opened: Opened, content: Content, deposited_at: int, now: int
) -> bool:
    """
    Answer a reset, or check a proof; nothing else is done about other kinds.

    @return: whether its sender has joined with an invite of ours, and is verified now.
    """
    if content.kind == Kind.RESET:
        if opened.first and not suites.SUITES[opened.suite].states_place:
            # psk states no place in which this would show: begin anew as well, and introduce ourselves again.
            suites.archive(records, opened.contact.name, opened.device_id)
        resets.answer_reset(records, profile, opened.contact, content, now)
    if content.kind in ABOUT_ROOMS:
        rooms.apply_direct(records, profile, opened, content, now)
    if content.kind == Kind.JOINED:
        return invites.check_proof(records, profile, opened.contact, content.body, deposited_at, now)
    return False


def _apply_receipt(records: IRecords, opened: Opened, content: Content, now: int) -> bool:
    """
    Mark our messages as delivered to, or read by, the contact that sent the receipt, and no other.

    @return: whether a status has changed.
    """
    news, mark = False, mark_read if content.kind == Kind.READ else mark_delivered
    for message_id in decode_record(Receipt, content.body).message_ids:
        news |= mark(records, opened.conversation, message_id, opened.device_id, now)
    return news


def _apply_piped(records: IRecords, profile: Profile, opened: Opened, content: Content, now: int) -> bool:
    """
    Keep a part of a stream, or note how far one of ours was taken. The contact C{server}, and guests, have no streams.

    @return: whether a stream has begun.
    """
    name = opened.contact.name
    if opened.conversation.kind is not ConversationKind.DIRECT or SERVER_NAME in (name, profile.name):
        return False
    if content.kind == Kind.TAKEN:
        outpipes.note_taken(records, opened.contact, opened.device_id, decode_record(PipeTaken, content.body))
        return False
    part = decode_record(PipePart, content.body)
    return inpipes.InPipes(records, profile, name, now).receive(opened.contact, part)


def _quarantine(
    records: IRecords, profile: Profile, delivery: Deliver, refusal: Refusal, now: int
) -> tuple[Change, bool]:
    """
    Quarantine a delivery that cannot be opened, and ask its sender for it again if that may help.

    @return: what changed, and whether there was room.
    """
    identity = b""
    warnings: tuple[str, ...] = ()
    if isinstance(refusal, IdentityChanged):
        known = contacts.get_contact(records, delivery.account)
        identity = b"" if known is None else known.identity
        contacts.put_contact(records, refusal.contact)
    # The directory says what becomes of it, and not the user.
    is_followed = isinstance(refusal, IdentityChanged) and refusal.contact.policy is Policy.TOFU
    if refusal.code in NO_RESET - WAITS and not is_followed:
        warnings = (refusal.code,)
    stored = quarantine.add(records, delivery, refusal.code, identity, now)
    if not stored:
        warnings = (*warnings, "quarantine-full")
    _ask_again(records, profile, delivery, refusal, now)
    return Change(delivery.account, behind=int(is_followed), warnings=warnings), stored


def _ask_again(records: IRecords, profile: Profile, delivery: Deliver, refusal: Refusal, now: int) -> None:
    """Request a reset, unless that would not help, or this is a repetition, or one end is a guest, who has no sessions."""
    peer = PEERS[profile.conversation(delivery.account, delivery.device).kind]
    if peer.has_account and refusal.code not in NO_RESET and not isinstance(refusal, AlreadyUsed):
        resets.request_reset(records, profile, delivery.account, delivery.device, now, gaps=False)


def _delivery(row: QuarantinedRow) -> Deliver:
    return Deliver(0, row.account, row.device, bytes(keys.ID_SIZE), row.time, row.common, row.own, row.room)
