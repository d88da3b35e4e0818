"""
Callers, as the contact C{server} sees them: whoever holds the daemon's key file, without an account.

All of them have one name, after the file. Each connection is a device of its own, with an identity that both ends derive from
the file and the login, and so with a conversation of its own, whose counters begin at 1. The server keeps nothing for it: what
is said to a connection that is gone is given up. What belongs to a connection is forgotten some time after it, and never while
it stands, for its counters must not begin again. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from securemsg.client.sending import results
from securemsg.client.sessions import psk, suites
from securemsg.client.sessions.addresses import DeviceAddress
from securemsg.client.sessions.psk import CONNECTION, WrongKey
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.counters import conversation_of, out_bucket
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.state.records import (
    BASES,
    COUNTERS,
    GAPS,
    HISTORY,
    INBOUND,
    INDEX,
    OPEN,
    OUTBOX,
    ROWS,
    SENT,
    STREAM_IN,
    STREAMS,
    HistoryRow,
    MessageIndex,
    OutboxRow,
    Status,
    bucket_of,
    find_sent,
    load,
    load_all,
    next_places,
    save,
    unsealed,
)
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import ContentKey, KeyHeader
from securemsg.protocol.messages import Counter, Id, Key, Name, Nonce, Record

TABLE = "callers"  # bucket = device of a connection; or the name of all, order = by when they were last heard
ORIGIN = "key file"

# For how long a connection that is gone is remembered after it was last heard: what it said may still be on its way to us.
GRACE = 3600
# Where more than this many are remembered, it is for no longer than this: whoever has the file may call as often as it likes.
MAX_CONNECTIONS = 4096
SHORT_GRACE = 60
# Connections that are forgotten in one transaction.
PAGE = 256


class Connection(Record, frozen=True):
    """
    Somebody who called.

    @ivar nonce: of the connection.
    @ivar identity: derived from that and the file.
    @ivar place: among the others.
    """

    name: Name
    nonce: Nonce
    identity: Key
    heard_at: Counter
    place: Counter


class _Listed(Record, frozen=True):
    """Which device lies in a place."""

    device: Id


def admit(records: IRecords, key: SharedKey, now: int) -> None:
    """The daemon has this key file, and no other."""
    if suites.chosen(records, key.name).key != key.secret:
        dismiss(records)
        suites.choose(records, key.name, suites.PSK, key.secret, now=now)
    if contacts.get_contact(records, key.name) is None:
        contact = Contact(key.name, key.fingerprint, True, None, 0, b"", now, 0, b"", None, ORIGIN)
        contacts.put_contact(records, contact)


def dismiss(records: IRecords) -> None:
    """
    The daemon has no key file any more: what comes from whoever holds it is not opened. What was said stays, for as long as
    everything else.
    """
    for contact in contacts.all_contacts(records):
        if suites.is_caller(contact.name):
            suites.forget(records, contact.name)


def latest_of(records: IRecords, devices: Iterable[bytes]) -> bytes:
    """The device of the connection that wrote last among these; empty where none of them has written."""
    found = [(known.place, device) for device in devices if (known := load(records, Connection, TABLE, device)) is not None]
    return max(found)[1] if found else b""


def get_contact(records: IRecords, name: str, device: bytes) -> Contact | None:
    """Whoever is at the other end of a connection; C{None}: it is forgotten, or its file is not the daemon's any more."""
    connection = load(records, Connection, TABLE, device)
    if connection is None or connection.name != name or suites.chosen(records, name).suite != suites.PSK:
        return None
    return _contact(name, connection.identity, connection.heard_at)


def speaking(key: SharedKey, name: str, device: bytes, header: KeyHeader, now: int) -> Contact:
    """
    Who must have made a message, if anybody has; nothing is kept.

    @raise WrongKey: no connection has this device and this header.
    """
    if header.epoch != CONNECTION or header.introduction is not None or keys.caller_device(header.nonce) != device:
        raise WrongKey
    return _contact(name, key.caller_identity(header.nonce).public, now)


def hear(records: IRecords, contact: Contact, device: bytes, header: KeyHeader, now: int) -> None:
    """A message of this connection proved itself: it is the one that was heard last."""
    bucket = bucket_of(contact.name)
    known = load(records, Connection, TABLE, device)
    last = records.last(TABLE, bucket)
    if known is not None:
        if known.place == last and abs(now - known.heard_at) < GRACE // 2:
            return
        records.delete(TABLE, bucket, known.place)
    save(records, TABLE, bucket, _Listed(device), last + 1)
    save(records, TABLE, device, Connection(contact.name, header.nonce, contact.identity, now, last + 1))


def seal(records: IRecords, profile: Profile, name: str, device: bytes, content_key: ContentKey, now: int) -> bytes:
    """Make the own part for a connection that L{get_contact} knows."""
    connection = load(records, Connection, TABLE, device)
    assert connection is not None and connection.name == name, "a connection that nobody knows"
    key = suites.chosen(records, name).shared
    own = DeviceAddress(profile.name, profile.device_id, profile.identity.public)
    peer = DeviceAddress(name, device, connection.identity)
    return psk.seal(records, key, own, peer, content_key, now, connection=connection.nonce)


def said_again(records: IRecords, name: str, place: int, answer_id: bytes, device: bytes, now: int) -> None:
    """
    A caller says in a new connection what came before in another, because it did not hear that it arrived: it is to be answered
    in the new one.

    @param place: of what came before, in history.
    """
    row = load(records, HistoryRow, HISTORY, bucket_of(name), place)
    if row is not None and records.get(INBOUND, ROWS, place) is not None:
        # Not answered yet.
        content = msgspec.structs.replace(row.content, device=device)
        save(records, HISTORY, bucket_of(name), msgspec.structs.replace(row, content=content), place)
        return
    found = find_sent(records, answer_id)
    if found is None or found[0].name != name:
        return
    known, row = found
    results.remove(records, known.outbox)
    place = next_places(records)
    again = msgspec.structs.replace(row, content=unsealed(row.content), status=Status.QUEUED, code="")
    save(records, HISTORY, bucket_of(name), again, known.history)
    save(records, OUTBOX, ROWS, OutboxRow(name, row.content.kind, known.history, now, row.expiry, device=device), place)
    save(records, INDEX, answer_id, MessageIndex(name, known.history, place))


def _contact(name: str, identity: bytes, now: int) -> Contact:
    """A contact for as long as a connection lasts. To have the file is to be verified."""
    return Contact(name, identity, True, None, 0, b"", now, 0, b"", None, ORIGIN)


def forget_gone(store: IProfileStore, now: float, present: frozenset[bytes]) -> int:
    """
    Forget the connections that are gone: nobody can ever speak in them again. To be called now and then.

    @param present: devices of the connections that stand.
    @return: how many were forgotten.
    """
    with store.reading() as records:
        profile = load_profile(records)
        names = [contact.name for contact in contacts.all_contacts(records) if suites.is_caller(contact.name)]
    count = 0
    for name in names:
        after: int | None = -1
        while profile is not None and after is not None:
            with store.writing() as records:
                after, forgotten = _forget_page(records, profile, name, after, now, present)
            count += forgotten
    return count


def _forget_page(
    records: IRecords, profile: Profile, name: str, after: int, now: float, present: frozenset[bytes]
) -> tuple[int | None, int]:
    """
    Look at some of the connections of a name, those first that were not heard for the longest time.

    @param after: the place to begin behind.
    @return: where to go on, C{None} where that was all; and how many were forgotten.
    """
    bucket, count = bucket_of(name), 0
    surplus = records.count(TABLE, bucket) - MAX_CONNECTIONS
    page = load_all(records, _Listed, TABLE, bucket, after, PAGE)
    for place, listed in page:
        connection = load(records, Connection, TABLE, listed.device)
        grace = SHORT_GRACE if count < surplus else GRACE
        if connection is not None and abs(now - connection.heard_at) <= grace:
            # Those behind it were heard later.
            return None, count
        if listed.device not in present:
            records.delete(TABLE, bucket, place)
            if connection is not None:
                _forget(records, profile, listed.device, connection)
                count += 1
    return (page[-1][0] if len(page) == PAGE else None), count


def _forget(records: IRecords, profile: Profile, device: bytes, connection: Connection) -> None:
    """Forget how far a conversation came. What was seen stays known."""
    conversation = conversation_of(profile.identity.public, connection.identity)
    outgoing = out_bucket(conversation, profile.incarnation)
    for _, counter, _ in records.scan(SENT, outgoing):
        records.delete(SENT, outgoing, counter)
    for _, order, stream in records.scan(COUNTERS, STREAMS + conversation):
        for _, counter, _ in records.scan(COUNTERS, GAPS + stream):
            records.delete(COUNTERS, GAPS + stream, counter)
        records.delete(COUNTERS, STREAM_IN + stream)
        records.delete(COUNTERS, STREAMS + conversation, order)
    own = profile.device_id + profile.incarnation.to_bytes(8, "big") + conversation
    for bucket in (outgoing, BASES + device + own, OPEN + device):
        records.delete(COUNTERS, bucket)
    records.delete(psk.TABLE, DeviceAddress(connection.name, device, connection.identity).bucket)
    records.delete(TABLE, device)
