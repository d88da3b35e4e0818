"""
Guests, as the contact C{server} sees them: people who have the daemon's key file and no account.

All of them have one name, after the file. Each connection is a device of its own, with an identity that both ends derive from
the file and the login, and so with a conversation of its own, whose counters begin at 1. The server keeps nothing for it: what
is sent to a connection that is gone is given up. What belongs to a connection is forgotten some time after it ended, and never
before, because its counters must not begin again. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import evolve

from securemsg.client.sessions import pins, store
from securemsg.client.sessions.addresses import CONNECTION, DeviceAddress, Recipient, RecipientGone
from securemsg.client.sessions.pins import WrongKey
from securemsg.client.state import contacts, counters, gaps
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, is_guest, with_guest
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.gaps import Arrival
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.state.records import HISTORY, HistoryRow, load, load_all, save
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import PSK, Content, KeyHeader, Share
from securemsg.protocol.messages import Counter, Key, Name, Nonce, Record

TABLE = "guests"  # bucket = device of a connection
ORIGIN = "key file"

# Seconds for which an ended connection is remembered after its last message: others may still be waiting for us.
GRACE = 3600
# If more than this many are remembered, they are forgotten after this time: guests may connect as often as they like.
MAX_CONNECTIONS = 4096
SHORT_GRACE = 60
# The time of the last message is saved no more often than this.
RECEIVED_STEP = 10
# Connections that are forgotten in one transaction.
PAGE = 256


class GuestConnection(Record, frozen=True):
    """
    A connection of a guest.

    @ivar nonce: of the connection.
    @ivar identity: derived from that and the file.
    @ivar received_at: when its last message came, to within L{RECEIVED_STEP}.
    """

    name: Name
    nonce: Nonce
    identity: Key
    received_at: Counter


def admit(records: IRecords, key: SharedKey, now: int) -> None:
    """Admit guests with this key file, and with no other."""
    guests = with_guest(key.name)
    if pins.pinned_suite(records, guests).key != key.secret:
        dismiss(records)
        pins.pin_suite(records, guests, PSK, key.secret)
    if contacts.get_contact(records, key.name) is None:
        contacts.put_contact(records, _contact(key.name, key.fingerprint, now))


def dismiss(records: IRecords) -> None:
    """
    Admit no guests: their messages are not opened any more. The history stays, for as long as that of others.
    """
    for contact in contacts.all_contacts(records):
        if is_guest(contact.name):
            pins.forget(records, with_guest(contact.name))


def latest_of(records: IRecords, name: str, devices: Collection[bytes]) -> bytes:
    """The device of the connection that wrote last among these; empty where none of them has written."""
    rows = load_all(records, HistoryRow, HISTORY, with_guest(name).bucket)
    return next((row.content.device for _, row in reversed(rows) if not row.sent and row.content.device in devices), b"")


def get_connection(records: IRecords, conversation: Conversation) -> GuestConnection | None:
    """The connection of a guest; C{None}: it is forgotten, or its file is not the daemon's any more."""
    connection = load(records, GuestConnection, TABLE, conversation.device)
    if connection is None or connection.name != conversation.account or not pins.pinned_suite(records, conversation).key:
        return None
    return connection


class GuestPeer:
    """The peer in conversations with guests. See L{securemsg.client.sessions.peers.Peer}."""

    has_account = False

    def is_known(self, records: IRecords, conversation: Conversation) -> bool:
        """See C{Peer.is_known}."""
        return get_connection(records, conversation) is not None

    def recipient(self, records: IRecords, profile: Profile, conversation: Conversation, now: int) -> Recipient:
        """See C{Peer.recipient}."""
        connection = get_connection(records, conversation)
        if connection is None:
            raise RecipientGone
        contact = _contact(connection.name, connection.identity, connection.received_at)
        return Recipient(contact, (conversation.device,), connection.nonce)

    def alleged_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, key: SharedKey, header: KeyHeader, now: int
    ) -> Contact:
        """See C{Peer.alleged_sender}."""
        if header.epoch != CONNECTION or header.introduction is not None or keys.guest_device(header.nonce) != sender.device:
            raise WrongKey
        return _contact(sender.account, key.guest_identity(header.nonce).public, now)

    def adopt_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, contact: Contact | None, header: KeyHeader, now: int
    ) -> Contact:
        """See C{Peer.adopt_sender}."""
        assert contact is not None, "an alleged sender"
        known = load(records, GuestConnection, TABLE, sender.device)
        if known is None or abs(now - known.received_at) >= RECEIVED_STEP:
            save(records, TABLE, sender.device, GuestConnection(contact.name, header.nonce, contact.identity, now))
        return contact

    def count(self, records: IRecords, content: Content, base: Share | None, now: int) -> Arrival:
        """See C{Peer.count}. A stream that is unknown begins, or was forgotten: nothing before it is missing."""
        is_known = gaps.in_stream(records, counters.stream_of(content)).highest > 0
        arrival = gaps.receive(records, content, Share(0, content.counter - 1), now)
        return arrival if is_known else evolve(arrival, lost=0)


def _contact(name: str, identity: bytes, now: int) -> Contact:
    """A contact that has the file, which makes it verified; that of a connection lasts as long."""
    return contacts.new_contact(name, identity, ORIGIN, now, verified=True)


def forget_gone(profile_store: IProfileStore, now: float, present: frozenset[bytes]) -> int:
    """
    Forget ended connections: no message can come from them any more. To be called now and then.

    @param present: devices of the open connections.
    @return: how many were forgotten.
    """
    with profile_store.reading() as records:
        profile = load_profile(records)
        found = [(device, load(records, GuestConnection, TABLE, device)) for device, _, _ in records.scan(TABLE)]
    known = [(device, row) for device, row in found if row is not None]
    left = sorted((entry for entry in known if entry[0] not in present), key=lambda entry: entry[1].received_at)
    # If there are too many, those that wrote the longest ago go first.
    surplus = len(known) - MAX_CONNECTIONS
    gone = [
        (device, row)
        for number, (device, row) in enumerate(left)
        if abs(now - row.received_at) > (SHORT_GRACE if number < surplus else GRACE)
    ]
    if profile is not None:
        for first in range(0, len(gone), PAGE):
            with profile_store.writing() as records:
                for device, row in gone[first : first + PAGE]:
                    _forget(records, profile, device, row)
    return len(gone)


def _forget(records: IRecords, profile: Profile, device: bytes, connection: GuestConnection) -> None:
    """Forget the counters of a conversation. Ids of seen messages stay known."""
    conversation = conversation_of(profile.identity.public, connection.identity)
    counters.forget_conversation(records, profile, conversation, device)
    records.delete(store.EPOCHS, store.bucket_of(connection.name, device))
    records.delete(TABLE, device)
