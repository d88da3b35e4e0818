"""
Automatic answers: every text message gets exactly one, even after a crash.

Answers are a kind of message that is never answered, so that two machines cannot talk forever. Within a conversation they are
sent in the order of the questions; a slow source works on several conversations at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec
from attrs import define, field, frozen

from securemsg.client.messages import PAGE, Received, as_received, compose_in, take_from_unread, text_limit, unread_after
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import load_profile
from securemsg.client.state.records import (
    HISTORY,
    INBOUND,
    INDEX,
    LATE,
    META,
    ROWS,
    HistoryRow,
    UnreadRow,
    load,
    load_number,
    save,
)
from securemsg.client.state.retention import Retention
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_TEXT

ANSWER_LABEL = b"securemsg/1 answer"
# How many questions may wait in one conversation. Beyond that the oldest are answered with L{BUSY}.
MAX_WAITING = 1000
# How many lines of the lobby are relayed in one go: each is written to everybody there, and other work waits meanwhile.
MAX_RELAYED = 8
# How many waiting questions are kept in memory, over all conversations; the others are loaded when there is room.
MAX_KNOWN = 100_000
BUSY = "error: busy"

Reply = Callable[[str | None], None]


def answer_id(sender: str, message_id: bytes) -> bytes:
    """The message id of the answer to a question: always the same, so that nothing is answered twice."""
    return keys.digest(ANSWER_LABEL, sender.encode("utf-8"), message_id)[: keys.ID_SIZE]


class Source(Protocol):
    """Where answers come from."""

    @property
    def capacity(self) -> int:
        """How many questions it answers at the same time."""

    def ask(self, question: Received, reply: Reply) -> None:
        """
        Ask. It may be asked again about a message, if we died meanwhile.

        @param reply: to be called with the answer, or with C{None} for none: once, at once or later, but in the thread of
            whoever asked; or never, where everything ends.
        """

    def stop(self) -> None:
        """Stop answering, and leave nothing running. From any thread."""


@frozen
class Immediate:
    """A source that knows its answer at once."""

    _answer: Callable[[Received], str | None]
    capacity: int = field(default=1, init=False)

    def ask(self, question: Received, reply: Reply) -> None:
        """See L{Source.ask}."""
        reply(self._answer(question))

    def stop(self) -> None:
        """See L{Source.stop}."""


def _ignore() -> None:
    """Do nothing."""


@define(eq=False)
class Autoresponder:
    """
    Reads the messages in a store, and writes answers to it. Everything runs in the thread that calls L{run}.

    @ivar now: the time, in seconds.
    @ivar on_written: called when there are answers to send.
    @ivar on_received: called with every message, in order, before it is answered; with a late one when it comes. If it raises,
        L{Autoresponder.run} raises the same, nothing is done, and the next call gets the same messages. After a crash it may
        get the last messages again.
    @ivar retention: what is kept of what was answered; C{None}: everything.
    @ivar sender: whose messages are answered; C{None}: everybody's.
    @ivar relay: takes what is said in the lobby, given the store, and says whether there is something to send; C{None}: it is
        answered like anything else.
    @ivar in_rooms: whether questions in rooms are answered, for all their members to read; else they are left.
    @ivar is_unfinished: L{run} has left something to be relayed; call it again soon.
    @ivar known: how many waiting questions are in memory.
    @ivar leaves_others: whether messages that are not questions stay unread, for other readers.
    """

    _store: IProfileStore
    _source: Source
    _now: Callable[[], float]
    _on_written: Callable[[], None] = _ignore
    _on_received: Callable[[list[Received]], None] | None = None
    _retention: Retention | None = None
    _sender: str | None = None
    _leaves_others: bool = False
    _relay: Callable[[IProfileStore, Received], bool] | None = None
    _in_rooms: bool = False
    is_unfinished: bool = field(default=False, init=False)
    # The conversations with a question under way, and its seq; and those that wait, in the order of their turns.
    _asked: dict[Conversation, int] = field(factory=dict, init=False)
    _waiting: dict[Conversation, deque[int]] = field(factory=dict, init=False)
    _turns: deque[Conversation] = field(factory=deque, init=False)
    known: int = field(default=0, init=False)
    # The seq up to which this looked, and how many messages had come late by then.
    _last: int = field(default=-1, init=False)
    _late: int = field(default=0, init=False)
    _is_running: bool = field(default=False, init=False)
    _has_written: bool = field(default=False, init=False)

    def run(self) -> None:
        """
        Answer everything that is unread. To be called after every change, and now and then.

        Errors of the store and of C{on_received} are raised; the next call then starts over.
        """
        if self._is_running:
            return
        self._is_running = True
        try:
            more = True
            while more:
                more = self._load_unread()
                self._ask_next()
        # Whatever it is, unfinished work may or may not be done, so the next call loads everything again.
        except BaseException:
            self._forget()
            raise
        finally:
            self._is_running = False
            written, self._has_written = self._has_written, False
            if written:
                self._on_written()

    def _load_unread(self) -> bool:
        """
        Load new messages, and pass them to C{on_received}.

        @return: whether there may be more.
        """
        self._check_late()
        limit = min(PAGE, MAX_KNOWN - self.known)
        fresh, reached = unread_after(self._store, self._sender, limit, self._last)
        if self._on_received is not None and fresh:
            self._show(self._on_received, fresh)
        under_way = set(self._asked.values())
        relayed = 0
        self.is_unfinished = False
        for message in fresh:
            if relayed == MAX_RELAYED:
                self.is_unfinished = True
                return False
            self._last = message.seq
            if self._relay is not None and message.room:
                relayed += 1
                self._has_written |= self._relay(self._store, message)
            elif message.seq not in under_way and not self._is_left(message):
                self._queue(message)
        self._last = reached
        return 0 < limit == len(fresh)

    def _is_left(self, message: Received) -> bool:
        """Whether a message stays as it is, for other readers."""
        if message.conversation.is_room and not self._in_rooms:
            return True
        return self._leaves_others and message.kind != Kind.TEXT

    def _queue(self, message: Received) -> None:
        """Have a message wait for its conversation's turn."""
        conversation = message.conversation
        queue = self._waiting.get(conversation)
        if queue is None:
            queue = self._waiting[conversation] = deque()
            if conversation not in self._asked:
                self._turns.append(conversation)
        queue.append(message.seq)
        self.known += 1

    def _check_late(self) -> None:
        """Start over if a message came late: its seq may be lower than those that were loaded."""
        with self._store.reading() as records:
            late = load_number(records, META, LATE)
        if late != self._late:
            self._forget()
            self._late = late

    def _show(self, on_received: Callable[[list[Received]], None], fresh: list[Received]) -> None:
        with self._store.reading() as records:
            rows = [load(records, UnreadRow, INBOUND, ROWS, message.seq) for message in fresh]
        unseen = [message for message, row in zip(fresh, rows, strict=True) if row is None or not row.was_shown]
        if unseen:
            on_received(unseen)
            with self._store.writing() as records:
                for message in unseen:
                    row = load(records, UnreadRow, INBOUND, ROWS, message.seq)
                    if row is not None:
                        save(records, INBOUND, ROWS, msgspec.structs.replace(row, was_shown=True), message.seq)

    def _ask_next(self) -> None:
        """Ask the next questions, one conversation after the other, as long as the source takes any."""
        while self._turns and len(self._asked) < self._source.capacity:
            conversation = self._turns.popleft()
            queue = self._waiting[conversation]
            seq = queue.popleft()
            self.known -= 1
            question = self._load(seq)
            if question is None:
                self._end_turn(conversation)
                continue
            self._asked[conversation] = seq
            reply = partial(self._answered, conversation, question)
            if question.kind != Kind.TEXT:
                reply(None)
            elif len(queue) >= MAX_WAITING:
                reply(BUSY)
            else:
                self._ask_source(conversation, question, reply)

    def _ask_source(self, conversation: Conversation, question: Received, reply: Reply) -> None:
        """Ask the source; if that fails, the question is not under way."""
        try:
            self._source.ask(question, reply)
        # Whatever it is, the source was not asked, and may take the next question.
        except BaseException:
            self._asked.pop(conversation, None)
            raise

    def _answered(self, conversation: Conversation, question: Received, text: str | None) -> None:
        if self._asked.get(conversation) != question.seq:
            return
        try:
            self._commit(question, text)
        # As in L{run}: the question is not answered.
        except BaseException:
            self._forget()
            raise
        finally:
            self._asked.pop(conversation, None)
        self._end_turn(conversation)
        self.run()

    def _end_turn(self, conversation: Conversation) -> None:
        """The next question of this conversation comes after one of every other."""
        if self._waiting.get(conversation):
            self._turns.append(conversation)
        else:
            self._waiting.pop(conversation, None)

    def _forget(self) -> None:
        """Forget the waiting questions, so that they are loaded again."""
        self._waiting.clear()
        self._turns.clear()
        self.known = 0
        self._last = -1

    def _load(self, seq: int) -> Received | None:
        """A question, if it is still unread."""
        with self._store.reading() as records:
            waiting = load(records, UnreadRow, INBOUND, ROWS, seq)
            profile = load_profile(records)
            row = None if waiting is None else load(records, HistoryRow, HISTORY, waiting.conversation.bucket, seq)
            if waiting is None or profile is None or row is None:
                return None
            return as_received(records, profile, waiting.conversation, seq, row)

    def _commit(self, question: Received, text: str | None) -> None:
        """Commit the answer, and mark the question as read."""
        written = commit_answer(self._store, question, text, self._now(), self._retention)
        self._has_written = self._has_written or written


def commit_answer(
    store: IProfileStore, question: Received, text: str | None, now: float, retention: Retention | None = None
) -> bool:
    """
    Commit an answer, or that there is none, and mark its question as read.

    @return: whether there is an answer to be sent.
    """
    message_id = answer_id(question.sender, question.id)
    with store.writing() as records:
        if records.get(INBOUND, ROWS, question.seq) is None:
            # Another process was faster.
            return False
        take_from_unread(records, question.seq, now)
        written = text is not None and records.get(INDEX, message_id) is None
        if text is not None and written:
            try:
                compose_in(
                    records,
                    question.conversation,
                    fitting(text, text_limit(question.conversation)),
                    now=int(now),
                    message_id=message_id,
                    kind=Kind.ANSWER,
                )
            except Refusal:
                # No message can be sent to this name; the question is marked as read anyway.
                written = False
        if retention is not None:
            retention.trim(records, question.conversation, int(now))
    return written


def fitting(text: str, limit: int = MAX_TEXT) -> str:
    """As much of a text as fits in one message; characters that cannot be encoded become question marks."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
