"""Accounts, their devices, and the tokens that admit them, in SQL. Everything here runs within a transaction of the writer."""

from __future__ import annotations

import sqlite3

from securemsg.errors import Refusal
from securemsg.interfaces import (
    AccountSummary,
    NewAccount,
    OpenInvite,
    StoredAccount,
    StoredDevice,
    StoredLogin,
    Totals,
)
from securemsg.storage.sqlite.mailboxes import POSITION_MASK, drop, span
from securemsg.storage.sqlite.prekeys import drop_prekeys, stock

LOAD = (
    "SELECT id, identity, body, signature, version, created_at, coalesce(root, id), suspended, quota, depth"
    " FROM accounts WHERE name = ?"
)
TREE = "SELECT coalesce(root, id), depth + 1 FROM accounts JOIN tokens ON creator = name WHERE digest = ?"
FIND_ACCOUNT = "SELECT coalesce(max(id), 0) FROM accounts WHERE name = ?"
FIND_DEVICE = "SELECT max(signing_key) FROM devices WHERE account = ? AND device = ?"
REGISTERED = "SELECT identity, token FROM accounts WHERE name = ?"
DEVICES = (
    "SELECT device, signing_key, mailbox, highest, messages, size, logins, rooms, last_seen"
    " FROM devices JOIN mailboxes USING (mailbox) WHERE account = ? ORDER BY mailbox"
)
LAST_PLACE = "SELECT max(place) FROM messages WHERE place > ? AND place <= ?"
ADD_ACCOUNT = (
    "INSERT INTO accounts (name, identity, version, created_at, token, body, signature, root, depth)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ADD_DEVICE = "INSERT INTO devices (account, device, signing_key) VALUES (?, ?, ?)"
SUMMARIES = (
    "SELECT name, created_at, count(mailbox), coalesce(sum(messages), 0), coalesce(sum(size), 0), coalesce(max(last_seen), 0),"
    " suspended, quota, coalesce(max(messages), 0), coalesce(max(size), 0)"
    " FROM (SELECT * FROM accounts WHERE {} ORDER BY name LIMIT ?)"
    " LEFT JOIN devices ON account = id LEFT JOIN mailboxes USING (mailbox) GROUP BY id ORDER BY name"
)
LIST = SUMMARIES.format("name > ?")
SUMMARY = SUMMARIES.format("name = ?")
LIST_TOKENS = (
    "SELECT digest, uses, expires_at, creator FROM tokens WHERE digest > ? AND uses > 0 AND expires_at > ?"
    " ORDER BY digest LIMIT ?"
)
SUSPEND = "UPDATE accounts SET suspended = ? WHERE name = ?"
SET_QUOTA = "UPDATE accounts SET quota = ? WHERE name = ?"
TOTALS = (
    "SELECT (SELECT count(*) FROM accounts), count(*), coalesce(sum(messages), 0), coalesce(sum(size), 0),"
    " (SELECT count(*) FROM tokens WHERE uses > 0 AND expires_at > ?) FROM mailboxes"
)
OPEN_INVITES = "SELECT count(*) FROM tokens WHERE creator = ? AND uses > 0"


def load_account(connection: sqlite3.Connection, name: str) -> StoredAccount | None:
    """See L{securemsg.interfaces.IDirectoryStore.load_account}."""
    found = connection.execute(LOAD, (name,)).fetchone()
    if found is None:
        return None
    account, identity, body, signature, version, created_at, root, suspended, quota, depth = found
    devices = []
    for row in connection.execute(DEVICES, (account,)):
        device, signing_key, mailbox, highest, messages, size, logins, rooms, last_seen = row
        (key,) = connection.execute(LAST_PLACE, span(mailbox)).fetchone()
        last = 0 if key is None else key & POSITION_MASK
        devices.append(
            StoredDevice(device, signing_key, mailbox, highest, messages, size, last, logins, bool(rooms), last_seen)
        )
    return StoredAccount(
        name, identity, body, signature, version, created_at, tuple(devices), root, bool(suspended), quota, depth
    )


def find_device(connection: sqlite3.Connection, name: str, device: bytes) -> bytes | None:
    """See L{securemsg.interfaces.IDirectoryStore.find_device}. No account has the id 0."""
    (account,) = connection.execute(FIND_ACCOUNT, (name,)).fetchone()
    found: tuple[bytes | None] = connection.execute(FIND_DEVICE, (account, device)).fetchone()
    return found[0]


def load_login(connection: sqlite3.Connection, name: str, device: bytes) -> StoredLogin | None:
    """See L{securemsg.interfaces.IDirectoryStore.load_login}."""
    account = load_account(connection, name)
    if account is not None:
        for stored in account.devices:
            if stored.device == device:
                return StoredLogin(account, stock(connection, stored.mailbox))
    return None


def register(connection: sqlite3.Connection, new: NewAccount) -> None:
    """
    See L{securemsg.interfaces.IDirectoryStore.register}.

    @raise Refusal: as said there.
    """
    there = connection.execute(REGISTERED, (new.name,)).fetchone()
    if there == (new.identity, new.token):
        return
    if new.former:
        _renew(connection, new)
        return
    if new.token and not _is_good(connection, new.token, new.now):
        raise Refusal("bad-token")
    if there is not None:
        raise Refusal("name-taken")
    connection.execute("UPDATE tokens SET uses = uses - 1 WHERE digest = ?", (new.token,))
    tree = connection.execute(TREE, (new.token,)).fetchone()
    root, depth = (None, 0) if tree is None else tree
    values = new.name, new.identity, new.version, new.now, new.token, new.body, new.signature, root, depth
    account = connection.execute(ADD_ACCOUNT, values).lastrowid
    assert account is not None
    _add_devices(connection, account, new.devices)


def _renew(connection: sqlite3.Connection, new: NewAccount) -> None:
    """Give an account another identity, and other devices."""
    found = connection.execute("SELECT id, version FROM accounts WHERE name = ? AND identity = ?", (new.name, new.former))
    there = found.fetchone()
    if there is None or new.version != there[1] + 1:
        raise Refusal("bad-device-list")
    for (mailbox,) in connection.execute("SELECT mailbox FROM devices WHERE account = ?", there[:1]).fetchall():
        _remove_device(connection, mailbox)
    values = new.identity, new.version, new.token, new.body, new.signature, there[0]
    connection.execute("UPDATE accounts SET identity = ?, version = ?, token = ?, body = ?, signature = ? WHERE id = ?", values)
    _add_devices(connection, there[0], new.devices)


def publish(
    connection: sqlite3.Connection,
    name: str,
    replaced: int,
    version: int,
    body: bytes,
    signature: bytes,
    devices: tuple[tuple[bytes, bytes], ...],
) -> None:
    """
    See L{securemsg.interfaces.IDirectoryStore.publish}.

    @raise Refusal: as said there.
    """
    there = connection.execute("SELECT id, version, body, signature FROM accounts WHERE name = ?", (name,)).fetchone()
    if there is None:
        raise Refusal("no-such-account")
    if there[1:] == (version, body, signature):
        return
    if there[1] != replaced:
        raise Refusal("stale-list")
    account = there[0]
    values = version, body, signature, account
    connection.execute("UPDATE accounts SET version = ?, body = ?, signature = ? WHERE id = ?", values)
    missing = dict(devices)
    for device, signing_key, mailbox, *_ in connection.execute(DEVICES, (account,)).fetchall():
        if missing.get(device) == signing_key:
            del missing[device]
        else:
            _remove_device(connection, mailbox)
    _add_devices(connection, account, tuple(missing.items()))


def remove_account(connection: sqlite3.Connection, name: str) -> AccountSummary:
    """
    See L{securemsg.interfaces.IDirectoryStore.remove_account}.

    @raise Refusal: as said there.
    """
    there = connection.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()
    if there is None:
        raise Refusal("no-such-account")
    summary = AccountSummary(*connection.execute(SUMMARY, (name, 1)).fetchone())
    for (mailbox,) in connection.execute("SELECT mailbox FROM devices WHERE account = ?", there).fetchall():
        _remove_device(connection, mailbox)
    connection.execute("DELETE FROM accounts WHERE id = ?", there)
    connection.execute("DELETE FROM tokens WHERE creator = ?", (name,))
    return summary


def update_account(connection: sqlite3.Connection, statement: str, name: str, value: int) -> None:
    """
    Carry out L{SUSPEND} or L{SET_QUOTA}.

    @raise Refusal: C{no-such-account}.
    """
    if not connection.execute(statement, (value, name)).rowcount:
        raise Refusal("no-such-account")


def totals(connection: sqlite3.Connection, now: int) -> Totals:
    """See L{securemsg.interfaces.IDirectoryStore.totals}."""
    return Totals(*connection.execute(TOTALS, (now,)).fetchone())


def list_accounts(connection: sqlite3.Connection, after: str, limit: int) -> list[AccountSummary]:
    """See L{securemsg.interfaces.IDirectoryStore.list_accounts}."""
    return [AccountSummary(*row) for row in connection.execute(LIST, (after, limit))]


def add_token(
    connection: sqlite3.Connection, digest: bytes, uses: int, expires_at: int, creator: str, limit: int
) -> None:
    """
    See L{securemsg.interfaces.ITokenStore.add_token}.

    @raise Refusal: as said there.
    """
    if connection.execute("SELECT 1 FROM tokens WHERE digest = ?", (digest,)).fetchone() is not None:
        return
    if creator and connection.execute(OPEN_INVITES, (creator,)).fetchone()[0] >= limit:
        raise Refusal("too-many-invites")
    connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", (digest, uses, expires_at, creator))


def admits(
    connection: sqlite3.Connection, name: str, identity: bytes, token: bytes, now: int, operators_only: bool
) -> bool:
    """See L{securemsg.interfaces.ITokenStore.admits}."""
    there = connection.execute(REGISTERED, (name,)).fetchone()
    return there == (identity, token) or _is_good(connection, token, now, operators_only)


def list_tokens(connection: sqlite3.Connection, after: bytes, now: int, limit: int) -> list[OpenInvite]:
    """See L{securemsg.interfaces.ITokenStore.list_tokens}."""
    return [OpenInvite(*row) for row in connection.execute(LIST_TOKENS, (after, now, limit))]


def revoke_token(connection: sqlite3.Connection, digest: bytes) -> None:
    """See L{securemsg.interfaces.ITokenStore.revoke_token}."""
    connection.execute("DELETE FROM tokens WHERE digest = ?", (digest,))


def _is_good(connection: sqlite3.Connection, digest: bytes, now: int, operators_only: bool = False) -> bool:
    """Does this token admit anybody?"""
    token = connection.execute("SELECT uses, expires_at, creator FROM tokens WHERE digest = ?", (digest,)).fetchone()
    return token is not None and token[0] > 0 and token[1] > now and not (operators_only and token[2])


def expire_tokens(connection: sqlite3.Connection, now: int) -> None:
    """Delete tokens that admit nobody any more."""
    connection.execute("DELETE FROM tokens WHERE expires_at <= ?", (now,))


def _add_devices(connection: sqlite3.Connection, account: int, devices: tuple[tuple[bytes, bytes], ...]) -> None:
    """Give each device a mailbox."""
    for device, signing_key in devices:
        mailbox = connection.execute(ADD_DEVICE, (account, device, signing_key)).lastrowid
        connection.execute("INSERT INTO mailboxes (mailbox) VALUES (?)", (mailbox,))


def _remove_device(connection: sqlite3.Connection, mailbox: int) -> None:
    """Take away a device and all that is kept for it."""
    drop(connection, mailbox)
    drop_prekeys(connection, mailbox)
    connection.execute("DELETE FROM mailboxes WHERE mailbox = ?", (mailbox,))
    connection.execute("DELETE FROM devices WHERE mailbox = ?", (mailbox,))
