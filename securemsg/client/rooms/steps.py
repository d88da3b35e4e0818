"""
Steps: how a room comes to its next list.

One transaction writes a list of ours and its outbox row; nothing counts before the server has taken it. Of several lists one
wins, and whoever lost decides anew. Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from securemsg.client.rooms import adopting, changes, lists, rows, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
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
            listing = _grant(records, profile, newest, change, [each for _, each in waiting], now)
        except Refusal as refusal:
            changes.end(records, number, refusal.code)
            continue
        if listing is not None:
            _write(records, profile, room, listing, now)
            return True
        changes.end(records, number)
    return False


def count_pending(records: IRecords) -> int:
    """How many changes of our rooms may be made now."""
    if not changes.is_any_pending(records):
        return 0
    rooms = [room for room in store.all_rooms(records) if not room.is_behind and not lacks_proof(records, room)]
    return sum(len(_grantable(records, room)) for room in rooms)


def lacks_proof(records: IRecords, room: Room) -> bool:
    """Whether a step is wanted, and cannot be made: we have the newest list from somebody who was taken out."""
    newest = store.newest(records, room)
    return newest is not None and not lists.has_proof(newest) and bool(_grantable(records, room))


def _grantable(records: IRecords, room: Room) -> list[tuple[int, PendingChange]]:
    """What waits for a step of ours. While we leave, that is the leaving of others: of two who go at once one goes first."""
    waiting = changes.pending(records, room)
    match room.state:
        case RoomState.IN:
            return waiting
        case RoomState.LEAVING:
            return [(number, change) for number, change in waiting if change.kind is ChangeKind.LEFT]
        case _:
            return []


def _grant(
    records: IRecords, profile: Profile, newest: RoomList, change: PendingChange, waiting: Collection[PendingChange], now: int
) -> RoomList | None:
    """
    The list that grants a change; C{None}: it is granted already.

    @raise Refusal: it cannot be granted.
    """
    body = newest.body
    own, whom = body.member(profile.name), body.member(change.account)
    if changes.is_done(change, newest):
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
            return lists.make_next(profile, newest, "added", now, members=_enlarged(records, body, newcomers, change))
        case ChangeKind.REMOVE:
            if change.account == profile.name:
                raise Refusal("bad-request")
            left = tuple(member for member in body.members if member.account != change.account)
            return lists.make_next(profile, newest, "removed", now, members=left, link=b"")
        case ChangeKind.ADMIN | ChangeKind.NO_ADMIN:
            if whom is None:
                raise Refusal("not-in-room")
            members = lists.with_role_changed(body, change.account)
            if not any(member.is_admin for member in members):
                raise Refusal("last-admin")
            return lists.make_next(profile, newest, "role", now, members=members)
        case ChangeKind.TITLE:
            return lists.make_next(profile, newest, "title", now, title=change.text)
        case ChangeKind.LINK:
            return lists.make_next(profile, newest, "link", now, link=change.digest)
        case ChangeKind.FRESH:
            return lists.make_next(profile, newest, "fresh", now)
        case ChangeKind.LEFT:
            members = lists.members_without(body, change.account)
            return lists.make_next(profile, newest, "left", now, members=members, statement=change.statement)


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
        adopting.adopt(records, profile, room, listing, now)
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
    room = replace(_answered(room, seq), not_before=now + pause)
    if code and room.state is RoomState.ASKED:
        room = replace(room, state=RoomState.OUT, code=code)
    store.put_room(records, room)
    if code and not row.again:
        for number, _ in changes.pending(records, room):
            changes.end(records, number, code)


def _answered(room: Room, seq: int) -> Room:
    """A room when this row of it was answered."""
    return replace(room, step=0 if room.step == seq else room.step, repeating=0 if room.repeating == seq else room.repeating)


def list_in(profile: Profile, row: OutboxRow) -> RoomList:
    """The list of ours that a row brings."""
    content = decode_record(Content, row.content)
    return lists.read(decode_record(SignedMemberList, content.body), row.to.room_id, profile.pin)
