"""
The outbox: turns drafts into deposits.

Every function works inside a transaction. A sealed deposit is saved, and sent again unchanged until the server answers.
Source: C{docs/protocol.md}, section "Deposit and delivery".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from securemsg.client.sending.results import content_of, give_up, remove
from securemsg.client.sessions import suites
from securemsg.client.sessions.addresses import Recipient, RecipientGone
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import pinned_suite
from securemsg.client.sessions.resets import make_reset_body
from securemsg.client.sessions.suites import Plan
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.counters import (
    OutStream,
    base_for,
    chain_digest,
    conversation_of,
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
    save,
    save_number,
    unsealed,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import KINDS, UNKNOWN, Content, ContentKey, Kind, encode_record
from securemsg.protocol.messages import Deposit, Destination, Part

# A message that was not accepted within this time is given up, seconds.
HORIZON = 30 * DAY


def prepare(records: IRecords, profile: Profile, seq: int, now: int, *, may_expire: bool = True) -> Deposit | None:
    """
    The deposit of an outbox row, which is sealed if it was not yet.

    @param may_expire: give up what has waited for too long; C{False} if the clock cannot be trusted.
    @return: C{None}: there is nothing to send in this row any more.
    @raise NeedAccount: ask the directory first.
    @raise NeedBundle: claim a bundle first.
    @raise Refusal: it has to wait; the code says why.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, seq)
    if row is None:
        return None
    if row.withdrawn or (may_expire and now - row.created_at > HORIZON):
        row = give_up(records, seq, "expired", now)
        if row is None:
            return None
    try:
        if not row.sealed:
            sealed = _seal(records, profile, row, seq, now)
        elif row.stale:
            sealed = _reseal(records, profile, row, seq, now)
        else:
            sealed = _load_deposit(records, seq)
    except RecipientGone as gone:
        give_up(records, seq, gone.code, now)
        return None
    return None if sealed is None else _deposit(sealed, row.expiry)


def _seal(records: IRecords, profile: Profile, row: OutboxRow, seq: int, now: int) -> SealedDeposit | None:
    """Seal a draft; C{None}: there is nothing to send any more."""
    recipient = PEERS[row.to.kind].recipient(records, profile, row.to, now)
    choice = pinned_suite(records, row.to)
    plans = suites.plan(records, profile, choice, recipient, now)
    # Nothing is refused from here on.
    content = _completed(records, profile, recipient.contact, row, now)
    if content is None:
        give_up(records, seq, "identity-changed", now)
        return None
    common, key = suites.make_common(encode_record(content), choice.key_size)
    parts = _parts(records, recipient, content, key, plans, {})
    if not row.content and not row.again:
        _count(records, row, content, choice.suite, _lacks_one_time(plans))
    contact = recipient.contact
    if content.kind == Kind.TEXT and PEERS[row.to.kind].has_account and not contact.known:
        contacts.put_contact(records, msgspec.structs.replace(contact, known=True))
    sealed = SealedDeposit(
        keys.random_id(), _next_number(records), row.to.account, common, key.key, parts, choice.suite, choice.key_file
    )
    save(records, OUTBOX, SEALED, sealed, seq)
    row = msgspec.structs.replace(row, sealed=True, content=encode_record(content) if row.content else b"")
    save(records, OUTBOX, ROWS, row, seq)
    return sealed


def _reseal(records: IRecords, profile: Profile, row: OutboxRow, seq: int, now: int) -> SealedDeposit | None:
    """Rebuild a deposit for the current devices. Devices that remain get the same bytes again."""
    recipient = PEERS[row.to.kind].recipient(records, profile, row.to, now)
    content = content_of(records, row)
    if content is None or content.conversation != conversation_of(
        profile.identity.public, recipient.contact.identity, row.to.kind
    ):
        draft = _return_to_draft(records, row, seq)
        return None if draft is None else _seal(records, profile, draft, seq, now)
    sealed = _load_deposit(records, seq)
    common, key = sealed.common, suites.content_key(sealed.key, sealed.common)
    kept = {part.device: part.own for part in sealed.parts}
    choice = pinned_suite(records, row.to)
    if (sealed.suite, sealed.key_file, len(sealed.key)) != (choice.suite, choice.key_file, choice.key_size):
        # The user has chosen another suite, file or cipher since: new devices get nothing that was sealed with the old one.
        kept = {}
        common, key = suites.make_common(encode_record(content), choice.key_size)
    plans = suites.plan(records, profile, choice, recipient, now, kept)
    parts = _parts(records, recipient, content, key, plans, kept)
    _note_sealing(records, row, choice.suite, _lacks_one_time(plans))
    anew = SealedDeposit(
        keys.random_id(), _next_number(records), row.to.account, common, key.key, parts, choice.suite, choice.key_file
    )
    save(records, OUTBOX, SEALED, anew, seq)
    save(records, OUTBOX, ROWS, msgspec.structs.replace(row, stale=False), seq)
    return anew


def _completed(records: IRecords, profile: Profile, contact: Contact, row: OutboxRow, now: int) -> Content | None:
    """The content of a row, with its counter and everything that it names."""
    content = content_of(records, row)
    conversation = conversation_of(profile.identity.public, contact.identity, row.to.kind)
    if content is None or content.counter:
        # A content that has a counter keeps it, and every byte, but only in the conversation where it was counted.
        return content if content is not None and content.conversation == conversation else None
    if row.again:
        return None
    body = content.body
    if row.kind == Kind.RESET:
        body = make_reset_body(records, profile, contact, now)
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
        peer_list=contact.mark,
        body=body,
    )


def _parts(
    records: IRecords,
    recipient: Recipient,
    content: Content,
    key: ContentKey,
    plans: Mapping[bytes, Plan],
    kept: Mapping[bytes, bytes],
) -> tuple[SealedPart, ...]:
    parts = []
    for device in recipient.devices:
        own = kept.get(device)
        if own is None:
            based = msgspec.structs.replace(key, base=base_for(records, device, content))
            own = plans[device].seal(records, based)
        parts.append(SealedPart(device, own))
    return tuple(parts)


def _lacks_one_time(plans: Mapping[bytes, Plan]) -> bool:
    """Whether for any device this message opens a session that began without a one-time prekey."""
    return any(plan.lacks_one_time for plan in plans.values())


def _count(records: IRecords, row: OutboxRow, content: Content, suite: str, lacks_one_time: bool) -> None:
    """Use the counter of a content, and save the content as it is sealed."""
    bucket = out_bucket(content.conversation, content.incarnation)
    digest = chain_digest(content)
    note_sent(records, content, digest)
    save(records, SENT, bucket, SentRow(row.to, row.history, digest), content.counter)
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history)
    assert history is not None, "a draft without history"
    sealed = msgspec.structs.replace(history, content=content, code="", suite=suite, lacks_one_time=lacks_one_time)
    save(records, HISTORY, row.to.bucket, sealed, row.history)


def _note_sealing(records: IRecords, row: OutboxRow, suite: str, lacks_one_time: bool) -> None:
    """Note in history how a message is sent that was sealed again for other devices."""
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history) if row.history and not row.again else None
    if history is not None:
        noted = msgspec.structs.replace(history, suite=suite, lacks_one_time=history.lacks_one_time or lacks_one_time)
        save(records, HISTORY, row.to.bucket, noted, row.history)


def _return_to_draft(records: IRecords, row: OutboxRow, seq: int) -> OutboxRow | None:
    """
    Turn a row that was sealed for another identity of the contact back into a draft; drop it if it is not a message.

    @return: the draft, if there is one.
    """
    history = load(records, HistoryRow, HISTORY, row.to.bucket, row.history)
    remove(records, seq)
    if row.content or row.again or history is None:
        return None
    row = msgspec.structs.replace(row, sealed=False, stale=False)
    save(records, OUTBOX, ROWS, row, seq)
    draft = msgspec.structs.replace(history, content=unsealed(history.content))
    save(records, HISTORY, row.to.bucket, draft, row.history)
    return row


def _next_number(records: IRecords) -> int:
    number = load_number(records, COUNTERS, NUMBER) + 1
    save_number(records, COUNTERS, NUMBER, number)
    return number


def _load_deposit(records: IRecords, seq: int) -> SealedDeposit:
    sealed = load(records, SealedDeposit, OUTBOX, SEALED, seq)
    assert sealed is not None, "a sealed row without its deposit"
    return sealed


def _deposit(sealed: SealedDeposit, expiry: int) -> Deposit:
    parts = [Part(part.device, part.own) for part in sealed.parts]
    return Deposit(sealed.deposit_id, sealed.n, expiry, sealed.common, [Destination(sealed.account, parts)])
