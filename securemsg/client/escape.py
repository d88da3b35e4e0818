"""
Makes text from other people harmless for a terminal.

What a peer wrote may hold escape sequences, controls that move the cursor, marks that change the direction of writing, towers
of marks that cover other lines, and invisible characters. Here each of them becomes a visible C{\\xNN}, C{\\uNNNN} or
C{\\UNNNNNNNN}. Joiners and direction marks stay as they are where their script needs them, and nowhere else.
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
# What joins or separates letters, and marks that give punctuation the direction of a letter.
NON_JOINER, JOINER, LEFT_TO_RIGHT, RIGHT_TO_LEFT = "\u200c", "\u200d", "\u200e", "\u200f"
# On each side of a joiner, what decides about it: a letter, and marks on it.
_CONTEXT = 8
# The categories of emoji; marks on them have others.
_PICTURES = frozenset({"So", "Sm"})
# Between a right-to-left letter and a direction mark: punctuation and spaces, such as in "C++!".
_BESIDE = 4
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
    text = text.replace("\r\n", "\n")
    for place, character in enumerate(text):
        if NON_JOINER <= character <= RIGHT_TO_LEFT:
            shown.append(character if _is_needed(text, place) else _spelled(character))
            continue
        kind = _MARKS.get(unicodedata.category(character))
        if kind is None:
            marks = [0, 0]
        else:
            marks[kind] += 1
        shown.append(_shown(character) if kind is None or marks[kind] <= MAX_MARKS else _spelled(character))
    return "".join(shown)


def _is_needed(text: str, place: int) -> bool:
    """Whether a joiner or a direction mark does there what it is for."""
    before, after = text[max(0, place - _CONTEXT) : place], text[place + 1 : place + 1 + _CONTEXT]
    if text[place] in (LEFT_TO_RIGHT, RIGHT_TO_LEFT):
        return _is_right_to_left(before[::-1]) or _is_right_to_left(after)
    return _joins_emoji(before, text[place], after) or _joins_letters(before, text[place], after)


def _is_right_to_left(beside: str) -> bool:
    """Whether the nearest letter, with only punctuation and marks before it, is written from right to left."""
    for character in beside[:_BESIDE]:
        kind = unicodedata.category(character)[0]
        if kind not in "MPSZ":
            return kind == "L" and unicodedata.bidirectional(character) in ("R", "AL")
    return False


def _joins_letters(before: str, joiner: str, after: str) -> bool:
    """The rules of RFC 5892 A.1 and A.2: between letters that have joined forms, and behind a virama."""
    # Imported only here: few texts have joiners.
    import idna

    try:
        return idna.valid_contextj(before + joiner + after, len(before))
    except ValueError:
        # Beside a character that Unicode has not assigned.
        return False


def _joins_emoji(before: str, joiner: str, after: str) -> bool:
    """Whether it makes one picture of two (UAX 29, GB11)."""
    if joiner != JOINER or not before or not after or unicodedata.category(after[0]) not in _PICTURES:
        return False
    from wcwidth import iter_graphemes

    *_, last = iter_graphemes(before + joiner + after[0])
    return len(last) > 2 and last[-2] == JOINER


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
