"""The rooms of an account: which one is meant, who is in it, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from attrs import frozen

from securemsg.account.errors import SecuremsgError, error_for, explain
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.client.rooms import lists, store
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts
from securemsg.client.state.profile import Profile, load_profile
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import LOBBY_NAME, ROOM_MARK
from securemsg.protocol.rooms import Member

# Messages among which that one is looked for which says who was left out last.
RECENT = 20
JOIN_COMMAND = "securemsg room join"
# Digits of a room's id, where we have no name for it; never fewer than are understood.
SHOWN_ID = 8


@frozen
class MemberRow:
    """
    A member of a room, as its other members see it.

    @ivar is_verified: we have compared numbers, or this is ourselves.
    @ivar vouched_by: who has told us that this name has this identity; empty: nobody but the server.
    @ivar left_out: why our messages do not go there; empty: they do.
    """

    name: str
    is_admin: bool
    is_verified: bool
    vouched_by: str = ""
    left_out: str = ""


def is_room(name: str | None) -> bool:
    """Whether this is the name of a room of several members; the lobby is none."""
    return name is not None and name.startswith(ROOM_MARK) and name != LOBBY_NAME


def find(profile_store: IProfileStore, name: str) -> Room:
    """
    The room that we call so, or whose id begins so.

    @raise SecuremsgError: C{no-such-room}; C{room-unclear}.
    """
    with profile_store.reading() as records, explained(name):
        return store.find_room(records, name)


def members(profile_store: IProfileStore, room: Room) -> tuple[int, str, list[MemberRow]]:
    """
    Who is in a room by its newest list.

    @return: the number of the list, the digits to compare, and the members in the order in which they have joined.
    @raise SecuremsgError: C{not-in-room}: we have no list of it.
    """
    missed = _missed_last(profile_store, room) if room.is_member else {}
    with profile_store.reading() as records:
        profile, newest = own_profile(records), store.newest(records, room)
        if newest is None:
            raise not_in_room(room, profile.name)
        rows = [_row(records, profile, room, member, missed) for member in newest.body.members]
        return newest.body.n, lists.digits(newest.digest), rows


def _missed_last(profile_store: IProfileStore, room: Room) -> dict[str, str]:
    """Who did not get our last message there, and why."""
    for line in reversed(messages.history(profile_store, room.name, RECENT)):
        if isinstance(line, Sent) and line.accepted_at:
            return {each.account: each.code for each in line.missed}
    return {}


def _row(records: IRecords, profile: Profile, room: Room, member: Member, missed: dict[str, str]) -> MemberRow:
    if member.account == profile.name:
        return MemberRow(member.account, member.is_admin, is_verified=True)
    contact = contacts.get_contact(records, member.account)
    if contact is not None and (contact.has_changed or contact.identity != member.identity):
        return MemberRow(member.account, member.is_admin, is_verified=False, left_out="identity-changed")
    is_verified = contact is not None and contact.verified
    since = store.list_at(records, room, member.since)
    by = room.inviter if since is None or since.body.author == member.account else since.body.author
    vouched_by = "" if is_verified or by in (profile.name, member.account) else by
    return MemberRow(member.account, member.is_admin, is_verified, vouched_by, missed.get(member.account, ""))


def not_in_room(room: Room, own: str) -> SecuremsgError:
    """The error where we are not in a room, or not so that we could change it."""
    name = room.name if room.alias else room.id.hex()[:SHOWN_ID]
    match room.state:
        case RoomState.ASKED if room.inviter == own:
            text, hint = f"the server has not made {name} so far", "wait until it is there: securemsg room list"
        case RoomState.ASKED:
            text = f"you have asked {room.inviter} to add you to {name}, and were not added so far"
            hint = f"{room.inviter}'s client does that as soon as it runs"
        case RoomState.INVITED:
            text, hint = f"you are invited to {name}, and have not joined", f"join it: {join_command(room)}"
        case RoomState.LEAVING if not room.is_member:
            text, hint = f"you have withdrawn your request to join {name}", "an admin of the room can invite you again"
        case RoomState.LEAVING:
            text, hint = f"you have left {name}", "an admin of the room can invite you again"
        case RoomState.OUT if room.code:
            return error_for(room.code, name)
        case _:
            text, hint = f"you are not in {name} any more", "an admin of the room can invite you again"
    return error_for("not-in-room", text=text, hint=hint)


def join_command(room: Room) -> str:
    """The command that accepts an invitation."""
    return command_for(room.id, room.title) if not room.alias else f"{JOIN_COMMAND} '{room.name}'"


def command_for(room_id: bytes, title: str) -> str:
    """The command that accepts an invitation to a room of this title, which other rooms may have, too."""
    command = f"{JOIN_COMMAND} {room_id.hex()[:SHOWN_ID]}"
    return command if store.suggested_alias(title) else f"{command} --as NAME"


def trouble(room: Room) -> SecuremsgError | None:
    """What is wrong with a room that nothing can be sent in, and what to do; C{None}: nothing is wrong."""
    if room.state is RoomState.FORKED:
        return error_for("room-forked", room.name)
    if room.state is not RoomState.BROKEN:
        return None
    problem, why = error_for("room-broken", room.name), error_for(room.code, room.name).text
    problem.text += f" ({why}; sent by {room.culprit})" if room.culprit else f" ({why})"
    return problem


def own_profile(records: IRecords) -> Profile:
    """Our profile, which is open."""
    profile = load_profile(records)
    assert profile is not None, "it is open"
    return profile


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn a refusal into an error about C{name}."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code == "illegal-name":
            hint = f"a name is 1 to 32 characters of a-z, 0-9, '.', '_' and '-'; to join: {JOIN_COMMAND} ROOM --as NAME"
            raise error_for("illegal-name", text="this is no name for a room", hint=hint) from None
        raise explain(refusal, name) from None
