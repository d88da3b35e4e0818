"""
Makes text from other people harmless for a terminal.

What a peer wrote may hold escape sequences, controls that move the cursor, marks that change the direction of writing, towers
of marks that cover other lines, and invisible characters. Here each of them becomes a visible C{\\xNN}, C{\\uNNNN} or
C{\\UNNNNNNNN}.
"""

from __future__ import annotations

import unicodedata

# Controls, formatting (bidirectional overrides and isolates, zero-width, tags), separators of lines, lone surrogates,
# private use, unassigned: none of them shows as what it is.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Letters and marks that are blank, too: fillers, joiners, a blank pattern of Braille.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# The two variation selectors that ordinary emoji carry; the others serve to smuggle.
TEXT_STYLE, EMOJI_STYLE = "\ufe0e", "\ufe0f"
_SELECTORS = ((0xFE00, 0xFE0D), (0x180B, 0x180F), (0xE0100, 0xE01EF))
_TAB = "    "
# Marks that stand above, below or around a character, and those that take a column; as many of each on one character as
# living languages need.
_MARKS = {"Mn": 0, "Me": 0, "Mc": 1}
MAX_MARKS = 3


def escape(text: str) -> str:
    """Show a text in one line: line ends become C{\\n}, and whatever is not plainly visible is spelled out."""
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], [0, 0]
    for character in text.replace("\r\n", "\n"):
        kind = _MARKS.get(unicodedata.category(character))
        if kind is None:
            marks = [0, 0]
        else:
            marks[kind] += 1
        shown.append(_shown(character) if kind is None or marks[kind] <= MAX_MARKS else _spelled(character))
    return "".join(shown)


def _shown(character: str) -> str:
    """One character as it may go to a terminal."""
    if " " <= character <= "~" or character in (TEXT_STYLE, EMOJI_STYLE):
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
    return _spelled(character) if hidden else character


def _spelled(character: str) -> str:
    """The number of a character, after a backslash."""
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
