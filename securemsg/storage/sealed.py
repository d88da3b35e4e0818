"""
The sealed records of a profile, as one transaction sees them.

Visible in the file are the table of a record, its order, its size, and which records share a bucket; nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen
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
    "rooms",
    "room-parts",
    "preferences",
    "aliases",
    "disappearing",
    "questions",
    "streams",
)
NUMBERS = {name: number for number, name in enumerate(TABLES, 1)}

LENGTH_SIZE = 4  # big-endian, before each part of associated data and before the bucket in a value
ORDER_SIZE = 8
_ORDER_HEAD = ORDER_SIZE.to_bytes(LENGTH_SIZE, "big")
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
SCAN_BACK = "SELECT ord, value FROM records WHERE tab = ? AND tag = ? AND ord < ? ORDER BY ord DESC LIMIT ?"
FIRST_OF_NEXT = "SELECT tag, ord, value FROM records WHERE tab = ? AND tag > ? ORDER BY tag, ord LIMIT 1"
COUNT = "SELECT count(*) FROM records WHERE tab = ? AND tag = ?"
PAGE = "SELECT rowid, tab, tag, ord, value FROM records WHERE rowid > ? ORDER BY rowid LIMIT ?"
LAST = "SELECT last FROM sequences WHERE tab = ? AND tag = ?"

# Records that a transaction keeps in memory: those of a few dozen messages.
CACHED = 1024


def bound(*parts: bytes) -> bytes:
    """Put byte strings into one that can be read in one way only."""
    return b"".join([len(part).to_bytes(LENGTH_SIZE, "big") + part for part in parts])


def number_of(table: str) -> int:
    """
    The number of a table.

    @raise LocalProtocolError: no such table is named in L{TABLES}.
    """
    try:
        return NUMBERS[table]
    except KeyError:
        raise LocalProtocolError(f"no table is called {table!r}") from None


@frozen
class StoredRow:
    """
    A record as it stands in the file, for those who look at all of them.

    @ivar number: its place among all rows.
    @ivar table: its name; empty: this release has none of this number.
    @ivar value: C{None}: it does not open, and neither its bucket nor its value is known.
    """

    number: int
    table: str
    bucket: bytes
    order: int
    value: bytes | None = field(repr=False)


@frozen
class Place:
    """
    Where the records of a bucket lie in the file.

    @ivar number: of the table; C{tag}: of the bucket.
    @ivar binding: what binds a sealed value to the bucket; C{head}: what is sealed before each value.
    """

    number: int
    tag: bytes
    binding: bytes = field(repr=False)
    head: bytes = field(repr=False)


def place_of(sealer: ISealer, table: str, bucket: bytes) -> Place:
    """
    Derive the place of a bucket.

    @raise LocalProtocolError: no such table is named in L{TABLES}.
    """
    number, tag = number_of(table), sealer.tag(bound(table.encode(), bucket))
    return Place(number, tag, _binding(table, tag), bound(bucket))


@implementer(IRecords)
class Records:
    """
    The records as one transaction sees them. See L{IRecords}.

    What was read or written is kept in memory, so that a record that many messages change is opened and sealed once for all of
    them.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        sealer: ISealer,
        place: Callable[[str, bytes], Place],
        path: Path,
        writable: bool,
    ) -> None:
        """
        @param place: see L{place_of}; it may remember places, which never change.
        """
        self._connection: sqlite3.Connection | None = connection
        self._sealer = sealer
        self._place = place
        self._path = path
        self._writable = writable
        # By table, bucket and order; C{None}: there is no such record.
        self._known: dict[tuple[str, bytes, int], bytes | None] = {}
        # What of it is not in the file yet, in the order in which it was written first; and the highest orders that were used.
        self._unwritten: dict[str, dict[tuple[bytes, int], None]] = {}
        self._highest: dict[tuple[str, bytes], int] = {}

    def end(self) -> None:
        """The transaction is over: the records cannot be used any more."""
        self._connection = None

    def flush(self) -> None:
        """Write what was changed into the file, where the transaction ends or needs it there."""
        for table in list(self._unwritten):
            self._flush_table(table)

    def get(self, table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """
        See L{IRecords.get}.

        @raise ProfileDamaged: the record does not open.
        """
        key = table, bucket, order
        if key in self._known and self._connection is not None:
            return self._known[key]
        place = self._place(table, bucket)
        row = self._run(GET, (place.number, place.tag, order)).fetchone()
        value = None if row is None else self._open(table, place.binding, order, row[0])[1]
        self._know(key, value)
        return value

    def put(self, table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """
        See L{IRecords.put}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        self._change(table, bucket, order, value)
        if order > self._highest.get((table, bucket), 0):  # no row in the sequences means 0
            self._highest[table, bucket] = order

    def delete(self, table: str, bucket: bytes, order: int = 0) -> None:
        """
        See L{IRecords.delete}.

        @raise LocalProtocolError: this is a transaction for reading.
        """
        self._change(table, bucket, order, None)

    def scan(self, table: str, bucket: bytes | None = None, after: int = -1, limit: int = -1) -> list[tuple[bytes, int, bytes]]:
        """
        See L{IRecords.scan}.

        @raise ProfileDamaged: a record does not open.
        """
        self._flush_table(table)
        if bucket is None:
            rows = self._run(SCAN_TABLE, (number_of(table), after, limit))
        else:
            place = self._place(table, bucket)
            rows = self._run(SCAN_BUCKET, (place.number, place.tag, after, limit))
        found = []
        for tag, order, sealed in rows:
            name, value = self._open(table, _binding(table, tag), order, sealed)
            found.append((name, order, value))
        return found

    def scan_back(self, table: str, bucket: bytes, before: int, limit: int) -> list[tuple[int, bytes]]:
        """
        See L{IRecords.scan_back}.

        @raise ProfileDamaged: a record does not open.
        """
        self._flush_table(table)
        place = self._place(table, bucket)
        rows = self._run(SCAN_BACK, (place.number, place.tag, before, limit)).fetchall()
        return [(order, self._open(table, place.binding, order, sealed)[1]) for order, sealed in rows]

    def buckets(self, table: str) -> list[bytes]:
        """
        See L{IRecords.buckets}.

        @raise ProfileDamaged: a record does not open.
        """
        self._flush_table(table)
        found, tag = [], b""
        while (row := self._run(FIRST_OF_NEXT, (number_of(table), tag)).fetchone()) is not None:
            tag, order, sealed = row
            found.append(self._open(table, _binding(table, tag), order, sealed)[0])
        return found

    def page(self, after: int, limit: int) -> list[StoredRow]:
        """The rows behind a number, as they stand in the file, whether they open or not."""
        found = []
        for number, tab, tag, order, sealed in self._run(PAGE, (after, limit)):
            table = TABLES[tab - 1] if 0 < tab <= len(TABLES) else ""
            bucket, value = b"", None
            with contextlib.suppress(ProfileDamaged):
                bucket, value = self._open(table, _binding(table, tag), order, sealed)
            found.append(StoredRow(number, table, bucket, order, value))
        return found

    def count(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.count}."""
        self._flush_table(table)
        place = self._place(table, bucket)
        return int(self._run(COUNT, (place.number, place.tag)).fetchone()[0])

    def last(self, table: str, bucket: bytes) -> int:
        """See L{IRecords.last}."""
        place = self._place(table, bucket)
        row = self._run(LAST, (place.number, place.tag)).fetchone()
        return max(0 if row is None else int(row[0]), self._highest.get((table, bucket), 0))

    def _know(self, key: tuple[str, bytes, int], value: bytes | None) -> None:
        """Keep a record in memory, if need be instead of all others."""
        if len(self._known) >= CACHED:
            self.flush()
            self._known.clear()
        self._known[key] = value

    def _change(self, table: str, bucket: bytes, order: int, value: bytes | None) -> None:
        """Change a record; C{None}: there is none any more."""
        if not self._writable:
            raise LocalProtocolError("a transaction for reading writes")
        if self._connection is None:
            raise LocalProtocolError("the transaction is over")
        number_of(table)
        key = bucket, order
        if key in self._unwritten.get(table, ()) and self._known[table, bucket, order] is None:
            # It is deleted before it is written anew, and so behind those that were written meanwhile.
            self._flush_table(table)
        self._know((table, bucket, order), value)
        self._unwritten.setdefault(table, {})[key] = None

    def _flush_table(self, table: str) -> None:
        """Write what was changed of a table."""
        changed = self._unwritten.pop(table, None)
        if changed is None:
            return
        written, deleted, highest = [], [], {}
        for bucket, order in changed:
            place, value = self._place(table, bucket), self._known[table, bucket, order]
            if value is None:
                deleted.append((place.number, place.tag, order))
            else:
                sealed = self._sealer.seal(place.head + value, _associated(place.binding, order))
                written.append((place.number, place.tag, order, sealed))
            if (table, bucket) in self._highest:
                highest[place.tag] = (place.number, place.tag, self._highest.pop((table, bucket)))
        connection = self._live_connection()
        connection.executemany(DELETE, deleted)
        connection.executemany(PUT, written)
        connection.executemany(RAISE, highest.values())

    def _live_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LocalProtocolError("the transaction is over")
        return self._connection

    def _run(self, statement: str, values: tuple[int | bytes, ...]) -> sqlite3.Cursor:
        """Run a statement within the transaction."""
        return self._live_connection().execute(statement, values)

    def _open(self, table: str, binding: bytes, order: int, sealed: bytes) -> tuple[bytes, bytes]:
        """Bucket and value of a record."""
        try:
            plain = self._sealer.open(sealed, _associated(binding, order))
        except Unauthentic:
            raise ProfileDamaged(
                f"a record in {self._path} (table {table}) was altered or moved; restore the file from a backup"
            ) from None
        size = int.from_bytes(plain[:LENGTH_SIZE], "big")
        return plain[LENGTH_SIZE : LENGTH_SIZE + size], plain[LENGTH_SIZE + size :]


def _binding(table: str, tag: bytes) -> bytes:
    """What binds the sealed values of a bucket to their place, but for the order of each."""
    return bound(table.encode(), tag)


def _associated(binding: bytes, order: int) -> bytes:
    """What binds a sealed value to its record."""
    return binding + _ORDER_HEAD + order.to_bytes(ORDER_SIZE, "big", signed=True)
