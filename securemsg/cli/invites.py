"""Invites as people pass them on: what mail has made of one, and a picture of it."""

from __future__ import annotations

import contextlib
import quopri
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from securemsg.account.errors import error_for
from securemsg.errors import Refusal
from securemsg.protocol.invite import InviteLink, parse_invite

# Of a mail with an invite in it; longer ones are not read.
MAX_TEXT = 65_536
# How an invite begins, also where its colons and slashes are percent-encoded, and what it consists of in all these forms.
_BEGIN = re.compile(r"securemsg(?::|%3a)", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
# What may stand right behind it, and is not of it.
_BEHIND = ".,;:!?)]'"
# Before each line of a mail that was quoted.
_QUOTED = re.compile(r"^[>|\s]+", re.MULTILINE)


def find_invite(text: str) -> InviteLink:
    """
    The invite in a text: alone, or as mail leaves it: quoted, in C{<...>}, wrapped, quoted-printable or percent-encoded.

    @raise SecuremsgError: C{bad-invite}: there is none, or there are several that differ.
    """
    if len(text) > MAX_TEXT:
        raise error_for("bad-invite", text=f"the text is longer than {MAX_TEXT} characters", hint="paste the invite only")
    for found in _readings(text):
        if len(found) > 1:
            raise error_for("bad-invite", text="there are several invites in this text", hint="paste one of them only")
        if found:
            return found.pop()
    raise error_for("bad-invite")


def _readings(text: str) -> Iterator[set[InviteLink]]:
    """
    The invites in a text, in each way to read it. The plainest comes first: what is an invite as it stands may be another one
    if it is taken for quoted-printable.
    """
    # No invite has "&amp;" in it: read as it stands, all that is behind the first would be lost.
    bare = _QUOTED.sub("", text.replace("\r\n", "\n")).replace("&amp;", "&")
    for written in (bare, _soft_breaks_undone(bare)):
        pieces = [list(_pieces(written[match.start() :])) for match in _BEGIN.finditer(written)]
        for read in (str, unquote):
            found = {_longest(map(read, each)) for each in pieces}
            yield {link for link in found if link is not None}


def _longest(pieces: Iterable[str]) -> InviteLink | None:
    """The invite that most of the lines make: without its last items it may be one, too."""
    found = None
    for piece in pieces:
        # A sentence may end behind it, or a bracket.
        for end in (piece, piece.rstrip(_BEHIND)):
            with contextlib.suppress(Refusal):
                found = parse_invite(end)
                break
    return found


def _soft_breaks_undone(text: str) -> str:
    """The text, if it is quoted-printable (RFC 2045 6.7)."""
    return quopri.decodestring(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _pieces(text: str) -> Iterator[str]:
    """The beginning of a text that may be a link, with as many of the next lines as may be its rest."""
    piece = ""
    for line in text.split("\n"):
        match = _URL.match(line)
        if match is None:
            return
        piece += match.group()
        yield piece
        if line[match.end() :].strip():
            # Something else stands behind it.
            return


def qr_code(text: str) -> str:
    """A QR code, for a terminal; two rows of it in one of the terminal."""
    # Only here: it takes long to import, and a pipe has no use for it.
    import io

    import segno

    out = io.StringIO()
    segno.make(text, error="m").terminal(out=out, compact=True)
    return out.getvalue()
