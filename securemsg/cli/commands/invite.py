"""C{securemsg invite}: let somebody join, where users may invite."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit
from securemsg.cli.invites import qr_code
from securemsg.cli.output import columns, say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import Duration
from securemsg.client.state.invites import make_secret
from securemsg.client.times import iso
from securemsg.protocol.invite import InviteLink

DAY = 86400
# Colours, which take no room.
_CODES = re.compile(r"\x1b\[[\d;]*m")
# What the server lets a user give.
LONGEST = 30 * DAY


@click.command()
@click.option(
    "--expires", type=Duration(60, LONGEST), default="7d", show_default=True, metavar="TIME", help="How long it is valid."
)
@json_option("Print a JSON object.")
@shared
@click.pass_context
def invite(ctx: click.Context, expires: int) -> int:
    """
    Print an invite for one person, if the server lets users invite. It verifies both ways: the new user has you as a verified
    contact, and the new user becomes verified for you once `join` has proved possession of the invite.
    """
    with opened(settings_of(ctx)) as context:

        async def ask(reactor: Any, connection: AccountConnection) -> int:
            facts = await connection.ask("invite", str(expires), timeout=context.settings.time_limit)
            profile, expires_at = context.profile, int(facts["expires_at"])
            with context.store.writing() as records:
                secret = make_secret(records, expires_at, int(context.now()))
            link = InviteLink(
                host=context.address.host,
                port=context.address.port,
                pin=profile.pin,
                token=bytes.fromhex(facts["token"]),
                contact=profile.contact,
                inviter=profile.name,
                inviter_identity=profile.identity.public,
                secret=secret,
                udp_port=context.address.udp_port,
            )
            record: dict[str, object] = {"invite": str(link), "uses": 1, "expires_at": iso(expires_at)}
            write_record(record, context.settings.as_json, str(link), verbatim=True)
            if not context.settings.as_json and sys.stdout.isatty():
                explain(str(link), iso(expires_at))
            return Exit.DONE

        return context.run_connected(ask)


def explain(link: str, expires_at: str) -> None:
    """Say what to do with an invite, and show it as a qr_code where the terminal has room for that."""
    shown = qr_code(link)
    width = max(map(len, _CODES.sub("", shown).split("\n")))
    if width <= columns():
        say(shown)
    say(f"This invite is for one person, until {expires_at}. It contains secrets: pass it on as you would a password.")
    say("Whoever gets it runs: securemsg join - NAME, pastes it, and ends it with Ctrl-D. Mail may quote or wrap it.")
