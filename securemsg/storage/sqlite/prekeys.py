"""Public prekeys, in SQL. Everything here runs within a transaction of the writer."""

from __future__ import annotations

import sqlite3

from securemsg.errors import Refusal
from securemsg.interfaces import CLAIM_KEPT, StoredBundle, StoredPrekey, StoredStock

SIGNED, LAST_RESORT, ONE_TIME, KEM = 1, 2, 3, 4

ADD = "INSERT OR IGNORE INTO prekeys VALUES (?, ?, ?, ?, ?)"
IDS = "SELECT id FROM prekeys WHERE mailbox = ? AND kind = ?"
COUNT = "SELECT count(*) FROM prekeys WHERE mailbox = ? AND kind = ?"
STOCK = (
    "SELECT (SELECT coalesce(max(id), 0) FROM prekeys WHERE mailbox = ?1 AND kind = ?2),"
    " (SELECT coalesce(max(id), 0) FROM prekeys WHERE mailbox = ?1 AND kind = ?3),"
    " (SELECT count(*) FROM prekeys WHERE mailbox = ?1 AND kind = ?4),"
    " (SELECT count(*) FROM prekeys WHERE mailbox = ?1 AND kind = ?5)"
)
SPENT = "SELECT id FROM spent WHERE mailbox = ? AND kind = ?"
REMOVE = "DELETE FROM prekeys WHERE mailbox = ? AND kind = ? AND id = ?"
CLEAR = "DELETE FROM prekeys WHERE mailbox = ? AND kind = ?"
LOWEST = "SELECT id, key, signature FROM prekeys WHERE mailbox = ? AND kind = ? ORDER BY id LIMIT 1"
MAILBOX = "SELECT mailbox FROM accounts JOIN devices ON account = id WHERE name = ? AND device = ?"
CLAIMED = (
    "SELECT signed_id, signed_key, signed_signature, kem_id, kem_key, kem_signature, last_resort,"
    " one_time_id, one_time_key, one_time_signature"
    " FROM claims WHERE mailbox = ? AND requester = ? AND claimed_at > ? AND kem_id <> ?"
    " AND signed_id IN (SELECT id FROM prekeys WHERE prekeys.mailbox = claims.mailbox AND kind = ?)"
)
KEEP_CLAIM = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def add_prekeys(
    connection: sqlite3.Connection,
    mailbox: int,
    signed: StoredPrekey | None,
    last_resort: StoredPrekey | None,
    one_time: tuple[StoredPrekey, ...],
    kem: tuple[StoredPrekey, ...],
    limit: int,
    replace: bool,
) -> None:
    """
    See L{securemsg.interfaces.IPrekeyStore.add_prekeys}.

    @raise Refusal: as said there.
    """
    if connection.execute("SELECT 1 FROM mailboxes WHERE mailbox = ?", (mailbox,)).fetchone() is None:
        return
    for kind, offered in ((ONE_TIME, one_time), (KEM, kem)):
        _add_one_time(connection, mailbox, kind, offered, replace)
        if connection.execute(COUNT, (mailbox, kind)).fetchone()[0] > limit:
            raise Refusal("too-many-prekeys")  # the writer undoes what was done so far
    if replace:
        connection.execute("DELETE FROM claims WHERE ? IN (mailbox, requester)", (mailbox,))
    for kind, prekey in ((SIGNED, signed), (LAST_RESORT, last_resort)):
        if prekey is not None:
            # The last one counts, not the highest id: that may come from a clock that was wrong.
            connection.execute(CLEAR, (mailbox, kind))
            connection.execute(ADD, (mailbox, kind, prekey.id, prekey.key, prekey.signature))


def _add_one_time(
    connection: sqlite3.Connection, mailbox: int, kind: int, offered: tuple[StoredPrekey, ...], replace: bool
) -> None:
    """Keep those that are new."""
    shelf = mailbox, kind
    if replace:
        stays = {prekey.id for prekey in offered}
        gone = [(*shelf, number) for (number,) in connection.execute(IDS, shelf) if number not in stays]
        connection.executemany(REMOVE, gone)
    if offered:
        spent = {number for (number,) in connection.execute(SPENT, shelf)}
        new = [(*shelf, one.id, one.key, one.signature) for one in offered if one.id not in spent]
        connection.executemany(ADD, new)


def load_claim(
    connection: sqlite3.Connection, name: str, device: bytes, requester: int, now: int, spent: int
) -> StoredBundle | None:
    """See L{securemsg.interfaces.IPrekeyStore.load_claim}."""
    found = connection.execute(MAILBOX, (name, device)).fetchone()
    return None if found is None else _kept_claim(connection, found[0], requester, now, spent)


def claim(
    connection: sqlite3.Connection, mailbox: int, requester: int, now: int, fresh: bool, spent: int
) -> StoredBundle | None:
    """See L{securemsg.interfaces.IPrekeyStore.claim}."""
    kept = _kept_claim(connection, mailbox, requester, now, spent)
    if kept is not None:
        return kept
    current = _first(connection, mailbox, SIGNED)
    last_resort = _first(connection, mailbox, LAST_RESORT)
    chosen = _first(connection, mailbox, KEM) if fresh else None
    if current is None or (last_resort is None and chosen is None):
        return None
    once = _first(connection, mailbox, ONE_TIME) if fresh else None
    for kind, prekey in ((ONE_TIME, once), (KEM, chosen)):
        if prekey is not None:
            connection.execute(REMOVE, (mailbox, kind, prekey.id))
            connection.execute("INSERT INTO spent VALUES (?, ?, ?, ?)", (mailbox, kind, prekey.id, now))
    final = chosen or last_resort
    assert final is not None
    bundle = StoredBundle(current, final, chosen is None, once)
    if fresh:
        _keep_claim(connection, mailbox, requester, now, bundle)
    return bundle


def _kept_claim(
    connection: sqlite3.Connection, mailbox: int, requester: int, now: int, spent: int
) -> StoredBundle | None:
    """The bundle that this requester got, and may have again."""
    found = connection.execute(CLAIMED, (mailbox, requester, now - CLAIM_KEPT, spent, SIGNED)).fetchone()
    if found is None:
        return None
    signed, kem, one_time = StoredPrekey(*found[:3]), StoredPrekey(*found[3:6]), found[7:]
    return StoredBundle(signed, kem, bool(found[6]), None if one_time[0] is None else StoredPrekey(*one_time))


def _first(connection: sqlite3.Connection, mailbox: int, kind: int) -> StoredPrekey | None:
    """The prekey with the lowest id; there is only one signed and one last-resort prekey."""
    found = connection.execute(LOWEST, (mailbox, kind)).fetchone()
    return None if found is None else StoredPrekey(*found)


def _keep_claim(connection: sqlite3.Connection, mailbox: int, requester: int, now: int, bundle: StoredBundle) -> None:
    """Remember who got which bundle."""
    one_time = bundle.one_time
    values = (
        mailbox,
        requester,
        now,
        bundle.signed.id,
        bundle.signed.key,
        bundle.signed.signature,
        bundle.kem.id,
        bundle.kem.key,
        bundle.kem.signature,
        bundle.kem_is_last_resort,
        *((None, None, None) if one_time is None else (one_time.id, one_time.key, one_time.signature)),
    )
    connection.execute(KEEP_CLAIM, values)


def forget_claims(connection: sqlite3.Connection, requester: int) -> None:
    """See L{securemsg.interfaces.IPrekeyStore.forget_claims}."""
    connection.execute("DELETE FROM claims WHERE requester = ?", (requester,))


def stock(connection: sqlite3.Connection, mailbox: int) -> StoredStock:
    """See L{securemsg.interfaces.IPrekeyStore.stock}."""
    return StoredStock(*connection.execute(STOCK, (mailbox, SIGNED, LAST_RESORT, ONE_TIME, KEM)).fetchone())


def expire_claims(connection: sqlite3.Connection, now: int, forget_before: int) -> None:
    """Delete bundles that are not given again, and ids that nobody will upload again."""
    connection.execute("DELETE FROM claims WHERE claimed_at <= ?", (now - CLAIM_KEPT,))
    connection.execute("DELETE FROM spent WHERE claimed_at < ?", (forget_before,))


def drop_prekeys(connection: sqlite3.Connection, mailbox: int) -> None:
    """Delete all that is kept for a device."""
    for table in ("prekeys", "spent", "claims"):
        connection.execute(f"DELETE FROM {table} WHERE mailbox = ?", (mailbox,))  # noqa: S608 -- the names are ours
