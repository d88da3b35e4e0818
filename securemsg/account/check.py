"""
A check of a whole profile: rights, key, database, and every record. It changes nothing, and other processes may go on using the
profile meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from attrs import evolve, frozen

from securemsg.account.errors import error_for
from securemsg.account.folder import check_whole
from securemsg.client.recordcheck import is_readable
from securemsg.client.state import vault
from securemsg.client.state.profile import load_profile
from securemsg.client.state.vault import Vault
from securemsg.interfaces import Step
from securemsg.storage.backupfile import DRAFT, SNAPSHOT
from securemsg.storage.errors import ProfileBusy, StateUnusable, StorageError
from securemsg.storage.files import OTHERS, check_private, drafts_of
from securemsg.storage.profile import BUSY_TIMEOUT, PROFILE_FILE, ProfileStore, open_profile

# Faults that are listed; more say nothing new.
MAX_FAULTS = 20
# Records that are looked at in one transaction: others that write wait for milliseconds.
PAGE = 500

# What to do about damage.
RESTORE = "restore a backup into another folder: securemsg profile restore FILE --profile DIR"


@frozen
class Fault:
    """
    Something that is wrong with a profile.

    @ivar text: what; C{hint}: what can be done about it.
    @ivar is_damage: something is lost or unreadable; else it can be put right.
    """

    text: str
    hint: str
    is_damage: bool = True


def check_permissions(folder: Path) -> list[Fault]:
    """
    Whether others may use what is private, and whether killed commands have left anything.

    @raise SecuremsgError: there is no whole profile in this folder.
    """
    check_whole(folder)
    if not os.path.lexists(folder / vault.KEY_FILE):
        raise error_for("no-profile")
    faults = []
    if folder.stat().st_mode & OTHERS:
        faults.append(Fault(f"others may look into {folder}", f"restrict it to yourself: chmod 700 {folder}", False))
    for path in (folder / vault.KEY_FILE, folder / PROFILE_FILE):
        try:
            check_private(path, path.stat())
        except StateUnusable as error:
            faults.append(evolve(fault_of(error), is_damage=False))
    left = [*drafts_of(folder / vault.KEY_FILE), *folder.glob(f"{DRAFT}*"), *folder.glob(f"{SNAPSHOT}*")]
    for path in left[:MAX_FAULTS]:
        text = f"{path} was left by a command that was killed, and may hold keys"
        faults.append(Fault(text, f"remove it: rm -r {path}", False))
    return faults


def check_records(folder: Path, key: Vault, step: Step, *, timeout: float = BUSY_TIMEOUT) -> tuple[int, list[Fault]]:
    """
    Whether the database is whole, and every record opens and can be read.

    @param step: called again and again with the number of records that were looked at since.
    @param timeout: how long to wait for other processes, in seconds.
    @return: how many records there are, and at most L{MAX_FAULTS} faults.
    @raise ProfileBusy: another process holds the profile for too long.
    """
    number = 0
    try:
        store = open_profile(folder, key, timeout=timeout, mend=False)
        try:
            faults = [Fault(f"{PROFILE_FILE}: {found}", RESTORE) for found in store.faults(MAX_FAULTS)]
            if not faults:
                number = store.count()
                faults = list(islice(_record_faults(store, step), MAX_FAULTS))
        finally:
            store.close()
    except ProfileBusy:
        raise
    except StorageError as error:
        faults = [fault_of(error)]
    return number, faults


def fault_of(error: Exception) -> Fault:
    """A fault that an error is about, which says what can be done as well."""
    text, _, hint = str(error).partition("; ")
    return Fault(text, hint or RESTORE)


def _record_faults(store: ProfileStore, step: Step) -> Iterator[Fault]:
    """What is wrong with the records, one after the other."""
    last = 0
    while rows := store.page(last, PAGE):
        for row in rows:
            if row.value is None:
                yield Fault(f"record {row.number} (table {row.table or 'unknown'}) was altered or moved", RESTORE)
            elif not is_readable(row.table, row.bucket, row.order, row.value):
                yield Fault(f"record {row.number} (table {row.table}) cannot be read by this version", RESTORE)
        last = rows[-1].number
        step(len(rows))
    with store.reading() as records:
        if load_profile(records) is None:
            yield Fault("there is no account in it", "run join again, or restore a backup")
