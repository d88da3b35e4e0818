"""
An account that answers by machine, beside whatever else its owner does with it.

Texts are answered; what is no text, answers of other machines above all, is left for its owner to read. The messages of a
sender who is being answered are kept from open chats as long as that takes, and those that a chat has shown are not answered.
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

# Between two looks whether a chat is through with what it shows of a sender, seconds.
LOOK = 0.1
# Between two tries to ask a source that cannot be asked now, seconds.
RETRY = 1.0

Call = Callable[[], None]
Told = Callable[[Received, str | None], None]


@define(eq=False)
class Turns:
    """
    A source of answers that has the turn at a sender's messages while it makes one (L{ReadLocks}).

    @ivar guarded: makes a call, and sees to what it raises.
    @ivar told: is told of every message that was seen to, with the answer, before that is committed.
    """

    _clock: Any
    _store: IProfileStore
    _read_locks: ReadLocks
    _source: Source
    _guarded: Callable[[Call], None]
    _told: Told
    _held: dict[str, int] = field(factory=dict, init=False)
    _later: dict[int, IDelayedCall] = field(factory=dict, init=False)

    @property
    def capacity(self) -> int:
        """See L{Source.capacity}."""
        return self._source.capacity

    def ask(self, question: Received, reply: Reply) -> None:
        """
        See L{Source.ask}. It waits for those who give something of this sender's just now, and where the system has no room.
        """
        if self._read_locks.take(question):
            self._held[question.sender] = question.seq
            try:
                self._source.ask(question, lambda text: self._give(question, reply, text))
            except OSError:
                # What the system has no room for now it may have in a moment.
                self._free(question)
                self._later[question.seq] = self._clock.callLater(RETRY, self._again, question, reply)
        elif messages.is_unread(self._store, question.seq):
            self._later[question.seq] = self._clock.callLater(LOOK, self._again, question, reply)
        else:
            # Somebody has read it.
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

    def _give(self, question: Received, reply: Reply, text: str | None) -> None:
        """Hand on an answer, and let others have the turn, unless the next question of this sender has it already."""
        self._told(question, text)
        try:
            reply(text)
        finally:
            self._free(question)

    def _free(self, question: Received) -> None:
        """Let others have the turn, unless another question of this sender has it."""
        if self._held.get(question.sender) == question.seq:
            del self._held[question.sender]
            self._read_locks.free(question.sender)


@define(eq=False)
class Responder:
    """
    Answers what comes to an account, for as long as it runs.

    @ivar prepare: makes the source of answers; is handed what makes a call in the reactor's thread.
    @ivar sender: whose messages are answered; C{None}: everybody's.
    """

    _reactor: Any
    _store: IProfileStore
    _connection: AccountConnection
    _read_locks: ReadLocks
    _now: Callable[[], float]
    _prepare: Callable[[Callable[[Call], None]], Source]
    _told: Told
    _sender: str | None = None
    _turns: Turns = field(init=False)
    _answerer: Autoresponder = field(init=False)
    _problem: Exception | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        source = self._prepare(self._soon)
        self._turns = Turns(self._reactor, self._store, self._read_locks, source, self._guarded, self._told)
        self._answerer = Autoresponder(
            self._store, self._turns, self._now, self._connection.nudge, sender=self._sender, leaves_others=True
        )

    async def run(self, timeout: float | None) -> None:
        """
        Answer. Whatever ends this, nothing of it runs on, and what was not answered is asked again by the next run.

        @param timeout: seconds; C{None}: until it is cancelled.
        @raise SecuremsgError: there is no connection, and none is to be expected.
        """
        try:
            await self._connection.until(self._look, timeout)
        finally:
            self._is_over = True
            self._turns.stop()

    def _look(self) -> None:
        if self._problem is not None:
            raise self._problem
        self._answerer.run()

    def _soon(self, call: Call) -> None:
        self._reactor.callFromThread(self._guarded, call)

    def _guarded(self, call: Call) -> None:
        """Make a call, if it is not too late for that."""
        if self._is_over:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for, which ends us
            self._problem = error
            self._connection.changed()
