"""The suite that every server store passes: the part that all its tests share."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import Refusal
from securemsg.interfaces import ClockReading, DepositRow, IServerStore, StoredDevice, StoredMessage, WriteOutcome
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.storage.stores import NOW, HandReactor, account, batch

T = TypeVar("T")


class StoreContract(SynchronousTestCase):
    """A fresh store, and short words for what is done with it."""

    __test__ = False

    def setUp(self) -> None:
        """An empty store."""
        self.reactor = HandReactor()
        self.store = self.make()
        self.addCleanup(lambda: self.assertEqual(self.reactor.failures, []))

    def make(self) -> IServerStore:
        """The store that is put to the test."""
        raise NotImplementedError

    def reopen(self) -> None:
        """The next process."""
        raise NotImplementedError

    def wait(self, awaitable: Awaitable[T]) -> T:
        """The result of an operation."""
        return self.reactor.wait(awaitable)

    def refused(self, code: str, awaitable: Awaitable[object]) -> None:
        """The operation is refused with this code."""
        self.assertEqual(self.assertRaises(Refusal, self.wait, awaitable).code, code)

    def join(self, name: str = "alice", *devices: bytes) -> list[int]:
        """
        Register an account.

        @return: the mailbox numbers of its devices.
        """
        self.wait(self.store.register(account(name, *devices)))
        return [device.mailbox for device in self.devices(name)]

    def devices(self, name: str = "alice") -> tuple[StoredDevice, ...]:
        """The devices of an account."""
        stored = self.wait(self.store.load_account(name))
        assert stored is not None
        return stored.devices

    def counts(self, name: str = "alice") -> list[tuple[int, int, int]]:
        """Messages, bytes and last position of each device of an account."""
        return [(device.messages, device.size, device.last_position) for device in self.devices(name)]

    def write(
        self, *deposits: DepositRow, acknowledged: dict[int, int] | None = None, highest: dict[int, int] | None = None
    ) -> WriteOutcome:
        """Commit a batch."""
        return self.reactor.write(self.store, batch(*deposits, acknowledged=acknowledged, highest=highest))

    def page(self, mailbox: int, after: int = 0, limit: int = 100, size: int = 2**20) -> list[StoredMessage]:
        """A page of a mailbox."""
        return self.wait(self.store.page(mailbox, after, limit, size))

    def positions(self, mailbox: int) -> list[int]:
        """What waits in a mailbox."""
        return [message.position for message in self.page(mailbox)]

    def expire(self, now: int, forget_before: int = 0, limit: int = 100, date: int = 0) -> dict[int, tuple[int, int]]:
        """The expiry clock has come so far."""
        return self.wait(self.store.expire(ClockReading(now, NOW), date, forget_before, limit))


class OnDisk(StoreContract):
    """The contract on SQLite."""

    __test__ = False

    def make(self) -> IServerStore:
        """A store in a file of its own."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "server.db"
        return self.open()

    def open(self) -> IServerStore:
        """Open the file."""
        store = self.reactor.open(self.path)
        self.close = store.close
        self.addCleanup(lambda: self.wait(store.close()))
        return store

    def reopen(self) -> None:
        """Close it first."""
        self.wait(self.close())
        self.store = self.open()


class InMemory(StoreContract):
    """The contract in memory."""

    __test__ = False

    def make(self) -> IServerStore:
        """An empty store."""
        return MemoryServerStore()

    def reopen(self) -> None:
        """What a crash leaves."""
        assert isinstance(self.store, MemoryServerStore)
        self.store = self.store.crash()
