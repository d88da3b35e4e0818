"""
Suite C{psk}: session messages are sealed under a key file, with nonces.

A random nonce salts the key of an epoch. Where one end is a guest both take the nonce of the connection instead. There is no
forward secrecy: anyone who gets the file can read everything, earlier and later. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

import msgspec
from attrs import evolve, frozen

from securemsg.client.sessions.addresses import (
    CONNECTION,
    DeviceAddress,
    Opened,
    Recipient,
    check_size,
    checked_key,
    own_address,
)
from securemsg.client.sessions.epochs import PSK_OWN, Epoch, Epochs, was_opened
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import Chosen, WrongKey, pinned_suite
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import Profile
from securemsg.crypto import keys, primitives
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import KEY_MESSAGE
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    KEY_SIZES,
    PSK,
    SUITES,
    ContentKey,
    Envelope,
    Introduction,
    KeyHeader,
    encode_record,
)

(KEY_SIZE,) = KEY_SIZES[PSK]
OWN_EPOCHS = Epochs(PSK, KEY_MESSAGE, PSK_OWN)
archive, archive_all = OWN_EPOCHS.archive, OWN_EPOCHS.archive_all


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
        check_size(content_key, KEY_SIZE)
        epoch, sender, recipient = self._epoch, self._sender, self._recipient
        introduction = None if epoch.has_replied else self._introduction
        header = encode_record(KeyHeader(PSK, SUITES[PSK], epoch.nonce, epoch.number, epoch.counter, introduction))
        epoch_key = message_key(self._key, sender, recipient, epoch.nonce, epoch.number)
        associated = OWN_EPOCHS.associated_data(sender, recipient, header, content_key.common)
        sealed = primitives.a128cbc_hs256_encrypt(epoch_key, encode_record(content_key), associated)
        OWN_EPOCHS.keep(records, recipient.bucket, epoch)
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
    OWN_EPOCHS.note_received(records, sender, header.nonce, header.counter, now)
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
    associated = OWN_EPOCHS.associated_data(sender, recipient, envelope.header, common)
    try:
        plaintext = primitives.a128cbc_hs256_decrypt(epoch_key, envelope.sealed, associated)
    except Unauthentic:
        raise WrongKey from None
    if was_opened(records, sender, header.nonce, header.counter):
        raise AlreadyUsed("a nonce and counter that came before")
    return checked_key(KEY_SIZE, plaintext, common)


def message_key(key: SharedKey, sender: DeviceAddress, recipient: DeviceAddress, nonce: bytes, number: int) -> bytes:
    """The key of an epoch in one direction; the sender comes first."""
    ends = (sender.account.encode(), sender.device, recipient.account.encode(), recipient.device)
    return key.content_key(nonce, *ends, number.to_bytes(8, "big"))


def next_epoch(records: IRecords, recipient: DeviceAddress, connection: bytes, now: int) -> Epoch:
    """
    The epoch of the next message, as it is after that message; sealing saves it.

    @param connection: the nonce of the connection, where one end is a guest; else empty.
    """
    if connection:
        # A connection has no other nonce to take, so that its counter only ever rises.
        epoch = OWN_EPOCHS.last(records, recipient.bucket)
        if epoch is None or epoch.nonce != connection:
            epoch = OWN_EPOCHS.new(records, recipient, connection, CONNECTION, now)
    else:
        epoch = OWN_EPOCHS.current(records, recipient, now)
        if epoch is None:
            epoch = OWN_EPOCHS.new(records, recipient, keys.nonce(), OWN_EPOCHS.next_number(records, recipient), now)
    return msgspec.structs.replace(epoch, counter=epoch.counter + 1)
