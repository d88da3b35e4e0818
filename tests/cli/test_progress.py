"""Progress at a terminal."""

from __future__ import annotations

import io
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.progress import QUIET_TIME, progress


class Screen(io.StringIO):
    """Standard error that is a terminal, or none."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it is one."""
        return self._is_terminal


class ProgressTests(SynchronousTestCase):
    """What is shown of work that takes long."""

    def shown(self, seconds: float, total: int | None = 100, *, is_terminal: bool = True, is_active: bool = True) -> str:
        """What shows of work that has taken so long after 50 steps."""
        screen, clock = Screen(is_terminal=is_terminal), Clock()
        self.patch(sys, "stderr", screen)
        with progress("messages", total, unit=10, is_active=is_active, seconds=clock.seconds) as step:
            clock.advance(seconds)
            step(30)
            step(20)
        return screen.getvalue()

    def test_long(self) -> None:
        """Work that takes longer than a second shows what it is and how far it has come."""
        shown = self.shown(QUIET_TIME, total=10)
        self.assertIn("messages", shown)
        self.assertIn("50%", shown)

    def test_unknown_size(self) -> None:
        """Where nobody knows how much work there is, it is counted."""
        self.assertIn("5 messages", self.shown(QUIET_TIME, total=None))

    def test_short(self) -> None:
        """Work that is done sooner shows nothing."""
        self.assertEqual(self.shown(QUIET_TIME - 0.1), "")

    def test_elsewhere(self) -> None:
        """Nothing shows where nobody looks, or where it is not wanted."""
        self.assertEqual(self.shown(9, is_terminal=False), "")
        self.assertEqual(self.shown(9, is_active=False), "")
