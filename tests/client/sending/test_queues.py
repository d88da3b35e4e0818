"""The order of what is sent again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sending.queues import WINDOW, WINDOW_SIZE, SendQueues
from securemsg.client.state.conversations import direct, with_guest
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import decoded


class RefusedTests(WorldCase):
    """
    Alice has messages to Bob in flight; the server takes none of them now, and says so in another order than they were sent.
    """

    def setUp(self) -> None:
        """There is a session, and three deposits are on their way."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        assert self.alice.wire is not None, "connected"
        self.wire = self.alice.wire
        self.wire.log.clear()
        self.wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        for text in ("one", "two", "three"):
            self.alice.send("bob", text)
        self.first = self.deposits()
        self.wire.to_server = None
        self.wire.log.clear()

    def deposits(self) -> list[bytes]:
        """The deposits that Alice has sent, in order."""
        return [deposit.deposit_id for deposit in decoded(self.wire, Side.CLIENT, m.Deposit)]

    def refuse(self, *numbers: int) -> None:
        """Refuse these deposits for now, in this order; then let time pass."""
        for number in numbers:
            self.wire.inject(Side.SERVER, m.DepositRefused(self.first[number], "retry-later", []))
        self.world.settle()
        self.assertEqual(self.deposits(), [])
        self.world.advance(10, ticks=10)

    def test_sent_again_in_order(self) -> None:
        """
        Whatever the order of the refusals, they are sent again in the order in which they were written, and so they arrive.
        """
        self.refuse(2, 0, 1)
        self.assertEqual(self.deposits(), self.first)
        self.assertEqual(self.bob.read(), ["zero", "one", "two", "three"])
        self.assertEqual([line.gap_before for line in self.bob.has_read], [0] * 4)

    def test_before_what_came_later(self) -> None:
        """What is written while they wait goes behind them."""
        for number in (1, 2, 0):
            self.wire.inject(Side.SERVER, m.DepositRefused(self.first[number], "retry-later", []))
        self.world.settle()
        self.alice.send("bob", "four")
        self.assertEqual(self.deposits(), [])
        self.world.advance(10, ticks=10)
        self.assertEqual(self.deposits()[:3], self.first)
        self.assertEqual(self.bob.read(), ["zero", "one", "two", "three", "four"])


class QueueTests(SynchronousTestCase):
    """What waits."""

    def test_in_its_place(self) -> None:
        """A row that is refused goes behind earlier ones and before later ones, sent or not."""
        queues = SendQueues(lambda: 1.0)
        for order in (1, 2, 3):
            queues.add(direct("bob"), order)
        queue = queues.next(0)
        assert queue is not None
        queues.mark_sent(queue, b"1", 1, 0, 0)
        queues.mark_sent(queue, b"2", 2, 0, 0)
        for deposit_id in (b"2", b"1"):
            landed = queues.pop_sent(deposit_id)
            assert landed is not None
            queues.requeue(*landed[:2])
        self.assertEqual(queue.waiting, [1, 2, 3])


class WindowTests(SynchronousTestCase):
    """How much is on its way unanswered."""

    def setUp(self) -> None:
        """More rows wait than may be sent at once."""
        self.queues = SendQueues(lambda: 1.0)
        self.sent = 0
        for seq in range(3 * WINDOW):
            self.queues.add(direct("bob"), seq)

    def send(self, size: int) -> int:
        """Send as many rows of so many bytes as may be sent now, and say how many that were."""
        before = self.sent
        while (queue := self.queues.next(0.0)) is not None:
            self.sent += 1
            self.queues.mark_sent(queue, b"%d" % self.sent, self.sent, 0.0, size)
        return self.sent - before

    def answer(self, first: int, last: int) -> None:
        """The server answers these."""
        for number in range(first, last + 1):
            self.assertIsNotNone(self.queues.pop_sent(b"%d" % number))

    def test_together(self) -> None:
        """After a full window nothing is sent before half of it is answered, and then as many together."""
        self.assertEqual(self.send(1), WINDOW)
        self.answer(1, WINDOW // 2)
        self.assertEqual(self.send(1), 0)
        self.answer(WINDOW // 2 + 1, WINDOW // 2 + 1)
        self.assertEqual(self.send(1), WINDOW // 2 + 1)

    def test_size(self) -> None:
        """Large deposits fill the window before there are as many."""
        self.assertEqual(self.send(WINDOW_SIZE // 4), 4)
        self.answer(1, 3)
        self.assertEqual(self.send(WINDOW_SIZE // 4), 3)
        self.assertEqual(self.queues.unanswered_size, WINDOW_SIZE)

    def test_not_full(self) -> None:
        """As long as the window was never full, each row is sent at once."""
        self.queues = SendQueues(lambda: 1.0)
        for seq in range(WINDOW - 1):
            self.queues.add(direct("bob"), seq)
            self.assertEqual(self.send(1), 1)


class GuestTests(SynchronousTestCase):
    """Guests with one name."""

    def test_queue_for_each(self) -> None:
        """Each connection has a queue of its own: what holds one up holds no other up."""
        queues = SendQueues(lambda: 0.5)
        for order, device in ((1, b"1" * 16), (2, b"2" * 16), (3, b"1" * 16)):
            queues.add(with_guest("key-1a2b3c4d", device), order)
        first = queues.next(0.0)
        assert first is not None
        self.assertEqual((first.conversation.device, first.waiting), (b"1" * 16, [1, 3]))
        queues.pause(first, 0.0)
        second = queues.next(0.0)
        assert second is not None
        self.assertEqual((second.conversation.device, second.waiting), (b"2" * 16, [2]))
        queues.mark_sent(second, b"deposit", 7, 0.0, 0)
        self.assertIsNone(queues.next(0.0))
        self.assertIs(queues.next(10.0), first)
        self.assertEqual(queues.pop_sent(b"deposit"), (second, 2, 7))
