"""C{securemsg help}: the help of a command, or the commands whose help has a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from click.shell_completion import CompletionItem

from securemsg.account.errors import Exit
from securemsg.cli.output import columns, json_line, write_line
from securemsg.cli.settings import json_option, settings_of, shared

HELP = "--help"
# Characters of a command's summary in a list, and of a line that is not wrapped.
SUMMARY, UNWRAPPED = 200, 1000


def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The commands, for the first word."""
    if ctx.params.get("words"):
        return []
    return [item for item in ctx.find_root().command.shell_complete(ctx.find_root(), incomplete) if item.value[:1] != "-"]


@click.command()
@click.argument("words", nargs=-1, metavar="[COMMAND | WORD...]", shell_complete=complete)
@json_option("Print JSON, one object per command that has the words.")
@shared
@click.pass_context
def help(ctx: click.Context, words: tuple[str, ...]) -> int:  # noqa: A001 - what users type
    """
    Print the help of COMMAND, such as `send` or `room invite`; for any other WORD, list the commands whose help has it.
    """
    root = ctx.find_root()
    if _show(root, words):
        return Exit.DONE
    rows = [(" ".join(path), command.get_short_help_str(SUMMARY)) for path, command in _search(root, words)]
    if settings_of(ctx).as_json:
        for name, summary in rows:
            write_line(json_line({"command": name, "help": summary}))
    else:
        # As click lists commands; a pipe gets each in one line.
        formatter = click.HelpFormatter(width=columns() or UNWRAPPED)
        formatter.write_dl(rows)
        write_line(formatter.getvalue().rstrip("\n"))
    return Exit.DONE


def commands_below(root: click.Context) -> Iterator[tuple[Sequence[str], click.Command]]:
    """All commands with what is typed for them, in the order of the help; each group before its own."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), root.command)]
    while waiting:
        path, command = waiting.pop(0)
        if path:
            yield path, command
        if isinstance(command, click.Group):
            inner = [((*path, name), command.get_command(root, name)) for name in command.list_commands(root)]
            waiting[:0] = [(words, each) for words, each in inner if each is not None]


def _show(root: click.Context, words: Sequence[str]) -> bool:
    """Show the help of a command; C{False}: it is none."""
    context = root
    for word in words:
        command = context.command.get_command(context, word) if isinstance(context.command, click.Group) else None
        if command is None:
            return False
        context = click.Context(command, context, word)
    if "serve" in words:
        # Its help is the daemon's.
        with context.command.make_context("serve", [HELP], root) as serving:
            context.command.invoke(serving)
    write_line(context.get_help())
    return True


def _search(root: click.Context, words: Sequence[str]) -> list[tuple[Sequence[str], click.Command]]:
    """
    The commands whose help has all the words.

    @raise click.NoSuchCommand: there is none.
    """
    wanted = [word.lower() for word in words]
    found = [(path, command) for path, command in commands_below(root) if all(word in _text(command) for word in wanted)]
    if not found:
        known = [" ".join(path) for path, _ in commands_below(root)]
        raise click.NoSuchCommand(" ".join(words), f"no command and no help has {' '.join(words)!r}.", known, root)
    return found


def _text(command: click.Command) -> str:
    """What a search looks through: name, help and options."""
    options = [f"{' '.join(each.opts)} {each.help or ''}" for each in command.params if isinstance(each, click.Option)]
    return " ".join([command.name or "", command.help or "", *options]).lower()
