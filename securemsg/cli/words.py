"""The words of short invites, as people say, type and mistype them; they come from the English list of BIP39."""

from __future__ import annotations

import re
from functools import cache

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.crypto.keys import random_bytes
from securemsg.protocol.messages import MAX_CODE_NUMBER

COUNT = 6
_SEPARATOR = re.compile(r"[-\s]+")
_EXAMPLE = "a short invite is a number and six words, such as 7-acid-bench-cargo-demand-elbow-fiber"


@cache
def all_words() -> tuple[str, ...]:
    """The list: 2,048 words."""
    # Only here: nearly no command needs it.
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


def make_words() -> str:
    """Six random words, as both ends take them for the password."""
    known = all_words()
    # The length of the list divides the number of values: no word is likelier than another.
    return "-".join(known[int.from_bytes(random_bytes(2), "big") % len(known)] for _ in range(COUNT))


def read_words(text: str) -> tuple[int, str]:
    """
    Read a short invite, in any case, with hyphens or blanks between.

    @return: its number, and its words as L{make_words} has them.
    @raise SecuremsgError: C{bad-invite}: it cannot be one; for a mistyped word it names the nearest.
    """
    number, *words = _SEPARATOR.split(text.strip().lower())
    if len(words) != COUNT or not re.fullmatch("[1-9][0-9]*", number, re.ASCII) or int(number) > MAX_CODE_NUMBER:
        raise error_for("bad-invite", text="this is not a short invite", hint=_EXAMPLE)
    for word in words:
        if word not in all_words():
            raise _unknown(word)
    return int(number), "-".join(words)


def looks_short(text: str) -> bool:
    """Whether this is a number and as many words as a short invite has, mistyped or not."""
    return re.fullmatch(rf"[0-9]+(?:-[a-z]+){{{COUNT}}}", text, re.ASCII | re.IGNORECASE) is not None


def _unknown(word: str) -> SecuremsgError:
    """The error for a word that is not on the list."""
    from difflib import get_close_matches

    near = get_close_matches(word, all_words(), 1)
    meant = f"did you mean {near[0]}? " if near else "check it with the inviter. "
    return error_for(
        "bad-invite", text=f"{word!r} is not one of the words of short invites", hint=meant + "Nothing was sent"
    )
