"""
The answers that a chat still expects from the contact C{server}.

Each connection of a guest is a device of its own: the answer goes to the connection that asked, and a later one never gets it.
"""

from __future__ import annotations

from attrs import evolve, frozen

from securemsg.account.connection import AccountConnection
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import GuestContext
from securemsg.client.autoresponder import answer_id


@frozen
class _Question:
    """
    A message that expects an answer.

    @ivar connection: of a guest, the one it was sent in last; empty: it will be sent in the next.
    @ivar accepted: the contact has it, and answers in that connection.
    """

    connection: bytes
    accepted: bool = False


class PendingAnswers:
    """
    @ivar lost: ids of answers that will not come.
    """

    def __init__(self, context: CommandContext, connection: AccountConnection) -> None:
        self._context = context
        self._connection = connection
        self._open: dict[bytes, _Question] = {}
        self.lost: set[bytes] = set()

    def __len__(self) -> int:
        """How many answers are expected."""
        return len(self._open)

    def asked(self, message_id: bytes) -> None:
        """Expect an answer to a message that was committed."""
        self._open[self._answer_to(message_id)] = _Question(self._current_device())

    def accepted(self, message_id: bytes) -> None:
        """A message was accepted. To be called after L{drop_lost}."""
        answer = self._answer_to(message_id)
        if answer in self._open:
            self._open[answer] = evolve(self._open[answer], accepted=True)

    def refused(self, message_id: bytes) -> None:
        """A message was refused, so it gets no answer."""
        self._open.pop(self._answer_to(message_id), None)

    def received(self, message_id: bytes) -> None:
        """A message was received; it may be an answer."""
        self._open.pop(message_id, None)
        self.lost.discard(message_id)

    @property
    def has_news(self) -> bool:
        """Whether a guest has another connection than the one it asked in."""
        now = self._current_device()
        return bool(now) and any(question.connection != now for question in self._open.values())

    def drop_lost(self) -> int:
        """
        Give up answers that an earlier connection was to get. What was not accepted there is sent again in this one, and is
        answered here, unless the contact already had it.

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
        """The id of a guest's connection; empty: offline, or not a guest."""
        if not isinstance(self._context, GuestContext) or not self._connection.is_ready:
            return b""
        return self._context.connection()

    def _answer_to(self, message_id: bytes) -> bytes:
        """The id that the answer to a message will have."""
        return answer_id(self._context.profile.name, message_id)
