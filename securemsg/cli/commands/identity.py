"""C{securemsg identity}: new keys for an account, signed by the old ones."""

from __future__ import annotations

import sys

import click

from securemsg.account.errors import error_for
from securemsg.cli.helptext import Group
from securemsg.cli.output import say
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import amount
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.client import renewal
from securemsg.client.rooms.store import RoomState, all_rooms
from securemsg.client.state.records import load_totals

# Rooms that know us by our identity.
JOINED = (RoomState.ASKED, RoomState.IN, RoomState.LEAVING, RoomState.BROKEN, RoomState.FORKED)


@click.group(cls=Group)
@json_option("Print a JSON object.")
@shared
def identity() -> None:
    """The keys by which others know this account."""


@identity.command()
@click.option("--yes", is_flag=True, help="Do not ask, and renew although messages are held back.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def renew(ctx: click.Context, yes: bool) -> int:
    """
    Make all keys of this account anew; the old ones sign the new.

    Do this if somebody may have a copy of the old keys, before they do. Your safety numbers change. Contacts who have chosen
    `contacts policy YOU signed` use the new keys at once; all others are warned, and nothing goes between you until they have
    compared numbers and accepted. Backups and other copies of this profile are of no more use.

    Leave your rooms first, and ask to be invited again. Messages that are held back (see doctor) are lost: accept the new
    keys of their senders first. If it is interrupted, run it again.
    """
    with opened(settings_of(ctx), joined=False) as context:
        with context.store.reading() as records:
            is_begun = renewal.is_begun(records)
            rooms = [room.alias for room in all_rooms(records) if room.state in JOINED]
            held = load_totals(records).rows
        if not is_begun:
            if not context.profile.registered:
                raise error_for("not-joined")
            if rooms:
                raise error_for("in-rooms", f"'#{rooms[0]}'")
            can_ask = sys.stdin.isatty() and sys.stderr.isatty()
            if held and not yes:
                text = f"{amount(held, 'message')} that could not be opened so far will be lost with the old keys"
                if not can_ask:
                    raise error_for("messages-held", text=text)
                say(text)
            if not yes and can_ask:
                click.confirm("Make all keys of this account anew?", abort=True, err=True)
        # It brings in the reactor, which neither help nor a mistake needs.
        from securemsg.cli.renewing import Renewal

        return Renewal(context).run()
