"""The newest member list of each room, in SQL. Everything here runs within a transaction of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from securemsg.interfaces import StoredRoom

LOAD = "SELECT n, digest, next FROM rooms WHERE room = ?"
KEEP = "INSERT OR REPLACE INTO rooms (room, n, digest, next) VALUES (?, ?, ?, ?)"


def load_room(connection: sqlite3.Connection, room: bytes) -> StoredRoom | None:
    """See L{securemsg.interfaces.IRoomStore.load_room}."""
    found = connection.execute(LOAD, (room,)).fetchone()
    return None if found is None else StoredRoom(room, *found)


def keep_rooms(connection: sqlite3.Connection, steps: Iterable[StoredRoom]) -> None:
    """These are the newest lists of their rooms, in order."""
    connection.executemany(KEEP, [(step.room, step.n, step.digest, step.next) for step in steps])
