"""The garbage collector of the daemon."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.collector import MIDDLE, OLD, YOUNG, relax_collector


class CollectorTests(SynchronousTestCase):
    """What is there at the start stays, and new garbage goes."""

    def test_relaxed(self) -> None:
        """What is in memory is passed over from then on; cycles that come later are still freed."""
        before = gc.get_threshold()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *before)
        relax_collector()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertEqual(gc.get_threshold(), (YOUNG, MIDDLE, OLD))
        for _ in range(3):
            cycle: list[object] = []
            cycle.append(cycle)
        del cycle
        self.assertGreaterEqual(gc.collect(), 3)
