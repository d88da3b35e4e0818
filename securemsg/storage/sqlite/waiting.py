"""What waits in all mailboxes together, for whoever watches the server."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import msgspec

from securemsg.interfaces import StoreRecord
from securemsg.storage.sqlite.mailboxes import span
from securemsg.storage.sqlite.segments import unpack

# How many mailboxes one look asks for their oldest message. It takes some milliseconds, while other jobs wait.
LOOK = 100

# The rows are short, and a hundred thousand of them are read in about ten milliseconds.
TOTAL = "SELECT coalesce(sum(messages), 0), coalesce(sum(size), 0) FROM mailboxes"
FILLED = "SELECT mailbox, passed FROM mailboxes WHERE mailbox > ? AND messages > 0 ORDER BY mailbox LIMIT ?"
FIRST = "SELECT heads, bodies FROM messages WHERE place > ? AND place <= ? ORDER BY place LIMIT 1"


class Waiting(StoreRecord, frozen=True):
    """
    What waits.

    @ivar messages: all of them; C{size}: their bytes.
    @ivar oldest: when the oldest came, of those mailboxes that were looked at; C{None}: nothing waits there.
    @ivar last: the mailbox to go on after; 0: there are no more.
    """

    messages: int
    size: int
    oldest: int | None
    last: int


def count_waiting(connection: sqlite3.Connection, after: int) -> Waiting:
    """
    Count what waits, and look for the oldest message in the next L{LOOK} mailboxes.

    @param after: the mailbox where the look before has ended; 0: begin.
    """
    messages, size = connection.execute(TOTAL).fetchone()
    rows = connection.execute(FILLED, (after, LOOK)).fetchall()
    arrivals = []
    for mailbox, passed in rows:
        first = connection.execute(FIRST, span(mailbox)).fetchone()
        if first is not None:
            # What is damaged is found where it is read, or by `admin check`; here it must not keep the rest from being counted.
            with suppress(msgspec.DecodeError, ValueError):
                arrivals += [body.arrived_at for position, _, body in unpack(*first) if position > passed][:1]
    return Waiting(messages, size, min(arrivals, default=None), rows[-1][0] if len(rows) == LOOK else 0)
