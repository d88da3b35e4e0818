"""
Identities that follow each other: how one hands its account on, and whether a contact's new one was signed by the old.

Source: C{docs/protocol.md}, section "Identities that are renewed".
"""

from __future__ import annotations

from securemsg.client.state.profile import Profile
from securemsg.crypto import keys
from securemsg.errors import Unauthentic
from securemsg.protocol.devices import (
    MAX_SUCCESSIONS,
    SUCCESSION_LABEL,
    DeviceList,
    Succession,
    succession_parts,
)


def successions_of(profile: Profile, successor: bytes) -> tuple[Succession, ...]:
    """The identities before a new one of ours, which the present one signs."""
    parts = succession_parts(profile.pin, profile.name, successor)
    signed = Succession(profile.identity.public, profile.identity.sign(SUCCESSION_LABEL, *parts))
    return (*profile.listing.successions, signed)[-MAX_SUCCESSIONS:]


def leads_to(listing: DeviceList, known: bytes, identity: bytes) -> bool:
    """
    Whether an identity has handed its account on to another, directly or through those between.

    @param listing: that C{identity} has signed.
    """
    earlier = [each.identity for each in listing.successions]
    if known not in earlier:
        return False
    chain = listing.successions[earlier.index(known) :]
    following = [*(each.identity for each in chain[1:]), identity]
    try:
        for each, successor in zip(chain, following, strict=True):
            parts = succession_parts(listing.server, listing.account, successor)
            keys.verify(each.identity, each.signature, SUCCESSION_LABEL, *parts)
    except Unauthentic:
        return False
    return True
