"""
The client's profile: one file of sealed records, which several processes share.

SQLite with a rollback journal: before SQLite 3.51.3 two connections that write a WAL can corrupt it. The journal is
truncated, not deleted: then C{synchronous=FULL} covers the moment of commit, and no folder needs to be synchronised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial
from pathlib import Path

from zope.interface import implementer

from securemsg.errors import LocalProtocolError, Unauthentic
from securemsg.interfaces import IProfileStore, IRecords, ISealer
from securemsg.storage.errors import (
    ProfileBusy,
    ProfileDamaged,
    ProfileMissing,
    StateTooNew,
    StateTooOld,
    StateUnusable,
    StorageError,
)
from securemsg.storage.files import make_private_file, make_private_folder
from securemsg.storage.sealed import SCHEMA as RECORDS
from securemsg.storage.sealed import Records, StoredRow, place_of
from securemsg.storage.sqlite.errors import BUSY, DAMAGED, is_full, primary_code

PROFILE_FILE = "profile.db"
APPLICATION_ID = 0x736D7067  # "smpg": tells a profile from any other SQLite file
# Format 1 was never released.
VERSION = 3
PLACES_KEPT = 1024  # of buckets: those that the next message needs again are among them
PAGES_AT_ONCE = 1024  # of a copy, 4 MiB
BUSY_TIMEOUT = 10  # another process writes for milliseconds; one that takes longer is stuck
# A record that every profile can open with its own key: it distinguishes a wrong key from a damaged record.
SEAL_CHECK = b"securemsg profile"

SCHEMA = (*RECORDS, "CREATE TABLE seal_check (value BLOB NOT NULL)")


def create_profile(folder: Path, sealer: ISealer, *, timeout: float = BUSY_TIMEOUT) -> ProfileStore:
    """
    Make a profile in a folder, and the folder, or open the one that is there: safe to repeat.

    @param timeout: how long to wait for other processes, in seconds.
    @raise StorageError: as L{open_profile}, or the folder or file cannot be made.
    """
    make_private_folder(folder)
    make_private_file(folder / PROFILE_FILE)
    return ProfileStore(folder / PROFILE_FILE, sealer, create=True, timeout=timeout)


def open_profile(folder: Path, sealer: ISealer, *, timeout: float = BUSY_TIMEOUT, mend: bool = True) -> ProfileStore:
    """
    Open the profile in a folder.

    @param timeout: how long to wait for other processes, in seconds.
    @param mend: take the permissions of others away from the file.
    @raise ProfileMissing: there is none.
    @raise ProfileDamaged: the file is not a profile, or not one that this sealer sealed.
    @raise StateTooNew: a newer release wrote it; L{StateTooOld}: an older one, and nothing converts it.
    @raise StateUnusable: it cannot be read or written; L{ProfileBusy} among others.
    """
    path = folder / PROFILE_FILE
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except OSError as error:
        raise StateUnusable(f"cannot read {path}: {error.strerror}; check its owner") from error
    if mend:
        make_private_file(path)
    return ProfileStore(path, sealer, create=False, timeout=timeout)


def missing(path: Path) -> ProfileMissing:
    """The error for a folder without a profile, or with one that was not finished."""
    return ProfileMissing(f"there is no profile in {path.parent}; run `securemsg join`, or give --profile")


def explained(error: sqlite3.Error, path: Path) -> StorageError:
    """An error of SQLite in words for people."""
    code = primary_code(error)
    if code in BUSY:
        return ProfileBusy(f"another process has locked {path} for too long; nothing was written, try again")
    if code in DAMAGED:
        return ProfileDamaged(f"{path} is damaged ({error}); nothing was changed, restore it from a backup or join again")
    if is_full(error):
        return StateUnusable(f"cannot write {path}: the disk is full; free some space")
    return StateUnusable(f"cannot use {path}: {error}; check the disk and the permissions of file and folder")


@implementer(IProfileStore)
class ProfileStore:
    """An open profile. See L{IProfileStore}."""

    def __init__(self, path: Path, sealer: ISealer, *, create: bool, timeout: float) -> None:
        self._path = path
        self._sealer = sealer
        # A place depends on the key and the names alone, and not on what the file holds.
        self._place = lru_cache(PLACES_KEPT)(partial(place_of, sealer))
        self._busy = False
        try:
            self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
        except sqlite3.Error as error:
            raise explained(error, path) from error
        try:
            self._prepare(create)
        except sqlite3.Error as error:
            self.close()
            raise explained(error, path) from error
        except StorageError:
            self.close()
            raise

    def writing(self) -> AbstractContextManager[IRecords]:
        """
        See L{IProfileStore.writing}.

        @raise ProfileBusy: another process holds the profile for too long.
        @raise StateUnusable: it cannot be written, for example because the disk is full; nothing was.
        """
        return self._transaction("BEGIN IMMEDIATE", writable=True)

    def reading(self) -> AbstractContextManager[IRecords]:
        """
        See L{IProfileStore.reading}.

        @raise ProfileBusy: another process holds the profile for too long.
        """
        return self._transaction("BEGIN", writable=False)

    def close(self) -> None:
        """See L{IProfileStore.close}."""
        self._connection.close()

    def copy(self, path: Path, step: Callable[[int], object]) -> None:
        """
        Copy everything into an empty file, as it is at one moment.

        Other processes wait with what they write until the copy is made: each of their commits would begin it anew.

        @param step: called again and again with the number of bytes that were copied since.
        @raise ProfileBusy: another process holds the profile for too long.
        @raise StorageError: it cannot be copied.
        """
        with self.reading():
            target = sqlite3.connect(path, isolation_level=None)
            try:
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")  # a copy that a power cut shortens is no backup yet
                size, copied = self._number("page_size"), 0

                def progress(status: int, remaining: int, total: int) -> None:
                    nonlocal copied
                    step((total - remaining) * size - copied)
                    copied = (total - remaining) * size

                self._connection.execute("SELECT 1 FROM seal_check")  # the transaction begins with what is read
                self._connection.backup(target, pages=PAGES_AT_ONCE, progress=progress)
            finally:
                target.close()

    def count(self) -> int:
        """How many records there are."""
        with self.reading():
            return int(self._connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def page(self, after: int, limit: int) -> list[StoredRow]:
        """
        The rows behind a number, whether they open or not.

        @raise StorageError: the file cannot be read.
        """
        with self._transaction("BEGIN", writable=False) as records:
            return records.page(after, limit)

    def faults(self, limit: int) -> list[str]:
        """
        What SQLite finds wrong with the file, in its words; an empty list: nothing.

        @raise StorageError: it cannot be read.
        """
        with self.reading():
            rows = self._connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
        return [row[0] for row in rows if row[0] != "ok"]

    @contextmanager
    def _transaction(self, begin: str, writable: bool) -> Iterator[Records]:
        """Begin, hand out the records, commit or undo."""
        if self._busy:
            raise LocalProtocolError("transactions do not nest")
        self._busy = True
        records = Records(self._connection, self._sealer, self._place, self._path, writable)
        try:
            self._connection.execute(begin)
            yield records
            records.flush()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise explained(error, self._path) from error
        finally:
            records.end()
            self._busy = False
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _prepare(self, create: bool) -> None:
        """Set the connection up and see what the file is."""
        run = self._connection.execute
        run("PRAGMA synchronous = FULL")
        run("PRAGMA fullfsync = ON")  # where a plain fsync does not reach the disk
        run("PRAGMA secure_delete = ON")
        run("PRAGMA temp_store = MEMORY")
        run("PRAGMA trusted_schema = OFF")
        version = self._number("user_version")
        if version == 0 and create:
            run("BEGIN IMMEDIATE")
            try:
                version = self._create()
                run("COMMIT")
            finally:
                if self._connection.in_transaction:
                    run("ROLLBACK")
        if version == 0 and self._is_empty():
            raise missing(self._path)
        if self._number("application_id") != APPLICATION_ID:
            raise ProfileDamaged(f"{self._path} is not a profile; nothing was changed, give another folder")
        if version > VERSION:
            raise StateTooNew(f"{self._path} was written by a newer version (format {version}); upgrade securemsg to use it")
        if version < VERSION:
            raise StateTooOld(
                f"{self._path} was written before the first release (format {version}), and this version cannot read it;"
                " use another folder (the daemon: another --state)"
            )
        run("PRAGMA journal_mode = TRUNCATE")
        row = run("SELECT value FROM seal_check").fetchone()
        try:
            self._sealer.open(row[0] if row else b"", SEAL_CHECK)
        except Unauthentic:
            raise ProfileDamaged(f"{self._path} belongs to another key; put back its own store.key") from None

    def _create(self) -> int:
        """
        Lay out an empty file, unless another process was faster.

        @return: the version the file has now.
        """
        run = self._connection.execute
        version = self._number("user_version")
        if version == 0 and self._is_empty():
            for statement in SCHEMA:
                run(statement)
            run("INSERT INTO seal_check VALUES (?)", (self._sealer.seal(b"", SEAL_CHECK),))
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {VERSION}")
            version = VERSION
        return version

    def _is_empty(self) -> bool:
        """Whether nothing was ever laid out here."""
        return self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None

    def _number(self, pragma: str) -> int:
        """Read a number from the head of the file."""
        (number,) = self._connection.execute(f"PRAGMA {pragma}").fetchone()
        return int(number)
