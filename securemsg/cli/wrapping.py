"""
Wraps what people read to the width of their terminal: messages, so that no line of one can be mistaken for one of ours, and
what we say ourselves. Characters that show as one, such as a flag or a family, stay together (UAX 29).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from securemsg.client.escape import EMOJI_STYLE, escape

# Narrower than this, wrapping helps nobody.
MIN_COLUMNS = 20
# Before every further line of a message: ours begin with a bracket or a word, never with this.
INDENT = "    | "
# Before every further line of ours.
HANGING = "   "
# Ends a line that is cut.
DOTS = "..."
# Characters whose width is remembered: more than most scripts have.
WIDTHS_KEPT = 4096
# What shares its columns: a character and the style after it.
_PART = re.compile(f".{EMOJI_STYLE}?", re.DOTALL)
# Characters that show as one are kept together if they fit any row; a peer can make them as long as they like.
_MAX_TOGETHER = MIN_COLUMNS - len(INDENT)
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
        rows += _wrap(prefix if number == 0 else INDENT, escape(line), columns, INDENT)
    return "\n".join(rows)


def fill(text: str, columns: int, first: str = "", rest: str = HANGING) -> str:
    """
    A line of ours, broken between words and never within an option such as C{--set-suite}, so that it can be copied.

    @param columns: as in L{block}.
    @param first: begins the first row; C{rest}: each further one.
    """
    *rows, last = _wrap(first, text, columns, rest)
    return "\n".join([*(row.rstrip() for row in rows), last])


def fill_all(text: str, columns: int) -> str:
    """Lines of ours; further rows of one are indented a little more than it is."""
    return "\n".join(fill(line, columns, rest=_margin(line)[: columns // 2] + HANGING) for line in text.split("\n"))


def _margin(line: str) -> str:
    """The spaces that a line begins with."""
    return " " * (len(line) - len(line.lstrip(" ")))


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
    for unit in _units(line):
        used += width_of(unit)
        if used > columns:
            break
        shown += unit
    return shown


def _wrap(head: str, line: str, columns: int, indent: str) -> list[str]:
    """Break a line between words, or within one that is longer than a row; what follows is indented."""
    if columns < MIN_COLUMNS:
        return [head + line]
    rows: list[str] = []
    units, begin = _units(head), 0
    word = len(units)
    units += _units(line)
    widths = [width_of(unit) for unit in units]
    while True:
        before = indent if begin else ""
        end = _end_of_row(units, widths, begin, word, columns - len(before), columns - len(indent))
        rows.append(before + "".join(units[begin:end]))
        if end == len(units):
            return rows
        # The space at which a row ends stands for the break.
        begin = word = end + (units[end] == " ")


def _end_of_row(units: list[str], widths: list[int], begin: int, word: int, columns: int, columns_next: int) -> int:
    """
    Where a row ends that begins here.

    @param word: where its first word begins. It moves to the next row only if it fits there.
    """
    used, space = 0, -1
    for number in range(begin, len(units)):
        used += widths[number]
        if used > columns:
            if units[number] == " ":
                return number
            moves = space > word or (space > begin and _fits(units, widths, space + 1, columns_next))
            return space if moves else max(number, begin + 1)
        if units[number] == " ":
            space = number
    return len(units)


def _fits(units: list[str], widths: list[int], begin: int, columns: int) -> bool:
    """Whether the word that begins here fits a row."""
    for number in range(begin, len(units)):
        if units[number] == " ":
            break
        columns -= widths[number]
        if columns < 0:
            return False
    return True


def _units(line: str) -> list[str]:
    """What stays in one row."""
    if line.isascii():
        return list(line)
    # Only what is shown at a terminal, and is not ASCII, needs it.
    from wcwidth import iter_graphemes

    units: list[str] = []
    for shown in iter_graphemes(line):
        units += [shown] if width_of(shown) <= _MAX_TOGETHER else _PART.findall(shown)
    return units


def width_of(line: str) -> int:
    """
    The most columns that a terminal takes for a line. Added up, it is never less than any terminal takes; the style makes an
    emoji of two columns.
    """
    if line.isascii():
        return len(line)
    total = 0
    for part in _PART.findall(line):
        width = _width(part[0])
        total += 2 if width and part.endswith(EMOJI_STYLE) else width
    return total


@lru_cache(WIDTHS_KEPT)
def _width(character: str) -> int:
    """The most columns that a terminal takes for a character; to wcwidth no spacing mark has any."""
    # Only what is shown at a terminal has a width.
    from wcwidth import wcwidth

    if character in _WIDE:
        return 2
    return max(wcwidth(character), 1 if unicodedata.category(character) == "Mc" else 0)
