"""C{securemsg admin}: what the operator does, through the daemon's control socket. The daemon must run."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.cli.adminclient import AdminClient
from securemsg.cli.commands.send import given_text
from securemsg.cli.helptext import Group
from securemsg.cli.output import columns, json_line, say, write_line, write_record
from securemsg.cli.run import run
from securemsg.cli.settings import DEFAULT_TIMEOUT, NAME, json_option, settings_of, shared, state_option
from securemsg.cli.times import Duration, shown_time
from securemsg.client.escape import escape
from securemsg.client.state.conversations import is_guest
from securemsg.client.times import iso
from securemsg.crypto.keys import fingerprint
from securemsg.net.control import BadSocketPath, check_socket_path
from securemsg.net.dialer import dial_unix
from securemsg.net.turn import Turn
from securemsg.protocol import messages as m
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.invite import InviteLink

SOCKET = "control"
DAY = 86400
MAX_USES = 10_000
NOT_HERE = "no guest with this key file is connected at the moment"
WHEN_HERE = "replies go to the connection that wrote last, while it lasts; wait until the guest writes again"

T = TypeVar("T", bound=m.Message)
Work = Callable[[AdminClient], Coroutine[Any, Any, None]]


@click.group(cls=Group)
@state_option
@json_option("Print JSON.")
@shared
def admin() -> None:
    """Manage the daemon on this machine: invites, accounts, its address, replies from the contact `server`."""


@admin.command()
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
        address = await _ask(operator, m.GetAddress(0), m.Address)
        try:
            invited = await _ask(operator, m.Invite(0, uses, expires), m.Invited)
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

    return _operate(ctx, work)


@admin.command()
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def address(ctx: click.Context) -> int:
    """Print the address of the server and the fingerprint of its identity."""

    async def work(operator: AdminClient) -> None:
        found = await _ask(operator, m.GetAddress(0), m.Address)
        record: dict[str, object] = {
            "host": found.host,
            "port": found.port,
            "pin": fingerprint(found.pin),
            "udp_port": found.udp_port,
            "address": str(InviteLink(found.host, found.port, found.pin, b"", found.contact, udp_port=found.udp_port)),
        }
        write_record(record, settings_of(ctx).as_json, str(record["address"]), verbatim=True)

    return _operate(ctx, work)


@admin.command()
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
            page = await _ask(operator, m.ListAccounts(0, after), m.Accounts)
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

    return _operate(ctx, work)


@admin.command()
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
        await _ask(operator, m.RemoveAccount(0, name), m.Done, name)
        if settings_of(ctx).as_json:
            write_line(json_line({"name": name, "status": "removed"}))
        else:
            say(f"{name} was removed")

    return _operate(ctx, work)


@admin.command()
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
        await _ask(operator, m.Reply(0, name, body), m.Done, name)
        if settings_of(ctx).as_json:
            # The contact has committed it, under an id of its own.
            write_line(json_line({"to": name, "status": "queued"}))

    return _operate(ctx, work)


def _operate(ctx: click.Context, work: Work) -> int:
    """
    Connect to the control socket, ask, hang up.

    @raise SecuremsgError: nobody answers there, or we may not ask.
    """
    settings = settings_of(ctx)
    path = settings.state_folder / SOCKET
    _check(path)

    async def whole(reactor: Any) -> int:
        operator = AdminClient(str(path.parent))
        dialer = dial_unix(reactor, path, operator, turn=Turn(reactor), failed=operator.failed)
        reactor.addSystemEventTrigger("before", "shutdown", dialer.stop)
        dialer.start()
        timeout = DEFAULT_TIMEOUT if settings.timeout is None else settings.timeout
        limit = reactor.callLater(timeout, operator.closed, "timeout")
        try:
            await work(operator)
        finally:
            if limit.active():
                limit.cancel()
        return Exit.DONE

    return run(whole, debug=settings.debug, as_json=settings.as_json)


def _check(path: Path) -> None:
    """
    See what can be seen before connecting.

    @raise SecuremsgError: the path is too long, there is no socket, or it is not for us.
    """
    try:
        check_socket_path(path)
    except BadSocketPath:
        raise error_for("path-too-long", str(path)) from None
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except PermissionError:
        raise error_for("no-permission", str(path.parent)) from None
    except OSError:
        is_socket = False
    if not is_socket:
        raise error_for("no-daemon", str(path.parent))
    if not os.access(path, os.W_OK):
        raise error_for("no-permission", str(path))


async def _ask(operator: AdminClient, question: m.Message, kind: type[T], about: str = "") -> T:
    """
    Ask, and see that the answer is of its kind.

    @param about: whom a refusal is about.
    @raise SecuremsgError: it was refused.
    """
    asked: Deferred[m.Message] = operator.ask(question)
    try:
        answer = await asked
    except SecuremsgError as problem:
        if about and problem.code == "no-such-account":
            if is_guest(about):
                raise error_for(problem.code, about, text=NOT_HERE, hint=WHEN_HERE) from None
            raise error_for(problem.code, about, hint="see: securemsg admin accounts") from None
        raise
    if not isinstance(answer, kind):
        raise error_for("out-of-turn", text="the daemon gave an unexpected answer", status=Exit.NOT_CONNECTED)
    return answer
