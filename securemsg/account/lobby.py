"""Entering the lobby: wait until C{server} has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.timeouts import Timeout
from securemsg.client.lobby import state_of
from securemsg.client.state.lobby import Presence
from securemsg.interfaces import IProfileStore
from securemsg.protocol.devices import LOBBY_NAME

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection


async def wait_until_in(store: IProfileStore, connection: AccountConnection, limit: Timeout) -> None:
    """
    Wait until C{server} has let us into the lobby, if we have asked for that; once we are in it, this does not wait.

    @raise SecuremsgError: it has not answered in time, or we were refused.
    """
    if await connection.until(lambda: _is_answered(store), limit) is None:
        raise error_for("not-answered", "server")


def check_admitted(store: IProfileStore) -> None:
    """
    See whether C{server} has refused to let us in.

    @raise SecuremsgError: it has.
    """
    state = state_of(store)
    if state.presence is Presence.REFUSED:
        raise error_for(state.code)


def not_relayed(what: str, hint: str = "") -> SecuremsgError:
    """
    The error for lines that C{server} has neither relayed nor refused in time.

    @param what: they, with their verb: C{1 message was}.
    """
    text = f"{what} accepted by the server, but not relayed in {LOBBY_NAME} in time"
    hint = hint or f"what was relayed later is marked as delivered in: securemsg history '{LOBBY_NAME}'"
    return error_for("not-answered", status=Exit.TIMED_OUT, text=text, hint=hint)


def _is_answered(store: IProfileStore) -> bool | None:
    """Whether we are in, or want to be in no longer; C{None}: C{server} has not answered so far."""
    check_admitted(store)
    return None if state_of(store).presence is Presence.ENTERING else True
