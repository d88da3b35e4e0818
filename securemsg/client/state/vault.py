"""
The store key: 32 random bytes that seal a profile, and the one file that keeps them.

Without a passphrase the file C{store.key} holds the key itself, and its permissions are the only protection. With one it
holds the key sealed under scrypt (RFC 7914) of the passphrase, with salt and parameters. Sizes are bytes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from zope.interface import implementer

from securemsg.crypto import primitives
from securemsg.errors import Unauthentic
from securemsg.interfaces import ISealer

KEY_FILE = "store.key"
KEY_SIZE = 32
SALT_SIZE = 16
TAG_SIZE = 16
FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LABEL = "securemsg store key"
FORMAT = 1
# 128 MiB and some tenths of a second. A file may ask for other costs, but for no more than 1 GiB.
COST = 17
LOWEST_COST = 14
HIGHEST_COST = 20
BLOCK = 8
PARALLEL = 1
MAX_FILE = 1024  # what is longer was not made here
KEY_IN_FILE = "key-file"
PASSPHRASE = "passphrase"  # noqa: S105 -- the name of a kind of protection


class VaultError(Exception):
    """The store key cannot be had. Nothing was changed. The text is made to be shown."""


class VaultMissing(VaultError):
    """There is no key file in this folder."""


class VaultExists(VaultError):
    """There is a key file already; it is never overwritten."""


class VaultExposed(VaultError):
    """Others than its owner may read or change the key file."""


class VaultDamaged(VaultError):
    """This is no key file, or not one that this release knows."""


class WrongPassphrase(VaultError):
    """The passphrase does not open the key."""


class PassphraseNeeded(WrongPassphrase):
    """The key is protected by a passphrase, and none was given."""


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
        """What the passphrase makes under these parameters. Takes a while: not for the thread that serves people."""
        return primitives.scrypt(passphrase, self.salt, n=1 << self.cost, r=self.block, p=self.parallel)


@implementer(ISealer)
class Vault:
    """
    The store key at work. See L{ISealer}.

    @ivar kind: how the key is protected, L{KEY_IN_FILE} or L{PASSPHRASE}.
    """

    def __init__(self, store_key: bytes, kind: str = KEY_IN_FILE) -> None:
        if len(store_key) != KEY_SIZE:
            raise ValueError("a store key has 32 bytes")
        self.kind = kind
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


def create_vault(folder: Path, passphrase: bytes | None, *, cost: int = COST) -> Vault:
    """
    Make a store key, and keep it in a folder, which is made too. The file appears whole or not at all.

    @param cost: log2 of the scrypt parameter N.
    @raise VaultExists: there is one.
    @raise VaultError: the file cannot be written.
    """
    store_key = primitives.random_bytes(KEY_SIZE)
    if passphrase is None:
        content = store_key
    else:
        empty = _Protected(LABEL, FORMAT, primitives.random_bytes(SALT_SIZE), cost, BLOCK, PARALLEL, b"")
        sealed = primitives.seal(empty.key(passphrase), store_key, empty.bound())
        content = msgspec.msgpack.encode(msgspec.structs.replace(empty, sealed=sealed))
    path = folder / KEY_FILE
    try:
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        _write_once(path, content)
    except FileExistsError:
        raise VaultExists(f"{path} is there already and is not overwritten: it opens the profile beside it.") from None
    except OSError as error:
        raise VaultError(f"{path} cannot be written: {error.strerror}. Check disk and rights.") from error
    return Vault(store_key, KEY_IN_FILE if passphrase is None else PASSPHRASE)


def open_vault(folder: Path, passphrase: bytes | None) -> Vault:
    """
    Take the store key out of its file. A passphrase that is not needed is not looked at.

    @raise VaultMissing: there is none.
    @raise VaultExposed: others may read or change the file.
    @raise VaultDamaged: it is no key file.
    @raise PassphraseNeeded: it is protected, and C{passphrase} is C{None}.
    @raise WrongPassphrase: it opens under another.
    """
    path = folder / KEY_FILE
    content = _read_private(path)
    if len(content) == KEY_SIZE:
        return Vault(content)
    try:
        kept = msgspec.msgpack.decode(content, type=_Protected)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        kept = None
    if kept is None or (kept.label, kept.format) != (LABEL, FORMAT):
        raise VaultDamaged(f"{path} is not a key file that this release knows. Restore it from a backup.")
    if passphrase is None:
        raise PassphraseNeeded(f"The keys in {folder} are protected by a passphrase. Give it with --passphrase-file.")
    try:
        return Vault(primitives.unseal(kept.key(passphrase), kept.sealed, kept.bound()), PASSPHRASE)
    except Unauthentic:
        raise WrongPassphrase(f"The passphrase does not open {path}.") from None


def protection(folder: Path) -> str:
    """
    How the store key in a folder is protected, without opening it: L{KEY_IN_FILE} or L{PASSPHRASE}.

    @raise VaultMissing: there is none.
    @raise VaultExposed: others may read or change the file.
    """
    return KEY_IN_FILE if len(_read_private(folder / KEY_FILE)) == KEY_SIZE else PASSPHRASE


def _read_private(path: Path) -> bytes:
    """Read a small file that nobody else may read."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & OTHERS:
                raise VaultExposed(f"Others may read {path}. Make it yours alone: chmod 600 {path}")
            return file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise VaultMissing(f"No profile is in {path.parent}. Make one with `securemsg join`, or name its folder.") from None
    except OSError as error:
        raise VaultError(f"{path} cannot be read: {error.strerror}. Check who owns it.") from error


def _write_once(path: Path, content: bytes) -> None:
    """
    Put a file into place, durably, if none is there.

    @raise FileExistsError: one is there.
    """
    draft = path.with_name(f".{path.name}.{primitives.random_bytes(8).hex()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
