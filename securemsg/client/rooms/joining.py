"""
How one comes into a room and out of it: invitations, links, and statements of those who leave.

Every function works inside a transaction. What they send goes between two, in suite C{pqxdh}. Source: C{docs/protocol.md},
section "Rooms".
"""

from __future__ import annotations

import base64
import binascii

from msgspec.structs import replace

from securemsg.client.rooms import adopting, changes, rows, steps, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import HISTORY, remove_row
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import check_name, is_reserved
from securemsg.protocol.envelope import Kind, decode_record, encode_record
from securemsg.protocol.messages import Id, Key, Name, Record
from securemsg.protocol.rooms import LeaveStatement, RoomAccept, RoomInvite

# How a link begins, so that it is told from a name.
LINK_PREFIX = "securemsg-room:"
SECRET_SIZE = 32


class RoomLink(Record, frozen=True):
    """
    What a link holds.

    @ivar secret: that admits whoever shows it; C{account}, C{identity}: the admin to show it to.
    """

    room: Id
    secret: Key
    account: Name
    identity: Key


def format_link(link: RoomLink) -> str:
    """A link as people pass it on."""
    return LINK_PREFIX + base64.urlsafe_b64encode(encode_record(link)).decode().rstrip("=")


def parse_link(text: str) -> RoomLink:
    """
    Read a link.

    @raise Refusal: C{bad-room-link}.
    """
    data = text.removeprefix(LINK_PREFIX)
    try:
        link = decode_record(RoomLink, base64.b64decode(data + "=" * (-len(data) % 4), b"-_", validate=True))
        check_name(link.account)
    except (Refusal, binascii.Error, ValueError) as error:
        raise Refusal("bad-room-link") from error
    return link


# --- what the user wants --------------------------------------------------------------------------------------------


def own_list(records: IRecords, room: Room) -> RoomList:
    """
    The newest list of a room that we are in.

    @raise Refusal: C{not-in-room}; C{room-forked}, C{room-broken}: nothing can be done there.
    """
    newest = store.newest(records, room)
    if room.state in (RoomState.FORKED, RoomState.BROKEN):
        raise Refusal(f"room-{room.state}")
    if newest is None or room.state is not RoomState.IN:
        raise Refusal("not-in-room")
    return newest


def check_admin(records: IRecords, profile: Profile, room: Room) -> RoomList:
    """
    The newest list of a room, of which we are an admin.

    @raise Refusal: C{not-admin}; or see L{own_list}.
    """
    newest = own_list(records, room)
    own = newest.body.member(profile.name)
    if own is None or not own.is_admin:
        raise Refusal("not-admin")
    return newest


def invite(records: IRecords, profile: Profile, room: Room, account: str, now: int, renews: bytes = b"") -> None:
    """
    Ask somebody to join a room. Once that is accepted, our client adds them.

    @raise Refusal: C{illegal-name}; C{bad-request}: they are in it already, or cannot be in any; or see L{check_admin}.
    """
    check_name(account)
    body = check_admin(records, profile, room).body
    if body.member(account) is not None or is_reserved(account):
        raise Refusal("bad-request")
    store.note_invited(records, room, account, now)
    names = tuple(member.account for member in body.members)
    invitation = RoomInvite(room.id, room.title, names, room.mark, renews)
    rows.write(records, profile, direct(account), Kind.INVITE, invitation, now)


def accept(records: IRecords, profile: Profile, room: Room, alias: str, now: int, by: str = "") -> Room:
    """
    Accept an invitation.

    @param alias: what we call the room; empty: what its title proposes.
    @param by: of several who have invited us, whose; empty: there is one.
    @raise Refusal: C{bad-request}: we were not invited, or by several, or not by this one. Or see L{store.check_alias}.
    """
    if room.state is not RoomState.INVITED and not (room.state is RoomState.ASKED and room.others):
        raise Refusal("bad-request")
    inviters = (store.Inviter(room.inviter, room.identity), *room.others)
    chosen = [each for each in inviters if by in ("", each.account)]
    if len(chosen) != 1:
        raise Refusal("bad-request")
    others = tuple(each for each in inviters if each != chosen[0])
    room = replace(room, inviter=chosen[0].account, identity=chosen[0].identity, others=others)
    return _ask_to_be_added(records, profile, room, alias, RoomAccept(room.id, b""), now)


def join(records: IRecords, profile: Profile, link: RoomLink, alias: str, now: int) -> Room:
    """
    Show a link to the admin whom it names.

    @raise Refusal: C{bad-request}: we are in that room already, or the link is our own. C{identity-changed}: we know that admin
        under another identity. Or see L{store.check_alias}.
    """
    contact, room = contacts.get_contact(records, link.account), store.get_room(records, link.room)
    if link.account == profile.name or (room is not None and (room.is_member or room.step)):
        raise Refusal("bad-request")
    if contact is not None and contact.identity != link.identity:
        raise Refusal("identity-changed")
    if contact is None:
        # The link vouches for it as an invite does for whoever made that.
        contacts.put_contact(records, contacts.new_contact(link.account, link.identity, contacts.INVITE, now))
    if room is None:
        store.check_capacity(records)
        room = Room(link.room, "", link.room.hex()[: store.SHORTEST_ID], RoomState.INVITED)
    room = replace(room, inviter=link.account, identity=link.identity)
    return _ask_to_be_added(records, profile, room, alias, RoomAccept(room.id, link.secret), now)


def _ask_to_be_added(
    records: IRecords, profile: Profile, room: Room, alias: str, body: RoomAccept, now: int
) -> Room:
    if not room.alias:
        room = store.name_room(records, room, alias or store.suggested_alias(room.title))
    room = replace(room, state=RoomState.ASKED, mark=store.NO_LIST, seen=0, step=0, repeating=0, code="", is_hearsay=False)
    room = replace(room, server_mark=store.NO_LIST, behind_since=0, asked_at=now)
    store.forget_lists(records, room)
    store.put_room(records, room)
    rows.write(records, profile, direct(room.inviter), Kind.ACCEPT, body, now)
    return room


def leave(records: IRecords, profile: Profile, room: Room, now: int) -> Room | None:
    """
    Leave a room, decline an invitation, withdraw a request to join, or forget a room that we are out of. Where we were before,
    we are out again.

    @return: the room; C{None}: it is forgotten.
    @raise Refusal: C{room-removal-waits}. C{not-in-room}: we are out of it, and it is not forgotten while there are messages.
    """
    newest = store.newest(records, room)
    if room.state is RoomState.ASKED and room.step:
        # Nobody but the server has seen it.
        remove_row(records, room.step)
        room = replace(room, state=RoomState.OUT)
    if changes.removes_anybody(records, room):
        # Else who is to be removed would get what waits for that.
        raise Refusal("room-removal-waits")
    if room.state is RoomState.OUT and records.count(HISTORY, room.conversation.bucket):
        raise Refusal("not-in-room")
    is_withdrawn = room.state is RoomState.LEAVING and newest is None
    if room.state is RoomState.OUT or is_withdrawn or (room.state is RoomState.INVITED and not room.alias):
        forget(records, room)
        return None
    own = None if newest is None else newest.body.member(profile.name)
    if room.state is RoomState.IN and newest is not None and own is not None and len(newest.body.members) > 1:
        return adopting.say_leaving(records, profile, room, own.since, now)
    # Whom we have asked may add us all the same: then we say that we leave.
    room = replace(room, state=RoomState.LEAVING if room.state is RoomState.ASKED else RoomState.OUT)
    store.put_room(records, room)
    return room


def forget(records: IRecords, room: Room) -> None:
    """Forget an invitation, or a room that we are out of, and all that was wanted of it; what was said there stays."""
    changes.forget(records, room)
    store.forget_room(records, room)


def new_link(records: IRecords, profile: Profile, room: Room, now: int) -> tuple[RoomLink, int]:
    """
    Make a link; another one that there was admits nobody any more.

    @return: the link, and the number of the change that makes it count.
    @raise Refusal: see L{check_admin}.
    """
    check_admin(records, profile, room)
    secret = keys.random_bytes(SECRET_SIZE)
    store.put_room(records, replace(room, secret=secret))
    number = changes.add(records, room, PendingChange(ChangeKind.LINK, digest=keys.sha256(secret), is_ours=True))
    return RoomLink(room.id, secret, profile.name, profile.identity.public), number


def want_fresh(records: IRecords, now: int) -> None:
    """A device is not ours any more, and knows the proofs for the next lists of our rooms: make them useless."""
    for room in store.all_rooms(records):
        if room.is_member:
            _want(records, room, PendingChange(ChangeKind.FRESH, digest=room.mark.digest))


def current_link(records: IRecords, profile: Profile, room: Room) -> RoomLink | None:
    """The link that counts now, if it is ours."""
    newest = own_list(records, room)
    if not room.secret or keys.sha256(room.secret) != newest.body.link:
        return None
    return RoomLink(room.id, room.secret, profile.name, profile.identity.public)


def renew(records: IRecords, profile: Profile, room: Room, without: str, now: int) -> Room:
    """
    Make a room that takes the place of a broken or forked one, and invite its members.

    @param without: a member who is not invited; empty: nobody.
    @raise Refusal: C{not-admin}; C{not-in-room}.
    """
    newest = store.newest(records, room)
    own = None if newest is None else newest.body.member(profile.name)
    if newest is None or own is None or not room.is_member:
        raise Refusal("not-in-room")
    if not own.is_admin:
        raise Refusal("not-admin")
    new = steps.create(records, profile, free_alias(records, room), room.title, now)
    new = replace(new, renews=room.id)
    store.put_room(records, new)
    for member in newest.body.members:
        if member.account not in (profile.name, without):
            # They are invited once the first list counts.
            store.note_invited(records, new, member.account, 0)
    return new


def follow(records: IRecords, room: Room, now: int) -> Room:
    """
    Go by the server's lists from the last one on that they have in common with ours: a member is asked for them.

    @raise Refusal: C{bad-request}: the room is not forked.
    """
    if room.state is not RoomState.FORKED:
        raise Refusal("bad-request")
    room = replace(room, follows_server=True, asked=0, behind_since=now)
    store.put_room(records, room)
    return room


def free_alias(records: IRecords, room: Room) -> str:
    """A name for the room that takes the place of this one."""
    stem = (room.alias or store.suggested_alias(room.title) or "room")[:28].rstrip("-._")
    number = 2
    while True:
        try:
            store.check_alias(records, f"{stem}-{number}")
        except Refusal:
            number += 1
        else:
            return f"{stem}-{number}"


# --- what others say ------------------------------------------------------------------------------------------------


def take_invite(records: IRecords, profile: Profile, contact: Contact, body: RoomInvite, now: int) -> None:
    """An admin asks us to join. In the place of a room that is of no use any more we accept by ourselves, once."""
    known = store.get_room(records, body.room)
    if known is not None and (known.is_member or (known.state is RoomState.ASKED and known.inviter == profile.name)):
        return
    if known is not None and known.state in (RoomState.INVITED, RoomState.ASKED):
        _note_inviter(records, profile, known, contact, now)
        return
    if known is None and len(store.all_rooms(records)) >= store.MAX_ROOMS:
        return
    if known is None:
        waiting = [room for room in store.all_rooms(records) if room.state is RoomState.INVITED and not room.alias]
        by_one = [room for room in waiting if room.inviter == contact.name]
        surplus = by_one if len(by_one) >= store.MAX_INVITED_BY_ONE else waiting if len(waiting) >= store.MAX_INVITED else []
        if surplus:
            forget(records, min(surplus, key=lambda room: room.invited_at))
        known = Room(body.room, "", body.title, RoomState.INVITED)
    room = replace(
        known,
        state=RoomState.INVITED,
        title=body.title,
        inviter=contact.name,
        identity=contact.identity,
        invited_at=now,
        renews=body.renews,
    )
    store.put_room(records, room)
    old = store.get_room(records, body.renews) if body.renews else None
    if old is not None and _may_renew(records, old, contact):
        store.put_room(records, replace(old, state=RoomState.OUT, code="room-renewed"))
        accept(records, profile, room, "" if room.alias else free_alias(records, old), now)


def _note_inviter(records: IRecords, profile: Profile, room: Room, contact: Contact, now: int) -> None:
    """
    Somebody invites us where an invitation or a request of ours waits. Whoever answers the first must not come to another: the
    user chooses. Whom we have asked already is asked again.
    """
    inviter = store.Inviter(contact.name, contact.identity)
    if room.inviter == contact.name:
        if room.state is RoomState.ASKED and room.identity in (b"", contact.identity):
            rows.write(records, profile, direct(contact.name), Kind.ACCEPT, RoomAccept(room.id, b""), now)
    elif inviter not in room.others:
        store.put_room(records, replace(room, others=(*room.others, inviter)[-store.MAX_INVITERS :]))


def _may_renew(records: IRecords, old: Room, contact: Contact) -> bool:
    """Whether somebody is an admin of the last valid list of a room that is broken or forked."""
    newest = store.newest(records, old)
    if newest is None or old.state not in (RoomState.BROKEN, RoomState.FORKED):
        return False
    member = newest.body.member(contact.name)
    return member is not None and member.is_admin and member.identity == contact.identity


def take_accept(records: IRecords, profile: Profile, contact: Contact, body: RoomAccept, now: int) -> None:
    """Somebody wants to be added: whom we have invited, or who shows the secret of the link."""
    room = store.get_room(records, body.room)
    newest = None if room is None else store.newest(records, room)
    own = None if newest is None else newest.body.member(profile.name)
    if room is None or newest is None or not room.is_member or own is None or not own.is_admin:
        return
    is_invited = store.invited_at(records, room, contact.name) is not None
    has_secret = keys.sha256(body.secret) == newest.body.link
    waiting = [change for _, change in changes.pending(records, room) if change.kind is ChangeKind.ADD]
    if any((change.account, change.identity) == (contact.name, contact.identity) for change in waiting):
        return
    if has_secret or is_invited:
        # Who comes by the link comes in vain once there is another one.
        link = b"" if is_invited else newest.body.link
        store.forget_invited(records, room, contact.name)
        _want(records, room, PendingChange(ChangeKind.ADD, contact.name, contact.identity, digest=link, is_ours=True))


def take_statement(records: IRecords, room: Room, contact: Contact, statement: LeaveStatement, now: int) -> None:
    """Somebody leaves: whoever makes the next list takes them out first. A statement that is not valid makes no valid list."""
    newest = store.newest(records, room)
    if newest is None or statement.account != contact.name or not newest.body.stands(contact.name, contact.identity):
        return
    waiting = {change.account for _, change in changes.pending(records, room) if change.kind is ChangeKind.LEFT}
    if statement.account not in waiting:
        # All hear of it at once: let one of them be first.
        pause = 1 + keys.random_bytes(1)[0] % steps.LONGEST_PAUSE
        store.put_room(records, replace(room, not_before=max(room.not_before, now + pause)))
        _want(records, room, PendingChange(ChangeKind.LEFT, statement.account, statement=statement))


def send_invitations(records: IRecords, profile: Profile, room: Room, now: int) -> None:
    """Invite those who were in the room whose place this one takes, now that it counts."""
    newest = store.newest(records, room)
    old = store.get_room(records, room.renews)
    before = None if old is None else store.newest(records, old)
    if newest is None or before is None:
        return
    for member in before.body.members:
        if store.invited_at(records, room, member.account) == 0 and newest.body.member(member.account) is None:
            invite(records, profile, room, member.account, now, renews=room.renews)


def _want(records: IRecords, room: Room, change: PendingChange) -> None:
    """Want what others have asked for; where too much waits, they must ask again."""
    try:
        changes.add(records, room, change)
    except Refusal:
        return
