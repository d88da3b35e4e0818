"""The lobby, where the lines of a chat go there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from securemsg.account.errors import error_for
from securemsg.cli.context import CommandContext
from securemsg.client import lobby
from securemsg.client.state.lobby import Presence
from securemsg.protocol.devices import LOBBY_NAME


class Lobby:
    """
    @ivar kept_out: why it refused us; empty: it did not.
    """

    def __init__(
        self, context: CommandContext, notify: Callable[[str], Awaitable[Any]], nudge: Callable[[], object]
    ) -> None:
        """
        @param notify: see L{securemsg.cli.chat.conversation.Chat}.
        @param nudge: has the outbox looked into.
        """
        self._context = context
        self._notify = notify
        self._nudge = nudge
        # As was said last.
        self._presence = Presence.OUT
        self.kept_out = ""

    @property
    def is_entering(self) -> bool:
        """Whether we have asked to be let in, and were not answered."""
        return lobby.state_of(self._context.store).presence is Presence.ENTERING

    @property
    def members(self) -> tuple[str, ...]:
        """Who is in it, as far as we know."""
        return lobby.state_of(self._context.store).members

    @property
    def has_news(self) -> bool:
        """Whether we were let in, or refused, since that was looked at."""
        return lobby.state_of(self._context.store).presence is not self._presence

    def enter(self) -> None:
        """Ask to be let in, unless that was done."""
        if lobby.enter(self._context.store, self._context.now()):
            self._presence = Presence.ENTERING
            self._nudge()

    async def leave(self) -> None:
        """Leave it, and say so."""
        if lobby.leave(self._context.store, self._context.now()) is None:
            await self._notify(f"-- you are not in {LOBBY_NAME}")
            return
        self._nudge()
        await self._notify(f"-- you have left {LOBBY_NAME}; a line that you type here enters it again")

    async def look(self) -> None:
        """See whether we were let in, and say why not."""
        state = lobby.state_of(self._context.store)
        if state.presence is Presence.REFUSED and self._presence is not Presence.REFUSED:
            problem = error_for(state.code)
            await self._notify(f"-- {problem.text}; {problem.hint}")
        self._presence = state.presence
        self.kept_out = state.code if state.presence is Presence.REFUSED else ""
