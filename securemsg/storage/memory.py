"""A profile in memory: for guests, who store nothing, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from zope.interface import implementer

from securemsg.errors import LocalProtocolError
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.storage.sealed import number_of

_Table = dict[tuple[bytes, int], bytes]  # bucket and order to value


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
        """The transaction is over: the records cannot be used any more."""
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

    def scan_back(self, table: str, bucket: bytes, before: int, limit: int) -> list[tuple[int, bytes]]:
        """See L{IRecords.scan_back}."""
        rows = [(order, value) for (name, order), value in self._read(table).items() if name == bucket and order < before]
        return sorted(rows, reverse=True)[:limit]

    def buckets(self, table: str) -> list[bytes]:
        """See L{IRecords.buckets}."""
        return sorted({name for name, _ in self._read(table)})

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
