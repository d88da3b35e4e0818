"""
Callers, as the contact C{server} sees them: whoever holds the daemon's key file, without an account.

All of them have one name, after the file. Each connection is a device of its own, with an identity that both ends derive from
the file and the login, and so with a conversation of its own, whose counters begin at 1. The server keeps nothing for it: what
is said to a connection that is gone is given up. What belongs to a connection is forgotten some time after it, and never while
it stands, for its counters must not begin again. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from collections.abc import Collection

from securemsg.client.sessions import choices, psk
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
    OPEN,
    SENT,
    STREAM_IN,
    STREAMS,
    HistoryRow,
    bucket_of,
    load,
    load_all,
    save,
)
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import ContentKey, KeyHeader
from securemsg.protocol.messages import Counter, Key, Name, Nonce, Record

TABLE = "callers"  # bucket = device of a connection
ORIGIN = "key file"

# For how long a connection that is gone is remembered after it was last heard: what it said may still be on its way to us.
GRACE = 3600
# Where more than this many are remembered, it is for no longer than this: whoever has the file may call as often as it likes.
MAX_CONNECTIONS = 4096
SHORT_GRACE = 60
# A connection that is heard all the time is not written down each time.
HEARD_STEP = 10
# Connections that are forgotten in one transaction.
PAGE = 256


class Connection(Record, frozen=True):
    """
    Somebody who called.

    @ivar nonce: of the connection.
    @ivar identity: derived from that and the file.
    @ivar heard_at: when it was heard last, but for L{HEARD_STEP}.
    """

    name: Name
    nonce: Nonce
    identity: Key
    heard_at: Counter


def admit(records: IRecords, key: SharedKey, now: int) -> None:
    """The daemon has this key file, and no other."""
    if choices.chosen(records, key.name).key != key.secret:
        dismiss(records)
        choices.choose(records, key.name, choices.PSK, key.secret)
    if contacts.get_contact(records, key.name) is None:
        contact = Contact(key.name, key.fingerprint, True, None, 0, b"", now, 0, b"", None, ORIGIN)
        contacts.put_contact(records, contact)


def dismiss(records: IRecords) -> None:
    """
    The daemon has no key file any more: what comes from whoever holds it is not opened. What was said stays, for as long as
    everything else.
    """
    for contact in contacts.all_contacts(records):
        if choices.is_caller(contact.name):
            choices.forget(records, contact.name)


def latest_of(records: IRecords, name: str, devices: Collection[bytes]) -> bytes:
    """The device of the connection that wrote last among these; empty where none of them has written."""
    rows = load_all(records, HistoryRow, HISTORY, bucket_of(name))
    return next((row.content.device for _, row in reversed(rows) if not row.sent and row.content.device in devices), b"")


def get_contact(records: IRecords, name: str, device: bytes) -> Contact | None:
    """Whoever is at the other end of a connection; C{None}: it is forgotten, or its file is not the daemon's any more."""
    connection = load(records, Connection, TABLE, device)
    if connection is None or connection.name != name or choices.chosen(records, name).suite != choices.PSK:
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
    """A message of this connection proved itself."""
    known = load(records, Connection, TABLE, device)
    if known is None or abs(now - known.heard_at) >= HEARD_STEP:
        save(records, TABLE, device, Connection(contact.name, header.nonce, contact.identity, now))


def seal(records: IRecords, profile: Profile, name: str, device: bytes, content_key: ContentKey, now: int) -> bytes:
    """Make the own part for a connection that L{get_contact} knows."""
    connection = load(records, Connection, TABLE, device)
    assert connection is not None and connection.name == name, "a connection that nobody knows"
    key = choices.chosen(records, name).shared
    own = DeviceAddress(profile.name, profile.device_id, profile.identity.public)
    peer = DeviceAddress(name, device, connection.identity)
    return psk.seal(records, key, own, peer, content_key, now, connection=connection.nonce)


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
        found = [(device, load(records, Connection, TABLE, device)) for device, _, _ in records.scan(TABLE)]
    known = [(device, row) for device, row in found if row is not None]
    left = sorted((entry for entry in known if entry[0] not in present), key=lambda entry: entry[1].heard_at)
    # Of those that are too many the ones that were heard first go sooner.
    surplus = len(known) - MAX_CONNECTIONS
    gone = [
        (device, row)
        for number, (device, row) in enumerate(left)
        if abs(now - row.heard_at) > (SHORT_GRACE if number < surplus else GRACE)
    ]
    if profile is not None:
        for first in range(0, len(gone), PAGE):
            with store.writing() as records:
                for device, row in gone[first : first + PAGE]:
                    _forget(records, profile, device, row)
    return len(gone)


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
