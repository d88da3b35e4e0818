"""C{securemsg admin}: accounts, and what C{server} says to them."""

from __future__ import annotations

import sys

import click

from securemsg.account.errors import error_for
from securemsg.cli.admin.asking import ask, operate
from securemsg.cli.adminclient import AdminClient
from securemsg.cli.commands.send import given_text
from securemsg.cli.output import columns, json_line, say, write_line, write_record
from securemsg.cli.settings import NAME, json_option, settings_of, shared, state_option
from securemsg.cli.times import shown_time
from securemsg.client.escape import escape
from securemsg.client.times import iso
from securemsg.protocol import messages as m
from securemsg.protocol.devices import SERVER_NAME


@click.command()
@json_option("Print JSON, one object per line.")
@state_option
@shared
@click.pass_context
def accounts(ctx: click.Context) -> int:
    """List the accounts, and how much is waiting for each."""

    async def work(operator: AdminClient) -> None:
        after, more, width = "", True, columns()
        if not settings_of(ctx).as_json:
            write_line(f"{'name':<32}  {'since':<{len(shown_time(0, width))}}  {'devices':>7}  {'messages':>8}  {'bytes':>12}")
        while more:
            page = await ask(operator, m.ListAccounts(0, after), m.Accounts)
            for row in page.rows:
                record: dict[str, object] = {
                    "name": row.name,
                    "created_at": iso(row.created_at),
                    "devices": row.devices,
                    "messages": row.messages,
                    "bytes": row.size,
                }
                since = shown_time(row.created_at, width)
                text = f"{escape(row.name):<32}  {since}  {row.devices:>7}  {row.messages:>8}  {row.size:>12}"
                write_record(record, settings_of(ctx).as_json, text, verbatim=True)
            more = page.more and bool(page.rows)
            after = page.rows[-1].name if page.rows else after

    return operate(ctx, work)


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def remove(ctx: click.Context, name: str, yes: bool) -> int:
    """
    Delete an account, its devices, and the messages waiting for it. At a terminal you are asked first.

    The name is free again then: a person who has lost their only device can join anew with an invite.
    """
    if name == SERVER_NAME:
        raise error_for(
            "forbidden",
            text=f"{SERVER_NAME} is the daemon's own account, and cannot be removed",
            hint="to get no answers from it, start the daemon with --answer none",
        )

    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"Delete {name}, with all devices and waiting messages?", abort=True, err=True)

    async def work(operator: AdminClient) -> None:
        await ask(operator, m.RemoveAccount(0, name), m.Done, name)
        if settings_of(ctx).as_json:
            write_line(json_line({"name": name, "status": "removed"}))
        else:
            say(f"{name} was removed")

    return operate(ctx, work)


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.argument("text", required=False, metavar="[TEXT]")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def reply(ctx: click.Context, name: str, text: str | None) -> int:
    """
    Send TEXT, or standard input where there is none or it is -, to an account as the contact `server`, once this command has
    ended.

    For a guest with a key file, named key-..., it goes to the connection that wrote last of those still open.
    """
    if name == SERVER_NAME:
        raise error_for("forbidden", text=f"{SERVER_NAME} cannot write to itself", hint="give an account or a guest")
    body = given_text(text)

    async def work(operator: AdminClient) -> None:
        await ask(operator, m.Reply(0, name, body), m.Done, name)
        if settings_of(ctx).as_json:
            # The contact has committed it, under an id of its own.
            write_line(json_line({"to": name, "status": "queued"}))

    return operate(ctx, work)
