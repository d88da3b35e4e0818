"""
Incoming messages of rooms: which may be opened, and what follows from them.

A delivery with an item is judged by the list that the item names before anything of it is opened, so that nobody who is not on
that list begins a session. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms import adopting, catchup, changes, heard, joining, ordering, steps, store
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.sessions import resets, suites
from securemsg.client.sessions.addresses import Opened
from securemsg.client.state import contacts
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.counters import GAPS, stream_of
from securemsg.client.state.gaps import Gap, in_stream
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import COUNTERS, load
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    IN_ROOM,
    ONLY_IN_ROOM,
    PQXDH,
    Content,
    Kind,
    RoomContentKey,
    decode_record,
)
from securemsg.protocol.messages import Deliver, ListMark, RoomItem
from securemsg.protocol.rooms import (
    LeaveStatement,
    ListRequest,
    RoomAccept,
    RoomInvite,
    RoomLists,
    SignedMemberList,
)


def may_open(records: IRecords, profile: Profile, delivery: Deliver, now: int, waited: str = "") -> bool:
    """
    Judge a delivery by what the server says of it.

    @param waited: the code under which it has waited in quarantine, and what it says was noted; empty: it is new.
    @return: C{False}: it is nothing to us, and is dropped.
    @raise Refusal: it waits: C{room-behind}: lists before it are missing; C{room-forked}: it goes by another list than ours.
    """
    item = delivery.room
    assert item is not None, "a delivery of a room"
    room = store.get_room(records, item.room)
    mark = ListMark(item.n, item.digest)
    if room is not None and room.is_hearsay and room.state is RoomState.OUT and not waited:
        room = ordering.come_back(records, room)
    if room is None or room.state in (RoomState.INVITED, RoomState.OUT) or delivery.account == profile.name:
        return False
    if not room.mark.version:
        if item.step is None or delivery.account != room.inviter:
            _note_server_mark(records, profile, room, delivery, now, waited)
            raise Refusal("room-behind")
        return True
    if item.n <= room.mark.version:
        known = store.digest_at(records, room, item.n)
        if known and known != item.digest:
            if waited != "room-forked":
                # The user may have decided since.
                ordering.fork(records, room, mark, delivery.account, now)
            raise Refusal("room-forked")
        if mark == room.mark and room.is_behind and not waited:
            ordering.take_back(records, room)
        listing = store.list_at(records, room, item.n)
    else:
        listing = store.newest(records, room)
        is_next = item.step is not None and item.n == room.mark.version + 1 and room.state is not RoomState.FORKED
        if not is_next:
            _note_server_mark(records, profile, room, delivery, now, waited)
            raise Refusal("room-behind")
    member = None if listing is None else listing.body.member(delivery.account)
    if member is None:
        return False
    # Somebody may have the name of a member now whom we have not met.
    is_known = contacts.get_contact(records, delivery.account) is not None
    return is_known or suites.introduced(delivery.own) in (b"", member.identity)


def _note_server_mark(records: IRecords, profile: Profile, room: Room, delivery: Deliver, now: int, waited: str) -> None:
    """The server names a list that we lack; of what has waited that was noted, and may be a lie by now."""
    if not waited and delivery.room is not None:
        mark = ListMark(delivery.room.n, delivery.room.digest)
        ordering.note_server_mark(records, profile, room, mark, delivery.account, now)


def is_in_order(records: IRecords, item: RoomItem) -> bool:
    """Whether nothing that goes by a later list was delivered before: an honest server never does that."""
    room = store.get_room(records, item.room)
    return room is None or item.n >= room.seen


def conversation_of(records: IRecords, opened: Opened, content: Content) -> Conversation | None:
    """The room that a content names, if that may be said there."""
    room = store.room_of_conversation(records, content.conversation)
    return room.conversation if room is not None and opened.suite == PQXDH and content.kind in IN_ROOM else None


def is_asked_for(records: IRecords, opened: Opened, content: Content, now: int) -> bool:
    """
    Whether something of a room that came without an item is what a member sends again, to us alone, because we asked for it: it
    fills a gap, or goes on from the last that we have.
    """
    room = store.room_of_conversation(records, content.conversation)
    newest = None if room is None else store.newest(records, room)
    if newest is None or content.kind in ONLY_IN_ROOM:
        return False
    sender, stream = opened.contact, stream_of(content)
    if not newest.body.stands(sender.name, sender.identity):
        return False
    if content.counter > in_stream(records, stream).highest:
        return resets.has_asked(records, sender.name, now)
    return load(records, Gap, COUNTERS, GAPS + stream, content.counter) is not None


def is_redated(opened: Opened, item: RoomItem | None) -> bool:
    """Whether the server shows a message under another list than it was sealed under, or out of its room."""
    sealed = opened.content_key.room if isinstance(opened.content_key, RoomContentKey) else None
    return sealed != (None if item is None else ListMark(item.n, item.digest))


def apply(records: IRecords, profile: Profile, opened: Opened, content: Content, item: RoomItem, now: int) -> bool:
    """
    Take into account what was said in a room, besides what is kept in history.

    @return: whether it counts: else nothing of it is kept.
    """
    room = store.get_room(records, item.room)
    assert room is not None, "it was judged"
    sender = opened.contact
    listing = store.list_at(records, room, item.n) or store.newest(records, room)
    if listing is not None and not listing.body.stands(sender.name, sender.identity):
        return False
    if not store.newest(records, room) and room.identity and sender.identity != room.identity:
        # The link named another admin.
        return False
    if room.seen < item.n:
        room = replace(room, seen=item.n)
        store.put_room(records, room)
    heard.note_taken(records, sender.name, opened.is_opening, now)
    if item.step is not None or content.kind == Kind.LIST:
        if item.n <= room.mark.version:
            return False
        if content.kind != Kind.LIST or item.step is None:
            # A step that brings no list: nobody can go on from here.
            if item.step is not None and room.mark.version:
                ordering.break_at(records, room, item, sender.name, now)
            return False
        signed = decode_record(SignedMemberList, content.body)
        adopting.take(records, profile, room, signed, item, (sender.name, opened.device_id), now)
        return False
    if content.kind == Kind.LEAVING:
        joining.take_statement(records, room, sender, decode_record(LeaveStatement, content.body), now)
        return False
    if room.state is RoomState.LEAVING and now - room.left_at >= DAY:
        newest = store.newest(records, room)
        own = None if newest is None else newest.body.member(profile.name)
        if own is not None:
            # Whoever still writes to us may not have heard it.
            adopting.say_leaving(records, profile, room, own.since, now)
    return True


def apply_direct(records: IRecords, profile: Profile, opened: Opened, content: Content, now: int) -> None:
    """Take into account what one member says to another about a room."""
    if opened.suite != PQXDH or profile.is_guest:
        return
    contact = opened.contact
    match content.kind:
        case Kind.INVITE:
            joining.take_invite(records, profile, contact, decode_record(RoomInvite, content.body), now)
        case Kind.ACCEPT:
            joining.take_accept(records, profile, contact, decode_record(RoomAccept, content.body), now)
        case Kind.ASK:
            catchup.answer(records, profile, contact, decode_record(ListRequest, content.body), now)
        case Kind.LISTS:
            catchup.take_lists(records, profile, contact, decode_record(RoomLists, content.body), now)


def maintain(records: IRecords, profile: Profile, now: int, *, is_drained: bool, has_rooms: bool) -> bool:
    """
    Do what is due in all rooms.

    @param is_drained: whether all that waited at the server is here.
    @param has_rooms: whether the server knows rooms.
    @return: whether there may be something to send.
    """
    for room in store.all_rooms(records):
        if room.is_unsupported and has_rooms:
            ordering.note_support(records, room.id, is_supported=True)
        elif room.renews and room.state is RoomState.IN:
            joining.send_invitations(records, profile, room, now)
            store.put_room(records, replace(room, renews=b""))
        elif is_drained and not steps.decide(records, profile, room, now):
            catchup.maintain(records, profile, room, now)
    return heard.say(records, profile, now) > 0


def is_due(records: IRecords) -> bool:
    """Whether there is anything to do in a room."""
    if heard.is_due(records) or changes.is_any_pending(records):
        return True
    return any(room.needs_lists or room.renews or room.is_unsupported for room in store.all_rooms(records))
