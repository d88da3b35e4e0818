"""Earlier lines of a conversation, shown in a chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from securemsg.account.names import aliases
from securemsg.cli.chat import slash
from securemsg.cli.chat.screen import Screen
from securemsg.cli.chat.sentlines import SentLines
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line
from securemsg.cli.rendering import amount, line_record, line_text, screen_text
from securemsg.client import histories, messages
from securemsg.client.messages import Line, Sent
from securemsg.protocol.devices import ROOM_MARK, SERVER_NAME

# Lines that are looked at beyond half the screen: those that are unread are not shown.
PAGE = 64
# Older lines are counted so far.
MAX_COUNTED = 10_000


class Scrollback:
    """What was said in one conversation."""

    def __init__(
        self,
        context: CommandContext,
        name: str,
        sent_lines: SentLines,
        screen: Screen | None,
        write: Callable[..., Awaitable[Any]],
        notify: Callable[[str], Awaitable[Any]],
        columns: Callable[[], int],
    ) -> None:
        """
        @param write: see L{securemsg.cli.chat.conversation.Chat}, like the others.
        @param screen: C{None}: lines are shown as everywhere, for programs.
        """
        self._context = context
        self._name = name
        self._sent_lines = sent_lines
        self._screen = screen
        self._write = write
        self._notify = notify
        self._columns = columns
        self._oldest = messages.LAST_SEQ

    async def show_last(self, lines: int) -> None:
        """Show the last lines."""
        await self._show(messages.history(self._context.store, self._name, lines))

    async def show_more(self) -> None:
        """Show the page before the oldest line that was shown."""
        found = messages.history(self._context.store, self._name, slash.LAST_LINES, self._oldest)
        await self._show(found, f"-- nothing was said {self._place} before that")

    async def search(self, words: Sequence[str]) -> None:
        """Show the newest messages in which all words occur."""
        store = self._context.store
        found = histories.search(store, [histories.conversation_of(store, self._name)], words, slash.LAST_LINES)
        oldest = self._oldest
        await self._show(found.lines, "-- nothing was found here; elsewhere: securemsg search WORDS")
        self._oldest = oldest
        if found.has_more:
            await self._notify(f"-- these are the newest; all of them: securemsg search WORDS --with {self._name}")

    async def show_earlier(self) -> None:
        """Show what was said last, as far as it fits half the screen, and how much is older."""
        screen = self._screen
        if screen is None or self._name == SERVER_NAME:
            return
        store, half = self._context.store, max(screen.size()[1] // 2, 1)
        lines = messages.history(store, self._name, half + PAGE)
        unread = messages.unread_of(store, [line.seq for line in lines])
        lines = [line for line in lines if line.seq not in unread]
        while len(lines) > 1 and sum(map(screen.rows_of, lines)) > half:
            del lines[0]
        if not lines:
            return
        self._oldest = lines[0].seq
        older = len(messages.history(store, self._name, MAX_COUNTED, self._oldest))
        if older:
            await self._notify(f"-- {amount(older, 'line') if older < MAX_COUNTED else 'many lines'} before that: /more")
        await self._show(lines)

    async def _show(self, found: Sequence[Line], otherwise: str = "") -> None:
        """
        Show lines of this conversation.

        @param otherwise: what to say where there are none.
        """
        if not found:
            await self._notify(otherwise or f"-- no messages {self._place} yet")
            return
        own, known = self._context.profile.name, aliases(self._context.store)
        self._oldest = min(line.seq for line in found)
        rows = []
        for line in found:
            if self._context.settings.as_json:
                rows.append(json_line(line_record(line, own)))
            elif self._screen is not None:
                rows.append(screen_text(self._screen, line, own, known))
            else:
                rows.append(line_text(line, own, self._columns(), aliases=known))
        await self._write(*rows, own=[line.id if isinstance(line, Sent) else b"" for line in found])
        self._sent_lines.showed(found)

    @property
    def _place(self) -> str:
        return f"{'in' if self._name.startswith(ROOM_MARK) else 'with'} {self._name}"
