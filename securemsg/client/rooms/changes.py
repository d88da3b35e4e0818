"""
What is wanted of rooms: by our user, and by those who accept an invitation or leave. It waits until a step of ours grants it.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import TABLE, Room, RoomState
from securemsg.client.state.profile import Private
from securemsg.client.state.records import load, load_all, save
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import Code, Name
from securemsg.protocol.rooms import MAX_TITLE, LeaveStatement

# Buckets: what waits, and what has failed, until the user is told. Order: a number of its own, which is the same in both.
PENDING = b"changes"
FAILED = b"failed"

# Of one room.
MAX_PENDING = 200
MAX_FAILED = 50


class ChangeKind(enum.StrEnum):
    """What somebody wants changed."""

    ADD = "add"
    REMOVE = "remove"
    ADMIN = "admin"
    NO_ADMIN = "no-admin"
    TITLE = "title"
    LINK = "link"
    FRESH = "fresh"
    LEFT = "left"


class PendingChange(Private, frozen=True):
    """
    A change that waits for a step of ours.

    @ivar account: whom it is about; C{identity}: of whoever is to be added.
    @ivar text: a title.
    @ivar digest: of C{LINK} that of the link's secret, empty for no link; of C{ADD} likewise, of the link that they came by,
        empty where they were invited; of C{FRESH} that of the list that has to be replaced.
    @ivar is_ours: the user has asked for it, or for the invitation or link that it comes from, and is told if it fails.
    """

    kind: ChangeKind
    account: Name = ""
    identity: Annotated[bytes, Meta(max_length=32)] = b""
    text: Annotated[str, Meta(max_length=MAX_TITLE)] = ""
    digest: Annotated[bytes, Meta(max_length=32)] = b""
    statement: LeaveStatement | None = None
    is_ours: bool = False


class _Pending(Private, frozen=True):
    """A change, and the id of the room that it is about."""

    room: bytes
    change: PendingChange


class _Failed(Private, frozen=True):
    """Likewise, and why it failed."""

    room: bytes
    change: PendingChange
    code: Code


def add(records: IRecords, room: Room, change: PendingChange) -> int:
    """
    Want a change of a room.

    @return: its number.
    @raise Refusal: C{busy}: too many wait.
    """
    if len(pending(records, room)) >= MAX_PENDING:
        raise Refusal("busy")
    number = max(records.last(TABLE, PENDING), records.last(TABLE, FAILED)) + 1
    save(records, TABLE, PENDING, _Pending(room.id, change), number)
    return number


def pending(records: IRecords, room: Room) -> list[tuple[int, PendingChange]]:
    """What is wanted of a room, in order."""
    return [(number, each.change) for number, each in load_all(records, _Pending, TABLE, PENDING) if each.room == room.id]


def failed(records: IRecords, room: Room) -> list[tuple[int, PendingChange, str]]:
    """What could not be done in a room, and why, until the user is told."""
    rows = load_all(records, _Failed, TABLE, FAILED)
    return [(number, each.change, each.code) for number, each in rows if each.room == room.id]


def is_any_pending(records: IRecords) -> bool:
    """Whether anything is wanted of any room."""
    return records.count(TABLE, PENDING) > 0


def removes_anybody(records: IRecords, room: Room) -> bool:
    """Whether a step of ours waits that takes somebody out, so that nothing may be sent to them any more."""
    kinds = {change.kind for _, change in pending(records, room)}
    return room.state is RoomState.IN and not kinds.isdisjoint((ChangeKind.REMOVE, ChangeKind.LEFT))


def is_pending(records: IRecords, number: int) -> bool:
    """Whether a change still waits."""
    return load(records, _Pending, TABLE, PENDING, number) is not None


def end(records: IRecords, number: int, code: str = "") -> None:
    """A change is done; or it has failed, and why: then of ours the user is to be told."""
    found = load(records, _Pending, TABLE, PENDING, number)
    if found is None:
        return
    records.delete(TABLE, PENDING, number)
    known = sum(each.room == found.room for _, each in load_all(records, _Failed, TABLE, FAILED)) if code else 0
    if code and found.change.is_ours and known < MAX_FAILED:
        save(records, TABLE, FAILED, _Failed(found.room, found.change, code), number)


def pop_failed(records: IRecords, number: int) -> str:
    """Why a change has failed, of which the user is told now; empty: it has not."""
    found = load(records, _Failed, TABLE, FAILED, number)
    records.delete(TABLE, FAILED, number)
    return "" if found is None else found.code


def forget(records: IRecords, room: Room) -> None:
    """Forget all that was wanted of a room."""
    for number, _ in pending(records, room):
        records.delete(TABLE, PENDING, number)
    for number, _, _ in failed(records, room):
        records.delete(TABLE, FAILED, number)


def is_done(change: PendingChange, listing: RoomList) -> bool:
    """Whether a list is as somebody wants it; or, of somebody who leaves, whether that is over."""
    body = listing.body
    whom = body.member(change.account)
    match change.kind:
        case ChangeKind.ADD:
            return body.stands(change.account, change.identity)
        case ChangeKind.REMOVE:
            return whom is None
        case ChangeKind.ADMIN:
            return whom is not None and whom.is_admin
        case ChangeKind.NO_ADMIN:
            return whom is not None and not whom.is_admin
        case ChangeKind.TITLE:
            return body.title == change.text
        case ChangeKind.LINK:
            return body.link == change.digest
        case ChangeKind.LEFT:
            return whom is None or change.statement is None or whom.since != change.statement.since
        case ChangeKind.FRESH:
            return listing.digest != change.digest
