"""C{securemsg export}: write whole histories, for other programs or for keeping."""

from __future__ import annotations

import os

import click

from securemsg.account.errors import Exit
from securemsg.account.names import found_conversation
from securemsg.cli.output import STDOUT, json_line, write_line
from securemsg.cli.profiles import opened
from securemsg.cli.progress import progress
from securemsg.cli.rendering import conversation_record, line_text
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.client import histories
from securemsg.client.escape import escape

JSONL, TEXT = "jsonl", "text"


@click.command()
@click.argument("name", type=PEER, required=False, metavar="[NAME]")
@click.option(
    "--format",
    "layout",
    type=click.Choice([JSONL, TEXT]),
    default=JSONL,
    show_default=True,
    help="JSON, one object per line, or text.",
)
@json_option("Report errors as JSON.")
@shared
@click.pass_context
def export(ctx: click.Context, name: str | None, layout: str) -> int:
    """
    Write the whole history of all conversations, or of the one with NAME or in a room such as '#team', to standard output: each
    conversation from its first message to its last. Marks nothing as read.

    Whoever can read the output can read the messages: umask 077; securemsg export > FILE
    """
    with opened(settings_of(ctx)) as context:
        store, own = context.store, context.profile.name
        among = histories.conversations(store) if name is None else [found_conversation(context.store, name)]
        # Where the output itself goes to the terminal, it shows the progress.
        with progress("exporting", histories.count(store, among), is_active=not os.isatty(STDOUT)) as step:
            for conversation in among:
                if layout == TEXT:
                    write_line(f"-- {escape(conversation.name)}")
                for page in histories.forward(store, conversation):
                    for line in page:
                        write_line(json_line(conversation_record(line, own)) if layout == JSONL else line_text(line, own))
                    step(len(page))
    return Exit.DONE
