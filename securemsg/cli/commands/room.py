"""C{securemsg room}: rooms of several members, whose messages the server cannot read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit
from securemsg.account.names import full_name
from securemsg.account.roomchanges import RoomChanges
from securemsg.account.rooms import find
from securemsg.cli.context import CommandContext
from securemsg.cli.helptext import Group
from securemsg.cli.output import say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import amount, keep_text
from securemsg.cli.rooms import label, show_members, show_rooms
from securemsg.cli.settings import NAME, ROOM, json_option, settings_of, shared
from securemsg.cli.times import KeepTime
from securemsg.client.rooms import store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.joining import LINK_PREFIX
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import disappearing
from securemsg.protocol.devices import ROOM_MARK

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# Bytes that are read from standard input; a link has some 180.
MAX_LINK = 4096

room_argument = click.argument("room", type=ROOM, metavar="ROOM")
json_row = json_option("Print JSON, one object per line.")


@click.group(cls=Group)
@json_row
@shared
def room() -> None:
    """
    Rooms of several members: group conversations, end-to-end encrypted to each member.

    A ROOM is what you call it, such as '#team' (the quotes are for the shell), or the first digits of its id. Write there with
    securemsg send '#team', and read with chat, recv and history.
    """


@room.command()
@click.argument("name", type=ROOM, metavar="NAME")
@click.option("--title", metavar="TEXT", help="Title that all members see.  [default: NAME]")
@click.option("--open", "is_open", is_flag=True, help="Print a link that admits whoever has it.")
@json_row
@shared
@click.pass_context
def create(ctx: click.Context, name: str, title: str | None, is_open: bool) -> int:
    """Make a room, with you as its admin; you call it NAME, others may call it something else."""

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        made = await rooms.create(name, name.removeprefix(ROOM_MARK) if title is None else title)
        _done(context, made, f"created {made.name}; invite people: securemsg room invite '{made.name}' WHO")
        if is_open:
            _show_link(context, made, await rooms.link(name, new=True))
        return Exit.DONE

    return _run(ctx, work)


@room.command("list")
@json_row
@shared
@click.pass_context
def list_rooms(ctx: click.Context) -> int:
    """List rooms, invitations, and changes that wait or have failed."""
    with opened(settings_of(ctx)) as context:
        with context.store.reading() as records:
            known = store.all_rooms(records)
        show_rooms(context, known)
    return Exit.DONE


@room.command()
@room_argument
@json_row
@shared
@click.pass_context
def members(ctx: click.Context, room: str) -> int:
    """
    List who is in ROOM: role, verified or by whom the name is known, and who does not get your messages.

    The 30 digits above the list are the same for all members, unless the server or somebody in between shows them different
    lists; compare them over another channel. All that is said in a room is encrypted with suite pqxdh.
    """
    with opened(settings_of(ctx)) as context:
        show_members(context, find(context.store, room))
    return Exit.DONE


@room.command()
@room_argument
@click.argument("time", type=KeepTime(), metavar="TIME|off")
@json_row
@shared
@click.pass_context
def keep(ctx: click.Context, room: str, time: int) -> int:
    """
    Have what you write to ROOM from now on disappear at all ends: here TIME (such as 1d) after the server has accepted it, at
    each member TIME after that member has read it. What others write is theirs to choose.
    """
    with opened(settings_of(ctx)) as context:
        found = find(context.store, room)
        with context.store.writing() as records:
            disappearing.choose(records, found.conversation, time)
        return _done(context, found, keep_text(label(found), time))


@room.command()
@room_argument
@click.argument("who", nargs=-1, required=True, type=NAME, metavar="WHO...")
@json_row
@shared
@click.pass_context
def invite(ctx: click.Context, room: str, who: tuple[str, ...]) -> int:
    """Invite accounts to ROOM. Your client adds whoever accepts, as soon as it runs: keep a chat or recv --follow open."""

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        names = list(dict.fromkeys(full_name(context.store, each) for each in who))
        found = await rooms.invite(room, names)
        text = f"invited to {found.name}: {', '.join(names)}; whoever accepts is added as soon as your client runs"
        return _done(context, found, text)

    return _run(ctx, work)


@room.command()
@click.argument("room", metavar="ROOM|LINK")
@click.option("--as", "alias", type=ROOM, metavar="NAME", help="What you want to call it.")
@click.option("--by", type=NAME, metavar="WHO", help="Whose invitation to accept, if several members have invited you.")
@json_row
@shared
@click.pass_context
def join(ctx: click.Context, room: str, alias: str | None, by: str | None) -> int:
    """
    Accept an invitation to ROOM, or show LINK to the admin whom it names, and wait until you are added. With - the link is read
    from standard input, where no other user can see it.

    The client of whoever has invited you adds you, as soon as it runs. What was said in the room before is not sent to you.
    """
    what = sys.stdin.readline(MAX_LINK).strip() if room == "-" else room
    what = what if what.startswith(LINK_PREFIX) else ROOM.convert(what, None, ctx)

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        joined = await rooms.join(what, alias or "", by or "")
        return _done(context, joined, f"you are in {joined.name}; see who else is: securemsg room members '{joined.name}'")

    return _run(ctx, work)


@room.command()
@room_argument
@json_row
@shared
@click.pass_context
def leave(ctx: click.Context, room: str) -> int:
    """Leave ROOM, decline an invitation, or withdraw a request to join."""

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        left = await rooms.leave(room)
        if left is None:
            say(f"removed {room} from your list of rooms")
            return Exit.DONE
        if left.state is RoomState.LEAVING and not left.is_member:
            return _done(context, left, f"your request is withdrawn; if you are added to {left.name} all the same, you leave")
        is_told = left.state is RoomState.LEAVING
        told = "the others see it with the next change or message there" if is_told else "nobody was told"
        return _done(context, left, f"you have left {left.name}; {told}")

    return _run(ctx, work)


@room.command()
@room_argument
@click.argument("who", type=NAME, metavar="WHO")
@json_row
@shared
@click.pass_context
def remove(ctx: click.Context, room: str, who: str) -> int:
    """Remove WHO from ROOM, who can read nothing that is said from then on. This also withdraws the room's link."""
    return _change(ctx, room, ChangeKind.REMOVE, f"removed {who} from {{room}}", who=who)


@room.command()
@room_argument
@click.argument("who", type=NAME, metavar="WHO")
@click.option("--off", is_flag=True, help="Make WHO an ordinary member again.")
@json_row
@shared
@click.pass_context
def admin(ctx: click.Context, room: str, who: str, off: bool) -> int:
    """Make WHO an admin of ROOM, who invites, removes, and makes others admins."""
    kind, text = (ChangeKind.NO_ADMIN, "no longer an admin") if off else (ChangeKind.ADMIN, "now an admin")
    return _change(ctx, room, kind, f"{who} is {text} of {{room}}", who=who)


@room.command()
@room_argument
@click.argument("text", metavar="TEXT")
@json_row
@shared
@click.pass_context
def title(ctx: click.Context, room: str, text: str) -> int:
    """Rename ROOM: change its title, which all members see. What you alone call it stays."""
    return _change(ctx, room, ChangeKind.TITLE, "changed the title of {room}", text=text)


@room.command()
@room_argument
@click.option("--new", is_flag=True, help="Make a new one; the one before admits nobody any more.")
@click.option("--off", is_flag=True, help="Withdraw the link.")
@json_row
@shared
@click.pass_context
def link(ctx: click.Context, room: str, new: bool, off: bool) -> int:
    """
    Print the link to ROOM: whoever has it is added by your client, as soon as it runs. It contains a secret: pass it on as you
    would a password.
    """
    if new and off:
        raise click.UsageError("give --new or --off")
    if off:
        return _change(ctx, room, ChangeKind.LINK, "withdrew the link to {room}")

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        text = await rooms.link(room, new)
        return _show_link(context, find(context.store, room), text)

    return _run(ctx, work)


@room.command()
@room_argument
@click.option("--without", type=NAME, metavar="WHO", help="A member who is not invited.")
@json_row
@shared
@click.pass_context
def renew(ctx: click.Context, room: str, without: str | None) -> int:
    """
    Make a new room in the place of ROOM, and invite its members: those who find ROOM broken or forked, too, join by themselves.
    """

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        made = await rooms.renew(room, without or "")
        return _done(context, made, f"{made.name} takes the place of {room}, and its members are invited")

    return _run(ctx, work)


@room.command()
@room_argument
@json_row
@shared
@click.pass_context
def follow(ctx: click.Context, room: str) -> int:
    """Go by the server's member lists in ROOM, which is forked. First compare the digits of: securemsg room members ROOM."""

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        followed = await rooms.follow(room)
        return _done(context, followed, f"{followed.name} goes by the server's lists again")

    return _run(ctx, work)


@room.command()
@room_argument
@click.option("--drop", is_flag=True, help="Withdraw them instead.")
@json_row
@shared
@click.pass_context
def release(ctx: click.Context, room: str, drop: bool) -> int:
    """Send the messages to ROOM that wait because somebody has joined since they were written; new members get them, too."""

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        count = await rooms.release(room, drop)
        done = "withdrawn" if drop else "released"
        name = find(context.store, room).name
        if context.settings.as_json:
            write_record({"room": name, done: count}, True, "")
        else:
            say(f"{done}: {amount(count, 'message')} to {name}")
        return Exit.DONE

    return _run(ctx, work)


def _run(ctx: click.Context, work: Callable[[CommandContext, RoomChanges], Coroutine[Any, Any, int]]) -> int:
    """Do something with the profile's rooms over its connection."""
    with opened(settings_of(ctx)) as context:

        async def connected(reactor: Any, connection: AccountConnection) -> int:
            return await work(context, RoomChanges(context.store, connection, context.now, context.settings.time_limit))

        return context.run_connected(connected)


def _change(ctx: click.Context, name: str, kind: ChangeKind, done: str, *, who: str = "", **options: str) -> int:
    """
    Make a change.

    @param done: what to say then.
    """

    async def work(context: CommandContext, rooms: RoomChanges) -> int:
        changed = await rooms.change(name, kind, who=full_name(context.store, who) if who else "", **options)
        return _done(context, changed, done.format(room=changed.name))

    return _run(ctx, work)


def _done(context: CommandContext, changed: Room, text: str) -> int:
    """Say what was done; a program gets the room as it is now."""
    if context.settings.as_json:
        show_rooms(context, [find(context.store, changed.id.hex())])
    else:
        say(text)
    return Exit.DONE


def _show_link(context: CommandContext, of: Room, text: str) -> int:
    write_record({"room": label(of), "link": text}, context.settings.as_json, text, verbatim=True)
    return Exit.DONE
