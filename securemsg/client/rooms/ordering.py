"""
The server's order of lists: what it says of its newest one, and what follows where that does not go with ours.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms import rows, store
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state.profile import Profile
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import ListMark, RoomItem

# Why a room is broken: nobody gives the list that the server names.
LIST_MISSING = "room-list-missing"


def note_server_mark(records: IRecords, profile: Profile, room: Room, mark: ListMark, by: str, now: int) -> Room:
    """
    The server names its newest list.

    @param by: who has made it, or goes by it, as the server says.
    """
    n, held = mark.version, room.mark.version
    if n <= held:
        known = store.digest_at(records, room, n)
        if known and known != mark.digest:
            return fork(records, room, mark, by, now)
        if n < held and not room.repeating:
            room = _repeat_steps(records, profile, room, n, now)
    elif n > room.server_mark.version:
        # Where it names one after the other that nobody has, the day that we wait began with the first.
        since = room.behind_since or now
        room = replace(room, server_mark=mark, behind_since=since, server_mark_by=by, is_trying=False)
    elif mark == room.server_mark:
        # A refusal names nobody.
        room = replace(room, server_mark_by=by or room.server_mark_by, is_trying=False)
    store.put_room(records, room)
    return room


def note_support(records: IRecords, room_id: bytes, *, is_supported: bool) -> None:
    """Note for whoever waits whether the server supports rooms."""
    room = store.get_room(records, room_id)
    if room is not None and room.is_unsupported == is_supported:
        store.put_room(records, replace(room, is_unsupported=not is_supported))


def take_back(records: IRecords, room: Room) -> None:
    """
    The server goes by our list, though it has named a newer one: it has lied, once, or this was on its way. If there is a newer
    one it will be named again.
    """
    is_missing = room.state is RoomState.BROKEN and room.code == LIST_MISSING
    if is_missing:
        room = replace(room, state=RoomState.IN, code="", culprit="")
    store.put_room(records, replace(room, server_mark=room.mark, behind_since=0, asked=0, is_trying=False))


def accepted(records: IRecords, room_id: bytes, n: int) -> None:
    """The server has taken a message under the list of this number."""
    room = store.get_room(records, room_id)
    if room is not None and room.is_trying and n == room.mark.version:
        take_back(records, room)


def spoiled(records: IRecords, profile: Profile, item: RoomItem, by: str, now: int) -> None:
    """What came as a step cannot be read: the list that the server has ordered has to come from another member."""
    room = store.get_room(records, item.room)
    if room is not None and room.is_member and item.step is not None:
        note_server_mark(records, profile, room, ListMark(item.n, item.digest), by, now)


def come_back(records: IRecords, room: Room) -> Room:
    """The server delivers to us as to a member, though a member has told us that we are out."""
    room = replace(room, state=RoomState.IN, is_hearsay=False)
    store.put_room(records, room)
    return room


def fork(records: IRecords, room: Room, mark: ListMark, by: str, now: int) -> Room:
    """The server shows another list than the one we have: nothing is taken or sent until the user decides."""
    room = replace(room, state=RoomState.FORKED, code="room-forked", server_mark=mark, behind_since=now, server_mark_by=by)
    store.put_room(records, room)
    return room


def break_at(records: IRecords, room: Room, item: RoomItem, culprit: str, now: int) -> Room:
    """What came as the list that the server has ordered is none. Another member may have it as it should be."""
    room = replace(room, server_mark=ListMark(item.n, item.digest), behind_since=now, server_mark_by=culprit, asked=0)
    return break_room(records, room, "bad-room-list", culprit)


def break_room(records: IRecords, room: Room, code: str, culprit: str) -> Room:
    """Nothing can be sent in this room any more."""
    room = replace(room, state=RoomState.BROKEN, code=code, culprit=culprit)
    store.put_room(records, room)
    return room


def _repeat_steps(records: IRecords, profile: Profile, room: Room, n: int, now: int) -> Room:
    """A server that was restored lacks lists: send those that are kept again, to nobody, in order."""
    signed = store.lists_after(records, room, n, store.MAX_KEPT)
    if not n:
        # Where there is no row, any list makes one.
        signed = signed[-1:]
    elif not all(_has_proof_for(records, room, store.number_of(each)) for each in signed):
        # Some other member has them: proofs come with steps, and of lists that were asked for only with the newest.
        return room
    for each in signed:
        room = replace(room, repeating=rows.write(records, profile, room.conversation, Kind.LIST, each, now, again=True))
    return room


def _has_proof_for(records: IRecords, room: Room, n: int) -> bool:
    """Whether the step to the list of this number can be made by what is kept."""
    before = store.list_at(records, room, n - 1)
    return before is not None and bool(before.signed.proof)
