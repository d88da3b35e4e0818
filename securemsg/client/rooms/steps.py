"""
Steps: how a room comes to its next list.

One transaction writes a list of ours and its outbox row; nothing counts before the server has taken it. Of several lists one
wins, and whoever lost decides anew. Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from securemsg.client.rooms import events, lists, ordering, rows, store
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import ChangeKind, PendingChange, Room, RoomState
from securemsg.client.state import contacts, quarantine
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import forget_streams, note_account_base
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    OUTBOX,
    ROWS,
    SEALED,
    OutboxRow,
)
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content, Kind, decode_record
from securemsg.protocol.messages import RoomItem
from securemsg.protocol.rooms import (
    MAX_MEMBERS,
    MAX_ROOM_DEVICES,
    Member,
    MemberList,
    RoomLists,
    SignedMemberList,
)

# Seconds after a step of somebody else before we decide again: at least one, and so many at most.
LONGEST_PAUSE = 5


# --- our own steps --------------------------------------------------------------------------------------------------


def create(records: IRecords, profile: Profile, alias: str, title: str, now: int) -> Room:
    """
    Make a room with us as its only member. It counts once the server has taken its first list.

    @raise Refusal: C{illegal-name}, C{reserved-name}, C{room-name-taken}, C{too-many-rooms}; C{bad-room-list}, C{bad-envelope}:
        the title is too long.
    """
    listing = lists.first(profile, keys.random_id(), title, now)
    lists.read(listing.signed, listing.body.room, profile.pin)
    store.check_capacity(records)
    room = Room(listing.body.room, "", title, RoomState.ASKED, inviter=profile.name)
    room = store.name_room(records, room, alias)
    return _write(records, profile, room, listing, now)


def decide(records: IRecords, profile: Profile, room: Room, now: int) -> bool:
    """
    Make the next list of a room, if something is wanted of it and it is time for that.

    @return: whether there is anything to send.
    """
    newest = store.newest(records, room)
    is_early = now < room.not_before <= now + LONGEST_PAUSE
    if newest is None or room.is_stepping or room.is_behind or is_early or not lists.has_proof(newest):
        return False
    waiting = _grantable(records, room)
    for number, change in waiting:
        try:
            listing = _following(records, profile, newest, change, [each for _, each in waiting], now)
        except Refusal as refusal:
            store.end_change(records, number, refusal.code)
            continue
        if listing is not None:
            _write(records, profile, room, listing, now)
            return True
        store.end_change(records, number)
    return False


def count_pending(records: IRecords) -> int:
    """How many changes of our rooms may be made now."""
    if not store.has_changes(records):
        return 0
    return sum(len(_grantable(records, room)) for room in store.all_rooms(records) if not room.is_behind)


def lacks_proof(records: IRecords, room: Room) -> bool:
    """Whether a step is wanted, and cannot be made: we have the newest list from somebody who was taken out."""
    newest = store.newest(records, room)
    return newest is not None and not lists.has_proof(newest) and bool(_grantable(records, room))


def _grantable(records: IRecords, room: Room) -> list[tuple[int, PendingChange]]:
    """What waits for a step of ours. While we leave, that is the leaving of others: of two who go at once one goes first."""
    waiting = [(number, change) for number, change in store.pending_changes(records, room) if not change.code]
    match room.state:
        case RoomState.IN:
            return waiting
        case RoomState.LEAVING:
            return [(number, change) for number, change in waiting if change.kind is ChangeKind.LEFT]
        case _:
            return []


def _following(
    records: IRecords, profile: Profile, newest: RoomList, change: PendingChange, waiting: Collection[PendingChange], now: int
) -> RoomList | None:
    """
    The list that grants a change; C{None}: it is granted already.

    @raise Refusal: it cannot be granted.
    """
    body = newest.body
    own, whom = body.member(profile.name), body.member(change.account)
    if is_done(change, newest):
        return None
    if own is None or (not own.is_admin and change.kind not in (ChangeKind.FRESH, ChangeKind.LEFT)):
        raise Refusal("not-admin")
    match change.kind:
        case ChangeKind.ADD:
            if not _is_link_good(change, body):
                raise Refusal("bad-room-link")
            newcomers = [
                (each.account, each.identity) for each in waiting if each.kind is ChangeKind.ADD and _is_link_good(each, body)
            ]
            return lists.following(profile, newest, "added", now, members=_enlarged(records, body, newcomers, change))
        case ChangeKind.REMOVE:
            if change.account == profile.name:
                raise Refusal("bad-request")
            left = tuple(member for member in body.members if member.account != change.account)
            return lists.following(profile, newest, "removed", now, members=left, link=b"")
        case ChangeKind.ADMIN | ChangeKind.NO_ADMIN:
            if whom is None:
                raise Refusal("not-in-room")
            members = lists.with_role_changed(body, change.account)
            if not any(member.is_admin for member in members):
                raise Refusal("last-admin")
            return lists.following(profile, newest, "role", now, members=members)
        case ChangeKind.TITLE:
            return lists.following(profile, newest, "title", now, title=change.text)
        case ChangeKind.LINK:
            return lists.following(profile, newest, "link", now, link=change.digest)
        case ChangeKind.FRESH:
            return lists.following(profile, newest, "fresh", now)
        case ChangeKind.LEFT:
            members = lists.members_without(body, change.account)
            return lists.following(profile, newest, "left", now, members=members, statement=change.statement)


def is_done(change: PendingChange, listing: RoomList) -> bool:
    """Whether a list is as somebody wants it; or, of somebody who leaves, whether that is over."""
    body = listing.body
    whom = body.member(change.account)
    match change.kind:
        case ChangeKind.ADD:
            return body.stands(change.account, change.identity)
        case ChangeKind.REMOVE:
            return whom is None
        case ChangeKind.ADMIN:
            return whom is not None and whom.is_admin
        case ChangeKind.NO_ADMIN:
            return whom is not None and not whom.is_admin
        case ChangeKind.TITLE:
            return body.title == change.text
        case ChangeKind.LINK:
            return body.link == change.digest
        case ChangeKind.LEFT:
            return whom is None or change.statement is None or whom.since != change.statement.since
        case ChangeKind.FRESH:
            return listing.digest != change.digest


def _is_link_good(change: PendingChange, body: MemberList) -> bool:
    """Whether somebody who is to be added was invited, or came by the link that still counts."""
    return not change.digest or change.digest == body.link


def _enlarged(
    records: IRecords, body: MemberList, newcomers: list[tuple[str, bytes]], change: PendingChange
) -> tuple[Member, ...]:
    """
    The members with as many of those who are to be added as there is room for, the one that a change is about first.

    @raise Refusal: C{room-full}; C{identity-changed}: that name is a member under another identity.
    """
    found = {change.account: change.identity}
    taken = {member.identity for member in body.members} | {change.identity}
    for account, identity in newcomers:
        # One person under two names would spoil the list for the others.
        if body.member(account) is None and identity not in taken and len(body.members) + len(found) < MAX_MEMBERS:
            found.setdefault(account, identity)
            taken.add(identity)
    if body.member(change.account) is not None:
        raise Refusal("identity-changed")
    names = [member.account for member in body.members] + [change.account]
    if len(names) > MAX_MEMBERS or sum(_device_count(records, name) for name in names) > MAX_ROOM_DEVICES:
        raise Refusal("room-full")
    while sum(_device_count(records, name) for name in (*names[:-1], *found)) > MAX_ROOM_DEVICES:
        found.popitem()
    return lists.added(body, list(found.items()))


def _device_count(records: IRecords, account: str) -> int:
    contact = contacts.get_contact(records, account)
    return 1 if contact is None else max(1, len(contacts.devices(contact)))


def _write(records: IRecords, profile: Profile, room: Room, listing: RoomList, now: int) -> Room:
    """Put a list of ours into the outbox."""
    seq = rows.write(records, profile, room.conversation, Kind.LIST, listing.signed, now)
    room = replace(room, step=seq)
    store.put_room(records, room)
    return room


def withdraw(records: IRecords, room: Room) -> None:
    """Take the step of ours that waits out of the outbox."""
    for part in (ROWS, SEALED):
        records.delete(OUTBOX, part, room.step)


def item_of(records: IRecords, room: Room, listing: RoomList) -> RoomItem:
    """The item of a step of ours, with the proof of the list before."""
    before = store.list_at(records, room, listing.body.n - 1)
    return lists.item_for(listing, keys.random_bytes(32) if before is None or not before.signed.proof else before.signed.proof)


def accepted(records: IRecords, profile: Profile, row: OutboxRow, seq: int, now: int) -> None:
    """The server has taken a step of ours: adopt it, in the transaction that removes its row."""
    room = store.get_room(records, row.to.room_id)
    if room is None:
        return
    room = _answered(room, seq)
    listing = list_in(profile, row)
    if listing.body.n == room.mark.version + 1 and (room.mark.version == 0 or listing.body.previous == room.mark.digest):
        adopt(records, profile, room, listing, now)
    else:
        store.put_room(records, room)


def lost(records: IRecords, row: OutboxRow, seq: int, now: int, code: str = "") -> None:
    """
    Another step was taken: forget ours, and decide anew after a while, when the other one is here.

    @param code: why the server will never take ours, whatever comes: then what we wanted fails; else empty.
    """
    room = store.get_room(records, row.to.room_id)
    if room is None:
        return
    pause = 1 + keys.random_bytes(1)[0] % LONGEST_PAUSE
    store.put_room(records, replace(_answered(room, seq), not_before=now + pause))
    if code and not row.again:
        for number, change in store.pending_changes(records, room):
            store.end_change(records, number, change.code or code)


def _answered(room: Room, seq: int) -> Room:
    """A room when this row of it was answered."""
    return replace(room, step=0 if room.step == seq else room.step, repeating=0 if room.repeating == seq else room.repeating)


def list_in(profile: Profile, row: OutboxRow) -> RoomList:
    """The list of ours that a row brings."""
    content = decode_record(Content, row.content)
    return lists.read(decode_record(SignedMemberList, content.body), row.to.room_id, profile.pin)


# --- adopting -------------------------------------------------------------------------------------------------------


def adopt(records: IRecords, profile: Profile, room: Room, listing: RoomList, now: int) -> Room:
    """
    Go by a list that was checked.

    @return: the room as it is saved.
    """
    before, body = store.newest(records, room), listing.body
    if room.step:
        # A step of ours that waits is this one, or beaten by it: if it went out later, a restored server could take it.
        withdraw(records, room)
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
    is_behind = listing.mark.version < room.told.version
    state = _state_after(room, before, listing, own if is_in else None)
    # A link that is still wanted is not in this list, and may be in the next.
    changes = [change for _, change in store.pending_changes(records, room)]
    links = {body.link, *(change.digest for change in changes if change.kind is ChangeKind.LINK)}
    has_link = bool(room.secret) and keys.sha256(room.secret) in links
    room = replace(
        room,
        mark=listing.mark,
        title=body.title,
        state=state,
        told=room.told if is_behind else listing.mark,
        told_at=room.told_at if is_behind else 0,
        asked=room.asked if is_behind else 0,
        code="",
        culprit="",
        secret=room.secret if has_link else b"",
        is_hearsay=False,
    )
    store.put_room(records, room)
    if before is None and own is not None and room.state is RoomState.LEAVING:
        # We have withdrawn our request, which was granted all the same.
        room = say_leaving(records, profile, room, own.since, now)
    moved = _moved(before, listing)
    for account in moved:
        store.forget_invited(records, room, account)
    for number, change in store.pending_changes(records, room):
        if change.kind is ChangeKind.ADD and change.account in moved and body.member(change.account) is None:
            # They have left, or were taken out, and have to ask again.
            store.end_change(records, number)
        elif not change.code and (state is RoomState.OUT or is_done(change, listing)):
            store.end_change(records, number, "" if is_done(change, listing) else "not-in-room")
    events.note(records, profile, room, before, listing, now)
    if before is not None and body.author == profile.name:
        _tell_removed(records, profile, before, listing, now)
    for name in {member.account for each in (before, listing) if each for member in each.body.members}:
        quarantine.mark_for_retry(records, name)
    return room


def say_leaving(records: IRecords, profile: Profile, room: Room, since: int, now: int) -> Room:
    """Tell all members that we leave; to be said again to those who still write."""
    rows.write(records, profile, room.conversation, Kind.LEAVING, lists.leave_statement(profile, room.id, since), now)
    room = replace(room, state=RoomState.LEAVING, asked_at=now)
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
