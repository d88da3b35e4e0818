"""
The outbox: turns drafts into deposits.

Every function works inside a transaction. A sealed deposit is saved, and sent again unchanged until the server answers.
Source: C{docs/protocol.md}, section "Deposit and delivery".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from securemsg.client.rooms import heard
from securemsg.client.rooms.store import get_room
from securemsg.client.sending.addressing import Address, address
from securemsg.client.sending.results import content_of, give_up
from securemsg.client.sessions import suites
from securemsg.client.sessions.addresses import RecipientGone
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.resets import make_reset_body
from securemsg.client.sessions.suites import Plan
from securemsg.client.state import contacts, preferences
from securemsg.client.state.counters import (
    OutStream,
    base_for,
    begin_shares,
    chain_digest,
    note_sent,
    out_bucket,
    out_stream,
)
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import (
    COUNTERS,
    HISTORY,
    NUMBER,
    OUTBOX,
    ROWS,
    SEALED,
    SENT,
    HistoryRow,
    OutboxRow,
    SealedDeposit,
    SealedPart,
    SentRow,
    load,
    load_number,
    remove_row,
    save,
    save_number,
    unsealed,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    ABOUT_ROOMS,
    KINDS,
    ONLY_DIRECT,
    PIPED,
    UNKNOWN,
    Content,
    ContentKey,
    Kind,
    RoomContentKey,
    encode_record,
)
from securemsg.protocol.messages import Deposit, Destination, ListMark, Part

# A message that was not accepted within this time is given up, seconds.
HORIZON = 30 * DAY
# Why what was written before its recipient was blocked is not sent.
BLOCKED = "contact-blocked"
EMPTY: Mapping[str, str] = {}
# Whoever is written one of these is known: their user has written it, not a machine.
PERSONAL = ONLY_DIRECT | {Kind.TEXT}


def prepare(
    records: IRecords,
    profile: Profile,
    seq: int,
    now: int,
    *,
    may_expire: bool = True,
    left_out: Mapping[str, str] = EMPTY,
    is_alone: bool = True,
) -> Deposit | None:
    """
    The deposit of an outbox row, which is sealed if it was not yet.

    @param may_expire: give up what has waited for too long; C{False} if the clock cannot be trusted.
    @param left_out: members of a room that it cannot be sealed for, and why.
    @param is_alone: whether nothing of its conversation is unanswered.
    @return: C{None}: there is nothing to send in this row any more.
    @raise NeedAccount: ask the directory first.
    @raise NeedBundle: claim a bundle first.
    @raise Refusal: it has to wait; the code says why.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None:
        return None
    # Nobody may sign two lists of one number, so a list ends accepted or beaten.
    if row.withdrawn or (may_expire and now - row.created_at > HORIZON and row.kind != Kind.LIST):
        row = give_up(records, seq, "expired", now)
        if row is None:
            return None
    if not row.sealed and _is_for_blocked(records, row):
        give_up(records, seq, BLOCKED, now)
        return None
    try:
        if not row.sealed:
            sealed = _seal(records, profile, row, seq, now, left_out, is_alone)
        elif row.stale or _is_dated(records, row, seq):
            sealed = _reseal(records, profile, row, seq, now, left_out, is_alone)
        else:
            sealed = _load_deposit(records, seq)
    except RecipientGone as gone:
        give_up(records, seq, gone.code, now)
        return None
    return None if sealed is None else _deposit(profile, sealed, row.expiry)


def _is_for_blocked(records: IRecords, row: OutboxRow) -> bool:
    """
    Whether somebody whom the user has blocked would get this and nobody else: a message, a receipt, a reset. What all members
    of a room get, and what makes their lists agree, goes to them, too.
    """
    is_of_room = row.to.is_room or row.home is not None or row.kind in ABOUT_ROOMS
    return not is_of_room and preferences.get(records, row.to.account).is_blocked


def _is_dated(records: IRecords, row: OutboxRow, seq: int) -> bool:
    """Whether what was sealed for a room must not go out as it is: by what we know, the server goes by another list."""
    room = get_room(records, row.to.room_id) if row.to.is_room else None
    if room is None:
        return row.to.is_room
    if row.kind == Kind.LIST:
        return room.repeating > 0 and not row.again
    return not room.may_send or sealed_under(records, seq) != room.mark


def sealed_under(records: IRecords, seq: int) -> ListMark | None:
    """The member list that the deposit of a row goes by; C{None}: by none."""
    sealed = load(records, SealedDeposit, OUTBOX, SEALED, seq)
    return None if sealed is None or sealed.room is None else ListMark(sealed.room.n, sealed.room.digest)


def _seal(
    records: IRecords, profile: Profile, row: OutboxRow, seq: int, now: int, left_out: Mapping[str, str], is_alone: bool
) -> SealedDeposit | None:
    """Seal a draft; C{None}: there is nothing to send any more."""
    where = address(records, profile, row, now, left_out, is_alone)
    plans = _plan(records, profile, where, now, {})
    # Nothing is refused from here on.
    content = _completed(records, profile, where, row, now)
    if content is None:
        give_up(records, seq, "identity-changed", now)
        return None
    common, key = suites.make_common(encode_record(content), where.choice.key_size)
    parts = _parts(records, where, content, key, plans, {}, now)
    if not row.content and not row.again:
        _count(records, row, content, where.choice.suite, _lacks_one_time(plans))
    if content.kind in PERSONAL and not row.to.is_room and PEERS[row.to.kind].has_account:
        [recipient] = where.recipients
        if not recipient.contact.known:
            contacts.put_contact(records, msgspec.structs.replace(recipient.contact, known=True))
    sealed = _sealed(records, row, where, common, key, parts)
    save(records, OUTBOX, SEALED, sealed, seq)
    row = msgspec.structs.replace(row, sealed=True, content=encode_record(content) if row.content else b"")
    save(records, OUTBOX, ROWS, row, seq)
    return sealed


def _reseal(
    records: IRecords, profile: Profile, row: OutboxRow, seq: int, now: int, left_out: Mapping[str, str], is_alone: bool
) -> SealedDeposit | None:
    """Rebuild a deposit for the current devices. Devices that remain get the same bytes again."""
    where = address(records, profile, row, now, left_out, is_alone)
    content = content_of(records, row)
    if content is None or content.conversation != where.conversation:
        draft = _return_to_draft(records, row, seq)
        return None if draft is None else _seal(records, profile, draft, seq, now, left_out, is_alone)
    sealed = _load_deposit(records, seq)
    common, key = sealed.common, suites.content_key(sealed.key, sealed.common)
    kept = {(part.account or sealed.account, part.device): part.own for part in sealed.parts}
    choice = where.choice
    if (sealed.suite, sealed.key_file, len(sealed.key)) != (choice.suite, choice.key_file, choice.key_size):
        # The user has chosen another suite, file or cipher since: new devices get nothing that was sealed with the old one.
        kept = {}
        common, key = suites.make_common(encode_record(content), choice.key_size)
    if where.room != sealed.room:
        # Each part says by which list it goes.
        kept = {}
    plans = _plan(records, profile, where, now, kept)
    parts = _parts(records, where, content, key, plans, kept, now)
    _note_sealing(records, row, choice.suite, _lacks_one_time(plans))
    anew = _sealed(records, row, where, common, key, parts)
    save(records, OUTBOX, SEALED, anew, seq)
    save(records, OUTBOX, ROWS, msgspec.structs.replace(row, stale=False), seq)
    return anew


def _sealed(
    records: IRecords, row: OutboxRow, where: Address, common: bytes, key: ContentKey, parts: tuple[SealedPart, ...]
) -> SealedDeposit:
    """A deposit with an id and a number of its own."""
    choice = where.choice
    account = "" if row.to.is_room else row.to.account
    number = _next_number(records)
    return SealedDeposit(
        keys.random_id(), number, account, common, key.key, parts, choice.suite, choice.key_file, where.room, where.left_out
    )


def _plan(
    records: IRecords, profile: Profile, where: Address, now: int, kept: Mapping[tuple[str, bytes], bytes]
) -> dict[tuple[str, bytes], Plan]:
    """Plan how to seal for every device of every recipient that does not get what it had before."""
    plans = {}
    for recipient in where.recipients:
        name = recipient.contact.name
        had = {device for account, device in kept if account == name}
        for device, plan in suites.plan(records, profile, where.choice, recipient, now, had).items():
            plans[name, device] = plan
    return plans


def _completed(records: IRecords, profile: Profile, where: Address, row: OutboxRow, now: int) -> Content | None:
    """The content of a row, with its counter and everything that it names."""
    content = content_of(records, row)
    conversation = where.conversation
    if content is None or content.counter:
        # A content that has a counter keeps it, and every byte, but only in the conversation where it was counted.
        return content if content is not None and content.conversation == conversation else None
    if row.again and row.history:
        return None
    body = content.body
    if row.kind == Kind.RESET:
        body = make_reset_body(records, profile, where.recipients[0].contact, now)
    counted = KINDS.get(row.kind, UNKNOWN).counted
    before = out_stream(records, conversation, profile.incarnation) if counted else OutStream()
    return msgspec.structs.replace(
        content,
        conversation=conversation,
        device=profile.device_id,
        incarnation=profile.incarnation,
        counter=before.counter + 1 if counted else 0,
        previous=before.digest,
        continues=before.continues,
        own_list=profile.mark,
        # In a room it names the list under which it was written.
        peer_list=content.peer_list if content.peer_list.version else where.peer_list,
        body=body,
    )


def _parts(
    records: IRecords,
    where: Address,
    content: Content,
    key: ContentKey,
    plans: Mapping[tuple[str, bytes], Plan],
    kept: Mapping[tuple[str, bytes], bytes],
    now: int,
) -> tuple[SealedPart, ...]:
    if where.room is not None:
        key = RoomContentKey(key.key, key.common, None, key.place, ListMark(where.room.n, where.room.digest))
    parts = []
    for recipient in where.recipients:
        name = recipient.contact.name
        if where.room is not None:
            heard.note_spoken(records, name, now)
        if where.room is not None and content.counter:
            begin_shares(records, name, content.conversation, recipient.devices)
        for device in recipient.devices:
            own = kept.get((name, device))
            if own is None:
                based = msgspec.structs.replace(key, base=base_for(records, device, content))
                own = plans[name, device].seal(records, based)
            parts.append(SealedPart(device, own, name if where.room is not None else ""))
    return tuple(parts)


def _lacks_one_time(plans: Mapping[tuple[str, bytes], Plan]) -> bool:
    """Whether for any device this message opens a session that began without a one-time prekey."""
    return any(plan.lacks_one_time for plan in plans.values())


def _count(records: IRecords, row: OutboxRow, content: Content, suite: str, lacks_one_time: bool) -> None:
    """Use the counter of a content, and save the content as it is sealed."""
    bucket = out_bucket(content.conversation, content.incarnation)
    digest = chain_digest(content)
    note_sent(records, content, digest)
    save(records, SENT, bucket, SentRow(row.to, row.history, digest), content.counter)
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
    assert history is not None, "a draft without history"
    sealed = msgspec.structs.replace(history, content=content, code="", suite=suite, lacks_one_time=lacks_one_time)
    save(records, HISTORY, row.bucket, sealed, row.history)


def _note_sealing(records: IRecords, row: OutboxRow, suite: str, lacks_one_time: bool) -> None:
    """Note in history how a message is sent that was sealed again for other devices."""
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history) if row.history and not row.again else None
    if history is not None:
        noted = msgspec.structs.replace(history, suite=suite, lacks_one_time=history.lacks_one_time or lacks_one_time)
        save(records, HISTORY, row.bucket, noted, row.history)


def _return_to_draft(records: IRecords, row: OutboxRow, seq: int) -> OutboxRow | None:
    """
    Turn a row that was sealed for another identity of the contact back into a draft; drop it if it is neither a message nor a
    part of a stream.

    @return: the draft, if there is one.
    """
    history, content = load(records, HistoryRow, HISTORY, row.bucket, row.history), content_of(records, row)
    remove_row(records, seq)
    if row.kind in PIPED and content is not None:
        row = msgspec.structs.replace(row, sealed=False, stale=False, content=encode_record(unsealed(content)))
        save(records, OUTBOX, ROWS, row, seq)
        return row
    if row.content or row.again or history is None:
        return None
    row = msgspec.structs.replace(row, sealed=False, stale=False)
    save(records, OUTBOX, ROWS, row, seq)
    draft = msgspec.structs.replace(history, content=unsealed(history.content))
    save(records, HISTORY, row.bucket, draft, row.history)
    return row


def _next_number(records: IRecords) -> int:
    number = load_number(records, COUNTERS, NUMBER) + 1
    save_number(records, COUNTERS, NUMBER, number)
    return number


def _load_deposit(records: IRecords, seq: int) -> SealedDeposit:
    sealed = load(records, SealedDeposit, OUTBOX, SEALED, seq)
    assert sealed is not None, "a sealed row without its deposit"
    return sealed


def _deposit(profile: Profile, sealed: SealedDeposit, expiry: int) -> Deposit:
    parts: dict[str, list[Part]] = {}
    if sealed.room is not None:
        # So that we hear of a device of our own that we did not know.
        parts[profile.name] = []
    for part in sealed.parts:
        parts.setdefault(part.account or sealed.account, []).append(Part(part.device, part.own))
    to = [Destination(account, own) for account, own in parts.items()]
    return Deposit(sealed.deposit_id, sealed.n, expiry, sealed.common, to, sealed.room)
