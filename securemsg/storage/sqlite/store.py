"""
The server's store: one SQLite file in the state folder, for one process, through one connection.

The write-ahead log is synchronised at every commit. The file is locked for as long as it is open, so that a second daemon
cannot touch it; that also spares the shared index of the log. What it holds for others is ciphertext, so freed pages are
overwritten only where that costs nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.counters import WriterCounters
from securemsg.interfaces import (
    AccountSummary,
    ClockReading,
    IServerStore,
    NewAccount,
    OpenInvite,
    StoredAccount,
    StoredBundle,
    StoredLogin,
    StoredMessage,
    StoredPrekey,
    StoredRoom,
    StoredStock,
    Totals,
    WriteBatch,
    WriteOutcome,
)
from securemsg.storage.errors import StateDamaged, StateUnusable, StorageError
from securemsg.storage.files import make_private_file
from securemsg.storage.sqlite import directory, mailboxes, prekeys, rooms
from securemsg.storage.sqlite.errors import BUSY, DAMAGED, is_full, primary_code
from securemsg.storage.sqlite.schema import MIGRATIONS, POSITION_BITS, migrate, version_of
from securemsg.storage.sqlite.segments import unpack
from securemsg.storage.sqlite.waiting import Waiting, count_waiting
from securemsg.storage.sqlite.writer import ThreadWriter, Writer

T = TypeVar("T")

BUSY_TIMEOUT = 5  # a daemon that was just told to stop may still hold the file
PAGE_SIZE = 4096
CACHE = 64 * 2**20  # bytes of pages in memory: the index of known deposits is hit at random
CHECKPOINT = 4096  # pages in the log before they move into the database, 16 MiB: what was acknowledged by then never moves
LOG_KEPT = 64 * 2**20  # bytes the log may keep on disk after a burst
# Above this a full check at every start would take minutes; damage further in is found when it is read, and ends the daemon.
CHECKED_SIZE = 64 * 2**20
# What counts the rows that cannot be: the fault in words, and the query.
INVARIANTS = (
    ("devices without an account", "SELECT count(*) FROM devices WHERE account NOT IN (SELECT id FROM accounts)"),
    ("devices without a mailbox", "SELECT count(*) FROM devices WHERE mailbox NOT IN (SELECT mailbox FROM mailboxes)"),
    ("mailboxes without a device", "SELECT count(*) FROM mailboxes WHERE mailbox NOT IN (SELECT mailbox FROM devices)"),
    (
        "mailboxes that count other messages than they hold",
        "SELECT count(*) FROM mailboxes LEFT JOIN"
        " (SELECT place >> :bits AS held_in, sum(messages) AS held FROM messages GROUP BY held_in)"
        " ON held_in = mailbox WHERE messages > coalesce(held, 0) OR (messages = 0) != (coalesce(held, 0) = 0)",
    ),
    (
        "segments of messages without a mailbox",
        "SELECT count(*) FROM messages WHERE place >> :bits NOT IN (SELECT mailbox FROM mailboxes)",
    ),
    ("common parts that nobody waits for", "SELECT count(*) FROM commons WHERE pending < 1"),
)


def check_server_store(path: str | os.PathLike[str], *, timeout: float = BUSY_TIMEOUT) -> int:
    """
    See whether a daemon could use this file, without keeping it open or changing it. No file is fine: it will be made.

    @param timeout: how long to wait for a daemon that is about to stop, in seconds.
    @return: how far it has come, see L{ServerStore.high_water}; 0: there was never an account in it.
    @raise StateTooNew: a newer release wrote it.
    @raise StateDamaged: it is damaged, or something else.
    @raise StateUnusable: it cannot be read, or another daemon uses it.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StateUnusable(f"{file} cannot be read: {error.strerror}; check who owns it") from error
    connection = None
    try:
        connection = _open_unchanged(file, timeout)
        version = version_of(connection, file)
        if size <= CHECKED_SIZE:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise damaged(file, verdict)
        return mailboxes.high_water(connection) if version > 0 else 0
    except sqlite3.Error as error:
        raise explained(error, file) from error
    finally:
        if connection is not None:
            connection.close()


def faults_of(path: Path, limit: int) -> list[str]:
    """
    What is wrong with a database that no daemon uses: all of the file is read, and nothing is changed.

    @param limit: how many faults are named at most.
    @return: them, in words; an empty list: nothing.
    @raise StateTooNew: a newer release wrote it.
    @raise StateUnusable: it cannot be read, or a daemon uses it.
    """
    try:
        with closing(_open_unchanged(path, BUSY_TIMEOUT)) as connection:
            version = version_of(connection, path)
            rows = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
            found = [" ".join(row[0].split()) for row in rows if row[0] != "ok"]
            # Those of an older layout are brought up to date at the next start.
            if not found and version == len(MIGRATIONS):
                for what, query in INVARIANTS:
                    (number,) = connection.execute(query, {"bits": POSITION_BITS}).fetchone()
                    found += [f"{number} {what}"] if number else []
                unreadable = sum(not _is_readable(*row) for row in connection.execute("SELECT heads, bodies FROM messages"))
                found += [f"{unreadable} segments of messages that cannot be read"] if unreadable else []
            return found[:limit]
    except sqlite3.Error as error:
        if primary_code(error) in DAMAGED:
            return [str(error)]
        raise explained(error, path) from error
    except StateDamaged:
        return ["it is not a server's database"]


def _is_readable(heads: bytes, bodies: bytes) -> bool:
    """Whether a segment of messages can be unpacked."""
    try:
        unpack(heads, bodies)
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def _open_unchanged(file: Path, timeout: float) -> sqlite3.Connection:
    """Open a database to read it. Without a log beside it nobody uses the file, and reading must not leave one there."""
    mode = "mode=ro" if file.with_name(file.name + "-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", timeout=timeout, uri=True)


def open_server_store(
    path: str | os.PathLike[str],
    *,
    reactor: IReactorFromThreads,
    fatal: Callable[[Failure], None],
    on_disk_full: Callable[[bool], None],
    timeout: float = BUSY_TIMEOUT,
    counters: WriterCounters | None = None,
) -> ServerStore:
    """
    Open the file, make it where there is none, bring it up to date, and start the thread that works on it.

    @param timeout: how long to wait for a daemon that is about to stop, in seconds.
    @param fatal: called in the reactor's thread when the file cannot be relied on any more; nothing will be answered then.
    @param on_disk_full: called there when a full disk holds up everything, and when it no longer does.
    @param counters: counts commits.
    @raise StorageError: as L{check_server_store}.
    """
    file = Path(path)
    make_private_file(file)
    connection = None
    try:
        connection = sqlite3.connect(file, timeout=timeout, isolation_level=None, check_same_thread=False)
        prepare(connection)
        migrate(connection, file)
        clock = mailboxes.read_clock(connection)
    except (sqlite3.Error, StorageError, OSError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise explained(error, file) from error
        if isinstance(error, OSError):
            raise StateUnusable(f"{file} cannot be copied before its layout changes: {error.strerror}") from error
        raise
    writer = ThreadWriter(connection, fatal, reactor, on_disk_full, counters=counters or WriterCounters())
    writer.start()
    return ServerStore(writer, file.with_name(file.name + "-wal"), clock)


def prepare(connection: sqlite3.Connection) -> None:
    """Set a connection up for the writer."""
    for pragma in (
        "locking_mode = EXCLUSIVE",
        f"page_size = {PAGE_SIZE}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "fullfsync = ON",  # where a plain fsync does not reach the disk
        "secure_delete = FAST",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        f"cache_size = {-CACHE // 1024}",
        f"wal_autocheckpoint = {CHECKPOINT}",
        f"journal_size_limit = {LOG_KEPT}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def explained(error: sqlite3.Error, path: Path) -> StorageError:
    """An error of SQLite in words for people."""
    code = primary_code(error)
    if code in BUSY:
        return StateUnusable(f"another daemon uses {path}; stop it, or name another state folder")
    if code in DAMAGED:
        return damaged(path, str(error))
    if is_full(error):
        return StateUnusable(f"{path} cannot be used: the disk is full; free some space")
    return StateUnusable(f"{path} cannot be used: {error}; check the disk, and the permissions of file and folder")


def damaged(path: Path, detail: str) -> StateDamaged:
    """The error for a damaged file, in one line: SQLite writes several."""
    return StateDamaged(
        f"{path} is damaged ({' '.join(detail.split())}); nothing was changed; restore it from a backup, or save what can"
        f" be saved: sqlite3 {path} .recover | sqlite3 {path}.recovered"
    )


@implementer(IServerStore)
@define(eq=False)
class ServerStore:
    """
    The server's store in SQL. See L{IServerStore}.

    @ivar _wal: the write-ahead log; C{None}: there is none.
    """

    _writer: Writer
    _wal: Path | None
    _clock: ClockReading

    def close(self) -> Deferred[None]:
        """Finish all jobs, then close the file. Later requests fail; later writes get no answer."""
        return self._writer.close()

    def high_water(self) -> Deferred[int]:
        """How far the database has come: a number that rises with each deposit and each new device, and never falls."""
        return self._writer.submit(mailboxes.high_water, writes=False)

    def waiting(self, after: int) -> Deferred[Waiting]:
        """See L{count_waiting}."""
        return self._writer.submit(count_waiting, after, writes=False)

    def copy(self, path: Path) -> Deferred[None]:
        """See L{securemsg.storage.sqlite.writer.Writer.copy}."""
        return self._writer.copy(path)

    def wal_size(self) -> int:
        """See L{IServerStore.wal_size}."""
        try:
            return 0 if self._wal is None else self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def load_account(self, name: str) -> Deferred[StoredAccount | None]:
        """See L{securemsg.interfaces.IDirectoryStore.load_account}."""
        return self._writer.submit(directory.load_account, name, writes=False)

    def find_device(self, name: str, device: bytes) -> Deferred[bytes | None]:
        """See L{securemsg.interfaces.IDirectoryStore.find_device}."""
        return self._writer.submit(directory.find_device, name, device, writes=False)

    def load_login(self, name: str, device: bytes) -> Deferred[StoredLogin | None]:
        """See L{securemsg.interfaces.IDirectoryStore.load_login}."""
        return self._writer.submit(directory.load_login, name, device, writes=False)

    def register(self, account: NewAccount) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.register}."""
        return self._writer.submit(directory.register, account)

    def publish(
        self, name: str, replaced: int, version: int, body: bytes, signature: bytes, devices: tuple[tuple[bytes, bytes], ...]
    ) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.publish}."""
        return self._writer.submit(directory.publish, name, replaced, version, body, signature, devices)

    def remove_account(self, name: str) -> Deferred[AccountSummary]:
        """See L{securemsg.interfaces.IDirectoryStore.remove_account}."""
        return self._writer.submit(directory.remove_account, name)

    def set_suspended(self, name: str, suspended: bool) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.set_suspended}."""
        return self._writer.submit(directory.update_account, directory.SUSPEND, name, int(suspended))

    def set_quota(self, name: str, messages: int) -> Deferred[None]:
        """See L{securemsg.interfaces.IDirectoryStore.set_quota}."""
        return self._writer.submit(directory.update_account, directory.SET_QUOTA, name, messages)

    def totals(self, now: int) -> Deferred[Totals]:
        """See L{securemsg.interfaces.IDirectoryStore.totals}."""
        return self._writer.submit(directory.totals, now, writes=False)

    def list_accounts(self, after: str, limit: int) -> Deferred[list[AccountSummary]]:
        """See L{securemsg.interfaces.IDirectoryStore.list_accounts}."""
        return self._writer.submit(directory.list_accounts, after, limit, writes=False)

    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str, limit: int) -> Deferred[None]:
        """See L{securemsg.interfaces.ITokenStore.add_token}."""
        return self._writer.submit(directory.add_token, digest, uses, expires_at, creator, limit)

    def admits(self, name: str, identity: bytes, token: bytes, now: int, operators_only: bool) -> Deferred[bool]:
        """See L{securemsg.interfaces.ITokenStore.admits}."""
        return self._writer.submit(directory.admits, name, identity, token, now, operators_only, writes=False)

    def list_tokens(self, after: bytes, now: int, limit: int) -> Deferred[list[OpenInvite]]:
        """See L{securemsg.interfaces.ITokenStore.list_tokens}."""
        return self._writer.submit(directory.list_tokens, after, now, limit, writes=False)

    def revoke_token(self, digest: bytes) -> Deferred[None]:
        """See L{securemsg.interfaces.ITokenStore.revoke_token}."""
        return self._writer.submit(directory.revoke_token, digest)

    def add_prekeys(
        self,
        mailbox: int,
        signed: StoredPrekey | None,
        last_resort: StoredPrekey | None,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        limit: int,
        replace: bool,
    ) -> Deferred[None]:
        """See L{securemsg.interfaces.IPrekeyStore.add_prekeys}."""
        return self._writer.submit(prekeys.add_prekeys, mailbox, signed, last_resort, one_time, kem, limit, replace)

    def load_claim(
        self, name: str, device: bytes, requester: int, now: int, spent: int
    ) -> Deferred[StoredBundle | None]:
        """See L{securemsg.interfaces.IPrekeyStore.load_claim}."""
        return self._writer.submit(prekeys.load_claim, name, device, requester, now, spent, writes=False)

    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> Deferred[StoredBundle | None]:
        """See L{securemsg.interfaces.IPrekeyStore.claim}."""
        return self._writer.submit(prekeys.claim, mailbox, requester, now, fresh, spent)

    def forget_claims(self, requester: int) -> Deferred[None]:
        """See L{securemsg.interfaces.IPrekeyStore.forget_claims}."""
        return self._writer.submit(prekeys.forget_claims, requester)

    def stock(self, mailbox: int) -> Deferred[StoredStock]:
        """See L{securemsg.interfaces.IPrekeyStore.stock}."""
        return self._writer.submit(prekeys.stock, mailbox, writes=False)

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """See L{securemsg.interfaces.IMailboxStore.write}."""
        self._writer.post(done, mailboxes.write, batch)

    def page(self, mailbox: int, after: int, limit: int, size: int) -> Deferred[list[StoredMessage]]:
        """See L{securemsg.interfaces.IMailboxStore.page}."""
        return self._writer.submit(mailboxes.page, mailbox, after, limit, size, writes=False)

    def find_deposit(self, sender: int, deposit_id: bytes) -> Deferred[bytes | None]:
        """See L{securemsg.interfaces.IMailboxStore.find_deposit}."""
        return self._writer.submit(mailboxes.find_deposit, sender, deposit_id, writes=False)

    def load_room(self, room: bytes) -> Deferred[StoredRoom | None]:
        """See L{securemsg.interfaces.IRoomStore.load_room}."""
        return self._writer.submit(rooms.load_room, room, writes=False)

    def last_clock(self) -> ClockReading:
        """See L{securemsg.interfaces.IMailboxStore.last_clock}."""
        return self._clock

    def expire(self, clock: ClockReading, date: int, forget_before: int, limit: int) -> Deferred[dict[int, tuple[int, int]]]:
        """See L{securemsg.interfaces.IMailboxStore.expire}."""
        return Deferred.fromCoroutine(self._expire(clock, date, forget_before, limit))

    async def _expire(self, clock: ClockReading, date: int, forget_before: int, limit: int) -> dict[int, tuple[int, int]]:
        """Expire and forget, in steps that leave room for other jobs."""
        taken = await self._writer.submit(_expire_first, clock, date, forget_before, limit)
        more = True
        while more and not self._writer.closing:
            more = await self._writer.submit(mailboxes.forget, clock.now)
        return taken


def _expire_first(
    connection: sqlite3.Connection, clock: ClockReading, date: int, forget_before: int, limit: int
) -> dict[int, tuple[int, int]]:
    """The first step, one transaction: all but the forgetting of deposits."""
    prekeys.expire_claims(connection, clock.now, forget_before)
    directory.expire_tokens(connection, date)
    return mailboxes.expire(connection, clock, limit)
