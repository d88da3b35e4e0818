"""The folder of a profile: whether it is whole, what is in it, and what to say where it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.client.state import vault
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.state.vault import VaultError
from securemsg.interfaces import IProfileStore
from securemsg.storage import errors as stored
from securemsg.storage.errors import StorageError
from securemsg.storage.profile import PROFILE_FILE, open_profile

# What the texts of these errors say already stands in their classes; here is the code that goes with each.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (vault.PassphraseNeeded, "passphrase-needed"),
    (vault.WrongPassphrase, "wrong-passphrase"),
    (vault.VaultMissing, "no-profile"),
    (vault.VaultExposed, "key-exposed"),
    (vault.VaultDamaged, "profile-damaged"),
    (vault.VaultError, "profile-unreadable"),
    (stored.ProfileMissing, "no-profile"),
    (stored.ProfileBusy, "profile-busy"),
    (stored.ProfileDamaged, "profile-damaged"),
    (stored.StateDamaged, "profile-damaged"),
    (stored.StateTooNew, "profile-newer"),
    (stored.StateTooOld, "profile-older"),
    (stored.StorageError, "profile-unreadable"),
)


def storage_error(error: VaultError | StorageError) -> SecuremsgError:
    """What is wrong with the files of a profile; they say it themselves, and what to do."""
    code = next(code for kind, code in _CODES if isinstance(error, kind))
    return SecuremsgError(Exit.PROFILE, code, str(error))


def known_error(error: Exception) -> SecuremsgError | None:
    """The same for any error; C{None}: it is about something else."""
    return storage_error(error) if isinstance(error, VaultError | StorageError) else None


def check_whole(folder: Path, *, joining: bool = False) -> None:
    """
    The store key and the store are of no use without each other.

    @param joining: a join that was killed left the key alone, which it makes first: the next one goes on from there.
    @raise SecuremsgError: C{profile-damaged}: one of them is missing.
    """
    key, store = (folder / name for name in (vault.KEY_FILE, PROFILE_FILE))
    missing = [path for path in (key, store) if not os.path.lexists(path)]
    if len(missing) == 1 and not (joining and missing == [store]):
        raise error_for(
            "profile-damaged",
            text=f"{missing[0]} is missing, and without it {folder} cannot be opened",
            hint="restore it from a copy; if joining was never finished, run join again",
        )


def load_any(store: IProfileStore) -> Profile:
    """
    The profile in a store.

    @raise SecuremsgError: C{no-profile}.
    """
    with store.reading() as records:
        profile = load_profile(records)
    if profile is None:
        raise error_for("no-profile")
    return profile


def load_joined(store: IProfileStore) -> Profile:
    """
    The same, of an account that exists.

    @raise SecuremsgError: C{no-profile}, C{not-joined}.
    """
    profile = load_any(store)
    if not profile.registered:
        raise error_for("not-joined")
    return profile


def open_joined(folder: Path, passphrase: bytes | None) -> tuple[IProfileStore, Profile]:
    """
    Open the profile in a folder; the store is to be closed.

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
