"""C{securemsg completion}: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import click

from securemsg.account.errors import Exit
from securemsg.cli.completion import INSTALL, script
from securemsg.cli.output import write_record
from securemsg.cli.settings import json_option, settings_of, shared


@click.command()
@click.argument("shell", type=click.Choice(list(INSTALL)), metavar="SHELL")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """
    Print the script with which SHELL (bash, zsh or fish) completes commands, options, files, and names of contacts and rooms.

    Its first lines say which file it goes into. Names are completed from profiles that have no passphrase.
    """
    text = script(shell, ctx.find_root().command)
    write_record({"shell": shell, "script": text}, settings_of(ctx).as_json, text, verbatim=True)
    return Exit.DONE
