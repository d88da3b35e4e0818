"""
The outbox: how a draft becomes a deposit.

Every function is one step of the caller's transaction. What was sealed once is kept, and sent again as it is, until it is
answered for. Source: C{docs/protocol.md}, section "Client: order of durable steps".
"""

from __future__ import annotations

import msgspec

from securemsg.client.sending.results import GONE, content_of, give_up, remove
from securemsg.client.sessions import choices, encrypt, guests
from securemsg.client.sessions.resets import reset_body
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.counters import OutStream, chain_digest, conversation_of, out_bucket, out_stream, stream_of
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import (
    BASES,
    COUNTERS,
    HISTORY,
    NUMBER,
    OUTBOX,
    ROWS,
    SEALED,
    SENT,
    HistoryRow,
    OutboxRow,
    Sealed,
    SealedPart,
    SentRow,
    StreamStart,
    bucket_of,
    load,
    load_number,
    save,
    save_number,
    unsealed,
)
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content, ContentKey, Kind, encode_record
from securemsg.protocol.messages import Deposit, Destination, Part

# What nobody took for so long is given up.
HORIZON = 30 * DAY
# A contact's list is looked up again when it was last confirmed so long ago.
CHECK_AGE = DAY
# Kinds outside the counters.
UNCOUNTED = frozenset({Kind.RECEIPT, Kind.RESET})


class NeedAccount(Refusal):
    """Ask the directory for this account first."""

    def __init__(self, account: str) -> None:
        super().__init__("unknown-account")
        self.account = account


def prepare(records: IRecords, profile: Profile, order: int, now: int, *, may_expire: bool = True) -> Deposit | None:
    """
    Make the deposit of an outbox row: seal it if that was not done yet.

    @param may_expire: give up what has waited for too long; not where the clock cannot be trusted.
    @return: C{None}: there is nothing to send in this row any more.
    @raise NeedAccount: ask the directory first.
    @raise NeedBundle: claim a bundle first.
    @raise Refusal: it has to wait; the code says for what.
    """
    row = load(records, OutboxRow, OUTBOX, ROWS, order)
    if row is None:
        return None
    if row.device and guests.get_contact(records, row.to, row.device) is None:
        give_up(records, order, GONE, now)
        return None
    if row.withdrawn or (may_expire and now - row.created_at > HORIZON):
        row = give_up(records, order, "expired", now)
        if row is None:
            return None
    if row.sealed and row.stale:
        row = _reseal(records, profile, row, order, now)
    if row is None or row.sealed:
        return None if row is None else _deposit(row, _sealed(records, order))
    return _seal(records, profile, row, order, now)


def _seal(records: IRecords, profile: Profile, row: OutboxRow, order: int, now: int) -> Deposit | None:
    """Seal a draft."""
    contact = _recipient(records, row, now)
    _require_sessions(records, profile, contact, {}, now)
    # Nothing is refused from here on.
    content = _completed(records, profile, contact, row, now)
    if content is None:
        records.delete(OUTBOX, ROWS, order)
        return None
    choice = choices.chosen(records, row.to)
    common, key = encrypt.make_common(encode_record(content), choice.suite)
    parts = _parts(records, profile, contact, row, content, key, {}, now)
    if not row.content and not row.again:
        _count(records, row, content, choice.suite)
    sealed = Sealed(
        keys.random_id(), _next_number(records), common, key.key, parts, choice.suite, choice.key_file
    )
    save(records, OUTBOX, SEALED, sealed, order)
    held = encode_record(content) if row.content else b""
    row = msgspec.structs.replace(row, sealed=True, content=held)
    save(records, OUTBOX, ROWS, row, order)
    return _deposit(row, sealed)


def _reseal(records: IRecords, profile: Profile, row: OutboxRow, order: int, now: int) -> OutboxRow | None:
    """
    Make a deposit anew for the devices that there are now. Devices that stay get their bytes again.

    @return: the row as it is now; C{None}: nothing is left of it.
    """
    contact = _recipient(records, row, now)
    content = content_of(records, row)
    if content is None or content.conversation != conversation_of(profile.identity.public, contact.identity):
        return _return_to_draft(records, row, order)
    sealed = _sealed(records, order)
    common, key = sealed.common, ContentKey(sealed.key, keys.sha256(sealed.common), None)
    kept = {part.device: part.own for part in sealed.parts}
    choice = choices.chosen(records, row.to)
    if (sealed.suite, sealed.key_file) != (choice.suite, choice.key_file):
        # The user has chosen another suite or file since: nothing of the other is sent to a device that did not get it before.
        kept = {}
        common, key = encrypt.make_common(encode_record(content), choice.suite)
    _require_sessions(records, profile, contact, kept, now)
    parts = _parts(records, profile, contact, row, content, key, kept, now)
    _note_suite(records, row, choice.suite)
    anew = Sealed(keys.random_id(), _next_number(records), common, key.key, parts, choice.suite, choice.key_file)
    save(records, OUTBOX, SEALED, anew, order)
    row = msgspec.structs.replace(row, stale=False)
    save(records, OUTBOX, ROWS, row, order)
    return row


def _recipient(records: IRecords, row: OutboxRow, now: int) -> Contact:
    """Whom a row goes to, as the directory confirmed not long ago; no directory knows who called."""
    name = row.to
    if row.device:
        caller = guests.get_contact(records, name, row.device)
        assert caller is not None, "it was there at the beginning of the step"
        return caller
    contact = contacts.get_contact(records, name)
    if contact is not None and contact.is_blocked:
        raise Refusal("identity-changed")
    if contact is None or contact.devices is None or abs(now - contact.checked_at) > CHECK_AGE:
        raise NeedAccount(name)
    return contact


def _completed(records: IRecords, profile: Profile, contact: Contact, row: OutboxRow, now: int) -> Content | None:
    """The content of a row, with its counter and everything that it names."""
    content = content_of(records, row)
    conversation = conversation_of(profile.identity.public, contact.identity)
    if content is None or content.counter:
        # What had its counter before keeps it, and every byte; but it belongs to the conversation it was counted in.
        return content if content is not None and content.conversation == conversation else None
    if row.again:
        return None
    body = content.body
    if row.kind == Kind.RESET:
        body = reset_body(records, contact, conversation, now)
    counted = row.kind not in UNCOUNTED
    before = out_stream(records, conversation, profile.incarnation) if counted else OutStream(0, b"")
    return msgspec.structs.replace(
        content,
        conversation=conversation,
        device=profile.device_id,
        incarnation=profile.incarnation,
        counter=before.counter + 1 if counted else 0,
        previous=before.digest,
        own_list=profile.mark,
        peer_list=contact.mark,
        body=body,
    )


def _require_sessions(records: IRecords, profile: Profile, contact: Contact, kept: dict[bytes, bytes], now: int) -> None:
    """See that every device can be sealed for, before anything is: what is refused half-way would have used up message keys."""
    for device in contacts.devices(contact):
        if device.id not in kept:
            encrypt.require(records, profile, contact, device, now)


def _parts(
    records: IRecords,
    profile: Profile,
    contact: Contact,
    row: OutboxRow,
    content: Content,
    key: ContentKey,
    kept: dict[bytes, bytes],
    now: int,
) -> tuple[SealedPart, ...]:
    """The own parts of all devices of a contact; or of the one that the row is for."""
    parts = []
    if row.device:
        told = msgspec.structs.replace(key, base=_base(records, row.device, content))
        parts.append(SealedPart(row.device, guests.seal(records, profile, row.to, row.device, told, now)))
    for device in contacts.devices(contact):
        own = kept.get(device.id)
        if own is None:
            told = msgspec.structs.replace(key, base=_base(records, device.id, content))
            own = encrypt.seal(records, profile, contact, device, told, now)
        parts.append(SealedPart(device.id, own))
    return tuple(parts)


def _base(records: IRecords, device: bytes, content: Content) -> int | None:
    """What to tell a device about where its share of this stream begins, until it was heard."""
    if not content.counter:
        return None
    bucket = BASES + device + stream_of(content)
    base = load(records, StreamStart, COUNTERS, bucket)
    if base is None or content.counter <= base.counter:
        base = StreamStart(content.counter - 1)
        save(records, COUNTERS, bucket, base)
    return None if base.heard else base.counter


def _count(records: IRecords, row: OutboxRow, content: Content, suite: str) -> None:
    """Take the counter of a content, and keep the content as it is sealed."""
    bucket = out_bucket(content.conversation, content.incarnation)
    digest = chain_digest(content)
    save(records, COUNTERS, bucket, OutStream(content.counter, digest))
    save(records, SENT, bucket, SentRow(row.to, row.history, digest), content.counter)
    history = load(records, HistoryRow, HISTORY, bucket_of(row.to), row.history)
    assert history is not None, "a draft without history"
    sealed = msgspec.structs.replace(history, content=content, code="", suite=suite)
    save(records, HISTORY, bucket_of(row.to), sealed, row.history)


def _note_suite(records: IRecords, row: OutboxRow, suite: str) -> None:
    """Say in history with which suite a message goes out."""
    history = load(records, HistoryRow, HISTORY, bucket_of(row.to), row.history) if row.history and not row.again else None
    if history is not None and history.suite != suite:
        save(records, HISTORY, bucket_of(row.to), msgspec.structs.replace(history, suite=suite), row.history)


def _return_to_draft(records: IRecords, row: OutboxRow, order: int) -> OutboxRow | None:
    """
    What was sealed for another identity of a contact is written anew for this one; what was no message is dropped.

    @return: the draft, if there is one.
    """
    history = load(records, HistoryRow, HISTORY, bucket_of(row.to), row.history)
    remove(records, order)
    if row.content or row.again or history is None:
        return None
    row = msgspec.structs.replace(row, sealed=False, stale=False)
    save(records, OUTBOX, ROWS, row, order)
    draft = msgspec.structs.replace(history, content=unsealed(history.content))
    save(records, HISTORY, bucket_of(row.to), draft, row.history)
    return row


def _next_number(records: IRecords) -> int:
    """The next C{n} of this device."""
    number = load_number(records, COUNTERS, NUMBER) + 1
    save_number(records, COUNTERS, NUMBER, number)
    return number


def _sealed(records: IRecords, order: int) -> Sealed:
    """The sealed form of a row that has one."""
    sealed = load(records, Sealed, OUTBOX, SEALED, order)
    assert sealed is not None, "a sealed row without its ciphertext"
    return sealed


def _deposit(row: OutboxRow, sealed: Sealed) -> Deposit:
    """A sealed row as it goes over the wire."""
    parts = [Part(part.device, part.own) for part in sealed.parts]
    return Deposit(sealed.deposit_id, sealed.n, row.expiry, sealed.common, [Destination(row.to, parts)])
