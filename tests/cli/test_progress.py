"""Progress at a terminal."""

from __future__ import annotations

import io
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.progress import QUIET_TIME, Bar


class Screen(io.StringIO):
    """Standard error that is a terminal, or none."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it is one."""
        return self._is_terminal


class BarTests(SynchronousTestCase):
    """A bar for work whose size is known."""

    def shown(self, seconds: float, *, is_terminal: bool = True, active: bool = True) -> str:
        """What shows of work that has taken so long when half of it is done."""
        screen, clock = Screen(is_terminal=is_terminal), Clock()
        self.patch(sys, "stderr", screen)
        bar = Bar("searching", 100, active=active, seconds=clock.seconds)
        clock.advance(seconds)
        bar.step(50)
        bar.stop()
        return screen.getvalue()

    def test_long(self) -> None:
        """Work that takes longer than a second shows what it is and how far it has come."""
        self.assertIn("searching", self.shown(QUIET_TIME))
        self.assertIn("50%", self.shown(QUIET_TIME))

    def test_short(self) -> None:
        """Work that is done sooner shows nothing."""
        self.assertEqual(self.shown(QUIET_TIME - 0.1), "")

    def test_elsewhere(self) -> None:
        """Nothing shows where nobody looks, or where it is not wanted."""
        self.assertEqual(self.shown(9, is_terminal=False), "")
        self.assertEqual(self.shown(9, active=False), "")
