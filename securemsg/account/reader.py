"""Messages for a program, one at a time: each counts as handled only when the next one is asked for."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Self

from attrs import define, field

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError, error_for
from securemsg.account.folder import storage_error
from securemsg.account.readlocks import ReadLocks
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.interfaces import IProfileStore
from securemsg.storage.errors import StorageError

# Messages that are in memory at once, 48 KiB each at most.
PAGE = 64


@define(eq=False)
class MessageReader:
    """
    Received messages, as an asynchronous iterator.

    @ivar in_rooms: whether with those of rooms; else these stay.
    """

    _store: IProfileStore
    _connection: AccountConnection
    _read_locks: ReadLocks
    _sender: str | None = None
    _in_rooms: bool = False
    _page: deque[Received] = field(factory=deque, init=False)
    _in_hand: Received | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)
    _is_scheduled: bool = field(default=False, init=False)

    def __aiter__(self) -> Self:
        """The reader is its own iterator."""
        return self

    async def __anext__(self) -> Received:
        """
        Mark the message in hand as read, then wait for the next one.

        @raise StopAsyncIteration: the reactor stops.
        @raise SecuremsgError: the server refuses the account, the profile cannot be used, or a newer loop has started.
        """
        if self._is_over:
            raise error_for("second-recv", text="another loop over the messages has started, or the bot has ended")
        try:
            if self._in_hand is not None:
                self.handled(self._in_hand)
            while not self._connection.is_stopped:
                message = self._take()
                if message is not None:
                    return message
                await self._connection.until(self._fill_page, None)
                if self._is_over:
                    break
        except StorageError as error:
            raise storage_error(error) from error
        except SecuremsgError as problem:
            if problem.code != "stopped":
                raise
        raise StopAsyncIteration

    def handled(self, message: Received) -> None:
        """
        Note that a message is handled; it is marked as read with those that are handled in the same turn.

        @raise StorageError: it has to be marked at once, and the profile cannot be written.
        """
        if not self._read_locks.shown.add(message):
            self._mark_read()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._connection.at_end_of_turn(self._mark_read_quietly)
        self.let_go(message)

    def let_go(self, message: Received) -> None:
        """Free the lock of a handled message: other processes may show messages from its sender."""
        if self._in_hand is not None and self._in_hand.seq == message.seq:
            self._in_hand = None
            self._read_locks.free(message.conversation.name)

    def end(self) -> None:
        """End the loop; a message in hand is received again."""
        self._is_over = True
        self._mark_read_quietly()
        self._page.clear()
        if self._in_hand is not None:
            self.let_go(self._in_hand)

    def _take(self) -> Received | None:
        while self._page:
            message = self._page.popleft()
            if self._read_locks.take(message):
                self._in_hand = message
                return message
        self._mark_read()
        return None

    def _mark_read(self) -> None:
        self._read_locks.shown.mark_read()

    def _mark_read_quietly(self) -> None:
        self._is_scheduled = False
        # What is wrong is said to a program that asks for more messages; what was handled stays noted.
        with contextlib.suppress(StorageError):
            self._mark_read()

    def _fill_page(self) -> bool | None:
        """Fill the page, without senders whose messages another process is showing."""
        busy: set[str] = set()
        after, found = -1, PAGE
        while not self._page and found == PAGE and not self._is_over:
            waiting = messages.unread(self._store, self._sender, PAGE, after)
            wanted = [message for message in waiting if self._in_rooms or not message.conversation.is_room]
            ours = self._read_locks.free_of([message for message in wanted if message.conversation.name not in busy])
            # A sender who is busy now stays busy for this whole look, so that messages stay in order.
            busy.update({message.conversation.name for message in wanted} - {message.conversation.name for message in ours})
            self._page.extend(ours)
            found, after = len(waiting), waiting[-1].seq if waiting else after
        return True if self._page or self._is_over else None
