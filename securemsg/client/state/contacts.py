"""
Contacts: their identities and device lists, and which changes are accepted without asking the user.

A first contact is trusted on first use and says so; from then on its identity is pinned, unless the user has chosen another
policy, and its list only moves forward.
What the directory or a message claims is judged here, before anything else looks at it. Source: C{docs/protocol.md},
section "Device lists".
"""

from __future__ import annotations

import enum

import msgspec

from securemsg.client.state import integrity
from securemsg.client.state.lists import LIST_WARNING, device_digest, forget_lists, remember_list, seen_list, verified_list
from securemsg.client.state.profile import Profile
from securemsg.client.state.successions import leads_to
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import (
    SERVER_NAME,
    Device,
    DeviceList,
    check_name,
    decode_device_list,
)
from securemsg.protocol.messages import AccountRecord, Id, ListMark, Record, SignedDeviceList

TABLE = "contacts"

INVITE = "invite"
DIRECTORY = "directory"
MESSAGE = "message"


class Policy(enum.StrEnum):
    """What happens when another identity claims a contact's name."""

    PIN = "pin"        # nothing, until the user has decided
    SIGNED = "signed"  # it is followed if the known one has signed it
    TOFU = "tofu"      # whatever the directory shows is followed; such a contact is not verified


class Contact(Record, frozen=True):
    """
    An account that we know.

    @ivar verified: the safety number was compared, an invite vouched for the identity in either direction, or it holds our
        key file.
    @ivar devices: its newest list, checked; none where so far only the identity is known.
    @ivar version: of that list; 0 without one.
    @ivar digest: SHA-256 of that list's body; empty without one.
    @ivar checked_at: when the directory last said so; 0: never.
    @ivar changed_to: another identity that claims the name and waits for the user's decision, or empty.
    @ivar changed_devices: the list under that identity, if one was shown.
    @ivar origin: how we met: C{invite}, C{directory}, C{message} or C{key file}.
    @ivar unconfirmed: ids of devices that were added to its list after we met, until the user has confirmed them.
    @ivar unannounced: a device was added, and the user has not been warned of it so far.
    @ivar shown_comparison: the L{comparison} that the user was shown last; empty: none.
    @ivar known: we wrote to it, accepted or verified its identity, invited it or were invited by it.
    @ivar shown_claim: C{changed_to} as the user was shown its number last; empty: none was shown since one was accepted.
    @ivar policy: what happens when its identity changes.
    @ivar followed: by that policy another identity was taken, and the user has not been told so far.
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
    shown_claim: bytes = b""
    policy: Policy = Policy.PIN
    followed: bool = False

    @property
    def has_changed(self) -> bool:
        """Whether nothing may be sent before the user accepts the other identity."""
        return bool(self.changed_to) and self.policy is not Policy.TOFU

    @property
    def comparison(self) -> bytes:
        """What there is to compare, as a digest: the identity, of two the new one, and the devices that are not confirmed."""
        fresh = [_keys_digest(device) for device in devices(self) if device.id in self.unconfirmed]
        return keys.digest(offered(self), *(() if self.has_changed else fresh))

    @property
    def trust_digest(self) -> bytes:
        """A digest of what decides whom and what we trust: identities, whether one was compared, and the devices."""
        listed = sorted(_keys_digest(device) for device in devices(self))
        state = msgspec.msgpack.encode((self.verified, self.unconfirmed, self.shown_comparison, self.shown_claim))
        if self.policy is not Policy.PIN:
            # Digests that were made before there were policies stay the same.
            state += self.policy.encode()
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


def new_contact(
    name: str, identity: bytes, origin: str, now: int, *, verified: bool = False, known: bool = False
) -> Contact:
    """A contact of whom no list is known yet."""
    return Contact(name, identity, verified, None, 0, b"", now, 0, b"", None, origin, known=known)


def get_contact(records: IRecords, name: str) -> Contact | None:
    """The contact of this name."""
    data = records.get(TABLE, name.encode())
    return None if data is None else msgspec.msgpack.decode(data, type=Contact)


def all_contacts(records: IRecords) -> list[Contact]:
    """All contacts, by name."""
    contacts = [msgspec.msgpack.decode(value, type=Contact) for _, _, value in records.scan(TABLE)]
    return sorted(contacts, key=lambda contact: contact.name)


def put_contact(records: IRecords, contact: Contact) -> None:
    """Save a contact whose list is unchanged; L{put_judged} saves a new list as well."""
    before = get_contact(records, contact.name)
    integrity.note(records, TABLE, contact.name.encode(), b"" if before is None else before.trust_digest, contact.trust_digest)
    records.put(TABLE, contact.name.encode(), msgspec.msgpack.encode(contact))


def forget_contact(records: IRecords, contact: Contact) -> None:
    """Forget an account and its keys: whoever has the name then is trusted on first use, as anybody new."""
    forget_lists(records, contact.name)
    integrity.note(records, TABLE, contact.name.encode(), contact.trust_digest, b"")
    records.delete(TABLE, contact.name.encode())


def put_judged(records: IRecords, contact: Contact, now: int) -> None:
    """Keep a contact as a record or a message has updated it, and remember its list, and when it was seen first."""
    before = get_contact(records, contact.name)
    if before != contact:
        if before is not None and before.identity != contact.identity:
            forget_lists(records, contact.name)
        put_contact(records, contact)
        if contact.devices is not None:
            remember_list(records, decode_device_list(contact.devices.body), contact.devices.body, now)


def adopt(
    records: IRecords, profile: Profile, record: AccountRecord, now: int, origin: str, *, may_follow: bool = True
) -> Contact:
    """
    Adopt a record of an account, if it is valid.

    @param may_follow: see L{judge}.

    @raise IdentityChanged: the claim is kept in the contact (catch this inside the transaction), and nothing else.
    @raise Refusal: nothing has changed: see L{judge}.
    """
    try:
        contact = judge(profile, get_contact(records, record.name), record, now, origin, may_follow=may_follow)
    except IdentityChanged as changed:
        put_contact(records, changed.contact)
        raise
    put_judged(records, contact, now)
    return contact


def judge(
    profile: Profile, known: Contact | None, record: AccountRecord, now: int, origin: str, *, may_follow: bool = True
) -> Contact:
    """
    A contact as updated by a record; nothing is saved.

    @param may_follow: whether another identity may be taken now: what was sealed under the one before opens no more.

    @raise Unauthentic: the list is not signed by the identity beside it.
    @raise Refusal: C{bad-device-list}: for another account or server, or malformed. C{illegal-name}. C{own-account}.
        C{list-rolled-back}: older than the one we have. C{list-forked}: another list with the same version, or one that does
        not follow ours.
        C{catching-up}: another identity would be followed, but not now.
    @raise IdentityChanged: signed, but by another identity than we know, which is not followed.
    """
    listing = _read(profile, record)
    digest = keys.sha256(record.devices.body)
    known = known or new_contact(record.name, record.identity, origin, now)
    if record.identity != known.identity:
        if known.devices is not None and leads_to(decode_device_list(known.devices.body), record.identity, known.identity):
            # What was renewed since is no claim, but a server, or a message, that is behind.
            raise Refusal("list-rolled-back")
        if not _is_followed(profile, known, record.identity, listing, origin):
            raise IdentityChanged(_claimed(known, record, listing))
        if not may_follow:
            raise Refusal("catching-up")
        checked_at = now if origin == DIRECTORY else 0
        return renewed(known, record.identity, record.devices, now, checked_at=checked_at, followed=True)
    _check_follows(known, listing, digest)
    before = {device.keys: device.rsa_key for device in devices(known)}
    # The first list that is known of somebody adds nothing. An RSA key may be added, but neither changes nor goes: else whoever
    # has the account's keys could read, and nobody would be told.
    added = {
        device.id
        for device in listing.devices
        if before and before.get(device.keys, b"") not in (None, device.rsa_key)
    }
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


def renewed(
    known: Contact,
    identity: bytes,
    signed: SignedDeviceList | None,
    now: int,
    *,
    checked_at: int = 0,
    followed: bool = False,
) -> Contact:
    """
    A contact under another identity; nothing is saved. Sessions belong to an identity: with this one they begin anew.

    @param signed: its list, checked; C{None}: it is not known.
    @param checked_at: when the directory said so; 0: ask it before the next message.
    @param followed: by the contact's policy, and not by the user's decision.
    """
    listing = None if signed is None else decode_device_list(signed.body)
    return msgspec.structs.replace(
        known,
        identity=identity,
        verified=known.verified and followed and known.policy is Policy.SIGNED,
        devices=signed,
        version=0 if listing is None else listing.version,
        digest=b"" if signed is None else keys.sha256(signed.body),
        checked_at=checked_at,
        first_seen=now,
        changed_to=b"",
        changed_devices=None,
        unconfirmed=(),
        unannounced=False,
        shown_claim=b"",
        followed=followed,
    )


def is_signed_claim(contact: Contact) -> bool:
    """Whether the identity that claims a contact's name was signed by the one that we know."""
    if not contact.changed_to or contact.changed_devices is None:
        return False
    listing = decode_device_list(contact.changed_devices.body)
    return listing.version > contact.version and leads_to(listing, contact.identity, contact.changed_to)


def _is_followed(profile: Profile, known: Contact, identity: bytes, listing: DeviceList, origin: str) -> bool:
    """
    Whether another identity is taken without asking the user. The contact C{server} has nobody to ask, and follows what is
    signed.
    """
    policy = Policy.SIGNED if profile.name == SERVER_NAME and known.policy is Policy.PIN else known.policy
    if policy is Policy.TOFU and origin == DIRECTORY:
        return True
    return policy is not Policy.PIN and listing.version > known.version and leads_to(listing, known.identity, identity)


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


def devices(contact: Contact) -> list[Device]:
    """The devices that messages to this contact go to; none where no list is known yet."""
    return [] if contact.devices is None else decode_device_list(contact.devices.body).devices


def device(contact: Contact, device_id: bytes) -> Device | None:
    """A device of this contact, if it is on the list."""
    return next((found for found in devices(contact) if found.id == device_id), None)


def offered(contact: Contact) -> bytes:
    """The identity that L{verification.accept} would take."""
    return contact.changed_to or contact.identity


def is_list_old(contact: Contact, now: int) -> bool:
    """Whether a contact's list is so old that the server may be withholding newer ones."""
    if contact.devices is None:
        return False
    return now - decode_device_list(contact.devices.body).issued_at >= LIST_WARNING


def _keys_digest(device: Device) -> bytes:
    """SHA-256 of all keys of a device, with the one that may be added later."""
    digest = device_digest(device)
    return digest if device.rsa_key is None else keys.digest(digest, device.rsa_key)


def _check_follows(known: Contact, listing: DeviceList, digest: bytes) -> None:
    """
    Check that a list may follow the one that is known of a contact, or is that one.

    @raise Refusal: C{list-rolled-back}, C{list-forked}: see L{judge}.
    """
    if listing.version < known.version:
        raise Refusal("list-rolled-back")
    if listing.version == known.version and digest != known.digest:
        raise Refusal("list-forked")
    if listing.version == known.version + 1 and known.version and listing.previous != known.digest:
        raise Refusal("list-forked")


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
    return verified_list(record.name, record.identity, profile.pin, record.devices)
