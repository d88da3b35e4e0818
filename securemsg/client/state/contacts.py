"""
Contacts: their identities and device lists, and which changes are accepted without asking the user.

A first contact is trusted on first use and says so; from then on its identity is pinned, and its list only moves forward.
What the directory or a message claims is judged here, before anything else looks at it. Source: C{docs/protocol.md},
section "Device lists".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state import integrity
from securemsg.client.state.profile import LIST_WARNING, LISTS, Profile, device_digest, remember_list, seen_list
from securemsg.client.state.records import clear_notices
from securemsg.crypto import keys
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import (
    DEVICE_LIST_LABEL,
    SERVER_NAME,
    Device,
    DeviceList,
    check_name,
    decode_device_list,
)
from securemsg.protocol.envelope import ListMark
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import AccountRecord, Id, Record, SignedDeviceList

TABLE = "contacts"

INVITE = "invite"
DIRECTORY = "directory"
MESSAGE = "message"

DIGEST_SIZE = 32
# Warnings that the user settles by accepting or confirming a contact.
SETTLED_BY_USER = ("identity-changed", "contact-device-added")


class Contact(Record, frozen=True):
    """
    An account that we know.

    @ivar verified: a fingerprint was compared, or the identity came with an invite.
    @ivar devices: its newest list, checked; none where so far only the identity is known.
    @ivar version: of that list; 0 without one.
    @ivar digest: SHA-256 of that list's body; empty without one.
    @ivar checked_at: when the directory last said so; 0: never.
    @ivar changed_to: another identity that claims the name and waits for the user's decision, or empty.
    @ivar changed_devices: the list under that identity, if one was shown.
    @ivar origin: how we met: C{invite}, C{directory} or C{message}.
    @ivar unconfirmed: ids of devices that were added to its list after we met, until the user has confirmed them.
    @ivar unannounced: a device was added, and the user has not been warned of it so far.
    @ivar shown_comparison: the L{comparison} that the user was shown last; empty: none.
    @ivar known: we wrote to it, accepted or verified its identity, invited it or were invited by it.
    """

    name: str
    identity: bytes
    verified: bool
    devices: SignedDeviceList | None
    version: int
    digest: bytes
    first_seen: int
    checked_at: int
    changed_to: bytes
    changed_devices: SignedDeviceList | None
    origin: str
    unconfirmed: tuple[Id, ...] = ()
    unannounced: bool = False
    shown_comparison: bytes = b""
    known: bool = False

    @property
    def is_blocked(self) -> bool:
        """Whether nothing may be sent before the user accepts the other identity."""
        return bool(self.changed_to)

    @property
    def comparison(self) -> bytes:
        """What there is to compare, as a digest: the identity, of two the new one, and the devices that are not confirmed."""
        return keys.digest(offered(self), *(() if self.is_blocked else self.unconfirmed))

    @property
    def trust_digest(self) -> bytes:
        """A digest of what decides whom and what we trust: identities, whether one was compared, and the devices."""
        listed = sorted(device_digest(device) for device in devices(self))
        state = msgspec.msgpack.encode((self.verified, self.unconfirmed, self.shown_comparison))
        return integrity.row_digest(self.identity, self.changed_to, state, *listed)

    @property
    def mark(self) -> ListMark:
        """The version and digest of the list that we use, to be named in messages."""
        return ListMark(self.version, self.digest)


class IdentityChanged(Refusal):
    """
    Another identity claims the name of a contact.

    @ivar contact: the contact as it is to be kept, with the claim noted in it and nothing else changed.
    """

    def __init__(self, contact: Contact) -> None:
        super().__init__("identity-changed")
        self.contact = contact


def get_contact(records: IRecords, name: str) -> Contact | None:
    """The contact of this name."""
    data = records.get(TABLE, name.encode())
    return None if data is None else msgspec.msgpack.decode(data, type=Contact)


def all_contacts(records: IRecords) -> list[Contact]:
    """All contacts, by name."""
    contacts = [msgspec.msgpack.decode(value, type=Contact) for _, _, value in records.scan(TABLE)]
    return sorted(contacts, key=lambda contact: contact.name)


def put_contact(records: IRecords, contact: Contact) -> None:
    """Keep a contact. One that has another list than before: see L{put_judged}."""
    before = get_contact(records, contact.name)
    integrity.note(records, TABLE, contact.name.encode(), b"" if before is None else before.trust_digest, contact.trust_digest)
    records.put(TABLE, contact.name.encode(), msgspec.msgpack.encode(contact))


def put_judged(records: IRecords, contact: Contact, now: int) -> None:
    """Keep a contact as a record or a message has updated it, and remember its list, and when it was seen first."""
    if get_contact(records, contact.name) != contact:
        put_contact(records, contact)
        if contact.devices is not None:
            remember_list(records, decode_device_list(contact.devices.body), contact.devices.body, now)


def adopt(records: IRecords, profile: Profile, record: AccountRecord, now: int, origin: str) -> Contact:
    """
    Adopt a record of an account, if it is valid.

    @raise IdentityChanged: the claim is kept in the contact (catch this inside the transaction), and nothing else.
    @raise Refusal: nothing has changed: see L{judge}.
    """
    try:
        contact = judge(profile, get_contact(records, record.name), record, now, origin)
    except IdentityChanged as changed:
        put_contact(records, changed.contact)
        raise
    put_judged(records, contact, now)
    return contact


def judge(profile: Profile, known: Contact | None, record: AccountRecord, now: int, origin: str) -> Contact:
    """
    A contact as updated by a record; nothing is saved.

    @raise Unauthentic: the list is not signed by the identity beside it.
    @raise Refusal: C{bad-device-list}: for another account or server, or malformed. C{illegal-name}. C{own-account}.
        C{list-rolled-back}: older than the one we have. C{list-forked}: another list with the same version, or one that does
        not follow ours.
    @raise IdentityChanged: signed, but by another identity than we know.
    """
    listing = _read(profile, record)
    digest = keys.sha256(record.devices.body)
    checked_at = now if origin == DIRECTORY else 0
    if known is None:
        return Contact(
            record.name,
            record.identity,
            False,
            record.devices,
            listing.version,
            digest,
            now,
            checked_at,
            b"",
            None,
            origin,
        )
    if record.identity != known.identity:
        raise IdentityChanged(_claimed(known, record, listing))
    if listing.version < known.version:
        raise Refusal("list-rolled-back")
    if listing.version == known.version and digest != known.digest:
        raise Refusal("list-forked")
    if listing.version == known.version + 1 and known.version and listing.previous != known.digest:
        raise Refusal("list-forked")
    before = {device.keys for device in devices(known)}
    # The first list that is known of somebody adds nothing.
    added = {device.id for device in listing.devices if before and device.keys not in before}
    contact = msgspec.structs.replace(
        known,
        devices=record.devices,
        version=listing.version,
        digest=digest,
        verified=known.verified and not added,
        unconfirmed=tuple(device.id for device in listing.devices if device.id in added.union(known.unconfirmed)),
        unannounced=known.unannounced or bool(added),
    )
    if origin == DIRECTORY:
        # Only the directory clears a claim: an old message from the known identity proves nothing about today.
        return msgspec.structs.replace(contact, checked_at=now, changed_to=b"", changed_devices=None)
    return contact


def introduced(records: IRecords, profile: Profile, record: AccountRecord, now: int) -> Contact:
    """
    The contact that a message introduces itself with; nothing is kept.

    As L{judge}, but a message may have waited for weeks: an older list proves that its sender spoke the truth then, while
    which devices count is still for the newest list to say.
    """
    known = get_contact(records, record.name)
    if known is not None and record.identity == known.identity:
        if record.devices == known.devices:
            return known
        listing = _read(profile, record)
        if listing.version < known.version:
            seen = seen_list(records, record.name, listing.version)
            if seen is not None and seen.digest != keys.sha256(record.devices.body):
                raise Refusal("list-forked")
            return known
    return judge(profile, known, record, now, MESSAGE)


def accept(records: IRecords, name: str, now: int) -> Contact:
    """
    Take the identity that claimed a contact's name last, if one did. It is not verified by that: see L{confirm}.

    Sessions belong to an identity: with a new one they begin anew by themselves.

    @raise Refusal: C{no-such-account}.
    """
    contact = _known(records, name)
    if not contact.changed_to:
        if not contact.known:
            put_contact(records, contact := msgspec.structs.replace(contact, known=True))
        return contact
    for bucket, version, _ in records.scan(LISTS, name.encode()):
        records.delete(LISTS, bucket, version)
    listing = None if contact.changed_devices is None else decode_device_list(contact.changed_devices.body)
    contact = msgspec.structs.replace(
        contact,
        identity=contact.changed_to,
        verified=False,
        devices=contact.changed_devices,
        version=0 if listing is None else listing.version,
        digest=b"" if contact.changed_devices is None else keys.sha256(contact.changed_devices.body),
        # Ask the directory before the next message.
        checked_at=0,
        first_seen=now,
        changed_to=b"",
        changed_devices=None,
        unconfirmed=(),
        unannounced=False,
        known=True,
    )
    put_judged(records, contact, now)
    for code in SETTLED_BY_USER:
        clear_notices(records, code, name)
    return contact


def mark_shown(records: IRecords, contact: Contact) -> None:
    """Note that the user was shown the number with a contact, and its new devices."""
    known = _known(records, contact.name)
    if known.shown_comparison != contact.comparison:
        put_contact(records, msgspec.structs.replace(known, shown_comparison=contact.comparison))


def confirm(records: IRecords, profile: Profile, name: str, digits: str = "") -> Contact:
    """
    Verify a contact, and its new devices: the user has compared the number that was shown last.

    @param digits: the number as the contact sees it; then it need not have been shown here, but new devices must.
    @raise Refusal: C{no-such-account}. C{identity-changed}: the new identity has to be accepted first. C{not-shown}: that
        number, or a new device, was not shown before. C{other-number}: the digits are of another number.
    """
    contact = _known(records, name)
    if contact.is_blocked:
        raise Refusal("identity-changed")
    if digits and digits != safety(profile, contact).replace(" ", ""):
        raise Refusal("other-number")
    if contact.shown_comparison != contact.comparison and (contact.unconfirmed or not digits):
        raise Refusal("not-shown")
    contact = msgspec.structs.replace(contact, verified=True, unconfirmed=(), unannounced=False, known=True)
    contact = msgspec.structs.replace(contact, shown_comparison=contact.comparison)
    put_contact(records, contact)
    clear_notices(records, "contact-device-added", name)
    return contact


def trust_inviter(records: IRecords, profile: Profile, link: InviteLink, now: int) -> None:
    """
    Verify the contacts in an invite: the person who passed it on vouches for their identities.

    A contact that is known under another identity is not replaced; the invite's is noted for the user to accept.
    """
    for name, identity in ((SERVER_NAME, link.contact), (link.inviter, link.inviter_identity)):
        if not name or not identity or name == profile.name:
            continue
        check_name(name)
        known = get_contact(records, name)
        if known is None:
            put_contact(records, Contact(name, identity, True, None, 0, b"", now, 0, b"", None, INVITE, known=True))
        elif known.identity == identity:
            # The invite vouches for the identity, and not for a device that was added since.
            put_contact(records, msgspec.structs.replace(known, verified=not known.unconfirmed, known=True))
        else:
            put_contact(records, msgspec.structs.replace(known, changed_to=identity, changed_devices=None))


def devices(contact: Contact) -> list[Device]:
    """The devices that messages to this contact go to; none where no list is known yet."""
    return [] if contact.devices is None else decode_device_list(contact.devices.body).devices


def device(contact: Contact, device_id: bytes) -> Device | None:
    """A device of this contact, if it stands on its list."""
    return next((found for found in devices(contact) if found.id == device_id), None)


def offered(contact: Contact) -> bytes:
    """The identity that L{accept} would take."""
    return contact.changed_to or contact.identity


def safety(profile: Profile, contact: Contact) -> str:
    """The number to compare before L{confirm}: 60 digits, the same on both sides. Of a changed contact: of the new identity."""
    return keys.safety_number(profile.name, profile.identity.public, contact.name, offered(contact))


def is_list_old(contact: Contact, now: int) -> bool:
    """Whether a contact's list is so old that the server may be withholding newer ones."""
    if contact.devices is None:
        return False
    return now - decode_device_list(contact.devices.body).issued_at >= LIST_WARNING


def _known(records: IRecords, name: str) -> Contact:
    contact = get_contact(records, name)
    if contact is None:
        raise Refusal("no-such-account")
    return contact


def _claimed(known: Contact, record: AccountRecord, listing: DeviceList) -> Contact:
    """A contact whose name another identity claims; of two lists of that identity the newer one stays."""
    earlier = known.changed_devices if known.changed_to == record.identity else None
    if earlier is not None and decode_device_list(earlier.body).version > listing.version:
        return known
    return msgspec.structs.replace(known, changed_to=record.identity, changed_devices=record.devices)


def _read(profile: Profile, record: AccountRecord) -> DeviceList:
    """Check a record in itself: signature, account and server."""
    if record.name == profile.name:
        raise Refusal("own-account")
    check_name(record.name)
    try:
        keys.verify(record.identity, record.devices.signature, DEVICE_LIST_LABEL, record.devices.body)
    except Unauthentic:
        raise Unauthentic("device list") from None
    listing = decode_device_list(record.devices.body)
    if listing.account != record.name or listing.server != profile.pin:
        raise Refusal("bad-device-list", "of another account or server")
    if len(listing.previous) != (DIGEST_SIZE if listing.version > 1 else 0):
        raise Refusal("bad-device-list", "a list that follows none")
    if not all(keys.are_device_keys(row.signing_key, row.agreement_key) for row in listing.devices):
        raise Refusal("bad-device-list", "an invalid key")
    return listing
