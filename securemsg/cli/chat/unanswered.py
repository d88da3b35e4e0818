"""What has become of the messages that were written in a chat."""

from __future__ import annotations

from collections import deque
from itertools import islice

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.account.tracking import held_up_by
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.interfaces import IProfileStore

# Messages that are looked at in one go.
PAGE = 64
# The server has answered for a message; what was said in a room is relayed, or not, after that.
_SETTLED = ("accepted", "delivered", "failed", "withdrawn")
_RELAYED = ("delivered", "failed", "withdrawn")


class Unanswered:
    """Our messages of this run that wait for an answer, in order."""

    def __init__(self, store: IProfileStore) -> None:
        self._store = store
        self._pending: deque[bytes] = deque()
        self._unrelayed: deque[bytes] = deque()

    def wrote(self, message_id: bytes) -> None:
        """Wait for a message that was committed."""
        self._pending.append(message_id)

    @property
    def first_pending(self) -> bytes | None:
        """The first message that the server has not answered for."""
        return self._pending[0] if self._pending else None

    @property
    def pending(self) -> int:
        """How many messages the server has not answered for."""
        return len(self._pending)

    @property
    def unrelayed(self) -> int:
        """How many more it has accepted for a room, which has not answered for them."""
        return len(self._unrelayed)

    @property
    def has_news(self) -> bool:
        """Whether the first was answered for."""
        return self._has_come(self._pending, _SETTLED) or self._has_come(self._unrelayed, _RELAYED)

    @property
    def held_up(self) -> SecuremsgError | None:
        """
        Why messages wait, if all that are left wait for the user to compare numbers, or for the contact to make an RSA key.
        """
        found: SecuremsgError | None = None
        for number in self._pending:
            sent = messages.sent(self._store, number)
            if sent is None or sent.status in _SETTLED:
                continue
            code = held_up_by(self._store, sent)
            if not code:
                return None
            found = found or error_for(code, sent.to if sent.conversation.is_room else sent.conversation.account)
        return found

    def settled(self) -> list[Sent]:
        """Our messages that were answered for, in order, up to the first that was not; then what the room answered."""
        found = self._pop(self._pending, _SETTLED)
        self._unrelayed.extend(sent.id for sent in found if sent.needs_relay and sent.status not in _RELAYED)
        return found + self._pop(self._unrelayed, _RELAYED)

    def _pop(self, waiting: deque[bytes], statuses: tuple[str, ...]) -> list[Sent]:
        """Take out the messages that have come so far, in order, up to the first that has not."""
        found = messages.first_with_status(self._store, islice(waiting, PAGE), statuses)
        for _ in found:
            waiting.popleft()
        return [sent for sent in found if sent is not None]

    def _has_come(self, waiting: deque[bytes], statuses: tuple[str, ...]) -> bool:
        """Whether the first of these messages has come so far."""
        return bool(waiting and messages.first_with_status(self._store, islice(waiting, 1), statuses))
