"""How long and how much is measured."""

from __future__ import annotations

from attrs import frozen


@frozen
class Scale:
    """
    Everything that options can change.

    @ivar seconds: of each single measurement.
    @ivar rounds: how often each is made, in turn with those of the others.
    @ivar connections: how many idle ones are counted, one figure for each.
    @ivar growth: how many connections are many, for the cost of a message.
    @ivar messages: that go through the mailboxes.
    @ivar queue: that wait in one mailbox.
    @ivar lines: that one profile sends, and receives.
    """

    seconds: float = 3
    rounds: int = 3
    connections: tuple[int, ...] = (1000, 10_000)
    growth: int = 5000
    messages: int = 50_000
    queue: int = 1_000_000
    lines: int = 10_000
    pairs: int = 50

    @property
    def few_connections(self) -> int:
        """The smaller number of idle ones."""
        return min(self.connections)

    @property
    def most(self) -> int:
        """The largest number of connections at once."""
        return max(*self.connections, self.growth, 4 * self.pairs)


QUICK = Scale(1, 1, (200,), 200, 4000, 20_000, 200, 20)
