"""The clock that timers follow."""

from __future__ import annotations

import time
from itertools import count

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.clock import monotonic_seconds, use_monotonic_clock


class IdleReactor(ReactorBase):
    """A reactor that never runs, touches nothing of this process, and whose wall clock goes back."""

    def __init__(self) -> None:
        super().__init__()
        wall_clock = count(0, -1)
        self.seconds = lambda: next(wall_clock)

    def installWaker(self) -> None:
        """It is never woken."""


class ClockTests(SynchronousTestCase):
    """Monotonic time."""

    def test_suspended(self) -> None:
        """It includes the time in which the machine was suspended: that is what the kernel means by this clock."""
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.assertLessEqual(before, monotonic_seconds())
        self.assertLessEqual(monotonic_seconds(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def test_timers(self) -> None:
        """A reactor's timers come due by it; by a wall clock that goes back they do not."""
        due: list[str] = []
        for name in ("wall clock", "monotonic"):
            reactor = IdleReactor()
            if name == "monotonic":
                use_monotonic_clock(reactor)
            reactor.callLater(0, due.append, name)
            reactor.runUntilCurrent()
        self.assertEqual(due, ["monotonic"])
