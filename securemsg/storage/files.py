"""Files that nobody else may read, whatever the umask says."""

from __future__ import annotations

import os
from pathlib import Path

from securemsg.storage.errors import StateUnusable

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_private_file(path: Path) -> None:
    """
    Make an empty file if there is none, durably; take the rights of others from one that is there.

    SQLite gives its journals the mode of the database, so this covers them too. An existing file is not opened: closing it
    would take away the locks that another connection of this process holds.

    @raise StateUnusable: the file cannot be made.
    """
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        except FileExistsError:
            if path.stat().st_mode & 0o777 != FILE_MODE:
                path.chmod(FILE_MODE)
        else:
            path.chmod(FILE_MODE)
            sync_folder(path.parent)
    except OSError as error:
        raise StateUnusable(f"{path} cannot be made: {error.strerror}. Check the rights on that folder.") from error


def make_private_folder(folder: Path) -> None:
    """
    Make a folder if there is none; one that is there keeps its mode, for its files protect themselves.

    @raise StateUnusable: it cannot be made.
    """
    try:
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StateUnusable(f"{folder} cannot be made: {error.strerror}. Name another folder.") from error


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
