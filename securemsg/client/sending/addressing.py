"""
To whom a row of the outbox goes now: the devices of a contact, or those of all members of a room.

Every function works inside a transaction. Source: C{docs/protocol.md}, sections "Deposit and delivery" and "Rooms".
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from securemsg.client.rooms import changes, lists, steps, store
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import RoomState
from securemsg.client.sending.results import NOT_IN_ROOM, content_of
from securemsg.client.sessions.addresses import Recipient, RecipientGone
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import Chosen, pinned_suite
from securemsg.client.state import contacts
from securemsg.client.state.conversations import ConversationKind, direct
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import HISTORY, HistoryRow, LeftOut, OutboxRow, load
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import ABOUT_ROOMS, Kind, decode_record
from securemsg.protocol.messages import ListMark, RoomItem
from securemsg.protocol.rooms import MAX_ROOM_DEVICES, SignedMemberList


@frozen
class Address:
    """
    Where a row goes.

    @ivar conversation: that its content names.
    @ivar peer_list: the list of the recipient that its content names, unless it names one already.
    @ivar choice: the suite.
    @ivar room: the item of a deposit in a room; C{left_out}: members that it is not for.
    """

    recipients: tuple[Recipient, ...]
    conversation: bytes
    peer_list: ListMark
    choice: Chosen = field(repr=False)
    room: RoomItem | None = None
    left_out: tuple[LeftOut, ...] = ()


def address(
    records: IRecords, profile: Profile, row: OutboxRow, now: int, left_out: Mapping[str, str], is_alone: bool
) -> Address:
    """
    Where a row goes now.

    @param left_out: members of a room that nothing can be sealed for, and why.
    @param is_alone: whether nothing that was sent before it is unanswered.
    @raise NeedAccount: ask the directory first.
    @raise RecipientGone: it is gone, or we are.
    @raise Refusal: it has to wait; the code says why.
    """
    if row.to.is_room:
        return _address_room(records, profile, row, now, left_out, is_alone)
    recipient = PEERS[row.to.kind].recipient(records, profile, row.to, now)
    contact = recipient.contact
    choice = Chosen() if row.home is not None or row.kind in ABOUT_ROOMS else pinned_suite(records, row.to)
    if row.home is not None:
        return Address((recipient,), lists.conversation_id(row.home.room_id), contact.mark, choice)
    return Address(
        (recipient,), conversation_of(profile.identity.public, contact.identity, row.to.kind), contact.mark, choice
    )


def _address_room(
    records: IRecords, profile: Profile, row: OutboxRow, now: int, left_out: Mapping[str, str], is_alone: bool
) -> Address:
    room = store.get_room(records, row.to.room_id)
    if room is None:
        raise RecipientGone(NOT_IN_ROOM)
    conversation = lists.conversation_id(room.id)
    if row.kind == Kind.LIST:
        if (room.repeating or room.is_behind) and not row.again:
            # Beaten by a list that is still to come, or behind some that the server lacks.
            raise Refusal("room-behind")
        if not is_alone:
            raise Refusal("room-step-waits")
        content = content_of(records, row)
        assert content is not None, "a list without its bytes"
        signed = decode_record(SignedMemberList, content.body)
        listing = lists.read(signed, room.id, profile.pin)
        item = steps.item_of(records, room, listing)
        if row.again:
            # The server alone lacks it.
            return Address((), conversation, listing.mark, Chosen(), item)
        recipients, absent = _members(records, profile, listing, now, left_out)
        return Address(recipients, conversation, listing.mark, Chosen(), item, absent)
    if room.state is RoomState.OUT:
        raise RecipientGone(NOT_IN_ROOM)
    if room.state in (RoomState.FORKED, RoomState.BROKEN):
        raise Refusal("room-forked" if room.state is RoomState.FORKED else "room-broken")
    newest = store.newest(records, room)
    if newest is None or not room.may_send:
        raise Refusal("room-behind")
    if changes.removes_anybody(records, room):
        raise Refusal("room-removal-waits")
    if not row.newcomers and not row.again and _has_newcomers(records, profile, row, newest):
        raise Refusal("room-changed")
    recipients, absent = _members(records, profile, newest, now, left_out, _accepted_under(records, row))
    item = RoomItem(room.id, newest.body.n, newest.digest, None)
    return Address(recipients, conversation, newest.mark, Chosen(), item, absent)


def _accepted_under(records: IRecords, row: OutboxRow) -> int:
    """Of what is sent again, because the server has lost it: the number of the list that it was accepted under; else 0."""
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history) if row.again and row.history else None
    return 0 if history is None else history.accepted_under


def _has_newcomers(records: IRecords, profile: Profile, row: OutboxRow, newest: RoomList) -> bool:
    """Whether somebody has joined since a message was written."""
    content = content_of(records, row) if row.history else None
    written = newest.body.n if content is None else content.peer_list.version
    return any(member.since > written for member in newest.body.members if member.account != profile.name)


def _members(
    records: IRecords, profile: Profile, listing: RoomList, now: int, left_out: Mapping[str, str], accepted_under: int = 0
) -> tuple[tuple[Recipient, ...], tuple[LeftOut, ...]]:
    """
    The members of a list but ourselves, and those of them that are left out. Beyond a hundred devices the account with most is
    left out, of equals the last to join.

    @param accepted_under: of what is sent again: who has joined later does not get it; 0: everybody does.
    @raise NeedAccount: ask the directory first.
    """
    absent = dict(left_out)
    recipients = []
    for member in listing.body.members:
        if member.account == profile.name or member.account in absent or (accepted_under and member.since > accepted_under):
            continue
        contact = contacts.get_contact(records, member.account)
        if contact is not None and (contact.has_changed or contact.identity != member.identity):
            # To us the name is somebody else's: only our user can tell which is right.
            absent[member.account] = "identity-changed"
            continue
        recipients.append(PEERS[ConversationKind.DIRECT].recipient(records, profile, direct(member.account), now))
    while sum(len(recipient.devices) for recipient in recipients) > MAX_ROOM_DEVICES:
        most = max(reversed(recipients), key=lambda recipient: len(recipient.devices))
        recipients.remove(most)
        absent[most.contact.name] = "too-many-devices"
    named = {member.account for member in listing.body.members}
    return tuple(recipients), tuple(LeftOut(name, code) for name, code in absent.items() if name in named)
