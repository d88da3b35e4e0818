"""C{make mutate}: it says which guards can go unnoticed."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.mutate.__main__ import GUARDS, check


class MutateTests(SynchronousTestCase):
    """Some guards, in a copy of the product."""

    def test_survivors(self) -> None:
        """A guard whose test fails without it is none to speak of; one that nobody misses is, and one that is not there."""
        [guard] = [guard for guard in GUARDS if guard.source == "taken = keys.pop(number)"]
        unneeded = evolve(guard, replacement="taken = keys.pop(number, b'')")
        stale = evolve(guard, source="taken = keys.get(number)")
        wrong = check([guard, unneeded, stale], 2)
        self.assertEqual([each for each, _ in wrong], [unneeded, stale])
        self.assertEqual([why.split()[0] for _, why in wrong], ["survives:", "stands"])
