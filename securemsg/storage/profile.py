"""
The client's profile: one file of sealed records, which several processes share.

SQLite with a rollback journal: before SQLite 3.51.3 two connections that write a WAL can corrupt it. The journal is
truncated, not deleted: then C{synchronous=FULL} covers the moment of commit, and no folder needs to be synchronised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
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
from securemsg.storage.sealed import Records, place_of
from securemsg.storage.sqlite.errors import BUSY, DAMAGED, is_full, primary_code

PROFILE_FILE = "profile.db"
APPLICATION_ID = 0x736D7067  # "smpg": tells a profile from any other SQLite file
# Format 1 was never released.
VERSION = 3
PLACES_KEPT = 1024  # of buckets: those that the next message needs again are among them
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


def open_profile(folder: Path, sealer: ISealer, *, timeout: float = BUSY_TIMEOUT) -> ProfileStore:
    """
    Open the profile in a folder.

    @param timeout: how long to wait for other processes, in seconds.
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

    @contextmanager
    def _transaction(self, begin: str, writable: bool) -> Iterator[IRecords]:
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
