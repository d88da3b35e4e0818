"""The server's store in memory, with commits held back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.interfaces import WriteOutcome
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.storage.stores import account, batch, deposit


class HeldTests(SynchronousTestCase):
    """Commits happen when the test says so."""

    def setUp(self) -> None:
        """A store with one account, and a batch under way."""
        self.store = MemoryServerStore(manual=True)
        self.successResultOf(self.store.register(account("alice")))
        stored = self.successResultOf(self.store.load_account("alice"))
        assert stored is not None
        self.mailbox = stored.devices[0].mailbox
        self.outcomes: list[WriteOutcome] = []

    def write(self, n: int) -> None:
        """Write a message, whose commit will be held back."""
        self.store.write(batch(deposit(self.mailbox, b"d%d" % n, n, (self.mailbox, n))), self.outcomes.append)

    def waiting(self, store: MemoryServerStore) -> int:
        """How many messages wait."""
        return len(self.successResultOf(store.page(self.mailbox, 0, 100, 2**20)))

    def test_held(self) -> None:
        """A batch is neither visible nor reported before the flush, and both after it."""
        self.write(1)
        self.assertEqual((self.store.held, self.outcomes), (1, []))
        self.store.flush()
        self.assertEqual((self.store.held, self.outcomes), (0, [WriteOutcome({})]))
        self.assertEqual(self.waiting(self.store), 1)

    def test_in_turn(self) -> None:
        """What is asked for behind a batch is answered after it."""
        self.write(1)
        page = self.store.page(self.mailbox, 0, 100, 2**20)
        self.assertNoResult(page)
        self.store.flush()
        self.assertEqual(len(self.successResultOf(page)), 1)

    def test_written_by_report(self) -> None:
        """What a report writes is held back until the next flush."""
        self.store.write(batch(), lambda _: self.write(1))
        self.store.flush()
        self.assertEqual((self.store.held, self.outcomes), (1, []))
        self.store.flush()
        self.assertEqual(self.outcomes, [WriteOutcome({})])

    def test_crash(self) -> None:
        """A crash loses what was held back, and nothing that was reported."""
        self.write(1)
        self.store.flush()
        self.write(2)
        after = self.store.crash()
        self.store.flush()
        self.assertEqual(len(self.outcomes), 1)
        self.assertEqual(self.waiting(after), 1)

    def test_crash_apart(self) -> None:
        """The store before and the store after a crash do not touch each other."""
        after = self.store.crash()
        self.write(1)
        self.store.flush()
        self.assertEqual(self.waiting(after), 0)

    def test_closed(self) -> None:
        """Closing does what is held back first."""
        self.write(1)
        self.successResultOf(self.store.close())
        self.assertEqual(self.outcomes, [WriteOutcome({})])
