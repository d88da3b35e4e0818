"""
A record of digests of every row that decides whom we trust (contacts, pinned suites).

Rows are sealed one by one, so somebody who can write the file but not open it can delete a row or restore an old one; the row
then differs from the record. Written in the same transaction as the change. The contact C{server} and guests have none.
Source: C{docs/threat-model.md}, "Keys at rest".
"""

from __future__ import annotations

import msgspec

from securemsg.crypto.keys import digest
from securemsg.interfaces import IRecords

TABLE = "integrity"
DIGEST_SIZE = 16

# Digests by table and bucket.
Entries = dict[tuple[str, bytes], bytes]
_Stored = list[tuple[str, bytes, bytes]]


def entries(records: IRecords) -> Entries | None:
    """The digests; C{None}: there is no record."""
    data = records.get(TABLE, b"")
    if data is None:
        return None
    return {(table, bucket): kept for table, bucket, kept in msgspec.msgpack.decode(data, type=_Stored)}


def save_entries(records: IRecords, found: Entries) -> None:
    """Begin the record, or replace it."""
    records.put(TABLE, b"", msgspec.msgpack.encode([(*key, kept) for key, kept in found.items()]))


def note(records: IRecords, table: str, bucket: bytes, before: bytes, after: bytes) -> None:
    """
    Note that what counts in a row has changed. A row that was not as noted before stays different.

    @param before: its digest until now; empty: there was none. C{after}: its digest from now on, likewise.
    """
    known = None if before == after else entries(records)
    if known is None or known.get((table, bucket), b"") != before:
        return
    known[table, bucket] = after
    save_entries(records, {key: kept for key, kept in known.items() if kept})


def row_digest(*parts: bytes) -> bytes:
    """The digest of what counts in a row."""
    return digest(*parts)[:DIGEST_SIZE]
