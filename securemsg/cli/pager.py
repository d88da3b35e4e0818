"""Prints what may be long: at a terminal through a pager, as soon as it does not fit on the screen."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from itertools import chain

import click

from securemsg.cli.output import STDOUT, write_line

# For `less`, where the user has not chosen: end at once if one screen is enough, show colours, leave the text on the screen.
LESS = "FRX"
# What is looked for in messages is not to lie in the clear in a file.
NO_FILE = "-"


def is_terminal() -> bool:
    """Whether somebody reads at a terminal, and can turn pages there."""
    return os.isatty(STDOUT) and sys.stdin.isatty()


def write_lines(lines: Iterable[str], *, paged: bool) -> None:
    """
    Write lines, none of which is kept.

    @param lines: escaped already, and wrapped to the width of the terminal.
    @param paged: through C{$PAGER}, or C{less}, if they do not fit on the screen.
    @raise OutputClosed: nobody reads them.
    @raise SecuremsgError: they cannot be written.
    """
    waiting = iter(lines)
    first: list[str] = []
    rows, height = 0, shutil.get_terminal_size().lines
    for line in waiting:
        if not paged:
            write_line(line)
            continue
        first.append(line)
        rows += line.count("\n") + 1
        if rows >= height:
            os.environ.setdefault("LESS", LESS)
            os.environ.setdefault("LESSHISTFILE", NO_FILE)
            # Click ends the last line.
            click.echo_via_pager(chain(["\n".join(first)], (f"\n{line}" for line in waiting)))
            return
    for line in first:
        write_line(line)
