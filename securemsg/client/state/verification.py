"""
What the user decides about contacts: to accept other keys, and to verify them by the safety number or by an invite.

Source: C{docs/protocol.md}, sections "Safety numbers" and "Invites".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.contacts import INVITE, Contact, get_contact, new_contact, offered, put_contact, put_judged
from securemsg.client.state.profile import LISTS, Profile
from securemsg.client.state.records import clear_notices
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME, check_name, decode_device_list
from securemsg.protocol.invite import InviteLink

# Warnings that are settled by accepting or confirming a contact.
SETTLED_BY_USER = ("identity-changed", "contact-device-added")


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
            put_contact(records, new_contact(name, identity, INVITE, now, verified=True, known=True))
        elif known.identity == identity:
            # The invite vouches for the identity, and not for a device that was added since.
            put_contact(records, msgspec.structs.replace(known, verified=not known.unconfirmed, known=True))
        else:
            put_contact(records, msgspec.structs.replace(known, changed_to=identity, changed_devices=None))


def safety(profile: Profile, contact: Contact) -> str:
    """The number to compare before L{confirm}: 60 digits, the same on both sides. Of a changed contact: of the new identity."""
    return keys.safety_number(profile.name, profile.identity.public, contact.name, offered(contact))


def _known(records: IRecords, name: str) -> Contact:
    contact = get_contact(records, name)
    if contact is None:
        raise Refusal("no-such-account")
    return contact
