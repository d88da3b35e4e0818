"""Wraps and indents messages, so that no line of a message can be mistaken for one of ours."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from functools import lru_cache

from securemsg.client.escape import EMOJI_STYLE, escape

# Narrower than this, wrapping helps nobody.
MIN_COLUMNS = 20
# Before every further line of a message: ours begin with a bracket or a word, never with this.
INDENT = "    | "
# Ends a line that is cut.
DOTS = "..."
# Characters whose width is remembered: more than most scripts have.
WIDTHS_KEPT = 4096
# What shares its columns, and stays in one row: a character and the style after it.
_UNIT = re.compile(f".{EMOJI_STYLE}?")
# Two columns in the terminals that go by glibc, and fewer for wcwidth: four spacing marks, and numbers in black squares.
_WIDE = frozenset("\u302e\u302f\U00016ff0\U00016ff1\u3248\u3249\u324a\u324b\u324c\u324d\u324e\u324f")


def block(prefix: str, text: str, columns: int = 0) -> str:
    """
    A message after its prefix; further lines, and what does not fit the terminal, are indented.

    @param prefix: ours; of names that were checked.
    @param columns: the width of the terminal; 0: not a terminal, nothing is wrapped.
    """
    rows: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        rows += _wrap(prefix if number == 0 else INDENT, escape(line), columns)
    return "\n".join(rows)


def fill(text: str, columns: int, first: str = "", rest: str = "") -> str:
    """
    Words of ours, broken between words and never within an option such as C{--set-suite}, so that it can be copied.

    @param columns: as in L{block}.
    @param first: begins the first row; C{rest}: each further one.
    """
    if columns < MIN_COLUMNS:
        return first + text
    return textwrap.fill(text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def cut(line: str, columns: int) -> str:
    """
    A line that fits; if it does not, its beginning and three dots.

    @param line: escaped.
    """
    shown = _first(line, columns)
    return line if shown == line else _first(line, columns - len(DOTS)) + DOTS


def _first(line: str, columns: int) -> str:
    """As much of a line as fits."""
    shown, used = "", 0
    for unit in _UNIT.findall(line):
        used += _unit_width(unit)
        if used > columns:
            break
        shown += unit
    return shown


def _wrap(head: str, line: str, columns: int) -> list[str]:
    """Break a line between words, or within one that is longer than a row; what follows is indented."""
    if columns < MIN_COLUMNS:
        return [head + line]
    rows: list[str] = []
    units, begin = _UNIT.findall(head + line), 0
    # Before the first word there is no break.
    word = len(_UNIT.findall(head))
    while True:
        indent = INDENT if begin else ""
        end = _end_of_row(units, begin, word, columns - len(indent))
        rows.append(indent + "".join(units[begin:end]))
        if end == len(units):
            return rows
        # The space at which a row ends stands for the break.
        begin = word = end + (units[end] == " ")


def _end_of_row(units: list[str], begin: int, word: int, columns: int) -> int:
    """
    Where a row ends that begins here.

    @param word: where its first word begins.
    """
    used, space = 0, -1
    for number in range(begin, len(units)):
        used += _unit_width(units[number])
        if used > columns:
            return space if space > word and units[number] != " " else number
        if units[number] == " ":
            space = number
    return len(units)


def width_of(line: str) -> int:
    """The most columns that a terminal takes for a line."""
    return sum(map(_unit_width, _UNIT.findall(line)))


def _unit_width(unit: str) -> int:
    """Added up, it is never less than any terminal takes; the style makes an emoji of two columns."""
    width = _width(unit[0])
    return 2 if width and unit.endswith(EMOJI_STYLE) else width


@lru_cache(WIDTHS_KEPT)
def _width(character: str) -> int:
    """The most columns that a terminal takes for a character; to wcwidth no spacing mark has any."""
    # Only what is shown at a terminal has a width.
    from wcwidth import wcwidth

    if character in _WIDE:
        return 2
    return max(wcwidth(character), 1 if unicodedata.category(character) == "Mc" else 0)
