"""What the errors of SQLite mean, by their primary result codes (sqlite.org/rescode.html)."""

from __future__ import annotations

import sqlite3

BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT))


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code of an error; 0 where SQLite gave none."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the module itself carry none
    return code & 0xFF


def is_full(error: sqlite3.Error) -> bool:
    """
    Whether the disk is full and nothing else is wrong; the same call will succeed once there is room. C{SQLITE_IOERR_SHMSIZE}
    means that there is no room to grow the wal-index.
    """
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
