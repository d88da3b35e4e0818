"""
Suite C{rsa}: the key of an epoch travels under the RSA key of the recipient's device, signed by the sender's.

Each message of an epoch repeats how its key travels, so that none depends on another; it is decrypted once, with the first that
comes, and kept. There is no forward secrecy: whoever gets the RSA key of a device can read everything that was sent to it.
Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

import msgspec
from attrs import evolve, frozen

from securemsg.client.sessions import budgets
from securemsg.client.sessions.addresses import (
    DeviceAddress,
    DevicePair,
    Opened,
    Recipient,
    check_size,
    checked_key,
    introduced_pair,
    own_address,
    pair_of,
)
from securemsg.client.sessions.epochs import RSA_OPENED, RSA_OWN, Epoch, Epochs, was_opened
from securemsg.client.sessions.pins import Chosen
from securemsg.client.sessions.store import EPOCHS
from securemsg.client.state import contacts
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import load, save
from securemsg.client.state.rsakeys import load_rsa_key
from securemsg.crypto import keys, primitives, rsa
from securemsg.crypto.keys import RSA_MESSAGE, RSA_TRANSPORT, sha256
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    RSA,
    SUITES,
    ContentKey,
    Envelope,
    Introduction,
    RsaHeader,
    Transport,
    encode_record,
)
from securemsg.protocol.messages import Counter

OWN_EPOCHS = Epochs(RSA, RSA_MESSAGE, RSA_OWN)
archive, archive_all = OWN_EPOCHS.archive, OWN_EPOCHS.archive_all
# Epochs of a device that are kept: the last, and the one before it, because a deposit that was deferred may arrive after later
# ones.
KEPT = 2


class OpenedEpoch(Private, frozen=True):
    """
    An epoch of a peer's.

    @ivar nonce: hash of its transport.
    """

    nonce: bytes
    number: Counter
    secret: bytes


class OpenedEpochs(Private, frozen=True):
    """
    The last epochs of a device, in which something was opened, by number.

    @ivar identity: of its account.
    """

    identity: bytes
    epochs: tuple[OpenedEpoch, ...] = ()


@frozen
class Plan:
    """The next message for one device, with its epoch as it is after the message."""

    lacks_one_time = False
    _sender: DeviceAddress
    _recipient: DeviceAddress
    _epoch: Epoch
    _key_size: int
    _introduction: Introduction | None

    def seal(self, records: IRecords, content_key: ContentKey) -> bytes:
        """See C{suites.Plan.seal}. The message is counted."""
        check_size(content_key, self._key_size)
        epoch, sender, recipient = self._epoch, self._sender, self._recipient
        transport = epoch.transport
        assert transport is not None, "an epoch of suite rsa"
        introduction = None if epoch.has_replied else self._introduction
        header = encode_record(
            RsaHeader(RSA, SUITES[RSA], epoch.number, epoch.counter, self._key_size, transport, introduction)
        )
        context = context_of(sender, recipient, epoch.rsa_key, epoch.number, transport.ciphertext)
        message_key = rsa.message_key(epoch.secret, self._key_size, *context)
        associated = OWN_EPOCHS.associated_data(sender, recipient, header, content_key.common)
        sealed = primitives.cbc_hmac_encrypt(message_key, encode_record(content_key), associated)
        OWN_EPOCHS.keep(records, recipient.bucket, epoch)
        return encode_record(Envelope(header, sealed))


def plan(records: IRecords, profile: Profile, choice: Chosen, recipient: Recipient, device: bytes, now: int) -> Plan:
    """
    Find the epoch of the next message for a device, or begin one.

    @raise Refusal: C{suite-unavailable}: the device has no RSA key, as far as we know. C{unknown-device}.
    """
    pair, sender, address = pair_of(profile, recipient.contact, device), own_address(profile), recipient.address(device)
    public = pair.device.rsa_key
    if public is None:
        raise Refusal("suite-unavailable")
    epoch = OWN_EPOCHS.current(records, address, now)
    if epoch is None or epoch.rsa_key != sha256(public):
        epoch = _new_epoch(records, profile, sender, address, public, now)
    counted = msgspec.structs.replace(epoch, counter=epoch.counter + 1)
    return Plan(sender, address, counted, choice.key_size, recipient.introduction)


def open_part(
    records: IRecords,
    profile: Profile,
    conversation: Conversation,
    sender: DeviceAddress,
    envelope: Envelope,
    header: RsaHeader,
    common: bytes,
    now: int,
) -> Opened:
    """
    Open an own part. Nothing changes before the message is authentic, except the budget of decrypted secrets.

    @param sender: as the server says; the signature proves it.
    @raise AlreadyUsed: a message with this epoch and counter was opened before.
    @raise Unauthentic: this device did not make these bytes for us, or not in an epoch above those before.
    @raise Refusal: as L{introduced_pair}, L{budgets.note_unwrapped} and L{checked_key} have it.
    """
    own = load_rsa_key(records)
    if own is None or conversation.kind is not ConversationKind.DIRECT:
        raise Unauthentic("RSA key")
    pair = introduced_pair(records, profile, sender.account, sender.device, header.introduction, now)
    sender, recipient = evolve(sender, identity=pair.contact.identity), own_address(profile)
    context = context_of(sender, recipient, sha256(own.public), header.epoch, header.transport.ciphertext)
    known = load(records, OpenedEpochs, EPOCHS, sender.bucket, RSA_OPENED)
    if known is None or known.identity != sender.identity:
        known = OpenedEpochs(sender.identity)
    epoch = _find_epoch(records, own, pair, known, header, context, now)
    message_key = rsa.message_key(epoch.secret, header.key_size, *context)
    associated = OWN_EPOCHS.associated_data(sender, recipient, envelope.header, common)
    plaintext = primitives.cbc_hmac_decrypt(message_key, envelope.sealed, associated)
    if was_opened(records, sender, epoch.nonce, header.counter):
        raise AlreadyUsed("an epoch and counter that came before")
    content_key = checked_key(header.key_size, plaintext, common)
    # The message is authentic. From here on there are changes and no failures.
    contacts.put_judged(records, pair.contact, now)
    if epoch not in known.epochs:
        kept = (*known.epochs, epoch)[-KEPT:]
        save(records, EPOCHS, sender.bucket, msgspec.structs.replace(known, epochs=kept), RSA_OPENED)
    OWN_EPOCHS.note_received(records, sender, epoch.nonce, header.counter, now)
    return Opened(conversation, pair.contact, sender.device, content_key, header.counter == 1, RSA)


def context_of(
    sender: DeviceAddress, recipient: DeviceAddress, rsa_key: bytes, number: int, ciphertext: bytes
) -> tuple[bytes, ...]:
    """
    What is signed of an epoch, and enters its key: suite and version, both ends, the hash of the RSA key, number, ciphertext.
    """
    version = SUITES[RSA].to_bytes(4, "big")
    return (RSA.encode(), version, *sender.parts, *recipient.parts, rsa_key, number.to_bytes(8, "big"), ciphertext)


def _new_epoch(
    records: IRecords, profile: Profile, sender: DeviceAddress, recipient: DeviceAddress, public: bytes, now: int
) -> Epoch:
    """An epoch for a device, without a message so far; nothing is saved."""
    # The clock is above whatever a state used up that was put back since, though nobody may know of it.
    number = max(OWN_EPOCHS.next_number(records, recipient), now)
    secret, ciphertext = rsa.wrap(public)
    rsa_key = sha256(public)
    signature = profile.device_key.sign(RSA_TRANSPORT, *context_of(sender, recipient, rsa_key, number, ciphertext))
    epoch = OWN_EPOCHS.new(records, recipient, sha256(ciphertext), number, now)
    return msgspec.structs.replace(epoch, secret=secret, transport=Transport(ciphertext, signature), rsa_key=rsa_key)


def _find_epoch(
    records: IRecords,
    own: RsaKey,
    pair: DevicePair,
    known: OpenedEpochs,
    header: RsaHeader,
    context: tuple[bytes, ...],
    now: int,
) -> OpenedEpoch:
    """
    The epoch of a message: one that was opened before, or else a new one, which must be above these. An invalid ciphertext
    yields a random secret, under which nothing opens.
    """
    nonce = sha256(header.transport.ciphertext)
    for epoch in known.epochs:
        if (epoch.number, epoch.nonce) == (header.epoch, nonce):
            return epoch
    if known.epochs and header.epoch <= known.epochs[-1].number:
        raise Unauthentic("an epoch that does not rise")
    keys.verify(pair.device.signing_key, header.transport.signature, RSA_TRANSPORT, *context)
    budgets.note_unwrapped(records, pair.contact.name, now)
    return OpenedEpoch(nonce, header.epoch, own.unwrap(header.transport.ciphertext))
