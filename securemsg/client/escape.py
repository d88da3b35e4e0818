"""
Text of other people, made harmless for a terminal.

What a peer wrote may hold escape sequences, controls that move the cursor, marks that turn the direction of writing, and
characters that nobody sees. Here each of them becomes a visible C{\\xNN}, C{\\uNNNN} or C{\\UNNNNNNNN}; and lines are indented
and folded so that no line of a message can look like a line of ours.
"""

from __future__ import annotations

import unicodedata

# Controls, formatting (bidirectional overrides and isolates, zero-width, tags), separators of lines, lone surrogates,
# private use, unassigned: none of them shows as what it is.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Letters and marks that are blank, too: fillers, joiners, a blank pattern of Braille.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# The two variation selectors that ordinary emoji carry; the others serve to smuggle.
_TEXT_STYLE, _EMOJI_STYLE = "\ufe0e", "\ufe0f"
_SELECTORS = ((0xFE00, 0xFE0D), (0x180B, 0x180F), (0xE0100, 0xE01EF))
_TAB = "    "
# Narrower than this, folding helps nobody.
MIN_COLUMNS = 20
# Before every further line of a message: ours begin with a bracket or a word, never with this.
INDENT = "    | "


def escape(text: str) -> str:
    """Show a text in one line: line ends become C{\\n}, and whatever is not plainly visible is spelled out."""
    return "".join([_shown(character) for character in text.replace("\r\n", "\n")])


def escape_lines(text: str) -> list[str]:
    """Show a text line by line, every line as L{escape} does."""
    return [escape(line) for line in text.replace("\r\n", "\n").split("\n")]


def block(prefix: str, text: str, columns: int = 0) -> str:
    """
    A message after its prefix; its further lines, and what does not fit the terminal, stand indented.

    @param prefix: ours; of names that were checked.
    @param columns: the width of the terminal; 0: not a terminal, nothing is folded.
    """
    rows: list[str] = []
    for number, line in enumerate(escape_lines(text)):
        rows += _fold((prefix if number == 0 else INDENT) + line, columns)
    return "\n".join(rows)


def _fold(line: str, columns: int) -> list[str]:
    """Cut a line where the terminal would, so that what follows is indented, too."""
    if columns < MIN_COLUMNS:
        return [line]
    rows: list[str] = []
    row, used = "", 0
    for character in line:
        width = _width(character)
        if used + width > columns:
            rows.append(row)
            row, used = INDENT, len(INDENT)
        row += character
        used += width
    return [*rows, row]


def _shown(character: str) -> str:
    """One character as it may go to a terminal."""
    if " " <= character <= "~" or character in (_TEXT_STYLE, _EMOJI_STYLE):
        return character
    if character == "\t":
        return _TAB
    if character == "\n":
        return "\\n"
    number = ord(character)
    hidden = (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or character in _BLANKS
        or any(low <= number <= high for low, high in _SELECTORS)
    )
    if not hidden:
        return character
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _width(character: str) -> int:
    """The columns a character takes."""
    if unicodedata.combining(character) or character in (_TEXT_STYLE, _EMOJI_STYLE):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
