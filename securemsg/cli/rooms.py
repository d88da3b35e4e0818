"""Rooms and their members, as records for programs and as lines for people."""

from __future__ import annotations

from attrs import frozen

from securemsg.account.rooms import MemberRow, join_command, members, trouble
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note, write_record
from securemsg.cli.rendering import amount, left_out_text
from securemsg.cli.times import duration_text
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.rooms import changes, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import disappearing
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PQXDH

# What is wanted of a room, in words.
_WORDS = {
    ChangeKind.ADD: "add {name}",
    ChangeKind.REMOVE: "remove {name}",
    ChangeKind.ADMIN: "make {name} an admin",
    ChangeKind.NO_ADMIN: "remove {name} as admin",
    ChangeKind.TITLE: "rename it",
    ChangeKind.LINK: "change its link",
    ChangeKind.FRESH: "renew its keys",
    ChangeKind.LEFT: "note that {name} has left",
}


@frozen
class _Wanted:
    """
    A change, for display.

    @ivar code: why it failed; empty: it waits.
    """

    change: PendingChange
    code: str


def label(room: Room) -> str:
    """What a room is called here; where we have no name for it, the digits that name it."""
    return room.name if room.alias else room.id.hex()[:8]


def room_record(room: Room, names: list[str], unread: int, keep: int, wanted: list[_Wanted]) -> dict[str, object]:
    """A room, for programs."""
    return {
        "room": room.name if room.alias else None,
        "id": room.id.hex(),
        "title": room.title,
        "state": room.state.value,
        "n": room.mark.version or None,
        "members": names,
        "unread": unread,
        "keep": keep or None,
        "inviter": room.inviter or None,
        "code": room.code,
        "culprit": room.culprit or None,
        "pending": [{"change": each.change.kind.value, "name": each.change.account, "code": each.code} for each in wanted],
    }


def room_text(room: Room, names: list[str], unread: int, keep: int, wanted: list[_Wanted], own: str) -> str:
    """A room, for people."""
    match room.state:
        case RoomState.INVITED:
            inviters = " and ".join([room.inviter, *(each.account for each in room.others)])
            state = f"{inviters} invited you; join: {join_command(room)}"
        case RoomState.ASKED if room.inviter == own:
            state = "waiting for the server"
        case RoomState.ASKED:
            state = f"waiting for {room.inviter} to add you"
        case RoomState.LEAVING if not room.is_member:
            state = "request withdrawn"
        case RoomState.OUT:
            state = "not a member" + (f" [{room.code}]" if room.code else "")
        case _:
            state = amount(len(names), "member")
            state += {RoomState.LEAVING: ", leaving", RoomState.BROKEN: ", BROKEN", RoomState.FORKED: ", FORKED"}.get(
                room.state, ""
            )
    news = f"  {unread} unread" if unread else ""
    kept = f"  keep {duration_text(keep)}" if keep else ""
    lines = [f"{label(room):<20}  {escape(room.title)}  {escape(state)}{kept}{news}"]
    for each in wanted:
        what = _WORDS[each.change.kind].format(name=each.change.account)
        state, code = ("failed", f" [{each.code}]") if each.code else ("waits", "")
        lines.append(f"    {state}: {escape(what)}{code}")
    return "\n".join(lines)


def described(context: CommandContext, room: Room, unread: int) -> tuple[dict[str, object], str]:
    """A room, for programs and for people."""
    with context.store.reading() as records:
        return _described(context, records, room, unread, changes.failed(records, room))


def _described(
    context: CommandContext, records: IRecords, room: Room, unread: int, failed: list[tuple[int, PendingChange, str]]
) -> tuple[dict[str, object], str]:
    newest = store.newest(records, room)
    wanted = [_Wanted(change, "") for _, change in changes.pending(records, room) if change.is_ours]
    wanted += [_Wanted(change, code) for _, change, code in failed]
    names = [member.account for member in newest.body.members] if newest is not None and room.is_member else []
    keep = disappearing.chosen(records, room.conversation)
    text = room_text(room, names, unread, keep, wanted, context.profile.name)
    return room_record(room, names, unread, keep, wanted), text


def show_rooms(context: CommandContext, rooms: list[Room]) -> None:
    """Print rooms; of what has failed the user knows then."""
    unread = messages.unread_counts(context.store)
    for room in rooms:
        with context.store.reading() as records:
            failed = changes.failed(records, room)
            record, text = _described(context, records, room, unread.get(room.name, 0), failed)
        write_record(record, context.settings.as_json, text)
        report_trouble(context, room)
        if failed:
            with context.store.writing() as records:
                for number, _, _ in failed:
                    changes.pop_failed(records, number)


def report_trouble(context: CommandContext, room: Room) -> None:
    """Say on standard error what is wrong with a room, and which command helps."""
    problem = trouble(room)
    if problem is not None:
        text = problem.text if context.settings.as_json else f"{problem.text}; {problem.hint}"
        report_note(problem.code, text, context.settings.as_json, room.name, problem.hint)


def member_record(room: Room, n: int, digits: str, row: MemberRow) -> dict[str, object]:
    """A member, for programs."""
    return {
        "room": room.name,
        "id": room.id.hex(),
        "n": n,
        "digits": digits.replace(" ", ""),
        "name": row.name,
        "role": "admin" if row.is_admin else "member",
        "verified": row.is_verified,
        "by": row.vouched_by or None,
        "left_out": row.left_out,
        "suite": PQXDH,
    }


def member_text(room: Room, row: MemberRow, own: str) -> str:
    """A member, for people."""
    mark = "you" if row.name == own else trust_text(room, row)
    left_out = f"  left out: {left_out_text(row.name, row.left_out)}" if row.left_out else ""
    return f"{escape(row.name):<20}  {'admin' if row.is_admin else 'member':<6}  {escape(mark + left_out)}"


def trust_text(room: Room, row: MemberRow) -> str:
    """Whether somebody is verified, and if not, by whom we know the name."""
    by = f", by {row.vouched_by} in {room.name}" if row.vouched_by else ""
    return "verified" if row.is_verified else f"unverified{by}"


def head_text(room: Room, n: int, digits: str) -> str:
    """What stands above the members of a room."""
    return f"{room.name}  {escape(room.title)}  list {n}: {digits}  suite {PQXDH}"


def show_members(context: CommandContext, room: Room) -> None:
    """Print who is in a room, and the digits that all its members can compare."""
    n, digits, rows = members(context.store, room)
    if not context.settings.as_json:
        write_record({}, False, head_text(room, n, digits))
    for row in rows:
        own = context.profile.name
        write_record(member_record(room, n, digits, row), context.settings.as_json, member_text(room, row, own))
    report_trouble(context, room)
