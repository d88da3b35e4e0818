"""
The stores in memory, for tests: the same promises as SQLite's, with a crash at hand. The profile serves callers with a key
file, too, who keep nothing.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from securemsg.errors import LocalProtocolError
from securemsg.interfaces import (
    AccountSummary,
    ClockReading,
    IProfileStore,
    IRecords,
    IServerStore,
    NewAccount,
    StoredAccount,
    StoredBundle,
    StoredMessage,
    StoredPrekey,
    StoredStock,
    WriteBatch,
    WriteOutcome,
)
from securemsg.storage.sealed import number_of
from securemsg.storage.tables import Tables

T = TypeVar("T")
_Table = dict[tuple[bytes, int], bytes]  # bucket and order to value


@implementer(IServerStore)
@define(eq=False)
class MemoryServerStore:
    """
    The server's store in dicts.

    Everything is done at once, unless C{manual} is set: then written batches, and whatever is asked behind them, are held back
    until L{flush}, as a commit that takes its time would.
    """

    _manual: bool = False
    _tables: Tables = field(factory=Tables, repr=False)
    _held: deque[Callable[[], object]] = field(factory=deque, repr=False, init=False)

    @property
    def held(self) -> int:
        """How many operations wait for L{flush}."""
        return len(self._held)

    def flush(self) -> None:
        """Do everything that was held back when this was called, in order."""
        for _ in range(len(self._held)):
            if self._held:  # a callback may have crashed the store
                self._held.popleft()()

    def crash(self) -> MemoryServerStore:
        """
        Lose what was not committed. Nobody will ever hear of it.

        @return: the store as the next process finds it.
        """
        self._held.clear()
        return MemoryServerStore(self._manual, copy.deepcopy(self._tables))

    def close(self) -> Deferred[None]:
        """Do what is held back."""
        self.flush()
        return succeed(None)

    def wal_size(self) -> int:
        """Bytes of the log that were not moved into the database: here always none."""
        return 0

    def _in_turn(self, work: Callable[[], T]) -> Deferred[T]:
        """Do something now, or once everything before it is done."""
        if not self._held:
            return execute(work)
        result: Deferred[T] = Deferred()
        self._held.append(lambda: execute(work).chainDeferred(result))
        return result

    def load_account(self, name: str) -> Deferred[StoredAccount | None]:
        """See L{securemsg.interfaces.IDirectoryStore.load_account}."""
        return self._in_turn(lambda: self._tables.load_account(name))

    def register(self, account: NewAccount) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.register}."""
        return self._in_turn(lambda: self._tables.register(account))

    def publish(
        self, name: str, version: int, body: bytes, signature: bytes, devices: tuple[tuple[bytes, bytes], ...]
    ) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.publish}."""
        return self._in_turn(lambda: self._tables.publish(name, version, body, signature, devices))

    def remove_account(self, name: str) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.remove_account}."""
        return self._in_turn(lambda: self._tables.remove_account(name))

    def list_accounts(self, after: str, limit: int) -> Deferred[list[AccountSummary]]:
        """See L{securemsg.interfaces.IDirectoryStore.list_accounts}."""
        return self._in_turn(lambda: self._tables.list_accounts(after, limit))

    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str) -> Deferred[None]:
        """See L{securemsg.interfaces.ITokenStore.add_token}."""
        return self._in_turn(lambda: self._tables.add_token(digest, uses, expires_at, creator))

    def admits(self, name: str, identity: bytes, token: bytes, now: int) -> Deferred[bool]:
        """See L{securemsg.interfaces.ITokenStore.admits}."""
        return self._in_turn(lambda: self._tables.admits(name, identity, token, now))

    def add_prekeys(
        self,
        mailbox: int,
        signed: StoredPrekey | None,
        last_resort: StoredPrekey | None,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        limit: int,
        replace: bool,
    ) -> Deferred[None]:
        """See L{securemsg.interfaces.IPrekeyStore.add_prekeys}."""
        return self._in_turn(lambda: self._tables.add_prekeys(mailbox, signed, last_resort, one_time, kem, limit, replace))

    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> Deferred[StoredBundle | None]:
        """See L{securemsg.interfaces.IPrekeyStore.claim}."""
        return self._in_turn(lambda: self._tables.claim(mailbox, requester, now, fresh, spent))

    def stock(self, mailbox: int) -> Deferred[StoredStock]:
        """See L{securemsg.interfaces.IPrekeyStore.stock}."""
        return self._in_turn(lambda: self._tables.stock(mailbox))

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """See L{securemsg.interfaces.IMailboxStore.write}."""
        if self._manual:
            self._held.append(lambda: done(self._tables.write(batch)))
        else:
            done(self._tables.write(batch))

    def page(self, mailbox: int, after: int, limit: int, size: int) -> Deferred[list[StoredMessage]]:
        """See L{securemsg.interfaces.IMailboxStore.page}."""
        return self._in_turn(lambda: self._tables.page(mailbox, after, limit, size))

    def find_deposit(self, sender: int, deposit_id: bytes) -> Deferred[bytes | None]:
        """See L{securemsg.interfaces.IMailboxStore.find_deposit}."""
        return self._in_turn(lambda: self._tables.find_deposit(sender, deposit_id))

    def last_clock(self) -> ClockReading:
        """See L{securemsg.interfaces.IMailboxStore.last_clock}."""
        return self._tables.clock

    def expire(self, clock: ClockReading, date: int, forget_before: int, limit: int) -> Deferred[dict[int, tuple[int, int]]]:
        """See L{securemsg.interfaces.IMailboxStore.expire}."""
        return self._in_turn(lambda: self._tables.expire(clock, date, forget_before, limit))


@implementer(IRecords)
class MemoryRecords:
    """The records of a L{MemoryProfile} within one transaction: tables are copied when they are first changed."""

    def __init__(self, tables: dict[str, _Table], last: dict[tuple[str, bytes], int], writable: bool) -> None:
        self.tables = dict(tables)
        self.sequences = dict(last) if writable else last
        self._writable = writable
        self._changed: set[str] = set()
        self._over = False

    def end(self) -> None:
        """The transaction is over: whoever kept the records cannot use them any more."""
        self._over = True

    def get(self, table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """See L{IRecords.get}."""
        return self._read(table).get((bucket, order))

    def put(self, table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """
        See L{IRecords.put}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        self._write(table)[bucket, order] = value
        self.sequences[table, bucket] = max(self.sequences.get((table, bucket), 0), order)

    def delete(self, table: str, bucket: bytes, order: int = 0) -> None:
        """
        See L{IRecords.delete}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        self._write(table).pop((bucket, order), None)

    def scan(self, table: str, bucket: bytes | None = None, after: int = -1, limit: int = -1) -> list[tuple[bytes, int, bytes]]:
        """See L{IRecords.scan}."""
        rows = [
            (name, order, value)
            for (name, order), value in self._read(table).items()
            if order > after and bucket in (None, name)
        ]
        rows.sort(key=lambda row: row[1])
        return rows if limit < 0 else rows[:limit]

    def count(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.count}."""
        return sum(name == bucket for name, _ in self._read(table))

    def last(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.last}."""
        self._read(table)
        return self.sequences.get((table, bucket), 0)

    def _read(self, table: str) -> _Table:
        number_of(table)
        if self._over:
            raise LocalProtocolError("the transaction is over")
        return self.tables.get(table, {})

    def _write(self, table: str) -> _Table:
        """A table of this transaction's own."""
        there = self._read(table)
        if not self._writable:
            raise LocalProtocolError("a transaction for reading writes")
        if table not in self._changed:
            self._changed.add(table)
            self.tables[table] = dict(there)
        return self.tables[table]


@implementer(IProfileStore)
class MemoryProfile:
    """
    A profile in dicts. See L{IProfileStore}.

    @ivar before_commit: called at the end of every transaction that writes, before anything of it is kept; what it raises
        undoes the transaction, and so kills the client between any two durable steps.
    """

    def __init__(self, before_commit: Callable[[], None] | None = None) -> None:
        self.before_commit = before_commit
        self._tables: dict[str, _Table] = {}
        self._last: dict[tuple[str, bytes], int] = {}
        self._busy = False

    def writing(self) -> AbstractContextManager[IRecords]:
        """See L{IProfileStore.writing}."""
        return self._transaction(writable=True)

    def reading(self) -> AbstractContextManager[IRecords]:
        """See L{IProfileStore.reading}."""
        return self._transaction(writable=False)

    def close(self) -> None:
        """See L{IProfileStore.close}."""

    def snapshot(self) -> MemoryProfile:
        """A profile of its own with what is committed now: a backup, or what the next process finds."""
        other = MemoryProfile()
        other._tables, other._last = dict(self._tables), dict(self._last)
        return other

    @contextmanager
    def _transaction(self, writable: bool) -> Iterator[IRecords]:
        """Hand out the records, then adopt what became of them."""
        if self._busy:
            raise LocalProtocolError("transactions do not nest")
        self._busy = True
        records = MemoryRecords(self._tables, self._last, writable)
        try:
            yield records
            if writable:
                if self.before_commit is not None:
                    self.before_commit()
                self._tables, self._last = records.tables, records.sequences
        finally:
            records.end()
            self._busy = False
