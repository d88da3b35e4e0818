"""What happens in a room, as history shows it: a row for each list that we go by. Every function works inside a transaction."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    HISTORY,
    HistoryRow,
    Status,
    draft,
    next_seq,
    save,
    save_unread,
)
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.protocol.messages import Code, Name, Record

TWO_LISTS = "two-lists"
# Lists were skipped, because nobody keeps so many: who has come and gone since.
SKIPPED = "skipped"
# What a client decides by itself, so that its user has to be told: somebody has accepted an invitation, or left.
BY_CLIENTS = frozenset({"added", "left"})


class RoomEvent(Record, frozen=True):
    """
    In the place of the body of a C{LIST}: what it has changed.

    @ivar decision: as in the list; C{joined}: we are in it now; L{TWO_LISTS}: its author contradicts itself.
    @ivar names: whom it is about.
    @ivar title: of the room, from then on.
    @ivar is_on: of C{role}: whether they are admins now; of C{link}: whether there is one.
    @ivar gone: of L{SKIPPED}: who is not in it any more.
    """

    decision: Code
    author: Name
    names: tuple[Name, ...]
    title: str
    is_on: bool = False
    gone: tuple[Name, ...] = ()


def words(event: RoomEvent, own: str) -> str:
    """
    What happened, for people.

    @param own: the name of our account.
    """
    author = "you" if event.author == own else event.author
    names = ["you" if name == own else name for name in event.names]
    whom = " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
    are = "are" if len(names) > 1 or whom == "you" else "is"
    match event.decision:
        case "created":
            return f"{author} created this room"
        case "joined" | "added":
            return f"{author} added {whom}"
        case "removed":
            return f"{author} removed {whom}"
        case "left":
            return f"{whom} {'has' if are == 'is' else 'have'} left"
        case "role":
            return f"{whom} {are} {'an admin now' if event.is_on else 'no longer an admin'}"
        case "title":
            return f"{author} renamed the room to {event.title}"
        case "link":
            return f"{author} made a link to this room" if event.is_on else f"{author} withdrew the link to this room"
        case "skipped":
            came = f"; joined since: {', '.join(event.names)}" if event.names else ""
            went = f"; no longer members: {', '.join(event.gone)}" if event.gone else ""
            return f"changes to this room were skipped, because nobody keeps so many{came}{went}"
        case "fresh":
            return f"{author} removed a device of {'your' if author == 'you' else 'their'} account"
        case _:
            return (
                f"{author} signed two different member lists with one number: that device is dishonest, or was copied, or"
                " restored from a backup"
            )


def note(records: IRecords, profile: Profile, room: Room, before: RoomList | None, after: RoomList, now: int) -> None:
    """Keep in history what a list has changed; what the user has not decided is unread."""
    if before is not None and after.body.n > before.body.n + 1:
        old, new = ({member.account: member.since for member in each.body.members} for each in (before, after))
        came = tuple(name for name, since in new.items() if old.get(name) != since)
        gone = tuple(name for name in old if name not in new)
        _keep(records, profile, room, after, RoomEvent(SKIPPED, after.body.author, came, after.body.title, gone=gone), now)
    _keep(records, profile, room, after, _event(profile, before, after), now)


def note_two_lists(records: IRecords, profile: Profile, room: Room, listing: RoomList, now: int) -> None:
    """Keep in history that a device has made another list of this number, behind the same list."""
    body = listing.body
    _keep(records, profile, room, listing, RoomEvent(TWO_LISTS, body.author, (body.author,), body.title), now)


def _keep(records: IRecords, profile: Profile, room: Room, listing: RoomList, event: RoomEvent, now: int) -> None:
    body = listing.body
    content = replace(draft(profile, Kind.LIST, body.issued_at), device=body.device, body=encode_record(event))
    seq = next_seq(records)
    save(records, HISTORY, room.conversation.bucket, HistoryRow(content, False, now, Status.RECEIVED), seq)
    if body.author != profile.name or body.decision in BY_CLIENTS:
        save_unread(records, room.conversation, int(Kind.LIST), seq)


def _event(profile: Profile, before: RoomList | None, after: RoomList) -> RoomEvent:
    """What has changed between two lists, of which there may be others between them."""
    body = after.body
    old = {member.account: member for member in before.body.members} if before is not None else {}
    new = {member.account: member for member in body.members}
    decision: str = body.decision
    is_on = bool(body.link)
    match body.decision:
        case "added":
            names = [name for name, member in new.items() if member.since == body.n]
        case "removed" | "left":
            names = [name for name in old if name not in new]
        case "role":
            names = [name for name in new if name in old and old[name].role != new[name].role]
            is_on = all(new[name].is_admin for name in names)
        case _:
            names = []
    if before is None and body.decision != "created":
        decision, names = "joined", [profile.name]
    return RoomEvent(decision, body.author, tuple(names), body.title, is_on)
