"""
The records of rooms: the member list that every member checks, and the bodies of the contents that rooms need.

Nothing here is checked but its form; L{securemsg.client.rooms.lists} says which list may follow which. Source:
C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from securemsg.protocol.messages import (
    Counter,
    Id,
    Key,
    ListMark,
    Name,
    Record,
    Signature,
    SignedDeviceList,
)

LIST_LABEL = b"securemsg/1 room list"
LEAVE_LABEL = b"securemsg/1 room leave"
CONVERSATION_LABEL = b"securemsg/1 room conversation"

# A session message for each of their devices goes with each message.
MAX_MEMBERS = 50
MAX_ROOM_DEVICES = 100
# Bytes of UTF-8; as characters here, as bytes where a list is checked.
MAX_TITLE = 128
# Bytes: fifty members, and the statement of one that has left with its device list.
MAX_MEMBER_LIST = 16 * 1024
# Lists in one answer; fewer where they would not fit a content.
MAX_LISTS = 32

Digest = Annotated[bytes, Meta(max_length=32)]
ListNumber = Annotated[int, Meta(ge=1, le=2**62)]

ADMIN: Literal["admin"] = "admin"
MEMBER: Literal["member"] = "member"

Decision = Literal["created", "added", "removed", "role", "title", "link", "fresh", "left"]


class Member(Record, frozen=True):
    """
    A member of a room.

    @ivar since: the number of the list that added it.
    """

    account: Name
    identity: Key
    role: Literal["admin", "member"]
    since: ListNumber

    @property
    def is_admin(self) -> bool:
        """Whether it decides who is a member."""
        return self.role == ADMIN


class LeaveStatement(Record, frozen=True):
    """
    A member says that it leaves.

    @ivar since: as in its row of the list, so that it does not count again after it was added once more.
    @ivar devices: its signed device list, in which C{device} stands.
    @ivar signature: of that device over L{LEAVE_LABEL}, room, account and C{u64(since)}.
    """

    account: Name
    since: ListNumber
    devices: SignedDeviceList
    device: Id
    signature: Signature


class MemberList(Record, frozen=True):
    """
    Who is in a room: the body that the author's device signs, and whose SHA-256 names the list.

    @ivar server: the server's identity key.
    @ivar n: counts from 1.
    @ivar previous: SHA-256 of the body of the list before; empty in the first.
    @ivar salt: so that whoever sees only the SHA-256, as the server does, cannot guess the rest.
    @ivar members: in the order in which they joined.
    @ivar link: SHA-256 of the secret that admits whoever shows it to an admin; empty: there is no link.
    @ivar author: whose device C{device} has made this list of the one before.
    @ivar decision: the one thing that it changes.
    @ivar statement: of the member that has left, where that is the decision.
    @ivar next: SHA-256 of the proof that lets the server take the following list.
    """

    server: Key
    room: Id
    n: ListNumber
    previous: Digest
    issued_at: Counter
    salt: Key
    title: Annotated[str, Meta(max_length=MAX_TITLE)]
    members: Annotated[tuple[Member, ...], Meta(min_length=1, max_length=MAX_MEMBERS)]
    link: Digest
    author: Name
    device: Id
    decision: Decision
    statement: LeaveStatement | None
    next: Key

    def member(self, account: str) -> Member | None:
        """The row of an account."""
        return next((member for member in self.members if member.account == account), None)

    def stands(self, account: str, identity: bytes) -> bool:
        """Whether an account is a member under this identity."""
        member = self.member(account)
        return member is not None and member.identity == identity


class SignedMemberList(Record, frozen=True):
    """
    A member list as it travels.

    @ivar body: the very bytes that are signed: an encoded L{MemberList}.
    @ivar devices: the author's signed device list.
    @ivar proof: that goes with C{next}, so that every member can make the next list; empty for whoever is not on this one.
    """

    body: Annotated[bytes, Meta(max_length=MAX_MEMBER_LIST)]
    devices: SignedDeviceList
    signature: Signature
    proof: Digest


class RoomInvite(Record, frozen=True):
    """
    Body of an C{INVITE}: an admin asks somebody to join.

    @ivar members: the names of those who are in it.
    @ivar mark: the newest list as the admin knows it.
    @ivar renews: the room that this one takes the place of; empty: of none.
    """

    room: Id
    title: Annotated[str, Meta(max_length=MAX_TITLE)]
    members: Annotated[tuple[Name, ...], Meta(max_length=MAX_MEMBERS)]
    mark: ListMark
    renews: Annotated[bytes, Meta(max_length=16)]


class RoomAccept(Record, frozen=True):
    """
    Body of an C{ACCEPT}: the sender wants to be added.

    @ivar secret: of the link that admits it; empty: it was invited.
    """

    room: Id
    secret: Digest


class ListRequest(Record, frozen=True):
    """
    Body of an C{ASK}: which lists came after this one?

    @ivar n: of the newest list that the sender has; 0: none.
    """

    room: Id
    n: Counter


class RoomLists(Record, frozen=True):
    """
    Body of a C{LISTS}: lists in order, of which the newest brings its proof.

    @ivar more: the newest number that the sender has, if there are more lists than fit; else 0.
    """

    room: Id
    lists: Annotated[tuple[SignedMemberList, ...], Meta(max_length=MAX_LISTS)]
    more: Counter
