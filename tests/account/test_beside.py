"""Waiting beside the process that has the connection, without a reactor."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.beside import LONGEST_LOOK, SHORTEST_LOOK, OwnerGone, OwnersConnection, finish
from securemsg.account.timeouts import IdleTimeout, Timeout, rest_of
from securemsg.account.wake import WAKE
from securemsg.account.wakefifo import WakeFifo
from tests.account.test_wake import Readers


class BesideTests(SynchronousTestCase):
    """An owner that listens, a clock that moves while we sleep, and a store in which something happens at some time."""

    def setUp(self) -> None:
        """Let the owner listen."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.owner = WakeFifo(Readers(), folder / WAKE, lambda: None)  # type: ignore[arg-type]  # the part that it uses
        self.addCleanup(self.owner.close)
        self.now = 0.0
        self.slept: list[float] = []
        self.happening: list[tuple[float, Callable[[], object]]] = []
        self.connection = OwnersConnection(folder, "example:8443", lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds
        for at, what in self.happening:
            if at <= self.now:
                what()

    def wait(self, at: float, timeout: Timeout) -> str | None:
        """Wait for what is there from this time on."""
        return finish(self.connection.until(lambda: "there" if self.now >= at else None, timeout))

    def test_at_once(self) -> None:
        """What is there already is not waited for."""
        self.assertEqual((self.wait(0, 5), self.slept), ("there", []))

    def test_prompt(self) -> None:
        """It is noticed within a few milliseconds, or a tenth of the time that it took."""
        for at in (0.001, 0.02, 0.2, 2):
            self.now = 0.0
            self.assertEqual(self.wait(at, None), "there")
            self.assertLessEqual(self.now - at, max(SHORTEST_LOOK, min(at / 9, LONGEST_LOOK)))

    def test_seldom(self) -> None:
        """A long wait looks no more often than ten times a second, and a short one a few dozen times."""
        self.assertEqual(self.wait(60, None), "there")
        self.assertEqual(set(self.slept[-100:]), {LONGEST_LOOK})
        self.assertLess(len([pause for pause in self.slept if pause < LONGEST_LOOK]), 50)

    def test_too_late(self) -> None:
        """After the timeout there is no result, and the timeout is kept."""
        for timeout in (5, IdleTimeout(5)):
            self.now = 0.0
            self.assertIsNone(self.wait(10, timeout))
            self.assertAlmostEqual(self.now, 5)

    def test_owner_gone(self) -> None:
        """Once the owner is gone, whoever waits must connect."""
        self.happening.append((1, self.owner.close))
        self.assertRaises(OwnerGone, self.wait, 2, 5)
        self.assertLess(self.now, 1 + 2 * LONGEST_LOOK)

    def test_last_act(self) -> None:
        """What the owner has committed before its end counts, also right after a look that did not find it."""
        looks = iter([None, "there"])

        def check() -> str | None:
            self.owner.close()
            return next(looks)

        self.assertEqual(finish(self.connection.until(check, 5)), "there")

    def test_rest(self) -> None:
        """Whoever connects after that has the rest of a hard limit, and all of one that counts from when bytes moved."""
        self.assertEqual([rest_of(5, 2), rest_of(5, 7), rest_of(None, 7)], [3, 0, None])
        self.assertEqual(rest_of(IdleTimeout(5), 7), IdleTimeout(5))

    def test_nothing_else(self) -> None:
        """A coroutine that waits for something else is our bug."""

        async def waits() -> None:
            await Deferred()

        self.assertRaises(AssertionError, finish, waits())
