"""
The send queues: in which order, and when, the rows of the outbox are sent.

Each conversation has a queue, which is sent in order: a row that waits holds up those behind it, but no other queue. The queues
are in memory only, and are filled from the outbox after each login. Their C{seconds} are monotonic time.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable

from attrs import define, field

from securemsg.client.state.conversations import Conversation

# Unanswered deposits over all queues, and their bytes, at most; the last one may exceed the bytes. Once it was full, the window
# opens when half of it is free: so many go out together, in one transaction, and not one for each answer.
WINDOW = 128
WINDOW_SIZE = 1024 * 1024
# Seconds before a row is sent again that was refused for now; the pause doubles each time.
FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0


@define(eq=False)
class SendQueue:
    """
    The rows of one conversation that wait to be sent.

    @ivar waiting: seqs of the rows, ascending.
    @ivar unanswered: how many were sent and not answered.
    @ivar is_asking: a question to the server about it is open.
    @ivar is_blocked: the user must decide something first.
    @ivar is_checked: the contact, who lacked an RSA key, was looked up for this attempt.
    @ivar not_before: when its next row may be sent.
    @ivar failures: how many times in a row the server refused it for now.
    @ivar held: of a room: seqs of rows that their user must let go.
    @ivar left_out: of a room: members that its first row cannot be sealed for, and why.
    @ivar is_stepping: a step of the room was sent and not answered: nothing is sealed behind it.
    @ivar is_draining: its next row is a step, which waits until everything before is answered.
    """

    conversation: Conversation
    waiting: list[int] = field(factory=list)
    unanswered: int = 0
    is_asking: bool = False
    is_blocked: bool = False
    is_checked: bool = False
    not_before: float = 0.0
    failures: int = 0
    held: list[int] = field(factory=list)
    left_out: dict[str, str] = field(factory=dict)
    is_stepping: bool = False
    is_draining: bool = False

    def may_send(self, seconds: float) -> bool:
        """Whether there is a row that may be sent."""
        is_held_up = self.is_asking or self.is_blocked or self.is_stepping or (self.is_draining and self.unanswered)
        return bool(self.waiting) and not is_held_up and seconds >= self.not_before


@define(eq=False)
class SendQueues:
    """
    The queues of all conversations with rows in the outbox.

    @ivar last: the highest seq that was loaded from the outbox.
    @ivar unanswered_size: the bytes of all unanswered deposits.
    @ivar is_full: the window was full, and not half of it is free so far.
    @ivar scheduled: rows to be sent later: when, to whom, and their seqs; the earliest first. They hold up no others.
    """

    _jitter: Callable[[], float]
    last: int = 0
    unanswered_size: int = field(init=False, default=0)
    is_full: bool = field(init=False, default=False)
    scheduled: list[tuple[int, Conversation, int]] = field(init=False, factory=list)
    _queues: dict[Conversation, SendQueue] = field(init=False, factory=dict)
    _unanswered: dict[bytes, tuple[SendQueue, int, int, float, int]] = field(init=False, factory=dict)

    def add(self, conversation: Conversation, seq: int) -> None:
        """Add a row of the outbox."""
        self.last = max(self.last, seq)
        insort(self._queues.setdefault(conversation, SendQueue(conversation)).waiting, seq)

    def schedule(self, at: int, conversation: Conversation, seq: int) -> None:
        """Add a row of the outbox when that time of the wall clock has come."""
        self.last = max(self.last, seq)
        insort(self.scheduled, (at, conversation, seq), key=lambda row: row[0])

    def add_due(self, now: float) -> None:
        """Add the rows whose time has come."""
        count = bisect_right(self.scheduled, now, key=lambda row: row[0])
        for _, conversation, seq in self.scheduled[:count]:
            self.add(conversation, seq)
        del self.scheduled[:count]

    def next(self, seconds: float) -> SendQueue | None:
        """The queue whose first row is the next to be sent; C{None}: nothing may be sent now."""
        share = 2 if self.is_full else 1
        self.is_full = share * len(self._unanswered) >= WINDOW or share * self.unanswered_size >= WINDOW_SIZE
        if self.is_full:
            return None
        ready = [queue for queue in self._queues.values() if queue.may_send(seconds)]
        return min(ready, key=lambda queue: queue.waiting[0], default=None)

    def drop(self, queue: SendQueue) -> None:
        """Drop the first row of a queue: it has nothing to send."""
        queue.waiting.pop(0)
        queue.left_out.clear()
        self._tidy(queue)

    def hold(self, queue: SendQueue) -> None:
        """Put the first row of a queue aside, until its user lets it go."""
        insort(queue.held, queue.waiting.pop(0))

    def let_go(self, queue: SendQueue, seq: int) -> None:
        """Put a row that was held back into its queue."""
        queue.held.remove(seq)
        insort(queue.waiting, seq)

    def mark_sent(self, queue: SendQueue, deposit_id: bytes, n: int, seconds: float, size: int) -> None:
        """Note that the first row of a queue was sent, in so many bytes."""
        seq = queue.waiting.pop(0)
        queue.left_out.clear()
        queue.unanswered += 1
        self.unanswered_size += size
        self._unanswered[deposit_id] = (queue, seq, n, seconds, size)

    def pop_sent(self, deposit_id: bytes) -> tuple[SendQueue, int, int] | None:
        """
        Remove a deposit that was answered.

        @return: its queue, its row and its C{n}; C{None}: there was no such deposit.
        """
        found = self._unanswered.pop(deposit_id, None)
        if found is None:
            return None
        queue, seq, n, _, size = found
        queue.unanswered -= 1
        self.unanswered_size -= size
        self._tidy(queue)
        return queue, seq, n

    def requeue(self, queue: SendQueue, seq: int) -> None:
        """Put a row back into its queue, before those with higher seqs."""
        self._queues[queue.conversation] = queue
        insort(queue.waiting, seq)

    def pause(self, queue: SendQueue, seconds: float) -> None:
        """Hold a queue back, for longer than the last time."""
        pause = min(FIRST_PAUSE * 2.0 ** min(queue.failures, 10), MAX_PAUSE)
        queue.failures += 1
        queue.not_before = seconds + pause * (0.5 + self._jitter() / 2)

    def end_pauses(self) -> None:
        """What was refused for now may be sent at once."""
        for queue in self._queues.values():
            queue.not_before, queue.failures = 0.0, 0

    def oldest_unanswered(self) -> float | None:
        """When the oldest unanswered deposit was sent."""
        return min((since for *_, since, _ in self._unanswered.values()), default=None)

    def holding(self) -> list[SendQueue]:
        """Queues of rooms in which something is held."""
        return [queue for queue in self._queues.values() if queue.held]

    def blocked(self) -> list[SendQueue]:
        """Queues that wait for the user."""
        return [queue for queue in self._queues.values() if queue.is_blocked]

    def _tidy(self, queue: SendQueue) -> None:
        """Forget a queue that holds nothing and waits for nothing."""
        if not (queue.waiting or queue.held or queue.unanswered or queue.is_asking):
            self._queues.pop(queue.conversation, None)
