"""Answers by machine, beside whatever else goes on with a profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.account.readlocks import ReadLocks
from securemsg.account.responder import Responder
from securemsg.client import messages
from securemsg.client.autoresponder import Reply
from securemsg.client.messages import Received
from securemsg.protocol.envelope import Kind
from securemsg.responders.pool import NoThread
from tests.account.test_bot import BotCase


@define(eq=False)
class Slow:
    """A source that answers when it is told to."""

    capacity: int = 4
    failure: OSError | None = None
    asked: list[tuple[Received, Reply]] = field(factory=list)
    is_stopped: bool = False

    def ask(self, question: Received, give: Reply) -> None:
        """Remember who asked."""
        if self.failure is not None:
            raise self.failure
        self.asked.append((question, give))

    def stop(self) -> None:
        """It is over."""
        self.is_stopped = True


class RespondingTests(BotCase):
    """Ada asks Bix, who is away; machines answer for him."""

    def setUp(self) -> None:
        """One run of a machine."""
        super().setUp()
        self.told: list[tuple[str, str | None]] = []
        self.source, self.running = self.start_responder()

    def start_responder(self, sender: str | None = None) -> tuple[Slow, Deferred[None]]:
        """Another process that answers."""
        source = Slow()
        context = self.bix.context
        self.connection = self.place._connection(context, True)
        self.read_locks = ReadLocks(self.folder("bix"), context.store)
        self.addCleanup(self.read_locks.close)

        def prepare(soon: Callable[[Callable[[], None]], None]) -> Slow:
            self.soon = soon
            return source

        responder = Responder(
            self.reactor, context.store, self.connection, self.read_locks, self.place.now, prepare, self.tell, sender
        )
        self.connection.start()
        running = Deferred.fromCoroutine(responder.run(None))
        running.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        self.place.settle(2)
        return source, running

    def tell(self, question: Received, text: str | None) -> None:
        """Remember what was told."""
        self.told.append((question.text, text))

    def give(self, place: int, text: str | None, source: Slow | None = None) -> None:
        """Answer what was asked at this place."""
        _, give = (source or self.source).asked[place]
        self.soon(lambda: give(text))
        self.place.settle(2)

    def texts(self) -> list[str]:
        """What was asked so far."""
        return [question.text for question, _ in self.source.asked]

    def elsewhere(self, message: Received) -> bool:
        """Whether a chat could give this message now."""
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if ReadLocks(self.folder("bix"), self.bix.context.store).take(message) else 1)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_answer(self) -> None:
        """A text is asked about, answered, and told of; then it is done with."""
        self.write("one")
        self.give(0, "ONE")
        self.assertEqual([row.text for row in self.answers()], ["ONE"])
        self.assertEqual((self.told, self.waiting()), ([("one", "ONE")], []))

    def test_interrupted(self) -> None:
        """An interrupt stops the source; the question is asked again by the next run, and a late answer counts nothing."""
        self.write("one")
        self.running.cancel()
        self.assertTrue(self.source.is_stopped)
        self.give(0, "late")
        self.assertEqual((self.answers(), self.waiting()), ([], ["one"]))
        self.connection.stop()
        self.place.settle()
        source, _ = self.start_responder()
        self.give(0, "ONE", source)
        self.assertEqual([row.text for row in self.answers()], ["ONE"])

    def test_answers_stay(self) -> None:
        """Answers of others are not asked about, and stay for their reader."""
        self.write("I am a machine", kind=Kind.ANSWER)
        self.write("and I am not")
        self.assertEqual(self.texts(), ["and I am not"])
        self.give(0, "so?")
        self.assertEqual(self.waiting(), ["I am a machine"])

    def test_from(self) -> None:
        """With a sender, the messages of others stay."""
        self.running.cancel()
        self.connection.stop()
        self.place.settle()
        self.source, _ = self.start_responder("cleo")
        cleo = self.place.person("cleo", again=True)
        messages.compose(cleo.context.store, "bix", "from cleo", now=self.place.now())
        self.write("from ada")
        self.assertEqual((self.texts(), self.waiting()), (["from cleo"], ["from ada", "from cleo"]))

    def test_kept_from_chats(self) -> None:
        """While somebody's message is answered no chat gives anything of theirs; afterwards it may."""
        self.write("one")
        first = self.source.asked[0][0]
        self.assertFalse(self.elsewhere(first))
        self.write("two")
        self.give(0, "ONE")
        second = self.source.asked[1][0]
        self.assertFalse(self.elsewhere(second))
        self.give(1, "TWO")
        self.write("three", kind=Kind.ANSWER)
        (third,) = messages.unread(self.bix.context.store)
        self.assertTrue(self.elsewhere(third))

    def test_chat_is_faster(self) -> None:
        """What a chat has in hand waits, and is not asked about once the chat has shown it; what follows is."""
        ready, go = os.pipe()
        done, begin = os.pipe()
        child = os.fork()
        if child == 0:
            # A chat that stands still with the turn at what Ada wrote.
            try:
                ReadLocks(self.folder("bix"), self.bix.context.store)._locks.take("ada")
                os.write(go, b"x")
                os.read(done, 1)
            finally:
                os._exit(0)
        os.read(ready, 1)
        self.write("one", "two")
        self.assertEqual(self.texts(), [])
        messages.mark_read(self.bix.context.store, [messages.unread(self.bix.context.store)[0].seq], now=0)
        os.write(begin, b"x")
        os.waitpid(child, 0)
        for descriptor in (ready, go, done, begin):
            os.close(descriptor)
        self.place.settle(2)
        self.assertEqual(self.texts(), ["two"])
        self.give(0, "TWO")
        self.assertEqual([row.text for row in self.answers()], ["TWO"])

    def test_trouble(self) -> None:
        """What goes wrong while an answer is taken in ends the run, and the message stays."""
        self.write("one")

        def fail() -> None:
            raise error_for("profile-unreadable")

        self.soon(fail)
        self.place.settle(2)
        self.assertEqual(self.failureResultOf(self.running, SecuremsgError).value.code, "profile-unreadable")
        self.assertTrue(self.source.is_stopped)
        self.assertEqual(self.waiting(), ["one"])

    def test_no_room(self) -> None:
        """Where the system has no room for an answer it is tried again; meanwhile others may give what its sender wrote."""
        self.source.failure = NoThread(11, "no thread")
        self.write("one")
        self.assertEqual(self.texts(), [])
        (question,) = messages.unread(self.bix.context.store)
        self.assertTrue(self.elsewhere(question))
        self.source.failure = None
        self.place.settle(2)
        self.assertFalse(self.elsewhere(question))
        self.give(0, "ONE")
        self.assertEqual([row.text for row in self.answers()], ["ONE"])

    def test_folder(self) -> None:
        """The lock of turns is the one that chats use."""
        self.write("one")
        self.assertTrue(Path(self.folder("bix") / "read.lock").exists())
