"""A room of several members, where the lines of a chat go there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError
from securemsg.account.roomchanges import RoomChanges
from securemsg.account.rooms import MemberRow, find, members, not_in_room, trouble
from securemsg.cli.context import CommandContext
from securemsg.client import messages
from securemsg.client.messages import ROOM_CHANGED
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import Room, RoomState

HELD = (
    "-- somebody has joined since you wrote that, so it waits: /release sends it to the new members, too, /release drop"
    " withdraws it"
)


class RoomChat:
    """
    @ivar name: what we call the room.
    """

    def __init__(
        self,
        context: CommandContext,
        connection: AccountConnection,
        name: str,
        notify: Callable[[str], Awaitable[Any]],
    ) -> None:
        """
        @param notify: see L{securemsg.cli.chat.conversation.Chat}.
        """
        self._context = context
        self._connection = connection
        self._notify = notify
        self._rooms = RoomChanges(context.store, connection, context.now, context.settings.time_limit)
        self.name = name
        # As was said last: the state of the room, and the message that waits for the user.
        self._said = (RoomState.IN, "")
        self._held = b""
        self._under_way = 0
        self._problem: Exception | None = None

    @property
    def room(self) -> Room:
        """The room as it is now."""
        return find(self._context.store, self.name)

    @property
    def members(self) -> list[MemberRow]:
        """Who is in it, as far as we know."""
        room = self.room
        return members(self._context.store, room)[2] if room.is_member else []

    @property
    def title(self) -> str:
        """Its name with marks: how many are in it, how many of them are unverified, and what is wrong with it."""
        room, rows = self.room, self.members
        unverified = sum(not row.is_verified for row in rows)
        wrong = room.state.upper() if room.state in (RoomState.FORKED, RoomState.BROKEN) else ""
        parts = [str(len(rows)) if rows else "", f"{unverified} unverified" if unverified else "", wrong]
        marks = ", ".join(part for part in parts if part)
        return f"{self.name} ({marks})" if marks else self.name

    @property
    def is_changing(self) -> bool:
        """Whether something that was asked for is not done."""
        return self._under_way > 0

    def has_news(self, first_pending: bytes | None) -> bool:
        """
        Whether there is something to say about the room.

        @param first_pending: id of our first message that is not sent.
        """
        room = self.room
        return self._problem is not None or self._said != (room.state, room.code) or self._is_held(first_pending)

    async def look(self, first_pending: bytes | None) -> None:
        """
        Say what has become of the room, and what waits for the user.

        @raise StorageError: the profile cannot be used.
        """
        if self._problem is not None:
            raise self._problem
        room = self.room
        if self._said != (room.state, room.code):
            before, self._said = self._said, (room.state, room.code)
            problem = trouble(room)
            if room.state is RoomState.IN and before[0] is not RoomState.IN:
                await self._notify(f"-- you are in {self.name}")
            elif problem is None and room.state not in (RoomState.IN, RoomState.LEAVING):
                problem = not_in_room(room, self._context.profile.name)
            if problem is not None:
                await self._notify(f"-- {problem.text}; {problem.hint}")
        if first_pending is not None and self._is_held(first_pending):
            self._held = first_pending
            await self._notify(HELD)

    def _is_held(self, first_pending: bytes | None) -> bool:
        """Whether our first message waits for the user, and that was not said."""
        sent = None if first_pending in (None, self._held) else messages.sent(self._context.store, first_pending or b"")
        return sent is not None and (sent.status, sent.code) == ("queued", ROOM_CHANGED)

    # --- what is asked for ------------------------------------------------------------------------------------------

    def invite(self, names: list[str]) -> None:
        """Invite accounts."""
        self._start(self._rooms.invite(self.name, names), f"invited: {', '.join(names)}")

    def join(self, alias: str) -> None:
        """Accept the invitation to it."""
        self._start(self._join(alias), "")

    async def _join(self, alias: str) -> None:
        room = await self._rooms.join(self.name, alias)
        await self._notify(f"-- you are in {room.name}; to talk there: /to {room.name}")

    def rename(self, title: str) -> None:
        """Change the title."""
        self._start(self._rooms.change(self.name, ChangeKind.TITLE, text=title), f"the title is now: {title}")

    def leave(self) -> None:
        """Leave the room."""
        self._start(self._rooms.leave(self.name), f"you have left {self.name}")

    def release(self, drop: bool) -> None:
        """Send what waits because somebody has joined, or withdraw it."""
        self._start(self._rooms.release(self.name, drop), "what waited was withdrawn" if drop else "what waited was sent")

    def _start(self, work: Coroutine[Any, Any, object], done: str) -> None:
        """Begin what may take a while; meanwhile the chat goes on."""
        self._under_way += 1
        Deferred.fromCoroutine(self._carry_out(work, done)).addErrback(self._failed)

    async def _carry_out(self, work: Coroutine[Any, Any, object], done: str) -> None:
        try:
            await work
        except SecuremsgError as problem:
            # The end of the chat is no failure: what is wanted stays wanted.
            done = "" if problem.code == "stopped" else "; ".join(part for part in (problem.text, problem.hint) if part)
        finally:
            self._under_way -= 1
        if done:
            await self._notify(f"-- {done}")
        self._connection.changed()

    def _failed(self, failure: Any) -> None:
        self._problem = failure.value
        self._connection.changed()
