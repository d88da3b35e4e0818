"""Server stores for tests, and what runs them without a reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from securemsg.interfaces import DepositRow, IServerStore, MailboxRow, NewAccount, StoredPrekey, WriteBatch, WriteOutcome
from securemsg.storage.sqlite.store import ServerStore, open_server_store

T = TypeVar("T")

TIMEOUT = 30  # seconds until a thread counts as stuck; nothing here takes one
NOW = 1_700_000_000
DAY = 86400


@define
class HandReactor:
    """
    Takes calls from threads, and makes them when it is told to.

    @ivar failures: what was fatal.
    @ivar full: whether the disk was full, each time that changed.
    """

    _calls: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = field(factory=SimpleQueue)
    failures: list[Failure] = field(factory=list)
    full: list[bool] = field(factory=list)

    def callFromThread(self, function: Callable[..., object], *arguments: object, **named: object) -> None:
        """Take a call."""
        assert not named
        self._calls.put((function, arguments))

    def turn(self) -> None:
        """Make the next call, which must come within L{TIMEOUT}."""
        function, arguments = self._calls.get(timeout=TIMEOUT)
        function(*arguments)

    def until(self, condition: Callable[[], object]) -> None:
        """Make calls until something is so."""
        while not condition():
            self.turn()

    def open(self, path: Path) -> ServerStore:
        """A store on disk that reports here."""
        fatal, full = self.failures.append, self.full.append
        return open_server_store(path, reactor=self, fatal=fatal, on_disk_full=full, timeout=0.01)  # type: ignore[arg-type]

    def wait(self, awaitable: Awaitable[T]) -> T:
        """The result of an awaitable, or what it raises."""

        async def come() -> T:
            return await awaitable

        outcome: list[Any] = []
        Deferred.fromCoroutine(come()).addBoth(outcome.append)
        self.until(lambda: outcome)
        (result,) = outcome
        if isinstance(result, Failure):
            result.raiseException()
        answer: T = result
        return answer

    def write(self, store: IServerStore, batch: WriteBatch) -> WriteOutcome:
        """Commit a batch."""
        outcome: list[WriteOutcome] = []
        store.write(batch, outcome.append)
        self.until(lambda: outcome)
        return outcome[0]


def account(name: str = "alice", *devices: bytes, token: bytes = b"") -> NewAccount:
    """A registration; devices are named by one word each."""
    pairs = tuple((device, b"key of " + device) for device in devices or (b"phone",))
    return NewAccount(name, b"identity of " + name.encode(), b"body 1", b"signature 1", 1, pairs, token, NOW)


def deposit(sender: int, name: bytes, n: int, *rows: tuple[int, int], common: bytes = b"common") -> DepositRow:
    """A deposit by name; C{rows} are pairs of mailbox and position."""
    parts = tuple(MailboxRow(mailbox, position, b"own of %d/%d" % (mailbox, position)) for mailbox, position in rows)
    digest = b"digest of " + name
    return DepositRow(sender, name, digest, n, "alice", b"phone", NOW, NOW + 30 * DAY, NOW + 60 * DAY, common, parts)


def until(row: DepositRow, expires_at: int, forget_at: int = NOW + 60 * DAY, arrived_at: int = NOW) -> DepositRow:
    """The same deposit with another expiry."""
    return msgspec.structs.replace(row, expires_at=expires_at, forget_at=forget_at, arrived_at=arrived_at)


def batch(
    *deposits: DepositRow, acknowledged: dict[int, int] | None = None, highest: dict[int, int] | None = None
) -> WriteBatch:
    """A batch of these."""
    return WriteBatch(deposits, acknowledged or {}, highest or {})


def prekeys(*ids: int) -> tuple[StoredPrekey, ...]:
    """Prekeys with these ids."""
    return tuple(StoredPrekey(number, b"key %d" % number, b"signature %d" % number) for number in ids)
