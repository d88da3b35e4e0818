"""The clock that timers follow."""

from __future__ import annotations

import time
from unittest import mock

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.clock import count_passing_time, passed_seconds


class IdleReactor(ReactorBase):
    """A reactor that never runs, and touches nothing of this process."""

    def installWaker(self) -> None:
        """It is never woken."""


class ClockTests(SynchronousTestCase):
    """It counts what passes."""

    def test_never_back(self) -> None:
        """It goes on, and never back, wherever the wall clock is set."""
        with mock.patch("time.time", lambda: 0.0):
            readings = [passed_seconds() for _ in range(100)]
        self.assertEqual(readings, sorted(readings))
        self.assertLess(readings[0], readings[-1])

    def test_suspended(self) -> None:
        """It counts the time in which the machine was suspended: that is what the kernel means by this clock."""
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.assertLessEqual(before, passed_seconds())
        self.assertLessEqual(passed_seconds(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def test_timers(self) -> None:
        """A reactor's timers come due by it."""
        reactor = IdleReactor()
        count_passing_time(reactor)
        due: list[str] = []
        with mock.patch("time.time", lambda: 0.0):
            reactor.callLater(0, due.append, "due")
            reactor.runUntilCurrent()
        self.assertEqual(due, ["due"])
