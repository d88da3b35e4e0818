"""C{securemsg lobby}: who is in it, and how to leave it. C{chat}, C{send} and C{recv --from} enter it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.lobby import wait_until_in
from securemsg.account.tracking import ACCEPTED, follow
from securemsg.cli.context import CommandContext
from securemsg.cli.output import say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.lobby import leave, refresh, state_of
from securemsg.client.state.lobby import Presence
from securemsg.protocol.devices import LOBBY_NAME

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

MEMBERS, LEAVE = "members", "leave"


@click.command()
@click.argument("action", type=click.Choice([MEMBERS, LEAVE]), default=MEMBERS, metavar="[members | leave]")
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def lobby(ctx: click.Context, action: str) -> int:
    """
    List who is in '#lobby', as the server says, or leave it. After that you receive nothing from it.

    Enter it with: securemsg chat '#lobby'. The server's operator can read what is said there.
    """
    with opened(settings_of(ctx)) as context:
        if action == LEAVE:
            return _leave(context)
        if state_of(context.store).presence is Presence.OUT:
            raise error_for("not-in-lobby")
        status = context.run_connected(partial(_refresh, context))
        for name in state_of(context.store).members:
            write_record({"room": LOBBY_NAME, "name": name}, context.settings.as_json, escape(name))
        return status


def _leave(context: CommandContext) -> int:
    number = leave(context.store, context.now())
    if number is None:
        say(f"you are not in {LOBBY_NAME}")
        return Exit.DONE

    async def wait(reactor: Any, connection: AccountConnection) -> int:
        await follow(context.store, connection, number, ACCEPTED, context.settings.time_limit)
        return Exit.DONE

    try:
        status = context.run_connected(wait)
    except SecuremsgError as problem:
        sent = messages.sent(context.store, number)
        if sent is not None and sent.status == "queued":
            problem.hint = "the server is told with the next connection" + (f"; {problem.hint}" if problem.hint else "")
        raise
    say(f"you have left {LOBBY_NAME}")
    return status


async def _refresh(context: CommandContext, reactor: Any, connection: AccountConnection) -> int:
    """Ask who is in it: what is known here may be old. What waits on the server may be the answer to an older question."""
    await connection.ask("drained", timeout=context.settings.time_limit)
    refresh(context.store, context.now())
    connection.nudge()
    await wait_until_in(context.store, connection, context.settings.time_limit)
    code = state_of(context.store).code
    if code:
        raise error_for(code)
    return Exit.DONE
