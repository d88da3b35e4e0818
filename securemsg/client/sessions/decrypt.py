"""
To open a session message: find the session that made it, or make the one that it begins.

Everything is done on copies, and kept once the message has proved itself. Source: C{docs/protocol.md}, sections "Sessions" and
"Envelopes".
"""

from __future__ import annotations

import msgspec
from attrs import evolve, field, frozen

from securemsg.client.sessions import choices, guests, initiations, prekeys, psk, store
from securemsg.client.sessions.addresses import DeviceAddress, DevicePair, checked_key
from securemsg.client.sessions.psk import WrongKey
from securemsg.client.sessions.store import Session
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.profile import Profile
from securemsg.crypto import pqxdh
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.ratchet import AlreadyUsed, Header, Ratchet, open_message
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    PQXDH,
    PSK,
    ContentKey,
    Envelope,
    EnvelopeHeader,
    KeyHeader,
    PrekeyHeader,
    decode_header,
    decode_record,
)
from securemsg.protocol.messages import AccountRecord


@frozen
class Opened:
    """
    A session message that proved itself.

    @ivar contact: the sender, as it is known from now on.
    @ivar device_id: of the sender.
    @ivar first: it made a new session, or is the first of an epoch.
    @ivar suite: that it was sealed with.
    """

    contact: Contact
    device_id: bytes
    content_key: ContentKey = field(repr=False)
    first: bool
    suite: str = PQXDH


def open_envelope(
    records: IRecords, profile: Profile, account: str, device_id: bytes, own: bytes, common_digest: bytes, now: int
) -> Opened:
    """
    Open an own part. Only what authenticated under a session is believed, adopted and deleted.

    @param account: of the sender, as the server says; likewise C{device_id}. Both are proved by the session.
    @param common_digest: SHA-256 of the common part that came with it.
    @raise AlreadyUsed: an C{Unauthentic} that was opened before.
    @raise Unauthentic: no session of ours with this device made these bytes for this common part.
    @raise WrongKey: an C{Unauthentic} of suite C{psk}.
    @raise IdentityChanged: it introduces itself with another identity than we know; keep its C{contact} to note that.
    @raise Refusal: C{bad-envelope}, C{suite-unavailable}, C{no-session}, C{unknown-device}, C{unknown-prekey}, or as
        L{trust.judge} has it.
    """
    envelope = decode_record(Envelope, own)
    header = decode_header(envelope.header)
    if isinstance(header, KeyHeader):
        return _open_keyed(records, profile, DeviceAddress(account, device_id, b""), envelope, header, common_digest, now)
    pair = _introduced(records, profile, account, device_id, header.prekey, now)
    candidates = _candidates(records, pair, header)
    first = not candidates
    if first:
        if header.prekey is None:
            raise Refusal("no-session")
        candidates = {0: _answered(records, pair, header.prekey, now)}
    number, session, content_key = _opened_by(candidates, pair, header, envelope, common_digest)
    # Proved. From here on things change, and nothing fails.
    if contacts.get_contact(records, account) != pair.contact:
        contacts.put_contact(records, pair.contact)
    if first and header.prekey is not None:
        number = store.add_session(records, pair.bucket, session)
        initiations.remember(records, account, device_id, header.prekey, number)
        prekeys.spend(records, header.prekey)
    else:
        store.save_session(records, pair.bucket, number, session)
    book = store.load_book(records, pair.bucket)
    if number > book.forgotten and number != book.current:
        store.save_book(records, pair.bucket, msgspec.structs.replace(book, current=number))
    return Opened(pair.contact, device_id, content_key, first)


def _open_keyed(
    records: IRecords, profile: Profile, claimed: DeviceAddress, envelope: Envelope, header: KeyHeader, common: bytes, now: int
) -> Opened:
    """
    Open an own part of suite C{psk}, if the user gave us a key file for the sender's name.

    @param claimed: the sender, as the server says; of its identity nothing is known yet.
    """
    account = claimed.account
    choice, introduction = choices.chosen(records, account), header.introduction
    if choice.suite != PSK:
        raise Refusal("suite-unavailable")
    if choices.is_caller(account):
        contact: Contact | None = guests.speaking(choice.shared, account, claimed.device, header, now)
    elif profile.is_caller != (header.epoch == psk.CONNECTION) or (
        profile.is_caller and (header.nonce != profile.connection or introduction is not None)
    ):
        raise WrongKey
    else:
        contact = contacts.get_contact(records, account)
    identity = introduction.identity if introduction is not None else b"" if contact is None else contact.identity
    if not identity:
        raise Refusal("no-session")
    sender, own = evolve(claimed, identity=identity), DeviceAddress(profile.name, profile.device_id, profile.identity.public)
    content_key = psk.open_part(records, choice.shared, sender, own, header, envelope, common)
    # It has the key. Whether we know it by this identity is another question.
    if introduction is not None:
        record = AccountRecord(account, introduction.identity, introduction.devices)
        contact = contacts.introduced(records, profile, record, now)
    assert contact is not None, "an identity without a contact"
    if choices.is_caller(account):
        guests.hear(records, contact, sender.device, header, now)
    else:
        if contacts.device(contact, sender.device) is None:
            raise Refusal("unknown-device")
        if profile.is_caller:
            # To hold the file is to be the one we called.
            contact = msgspec.structs.replace(contact, verified=True)
        if contacts.get_contact(records, account) != contact:
            contacts.put_contact(records, contact)
    psk.hear(records, sender, header, now)
    return Opened(contact, sender.device, content_key, header.counter == 1, PSK)


def _introduced(
    records: IRecords, profile: Profile, account: str, device_id: bytes, prekey: PrekeyHeader | None, now: int
) -> DevicePair:
    """Who claims to speak: a contact of ours, or whom the header introduces."""
    if prekey is not None:
        record = AccountRecord(account, prekey.identity, prekey.devices)
        contact: Contact | None = contacts.introduced(records, profile, record, now)
    else:
        contact = contacts.get_contact(records, account)
    if contact is None:
        raise Refusal("no-session")
    device = contacts.device(contact, device_id)
    if device is None:
        raise Refusal("unknown-device")
    return DevicePair(profile, contact, device)


def _candidates(records: IRecords, pair: DevicePair, header: EnvelopeHeader) -> dict[int, Session]:
    """The sessions that may have made a message, the likeliest first. None: its opening has to make one."""
    if header.prekey is not None:
        number = initiations.session_of(records, pair.contact.name, pair.device.id, header.prekey)
        if number is not None:
            made = store.load_session(records, pair.bucket, number)
            if made is None or not pair.fits(made):
                raise Refusal("no-session")
            return {number: made}
        ephemeral = header.prekey.ephemeral
        sessions = store.all_sessions(records, pair.bucket)
        # The map forgets with the prekeys; a session that nobody ever answered may be older than that.
        return {
            number: session
            for number, session in sessions.items()
            if pair.fits(session) and not session.initiated and session.ephemeral == ephemeral
        }
    step = _step(header)
    current = store.load_book(records, pair.bucket).current
    likely = store.load_session(records, pair.bucket, current)
    if likely is not None and pair.fits(likely) and load_ratchet(likely.ratchet).knows(step):
        return {current: likely}
    fitting = {number: session for number, session in store.all_sessions(records, pair.bucket).items() if pair.fits(session)}
    knowing = {number: session for number, session in fitting.items() if load_ratchet(session.ratchet).knows(step)}
    if not fitting:
        raise Refusal("no-session")
    return knowing | fitting


def _answered(records: IRecords, pair: DevicePair, prekey: PrekeyHeader, now: int) -> Session:
    """The session that an initiation would make with us; nothing is kept."""
    answering = prekeys.answering(records, prekey)
    secret = pqxdh.respond(
        pair.profile.agreement,
        answering.signed,
        answering.kem,
        answering.one_time,
        pair.device.agreement_key,
        prekey.ephemeral,
        prekey.kem_ciphertext,
    )
    ratchet = Ratchet.responder(secret, answering.signed)
    return pair.session(prekey.ephemeral, pqxdh.bundle_digest(answering.bundle), None, ratchet, now)


def _opened_by(
    candidates: dict[int, Session], pair: DevicePair, header: EnvelopeHeader, envelope: Envelope, common: bytes
) -> tuple[int, Session, ContentKey]:
    """The first session that opens a message, as it is afterwards."""
    worst = Unauthentic("envelope")
    for number, session in candidates.items():
        try:
            ratchet, message_key = load_ratchet(session.ratchet).next_receiving(_step(header))
            associated = pair.associated(session, False, envelope.header, common)
            plaintext = open_message(message_key, envelope.sealed, associated)
        except Unauthentic as error:
            if not isinstance(worst, AlreadyUsed):
                worst = error
            continue
        content_key = checked_key(PQXDH, plaintext, common)
        following = msgspec.structs.replace(
            session,
            ratchet=dump_ratchet(ratchet),
            confirmed=session.confirmed or session.initiated or header.prekey is None,
            opening=None,
        )
        return number, following, content_key
    raise worst


def _step(header: EnvelopeHeader) -> Header:
    """The part of the header that is the ratchet's."""
    return Header(header.ratchet_key, header.previous_length, header.number)
