"""
Catching up: whoever is told of a list that it does not have asks a member for it, and checks what it gets.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms import adopting, events, lists, ordering, rows, steps, store
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import TABLE, Room, RoomState
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import load, load_all, save
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.protocol.messages import MAX_TEXT, Counter, Record
from securemsg.protocol.rooms import MAX_LISTS, ListRequest, RoomLists, SignedMemberList

# Account: how many of its questions were answered in this hour.
ANSWERED = b"answered/"

# Who may need lists.
ASKING = frozenset({RoomState.ASKED, RoomState.IN, RoomState.LEAVING, RoomState.BROKEN, RoomState.FORKED})

# One member is asked in so many seconds, and so many questions of an account are answered in an hour.
ASK_PAUSE = 600
MAX_ANSWERED = 4
HOUR = 3600
# Seconds after which a room is broken if nobody gives the list that the server names.
PATIENCE = DAY
# Bytes of an answer besides its lists.
_MARGIN = 256


class Answered(Record, frozen=True):
    """How many questions of an account were answered since then."""

    since: Counter
    count: Counter


def maintain(records: IRecords, profile: Profile, room: Room, now: int) -> None:
    """Ask for what is missing, if it is time; and give up after a day. To be called once the mailbox is drained."""
    if room.state not in ASKING or not (room.needs_lists or steps.lacks_proof(records, room)):
        return
    if room.state is RoomState.FORKED and not room.follows_server:
        return
    if room.needs_lists and now - room.behind_since > PATIENCE and room.asked:
        if room.state is not RoomState.BROKEN:
            ordering.break_room(records, room, ordering.LIST_MISSING, room.server_mark_by)
        return
    if room.asked and 0 <= now - room.asked_at < ASK_PAUSE:
        return
    candidates = _candidates(records, profile, room)
    if not candidates:
        return
    asked = ListRequest(room.id, _from(records, profile, room))
    rows.write(records, profile, direct(candidates[room.asked % len(candidates)]), Kind.ASK, asked, now)
    # Once all were asked, the server is tried: it may have named a list that nobody has made.
    room = replace(room, asked=room.asked + 1, asked_at=now, is_trying=room.asked + 1 >= len(candidates))
    store.put_room(records, room)


def _from(records: IRecords, profile: Profile, room: Room) -> int:
    """The number of the list behind which we ask; where the server's lists are followed, of one that both sides may have."""
    newest = store.newest(records, room)
    own = None if newest is None else newest.body.member(profile.name)
    if not room.is_behind and not room.follows_server:
        # It is here, without its proof.
        return room.mark.version - 1
    if own is None or not room.follows_server:
        return room.mark.version
    return min(max(room.mark.version - MAX_LISTS, own.since), room.mark.version - 1)


def _candidates(records: IRecords, profile: Profile, room: Room) -> list[str]:
    """Whom to ask, in order: who goes by the list, who has made ours, the admins, the others."""
    newest = store.newest(records, room)
    if newest is None:
        return [room.inviter] if room.inviter else []
    members = [member.account for member in newest.body.members]
    admins = [member.account for member in newest.body.members if member.is_admin]
    # Who goes by the list may have joined since.
    ordered = [room.server_mark_by, newest.body.author, *admins, *members]
    return [name for name in dict.fromkeys(ordered) if name and name != profile.name]


def answer(records: IRecords, profile: Profile, contact: Contact, body: ListRequest, now: int) -> None:
    """
    Answer a member with the lists behind the one it has, the newest with its proof; or somebody who is out with those up to the
    one that says so, without.
    """
    room = store.get_room(records, body.room)
    newest = None if room is None else store.newest(records, room)
    if room is None or newest is None or newest.body.n <= body.n:
        return
    is_member = newest.body.stands(contact.name, contact.identity)
    last = newest.body.n if is_member else _taken_out(records, room, contact, body.n)
    if not last or not _within_limit(records, contact.name, now):
        return
    kept = store.lists_after(records, room, body.n, MAX_LISTS)
    if not kept or store.number_of(kept[0]) != body.n + 1 or _is_new(records, room, newest, contact, body.n):
        # It lacks more than we keep, or was added by one of these: it gets the newest, as somebody who joins does.
        kept = [newest.signed]
    found: list[SignedMemberList] = []
    size = 0
    for signed in kept:
        number = store.number_of(signed)
        # Only the proof of the newest is of use, and only to those who are on it.
        signed = signed if is_member and number == last else lists.without_proof(signed)
        size += len(encode_record(signed))
        if number > last or size > MAX_TEXT - _MARGIN:
            break
        found.append(signed)
    if found:
        more = last if store.number_of(found[-1]) < last else 0
        rows.write(records, profile, direct(contact.name), Kind.LISTS, RoomLists(room.id, tuple(found), more), now)


def _is_new(records: IRecords, room: Room, newest: RoomList, contact: Contact, n: int) -> bool:
    """Whether a member has joined behind list C{n}, so that the lists before that are not for it."""
    member, before = newest.body.member(contact.name), store.list_at(records, room, n)
    was_in = before is not None and before.body.stands(contact.name, contact.identity)
    return member is not None and n < member.since and not was_in


def _taken_out(records: IRecords, room: Room, contact: Contact, after: int) -> int:
    """The number of the list behind C{after} that somebody is not on any more; 0: it was not on the one before either."""
    before = store.list_at(records, room, after)
    while before is not None and before.body.stands(contact.name, contact.identity):
        following = store.list_at(records, room, before.body.n + 1)
        if following is not None and not following.body.stands(contact.name, contact.identity):
            return following.body.n
        before = following
    return 0


def take_lists(records: IRecords, profile: Profile, contact: Contact, body: RoomLists, now: int) -> Room | None:
    """
    Somebody shows us lists. They count once they lead from ours to the one that the server named, each valid by the one before.

    @return: the room as it is saved; C{None}: nothing has changed.
    """
    room = store.get_room(records, body.room)
    if room is None or not body.lists:
        return None
    if room.state in (RoomState.ASKED, RoomState.LEAVING) and not room.mark.version:
        return _begin(records, profile, room, contact, body.lists[-1], now)
    if not room.is_member or (len(body.lists) > 1 and not room.needs_lists):
        return None
    try:
        shown = [lists.read(signed, room.id, profile.pin) for signed in body.lists]
        if shown[-1].mark == room.mark and lists.has_proof(shown[-1]):
            store.put_list(records, room, shown[-1])
        if shown[-1].mark == room.mark and room.follows_server:
            return _keep_ours(records, room, contact)
        before = _pages(records, profile, room)
        start = next((index for index, each in enumerate(before) if each.body.n == shown[0].body.n), len(before))
        chain = _from_common(records, room, [*before[:start], *shown])
        if chain is None:
            return _jump(records, profile, room, contact, shown[-1], now)
        for one, following in zip(chain, chain[1:], strict=False):
            lists.check_follows(one, following)
    except Refusal:
        store.forget_pages(records, room)
        return None
    last, was_in = chain[-1], room.state is not RoomState.LEAVING
    is_named = any(each.mark == room.server_mark for each in chain[1:])
    if not is_named and not last.body.stands(profile.name, profile.identity.public) and room.state is not RoomState.FORKED:
        # Nobody on the newest list sends us anything any more: there is no other way to hear of it. The server has not named
        # these lists, so that nothing of them is kept: whoever made them up would lead us astray.
        room = replace(room, state=RoomState.OUT, code="", culprit="", is_hearsay=was_in)
        store.put_room(records, room)
        store.forget_pages(records, room)
        events.note(records, profile, room, chain[-2], last, now)
        return room
    # What leads further than the server has said may never have been a step.
    ordered = next((index for index, each in enumerate(chain) if each.mark == room.server_mark), 0)
    if ordered:
        if room.state is RoomState.FORKED:
            _convict(records, profile, room, chain[1:], now)
            store.forget_lists(records, room, chain[0].body.n)
            room = replace(room, mark=chain[0].mark, seen=chain[0].body.n, follows_server=False, state=RoomState.IN)
        return _adopt_all(records, profile, room, chain[1 : ordered + 1], now)
    is_more = not before or last.body.n > before[-1].body.n
    if body.more and is_more and room.server_mark.version > last.body.n and len(chain) <= store.MAX_KEPT:
        for each in chain[1:]:
            save(records, TABLE, store.PAGES + room.id, each.signed, each.body.n)
        store.put_room(records, replace(room, asked_at=now))
        rows.write(records, profile, direct(contact.name), Kind.ASK, ListRequest(room.id, last.body.n), now)
    return None


def _keep_ours(records: IRecords, room: Room, contact: Contact) -> Room | None:
    """Another member of a forked room has our list, too: go on. A server that goes by another one says so again."""
    newest = store.newest(records, room)
    if newest is None or not newest.body.stands(contact.name, contact.identity):
        return None
    room = replace(room, state=RoomState.IN, code="", culprit="")
    room = replace(room, server_mark=room.mark, behind_since=0, asked=0, follows_server=False)
    store.put_room(records, room)
    return room


def _convict(records: IRecords, profile: Profile, room: Room, found: list[RoomList], now: int) -> None:
    """Show whose device has made two lists of one number behind one list: it lies, or a restored copy of it is about."""
    for each in found:
        ours = store.list_at(records, room, each.body.n)
        same = ours is not None and (ours.body.author, ours.body.previous) == (each.body.author, each.body.previous)
        if ours is not None and same and ours.digest != each.digest:
            events.note_two_lists(records, profile, room, each, now)


def _begin(
    records: IRecords, profile: Profile, room: Room, contact: Contact, signed: SignedMemberList, now: int
) -> Room | None:
    """
    Take our first list, where the step that added us did not come: from the account that we asked to add us alone, because
    nothing else says who is in the room.
    """
    if contact.name != room.inviter or (room.identity and contact.identity != room.identity):
        return None
    try:
        listing = lists.read(signed, room.id, profile.pin)
    except Refusal:
        return None
    return adopting.adopt(records, profile, room, listing, now) if listing.mark == room.server_mark else None


def _from_common(records: IRecords, room: Room, pages: list[RoomList]) -> list[RoomList] | None:
    """
    The list of ours that the first of these follows, and those behind it; C{None}: they do not follow any that may count.
    """
    for index, each in enumerate(pages):
        before = store.list_at(records, room, each.body.n - 1)
        is_common = before is not None and before.digest == each.body.previous
        if before is not None and is_common and store.digest_at(records, room, each.body.n) != each.digest:
            if before.mark == room.mark or room.follows_server:
                return [before, *pages[index:]]
            return None
    return None


def _jump(
    records: IRecords, profile: Profile, room: Room, contact: Contact, last: RoomList, now: int
) -> Room | None:
    """Take the newest list as somebody who joins does, from an admin, where too many lie between: nobody keeps them."""
    newest = store.newest(records, room)
    if newest is None or last.body.n <= room.mark.version + store.MAX_KEPT:
        return None
    if last.mark != room.server_mark:
        return None
    member = newest.body.member(contact.name)
    if member is None or not member.is_admin or member.identity != contact.identity:
        return None
    return adopting.adopt(records, profile, room, last, now)


def _adopt_all(records: IRecords, profile: Profile, room: Room, found: list[RoomList], now: int) -> Room:
    for listing in found:
        # One of these may take us out, and a later one add us again.
        room = adopting.adopt(records, profile, room, listing, now)
    store.forget_pages(records, room)
    room = replace(room, asked=0)
    store.put_room(records, room)
    return room


def _pages(records: IRecords, profile: Profile, room: Room) -> list[RoomList]:
    """What earlier answers brought."""
    return [
        lists.read(signed, room.id, profile.pin)
        for _, signed in load_all(records, SignedMemberList, TABLE, store.PAGES + room.id, room.mark.version)
    ]


def _within_limit(records: IRecords, account: str, now: int) -> bool:
    """Count a question of an account, and see whether there were not too many."""
    bucket = ANSWERED + account.encode()
    known = load(records, Answered, TABLE, bucket) or Answered(now, 0)
    if not 0 <= now - known.since < HOUR:
        known = Answered(now, 0)
    save(records, TABLE, bucket, replace(known, count=min(known.count + 1, MAX_ANSWERED)))
    return known.count < MAX_ANSWERED
