"""
In which order, and when, the rows of the outbox are sent.

Each conversation has a queue. Its rows go in order; what holds one up holds up those behind it, and nobody else. All of this is
in memory alone: after a new login it begins with what the outbox holds.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from attrs import define, field

from securemsg.client.state.conversations import Conversation

# Deposits that are not answered, over all queues.
WINDOW = 16
# What is refused for now is tried again after a second, then after twice as long each time.
FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0


@define(eq=False)
class SendQueue:
    """
    What waits in one conversation.

    @ivar waiting: orders of rows that are to be sent, ascending.
    @ivar unanswered: how many were sent and not answered.
    @ivar is_asking: a question about it is on its way to the server.
    @ivar is_blocked: the user must decide something first.
    @ivar not_before: when it may go on.
    @ivar failures: how many times in a row the server refused it for now.
    """

    conversation: Conversation
    waiting: list[int] = field(factory=list)
    unanswered: int = 0
    is_asking: bool = False
    is_blocked: bool = False
    not_before: float = 0.0
    failures: int = 0

    def may_send(self, now: float) -> bool:
        """Is there a row that may be sent?"""
        return bool(self.waiting) and not self.is_asking and not self.is_blocked and now >= self.not_before


@define(eq=False)
class SendQueues:
    """
    All conversations with something in the outbox.

    @ivar last: the highest order of a row that was seen in the outbox.
    """

    _jitter: Callable[[], float]
    last: int = 0
    _queues: dict[Conversation, SendQueue] = field(init=False, factory=dict)
    _unanswered: dict[bytes, tuple[SendQueue, int, float]] = field(init=False, factory=dict)

    def add(self, conversation: Conversation, seq: int) -> None:
        """There is a new row in the outbox."""
        self.last = max(self.last, seq)
        insort(self._queues.setdefault(conversation, SendQueue(conversation)).waiting, seq)

    def next(self, now: float) -> SendQueue | None:
        """The queue whose first row is the next to be sent; C{None}: nothing may be sent now."""
        if len(self._unanswered) >= WINDOW:
            return None
        ready = [queue for queue in self._queues.values() if queue.may_send(now)]
        return min(ready, key=lambda queue: queue.waiting[0], default=None)

    def drop(self, queue: SendQueue) -> None:
        """There is nothing to be sent in the first row of a queue."""
        queue.waiting.pop(0)
        self._tidy(queue)

    def mark_sent(self, queue: SendQueue, deposit_id: bytes, now: float) -> None:
        """The first row of a queue is sent."""
        seq = queue.waiting.pop(0)
        queue.unanswered += 1
        self._unanswered[deposit_id] = (queue, seq, now)

    def pop_sent(self, deposit_id: bytes) -> tuple[SendQueue, int] | None:
        """
        A deposit is answered.

        @return: its queue and its row; C{None}: there was no such deposit.
        """
        found = self._unanswered.pop(deposit_id, None)
        if found is None:
            return None
        queue, seq, _ = found
        queue.unanswered -= 1
        self._tidy(queue)
        return queue, seq

    def requeue(self, queue: SendQueue, seq: int) -> None:
        """A row is to be sent again, before those that come after it."""
        self._queues[queue.conversation] = queue
        insort(queue.waiting, seq)

    def pause(self, queue: SendQueue, now: float) -> None:
        """Not now: wait for longer than the last time."""
        pause = min(FIRST_PAUSE * 2.0 ** min(queue.failures, 10), MAX_PAUSE)
        queue.failures += 1
        queue.not_before = now + pause * (0.5 + self._jitter() / 2)

    def oldest_unanswered(self) -> float | None:
        """Since when the oldest unanswered deposit is on its way."""
        return min((since for _, _, since in self._unanswered.values()), default=None)

    def blocked(self) -> list[SendQueue]:
        """Queues that wait for the user."""
        return [queue for queue in self._queues.values() if queue.is_blocked]

    def _tidy(self, queue: SendQueue) -> None:
        """Forget a queue that holds nothing and waits for nothing."""
        if not queue.waiting and not queue.unanswered and not queue.is_asking:
            self._queues.pop(queue.conversation, None)
