"""C{securemsg history}: print earlier messages."""

from __future__ import annotations

import click

from securemsg.account.errors import Exit
from securemsg.account.names import aliases, found_conversation
from securemsg.cli.lobby import announce_lobby
from securemsg.cli.output import columns, json_line
from securemsg.cli.pager import is_terminal, write_lines
from securemsg.cli.profiles import opened
from securemsg.cli.progress import progress
from securemsg.cli.rendering import line_record, line_text
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.cli.times import since_option
from securemsg.client import histories

MAX_LINES = 1_000_000


@click.command()
@click.argument("name", type=PEER, metavar="NAME")
@click.option("--limit", type=click.IntRange(1, MAX_LINES), default=MAX_LINES, metavar="N", help="Only the last N messages.")
@since_option
@click.option("--no-pager", is_flag=True, help="At a terminal, do not use $PAGER or less for what is longer than the screen.")
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def history(ctx: click.Context, name: str, limit: int, since: int, no_pager: bool) -> int:
    """Print the messages to and from NAME, or in a room such as '#team' or '#lobby'; marks nothing as read."""
    with opened(settings_of(ctx)) as context:
        conversation = found_conversation(context.store, name)
        announce_lobby(context, conversation.name)
        as_json, own = context.settings.as_json, context.profile.name
        width, known = columns(), aliases(context.store)
        with progress("reading", histories.count(context.store, [conversation])) as step:
            after = histories.start(context.store, conversation, limit, since, step)
        lines = (
            json_line(line_record(line, own)) if as_json else line_text(line, own, width, aliases=known)
            for page in histories.forward(context.store, conversation, after, since)
            for line in page
        )
        write_lines(lines, paged=not as_json and not no_pager and is_terminal())
    return Exit.DONE
