"""C{securemsg history}: print earlier messages."""

from __future__ import annotations

import click

from securemsg.account.errors import Exit, error_for
from securemsg.account.names import aliases, full_name
from securemsg.account.rooms import is_room
from securemsg.cli.commands.contacts import find_contact
from securemsg.cli.lobby import announce_lobby
from securemsg.cli.output import columns, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import line_record, line_text
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.client import messages

MAX_LINES = 1_000_000


@click.command()
@click.argument("name", type=PEER, metavar="NAME")
@click.option("--limit", type=click.IntRange(1, MAX_LINES), default=MAX_LINES, metavar="N", help="Only the last N messages.")
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def history(ctx: click.Context, name: str, limit: int) -> int:
    """Print the messages to and from NAME, or in a room such as '#team' or '#lobby'; marks nothing as read."""
    with opened(settings_of(ctx)) as context:
        name = full_name(context.store, name)
        lines = messages.history(context.store, name, limit)
        announce_lobby(context, name)
        if not lines and not is_room(name) and find_contact(context.store, context.profile.conversation(name).account) is None:
            raise error_for("no-such-account", name)
        width, known = columns(), aliases(context.store)
        for line in lines:
            own = context.profile.name
            write_record(line_record(line, own), context.settings.as_json, line_text(line, own, width, known))
    return Exit.DONE
