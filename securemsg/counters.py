"""
What the daemon counts of itself: plain numbers, so that counting costs a message next to nothing.

They are handed to server, connections and writer when these are made, and read by C{securemsg.daemon.metrics} on demand.
Nothing here names an account, a device or an address.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

# Upper bounds of the buckets: seconds of what people wait for, seconds of commits and lateness, and sizes of batches.
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)


class Histogram:
    """
    How often values fell into buckets.

    @ivar bounds: the upper bounds of the buckets, in order; a value that is equal belongs to its bucket.
    @ivar counts: of each bucket, and of what is above all.
    @ivar total: the sum of the values.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class ServerCounters:
    """
    What the server has done.

    @ivar logins: of devices and guests, but for the contact in this process.
    @ivar registrations: of new accounts.
    @ivar deposits: that were taken into a batch.
    @ivar deliveries: messages that were sent to a device or guest.
    @ivar acknowledgements: messages that devices have acknowledged.
    @ivar refusals: commands that were refused, by code; the connection stays.
    @ivar accept: seconds from a deposit to its Accepted; of those that one connection is sent together, the first is measured.
    @ivar deliver: seconds from a deposit to its Deliver, for each device that is logged in and up to date.
    @ivar batches: deposits in each batch that was handed to the store.
    """

    def __init__(self) -> None:
        self.logins = 0
        self.registrations = 0
        self.deposits = 0
        self.deliveries = 0
        self.acknowledgements = 0
        self.refusals: Counter[str] = Counter()
        self.accept = Histogram(LATENCIES)
        self.deliver = Histogram(LATENCIES)
        self.batches = Histogram(BATCHES)


class ConnectionCounters:
    """
    Connections of one transport.

    @ivar opened: all that ever began; C{closed}: those of them that have ended.
    @ivar handshakes: that were completed, by the group of the key exchange.
    @ivar failures: connections that ended before their handshake was completed, by why.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.handshakes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()


class WriterCounters:
    """
    Commits of the writer. Only its thread counts here.

    @ivar jobs: how many jobs shared a commit.
    @ivar seconds: how long it took.
    """

    def __init__(self) -> None:
        self.jobs = Histogram(BATCHES)
        self.seconds = Histogram(DURATIONS)
