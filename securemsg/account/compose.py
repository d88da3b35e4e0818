"""Checks and commits a message to be sent; what cannot be sent is refused before anything is committed."""

from __future__ import annotations

from collections.abc import Sequence

from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.tracking import DELIVERED
from securemsg.client import lobby, messages
from securemsg.client.messages import Draft
from securemsg.crypto.keys import ID_SIZE
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol.devices import LOBBY_NAME, ROOM_MARK
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT, MIN_EXPIRY


def checked(text: str) -> str:
    """
    Check that a text can be sent, and return it.

    @raise SecuremsgError: C{no-text}: it is empty; C{not-utf8}, C{too-large}.
    """
    if not text:
        raise error_for("no-text")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise error_for("not-utf8") from None
    if size > MAX_TEXT:
        raise error_for("too-large")
    return text


def check_draft(own: str, to: str, text: str, message_id: bytes | None, expiry: int) -> None:
    """
    Check whether a program's message can be sent.

    @param own: the name of the account that sends it.
    @raise SecuremsgError: C{own-name}; C{bad-request}: invalid id or expiry; or as L{checked}.
    """
    if to == own:
        raise error_for("own-name", to)
    checked(text)
    if message_id is not None and not (isinstance(message_id, bytes) and len(message_id) == ID_SIZE):
        raise _bad(f"an id must have {ID_SIZE} bytes", f"make one with os.urandom({ID_SIZE}), or omit it")
    if not (isinstance(expiry, int) and MIN_EXPIRY <= expiry <= MAX_EXPIRY):
        limits = f"a message must expire after {MIN_EXPIRY} to {MAX_EXPIRY} seconds"
        raise _bad(f"{limits}, not {expiry}", "choose an expiry within these limits")


def draft_of(
    to: str,
    text: str,
    wait: str,
    *,
    message_id: bytes | None,
    expiry: int,
    to_newcomers: bool = False,
    receipts: bool = True,
    keep: int | None = None,
    at: int = 0,
) -> Draft:
    """
    A program's message.

    @param wait: what the program waits for; with L{DELIVERED} a receipt is requested whatever the profile's settings say.
    @param receipts: C{False}: none is requested.
    @param to_newcomers: in a room: it may go to members who join before it is accepted.
    @param keep: see L{Draft}; C{at} likewise.
    @raise SecuremsgError: C{no-receipts}.
    """
    if to.startswith(ROOM_MARK) and wait == DELIVERED:
        raise error_for("no-receipts", to)
    wants_receipt = True if wait == DELIVERED else None if receipts else False
    return Draft(to, text, message_id, wants_receipt, expiry, to_newcomers, keep, at)


def commit(
    store: IProfileStore,
    to: str,
    text: str,
    wait: str,
    *,
    now: float,
    message_id: bytes | None,
    expiry: int,
    to_newcomers: bool = False,
    receipts: bool = True,
    keep: int | None = None,
) -> bytes:
    """
    Commit a message to be sent; one to the lobby enters it first.

    @param wait: see L{draft_of}; the others likewise.
    @return: its id.
    @raise SecuremsgError: it is refused; what the store raises is raised as it is.
    """
    draft = draft_of(
        to, text, wait, message_id=message_id, expiry=expiry, to_newcomers=to_newcomers, receipts=receipts, keep=keep
    )
    [written] = commit_all(store, [draft], now=now)
    if isinstance(written, SecuremsgError):
        raise written
    return written


def commit_all(store: IProfileStore, drafts: Sequence[Draft], *, now: float) -> list[bytes | SecuremsgError]:
    """
    As L{commit}, for several in one transaction.

    @return: of each its id, or why it is refused: the others are committed all the same.
    """
    if any(draft.to == LOBBY_NAME for draft in drafts):
        lobby.enter(store, now)
    written = messages.compose_all(store, drafts, now=now)
    return [
        explain(each, draft.to) if isinstance(each, Refusal) else each for each, draft in zip(written, drafts, strict=True)
    ]


def _bad(text: str, hint: str) -> SecuremsgError:
    return SecuremsgError(Exit.USAGE, "bad-request", text, hint)
