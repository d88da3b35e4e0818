"""
Suite C{pqxdh}: sessions that begin with PQXDH and go on with the Double Ratchet.

A message is opened with its session, or begins a new one. Everything is done on copies, which are saved once the message is
authentic, but for the budget of wasted keys. Source: C{docs/protocol.md}, sections "Sessions" and "Envelopes".
"""

from __future__ import annotations

import msgspec
from attrs import field, frozen

from securemsg.client.sessions import budgets, candidates, initiations, prekeys, selection, store
from securemsg.client.sessions.addresses import DeviceAddress, DevicePair, Opened, Recipient, introduced_pair, pair_of
from securemsg.client.sessions.pins import Chosen
from securemsg.client.sessions.store import PrekeyInfo, Session
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import Profile
from securemsg.crypto import pqxdh as agreement
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.pqxdh import PrekeyBundle, PublicPrekey
from securemsg.crypto.ratchet import Ratchet, seal_message
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    PQXDH,
    SUITES,
    ContentKey,
    Envelope,
    EnvelopeHeader,
    PrekeyHeader,
    encode_record,
)
from securemsg.protocol.messages import Bundle, Prekey


class NeedBundle(Refusal):
    """
    There is no session to send in: claim a bundle, L{begin}, and plan again.

    @ivar spent: for the claim.
    """

    def __init__(self, account: str, device_id: bytes, spent: int) -> None:
        super().__init__("no-session")
        self.account = account
        self.device_id = device_id
        self.spent = spent


def begin(records: IRecords, profile: Profile, contact: Contact, device_id: bytes, bundle: Bundle, now: int) -> int:
    """
    Make a session with a device, which may be offline, from the bundle that the server handed out.

    @return: the age of the bundle, seconds.
    @raise Unauthentic: a prekey is not the device's, or not of its kind.
    @raise Refusal: C{spent-bundle}: we used this one before. C{stale-bundle}: see L{prekeys.bundle_age}. C{unknown-device}: it
        is not on the contact's list.
    """
    pair = pair_of(profile, contact, device_id)
    public = PrekeyBundle(
        _public(bundle.signed),
        _public(bundle.kem),
        bundle.kem_is_last_resort,
        None if bundle.one_time is None else _public(bundle.one_time),
    )
    public.verify(pair.device.signing_key)
    age = prekeys.bundle_age(bundle, now)
    index = store.load_index(records, pair.bucket)
    if not bundle.kem_is_last_resort and bundle.kem.id == index.spent:
        raise Refusal("spent-bundle")
    if _sending(records, pair, now) is not None:
        # The device has begun one meanwhile.
        return age
    initiation = agreement.initiate(profile.agreement, pair.device.agreement_key, public)
    opening = PrekeyInfo(
        bundle.signed.id,
        bundle.kem.id,
        bundle.kem_is_last_resort,
        initiation.kem_ciphertext,
        None if bundle.one_time is None else bundle.one_time.id,
    )
    ratchet = Ratchet.initiator(initiation.secret, bundle.signed.key)
    session = pair.session(initiation.ephemeral_public, initiation.associated, opening, ratchet, now)
    number = store.add_session(records, pair.bucket, session)
    spent = index.spent if bundle.kem_is_last_resort else bundle.kem.id
    store.send_in(records, pair.bucket, msgspec.structs.replace(index, spent=spent), number)
    return age


@frozen
class Plan:
    """The next message for one device: the session that makes it, as it is now."""

    _pair: DevicePair
    _number: int
    _session: Session = field(repr=False)

    @property
    def lacks_one_time(self) -> bool:
        """See C{suites.Plan.lacks_one_time}."""
        header = _opening_header(self._pair.profile, self._session)
        return header is not None and header.lacks_one_time

    def seal(self, records: IRecords, content_key: ContentKey) -> bytes:
        """See C{suites.Plan.seal}. The ratchet advances."""
        pair, session = self._pair, self._session
        index = store.load_index(records, pair.bucket)
        if index.sealed != self._number:
            index = msgspec.structs.replace(index, sealed=self._number, generation=index.generation + 1)
            store.save_index(records, pair.bucket, index)
        content_key = msgspec.structs.replace(content_key, place=(pair.profile.incarnation, index.generation))
        ratchet, step, message_key = load_ratchet(session.ratchet).next_sending()
        header = encode_record(
            EnvelopeHeader(
                session.suite,
                SUITES[session.suite],
                step.public,
                step.previous_length,
                step.number,
                _opening_header(pair.profile, session),
            )
        )
        associated = pair.associated(session, True, header, content_key.common)
        sealed = seal_message(message_key, encode_record(content_key), associated)
        moved = msgspec.structs.replace(session, ratchet=dump_ratchet(ratchet))
        store.save_session(records, pair.bucket, self._number, moved)
        return encode_record(Envelope(header, sealed))


def plan(records: IRecords, profile: Profile, choice: Chosen, recipient: Recipient, device: bytes, now: int) -> Plan:
    """
    Find the session for sending to a device.

    @raise NeedBundle: there is none, or none that was answered in time.
    @raise Refusal: C{unknown-device}: it is not on the contact's list.
    """
    pair = pair_of(profile, recipient.contact, device)
    found = _sending(records, pair, now)
    if found is None:
        raise NeedBundle(pair.contact.name, device, store.load_index(records, pair.bucket).spent)
    return Plan(pair, *found)


def open_part(
    records: IRecords,
    profile: Profile,
    conversation: Conversation,
    sender: DeviceAddress,
    envelope: Envelope,
    header: EnvelopeHeader,
    common: bytes,
    now: int,
) -> Opened:
    """
    Open an own part. Only what authenticated under a session is believed, adopted and deleted.

    @param sender: as the server says; the session proves it.
    @raise Refusal: C{no-session}, C{unknown-device}, C{unknown-prekey}, as L{budgets} has it, or as L{contacts.judge}.
    """
    pair = introduced_pair(records, profile, sender.account, sender.device, header.prekey, now)
    tried = candidates.find(records, pair, header)
    # Of a message that begins a session.
    prekey = None if tried else header.prekey
    if prekey is not None:
        budgets.check_begin(records, sender.account, now)
        tried = {0: _answered(records, pair, prekey, now)}
    opened = candidates.open_first(records, tried, pair, header, envelope, common, now)
    number, session = opened.number, opened.session
    if opened.skipped is not None:
        budgets.check_skipped(records, pair.contact, session.skipped - tried[number].skipped)
    # The message is authentic. From here on there are changes and no failures.
    contacts.put_judged(records, pair.contact, now)
    if prekey is not None:
        number = store.add_session(records, pair.bucket, session)
        budgets.note_begun(records, sender.account, sender.device, number, now)
        initiations.remember(records, sender.account, sender.device, prekey, number)
        prekeys.spend(records, prekey)
    else:
        store.save_session(records, pair.bucket, number, session)
    if opened.skipped is not None:
        store.save_skipped(records, pair.bucket, number, opened.skipped)
    sequence = 0 if prekey is None else prekeys.sequence_of(records, prekey.signed_id)
    selection.opened(records, pair.bucket, number, session, opened.content_key.place, sequence)
    lacks_one_time = header.prekey is not None and header.prekey.lacks_one_time
    is_opening = header.prekey is not None
    return Opened(
        conversation, pair.contact, sender.device, opened.content_key, prekey is not None, PQXDH, lacks_one_time, is_opening
    )


def archive(records: IRecords, account: str, device: bytes) -> None:
    """The next message for this device needs a new session."""
    store.archive(records, store.bucket_of(account, device))


def archive_all(records: IRecords) -> None:
    """The next message for any device needs a new session: the ratchets were used since this state was saved."""
    for bucket in {bucket for bucket, _, _ in records.scan(store.TABLE)}:
        store.archive(records, bucket)


def _sending(records: IRecords, pair: DevicePair, now: int) -> tuple[int, Session] | None:
    """The session that sends, if the peer can open what is sealed in it now."""
    number = store.load_index(records, pair.bucket).current
    session = store.load_session(records, pair.bucket, number)
    return None if session is None or not pair.may_send(session, now) else (number, session)


def _opening_header(profile: Profile, session: Session) -> PrekeyHeader | None:
    """The header that a responder needs until it has answered, with our current list."""
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
    return PublicPrekey(prekey.id, prekey.key, prekey.signature)


def _answered(records: IRecords, pair: DevicePair, prekey: PrekeyHeader, now: int) -> Session:
    """The session that an initiation makes with us; nothing is saved."""
    own = prekeys.responder_keys(records, prekey)
    secret = agreement.respond(
        pair.profile.agreement,
        own.signed,
        own.kem,
        own.one_time,
        pair.device.agreement_key,
        prekey.ephemeral,
        prekey.kem_ciphertext,
    )
    ratchet = Ratchet.responder(secret, own.signed)
    return pair.session(prekey.ephemeral, agreement.bundle_digest(own.bundle), None, ratchet, now)


