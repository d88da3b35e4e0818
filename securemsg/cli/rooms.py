"""Rooms and their members, as records for programs and as lines for people."""

from __future__ import annotations

from securemsg.account.rooms import MemberRow, join_command, members, trouble
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note, write_record
from securemsg.cli.rendering import left_out_text
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.rooms import store
from securemsg.client.rooms.store import Room, RoomState, Wish, WishKind
from securemsg.protocol.envelope import PQXDH

# What is wanted of a room, in words.
_CHANGES = {
    WishKind.ADD: "add {name}",
    WishKind.REMOVE: "remove {name}",
    WishKind.ADMIN: "make {name} an admin",
    WishKind.NO_ADMIN: "make {name} no admin",
    WishKind.TITLE: "rename it",
    WishKind.LINK: "change its link",
    WishKind.FRESH: "renew its keys",
    WishKind.LEFT: "note that {name} has left",
}


def label(room: Room) -> str:
    """What a room is called here; where we have no name for it, the digits that name it."""
    return room.name if room.alias else room.id.hex()[:8]


def room_record(room: Room, names: list[str], unread: int, wishes: list[Wish]) -> dict[str, object]:
    """A room, for programs."""
    return {
        "room": room.name if room.alias else None,
        "id": room.id.hex(),
        "title": room.title,
        "state": room.state.value,
        "n": room.mark.version or None,
        "members": names,
        "unread": unread,
        "inviter": room.inviter or None,
        "code": room.code,
        "culprit": room.culprit or None,
        "wanted": [{"change": wish.kind.value, "name": wish.account, "code": wish.code} for wish in wishes],
    }


def room_text(room: Room, names: list[str], unread: int, wishes: list[Wish], own: str) -> str:
    """A room, for people."""
    match room.state:
        case RoomState.INVITED:
            state = f"{room.inviter} invites you; join: {join_command(room)}"
        case RoomState.ASKED if room.inviter == own:
            state = "waiting for the server"
        case RoomState.ASKED:
            state = f"waiting for {room.inviter} to add you"
        case RoomState.OUT:
            state = "not a member"
        case _:
            state = "1 member" if len(names) == 1 else f"{len(names)} members"
            state += {RoomState.LEAVING: ", leaving", RoomState.BROKEN: ", BROKEN", RoomState.FORKED: ", FORKED"}.get(
                room.state, ""
            )
    news = f"  {unread} unread" if unread else ""
    lines = [f"{label(room):<20}  {escape(room.title)}  {escape(state)}{news}"]
    for wish in wishes:
        what = _CHANGES[wish.kind].format(name=wish.account)
        lines.append(f"    {'failed' if wish.code else 'waits'}: {escape(what)}" + (f" [{wish.code}]" if wish.code else ""))
    return "\n".join(lines)


def described(context: CommandContext, room: Room, unread: int) -> tuple[dict[str, object], str]:
    """A room, for programs and for people."""
    with context.store.reading() as records:
        newest = store.newest(records, room)
        wishes = [wish for _, wish in store.wishes(records, room) if wish.is_ours]
    names = [member.account for member in newest.body.members] if newest is not None and room.is_member else []
    return room_record(room, names, unread, wishes), room_text(room, names, unread, wishes, context.profile.name)


def show_rooms(context: CommandContext, rooms: list[Room]) -> None:
    """Print rooms; of what has failed the user knows then."""
    unread = messages.unread_counts(context.store)
    for room in rooms:
        record, text = described(context, room, unread.get(room.name, 0))
        write_record(record, context.settings.as_json, text)
        report_trouble(context, room)
        with context.store.writing() as records:
            for number, wish in store.wishes(records, room):
                if wish.code:
                    store.end_wish(records, number)


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
