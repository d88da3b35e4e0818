"""Opens the profile in a folder: passphrase, store key, store, and a L{CommandContext} with them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from securemsg.account.folder import check_whole, load_any, load_joined, storage_error
from securemsg.cli.context import CommandContext
from securemsg.cli.passphrases import ask_passphrase, can_ask, given_passphrase
from securemsg.cli.settings import Settings
from securemsg.client.state import disappearing, vault
from securemsg.client.state.vault import VaultError
from securemsg.storage.errors import StorageError
from securemsg.storage.profile import open_profile

# How keys are protected, in words.
PROTECTIONS = {
    vault.KEY_IN_FILE: "by file permissions only: anyone who can read store.key can read everything",
    vault.PASSPHRASE: "by a passphrase (scrypt)",
}


def open_vault(settings: Settings) -> vault.Vault:
    """
    Open the store key; ask for the passphrase if one is needed, none is given, and there is a terminal.

    @raise VaultError: there is none, or it cannot be opened.
    @raise SecuremsgError: the passphrase cannot be read.
    """
    passphrase = given_passphrase(settings)
    if passphrase is None and vault.protection(settings.folder) == vault.PASSPHRASE and can_ask():
        passphrase = ask_passphrase(str(settings.folder))
    return vault.open_vault(settings.folder, passphrase)


@contextlib.contextmanager
def opened(settings: Settings, *, joined: bool = True, key: vault.Vault | None = None) -> Iterator[CommandContext]:
    """
    Open the profile for as long as the block runs.

    @param joined: the account must exist.
    @param key: the store key, where it was opened before.
    @raise SecuremsgError: there is no profile, or it cannot be opened.
    """
    folder = settings.folder
    check_whole(folder)
    try:
        key = key or open_vault(settings)
        store = open_profile(folder, key)
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    try:
        profile = load_joined(store) if joined else load_any(store)
        # Nothing is shown whose time is over.
        disappearing.sweep(store, int(time.time()))
        yield CommandContext(settings, folder.absolute(), store, profile, PROTECTIONS[key.kind])
    finally:
        store.close()
