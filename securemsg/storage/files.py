"""Files and folders that no other user may use, whatever the umask says, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from securemsg.storage.errors import StateUnusable

FILE_MODE = 0o600
FOLDER_MODE = 0o700
# The permissions of the group and of others.
OTHERS = 0o077
# Root can read and change every file anyway.
ROOT = 0


class FileExposed(StateUnusable):
    """
    Other users can read, change or run a file, or another user owns it.

    @ivar text: what is wrong; C{hint}: what to do about it.
    """

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(f"{text}; {hint}")
        self.text = text
        self.hint = hint


class NotAFile(StateUnusable):
    """A folder, a pipe or a device, where a regular file should be."""


def make_private_file(path: Path) -> None:
    """
    Make an empty file if there is none, durably; remove the permissions of others from an existing one.

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
        raise StateUnusable(f"cannot create {path}: {error.strerror}; check the permissions of that folder") from error


def make_private_folder(folder: Path) -> None:
    """
    Make a folder if there is none, and those above it, durably; an existing one keeps its mode, because its files have their
    own.

    @raise StateUnusable: it cannot be made.
    """
    missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(FOLDER_MODE if path == folder else 0o777, exist_ok=True)
            sync_folder(path.parent)
        # It may be something else, or have gone since.
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    except OSError as error:
        raise StateUnusable(f"cannot create {folder}: {error.strerror}; give another folder") from error


def check_owner(folder: Path, other: int | None = None) -> None:
    """
    Check that a folder belongs to this user, or if it is still to be made, that it would not lie in somebody else's: what root
    made there would shut its owner out.

    @param other: another user who may own it.
    @raise FileExposed: it belongs to somebody else.
    """
    with contextlib.suppress(OSError):
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        owner = nearest.stat().st_uid
        # Anybody may make a folder in /tmp, which is root's.
        if owner not in (os.geteuid(), other) and (nearest == folder or owner != ROOT):
            raise FileExposed(f"{nearest} belongs to another user (uid {owner})", "run this as that user")


def check_private(path: Path, found: os.stat_result) -> None:
    """
    Check that this is a regular file that only we may use: an owner can change its mode at any time.

    @raise NotAFile: it is something else.
    @raise FileExposed: others may use it, too.
    """
    check_regular(path, found)
    if found.st_uid not in (ROOT, os.geteuid()):
        raise FileExposed(f"{path} belongs to another user (uid {found.st_uid})", "use a copy that belongs to you")
    if found.st_mode & OTHERS:
        raise FileExposed(
            f"{path} is open to other users (mode {found.st_mode & 0o777:o})", f"restrict it to yourself: chmod 600 {path}"
        )


def check_regular(path: Path, found: os.stat_result) -> None:
    """
    Check that this is a regular file: pipes and devices may block, and their mode does not say who may use them.

    @raise NotAFile: it is something else.
    """
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile(f"{path} is not a regular file; give another")


def read_private_file(path: Path, limit: int = -1, *, exposed: bool = False) -> bytes:
    """
    Read a file that only we may use.

    @param limit: how many bytes to read at most; negative: all.
    @param exposed: whether others may use it, too.
    @raise OSError: it is missing or cannot be read.
    @raise StorageError: as L{check_private}.
    """
    # Without blocking: a pipe would open only when another process opens its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        (check_regular if exposed else check_private)(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def write_private_file(path: Path, content: bytes) -> None:
    """
    Write a file, or replace it, durably, and all of it or nothing. Two processes must not write the same file at once.

    @raise OSError: it cannot be written; the old file is unchanged.
    """
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # a process that was killed left it
    with _filled(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)) as file:
        file.write(content)
    draft.rename(path)
    sync_folder(path.parent)


def create_private_file(path: Path, content: bytes) -> None:
    """
    Write a new file, durably, and all of it or nothing, even if another process does the same.

    @raise FileExistsError: there is one of this name; it was left as it is.
    @raise OSError: it cannot be written; nothing is left of it.
    """
    with draft_private_file(path) as file:
        file.write(content)


def replace_private_file(path: Path, content: bytes) -> None:
    """
    Replace a file, durably, and all of it or nothing, even if another process does the same. What processes that were killed
    have left of theirs is removed.

    @raise OSError: it cannot be written; the old file is unchanged.
    """
    with draft_private_file(path, replace=True) as file:
        file.write(content)
    for draft in drafts_of(path):
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def draft_private_file(path: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """
    A new file to be written: it gets its name, durably, once the block has ended well, and else nothing is left of it.

    @param replace: it takes the place of one that has this name.
    @raise FileExistsError: there is one of this name; it was left as it is.
    @raise OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_draft_prefix(path))
    draft = Path(name)
    try:
        with _filled(descriptor) as file:
            yield file
        if replace:
            draft.rename(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    try:
        sync_folder(path.parent)
    except OSError:
        if not replace:
            path.unlink()
        raise


def open_without_links(folder: Path, name: str) -> IO[bytes]:
    """
    Open a regular file below a folder for reading, without following a link on the way: its user may have laid one that leads
    root to somebody else's file.

    @param folder: whose own path is safe.
    @param name: relative to it.
    @raise OSError: there is no such file.
    """
    *parents, last = Path(name).parts
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = inner
        # Nor may a pipe hold us up.
        file = open(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place), "rb")  # noqa: SIM115
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(folder / name))
    return file


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[Path]:
    """
    Work in a folder as the user whom it belongs to, where we are root: no link of that user leads us to what it may not change.

    @return: the folder, as it is called meanwhile, because that user may not be able to come there by its path.
    """
    if os.geteuid() != ROOT or os.stat(folder).st_uid == ROOT:
        yield folder
        return
    groups, place = os.getgroups(), os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        owner = os.fstat(place)
        os.setgroups([])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        yield Path(f"/proc/self/fd/{place}")
    finally:
        os.seteuid(ROOT)
        os.setegid(ROOT)
        os.setgroups(groups)
        os.close(place)


def drafts_of(path: Path) -> list[Path]:
    """What processes that were killed have left beside a file: drafts of it."""
    return sorted(path.parent.glob(f"{glob.escape(_draft_prefix(path))}*"))


def _draft_prefix(path: Path) -> str:
    # No file of anybody else's is called so: what processes have left is removed, wherever the file is.
    return f".{path.name}.securemsg-draft-"


@contextlib.contextmanager
def _filled(descriptor: int) -> Iterator[IO[bytes]]:
    """A new file to be written; its whole content is on disk once the block has ended well."""
    with open(descriptor, "w+b") as file:
        os.fchmod(descriptor, FILE_MODE)  # the umask may have removed permissions of the owner, too
        yield file
        file.flush()
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_lock_file(path: Path) -> int:
    """
    Open the empty file that processes lock; it is made if there is none.

    @raise OSError: it cannot be made or opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)


class FileLock:
    """A lock between processes, held or not. The kernel frees it when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor >= 0

    def take(self) -> bool:
        """
        Take the lock if nobody has it; this never waits.

        @raise OSError: the file cannot be made or locked here.
        """
        if self.is_held:
            return True
        descriptor = open_lock_file(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def free(self) -> None:
        """Free the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
