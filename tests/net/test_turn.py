"""Tests of L{securemsg.net.turn}: what is done at the end of a turn, and when that is."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.turn import ROUNDS, Turn


class TurnTests(SynchronousTestCase):
    """A turn with a clock of its own."""

    def setUp(self) -> None:
        """Nothing is to be done yet."""
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.seen: list[str] = []

    def test_order(self) -> None:
        """Calls are made in order, with one timer for all, and then it is time to write."""
        self.turn.flush_with(partial(self.seen.append, "flush"))
        for name in ("one", "two"):
            self.turn.later(partial(self.seen.append, name))
        self.assertEqual((self.seen, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(0)
        self.assertEqual(self.seen, ["one", "two", "flush"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """A call that fails is logged, and the others are made."""
        self.turn.later(lambda: [][0])
        self.turn.later(partial(self.seen.append, "two"))
        self.clock.advance(0)
        self.assertEqual(self.seen, ["two"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    def test_answers(self) -> None:
        """What a call asks for is done in the same turn, before the writing."""
        self.turn.flush_with(partial(self.seen.append, "flush"))
        self.turn.later(lambda: self.turn.later(partial(self.seen.append, "answer")))
        self.turn.begin()
        self.turn.end()
        self.assertEqual(self.seen, ["answer", "flush"])

    def test_endless(self) -> None:
        """Calls that go on asking for more leave time for the network."""

        def again() -> None:
            self.seen.append("again")
            self.turn.later(again)

        self.turn.later(again)
        self.turn.end()
        self.assertEqual(len(self.seen), ROUNDS)
        self.assertEqual(len([call for call in self.clock.getDelayedCalls() if call.active()]), 2)

    def test_begun(self) -> None:
        """Whoever begins a turn and ends it needs no timer; the next turn has one again."""
        self.turn.begin()
        self.turn.later(partial(self.seen.append, "one"))
        self.turn.expect()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turn.end()
        self.assertEqual(self.seen, ["one"])
        self.turn.later(partial(self.seen.append, "two"))
        self.clock.advance(0)
        self.assertEqual(self.seen, ["one", "two"])

    def test_writing_asks(self) -> None:
        """What the writing asks for belongs to the next turn."""
        self.turn.flush_with(lambda: self.turn.later(partial(self.seen.append, "next")) if not self.seen else None)
        self.turn.begin()
        self.turn.end()
        self.assertEqual(self.seen, [])
        self.clock.advance(0)
        self.assertEqual(self.seen, ["next"])
