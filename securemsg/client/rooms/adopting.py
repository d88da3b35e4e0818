"""
Adopting a list: from then on we go by it, with all that follows from who has come and who has gone.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms import changes, events, lists, ordering, rows, store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts, quarantine
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import forget_streams, note_account_base
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import remove_row
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import RoomItem
from securemsg.protocol.rooms import Member, RoomLists, SignedMemberList


def adopt(records: IRecords, profile: Profile, room: Room, listing: RoomList, now: int) -> Room:
    """
    Go by a list that was checked.

    @return: the room as it is saved.
    """
    before, body = store.newest(records, room), listing.body
    if room.step:
        # A step of ours that waits is this one, or beaten by it: if it went out later, a restored server could take it.
        remove_row(records, room.step)
        room = replace(room, step=0)
    conversation, own = lists.conversation_id(room.id), body.member(profile.name)
    is_in = body.stands(profile.name, profile.identity.public)
    store.put_list(records, room, listing)
    if is_in and own is not None and (own.since == body.n or before is None):
        forget_streams(records, conversation)
    known = body.n - 1 if before is None else before.body.n
    for member in body.members:
        if member.since > known and member is not own:
            contact = contacts.get_contact(records, member.account)
            devices = [] if contact is None else [device.id for device in contacts.devices(contact)]
            note_account_base(records, profile, member.account, conversation, devices)
    is_behind = listing.mark.version < room.server_mark.version
    state = _state_after(room, before, listing, own if is_in else None)
    # A link that is still wanted is not in this list, and may be in the next.
    links = {body.link, *(change.digest for _, change in changes.pending(records, room) if change.kind is ChangeKind.LINK)}
    has_link = bool(room.secret) and keys.sha256(room.secret) in links
    room = replace(
        room,
        mark=listing.mark,
        title=body.title,
        state=state,
        server_mark=room.server_mark if is_behind else listing.mark,
        behind_since=room.behind_since if is_behind else 0,
        asked=room.asked if is_behind else 0,
        is_trying=False,
        code="",
        culprit="",
        secret=room.secret if has_link else b"",
        is_hearsay=False,
        others=(),
    )
    store.put_room(records, room)
    if before is None and own is not None and room.state is RoomState.LEAVING:
        # We have withdrawn our request, which was granted all the same.
        room = say_leaving(records, profile, room, own.since, now)
    moved = _moved(before, listing)
    for account in moved:
        store.forget_invited(records, room, account)
    for number, change in changes.pending(records, room):
        is_done = changes.is_done(change, listing)
        if change.kind is ChangeKind.ADD and change.account in moved and body.member(change.account) is None:
            # They have left, or were taken out, and have to ask again.
            changes.end(records, number)
        elif state is RoomState.OUT or is_done:
            changes.end(records, number, "" if is_done else "not-in-room")
    events.note(records, profile, room, before, listing, now)
    if before is not None and body.author == profile.name:
        _tell_removed(records, profile, before, listing, now)
    for name in {member.account for each in (before, listing) if each for member in each.body.members}:
        quarantine.mark_for_retry(records, name)
    return room


def say_leaving(records: IRecords, profile: Profile, room: Room, since: int, now: int) -> Room:
    """Tell all members that we leave; to be said again to those who still write."""
    rows.write(records, profile, room.conversation, Kind.LEAVING, lists.leave_statement(profile, room.id, since), now)
    room = replace(room, state=RoomState.LEAVING, left_at=now)
    store.put_room(records, room)
    return room


def _state_after(room: Room, before: RoomList | None, listing: RoomList, own: Member | None) -> RoomState:
    """
    What we are in a room by a list.

    @param own: we on it; C{None}: we are not.
    """
    if own is None:
        return RoomState.OUT
    is_added_again = before is not None and own.since == listing.body.n
    if room.state is not RoomState.LEAVING or is_added_again:
        return RoomState.IN
    # Nobody is left who could take us out.
    return RoomState.OUT if len(listing.body.members) == 1 else RoomState.LEAVING


def _moved(before: RoomList | None, after: RoomList) -> set[str]:
    """Who is on one of two lists only, or was taken out and added again between them."""
    old = set() if before is None else {(member.account, member.since) for member in before.body.members}
    return {account for account, _ in old ^ {(member.account, member.since) for member in after.body.members}}


def take(
    records: IRecords,
    profile: Profile,
    room: Room,
    signed: SignedMemberList,
    item: RoomItem,
    sender: tuple[str, bytes],
    now: int,
) -> Room:
    """
    Take the next list, as its author has sent it.

    @param sender: account and device that sent it.
    """
    before = store.newest(records, room)
    try:
        listing = lists.read(signed, room.id, profile.pin)
        if not lists.fits_item(listing, item) or (listing.body.author, listing.body.device) != sender:
            raise Refusal("bad-room-list")
        if before is not None:
            lists.check_follows(before, listing)
    except Refusal:
        if before is None:
            return room
        return ordering.break_at(records, room, item, sender[0], now)
    return adopt(records, profile, room, listing, now)


def _tell_removed(records: IRecords, profile: Profile, before: RoomList, listing: RoomList, now: int) -> None:
    """Show whoever we have taken out the list that says so, without its proof."""
    for member in before.body.members:
        contact = contacts.get_contact(records, member.account)
        if listing.body.member(member.account) is None and contact is not None and contact.identity == member.identity:
            answer = RoomLists(listing.body.room, (lists.without_proof(listing.signed),), 0)
            rows.write(records, profile, direct(member.account), Kind.LISTS, answer, now)
