"""
Suite C{psk}: session messages are sealed under a key file, with nonces.

A sender's messages to one device belong to an epoch: a random nonce, which salts their key, and a counter. Where one end is a
guest both take the nonce of the connection instead. There is no forward secrecy: anyone who gets the file can read everything,
earlier and later. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

import msgspec
from attrs import evolve, frozen

from securemsg.client.sessions import store
from securemsg.client.sessions.addresses import CONNECTION, DeviceAddress, Opened, Recipient, checked_key, own_address
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import Chosen, WrongKey, pinned_suite
from securemsg.client.sessions.store import EPOCHS
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import SEEN, load, save
from securemsg.crypto import keys, primitives
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import KEY_MESSAGE, length_prefixed
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.errors import LocalProtocolError, Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    CONTENT_KEY_SIZES,
    PSK,
    SUITES,
    ContentKey,
    Envelope,
    Introduction,
    KeyHeader,
    encode_record,
)
from securemsg.protocol.messages import Counter, Record

# An epoch of ours ends after this many messages, or at this age in seconds.
MAX_MESSAGES = 100
LIFE = DAY


class Epoch(Record, frozen=True):
    """
    The state of our messages to one device.

    @ivar nonce: random; or of the connection.
    @ivar counter: of the last message.
    @ivar identity: of the device's account.
    @ivar has_replied: we have opened something from this device, so it knows us.
    @ivar over: the next message begins a new epoch.
    """

    nonce: bytes
    number: Counter
    counter: Counter
    began_at: Counter
    identity: bytes
    has_replied: bool = False
    over: bool = False


@frozen
class Plan:
    """The next message for one device, with its epoch as it is after the message."""

    lacks_one_time = False
    _key: SharedKey
    _sender: DeviceAddress
    _recipient: DeviceAddress
    _epoch: Epoch
    _introduction: Introduction | None

    def seal(self, records: IRecords, content_key: ContentKey) -> bytes:
        """See C{suites.Plan.seal}. The message is counted."""
        if len(content_key.key) != CONTENT_KEY_SIZES[PSK]:
            raise LocalProtocolError("a content key of another suite")
        epoch, sender, recipient = self._epoch, self._sender, self._recipient
        introduction = None if epoch.has_replied else self._introduction
        header = encode_record(KeyHeader(PSK, SUITES[PSK], epoch.nonce, epoch.number, epoch.counter, introduction))
        epoch_key = message_key(self._key, sender, recipient, epoch.nonce, epoch.number)
        associated = associated_data(sender, recipient, header, content_key.common)
        sealed = primitives.a128cbc_hs256_encrypt(epoch_key, encode_record(content_key), associated)
        save(records, EPOCHS, recipient.bucket, epoch)
        return encode_record(Envelope(header, sealed))


def plan(records: IRecords, profile: Profile, choice: Chosen, recipient: Recipient, device: bytes, now: int) -> Plan:
    """Find the epoch of the next message for a device."""
    address = recipient.address(device)
    epoch = next_epoch(records, address, recipient.connection, now)
    return Plan(choice.shared, own_address(profile), address, epoch, recipient.introduction)


def open_part(
    records: IRecords,
    profile: Profile,
    conversation: Conversation,
    sender: DeviceAddress,
    envelope: Envelope,
    header: KeyHeader,
    common: bytes,
    now: int,
) -> Opened:
    """
    Open an own part, if the user gave us a key file for its sender. Nothing changes before it has proved itself.

    @param sender: as the server says; its identity is not proved yet.
    @raise Refusal: C{suite-unavailable}, C{no-session}; or see L{decipher}, C{Peer.alleged_sender} and L{Peer.adopt_sender}.
    """
    choice, peer = pinned_suite(records, conversation), PEERS[conversation.kind]
    if not choice.key:
        raise Refusal("suite-unavailable")
    contact = peer.alleged_sender(records, profile, sender, choice.shared, header, now)
    introduction = header.introduction
    identity = introduction.identity if introduction is not None else b"" if contact is None else contact.identity
    if not identity:
        raise Refusal("no-session")
    sender = evolve(sender, identity=identity)
    content_key = decipher(records, choice.shared, sender, own_address(profile), header, envelope, common)
    contact = peer.adopt_sender(records, profile, sender, contact, header, now)
    note_received(records, sender, header, now)
    return Opened(conversation, contact, sender.device, content_key, header.counter == 1, PSK)


def decipher(
    records: IRecords,
    key: SharedKey,
    sender: DeviceAddress,
    recipient: DeviceAddress,
    header: KeyHeader,
    envelope: Envelope,
    common: bytes,
) -> ContentKey:
    """
    Open an own part; nothing changes.

    @param common: SHA-256 of the common part that came with it.
    @raise WrongKey: this sender did not seal these bytes for us with this file.
    @raise AlreadyUsed: a message with this nonce and counter was opened before.
    @raise Refusal: as L{checked_key}.
    """
    epoch_key = message_key(key, sender, recipient, header.nonce, header.epoch)
    associated = associated_data(sender, recipient, envelope.header, common)
    try:
        plaintext = primitives.a128cbc_hs256_decrypt(epoch_key, envelope.sealed, associated)
    except Unauthentic:
        raise WrongKey from None
    if records.get(SEEN, _seen(sender, header), header.counter) is not None:
        raise AlreadyUsed("a nonce and counter that came before")
    return checked_key(PSK, plaintext, common)


def archive(records: IRecords, account: str, device: bytes) -> None:
    """The next message for this device begins an epoch, and introduces us."""
    _end(records, store.bucket_of(account, device))


def archive_all(records: IRecords) -> None:
    """The next message for any device begins an epoch: the counters may have been used since this state was saved."""
    for bucket in {bucket for bucket, _, _ in records.scan(EPOCHS)}:
        _end(records, bucket)


def message_key(key: SharedKey, sender: DeviceAddress, recipient: DeviceAddress, nonce: bytes, number: int) -> bytes:
    """The key of an epoch in one direction; the sender comes first."""
    ends = (sender.account.encode(), sender.device, recipient.account.encode(), recipient.device)
    return key.content_key(nonce, *ends, number.to_bytes(8, "big"))


def associated_data(sender: DeviceAddress, recipient: DeviceAddress, header: bytes, common: bytes) -> bytes:
    """The associated data of a message: suite and version, sender and recipient, the clear header and the common part."""
    return length_prefixed(
        KEY_MESSAGE,
        PSK.encode(),
        SUITES[PSK].to_bytes(4, "big"),
        *sender.parts,
        *recipient.parts,
        header,
        common,
    )


def note_received(records: IRecords, sender: DeviceAddress, header: KeyHeader, now: int) -> None:
    """Note an authentic message: its nonce and counter are never accepted again, and its sender knows us."""
    records.put(SEEN, _seen(sender, header), b"", header.counter)
    epoch = load(records, Epoch, EPOCHS, sender.bucket)
    if epoch is None or epoch.identity != sender.identity:
        # Only to remember that; the first message of ours begins an epoch.
        number = 0 if epoch is None else epoch.number
        epoch = Epoch(bytes(keys.NONCE_SIZE), number, 0, now, sender.identity, over=True)
    if not epoch.has_replied:
        save(records, EPOCHS, sender.bucket, msgspec.structs.replace(epoch, has_replied=True))


def next_epoch(records: IRecords, recipient: DeviceAddress, connection: bytes, now: int) -> Epoch:
    """
    The epoch of the next message, as it is after that message; sealing saves it.

    @param connection: the nonce of the connection, where one end is a guest; else empty.
    """
    epoch = load(records, Epoch, EPOCHS, recipient.bucket)
    is_known = epoch is not None and epoch.identity == recipient.identity
    has_replied = epoch is not None and is_known and epoch.has_replied
    if connection:
        # A connection has no other nonce to take, so that its counter only ever rises.
        fits = epoch is not None and epoch.nonce == connection
        before = epoch if epoch is not None and fits else Epoch(connection, CONNECTION, 0, now, recipient.identity, has_replied)
    else:
        number = 1 if epoch is None else epoch.number + 1
        fits = epoch is not None and is_known and not epoch.over
        if epoch is None or not fits or epoch.counter >= MAX_MESSAGES or abs(now - epoch.began_at) >= LIFE:
            before = Epoch(keys.nonce(), number, 0, now, recipient.identity, has_replied)
        else:
            before = epoch
    return msgspec.structs.replace(before, counter=before.counter + 1)


def _end(records: IRecords, bucket: bytes) -> None:
    epoch = load(records, Epoch, EPOCHS, bucket)
    if epoch is not None:
        save(records, EPOCHS, bucket, msgspec.structs.replace(epoch, has_replied=False, over=True))


def _seen(sender: DeviceAddress, header: KeyHeader) -> bytes:
    """The bucket under which the counters of a nonce are known."""
    return b"epoch/" + length_prefixed(sender.account.encode(), sender.device, header.nonce)
