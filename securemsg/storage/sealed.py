"""
The sealed records of a profile, as one transaction sees them.

Visible in the file are the table of a record, its order, its size, and which records share a bucket; nothing else.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from zope.interface import implementer

from securemsg.errors import LocalProtocolError, Unauthentic
from securemsg.interfaces import IRecords, ISealer
from securemsg.storage.errors import ProfileDamaged

# The number of a table in the file is its position here, from 1: names are only ever added at the end.
TABLES = (
    "profile",
    "contacts",
    "lists",
    "sessions",
    "ephemerals",
    "prekeys",
    "outbox",
    "history",
    "index",
    "seen",
    "counters",
    "receipts",
    "quarantine",
    "sent",
    "inbound",
    "notes",
    "meta",
    "suites",
    "epochs",
    "guests",
    "integrity",
    "skipped",
)
NUMBERS = {name: number for number, name in enumerate(TABLES, 1)}

LENGTH_SIZE = 4  # big-endian, before each part of associated data and before the bucket in a value
ORDER_SIZE = 8
SCHEMA = (
    "CREATE TABLE records (tab INTEGER NOT NULL, tag BLOB NOT NULL, ord INTEGER NOT NULL, value BLOB NOT NULL)",
    "CREATE UNIQUE INDEX records_key ON records (tab, tag, ord)",
    "CREATE TABLE sequences (tab INTEGER, tag BLOB, last INTEGER NOT NULL, PRIMARY KEY (tab, tag)) WITHOUT ROWID",
)
GET = "SELECT value FROM records WHERE tab = ? AND tag = ? AND ord = ?"
PUT = "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (tab, tag, ord) DO UPDATE SET value = excluded.value"
RAISE = "INSERT INTO sequences VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last WHERE excluded.last > last"
DELETE = "DELETE FROM records WHERE tab = ? AND tag = ? AND ord = ?"
SCAN_BUCKET = "SELECT tag, ord, value FROM records WHERE tab = ? AND tag = ? AND ord > ? ORDER BY ord LIMIT ?"
# The order is found in the index alone, so that values which the limit cuts off are not read.
SCAN_TABLE = (
    "SELECT tag, ord, value FROM records WHERE rowid IN"
    " (SELECT rowid FROM records WHERE tab = ? AND ord > ? ORDER BY ord, rowid LIMIT ?) ORDER BY ord, rowid"
)
COUNT = "SELECT count(*) FROM records WHERE tab = ? AND tag = ?"
LAST = "SELECT last FROM sequences WHERE tab = ? AND tag = ?"


def bound(*parts: bytes) -> bytes:
    """Put byte strings into one that can be read in one way only."""
    return b"".join(len(part).to_bytes(LENGTH_SIZE, "big") + part for part in parts)


def number_of(table: str) -> int:
    """
    The number of a table.

    @raise LocalProtocolError: no such table is named in L{TABLES}.
    """
    try:
        return NUMBERS[table]
    except KeyError:
        raise LocalProtocolError(f"no table is called {table!r}") from None


@implementer(IRecords)
class Records:
    """The records as one transaction sees them. See L{IRecords}."""

    def __init__(self, connection: sqlite3.Connection, sealer: ISealer, path: Path, writable: bool) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._sealer = sealer
        self._path = path
        self._writable = writable

    def end(self) -> None:
        """The transaction is over: the records cannot be used any more."""
        self._connection = None

    def get(self, table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """
        See L{IRecords.get}.

        @raise ProfileDamaged: the record does not open.
        """
        number, tag = self._key(table, bucket)
        row = self._run(GET, (number, tag, order)).fetchone()
        return None if row is None else self._open(table, tag, order, row[0])[1]

    def put(self, table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """
        See L{IRecords.put}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        number, tag = self._key(table, bucket, write=True)
        sealed = self._sealer.seal(bound(bucket) + value, _associated(table, tag, order))
        self._run(PUT, (number, tag, order, sealed))
        if order > 0:  # no row in the sequences means 0
            self._run(RAISE, (number, tag, order))

    def delete(self, table: str, bucket: bytes, order: int = 0) -> None:
        """
        See L{IRecords.delete}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        number, tag = self._key(table, bucket, write=True)
        self._run(DELETE, (number, tag, order))

    def scan(self, table: str, bucket: bytes | None = None, after: int = -1, limit: int = -1) -> list[tuple[bytes, int, bytes]]:
        """
        See L{IRecords.scan}.

        @raise ProfileDamaged: a record does not open.
        """
        if bucket is None:
            rows = self._run(SCAN_TABLE, (number_of(table), after, limit))
        else:
            rows = self._run(SCAN_BUCKET, (*self._key(table, bucket), after, limit))
        found = []
        for tag, order, sealed in rows:
            name, value = self._open(table, tag, order, sealed)
            found.append((name, order, value))
        return found

    def count(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.count}."""
        return int(self._run(COUNT, self._key(table, bucket)).fetchone()[0])

    def last(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.last}."""
        row = self._run(LAST, self._key(table, bucket)).fetchone()
        return 0 if row is None else int(row[0])

    def _key(self, table: str, bucket: bytes, write: bool = False) -> tuple[int, bytes]:
        """Table and tag of a bucket, by which its records are found."""
        if write and not self._writable:
            raise LocalProtocolError("a transaction for reading writes")
        return number_of(table), self._sealer.tag(bound(table.encode(), bucket))

    def _run(self, statement: str, values: tuple[int | bytes, ...]) -> sqlite3.Cursor:
        """Run a statement within the transaction."""
        if self._connection is None:
            raise LocalProtocolError("the transaction is over")
        return self._connection.execute(statement, values)

    def _open(self, table: str, tag: bytes, order: int, sealed: bytes) -> tuple[bytes, bytes]:
        """Bucket and value of a record."""
        try:
            plain = self._sealer.open(sealed, _associated(table, tag, order))
        except Unauthentic:
            raise ProfileDamaged(
                f"a record in {self._path} (table {table}) was altered or moved; restore the file from a backup"
            ) from None
        size = int.from_bytes(plain[:LENGTH_SIZE], "big")
        return plain[LENGTH_SIZE : LENGTH_SIZE + size], plain[LENGTH_SIZE + size :]


def _associated(table: str, tag: bytes, order: int) -> bytes:
    """What binds a sealed value to its record."""
    return bound(table.encode(), tag, order.to_bytes(ORDER_SIZE, "big", signed=True))
