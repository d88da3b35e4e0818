"""
Machines that answer.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import journal
from securemsg.client.answering import Answerer, answer_id, fitting
from securemsg.client.journal import Received
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_TEXT
from tests.client.rig import World


class AnsweringTests(SynchronousTestCase):
    """
    A machine that repeats what it is told.
    """

    def setUp(self) -> None:
        """
        Alice can talk to it.
        """
        self.world = World()
        self.alice, self.bot = self.world.user("alice"), self.world.user("bot")
        self.asked: list[Received] = []

    def echo(self, question: Received) -> str | None:
        """
        Say the same, or nothing to those who say nothing.
        """
        self.asked.append(question)
        return question.text or None

    def answer(self) -> int:
        """
        Let the machine answer what has come.
        """
        count = Answerer(self.bot.store, self.echo).run(self.world.clock)
        self.bot.pump()
        return count

    def test_answers(self) -> None:
        """
        Every text gets its answer, in order.
        """
        for number in range(3):
            self.alice.send("bot", f"{number}")
        self.assertEqual(self.answer(), 3)
        self.assertEqual(self.alice.read(), ["0", "1", "2"])
        self.assertEqual({message.kind for message in self.alice.given}, {Kind.ANSWER})

    def test_once(self) -> None:
        """
        What was answered is not asked again.
        """
        self.alice.send("bot", "hello")
        self.answer()
        self.assertEqual(self.answer(), 0)
        self.assertEqual(len(self.asked), 1)

    def test_no_answer(self) -> None:
        """
        A machine that has nothing to say has dealt with the message all the same.
        """
        self.alice.send("bot", "")
        self.assertEqual(self.answer(), 0)
        self.assertEqual(journal.unread(self.bot.store), {})
        self.assertEqual(self.alice.read(), [])

    def test_quiet(self) -> None:
        """
        Two machines that are pointed at each other stay quiet after one answer.
        """
        self.alice.send("bot", "hello")
        self.answer()
        other = Answerer(self.alice.store, lambda question: "again")
        self.assertEqual(other.run(self.world.clock), 0)
        self.alice.pump()
        self.assertEqual(self.answer(), 0)

    def test_same_answer(self) -> None:
        """
        The answer to a question has an id that is always the same, and another one for everybody else.
        """
        self.alice.send("bot", "hello")
        question = journal.ungiven(self.bot.store)[0]
        self.assertEqual(answer_id(question), answer_id(question))
        self.answer()
        self.assertEqual(self.alice.lines("bot")[-1].id, answer_id(question))

    def test_long(self) -> None:
        """
        An answer that is too long is cut, and not within a character.
        """
        text = "\u20ac" * MAX_TEXT
        self.assertLessEqual(len(fitting(text).encode()), MAX_TEXT)
        self.assertEqual(set(fitting(text)), {"\u20ac"})

    def test_no_text(self) -> None:
        """
        What cannot be encoded becomes question marks.
        """
        self.assertEqual(fitting("a\ud800b"), "a?b")

    def test_many(self) -> None:
        """
        More questions than are read at once are all answered.
        """
        self.bot.disconnect()
        self.world.settle()
        for number in range(journal.PAGE + 10):
            journal.compose(self.alice.store, "bot", f"{number}", now=self.world.clock)
        self.alice.pump()
        self.bot.connect()
        self.assertEqual(self.answer(), journal.PAGE + 10)
        self.assertEqual(len(self.alice.read()), journal.PAGE)
        self.assertEqual(len(self.alice.read()), 10)
