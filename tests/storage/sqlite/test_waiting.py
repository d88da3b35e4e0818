"""What waits in all mailboxes together."""

from __future__ import annotations

from securemsg.interfaces import DepositRow
from securemsg.storage.sqlite.memory import MemoryServerStore
from securemsg.storage.sqlite.schema import POSITION_BITS
from securemsg.storage.sqlite.waiting import LOOK, Waiting
from tests.storage.contract import InMemory
from tests.storage.stores import DAY, NOW, deposit, until


class WaitingTests(InMemory):
    """What is counted."""

    __test__ = True

    def setUp(self) -> None:
        """Alice writes."""
        super().setUp()
        (self.alice,) = self.join("alice")

    def waiting(self, after: int = 0) -> Waiting:
        """One look."""
        assert isinstance(self.store, MemoryServerStore)
        return self.successResultOf(self.store.waiting(after))

    def at(self, n: int, arrived_at: int, *rows: tuple[int, int]) -> DepositRow:
        """A deposit that came then."""
        return until(deposit(self.alice, b"d%d" % n, n, *rows), NOW + 30 * DAY, arrived_at=arrived_at)

    def test_nothing(self) -> None:
        """Nothing waits for anybody."""
        self.assertEqual(self.waiting(), Waiting(0, 0, None, 0))

    def test_oldest(self) -> None:
        """All messages and bytes are counted, and the oldest that is not acknowledged is found, also within a segment."""
        (bob,) = self.join("bob")
        self.write(self.at(1, NOW, (bob, 1)), self.at(2, NOW + 5, (bob, 2)))
        found = self.waiting()
        self.assertEqual((found.messages, found.oldest, found.last), (2, NOW, 0))
        self.assertGreater(found.size, 2 * len(b"common"))
        self.write(acknowledged={bob: 1})
        self.assertEqual(self.waiting().oldest, NOW + 5)

    def test_damaged(self) -> None:
        """A segment that cannot be read does not keep the others from being counted."""
        (bob,), (carol,) = self.join("bob"), self.join("carol")
        self.write(self.at(1, NOW, (bob, 1)), self.at(2, NOW + 5, (carol, 1)))
        assert isinstance(self.store, MemoryServerStore)
        self.store._connection.execute("UPDATE messages SET bodies = x'c1' WHERE place < ?", (carol << POSITION_BITS,))
        self.assertEqual((self.waiting().messages, self.waiting().oldest), (2, NOW + 5))

    def test_bounded(self) -> None:
        """One look is at so many mailboxes; the next goes on where it has ended."""
        boxes = [self.join(f"p{number}")[0] for number in range(LOOK + 1)]
        self.write(*[self.at(n, NOW + n, (box, 1)) for n, box in enumerate(boxes[::-1], 1)])
        first = self.waiting()
        self.assertEqual((first.messages, first.oldest, first.last), (LOOK + 1, NOW + 2, boxes[-2]))
        self.assertEqual(self.waiting(first.last).oldest, NOW + 1)
        self.assertEqual(self.waiting(first.last).last, 0)
