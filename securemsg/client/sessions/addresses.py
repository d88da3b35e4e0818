"""
Device addresses and pairs: what binds sessions, and every message in them, to our device and one of a contact.

Source: C{docs/protocol.md}, sections "Sessions" and "Suites".
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.client.sessions import store
from securemsg.client.sessions.store import PrekeyInfo, Session
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact, IdentityChanged
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import DAY, Profile
from securemsg.crypto.dump import dump_ratchet
from securemsg.crypto.keys import SESSION_DATA, length_prefixed
from securemsg.crypto.ratchet import Ratchet
from securemsg.errors import LocalProtocolError, Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import Device
from securemsg.protocol.envelope import PQXDH, SUITES, ContentKey, Introduction, PrekeyHeader, decode_content_key
from securemsg.protocol.messages import AccountRecord

# Seconds for which an unanswered initiation is repeated. After that its bundle may be too old for the responder, and a new one
# is claimed.
UNANSWERED_LIFE = 7 * DAY

FROM_INITIATOR = b"initiator"
FROM_RESPONDER = b"responder"


# Under suite C{psk}: the number of the one epoch of a connection, whose nonce never changes.
CONNECTION = 0


class RecipientGone(Refusal):
    """The recipient is gone, and nothing can be sent to it; C{not-in-room}: we are not in the room any more."""

    def __init__(self, code: str = "no-such-account") -> None:
        super().__init__(code)


@frozen
class DeviceAddress:
    """One end of a conversation: a device, its account, and that account's identity."""

    account: str
    device: bytes
    identity: bytes

    @property
    def bucket(self) -> bytes:
        """The bucket for what is stored about this end."""
        return store.bucket_of(self.account, self.device)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The address as parts of associated data."""
        return (self.account.encode(), self.device, self.identity)


@frozen
class DevicePair:
    """Our device and one of a contact: the two ends of a session."""

    profile: Profile
    contact: Contact
    device: Device

    @property
    def bucket(self) -> bytes:
        """The bucket for the sessions of this pair."""
        return store.bucket_of(self.contact.name, self.device.id)

    def fits(self, session: Session) -> bool:
        """Whether a session is between these very keys."""
        own, peer = self.profile.identity.public, self.contact.identity
        return (session.own_identity, session.peer_identity) == (own, peer) and (
            session.peer_agreement == self.device.agreement_key
        )

    def may_send(self, session: Session, now: int) -> bool:
        """Whether the peer can still open what is sealed in this session now."""
        is_stale = session.opening is not None and now - session.made_at >= UNANSWERED_LIFE
        return self.fits(session) and not is_stale

    def session(self, ephemeral: bytes, bundle: bytes, opening: PrekeyInfo | None, ratchet: Ratchet, now: int) -> Session:
        """A new session; initiated by us if C{opening} is given."""
        return Session(
            suite=PQXDH,
            own_identity=self.profile.identity.public,
            peer_identity=self.contact.identity,
            peer_agreement=self.device.agreement_key,
            ephemeral=ephemeral,
            bundle=bundle,
            initiated=opening is not None,
            confirmed=False,
            opening=opening,
            made_at=now,
            ratchet=dump_ratchet(ratchet),
        )

    def associated(self, session: Session, sending: bool, header: bytes, common: bytes) -> bytes:
        """
        The associated data of a session message: suite and version, initiator and responder, which of them sends, the clear
        header, the common part and the bundle.
        """
        own, peer = own_address(self.profile), DeviceAddress(self.contact.name, self.device.id, self.contact.identity)
        initiator, responder = (own, peer) if session.initiated else (peer, own)
        return length_prefixed(
            SESSION_DATA,
            session.suite.encode(),
            SUITES[session.suite].to_bytes(4, "big"),
            *initiator.parts,
            *responder.parts,
            FROM_INITIATOR if session.initiated == sending else FROM_RESPONDER,
            header,
            common,
            session.bundle,
        )


@frozen
class Recipient:
    """
    The recipient of a deposit.

    @ivar devices: ids of its devices.
    @ivar connection: nonce of the connection, where one end is a guest; else empty.
    @ivar introduction: our account, for a recipient that may not know us.
    """

    contact: Contact
    devices: tuple[bytes, ...]
    connection: bytes = b""
    introduction: Introduction | None = None

    def address(self, device: bytes) -> DeviceAddress:
        """One of its devices."""
        return DeviceAddress(self.contact.name, device, self.contact.identity)


@frozen
class Opened:
    """
    A session message that was decrypted and is authentic.

    @ivar contact: the sender, as it is known from now on.
    @ivar device_id: of the sender.
    @ivar first: whether it made a new session, or is the first of an epoch.
    @ivar suite: that it was sealed with.
    @ivar lacks_one_time: it opens a session that began without a one-time prekey.
    @ivar is_opening: it brings what begins its session, because its sender has had no answer in it.
    """

    conversation: Conversation
    contact: Contact
    device_id: bytes
    content_key: ContentKey = field(repr=False)
    first: bool
    suite: str
    lacks_one_time: bool = False
    is_opening: bool = False


def pair_of(profile: Profile, contact: Contact, device_id: bytes) -> DevicePair:
    """
    Us and a device on a contact's list.

    @raise IdentityChanged: the user must accept the contact's other identity first.
    @raise Refusal: C{unknown-device}.
    """
    if contact.has_changed:
        raise IdentityChanged(contact)
    return _listed_pair(profile, contact, device_id)


def introduced_pair(
    records: IRecords,
    profile: Profile,
    account: str,
    device_id: bytes,
    introduction: PrekeyHeader | Introduction | None,
    now: int,
) -> DevicePair:
    """
    Us and the claimed sender: a known contact, or the one that a header introduces. Nothing is kept.

    @raise Refusal: C{no-session}, C{unknown-device}, or as L{contacts.judge}.
    """
    if introduction is not None:
        record = AccountRecord(account, introduction.identity, introduction.devices)
        contact: Contact | None = contacts.introduced(records, profile, record, now)
    else:
        contact = contacts.get_contact(records, account)
    if contact is None:
        raise Refusal("no-session")
    return _listed_pair(profile, contact, device_id)


def _listed_pair(profile: Profile, contact: Contact, device_id: bytes) -> DevicePair:
    device = contacts.device(contact, device_id)
    if device is None:
        raise Refusal("unknown-device")
    return DevicePair(profile, contact, device)


def own_address(profile: Profile) -> DeviceAddress:
    """The address of this device."""
    return DeviceAddress(profile.name, profile.device_id, profile.identity.public)


def check_size(content_key: ContentKey, size: int) -> None:
    """
    Check a content key that we are about to seal.

    @param size: of the keys of its suite and cipher.
    @raise LocalProtocolError: it is one of another.
    """
    if len(content_key.key) != size:
        raise LocalProtocolError("a content key of another suite")


def checked_key(size: int, plaintext: bytes, common: bytes) -> ContentKey:
    """
    The key in a decrypted own part, checked against the common part that came with it.

    @param size: that it must have, as the suite and cipher of the own part say.
    @param common: SHA-256 of that part.
    @raise Unauthentic: it belongs to another common part.
    @raise Refusal: C{bad-envelope}: it is malformed, or its key is not one of this suite.
    """
    content_key = decode_content_key(plaintext)
    if len(content_key.key) != size:
        raise Refusal("bad-envelope")
    if content_key.common != common:
        raise Unauthentic("common part")
    return content_key
