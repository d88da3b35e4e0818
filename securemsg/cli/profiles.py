"""Opens the profile in a folder: passphrase, store key, store, and a L{CommandContext} with them."""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.folder import check_whole, load_any, load_joined, storage_error
from securemsg.cli.context import CommandContext
from securemsg.cli.settings import Settings
from securemsg.client.state import vault
from securemsg.client.state.vault import VaultError
from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileExposed, check_private
from securemsg.storage.profile import open_profile

# A longer file is probably not a passphrase file.
MAX_PASSPHRASE = 4096

_PROTECTIONS = {
    vault.KEY_IN_FILE: "by file permissions only: anyone who can read store.key can read everything",
    vault.PASSPHRASE: "by a passphrase (scrypt)",
}


def protection_text(folder: Path, kind: str) -> str:
    """How the keys are protected, in words."""
    return _PROTECTIONS[kind].replace("{path}", str(folder / vault.KEY_FILE))


def read_passphrase(path: Path) -> bytes:
    """
    The passphrase in a file, without one line end.

    @raise SecuremsgError: the file cannot be read, others may read it, it belongs to another user, or it holds none.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            passphrase = file.read(MAX_PASSPHRASE + 1)
    except OSError as error:
        raise SecuremsgError(
            Exit.USAGE, "passphrase-file", f"cannot read the passphrase file {path}: {error.strerror}"
        ) from None
    if stat.S_ISREG(found.st_mode):
        try:
            check_private(path, found)
        except FileExposed as error:
            raise SecuremsgError(
                Exit.PROFILE, "passphrase-exposed", f"the passphrase file {error.text}", error.hint
            ) from None
    passphrase = passphrase.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(passphrase) > MAX_PASSPHRASE:
        raise SecuremsgError(
            Exit.USAGE, "passphrase-file", f"the passphrase file {path} is empty or longer than {MAX_PASSPHRASE} bytes"
        )
    return passphrase


def open_vault(settings: Settings) -> vault.Vault:
    """
    Open the store key; ask for the passphrase if one is needed, none is given, and there is a terminal.

    @raise SecuremsgError: there is no profile, or it cannot be opened.
    """
    source = settings.passphrase_source
    try:
        return vault.open_vault(settings.folder, read_passphrase(source) if source else None)
    except vault.PassphraseNeeded:
        if not (sys.stdin and sys.stdin.isatty()):
            raise
    return vault.open_vault(settings.folder, _ask_passphrase(settings.folder))


@contextlib.contextmanager
def opened(settings: Settings, *, joined: bool = True) -> Iterator[CommandContext]:
    """
    Open the profile for as long as the block runs.

    @param joined: the account must exist.
    @raise SecuremsgError: there is no profile, or it cannot be opened.
    """
    folder = settings.folder
    check_whole(folder)
    try:
        key = open_vault(settings)
        store = open_profile(folder, key)
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    try:
        profile = load_joined(store) if joined else load_any(store)
        yield CommandContext(settings, folder.absolute(), store, profile, protection_text(folder, key.kind))
    finally:
        store.close()


def _ask_passphrase(folder: Path) -> bytes:
    """Ask at the terminal; the prompt goes to standard error or the terminal itself."""
    try:
        return getpass.getpass(f"Passphrase for {folder}: ", stream=sys.stderr).encode("utf-8", "surrogateescape")
    except EOFError:
        raise error_for("passphrase-needed") from None
