"""Deposits and what waits in mailboxes, in SQL. Everything here runs within a transaction of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from securemsg.interfaces import ClockReading, DepositRow, StoredMessage, WriteBatch, WriteOutcome
from securemsg.storage.sqlite.schema import FAR, POSITION_BITS

POSITION_MASK = (1 << POSITION_BITS) - 1
# How many deposits one step of forgetting looks at. It takes some milliseconds, while other jobs wait.
FORGET_STEP = 2000

REMEMBER = "INSERT INTO deposits (sender, deposit_id, digest, forget_at) VALUES (?, ?, ?, ?)"
FIND = "SELECT digest FROM deposits WHERE sender = ? AND deposit_id = ?"
ADD_COMMON = "INSERT INTO commons (pending, common) VALUES (?, ?)"
ADD_MESSAGE = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
CHANGE = (
    "UPDATE mailboxes SET highest = max(highest, ?), messages = messages + ?, size = size + ?,"
    " next_expiry = CASE messages + ? WHEN 0 THEN ? ELSE min(next_expiry, ?) END WHERE mailbox = ?"
)
KEEP_LOGINS = "UPDATE devices SET logins = ? WHERE mailbox = ?"
COUNT = "SELECT count(*), coalesce(sum(size), 0), count(shared) FROM messages WHERE place > ? AND place <= ?"
SHARED = "SELECT shared FROM messages WHERE place > ? AND place <= ? AND shared IS NOT NULL"
DROP = "DELETE FROM messages WHERE place > ? AND place <= ?"
RELEASE = "UPDATE commons SET pending = pending - 1 WHERE id = ?"
DROP_COMMON = "DELETE FROM commons WHERE id = ? AND pending < 1"
PAGE = (
    "SELECT place, size, account, device, deposit_id, arrived_at, expires_at, own,"
    " CASE WHEN shared IS NULL THEN common ELSE (SELECT common FROM commons WHERE id = shared) END"
    " FROM messages WHERE place > ? AND place <= ? ORDER BY place LIMIT ?"
)
DUE = "SELECT mailbox FROM mailboxes WHERE next_expiry <= ?"
EXPIRED = "SELECT place, size, shared FROM messages WHERE place > ? AND place <= ? AND expires_at <= ? ORDER BY place LIMIT ?"
NEXT_EXPIRY = "SELECT coalesce(min(expires_at), ?) FROM messages WHERE place > ? AND place <= ?"
SET_EXPIRY = "UPDATE mailboxes SET messages = messages - ?, size = size - ?, next_expiry = ? WHERE mailbox = ?"
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
    changes: dict[int, tuple[int, int, int]] = {}  # mailbox to messages, bytes, earliest expiry
    rows = []
    for index, deposit in enumerate(batch.deposits):
        sender, expires_at, common = deposit.sender, deposit.expires_at, deposit.common
        if deposit.n > highest.get(sender, 0):
            highest[sender] = deposit.n
        if index in known:
            continue
        shared: int | None = None
        inline: bytes | None = common
        if len(deposit.rows) > 1:
            shared, inline = connection.execute(ADD_COMMON, (len(deposit.rows), common)).lastrowid, None
        arrived_at, account, device, deposit_id = deposit.arrived_at, deposit.account, deposit.device, deposit.deposit_id
        for row in deposit.rows:
            mailbox, own = row.mailbox, row.own
            size = len(common) + len(own)
            key = place(mailbox, row.position)
            rows.append((key, size, expires_at, shared, arrived_at, account, device, deposit_id, own, inline))
            messages, total, expiry = changes.get(mailbox, (0, 0, FAR))
            changes[mailbox] = messages + 1, total + size, min(expiry, expires_at)
    connection.executemany(ADD_MESSAGE, rows)
    for mailbox, position in batch.acknowledged.items():
        dropped, freed = drop(connection, mailbox, position)
        messages, total, expiry = changes.get(mailbox, (0, 0, FAR))
        changes[mailbox] = messages - dropped, total - freed, expiry
    _change(connection, highest, changes)
    connection.executemany(KEEP_LOGINS, [(logins, mailbox) for mailbox, logins in batch.logins.items()])
    return WriteOutcome(known)


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


def _change(connection: sqlite3.Connection, highest: dict[int, int], changes: dict[int, tuple[int, int, int]]) -> None:
    """Keep the counts of the mailboxes, and drop what was written to mailboxes that are gone."""
    values = []
    for mailbox in {**highest, **changes}:
        messages, size, expiry = changes.get(mailbox, (0, 0, FAR))
        values.append((highest.get(mailbox, 0), messages, size, messages, FAR, expiry, mailbox))
    if connection.executemany(CHANGE, values).rowcount < len(values):
        for mailbox in changes:
            if connection.execute("SELECT 1 FROM mailboxes WHERE mailbox = ?", (mailbox,)).fetchone() is None:
                drop(connection, mailbox)


def drop(connection: sqlite3.Connection, mailbox: int, last: int = POSITION_MASK) -> tuple[int, int]:
    """
    Delete what is in a mailbox up to a position, and the common parts that nobody needs any more.

    @return: how many messages and bytes.
    """
    keys = span(mailbox, 0, last)
    messages, size, shared = connection.execute(COUNT, keys).fetchone()
    if shared:
        release(connection, connection.execute(SHARED, keys).fetchall())
    if messages:
        connection.execute(DROP, keys)
    return messages, size


def release(connection: sqlite3.Connection, shared: Iterable[tuple[int]]) -> None:
    """These common parts are needed by one mailbox less."""
    ids = list(shared)
    connection.executemany(RELEASE, ids)
    connection.executemany(DROP_COMMON, ids)


def page(connection: sqlite3.Connection, mailbox: int, after: int, limit: int, size: int) -> list[StoredMessage]:
    """See L{securemsg.interfaces.IMailboxStore.page}."""
    found = []
    total = 0
    rows = connection.execute(PAGE, (*span(mailbox, after), limit))
    for key, weight, account, device, deposit_id, arrived_at, expires_at, own, common in rows:
        position = key & POSITION_MASK
        found.append(StoredMessage(position, account, device, deposit_id, arrived_at, expires_at, common, own))
        total += weight
        if total >= size:
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
    for (mailbox,) in connection.execute(DUE, (now,)).fetchall():
        if left < 1:
            break
        rows = connection.execute(EXPIRED, (*span(mailbox), now, left)).fetchall()
        connection.executemany("DELETE FROM messages WHERE place = ?", [(key,) for key, _, _ in rows])
        release(connection, [(shared,) for _, _, shared in rows if shared is not None])
        messages, size = len(rows), sum(weight for _, weight, _ in rows)
        (expiry,) = connection.execute(NEXT_EXPIRY, (FAR, *span(mailbox))).fetchone()
        connection.execute(SET_EXPIRY, (messages, size, expiry, mailbox))
        if rows:
            taken[mailbox] = messages, size
            left -= messages
    return taken


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
