"""What the server counts of itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.counters import Histogram, ServerCounters
from securemsg.protocol.messages import Destination, Part
from tests.server.case import TwoPeople, changed


class HistogramTests(SynchronousTestCase):
    """Buckets."""

    def test_buckets(self) -> None:
        """A value belongs to the first bucket whose bound it does not exceed, or to none of them."""
        histogram = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 3.0):
            histogram.observe(value)
        self.assertEqual((histogram.counts, histogram.total), ([2, 1, 1], 6.0))


class CounterTests(TwoPeople):
    """Each fact is counted once."""

    def warm(self) -> ServerCounters:
        """Counters that begin once accounts are in memory."""
        self.store([b"before"])
        self.reader.acknowledge()
        self.rig.commit()
        counters = self.rig.server.counters
        fresh = ServerCounters()
        for name in ("deposits", "deliveries", "acknowledgements", "accept", "deliver", "batches"):
            setattr(counters, name, getattr(fresh, name))
        return counters

    def test_people(self) -> None:
        """Registrations and logins are counted; the contact in this process is nobody."""
        counters = self.rig.server.counters
        self.assertEqual((counters.registrations, counters.logins), (2, 2))
        self.rig.login(self.bob)
        self.rig.contact()
        self.assertEqual((counters.registrations, counters.logins), (2, 3))

    def test_message(self) -> None:
        """A message that is acknowledged at once is delivered and accepted, and in no batch."""
        counters = self.warm()
        self.sender.send(self.sender.deposit(self.bob))
        self.rig.run()
        self.assertEqual((counters.deposits, counters.deliveries, counters.acknowledgements), (1, 1, 0))
        self.assertEqual((counters.deliver.counts[0], sum(counters.accept.counts)), (1, 0))
        self.reader.acknowledge()
        self.rig.run()
        self.assertEqual((counters.acknowledgements, sum(counters.accept.counts)), (1, 1))
        self.assertEqual(sum(counters.batches.counts), 0)

    def test_stored(self) -> None:
        """One that waits for its commit is accepted after so long, with what is answered together, and was one in a batch."""
        counters = self.warm()
        self.rig.lose(self.reader)
        self.sender.send(self.sender.deposit(self.bob), self.sender.deposit(self.bob))
        self.rig.begin_commit()
        self.rig.time += 0.2
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 2)
        self.assertEqual(counters.accept.counts[counters.accept.bounds.index(0.25)], 1)
        self.assertAlmostEqual(counters.accept.total, 0.2, 3)
        self.assertEqual((counters.batches.total, counters.deliveries), (2, 0))

    def test_refused(self) -> None:
        """A refusal is counted under its code, whoever finds the reason."""
        self.refused(self.sender.deposit(self.bob, expiry=0))
        self.two_devices()
        self.refused(changed(self.sender.deposit(self.bob), to=[Destination("bob", [Part(self.bob.device_id, b"")])]))
        self.assertEqual(self.rig.server.counters.refusals, {"bad-request": 1, "stale-devices": 1})
