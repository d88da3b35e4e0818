"""Deposits and what waits in mailboxes, in SQL. Everything here runs within a transaction of the writer."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right

from securemsg.interfaces import ClockReading, DepositRow, StoredMessage, StoredRoom, WriteBatch, WriteOutcome
from securemsg.storage.sqlite.rooms import keep_rooms
from securemsg.storage.sqlite.schema import FAR, POSITION_BITS
from securemsg.storage.sqlite.segments import (
    Body,
    Entry,
    count,
    pack,
    split,
    unpack,
    unpack_bodies,
    unpack_heads,
    unpack_shared,
)

POSITION_MASK = (1 << POSITION_BITS) - 1
# How many deposits one step of forgetting looks at. It takes some milliseconds, while other jobs wait.
FORGET_STEP = 2000

REMEMBER = "INSERT INTO deposits (sender, deposit_id, digest, forget_at) VALUES (?, ?, ?, ?)"
FIND = "SELECT digest FROM deposits WHERE sender = ? AND deposit_id = ?"
ADD_COMMON = "INSERT INTO commons VALUES (?, ?, ?)"
# Only where nothing in the mailbox would come later: a reader who has passed that would never be given what is new.
COUNT_IN = (
    "UPDATE mailboxes SET messages = messages + ?, size = size + ?,"
    " next_expiry = CASE messages WHEN 0 THEN ? ELSE min(next_expiry, ?) END"
    " WHERE mailbox = ? AND NOT EXISTS (SELECT 1 FROM messages WHERE place > ? AND place <= ?)"
)
ADD_SEGMENT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)"
COUNT_OUT = "UPDATE mailboxes SET messages = messages - ?, size = size - ?, passed = ? WHERE mailbox = ?"
KEEP_HIGHEST = "UPDATE mailboxes SET highest = max(highest, ?) WHERE mailbox = ?"
THERE = "SELECT 1 FROM mailboxes WHERE mailbox = ?"
KEEP_LOGINS = "UPDATE devices SET logins = ?, rooms = ?, last_seen = ? WHERE mailbox = ?"
# The first segments of a mailbox, and how far the very first is acknowledged.
HEADS = (
    "SELECT place, messages, size, shared, heads, (SELECT passed FROM mailboxes WHERE mailbox = ?)"
    " FROM messages WHERE place > ? AND place <= ? ORDER BY place"
)
DROP = "DELETE FROM messages WHERE place > ? AND place <= ?"
RELEASE = "UPDATE commons SET pending = pending - 1 WHERE id = ?"
DROP_COMMON = "DELETE FROM commons WHERE id = ? AND pending < 1"
COMMON_PART = "SELECT common FROM commons WHERE id = ?"
LAST_COMMON = "SELECT coalesce(max(id), 0) FROM commons"
PAGE = (
    "SELECT heads, bodies, (SELECT passed FROM mailboxes WHERE mailbox = ?)"
    " FROM messages WHERE place > ? AND place <= ? ORDER BY place"
)
DUE = "SELECT mailbox, passed FROM mailboxes WHERE next_expiry <= ?"
EXPIRED = (
    "SELECT place, heads, bodies FROM messages WHERE place > ? AND place <= ? AND next_expiry <= ? ORDER BY place LIMIT 1"
)
NEXT_EXPIRY = "SELECT coalesce(min(next_expiry), ?) FROM messages WHERE place > ? AND place <= ?"
SET_EXPIRY = "UPDATE mailboxes SET messages = messages - ?, size = size - ?, next_expiry = ?, passed = ? WHERE mailbox = ?"
READ_CLOCK = "SELECT now, wall FROM clock"
KEEP_CLOCK = "UPDATE clock SET now = max(now, ?), wall = ?"
# All but the newest, so that no number is given twice.
OLDEST = "SELECT id, forget_at FROM deposits WHERE id < (SELECT max(id) FROM deposits) ORDER BY id LIMIT ?"
FORGET = "DELETE FROM deposits WHERE id = ?"
HIGH_WATER = "SELECT (SELECT coalesce(max(id), 0) FROM deposits) + (SELECT coalesce(max(seq), 0) FROM sqlite_sequence)"


def place(mailbox: int, position: int) -> int:
    """The key of a message."""
    assert 0 <= position <= POSITION_MASK, "positions are used up"
    return mailbox << POSITION_BITS | position


def span(mailbox: int, after: int = 0, last: int = POSITION_MASK) -> tuple[int, int]:
    """The keys of a stretch of a mailbox, the first of them excluded."""
    return place(mailbox, after), place(mailbox, min(last, POSITION_MASK))


def write(connection: sqlite3.Connection, batch: WriteBatch) -> WriteOutcome:
    """See L{securemsg.interfaces.IMailboxStore.write}."""
    known = _remember(connection, batch.deposits)
    highest = dict(batch.highest)
    arrived: dict[int, list[Entry]] = {}
    commons: list[tuple[int, int, bytes]] = []
    steps: list[StoredRoom] = []
    number = 0
    for index, deposit in enumerate(batch.deposits):
        sender, rows, part = deposit.sender, deposit.rows, deposit.common
        if deposit.n > highest.get(sender, 0):
            highest[sender] = deposit.n
        if index in known:
            continue
        if deposit.step is not None:
            steps.append(deposit.step)
        common: bytes | int = part
        if len(rows) > 1:
            if not commons:
                (number,) = connection.execute(LAST_COMMON).fetchone()
            common = number = number + 1
            commons.append((number, len(rows), part))
        size = len(part)
        account, device, deposit_id = deposit.account, deposit.device, deposit.deposit_id
        arrived_at, expires_at, room = deposit.arrived_at, deposit.expires_at, deposit.room
        for row in rows:
            own = row.own
            body = Body(account, device, deposit_id, arrived_at, expires_at, common, own, room)
            arrived.setdefault(row.mailbox, []).append((row.position, size + len(own), body))
    connection.executemany(ADD_COMMON, commons)
    keep_rooms(connection, steps)
    _add(connection, arrived)
    counts = [(*drop(connection, mailbox, position), mailbox) for mailbox, position in batch.acknowledged.items()]
    connection.executemany(COUNT_OUT, counts)
    connection.executemany(KEEP_HIGHEST, [(n, mailbox) for mailbox, n in highest.items()])
    connection.executemany(KEEP_LOGINS, [(*logins, mailbox) for mailbox, logins in batch.logins.items()])
    return WriteOutcome(known)


def _add(connection: sqlite3.Connection, arrived: dict[int, list[Entry]]) -> None:
    """Put messages into mailboxes, but for those that are gone."""
    counts, segments = [], []
    for mailbox, entries in arrived.items():
        entries.sort()
        total, expiry = 0, FAR
        for part in split(entries):
            last, messages, size, next_expiry, *blobs = pack(part)
            segments.append((place(mailbox, last), messages, size, next_expiry, *blobs))
            total += size
            expiry = min(expiry, next_expiry)
        keys = span(mailbox, entries[0][0] - 1)
        counts.append((len(entries), total, expiry, expiry, mailbox, *keys))
    counted = connection.executemany(COUNT_IN, counts).rowcount if counts else 0
    connection.executemany(ADD_SEGMENT, segments)
    if counted < len(counts):
        for mailbox in arrived:
            if connection.execute(THERE, (mailbox,)).fetchone() is None:
                drop(connection, mailbox)
                counted += 1
        assert counted == len(counts), "positions rise within a mailbox"


def _remember(connection: sqlite3.Connection, deposits: tuple[DepositRow, ...]) -> dict[int, bytes]:
    """
    Write the rows by which a repetition is recognised.

    @return: index to digest of those that were there.
    """
    known: dict[int, bytes] = {}
    values = [(one.sender, one.deposit_id, one.digest, one.forget_at) for one in deposits]
    connection.execute("SAVEPOINT deposits")
    try:
        connection.executemany(REMEMBER, values)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO deposits")
        for index, value in enumerate(values):
            found = connection.execute(FIND, value[:2]).fetchone()
            if found is None:
                connection.execute(REMEMBER, value)
            else:
                known[index] = found[0]
    connection.execute("RELEASE deposits")
    return known


def drop(connection: sqlite3.Connection, mailbox: int, last: int = POSITION_MASK) -> tuple[int, int, int]:
    """
    Delete what is in a mailbox up to a position, and the common parts that nobody needs any more. A segment that goes on behind
    it stays.

    @return: how many messages and bytes that was, and how far what is now the first segment is acknowledged.
    """
    messages = size = passed = 0
    whole = False
    shared: list[int] = []
    begin, end = span(mailbox, 0, last)
    rows = connection.execute(HEADS, (mailbox, begin, place(mailbox, POSITION_MASK)))
    for key, many, weight, numbers, heads, mark in rows:
        # Only the first segment may be acknowledged in part already.
        passed = 0 if whole else mark or 0
        is_last = key > end
        if passed or is_last:
            many, weight = count(heads, passed, last)
        messages += many
        size += weight
        if is_last:
            passed = max(passed, last) if passed or many else 0
            break
        whole, passed = True, 0
        if numbers is not None:
            shared += unpack_shared(numbers)
    rows.close()
    release(connection, shared)
    if whole:
        connection.execute(DROP, (begin, end))
    return messages, size, passed


def release(connection: sqlite3.Connection, shared: list[int]) -> None:
    """These common parts are needed by one segment less."""
    numbers = [(number,) for number in shared]
    connection.executemany(RELEASE, numbers)
    connection.executemany(DROP_COMMON, numbers)


def page(connection: sqlite3.Connection, mailbox: int, after: int, limit: int, size: int) -> list[StoredMessage]:
    """See L{securemsg.interfaces.IMailboxStore.page}."""
    found: list[StoredMessage] = []
    rows = connection.execute(PAGE, (mailbox, *span(mailbox, after)))
    for heads, bodies, passed in rows:
        positions, sizes = unpack_heads(heads)
        begin = end = bisect_right(positions, max(after, passed))
        for weight in sizes[begin : begin + limit - len(found)]:
            end += 1
            size -= weight
            if size <= 0:
                break
        for position, body in zip(positions[begin:end], unpack_bodies(bodies)[begin:end], strict=True):
            common = body.common
            if isinstance(common, int):
                (common,) = connection.execute(COMMON_PART, (common,)).fetchone()
            found.append(
                StoredMessage(
                    position, body.account, body.device, body.deposit_id, body.arrived_at, body.expires_at, common, body.own,
                    body.room,
                )
            )  # fmt: skip
        if size <= 0 or len(found) == limit:
            break
    rows.close()
    return found


def find_deposit(connection: sqlite3.Connection, sender: int, deposit_id: bytes) -> bytes | None:
    """See L{securemsg.interfaces.IMailboxStore.find_deposit}."""
    found: tuple[bytes] | None = connection.execute(FIND, (sender, deposit_id)).fetchone()
    return None if found is None else found[0]


def read_clock(connection: sqlite3.Connection) -> ClockReading:
    """See L{securemsg.interfaces.IMailboxStore.last_clock}."""
    return ClockReading(*connection.execute(READ_CLOCK).fetchone())


def high_water(connection: sqlite3.Connection) -> int:
    """See L{securemsg.storage.sqlite.store.ServerStore.high_water}: the numbers of deposits and mailboxes are used once."""
    (number,) = connection.execute(HIGH_WATER).fetchone()
    return int(number)


def expire(connection: sqlite3.Connection, clock: ClockReading, limit: int) -> dict[int, tuple[int, int]]:
    """
    Keep the expiry clock, and delete up to C{limit} messages that expired by it.

    @return: mailbox number to how many messages and bytes.
    """
    connection.execute(KEEP_CLOCK, (clock.now, clock.wall))
    now = clock.now
    taken: dict[int, tuple[int, int]] = {}
    left = limit
    for mailbox, passed in connection.execute(DUE, (now,)).fetchall():
        if left < 1:
            break
        messages, size, passed = _expire_from(connection, mailbox, passed, now, left)
        (expiry,) = connection.execute(NEXT_EXPIRY, (FAR, *span(mailbox))).fetchone()
        connection.execute(SET_EXPIRY, (messages, size, expiry, passed, mailbox))
        if messages:
            taken[mailbox] = messages, size
            left -= messages
    return taken


def _expire_from(connection: sqlite3.Connection, mailbox: int, passed: int, now: int, limit: int) -> tuple[int, int, int]:
    """
    Delete what has expired in a mailbox, segment by segment. What stays of one is written again, without what is acknowledged.

    @return: how many messages and bytes, and how far the first segment is acknowledged now.
    """
    messages = size = 0
    key, end = span(mailbox)
    while messages < limit and (row := connection.execute(EXPIRED, (key, end, now)).fetchone()) is not None:
        key, heads, bodies = row
        kept, shared = [], []
        for entry in unpack(heads, bodies):
            position, weight, body = entry
            if position > passed:
                if body.expires_at > now or messages == limit:
                    kept.append(entry)
                    continue
                messages += 1
                size += weight
            if isinstance(body.common, int):
                shared.append(body.common)
        connection.execute(DROP, (key - 1, key))
        release(connection, shared)
        if kept:
            last, *values = pack(kept)
            connection.execute(ADD_SEGMENT, (place(mailbox, last), *values))
        if passed >= unpack_heads(heads)[0][0]:
            passed = 0
    return messages, size, passed


def forget(connection: sqlite3.Connection, now: int) -> bool:
    """
    Forget deposits among the oldest whose time has come.

    They came in the order of their numbers, were stamped by the expiry clock, and that never goes back; so those behind have
    no more time than these, but for what a crash took from the clock.

    @return: whether there may be more of them.
    """
    rows = connection.execute(OLDEST, (FORGET_STEP,)).fetchall()
    useless = [(number,) for number, forget_at in rows if forget_at <= now]
    connection.executemany(FORGET, useless)
    return bool(useless) and len(rows) == FORGET_STEP
