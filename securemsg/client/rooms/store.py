"""
What a profile keeps of rooms: each room's state, its lists, what we call it, and what we want to change in it.

Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from securemsg.client.rooms import lists
from securemsg.client.rooms.lists import RoomList
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.conversations import room as room_conversation
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import load, load_all, save
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import LOBBY_NAME, NAME_PATTERN, ROOM_MARK
from securemsg.protocol.envelope import decode_record
from securemsg.protocol.messages import Code, Counter, Id, Key, ListMark, Name, Record
from securemsg.protocol.rooms import MemberList, SignedMemberList

ROOMS = "rooms"  # bucket = id of the room
TABLE = "room-parts"

# Buckets of the second table, each with the prefix and what follows; other modules of this package have more. Room: its lists,
# their digests, and the lists of an answer that is not complete, by number.
LISTS = b"list/"
DIGESTS = b"digest/"
PAGES = b"page/"
# Room, and account: whom we have invited.
INVITED = b"invited/"
# What we call it, or the conversation that its contents name: which room it is.
ALIASES = b"alias/"
CONVERSATIONS = b"conversation/"

# Rooms that a profile knows, those that it was invited to included: anybody may invite. One forgets them by leaving.
MAX_ROOMS = 500
# Of these, the newest invitations that wait for an answer.
MAX_INVITED = 100
MAX_INVITED_BY_ONE = 10
# Accounts that have invited us to one room.
MAX_INVITERS = 10
# Lists that are kept whole, for members who were away.
MAX_KEPT = 100
# Digits of an id that may stand for it.
SHORTEST_ID = 6
NO_LIST = ListMark(0, b"")


class RoomState(enum.StrEnum):
    """What we are in a room."""

    INVITED = "invited"     # an admin has asked us to join
    ASKED = "asked"         # we have asked to be added
    IN = "in"
    LEAVING = "leaving"     # we have said that we leave, and stand on the list still; or will say so if we are added
    OUT = "out"             # we were taken out, or have left
    BROKEN = "broken"       # a list is missing or invalid: nothing can be sent
    FORKED = "forked"       # the server shows another list than we have


class Inviter(Private, frozen=True):
    """Somebody who has invited us to a room: account and identity."""

    account: Name
    identity: Key


class Room(Private, frozen=True):
    """
    A room. Bucket: its id.

    @ivar alias: what we call it, without the mark; empty while it was only proposed to us.
    @ivar title: of the newest list, or of the invitation.
    @ivar inviter: whom we asked to add us, and from whom alone we take our first list; or who has invited us first.
    @ivar identity: that C{inviter} must have, as the link or the invitation says.
    @ivar others: who else has invited us since, and may be asked in the place of C{inviter}.
    @ivar mark: the newest list that we have.
    @ivar server_mark: the newest that the server has named; C{behind_since}: since when we lack it; C{server_mark_by}: who goes
        by it, as the server says.
    @ivar seen: the highest number under which something was delivered.
    @ivar step: seq of the outbox row of our own next list; 0: there is none.
    @ivar repeating: seq of the last of the lists that are sent again to a server that lacks them; 0: none are.
    @ivar not_before: when we may decide again, after another step has won.
    @ivar asked_at: when we last asked a member, for lists or to be added; C{asked}: how many were asked for lists.
    @ivar left_at: when we last said that we leave.
    @ivar invited_at: when we were invited.
    @ivar code: why it is broken, or could not be made; C{culprit}: who has done that.
    @ivar secret: of the link, where we have made it, or come by one.
    @ivar renews: the room that this one takes the place of; empty: none.
    @ivar is_unsupported: the server, when we were connected last, did not support rooms.
    @ivar is_hearsay: we are out, as a member says by a list that the server has not named; ours is still the one before it.
    @ivar is_trying: nobody has the list that the server has named: messages are sent by ours, to see whether it takes them.
    @ivar follows_server: the server's lists are to be followed from the last common one on.
    """

    id: Id
    alias: Annotated[str, Meta(max_length=32)]
    title: str
    state: RoomState
    inviter: Name = ""
    identity: bytes = b""
    others: tuple[Inviter, ...] = ()
    mark: ListMark = NO_LIST
    server_mark: ListMark = NO_LIST
    behind_since: Counter = 0
    server_mark_by: Name = ""
    seen: Counter = 0
    step: Counter = 0
    repeating: Counter = 0
    not_before: Counter = 0
    asked_at: Counter = 0
    asked: Counter = 0
    left_at: Counter = 0
    invited_at: Counter = 0
    code: Code = ""
    culprit: Name = ""
    secret: bytes = b""
    renews: bytes = b""
    follows_server: bool = False
    is_trying: bool = False
    is_unsupported: bool = False
    is_hearsay: bool = False

    @property
    def conversation(self) -> Conversation:
        """The conversation of its members."""
        return room_conversation(self.id, self.alias)

    @property
    def name(self) -> str:
        """What we call it."""
        return f"{ROOM_MARK}{self.alias}"

    @property
    def is_member(self) -> bool:
        """Whether we stand on its newest list, as far as we know."""
        states = (RoomState.IN, RoomState.LEAVING, RoomState.BROKEN, RoomState.FORKED)
        return bool(self.mark.version) and self.state in states

    @property
    def is_stepping(self) -> bool:
        """Whether a list of ours is on its way to the server."""
        return self.step > 0 or self.repeating > 0

    @property
    def may_send(self) -> bool:
        """Whether messages may be sealed under its newest list."""
        is_in = self.state in (RoomState.IN, RoomState.LEAVING)
        return is_in and bool(self.mark.version) and (self.is_trying or not self.is_behind) and not self.repeating

    @property
    def is_behind(self) -> bool:
        """Whether the server has named a newer list than we have."""
        return self.server_mark.version > self.mark.version

    @property
    def needs_lists(self) -> bool:
        """Whether a member has to give us lists; of a fork it may be other ones with the numbers of ours."""
        return self.is_behind or self.follows_server


class _Invited(Record, frozen=True):
    """Somebody whom we have invited, and who may accept that. C{at}: when; 0: the invitation is still to be sent."""

    at: Counter


class _Id(Record, frozen=True):
    """Which room an alias or a conversation is of."""

    room: Id


class _Digest(Record, frozen=True):
    """The digest of a list that we held once."""

    digest: Key


# --- rooms ----------------------------------------------------------------------------------------------------------


def get_room(records: IRecords, room_id: bytes) -> Room | None:
    """The room of this id."""
    return load(records, Room, ROOMS, room_id)


def put_room(records: IRecords, room: Room) -> None:
    """Save a room."""
    save(records, ROOMS, room.id, room)
    save(records, TABLE, CONVERSATIONS + lists.conversation_id(room.id), _Id(room.id))


def all_rooms(records: IRecords) -> list[Room]:
    """All rooms, by what we call them."""
    found = [msgspec.msgpack.decode(value, type=Room) for _, _, value in records.scan(ROOMS)]
    return sorted(found, key=lambda room: (room.alias, room.id))


def check_capacity(records: IRecords) -> None:
    """
    Check that there is room for another room.

    @raise Refusal: C{too-many-rooms}.
    """
    if len(all_rooms(records)) >= MAX_ROOMS:
        raise Refusal("too-many-rooms")


def forget_room(records: IRecords, room: Room) -> None:
    """Forget an invitation, or a room that we are out of; what was said there stays."""
    forget_lists(records, room)
    forget_pages(records, room)
    for bucket in {bucket for bucket, _, _ in records.scan(TABLE) if bucket.startswith(INVITED + room.id)}:
        records.delete(TABLE, bucket)
    records.delete(ROOMS, room.id)
    records.delete(TABLE, CONVERSATIONS + lists.conversation_id(room.id))
    if room.alias:
        records.delete(TABLE, ALIASES + room.alias.encode())


def room_of_conversation(records: IRecords, conversation: bytes) -> Room | None:
    """The room whose contents name this conversation."""
    found = load(records, _Id, TABLE, CONVERSATIONS + conversation)
    return None if found is None else get_room(records, found.room)


def find_room(records: IRecords, name: str) -> Room:
    """
    The room that we call so, or whose id begins so.

    @param name: with or without the mark.
    @raise Refusal: C{no-such-room}; C{room-unclear}: several begin so.
    """
    alias = name.removeprefix(ROOM_MARK)
    found = load(records, _Id, TABLE, ALIASES + alias.encode())
    room = None if found is None else get_room(records, found.room)
    if room is not None:
        return room
    found_rooms = [room for room in all_rooms(records) if _may_mean(room, alias)]
    if len(found_rooms) > 1:
        raise Refusal("room-unclear")
    if not found_rooms:
        raise Refusal("no-such-room")
    return found_rooms[0]


def find_invitation(records: IRecords, name: str) -> Room:
    """
    The room of this name that we are invited to; if there is none, see L{find_room}.

    @raise Refusal: C{no-such-room}; C{room-unclear}: several are called so.
    """
    alias = name.removeprefix(ROOM_MARK)
    invited = [room for room in all_rooms(records) if room.state is RoomState.INVITED]
    found = [room for room in invited if room.alias == alias or _may_mean(room, alias)]
    if len(found) > 1:
        raise Refusal("room-unclear")
    return found[0] if found else find_room(records, name)


def _may_mean(room: Room, name: str) -> bool:
    """Whether a name that no room has may mean this one: its id, or, while it has no name, the one that its title proposes."""
    is_suggested = not room.alias and suggested_alias(room.title) == name
    return is_suggested or (len(name) >= SHORTEST_ID and room.id.hex().startswith(name))


def conversation(records: IRecords, profile: Profile, name: str) -> Conversation:
    """
    Our conversation with an account, or in the room that we call so.

    @raise Refusal: C{no-such-room}; C{room-unclear}.
    """
    if not name.startswith(ROOM_MARK) or name == LOBBY_NAME:
        return profile.conversation(name)
    return find_room(records, name).conversation


def suggested_alias(title: str) -> str:
    """What a room of this title may be called; empty: nothing that could be a name."""
    words = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower()).strip("-")
    while "--" in words:
        words = words.replace("--", "-")
    return words[:32].rstrip("-")


def check_alias(records: IRecords, alias: str) -> None:
    """
    Check that a room may be called so.

    @raise Refusal: C{illegal-name}; C{reserved-name}: the lobby is; C{room-name-taken}: another one is.
    """
    if not NAME_PATTERN.fullmatch(alias):
        raise Refusal("illegal-name")
    if f"{ROOM_MARK}{alias}" == LOBBY_NAME:
        raise Refusal("reserved-name")
    if load(records, _Id, TABLE, ALIASES + alias.encode()) is not None:
        raise Refusal("room-name-taken")


def name_room(records: IRecords, room: Room, alias: str) -> Room:
    """
    Call a room so, for good.

    @raise Refusal: see L{check_alias}.
    """
    check_alias(records, alias)
    save(records, TABLE, ALIASES + alias.encode(), _Id(room.id))
    return replace(room, alias=alias)


# --- whom we have invited -------------------------------------------------------------------------------------------


def note_invited(records: IRecords, room: Room, account: str, at: int) -> None:
    """Somebody may accept our invitation. C{at}: when it was sent; 0: it is still to be sent."""
    save(records, TABLE, INVITED + room.id + account.encode(), _Invited(at))


def invited_at(records: IRecords, room: Room, account: str) -> int | None:
    """When we have invited somebody; 0: that is still to be sent; C{None}: they cannot accept anything."""
    found = load(records, _Invited, TABLE, INVITED + room.id + account.encode())
    return None if found is None else found.at


def forget_invited(records: IRecords, room: Room, account: str) -> None:
    """Our invitation counts no more: it was accepted, or somebody has joined or left since."""
    records.delete(TABLE, INVITED + room.id + account.encode())


# --- lists ----------------------------------------------------------------------------------------------------------


def newest(records: IRecords, room: Room) -> RoomList | None:
    """The newest list that we have."""
    return list_at(records, room, room.mark.version)


def list_at(records: IRecords, room: Room, n: int) -> RoomList | None:
    """The list of this number, if it is kept."""
    signed = load(records, SignedMemberList, TABLE, LISTS + room.id, n) if n else None
    return None if signed is None else RoomList(_body(signed.body), keys.sha256(signed.body), signed)


def lists_after(records: IRecords, room: Room, n: int, limit: int) -> list[SignedMemberList]:
    """Kept lists behind a number, in order."""
    return [signed for _, signed in load_all(records, SignedMemberList, TABLE, LISTS + room.id, n, limit)]


def put_list(records: IRecords, room: Room, listing: RoomList) -> None:
    """Keep a list, and drop the one that is a hundred older."""
    n = listing.body.n
    save(records, TABLE, LISTS + room.id, listing.signed, n)
    records.delete(TABLE, LISTS + room.id, n - MAX_KEPT)
    save(records, TABLE, DIGESTS + room.id, _Digest(listing.digest), n)


def digest_at(records: IRecords, room: Room, n: int) -> bytes:
    """The digest of the list of this number; empty: we never held it."""
    found = load(records, _Digest, TABLE, DIGESTS + room.id, n)
    return b"" if found is None else found.digest


def forget_lists(records: IRecords, room: Room, above: int = 0) -> None:
    """Forget the lists above a number."""
    for part in (LISTS, DIGESTS):
        for _, n, _ in records.scan(TABLE, part + room.id, above):
            records.delete(TABLE, part + room.id, n)


def forget_pages(records: IRecords, room: Room) -> None:
    """Forget what answers have brought that are not complete."""
    for _, n, _ in records.scan(TABLE, PAGES + room.id):
        records.delete(TABLE, PAGES + room.id, n)


def number_of(signed: SignedMemberList) -> int:
    """The number of a list that is kept."""
    return _body(signed.body).n


@lru_cache(256)
def _body(data: bytes) -> MemberList:
    """Read a list that was checked before it was kept; each message asks for it."""
    return decode_record(MemberList, data)
