"""Wraps and indents messages, so that no line of a message can be mistaken for one of ours."""

from __future__ import annotations

import re
import unicodedata

from wcwidth import wcwidth

from securemsg.client.escape import EMOJI_STYLE, escape

# Narrower than this, wrapping helps nobody.
MIN_COLUMNS = 20
# Before every further line of a message: ours begin with a bracket or a word, never with this.
INDENT = "    | "
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
        rows += _wrap((prefix if number == 0 else INDENT) + escape(line), columns)
    return "\n".join(rows)


def _wrap(line: str, columns: int) -> list[str]:
    """Cut a line where the terminal would, so that what follows is indented, too."""
    if columns < MIN_COLUMNS:
        return [line]
    rows: list[str] = []
    row, used = "", 0
    for unit in _UNIT.findall(line):
        # Added up, so that it is never less than any terminal takes; the style makes an emoji of two columns.
        width = _width(unit[0])
        if width and unit.endswith(EMOJI_STYLE):
            width = 2
        if used + width > columns:
            rows.append(row)
            row, used = INDENT, len(INDENT)
        row += unit
        used += width
    return [*rows, row]


def _width(character: str) -> int:
    """The most columns that a terminal takes for a character; to wcwidth no spacing mark has any."""
    if character in _WIDE:
        return 2
    return max(wcwidth(character), 1 if unicodedata.category(character) == "Mc" else 0)
