"""
What the user decides about contacts: to accept other keys, and to verify them by the safety number.

Source: C{docs/protocol.md}, section "Safety numbers".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.contacts import (
    Contact,
    Policy,
    get_contact,
    is_signed_claim,
    offered,
    put_contact,
    put_judged,
    renewed,
)
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import clear_notices
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords

# Warnings that are settled by accepting or confirming a contact.
SETTLED_BY_USER = ("identity-changed", "contact-device-added")


def accept(records: IRecords, name: str, now: int) -> Contact:
    """
    Take the identity that claimed a contact's name last, if one did. It is not verified by that: see L{confirm}.

    Sessions belong to an identity: with a new one they begin anew by themselves.

    @raise Refusal: C{no-such-account}. C{not-shown}: the user was shown the number of another claim.
    """
    contact = _existing(records, name)
    if not contact.changed_to:
        if not contact.known:
            put_contact(records, contact := msgspec.structs.replace(contact, known=True))
        return contact
    if contact.shown_claim not in (b"", contact.changed_to):
        raise Refusal("not-shown")
    contact = msgspec.structs.replace(renewed(contact, contact.changed_to, contact.changed_devices, now), known=True)
    return _settled(records, contact, now)


def set_policy(records: IRecords, name: str, policy: Policy, now: int) -> Contact:
    """
    Choose what happens when a contact's identity changes; a change that waits and that the policy follows is followed now.

    @raise Refusal: C{no-such-account}.
    """
    contact = msgspec.structs.replace(_existing(records, name), policy=policy)
    if policy is Policy.TOFU:
        contact = msgspec.structs.replace(contact, verified=False)
    if contact.has_changed and (policy is Policy.TOFU or (policy is Policy.SIGNED and is_signed_claim(contact))):
        # The user is here, and need not be told later.
        followed = renewed(contact, contact.changed_to, contact.changed_devices, now, followed=True)
        return _settled(records, msgspec.structs.replace(followed, followed=False), now)
    put_contact(records, contact)
    return contact


def _settled(records: IRecords, contact: Contact, now: int) -> Contact:
    """Save a contact whose other identity was taken."""
    put_judged(records, contact, now)
    for code in SETTLED_BY_USER:
        clear_notices(records, code, contact.name)
    return contact


def mark_shown(records: IRecords, contact: Contact) -> None:
    """Note that the user was shown the number with a contact, and its new devices."""
    known = _existing(records, contact.name)
    if known.shown_comparison != contact.comparison:
        shown = msgspec.structs.replace(known, shown_comparison=contact.comparison, shown_claim=contact.changed_to)
        put_contact(records, shown)


def confirm(records: IRecords, profile: Profile, name: str, digits: str = "") -> Contact:
    """
    Verify a contact, and its new devices: the user has compared the number that was shown last.

    @param digits: the number as the contact sees it; then it need not have been shown here, but new devices must.
    @raise Refusal: C{no-such-account}. C{identity-changed}: the new identity has to be accepted first. C{not-shown}: that
        number, or a new device, was not shown before. C{other-number}: the digits are of another number.
    """
    contact = _existing(records, name)
    if contact.changed_to:
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


def safety(profile: Profile, contact: Contact) -> str:
    """The number to compare before L{confirm}: 60 digits, the same on both sides. Of a changed contact: of the new identity."""
    return keys.safety_number(profile.name, profile.identity.public, contact.name, offered(contact))


def _existing(records: IRecords, name: str) -> Contact:
    contact = get_contact(records, name)
    if contact is None:
        raise Refusal("no-such-account")
    return contact
