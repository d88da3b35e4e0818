"""Key files: 32 secret bytes, shared by everybody who has a copy, and readable by nobody else."""

from __future__ import annotations

from pathlib import Path

from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileExposed, NotAFile, create_private_file, read_private_file

SECRET_SIZE = 32


class KeyFileError(StorageError):
    """A key file cannot be read or made."""


class KeyFileMissing(KeyFileError):
    """There is none of this name."""


class KeyFileExposed(KeyFileError):
    """Other users may read or change it."""


class KeyFileExists(KeyFileError):
    """There is a file of this name already."""


def read_key_file(path: Path, loose: bool = False) -> bytes:
    """
    The secret in a file: 32 bytes.

    @param loose: whether others may use the file, too.
    @raise KeyFileError: it is missing, cannot be read, is not a regular file, is exposed, or has another size; the text says
        what to do.
    """
    try:
        secret = read_private_file(path, SECRET_SIZE + 1, exposed=loose)
        size = path.stat().st_size
    except FileNotFoundError:
        raise KeyFileMissing(
            f"there is no key file {path}; create one with `securemsg keygen {path}`, or copy the one that is shared"
        ) from None
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {path}: {error.strerror}") from None
    except NotAFile as error:
        raise KeyFileError(f"{error}, or copy its {SECRET_SIZE} bytes into a file") from None
    except FileExposed as error:
        raise KeyFileExposed(f"the key file {error}, or use --loose") from None
    if len(secret) != SECRET_SIZE:
        raise KeyFileError(
            f"{path} has {size} bytes instead of {SECRET_SIZE}; give a key file, or create one with `securemsg keygen`"
        )
    return secret


def make_key_file(path: Path, secret: bytes) -> None:
    """
    Write a secret into a new file, durably, which its owner alone can read.

    @raise KeyFileExists: nothing was overwritten.
    @raise KeyFileError: it cannot be made; nothing is left of it.
    """
    try:
        create_private_file(path, secret)
    except FileExistsError:
        raise KeyFileExists(f"{path} exists and was not changed; give another file, or move this one away") from None
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {path}: {error.strerror}") from None
