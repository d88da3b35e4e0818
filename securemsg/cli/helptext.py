"""How C{--help} is laid out: as click does it, and wrapped to narrow terminals, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import click

from securemsg.cli.output import columns
from securemsg.cli.wrapping import MIN_COLUMNS, fill_all

# Wider than this is hard to read.
MAX_WIDTH = 80
# Beside the text there are so many empty columns.
MARGIN = 2
# Where a row is narrower than this, the terms of a list get fewer columns.
NARROW = 70
NARROW_TERM = 8
# Not cut: the first sentence of a command's help.
SUMMARY = 1000
# Stands for a hyphen while rows are broken, so that no option is.
_NO_BREAK = "\u2011"


class Formatter(click.HelpFormatter):
    """Click's, which takes no terminal to be narrower than 50 columns, and breaks options at their hyphens."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        if width is None:
            width = max(min(shutil.get_terminal_size().columns, max_width or MAX_WIDTH) - MARGIN, MIN_COLUMNS)
        super().__init__(indent_increment, width, max_width)

    def write_text(self, text: str) -> None:
        """Write a text, wrapped."""
        super().write_text(text.replace("-", _NO_BREAK))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of terms and what they mean."""
        kept = [(term, text.replace("-", _NO_BREAK)) for term, text in rows]
        super().write_dl(kept, col_max if self.width >= NARROW else NARROW_TERM, col_spacing)

    def getvalue(self) -> str:
        """All that was written; tables as well are wrapped at a terminal."""
        return fill_all(super().getvalue().replace(_NO_BREAK, "-"), columns())


class Group(click.Group):
    """A group that lists its commands with the whole first sentence of their help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(SUMMARY)) for name, each in self.commands.items()])
