"""C{securemsg invite}: let somebody join, where users may invite."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.timeouts import Timeout
from securemsg.cli.guest import DEFAULT_PORT
from securemsg.cli.invites import qr_code
from securemsg.cli.output import columns, say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import Duration, shown_time
from securemsg.cli.words import make_words
from securemsg.client.shortinvites import GUESSED, OVER, REPLACED
from securemsg.client.state.invites import make_secret
from securemsg.client.times import iso
from securemsg.protocol.hosts import host_port
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import CODE_LIFETIME

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

DAY = 86400
# Colours, which take no room.
_CODES = re.compile(r"\x1b\[[\d;]*m")
# What the server lets a user give.
LONGEST = 30 * DAY
# How a short invite has ended, in the last line. For one that was guessed at, the warning says it.
_ENDS = {
    "": "Somebody with these words has the invite now.",
    OVER: "The 10 minutes are over; the words no longer work. The long invite is still valid.",
    REPLACED: "These words no longer work: newer ones have replaced them. The long invite is still valid.",
    "no-such-code": "Somebody with these words hung up before getting the invite. The long one is still valid.",
    GUESSED: "",
}
_LOST = "The connection was lost, so the words no longer work. The long invite is still valid."


@click.command()
@click.option(
    "--expires", type=Duration(60, LONGEST), default="7d", show_default=True, metavar="TIME", help="How long it is valid."
)
@click.option("--no-words", is_flag=True, help="Do not offer a short invite at a terminal, and do not wait for its use.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def invite(ctx: click.Context, expires: int, no_words: bool) -> int:
    """
    Print an invite for one person, if the server lets users invite. It verifies both ways: the new user has you as a verified
    contact, and the new user becomes verified for you once `join` has proved possession of the invite.

    At a terminal it also shows the invite as a QR code, and a short invite: a number and six words that can be told on the
    telephone. These work once, for 10 minutes, while the command stays open.
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
                explain(str(link), shown_time(expires_at, columns()))
                if not no_words:
                    await offer_words(connection, link, context.settings.time_limit)
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


async def offer_words(connection: AccountConnection, link: InviteLink, timeout: Timeout) -> None:
    """
    Have a number and six words stand for an invite, and wait until somebody has used them.

    @param timeout: for the number.
    """
    words = make_words()
    try:
        facts = await connection.ask("short-invite", f"{words} {link}", timeout=timeout)
    except SecuremsgError as problem:
        if problem.code != "server-without-codes":
            say(f"There is no short invite now: {problem.text}.")
        return
    # The end of an earlier short invite.
    before = connection.short_invite_end
    where = link.host if link.port == DEFAULT_PORT else host_port(link.host, link.port)
    command = f"securemsg join {where} {facts['number']}-{words} NAME"
    say("Or tell that person to run, for example on the phone:\n")
    say(f"  {command}\n", verbatim=True)
    if not connection.is_owner:
        say("The words work once, for 10 minutes, while your chat, recv --follow or bot stays open.")
        return
    say("The words work once, for 10 minutes, while this stays open. Press Ctrl-C to end.")

    def ended() -> str | None:
        end = connection.short_invite_end
        return None if end is None or end is before else end.code

    # The agent ends it by itself; this is in case it does not.
    code = await connection.until(ended, 2 * CODE_LIFETIME)
    if last := _ENDS.get(OVER if code is None else code, _LOST):
        say(last)
