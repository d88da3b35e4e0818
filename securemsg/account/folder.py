"""The folder of a profile: checks that it is complete, opens it, and explains why it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.client.renewal import is_begun
from securemsg.client.state import vault
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.state.records import index_unread
from securemsg.client.state.vault import VaultError
from securemsg.interfaces import IProfileStore
from securemsg.storage import errors as stored
from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileExposed, check_owner
from securemsg.storage.profile import PROFILE_FILE, open_profile

# These errors bring their own text; here is the code for each.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (vault.PassphraseNeeded, "passphrase-needed"),
    (vault.WrongPassphrase, "wrong-passphrase"),
    (vault.PassphraseUnneeded, "no-passphrase-there"),
    (vault.VaultMissing, "no-profile"),
    (vault.VaultExposed, "key-exposed"),
    (vault.VaultDamaged, "profile-damaged"),
    (vault.VaultError, "profile-unreadable"),
    (stored.ProfileMissing, "no-profile"),
    (stored.ProfileBusy, "profile-busy"),
    (stored.ProfileDamaged, "profile-damaged"),
    (stored.BackupDamaged, "backup-damaged"),
    (stored.StateDamaged, "profile-damaged"),
    (stored.StateTooNew, "profile-newer"),
    (stored.StateTooOld, "profile-older"),
    (stored.StorageError, "profile-unreadable"),
)


def storage_error(error: VaultError | StorageError) -> SecuremsgError:
    """The error for unusable files of a profile, with the exception's own text."""
    code = next(code for kind, code in _CODES if isinstance(error, kind))
    return SecuremsgError(Exit.PROFILE, code, str(error))


def known_error(error: Exception) -> SecuremsgError | None:
    """The same for any exception; C{None}: it is not about the files of a profile."""
    return storage_error(error) if isinstance(error, VaultError | StorageError) else None


def check_whole(folder: Path, *, joining: bool = False) -> None:
    """
    Check that the store key and the store are both there: neither is of use alone.

    @param joining: for C{join}, which makes the key first: if it was killed, the key is alone, and the next join continues.
    @raise SecuremsgError: C{profile-damaged}: one of them is missing. C{profile-unreadable}: the folder belongs to another
        user.
    """
    check_owned(folder)
    key, store = (folder / name for name in (vault.KEY_FILE, PROFILE_FILE))
    missing = [path for path in (key, store) if not os.path.lexists(path)]
    if len(missing) == 1 and not (joining and missing == [store]):
        raise error_for(
            "profile-damaged",
            text=f"{missing[0]} is missing, and without it {folder} cannot be opened",
            hint="restore it from a copy; if joining was never finished, run join again",
        )


def check_owned(folder: Path) -> None:
    """
    Check that the folder belongs to this user, or would.

    @raise SecuremsgError: C{profile-unreadable}: it does not.
    """
    try:
        check_owner(folder)
    except FileExposed as error:
        raise error_for("profile-unreadable", text=error.text, hint=error.hint) from None


def load_any(store: IProfileStore) -> Profile:
    """
    The profile in a store.

    @raise SecuremsgError: C{no-profile}.
    """
    with store.reading() as records:
        profile = load_profile(records)
    if profile is None:
        raise error_for("no-profile")
    index_unread(store)
    return profile


def load_joined(store: IProfileStore) -> Profile:
    """
    The profile in a store, if joining was finished.

    @raise SecuremsgError: C{no-profile}, C{not-joined}, C{renewal-unfinished}.
    """
    profile = load_any(store)
    if not profile.registered:
        with store.reading() as records:
            raise error_for("renewal-unfinished" if is_begun(records) else "not-joined")
    return profile


def open_joined(folder: Path, passphrase: bytes | None) -> tuple[IProfileStore, Profile]:
    """
    Open the profile in a folder. The store must be closed again.

    @raise SecuremsgError: there is none, it cannot be opened, or it has no account yet.
    """
    check_whole(folder)
    try:
        store = open_profile(folder, vault.open_vault(folder, passphrase))
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    try:
        return store, load_joined(store)
    except BaseException:
        store.close()
        raise
