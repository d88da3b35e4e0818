"""The daemon's state folder: for one user and one daemon at a time, whatever the umask says."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from securemsg.storage.errors import StorageError
from securemsg.storage.files import (
    FOLDER_MODE,
    OTHERS,
    FileLock,
    check_owner,
    make_private_folder,
    read_private_file,
    write_private_file,
)

# Files in the folder.
LOCK_FILE = "lock"
RESET_KEY = "reset.key"
SERVER_KEY = "server.key"
DATABASE = "server.db"
HIGH_WATER = "high-water"
SOCKET = "control"
AUDIT = "audit.jsonl"
FIRST_INVITE = "first-invite"
CONTACT = "contact"
# The copies that a backup is made from, a folder; a file that is there while a restore puts others in their place.
SNAPSHOT = ".snapshot"
RESTORING = ".restoring"

# What the system says where there is no room.
FULL = (errno.ENOSPC, errno.EDQUOT)
# Of the server's key, bytes.
KEY_SIZE = 32


class StateError(Exception):
    """The state cannot be used; the text says in one line what is wrong and what to do."""


def check_folder(folder: Path, user: int | None = None) -> None:
    """
    Check whether the folder can be used or made; nothing is changed.

    @param user: id of the user whom the daemon becomes, if it becomes another.
    @raise StateError: it cannot.
    @raise FileExposed: it belongs to another user.
    """
    check_owner(folder, user)
    try:
        found = folder.stat()
    except FileNotFoundError:
        _check_parent(folder)
        return
    except OSError as error:
        raise StateError(f"the state folder {folder} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"the state folder {folder} is not a folder; name another with --state")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StateError(f"the state folder {folder} cannot be read and written by this user; name another with --state")
    if found.st_mode & OTHERS and any(folder.iterdir()):
        raise StateError(f"the state folder {folder} is open to other users; restrict it to yourself: chmod 700 {folder}")
    if (folder / LOCK_FILE).exists():
        with FolderLock(folder):
            pass


def _check_parent(folder: Path) -> None:
    """See whether a folder that is not there can be made."""
    for parent in folder.absolute().parents:
        if parent.exists():
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise StateError(f"the state folder {folder} cannot be made: {parent} cannot be written by this user")
            return


def open_folder(folder: Path) -> None:
    """
    Make the folder if it does not exist, and restrict it to this user.

    @raise StateError: that fails.
    @raise FileExposed: it belongs to another user.
    """
    check_owner(folder)
    try:
        make_private_folder(folder)
        if folder.stat().st_mode & OTHERS:
            folder.chmod(FOLDER_MODE)
    except StorageError as error:
        raise StateError(f"the state folder {error}") from error
    except OSError as error:
        raise StateError(f"the state folder {folder} cannot be made: {error.strerror}") from error


class FolderLock:
    """The lock that the daemon holds as long as it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK_FILE)

    def take(self) -> None:
        """
        Take it.

        @raise StateError: another daemon has it, or it cannot be made.
        """
        try:
            taken = self._lock.take()
        except OSError as error:
            raise StateError(f"the state folder {self._folder} cannot be locked: {error.strerror}") from error
        if not taken:
            raise StateError(
                f"another daemon uses the state folder {self._folder}; stop it, or name another folder with --state"
            )

    def release(self) -> None:
        """Release the lock."""
        self._lock.free()

    def __enter__(self) -> FolderLock:
        """Take it for a block."""
        self.take()
        return self

    def __exit__(self, *args: object) -> None:
        """Release the lock at the end of the block."""
        self.release()


def write_private(path: Path, data: bytes) -> None:
    """
    Write a file that only we can read, durably, and all of it or nothing.

    @raise StateError: that fails.
    """
    try:
        write_private_file(path, data)
    except OSError as error:
        advice = "; free some space" if error.errno in FULL else ""
        raise StateError(f"{path} cannot be written: {error.strerror}{advice}") from error


def read_private(path: Path) -> bytes | None:
    """
    Read a file that only we may read; C{None} where there is none.

    @raise StateError: others may read it, or we may not.
    """
    try:
        return read_private_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except StorageError as error:
        raise StateError(str(error)) from error


def read_key(path: Path, size: int) -> bytes | None:
    """
    Read a raw key, in hex, from its file; C{None} where there is none.

    @param size: of the key in bytes.
    @raise StateError: the file is not a key, or cannot be read.
    """
    content = read_private(path)
    if content is None:
        return None
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != size:
        raise StateError(f"{path} is damaged: it should hold {2 * size} hex digits; restore it from a backup")
    return key


def keep_key(path: Path, make: Callable[[], bytes], size: int) -> bytes:
    """
    Read a raw key, in hex, from its file; make it first where there is none.

    @param size: of the key in bytes.
    @raise StateError: the file is not a key, or cannot be read or written.
    """
    key = read_key(path, size)
    if key is None:
        key = make()
        write_private(path, key.hex().encode("ascii") + b"\n")
    return key


def free_space(folder: Path) -> int:
    """Free bytes on the disk of this folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
