"""Entering the lobby: wait until C{server} has answered."""

from __future__ import annotations

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import error_for
from securemsg.account.timeouts import Timeout
from securemsg.client.lobby import state_of
from securemsg.client.state.lobby import Presence
from securemsg.interfaces import IProfileStore


async def entered(store: IProfileStore, connection: AccountConnection, limit: Timeout) -> None:
    """
    Wait until C{server} has let us into the lobby, if we have asked for that; once we are in it, this does not wait.

    @raise SecuremsgError: it has not answered in time, or we were refused.
    """
    if await connection.until(lambda: is_answered(store), limit) is None:
        raise error_for("not-answered", "server")


def is_answered(store: IProfileStore) -> bool | None:
    """
    Whether C{server} has answered; C{None}: not yet.

    @raise SecuremsgError: we were refused.
    """
    state = state_of(store)
    if state.presence is Presence.REFUSED:
        raise error_for(state.code)
    return None if state.presence is Presence.ENTERING else True
