"""C{securemsg search}: find messages by their words."""

from __future__ import annotations

import click

from securemsg.account.errors import Exit
from securemsg.account.names import aliases, found_conversation
from securemsg.cli.output import columns, say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.progress import progress
from securemsg.cli.rendering import conversation_record, conversation_text
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.cli.times import since_option
from securemsg.client import histories

# Messages that are shown, if the user does not say how many, and the most that may be asked for: they are kept in memory.
DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
# Nothing was found: as grep has it.
NOT_FOUND = 1


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@click.option("--with", "name", type=PEER, metavar="NAME", help="Only messages to and from NAME, or in a room such as '#team'.")
@since_option
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help="Only the newest N messages.",
)
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def search(ctx: click.Context, words: tuple[str, ...], name: str | None, since: int, limit: int) -> int:
    """
    Print the messages in which all WORDS occur, in upper or lower case, also as a part of a longer word. Marks nothing as read.

    Several words in quotes are looked for as they stand. Ends with status 1 if nothing was found.
    """
    if not all(word.strip() for word in words):
        raise click.UsageError("a word to search for is empty")
    with opened(settings_of(ctx)) as context:
        store, as_json, own = context.store, context.settings.as_json, context.profile.name
        width, known = columns(), aliases(store)
        among = histories.conversations(store) if name is None else [found_conversation(context.store, name)]
        with progress("searching", histories.count(store, among)) as step:
            found = histories.search(store, among, words, limit, since, step)
        for line in found.lines:
            write_record(conversation_record(line, own), as_json, conversation_text(line, own, width, known))
        if found.has_more and not as_json:
            say(f"securemsg: these are the newest {limit}; --limit N shows more, --since and --with narrow the search")
    return Exit.DONE if found.lines else NOT_FOUND
