"""
Checks of the device lists that a sender names inside the encryption: they detect a server that shows different lists to
different people. Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

from securemsg.client.state.contacts import Contact
from securemsg.client.state.lists import seen_list
from securemsg.client.state.profile import DAY, Profile
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content
from securemsg.protocol.messages import ListMark

# Contacts fetch our list once a day: one who uses an older list two days later was not shown the newer one.
LIST_GRACE = 2 * DAY


def check_lists(
    records: IRecords, profile: Profile, contact: Contact, content: Content, in_room: bool = False
) -> list[str]:
    """
    Compare the device lists that a message names with those that we know.

    @param in_room: it names a member list in the place of ours.
    @return: codes of differences. C{contact-list-behind}: they have a newer list than we were shown: fetch it.
        C{contact-list-forked}: we were shown another list than the sender has. C{own-list-unknown}: they were shown a list of
        ours that we never made. C{own-list-forked}: another one than we made. C{own-list-old}: one that we replaced
        long before they wrote.
    """
    warnings: list[str] = []
    theirs, ours = content.own_list, content.peer_list
    if theirs.version > contact.version:
        warnings.append("contact-list-behind")
    elif _is_forked(records, contact.name, theirs):
        warnings.append("contact-list-forked")
    if in_room:
        return warnings
    if ours.version > profile.listing.version:
        warnings.append("own-list-unknown")
    elif ours.version and _is_forked(records, profile.name, ours):
        warnings.append("own-list-forked")
    elif ours.version < profile.listing.version:
        successor = seen_list(records, profile.name, ours.version + 1)
        if successor is not None and content.sent_at - successor.issued_at > LIST_GRACE:
            warnings.append("own-list-old")
    return warnings


def _is_forked(records: IRecords, account: str, mark: ListMark) -> bool:
    """Whether we saw another list with this version."""
    seen = seen_list(records, account, mark.version)
    return seen is not None and seen.digest != mark.digest
