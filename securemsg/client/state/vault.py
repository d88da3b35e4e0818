"""
The store key: 32 random bytes that seal a profile, and the file that holds them.

Without a passphrase the file C{store.key} holds the key itself, and its permissions are the only protection. With one it
holds the key sealed under scrypt (RFC 7914) of the passphrase, with salt and parameters. The store key never changes: another
passphrase seals the same key anew. Sizes are bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from zope.interface import implementer

from securemsg.crypto import primitives
from securemsg.errors import Unauthentic
from securemsg.interfaces import ISealer
from securemsg.storage.errors import StorageError
from securemsg.storage.files import (
    FileExposed,
    create_private_file,
    make_private_folder,
    read_private_file,
    replace_private_file,
)

KEY_FILE = "store.key"
KEY_SIZE = 32
SALT_SIZE = 16
TAG_SIZE = 16
LABEL = "securemsg store key"
FORMAT = 1
# 128 MiB, and tenths of a second. A file may name other costs, up to 1 GiB.
COST = 17
LOWEST_COST = 14
HIGHEST_COST = 20
BLOCK = 8
PARALLEL = 1
MAX_FILE = 1024  # what is longer was not made here
KEY_IN_FILE = "key-file"
PASSPHRASE = "passphrase"  # noqa: S105 -- the name of a kind of protection


class VaultError(Exception):
    """The store key is not available. Nothing was changed. The text is written for the user."""


class VaultMissing(VaultError):
    """There is no key file in this folder."""


class VaultExists(VaultError):
    """There is a key file already; it is never overwritten."""


class VaultExposed(VaultError):
    """Other users may read or change the key file."""


class VaultDamaged(VaultError):
    """This is no key file, or not one that this release knows."""


class WrongPassphrase(VaultError):
    """The passphrase does not open the key."""


class PassphraseNeeded(WrongPassphrase):
    """The key is protected by a passphrase, and none was given."""


class PassphraseUnneeded(VaultError):
    """A passphrase was given, and the key is protected by none: somebody takes it for protected."""


class _Protected(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """
    The key file of a store key under a passphrase.

    @ivar cost: log2 of the scrypt parameter N.
    """

    label: str
    format: int
    salt: Annotated[bytes, Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    cost: Annotated[int, Meta(ge=LOWEST_COST, le=HIGHEST_COST)]
    block: Annotated[int, Meta(ge=BLOCK, le=BLOCK)]
    parallel: Annotated[int, Meta(ge=1, le=4)]
    sealed: bytes

    def bound(self) -> bytes:
        """All but the sealed key, which is bound to it."""
        return msgspec.msgpack.encode((self.label, self.format, self.salt, self.cost, self.block, self.parallel))

    def key(self, passphrase: bytes) -> bytes:
        """The key that the passphrase gives under these parameters. This takes tenths of a second."""
        return primitives.scrypt(passphrase, self.salt, n=1 << self.cost, r=self.block, p=self.parallel)


@implementer(ISealer)
class Vault:
    """
    Seals and opens records with the store key. See L{ISealer}.

    @ivar kind: how the key is protected, L{KEY_IN_FILE} or L{PASSPHRASE}.
    """

    def __init__(self, store_key: bytes, kind: str = KEY_IN_FILE) -> None:
        if len(store_key) != KEY_SIZE:
            raise ValueError("a store key has 32 bytes")
        self.kind = kind
        self._store_key = store_key
        self._sealing = primitives.hkdf(store_key, salt=b"", info=b"securemsg profile records", length=KEY_SIZE)
        self._naming = primitives.hkdf(store_key, salt=b"", info=b"securemsg profile names", length=KEY_SIZE)

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See L{ISealer.seal}."""
        return primitives.seal(self._sealing, plaintext, associated_data)

    def open(self, sealed: bytes, associated_data: bytes) -> bytes:
        """
        See L{ISealer.open}.

        @raise Unauthentic: as said there.
        """
        return primitives.unseal(self._sealing, sealed, associated_data)

    def tag(self, name: bytes) -> bytes:
        """See L{ISealer.tag}."""
        return primitives.hmac_sha256(self._naming, name)[:TAG_SIZE]

    def key_file(self, passphrase: bytes | None, *, cost: int = COST) -> bytes:
        """
        The content of a key file that holds this store key. With a passphrase this takes tenths of a second.

        @param passphrase: that seals the key; C{None}: none does.
        @param cost: log2 of the scrypt parameter N.
        """
        if passphrase is None:
            return self._store_key
        empty = _Protected(LABEL, FORMAT, primitives.random_bytes(SALT_SIZE), cost, BLOCK, PARALLEL, b"")
        sealed = primitives.seal(empty.key(passphrase), self._store_key, empty.bound())
        return msgspec.msgpack.encode(msgspec.structs.replace(empty, sealed=sealed))


def create_vault(folder: Path, passphrase: bytes | None, *, cost: int = COST) -> Vault:
    """
    Make a store key, and keep it in a folder, which is made too. The file appears whole or not at all.

    @param cost: log2 of the scrypt parameter N.
    @raise VaultExists: there is one.
    @raise VaultError: the file cannot be written.
    """
    vault = Vault(primitives.random_bytes(KEY_SIZE), KEY_IN_FILE if passphrase is None else PASSPHRASE)
    path = folder / KEY_FILE
    try:
        make_private_folder(folder)
        create_private_file(path, vault.key_file(passphrase, cost=cost))
    except FileExistsError:
        raise VaultExists(f"{path} exists and is not overwritten: it opens the profile next to it") from None
    except StorageError as error:
        raise VaultError(str(error)) from error
    except OSError as error:
        raise VaultError(f"cannot write {path}: {error.strerror}; check disk and permissions") from error
    return vault


def change_passphrase(folder: Path, vault: Vault, new: bytes | None, *, cost: int = COST) -> None:
    """
    Seal the store key in a folder under another passphrase. The key stays the same, so other processes may go on using the
    profile. The file is replaced as a whole or not at all.

    @param vault: the store key, as L{open_vault} gave it.
    @param new: C{None}: the key is in the file as it is from then on.
    @param cost: log2 of the scrypt parameter N.
    @raise VaultError: the file cannot be written; it is unchanged.
    """
    path = folder / KEY_FILE
    try:
        replace_private_file(path, vault.key_file(new, cost=cost))
    except OSError as error:
        raise VaultError(f"cannot write {path}: {error.strerror}; nothing was changed, check disk and permissions") from error
    vault.kind = KEY_IN_FILE if new is None else PASSPHRASE


def open_vault(folder: Path, passphrase: bytes | None) -> Vault:
    """
    Read the store key from its file.

    @raise VaultMissing: there is none.
    @raise VaultExposed: others may read or change the file.
    @raise VaultDamaged: it is no key file.
    @raise PassphraseNeeded: it is protected, and C{passphrase} is C{None}.
    @raise PassphraseUnneeded: it is not protected, and one was given.
    @raise WrongPassphrase: it opens under another.
    """
    path = folder / KEY_FILE
    content = _read(path)
    if len(content) == KEY_SIZE:
        if passphrase is not None:
            raise PassphraseUnneeded(
                f"a passphrase was given, and {path} is protected by none; omit it, or set one: securemsg passphrase"
            )
        return Vault(content)
    try:
        kept = msgspec.msgpack.decode(content, type=_Protected)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        kept = None
    if kept is None or (kept.label, kept.format) != (LABEL, FORMAT):
        raise VaultDamaged(f"{path} is not a key file of this version; restore it from a backup")
    if passphrase is None:
        raise PassphraseNeeded(f"the keys in {folder} are protected by a passphrase; give it with --passphrase-file")
    try:
        return Vault(primitives.unseal(kept.key(passphrase), kept.sealed, kept.bound()), PASSPHRASE)
    except Unauthentic:
        raise WrongPassphrase(f"wrong passphrase for {path}") from None


def protection(folder: Path) -> str:
    """
    How the store key in a folder is protected, without opening it: L{KEY_IN_FILE} or L{PASSPHRASE}.

    @raise VaultMissing: there is none.
    @raise VaultExposed: others may read or change the file.
    """
    return KEY_IN_FILE if len(_read(folder / KEY_FILE)) == KEY_SIZE else PASSPHRASE


def _read(path: Path) -> bytes:
    try:
        return read_private_file(path, MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise VaultMissing(f"there is no profile in {path.parent}; run `securemsg join`, or give --profile") from None
    except OSError as error:
        raise VaultError(f"cannot read {path}: {error.strerror}; check its owner") from error
    except FileExposed as error:
        raise VaultExposed(str(error)) from None
    except StorageError as error:
        raise VaultError(str(error)) from None
