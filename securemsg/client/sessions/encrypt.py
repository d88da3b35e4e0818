"""
Session messages: a key for the common part, sealed for one device (opened in L{securemsg.client.sessions.decrypt}).

Every function works inside one transaction of the caller's and raises before it has written anything. Source:
C{docs/protocol.md}, sections "Sessions" and "Envelopes".
"""

from __future__ import annotations

import msgspec

from securemsg.client.sessions import choices, psk, store
from securemsg.client.sessions.addresses import DevicePair
from securemsg.client.sessions.store import PrekeyInfo, Session
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.profile import Profile
from securemsg.crypto import pqxdh, primitives
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import COMMON_PART, random_bytes, sha256
from securemsg.crypto.pqxdh import PrekeyBundle, PublicPrekey
from securemsg.crypto.ratchet import Ratchet, seal_message
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import Device
from securemsg.protocol.envelope import (
    CONTENT_KEY_SIZES,
    PQXDH,
    SUITES,
    ContentKey,
    Envelope,
    EnvelopeHeader,
    Introduction,
    PrekeyHeader,
    encode_record,
    pad,
    unpad,
)
from securemsg.protocol.messages import Bundle, Prekey


class NeedBundle(Refusal):
    """
    There is no session to send on: claim a bundle, L{begin}, and seal again.

    @ivar spent: for the claim.
    """

    def __init__(self, account: str, device_id: bytes, spent: int) -> None:
        super().__init__("no-session")
        self.account = account
        self.device_id = device_id
        self.spent = spent


def make_common(content: bytes, suite: str = PQXDH) -> tuple[bytes, ContentKey]:
    """
    Encrypt a content once for all devices, under a key that serves this message alone.

    @param suite: of the own parts.
    @return: the common part, and what each own part carries; its C{base} is still to be put in.
    @raise LocalProtocolError: the content is larger than any we make.
    """
    key = random_bytes(CONTENT_KEY_SIZES[suite])
    encrypt = primitives.a256cbc_hs512_encrypt if suite == PQXDH else primitives.a128cbc_hs256_encrypt
    common = encrypt(key, pad(content), COMMON_PART)
    return common, ContentKey(key, sha256(common), None)


def open_common(common: bytes, content_key: ContentKey) -> bytes:
    """
    The content of a common part. That the key is one of the message's suite was seen when the own part was opened.

    @raise Unauthentic: it is not the one that was sealed with this key.
    @raise Refusal: C{bad-envelope}: its padding is not ours.
    """
    if sha256(common) != content_key.common:
        raise Unauthentic("common part")
    is_long = len(content_key.key) == CONTENT_KEY_SIZES[PQXDH]
    decrypt = primitives.a256cbc_hs512_decrypt if is_long else primitives.a128cbc_hs256_decrypt
    return unpad(decrypt(content_key.key, common, COMMON_PART))


def begin(records: IRecords, profile: Profile, contact: Contact, device: Device, bundle: Bundle, now: int) -> None:
    """
    Make a session with a device that may be away, from the bundle that the server handed out.

    @raise Unauthentic: a prekey is not the device's, or not of its kind.
    @raise Refusal: C{spent-bundle}: we used this one before. Otherwise as L{seal}.
    """
    pair = _allowed(profile, contact, device)
    public = PrekeyBundle(
        _public(bundle.signed),
        _public(bundle.kem),
        bundle.kem_is_last_resort,
        None if bundle.one_time is None else _public(bundle.one_time),
    )
    public.verify(device.signing_key)
    book = store.load_book(records, pair.bucket)
    if not bundle.kem_is_last_resort and bundle.kem.id == book.spent:
        raise Refusal("spent-bundle")
    initiation = pqxdh.initiate(profile.agreement, device.agreement_key, public)
    opening = PrekeyInfo(
        bundle.signed.id,
        bundle.kem.id,
        bundle.kem_is_last_resort,
        initiation.kem_ciphertext,
        None if bundle.one_time is None else bundle.one_time.id,
    )
    ratchet = Ratchet.initiator(initiation.secret, bundle.signed.key)
    session = pair.session(initiation.ephemeral_public, initiation.associated, opening, ratchet, now)
    store.add_session(records, pair.bucket, session)
    if not bundle.kem_is_last_resort:
        store.save_book(records, pair.bucket, msgspec.structs.replace(book, spent=bundle.kem.id))


def require(records: IRecords, profile: Profile, contact: Contact, device: Device, now: int) -> None:
    """
    Make sure that L{seal} will find a session: a deposit for several devices is sealed for all of them or for none.

    @raise Refusal: as L{seal}.
    """
    pair = _allowed(profile, contact, device)
    if choices.chosen(records, contact.name).suite == choices.PQXDH:
        _chosen(records, pair, now)


def seal(records: IRecords, profile: Profile, contact: Contact, device: Device, content_key: ContentKey, now: int) -> bytes:
    """
    Make the own part of one device in the suite of the conversation, and move its session on.

    @raise NeedBundle: there is no session, or none that was answered in time.
    @raise Refusal: C{identity-changed}: the user must accept the contact's other identity first. C{unknown-device}: it does
        not stand on the contact's list.
    """
    pair = _allowed(profile, contact, device)
    choice = choices.chosen(records, contact.name)
    if choice.suite == choices.PSK:
        introduction = None if profile.is_caller else Introduction(profile.identity.public, profile.devices)
        return psk.seal(
            records,
            choice.shared,
            pair.own_end,
            pair.peer_end,
            content_key,
            now,
            introduction=introduction,
            connection=profile.connection,
        )
    number, session = _chosen(records, pair, now)
    ratchet, step, message_key = load_ratchet(session.ratchet).next_sending()
    header = encode_record(
        EnvelopeHeader(
            session.suite,
            SUITES[session.suite],
            step.public,
            step.previous_length,
            step.number,
            _opening_header(profile, session),
        )
    )
    associated = pair.associated(session, True, header, content_key.common)
    sealed = seal_message(message_key, encode_record(content_key), associated)
    store.save_session(records, pair.bucket, number, msgspec.structs.replace(session, ratchet=dump_ratchet(ratchet)))
    return encode_record(Envelope(header, sealed))


def forget(records: IRecords, account: str, device_id: bytes) -> None:
    """The next L{seal} for this device needs a new session: for resets."""
    store.forget(records, store.bucket_of(account, device_id))
    psk.forget(records, account, device_id)


def forget_all(records: IRecords) -> None:
    """
    The next L{seal} for any device needs a new session: this state was restored, and its ratchets were used by another life.
    """
    for bucket in {bucket for bucket, _, _ in records.scan(store.TABLE)}:
        store.forget(records, bucket)
    psk.forget_all(records)


def _allowed(profile: Profile, contact: Contact, device: Device) -> DevicePair:
    """Whom we may encrypt to: devices on the list of a contact whose identity is not in question."""
    if contact.is_blocked:
        raise contacts.IdentityChanged(contact)
    if contacts.device(contact, device.id) != device:
        raise Refusal("unknown-device")
    return DevicePair(profile, contact, device)


def _chosen(records: IRecords, pair: DevicePair, now: int) -> tuple[int, Session]:
    """The session to send on."""
    chosen = store.choose(records, pair.bucket, lambda session: pair.may_send(session, now))
    if chosen is None:
        raise NeedBundle(pair.contact.name, pair.device.id, store.load_book(records, pair.bucket).spent)
    return chosen


def _opening_header(profile: Profile, session: Session) -> PrekeyHeader | None:
    """What the responder needs until it has answered, with our list as it is now."""
    opening = session.opening
    if opening is None:
        return None
    return PrekeyHeader(
        profile.identity.public,
        profile.devices,
        session.ephemeral,
        opening.signed_id,
        opening.kem_id,
        opening.kem_is_last_resort,
        opening.kem_ciphertext,
        opening.one_time_id,
    )


def _public(prekey: Prekey) -> PublicPrekey:
    """A prekey of the wire, as key agreement knows it."""
    return PublicPrekey(prekey.id, prekey.key, prekey.signature)
