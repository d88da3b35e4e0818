"""
The layout of the server's database, and how an older one becomes the present one.

The version is C{PRAGMA user_version}: how many of L{MIGRATIONS} a file has been through. One that was released is never
changed; a new one is added at the end.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from securemsg.storage.errors import StateDamaged, StateTooNew
from securemsg.storage.files import make_private_file, sync_folder
from securemsg.storage.sqlite.segments import SEGMENT_MESSAGES, SEGMENT_SIZE, Body, Entry, pack

APPLICATION_ID = 0x736D7376  # "smsv": tells the server's database from any other SQLite file

# The key of a message is its mailbox and its position in one number, so that a mailbox lies together, in order, and needs no
# index: 2**27 mailboxes, 2**36 positions in each.
POSITION_BITS = 36
# Where a mailbox holds nothing that could expire.
FAR = 2**62
# Between the name of the database and the number of the layout that a copy has.
KEPT = ".schema"

_FIRST = (
    """CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        identity BLOB NOT NULL,
        version INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        token BLOB NOT NULL,
        body BLOB NOT NULL,
        signature BLOB NOT NULL
    )""",
    # AUTOINCREMENT: the number of a mailbox is never used again.
    """CREATE TABLE devices (
        mailbox INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL,
        device BLOB NOT NULL,
        signing_key BLOB NOT NULL,
        UNIQUE (account, device)
    )""",
    # Apart from the devices: every commit changes these rows, so many of them should fit a page.
    # next_expiry: nothing in the mailbox expires before; it may be too early, never too late.
    """CREATE TABLE mailboxes (
        mailbox INTEGER PRIMARY KEY,
        highest INTEGER NOT NULL DEFAULT 0,
        messages INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        next_expiry INTEGER NOT NULL DEFAULT 4611686018427387904
    )""",
    """CREATE TABLE tokens (
        digest BLOB PRIMARY KEY,
        uses INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        creator TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX tokens_creator ON tokens (creator)",
    """CREATE TABLE prekeys (
        mailbox INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        id INTEGER NOT NULL,
        key BLOB NOT NULL,
        signature BLOB NOT NULL,
        UNIQUE (mailbox, kind, id)
    )""",
    """CREATE TABLE spent (
        mailbox INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        id INTEGER NOT NULL,
        claimed_at INTEGER NOT NULL,
        PRIMARY KEY (mailbox, kind, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX spent_age ON spent (claimed_at)",
    """CREATE TABLE claims (
        mailbox INTEGER NOT NULL,
        requester INTEGER NOT NULL,
        claimed_at INTEGER NOT NULL,
        signed_id INTEGER NOT NULL,
        signed_key BLOB NOT NULL,
        signed_signature BLOB NOT NULL,
        kem_id INTEGER NOT NULL,
        kem_key BLOB NOT NULL,
        kem_signature BLOB NOT NULL,
        last_resort INTEGER NOT NULL,
        one_time_id INTEGER,
        one_time_key BLOB,
        one_time_signature BLOB,
        UNIQUE (mailbox, requester)
    )""",
    "CREATE INDEX claims_age ON claims (claimed_at)",
    # In the order of arrival, so that the oldest are found without an index.
    """CREATE TABLE deposits (
        id INTEGER PRIMARY KEY,
        sender INTEGER NOT NULL,
        deposit_id BLOB NOT NULL,
        digest BLOB NOT NULL,
        arrived_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX deposits_known ON deposits (sender, deposit_id)",
    # A message to one mailbox has all in its row: it is read and deleted in one stroke. What several share is in commons.
    """CREATE TABLE messages (
        place INTEGER PRIMARY KEY,
        size INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        shared INTEGER,
        arrived_at INTEGER NOT NULL,
        account TEXT NOT NULL,
        device BLOB NOT NULL,
        deposit_id BLOB NOT NULL,
        own BLOB NOT NULL,
        common BLOB
    )""",
    """CREATE TABLE commons (
        id INTEGER PRIMARY KEY,
        pending INTEGER NOT NULL,
        common BLOB NOT NULL
    )""",
)

# What expires goes by a clock of the server's own, and so does what is forgotten. A file from before went by the wall clock:
# its expiry clock goes on from there. A new one begins at 0.
_SECOND = (
    "CREATE TABLE clock (now INTEGER NOT NULL, wall INTEGER NOT NULL)",
    "INSERT INTO clock SELECT coalesce(max(arrived_at), 0), 0 FROM deposits",
    "ALTER TABLE deposits RENAME COLUMN expires_at TO forget_at",
    "UPDATE deposits SET forget_at = max(forget_at, arrived_at + 60 * 86400)",
    "ALTER TABLE deposits DROP COLUMN arrived_at",
)

# With the devices, not the mailboxes: it changes with each login only, and those rows should stay short.
_THIRD = (
    "ALTER TABLE devices ADD COLUMN logins BLOB NOT NULL DEFAULT x''",
    # The account at the root of its inviter's tree; NULL: itself. No other trace of who invited whom is kept.
    "ALTER TABLE accounts ADD COLUMN root INTEGER",
)


def _make_segments(connection: sqlite3.Connection) -> None:
    """Put messages that have a row each into segments, a segment at a time, so that memory and disk hold little twice."""
    while True:
        entries: list[Entry] = []
        total = last = 0
        rows = connection.execute("SELECT * FROM old_messages ORDER BY place")
        for key, size, expires_at, shared, arrived_at, account, device, deposit_id, own, common in rows:
            if entries and key >> POSITION_BITS != last >> POSITION_BITS:
                break
            body = Body(account, device, deposit_id, arrived_at, expires_at, common if shared is None else shared, own)
            entries.append((key & (1 << POSITION_BITS) - 1, size, body))
            total += size
            last = key
            if len(entries) == SEGMENT_MESSAGES or total >= SEGMENT_SIZE:
                break
        rows.close()
        if not entries:
            return
        connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", (last, *pack(entries)[1:]))
        connection.execute("DELETE FROM old_messages WHERE place <= ?", (last,))


# One row for each segment: what one commit brought to one mailbox. Its key is that of its last message. What counting and
# deleting need comes first, so that the bodies need not be read for it.
# passed: up to this position the first segment of the mailbox is acknowledged; 0 where it is whole.
_FOURTH = (
    "ALTER TABLE mailboxes ADD COLUMN passed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE messages RENAME TO old_messages",
    """CREATE TABLE messages (
        place INTEGER PRIMARY KEY,
        messages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        next_expiry INTEGER NOT NULL,
        shared BLOB,
        heads BLOB NOT NULL,
        bodies BLOB NOT NULL
    )""",
    _make_segments,
    "DROP TABLE old_messages",
)

# Which devices can read what is of a room, and the newest member list of each room.
_FIFTH = (
    "ALTER TABLE devices ADD COLUMN rooms INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE rooms (
        room BLOB PRIMARY KEY,
        n INTEGER NOT NULL,
        digest BLOB NOT NULL,
        next BLOB NOT NULL
    ) WITHOUT ROWID""",
)

# What the operator wants to know, and decides. Who was there before counts as seen now: nobody knows since when it was away.
# quota: messages that a mailbox may hold; 0: as many as any.
# depth: how many inviters there are up to whom the operator invited; of accounts from before: 1 where there were any.
_SIXTH = (
    "ALTER TABLE devices ADD COLUMN last_seen INTEGER NOT NULL DEFAULT 0",
    "UPDATE devices SET last_seen = CAST(strftime('%s', 'now') AS INTEGER)",
    "ALTER TABLE accounts ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE accounts ADD COLUMN quota INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE accounts ADD COLUMN depth INTEGER NOT NULL DEFAULT 0",
    "UPDATE accounts SET depth = 1 WHERE root IS NOT NULL",
)

MIGRATIONS: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...] = (
    _FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH,
)  # fmt: skip


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """
    How many migrations a file has been through; 0 for an empty one.

    @raise StateTooNew: more than there are.
    @raise StateDamaged: it is the database of something else.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    empty = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    if application != APPLICATION_ID and not (empty and version == 0):
        raise StateDamaged(f"{path} is not a server's database; nothing was changed. Move it away, or name another folder")
    if version > len(MIGRATIONS):
        raise StateTooNew(
            f"{path} was written by a newer release (format {version}, this one knows {len(MIGRATIONS)});"
            " nothing was changed, upgrade securemsg, or name another folder"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """
    Bring a file to the present layout, in one transaction, so that a kill leaves the old one or the new one. Before, what an
    older release has written is copied.

    @raise StateTooNew: it is beyond that.
    @raise StateDamaged: it is the database of something else.
    @raise OSError: it cannot be copied; nothing was changed.
    """
    version = version_of(connection, path)
    if version == len(MIGRATIONS):
        return
    if version > 0:
        _keep(connection, path.with_name(f"{path.name}{KEPT}{version}"))
    connection.execute("BEGIN IMMEDIATE")
    for statement in (statement for statements in MIGRATIONS[version:] for statement in statements):
        if callable(statement):
            statement(connection)
        else:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
    # One copy is enough.
    for older in path.parent.glob(f"{glob.escape(path.name)}{KEPT}*"):
        if older.name != f"{path.name}{KEPT}{version}":
            older.unlink()


def _keep(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database durably, all of it or nothing; the copy is as private."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # a process that was killed left it
    make_private_file(draft)
    with closing(sqlite3.connect(draft, isolation_level=None)) as target:
        for pragma in ("journal_mode", "synchronous"):
            target.execute(f"PRAGMA {pragma} = OFF")
        connection.backup(target)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)
