"""
Answers the messages of an account automatically, while its owner may use the account, too.

Text messages are answered; everything else, above all automatic answers from others, stays unread for the owner. While a sender
is being answered, open chats do not show messages from that sender; messages that a chat has shown are not answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from securemsg.account.connection import AccountConnection
from securemsg.account.readlocks import ReadLocks
from securemsg.client import messages
from securemsg.client.autoresponder import Autoresponder, Reply, Source
from securemsg.client.messages import Received
from securemsg.interfaces import IProfileStore

# Seconds between checks whether a chat has finished showing messages from a sender.
LOOK = 0.1
# Seconds before a source is asked again that could not be asked.
RETRY = 1.0

Call = Callable[[], None]
OnAnswered = Callable[[Received, str | None], None]


@define(eq=False)
class LockedSource:
    """
    A source of answers that locks the sender's messages while it makes an answer (L{ReadLocks}).

    @ivar guarded: makes a call, and handles what it raises.
    @ivar on_answered: called with each message and its answer, before the answer is committed.
    """

    _clock: Any
    _store: IProfileStore
    _read_locks: ReadLocks
    _source: Source
    _guarded: Callable[[Call], None]
    _on_answered: OnAnswered
    _held: dict[str, int] = field(factory=dict, init=False)
    _later: dict[int, IDelayedCall] = field(factory=dict, init=False)

    @property
    def capacity(self) -> int:
        """See L{Source.capacity}."""
        return self._source.capacity

    def ask(self, question: Received, reply: Reply) -> None:
        """
        See L{Source.ask}. This waits while another process shows messages from the sender, or the system is out of resources.
        """
        if self._read_locks.take(question):
            self._held[question.conversation.name] = question.seq
            try:
                self._source.ask(question, lambda text: self._reply(question, reply, text))
            except OSError:
                # A lack of resources may be over in a moment.
                self._free(question)
                self._later[question.seq] = self._clock.callLater(RETRY, self._again, question, reply)
        elif messages.unread_of(self._store, [question.seq]):
            self._later[question.seq] = self._clock.callLater(LOOK, self._again, question, reply)
        else:
            # Another process has shown it.
            reply(None)

    def stop(self) -> None:
        """See L{Source.stop}."""
        self._source.stop()
        later, self._later = self._later, {}
        for call in later.values():
            call.cancel()
        held, self._held = self._held, {}
        for sender in held:
            self._read_locks.free(sender)

    def _again(self, question: Received, reply: Reply) -> None:
        del self._later[question.seq]
        self._guarded(lambda: self.ask(question, reply))

    def _reply(self, question: Received, reply: Reply, text: str | None) -> None:
        """Pass on an answer, and free the lock, unless the next question of this sender holds it already."""
        self._on_answered(question, text)
        try:
            reply(text)
        finally:
            self._free(question)

    def _free(self, question: Received) -> None:
        """Free the lock, unless another question of this sender holds it."""
        if self._held.get(question.conversation.name) == question.seq:
            del self._held[question.conversation.name]
            self._read_locks.free(question.conversation.name)


@define(eq=False)
class Responder:
    """
    Answers the messages of an account, for as long as it runs.

    @ivar prepare: makes the source of answers, given a function that makes a call in the reactor's thread.
    @ivar sender: whose messages are answered; C{None}: everybody's.
    @ivar in_rooms: whether questions in rooms are answered; else they are left.
    """

    _reactor: Any
    _store: IProfileStore
    _connection: AccountConnection
    _read_locks: ReadLocks
    _now: Callable[[], float]
    _prepare: Callable[[Callable[[Call], None]], Source]
    _on_answered: OnAnswered
    _sender: str | None = None
    _in_rooms: bool = False
    _turns: LockedSource = field(init=False)
    _answerer: Autoresponder = field(init=False)
    _problem: Exception | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        source = self._prepare(self._soon)
        self._turns = LockedSource(self._reactor, self._store, self._read_locks, source, self._guarded, self._on_answered)
        self._answerer = Autoresponder(
            self._store,
            self._turns,
            self._now,
            self._connection.nudge,
            sender=self._sender,
            leaves_others=True,
            in_rooms=self._in_rooms,
        )

    async def run(self, timeout: float | None) -> None:
        """
        Answer messages. Whatever ends this, nothing keeps running, and the next run answers what was not answered.

        @param timeout: seconds; C{None}: until it is cancelled.
        @raise SecuremsgError: there is no connection and there will be none.
        """
        try:
            await self._connection.until(self._refresh, timeout)
        finally:
            self._is_over = True
            self._turns.stop()

    def _refresh(self) -> None:
        if self._problem is not None:
            raise self._problem
        self._answerer.run()

    def _soon(self, call: Call) -> None:
        self._reactor.callFromThread(self._guarded, call)

    def _guarded(self, call: Call) -> None:
        """Make a call, unless the run has ended; an exception ends the run."""
        if self._is_over:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised in L{_refresh}, which ends the run
            self._problem = error
            self._connection.changed()
