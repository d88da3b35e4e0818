"""C{securemsg admin}: accounts, and what C{server} says to them."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import click

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.cli.admin.client import AdminClient
from securemsg.cli.admin.control import Work, ask, confirm, operate, refused
from securemsg.cli.commands.send import given_text
from securemsg.cli.output import columns, json_line, say, write_line, write_record
from securemsg.cli.progress import progress
from securemsg.cli.rendering import amount
from securemsg.cli.settings import NAME, json_option, settings_of, shared, state_option
from securemsg.cli.times import Duration, shown_time
from securemsg.client.escape import escape
from securemsg.client.times import iso
from securemsg.protocol import messages as m
from securemsg.protocol.devices import SERVER_NAME

DAY = 86400
YEAR = 366 * DAY
# Columns of a name in a list; a longer one pushes the rest of its row aside.
NAME_COLUMNS = 20
# A narrower terminal gets fewer columns, all within 40.
WIDE = 80
NARROW_NAME = 16
# Digits that stand for a device.
DEVICE_DIGITS = 8


class QuotaType(click.ParamType[int]):
    """A number of messages; C{default}, as 0: as many as for any account."""

    name = "quota"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail with a sentence."""
        if value == "default":
            return 0
        if not re.fullmatch(r"[0-9]{1,9}", str(value)) or not 0 < int(value) <= m.MAX_QUOTA:
            self.fail(f"{value!r} is neither a number from 1 to {m.MAX_QUOTA}, nor default", param, ctx)
        return int(value)


@click.command()
@json_option("Print JSON, one object per line.")
@state_option
@shared
@click.pass_context
def accounts(ctx: click.Context) -> int:
    """List the accounts: when each was last seen, what is waiting for it, and how full its fullest mailbox is."""

    async def work(operator: AdminClient) -> None:
        width = columns()
        is_narrow = 0 < width < WIDE
        name_columns = NARROW_NAME if is_narrow else NAME_COLUMNS
        time_columns = len(shown_time(0, width))
        if not settings_of(ctx).as_json:
            waiting = "" if is_narrow else f"  {'devices':>7}  {'messages':>8}  {'bytes':>12}"
            write_line(f"{'name':<{name_columns}}  {'last seen':<{time_columns}}{waiting}  {'full':>4}")
        async for row in all_accounts(operator):
            waiting = "" if is_narrow else f"  {row.devices:>7}  {row.messages:>8}  {row.size:>12}"
            text = (
                f"{escape(row.name):<{name_columns}}  {_seen(row.last_seen, row.online > 0):<{time_columns}}{waiting}"
                f"  {row.used:>3}%{'  suspended' * row.suspended}"
            )
            write_record(_record(row), settings_of(ctx).as_json, text, verbatim=True)

    return operate(ctx, work)


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def account(ctx: click.Context, name: str) -> int:
    """Show an account: its devices, when each was last seen, what is waiting for it, and its quota."""

    async def work(operator: AdminClient) -> None:
        found = await ask(operator, m.GetDetails(0, name), m.Details, name)
        row = found.account
        quota = f"{found.quota_messages} messages and {found.quota_size} bytes"
        record = {
            **_record(row),
            "quota_messages": found.quota_messages,
            "quota_bytes": found.quota_size,
            "quota_is_default": found.is_default,
            "device_list": [
                {
                    "id": device.device.hex(),
                    "last_seen": _iso(device.last_seen),
                    "online": device.online,
                    "messages": device.messages,
                    "bytes": device.size,
                }
                for device in found.devices
            ],
        }
        lines = [
            f"{escape(row.name)}: joined {shown_time(row.created_at, columns())}{', suspended' * row.suspended}",
            f"waiting: {amount(row.messages, 'message')}, {amount(row.size, 'byte')}",
            f"quota of each device: {quota}{'' if found.is_default else ', set for this account'}; {row.used}% is used",
            *(
                f"device {device.device.hex()[:DEVICE_DIGITS]}: {_seen(device.last_seen, device.online, 'last seen ')};"
                f" {amount(device.messages, 'message')}, {amount(device.size, 'byte')} waiting"
                for device in found.devices
            ),
        ]
        write_record(record, settings_of(ctx).as_json, "\n".join(lines))

    return operate(ctx, work)


def _change(ctx: click.Context, message: m.Message, name: str, status: str, text: str) -> Work:
    """Have something done with an account, and say that it was."""

    async def work(operator: AdminClient) -> None:
        await ask(operator, message, m.Done, name)
        if settings_of(ctx).as_json:
            write_line(json_line({"name": name, "status": status}))
        else:
            say(text)

    return work


async def all_accounts(operator: AdminClient) -> AsyncIterator[m.AccountRow]:
    """All accounts, page by page."""
    after, more = "", True
    while more:
        page = await ask(operator, m.ListAccounts(0, after), m.Accounts)
        for row in page.rows:
            after = row.name
            yield row
        more = page.more and bool(page.rows)


def _record(row: m.AccountRow) -> dict[str, object]:
    return {
        "name": row.name,
        "created_at": iso(row.created_at),
        "last_seen": _iso(row.last_seen),
        "online_devices": row.online,
        "devices": row.devices,
        "messages": row.messages,
        "bytes": row.size,
        "quota_used_percent": row.used,
        "suspended": row.suspended,
    }


def _contents(what: m.AccountRow | m.Removed) -> str:
    devices, messages = amount(what.devices, "device"), amount(what.messages, "waiting message")
    return f"{devices} and {messages} ({amount(what.size, 'byte')})"


def _iso(seconds: int) -> str | None:
    return iso(seconds) if seconds else None


def _seen(seconds: int, online: bool, before: str = "") -> str:
    """When somebody was seen, in words."""
    if online:
        return "online"
    return before + shown_time(seconds, columns()) if seconds else "never seen"


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def suspend(ctx: click.Context, name: str, yes: bool) -> int:
    """
    Keep an account from logging in, until it is resumed. You are asked first.

    Its connections end, and its clients say why. What is sent to it is kept, as for anybody who is away; the invites that it
    has made stay good unless you revoke them.
    """
    if not yes:
        confirm(f"Suspend {name}, and end its connections?")
    return operate(ctx, _change(ctx, m.SetSuspended(0, name, True), name, "suspended", f"{name} was suspended"))


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def resume(ctx: click.Context, name: str) -> int:
    """Let a suspended account log in again."""
    return operate(ctx, _change(ctx, m.SetSuspended(0, name, False), name, "resumed", f"{name} may log in again"))


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def kick(ctx: click.Context, name: str) -> int:
    """End the connections of an account; its clients will connect again."""
    return operate(ctx, _change(ctx, m.Kick(0, name), name, "kicked", f"the connections of {name} were ended"))


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.argument("messages", type=QuotaType(), required=False, metavar="[MESSAGES|default]")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def quota(ctx: click.Context, name: str, messages: int | None) -> int:
    """
    Show or set how many messages may wait for each device of an account.

    Beyond that, senders are told that the mailbox is full, and try again later; messages that wait already stay.
    """

    async def work(operator: AdminClient) -> None:
        if messages is not None:
            await ask(operator, m.SetQuota(0, name, messages), m.Done, name)
        found = await ask(operator, m.GetDetails(0, name), m.Details, name)
        record: dict[str, object] = {
            "name": name,
            "quota_messages": found.quota_messages,
            "quota_is_default": found.is_default,
            "quota_used_percent": found.account.used,
        }
        text = f"{found.quota_messages} messages for each device of {name}{' (default)' * found.is_default}"
        write_record(record, settings_of(ctx).as_json, text)

    return operate(ctx, work)


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def remove(ctx: click.Context, name: str, yes: bool) -> int:
    """
    Delete an account, its devices, and the messages waiting for it. You are asked first.

    The name is free again then: a person who has lost their only device can join anew with an invite.
    """
    if name == SERVER_NAME:
        raise refused(m.RemoveAccount, "forbidden")
    if not yes:
        confirm(f"Delete {name}, with all devices and waiting messages?")

    async def work(operator: AdminClient) -> None:
        gone = await ask(operator, m.RemoveAccount(0, name), m.Removed, name)
        if settings_of(ctx).as_json:
            record = {"name": name, "status": "removed", "devices": gone.devices, "messages": gone.messages, "bytes": gone.size}
            write_line(json_line(record))
        else:
            say(f"{name} was removed, with {_contents(gone)}")

    return operate(ctx, work)


@click.command()
@click.option(
    "--older-than",
    type=Duration(DAY, 100 * YEAR),
    required=True,
    metavar="TIME",
    help="Only accounts not seen for this long, such as 180d.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option("Print JSON, one object per line.")
@state_option
@shared
@click.pass_context
def purge(ctx: click.Context, older_than: int, dry_run: bool, yes: bool) -> int:
    """
    Remove the accounts that nobody has used for a long time. They are listed, and you are asked first.

    An account that logs in meanwhile is kept. The names are free again then.
    """
    as_json, since = settings_of(ctx).as_json, int(time.time()) - older_than

    async def work(operator: AdminClient) -> None:
        found = [
            row
            async for row in all_accounts(operator)
            if row.name != SERVER_NAME and not row.online and max(row.last_seen, row.created_at) < since
        ]
        for row in found if dry_run or not as_json else ():
            text = f"{escape(row.name)}: {_seen(row.last_seen, False, 'last seen ')}; {_contents(row)}"
            write_record({**_record(row), "status": "would-remove"}, as_json, text)
        if not found and not as_json:
            say("every account was seen more recently than that")
        if dry_run or not found:
            return
        if not yes:
            confirm(f"Delete {amount(len(found), 'account')}, with all devices and waiting messages?")
        removed = 0
        with progress("removing accounts", len(found), is_active=not as_json) as step:
            for row in found:
                try:
                    gone = await ask(operator, m.RemoveAccount(0, row.name, since), m.Removed, row.name)
                except SecuremsgError as problem:
                    if problem.code not in ("account-active", "no-such-account"):
                        raise
                    continue
                finally:
                    step(1)
                removed += 1
                if as_json:
                    record = {"devices": gone.devices, "messages": gone.messages, "bytes": gone.size, "status": "removed"}
                    write_line(json_line({**_record(row), **record}))
        if not as_json:
            say(f"{amount(removed, 'account')} removed")

    return operate(ctx, work, is_limited=False)


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
