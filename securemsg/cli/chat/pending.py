"""
The answers that the contact C{server} owes to what was said in a chat.

To a caller with a key file each connection is a device of its own: an answer that was owed to one no other gets.
"""

from __future__ import annotations

from attrs import evolve, frozen

from securemsg.account.connection import ServerConnection
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import GuestContext
from securemsg.client.autoresponder import answer_id


@frozen
class _Question:
    """
    Something that was said.

    @ivar connection: of a caller, in which it went out last; empty: it will go out in the next.
    @ivar accepted: the contact has it, and answers in that connection.
    """

    connection: bytes
    accepted: bool = False


class PendingMessages:
    """
    @ivar lost: ids of answers that will not come.
    """

    def __init__(self, context: CommandContext, connection: ServerConnection) -> None:
        self._context = context
        self._connection = connection
        self._open: dict[bytes, _Question] = {}
        self.lost: set[bytes] = set()

    def __len__(self) -> int:
        """How many answers are owed."""
        return len(self._open)

    def asked(self, number: bytes) -> None:
        """A message of ours was committed."""
        self._open[self._answer_to(number)] = _Question(self._current_device())

    def accepted(self, number: bytes) -> None:
        """A message of ours was accepted. To be called behind L{lose}."""
        answer = self._answer_to(number)
        if answer in self._open:
            self._open[answer] = evolve(self._open[answer], accepted=True)

    def refused(self, number: bytes) -> None:
        """A message of ours was refused, so that nobody answers it."""
        self._open.pop(self._answer_to(number), None)

    def came(self, number: bytes) -> None:
        """A message came; it may be an answer."""
        self._open.pop(number, None)
        self.lost.discard(number)

    @property
    def has_news(self) -> bool:
        """Whether a caller has another connection than when it asked."""
        now = self._current_device()
        return bool(now) and any(question.connection != now for question in self._open.values())

    def lose(self) -> int:
        """
        See which answers will not come any more. What was not accepted before goes out again in this connection, and is
        answered here, unless the contact had it already.

        @return: how many there are.
        """
        if not self.has_news:
            return 0
        now, before = self._current_device(), len(self.lost)
        for answer, question in list(self._open.items()):
            if question.accepted and question.connection != now:
                del self._open[answer]
                self.lost.add(answer)
            else:
                self._open[answer] = evolve(question, connection=now)
        return len(self.lost) - before

    def _current_device(self) -> bytes:
        """Which connection a caller has; empty: none just now, or we are no caller."""
        if not isinstance(self._context, GuestContext) or not self._connection.is_ready:
            return b""
        return self._context.connection()

    def _answer_to(self, number: bytes) -> bytes:
        """The id that the answer to a message of ours will have."""
        return answer_id(self._context.profile.name, number)
