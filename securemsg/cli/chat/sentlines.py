"""How far our own messages of a chat have come, on the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from securemsg.account.errors import error_for
from securemsg.account.tracking import BLOCKING, held_up_by
from securemsg.cli.chat.screen import FAILED, READ, WAITING, WITHDRAWN, Screen
from securemsg.cli.context import CommandContext
from securemsg.cli.rendering import screen_text, state_of
from securemsg.cli.wrapping import cut
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.messages import ROOM_CHANGED, Line, Sent

# Messages that are followed: the last. What has come so far comes no further.
MAX_FOLLOWED = 50
FINAL = (READ, FAILED, WITHDRAWN)
# Characters of a message that say which it is.
SHOWN = 40
# What to do about a message that is held back or was refused, with the commands of the chat.
HINTS = {
    "no-such-account": "check the name; /who lists those you know",
    BLOCKING: "compare numbers: /verify; if they are the same: /accept",
    ROOM_CHANGED: "send it to the new members, too: /release; or withdraw it: /release drop",
}


class SentLines:
    """Follows our messages, where somebody looks at a screen."""

    def __init__(
        self,
        context: CommandContext,
        screen: Screen | None,
        show: Callable[..., Awaitable[Any]],
        move: Callable[[str], Awaitable[Any]],
        notify: Callable[[str], Awaitable[Any]],
        is_connected: Callable[[], bool],
    ) -> None:
        """
        @param screen: C{None}: nobody looks, and nothing is followed.
        @param show: puts out a line that is a message of ours.
        @param move: puts out what changes a mark.
        """
        self._context = context
        self._screen = screen
        self._show = show
        self._move = move
        self._notify = notify
        self._is_connected = is_connected
        # How far the screen says that they have come; and those of which it was said why they wait.
        self._shown: dict[bytes, str] = {}
        self._held: set[bytes] = set()

    async def wrote(self, ids: Sequence[bytes]) -> None:
        """Show what we have written, where the prompt does not leave it on the screen, and follow it."""
        screen = self._screen
        if screen is None:
            return
        for message_id in ids:
            self._follow(message_id, WAITING)
            sent = messages.sent(self._context.store, message_id)
            if sent is not None and screen.moves:
                await self._show(screen_text(screen, sent, self._context.profile.name, {}), own=[message_id])
            elif sent is not None and not self._is_connected():
                await self._notify(f"-- waits for the connection: {cut(escape(sent.text), SHOWN)}")

    def showed(self, lines: Iterable[Line]) -> None:
        """Follow what stands on the screen, too, from before. Why it waits is not said again for each of them."""
        for line in lines:
            if self._screen is None or not isinstance(line, Sent) or state_of(line) in FINAL:
                continue
            self._follow(line.id, state_of(line))
            if held_up_by(self._context.store, line):
                self._held.add(line.id)

    def _follow(self, message_id: bytes, state: str) -> None:
        # The last to be shown is the last to be forgotten.
        self._shown.pop(message_id, None)
        self._shown[message_id] = state
        while len(self._shown) > MAX_FOLLOWED:
            self._held.discard(gone := next(iter(self._shown)))
            del self._shown[gone]

    @property
    def has_news(self) -> bool:
        """Whether one has come further than the screen says, or waits for the user."""
        return bool(self._changed())

    async def refresh(self, name: str) -> None:
        """
        Show how far they have come; under what is held back, why.

        @param name: with whom the chat is now: what commands of the chat are about.
        """
        for message_id, state in self._changed().items():
            screen, sent = self._screen, messages.sent(self._context.store, message_id)
            assert screen is not None and sent is not None, "it is followed"
            has_changed, self._shown[message_id] = self._shown[message_id] != state, state
            move = screen.change(message_id, state) if has_changed else ""
            if move:
                await self._move(move)
            elif has_changed and not screen.moves and state != FAILED:
                await self._notify(f"-- {state}: {cut(escape(sent.text), SHOWN)}")
            code = held_up_by(self._context.store, sent)
            if code and message_id not in self._held:
                self._held.add(message_id)
                problem = error_for(code, sent.to)
                here = HINTS.get(code) if sent.to == name else None
                hint = f"; {here or problem.hint}" if here or problem.hint else ""
                await self._notify(f"-- held back: {problem.text}{hint}")

    def _changed(self) -> dict[bytes, str]:
        found = {}
        for message_id, shown in self._shown.items():
            sent = messages.sent(self._context.store, message_id) if shown not in FINAL else None
            if sent is None:
                continue
            is_held = message_id not in self._held and bool(held_up_by(self._context.store, sent))
            if is_held or state_of(sent) != shown:
                found[message_id] = state_of(sent)
        return found
