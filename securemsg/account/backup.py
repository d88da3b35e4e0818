"""
Backup and restore of a profile, as one file.

A backup is made while other processes use the profile. A restored profile is checked as a whole, and starts a new incarnation,
before it is in its place. Source: C{docs/protocol.md}, "Login".
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from securemsg.account.check import check_records
from securemsg.account.errors import error_for
from securemsg.account.folder import check_owned, load_any
from securemsg.client.restored import start_new_incarnation
from securemsg.client.state import vault
from securemsg.client.state.profile import Profile
from securemsg.client.state.vault import KEY_FILE, Vault
from securemsg.interfaces import Step, no_step
from securemsg.storage.backupfile import DRAFT, MAX_DATABASE, SNAPSHOT, check_end, end_archive, read_member, write_member
from securemsg.storage.errors import BackupDamaged
from securemsg.storage.files import draft_private_file, make_private_folder, sync_folder
from securemsg.storage.profile import PROFILE_FILE, ProfileStore, open_profile


def write_backup(store: ProfileStore, folder: Path, key_file: bytes, archive: IO[bytes], step: Step = no_step) -> None:
    """
    Write a backup of the profile in a folder.

    @param key_file: the store key, sealed by the passphrase of the backup.
    @param step: called again and again with the number of bytes that were copied or written since.
    @raise StorageError: the profile cannot be copied.
    @raise OSError: the backup cannot be written.
    """
    with _snapshot(store, folder, step) as database:
        write_member(archive, KEY_FILE, io.BytesIO(key_file), len(key_file), step)
        write_member(archive, PROFILE_FILE, database, os.fstat(database.fileno()).st_size, step)
        end_archive(archive)


@contextlib.contextmanager
def _snapshot(store: ProfileStore, folder: Path, step: Step) -> Iterator[IO[bytes]]:
    """The database as it is at one moment, in a file beside it that has no name any more."""
    _clear_snapshots(folder)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=SNAPSHOT)
    with open(descriptor, "rb") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            store.copy(Path(name), step)
        finally:
            os.unlink(name)
        yield file


def _clear_snapshots(folder: Path) -> None:
    """Remove what backups that were killed have left; one that is under way locks its own."""
    for left in folder.glob(f"{SNAPSHOT}*"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def restore_backup(archive: IO[bytes], source: str, folder: Path, passphrase: bytes, step: Step = no_step) -> Profile:
    """
    Put the profile of a backup into a folder that has none. Everything is checked before anything is in its place, and the
    profile begins a new incarnation. It keeps the passphrase of the backup.

    @param source: what the backup is called, for errors.
    @param step: called again and again with a number of bytes or records.
    @raise SecuremsgError: C{profile-exists}.
    @raise BackupDamaged: the file is no whole backup.
    @raise VaultError: the passphrase does not open it.
    @raise StorageError: the folder cannot be used; nothing was put there.
    """
    check_owned(folder)
    _clear(folder)
    check_vacant(folder)
    make_private_folder(folder)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=DRAFT))
    try:
        try:
            key = _unpack(archive, draft, passphrase, step)
            _, faults = check_records(draft, key, no_step)
            if faults:
                raise BackupDamaged(faults[0].text.replace(f"{draft}{os.sep}", ""))
        except BackupDamaged as error:
            text = f"{source} is not a whole backup of a profile: {error}; nothing was restored, use another copy"
            raise BackupDamaged(text) from None
        except vault.WrongPassphrase:
            raise vault.WrongPassphrase(f"wrong passphrase for {source}; nothing was restored") from None
        profile = _restart(draft, key)
        _put_in_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return profile


def _clear(folder: Path) -> None:
    """Remove what a restore has left that was killed, also the database if it was in its place without its key."""
    for draft in folder.glob(f"{DRAFT}*"):
        with contextlib.suppress(FileNotFoundError):
            database = folder / PROFILE_FILE
            if not os.path.lexists(folder / KEY_FILE) and database.samefile(draft / PROFILE_FILE):
                database.unlink()
        shutil.rmtree(draft, ignore_errors=True)


def check_vacant(folder: Path) -> None:
    """
    Check that a folder holds no profile, nor a part of one.

    @raise SecuremsgError: C{profile-exists}.
    """
    key, store = (os.path.lexists(folder / name) for name in (KEY_FILE, PROFILE_FILE))
    if store and not key:
        raise error_for(
            "profile-exists",
            text=f"{folder} holds {PROFILE_FILE} without its {KEY_FILE}",
            hint=f"nothing was restored; move {PROFILE_FILE} away, or give another folder: --profile DIR",
        )
    if key:
        raise error_for("profile-exists", str(folder))


def _unpack(archive: IO[bytes], draft: Path, passphrase: bytes, step: Step) -> Vault:
    """
    Take the two files out of an archive, and open the key.

    @raise BackupDamaged: it does not hold these two.
    @raise VaultError: the passphrase does not open the key.
    """
    with draft_private_file(draft / KEY_FILE) as file:
        read_member(archive, KEY_FILE, vault.MAX_FILE, file, step)
    try:
        key = vault.open_vault(draft, passphrase)
    except (vault.VaultDamaged, vault.PassphraseUnneeded):
        raise BackupDamaged("its key is not sealed by a passphrase") from None
    with draft_private_file(draft / PROFILE_FILE) as file:
        read_member(archive, PROFILE_FILE, MAX_DATABASE, file, step)
    check_end(archive)
    return key


def _restart(draft: Path, key: Vault) -> Profile:
    """Let the profile start a new incarnation, before anybody can send with it."""
    store = open_profile(draft, key)
    try:
        profile = load_any(store)
        with store.writing() as records:
            return start_new_incarnation(records, profile)
    finally:
        store.close()


def _put_in_place(draft: Path, folder: Path) -> None:
    """
    Give the files their names, durably. The key comes last: without it a database is no profile, and nothing uses it.

    @raise OSError: another process was faster, or it cannot be done; nothing is left.
    """
    os.link(draft / PROFILE_FILE, folder / PROFILE_FILE)
    try:
        sync_folder(folder)
        os.link(draft / KEY_FILE, folder / KEY_FILE)
    except OSError:
        (folder / PROFILE_FILE).unlink()
        raise
    sync_folder(folder)
    folder.chmod(0o700)
