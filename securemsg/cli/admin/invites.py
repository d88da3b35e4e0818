"""C{securemsg admin}: invites, and the address that they name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click

from securemsg.account.errors import error_for
from securemsg.cli.admin.client import AdminClient
from securemsg.cli.admin.control import ask, operate
from securemsg.cli.output import columns, json_line, say, write_line, write_record
from securemsg.cli.settings import json_option, settings_of, shared, state_option
from securemsg.cli.times import Duration, shown_time
from securemsg.client.escape import escape
from securemsg.client.times import iso
from securemsg.crypto.keys import fingerprint
from securemsg.protocol import messages as m
from securemsg.protocol.invite import InviteLink

DAY = 86400
# Digits of a digest that `invites` shows: two of a million invites have the same by a chance of one in a thousand.
INVITE_DIGITS = 12
# Fewer are refused: they could name another invite by accident.
MIN_DIGITS = 4


@click.command()
@click.option(
    "--uses",
    type=click.IntRange(1, m.MAX_USES),
    default=1,
    show_default=True,
    metavar="N",
    help="How many people can join with it.",
)
@click.option(
    "--expires", type=Duration(60, 366 * DAY), default="7d", show_default=True, metavar="TIME", help="How long it is valid."
)
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def invite(ctx: click.Context, uses: int, expires: int) -> int:
    """Print an invite: anyone who has it can join."""

    async def work(operator: AdminClient) -> None:
        address = await ask(operator, m.GetAddress(0), m.Address)
        invited = await ask(operator, m.Invite(0, uses, expires), m.Invited)
        link = InviteLink(
            address.host, address.port, address.pin, invited.token, address.contact, udp_port=address.udp_port
        )
        record: dict[str, object] = {"invite": str(link), "uses": uses, "expires_at": iso(invited.expires_at)}
        write_record(record, settings_of(ctx).as_json, str(link), verbatim=True)

    return operate(ctx, work)


@click.command()
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def address(ctx: click.Context) -> int:
    """Print the address of the server and the fingerprint of its identity."""

    async def work(operator: AdminClient) -> None:
        found = await ask(operator, m.GetAddress(0), m.Address)
        record: dict[str, object] = {
            "host": found.host,
            "port": found.port,
            "pin": fingerprint(found.pin),
            "udp_port": found.udp_port,
            "address": str(InviteLink(found.host, found.port, found.pin, b"", found.contact, udp_port=found.udp_port)),
        }
        write_record(record, settings_of(ctx).as_json, str(record["address"]), verbatim=True)

    return operate(ctx, work)


@click.command()
@json_option("Print JSON, one object per line.")
@state_option
@shared
@click.pass_context
def invites(ctx: click.Context) -> int:
    """List the open invites: the first digits of each, how many it still admits, until when, and who made it."""

    async def work(operator: AdminClient) -> None:
        width = columns()
        if not settings_of(ctx).as_json:
            until = f"{'until':<{len(shown_time(0, width))}}"
            write_line(f"{'invite':<{INVITE_DIGITS}}  {'uses':>5}  {until}  by")
        async for row in _all_invites(operator):
            record: dict[str, object] = {
                "id": row.digest.hex(),
                "uses": row.uses,
                "expires_at": iso(row.expires_at),
                "by": row.creator or None,
            }
            digits, until = row.digest.hex()[:INVITE_DIGITS], shown_time(row.expires_at, width)
            text = f"{digits}  {row.uses:>5}  {until}  {escape(row.creator) or 'the operator'}"
            write_record(record, settings_of(ctx).as_json, text, verbatim=True)

    return operate(ctx, work)


@click.command("revoke-invite")
@click.argument("prefix", metavar="PREFIX")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def revoke_invite(ctx: click.Context, prefix: str) -> int:
    """Revoke an open invite, given the first digits that `securemsg admin invites` shows: it admits nobody any more."""
    digits = prefix.lower()
    if len(digits) < MIN_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise click.UsageError(f"PREFIX is the first digits of an invite, at least {MIN_DIGITS}; see: securemsg admin invites")

    async def work(operator: AdminClient) -> None:
        found = [row async for row in _all_invites(operator) if row.digest.hex().startswith(digits)]
        if not found:
            raise error_for("no-such-invite", digits)
        if len(found) > 1:
            raise error_for("ambiguous-invite", digits)
        await ask(operator, m.RevokeInvite(0, found[0].digest), m.Done)
        if settings_of(ctx).as_json:
            write_line(json_line({"id": found[0].digest.hex(), "status": "revoked"}))
        else:
            say(f"the invite {found[0].digest.hex()[:INVITE_DIGITS]} was revoked")

    return operate(ctx, work)


async def _all_invites(operator: AdminClient) -> AsyncIterator[m.InviteRow]:
    """All open invites, page by page."""
    after, more = b"", True
    while more:
        page = await ask(operator, m.ListInvites(0, after), m.Invites)
        for row in page.rows:
            after = row.digest
            yield row
        more = page.more and bool(page.rows)
