"""Key files: 32 bytes that whoever has them may use, and nobody else shall read."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from securemsg.storage.errors import StorageError
from securemsg.storage.files import FILE_MODE, sync_folder

SECRET_SIZE = 32
# Rights of the group and of everybody.
OTHERS = 0o077


class KeyFileError(StorageError):
    """A key file cannot be read or made."""


class KeyFileMissing(KeyFileError):
    """There is none of this name."""


class KeyFileExposed(KeyFileError):
    """Others may use it: read it, or put another in its place."""


class KeyFileExists(KeyFileError):
    """There is a file of this name already."""


def read_key_file(path: Path, loose: bool = False) -> bytes:
    """
    The secret in a file: 32 bytes.

    It is an ordinary file: others answer late or never, and have no mode that says who may use them.

    @param loose: whether others may use the file, too.
    @raise KeyFileError: it is missing, cannot be read, is no ordinary file, is exposed, or has another size; the text says what
        to do.
    """
    try:
        # Without waiting: a pipe has an end that somebody else has to open first.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            is_ordinary = stat.S_ISREG(found.st_mode)
            secret = os.read(descriptor, SECRET_SIZE + 1) if is_ordinary else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyFileMissing(
            f"there is no key file {path}: make one with `securemsg keygen {path}`, or copy the one that is shared"
        ) from None
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    if not is_ordinary:
        raise KeyFileError(f"{path} is no ordinary file, and a key file is one: name another, or copy its {SECRET_SIZE} bytes")
    if found.st_mode & OTHERS and not loose:
        raise KeyFileExposed(
            f"others may use the key file {path} (mode {found.st_mode & 0o777:o}): make it yours alone with `chmod 600 {path}`,"
            " or say --loose"
        )
    if len(secret) != SECRET_SIZE:
        raise KeyFileError(
            f"{path} has {found.st_size} bytes, and a key file has {SECRET_SIZE}: name another, or make one with"
            " `securemsg keygen`"
        )
    return secret


def make_key_file(path: Path, secret: bytes) -> None:
    """
    Write a secret into a new file, durably, which its owner alone can read.

    @raise KeyFileExists: nothing was overwritten.
    @raise KeyFileError: it cannot be made; nothing is left of it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        raise KeyFileExists(
            f"{path} is there already and was left as it is: name another file, or move this one away first"
        ) from None
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be made: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            # The umask may have taken rights away, too.
            os.fchmod(descriptor, FILE_MODE)
            file.write(secret)
            file.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from None
