"""C{securemsg admin}: invites, and the address that they name."""

from __future__ import annotations

import click

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.cli.admin.asking import ask, operate
from securemsg.cli.adminclient import AdminClient
from securemsg.cli.output import write_record
from securemsg.cli.settings import json_option, settings_of, shared, state_option
from securemsg.cli.times import Duration
from securemsg.client.times import iso
from securemsg.crypto.keys import fingerprint
from securemsg.protocol import messages as m
from securemsg.protocol.invite import InviteLink

DAY = 86400
MAX_USES = 10_000


@click.command()
@click.option(
    "--uses",
    type=click.IntRange(1, MAX_USES),
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
        try:
            invited = await ask(operator, m.Invite(0, uses, expires), m.Invited)
        except SecuremsgError as problem:
            if problem.code == "registration-closed":
                raise error_for(
                    problem.code,
                    text="the daemon was started with --registration closed, so an invite would admit nobody",
                    hint="start it with --registration invite",
                ) from None
            raise
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
