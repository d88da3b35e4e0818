"""
A backup of the server's state: one tar file, with C{server.key} first, then the small files of the state, the contact's profile
and the database, and in the end C{SHA256SUMS} of all these.

It is not encrypted: whoever has it can pose as the server. As in a profile's backup, nothing in it says where a file goes.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from securemsg.account.check import MAX_FAULTS, check_records
from securemsg.account.errors import error_for
from securemsg.cli.admin.control import SOCKET
from securemsg.client.state.vault import KEY_FILE, VaultError, open_vault
from securemsg.client.times import iso
from securemsg.crypto.keys import sha256_stream
from securemsg.interfaces import Step, no_step
from securemsg.storage.backupfile import (
    DRAFT,
    MAX_DATABASE,
    check_end,
    end_archive,
    next_member,
    read_content,
    write_member,
)
from securemsg.storage.errors import BackupDamaged, StorageError
from securemsg.storage.files import (
    ROOT,
    FileLock,
    as_owner,
    check_owner,
    draft_private_file,
    make_private_folder,
    open_without_links,
    sync_folder,
    write_private_file,
)
from securemsg.storage.profile import PROFILE_FILE
from securemsg.storage.sqlite.store import faults_of

# Files of the state, as the daemon calls them.
SERVER_KEY = "server.key"
DATABASE = "server.db"
CONTACT = "contact"
LOCK_FILE = "lock"
AUDIT = "audit.jsonl"
SNAPSHOT = ".snapshot"
RESTORING = ".restoring"
CONTACT_KEY, CONTACT_PROFILE = f"{CONTACT}/{KEY_FILE}", f"{CONTACT}/{PROFILE_FILE}"
NEEDED = {SERVER_KEY, DATABASE, CONTACT_KEY, CONTACT_PROFILE}
DIGESTS = "SHA256SUMS"
# The mark says how far the state had come in the end, not in the backup; the next start makes it anew.
LEFT_OUT = {LOCK_FILE, SOCKET, "high-water", DIGESTS, CONTACT}

# Bounds of what else is in a state, and so in a backup: how many files, how their names look, and their bytes.
MAX_FILES = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_SMALL = 4 << 20
KEY = re.compile(rb"[0-9a-f]{64}\n?")

# Where what was there before a restore is put, with the time.
ASIDE = "before-restore-"


@define
class _Digested:
    """Passes on what is written, and digests it."""

    _target: IO[bytes] | None = None
    _digest: Any = field(factory=sha256_stream, init=False)

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._digest.update(data)
        if self._target is not None:
            self._target.write(data)

    @property
    def hexdigest(self) -> str:
        """In hex."""
        return str(self._digest.hexdigest())


def small_files(state: Path) -> tuple[list[Path], list[Path]]:
    """
    The files of a state besides its databases.

    @return: those that belong into a backup, and those that are too large for it, such as a record of messages.
    """
    found = [
        path
        for path in sorted(state.iterdir())
        if path.is_file() and not path.is_symlink() and _is_small(path.name)
    ]  # fmt: skip
    fitting = [path for path in found if path.stat().st_size <= MAX_SMALL]
    fitting = sorted(fitting, key=lambda path: path.name != SERVER_KEY)[:MAX_FILES]
    return fitting, [path for path in found if path not in fitting]


def _is_small(name: str) -> bool:
    """Whether a file of this name belongs into a backup besides the databases: no draft, journal or older copy of them."""
    is_other = name in LEFT_OUT or name.startswith((DATABASE, ASIDE)) or name.endswith((".new", ".pid"))
    return NAME.fullmatch(name) is not None and not is_other


def write_backup(state: Path, archive: IO[bytes], step: Step = no_step) -> None:
    """
    Write a backup of a state, of which the daemon has just taken a snapshot.

    @param step: called again and again with the number of bytes that were written since.
    @raise OSError: a file cannot be read, or the backup cannot be written.
    @raise StorageError: a database is too large.
    """
    lines = []
    with ExitStack() as stack:
        sources: dict[str, IO[bytes]] = {
            name: io.BytesIO(_small_content(state, name))
            for name in (*(path.name for path in small_files(state)[0]), CONTACT_KEY)
        }
        for name in (CONTACT_PROFILE, DATABASE):
            sources[name] = stack.enter_context(open_without_links(state, f"{SNAPSHOT}/{name}"))
        for name, source in sources.items():
            digested = _Digested()
            while chunk := source.read(1 << 20):
                digested.write(chunk)
            size = source.tell()
            source.seek(0)
            write_member(archive, name, source, size, step)
            lines.append(f"{digested.hexdigest}  {name}\n")
    sums = "".join(lines).encode()
    write_member(archive, DIGESTS, io.BytesIO(sums), len(sums), step)
    end_archive(archive)


def _small_content(state: Path, name: str) -> bytes:
    """
    What a small file holds.

    @raise OSError: it cannot be read, or has grown.
    """
    with open_without_links(state, name) as file:
        content = file.read(MAX_SMALL + 1)
    if len(content) > MAX_SMALL:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(state / name))
    return content


def read_backup(archive: IO[bytes], folder: Path | None = None, step: Step = no_step) -> dict[str, str]:
    """
    Read a backup, and compare it with its digests.

    @param folder: gets the files; C{None}: nothing is written.
    @param step: called again and again with the number of bytes that were read since.
    @return: the digest of each file, in hex.
    @raise BackupDamaged: it is not the whole backup of a server.
    """
    digests: dict[str, str] = {}
    while True:
        name, size = next_member(archive)
        if name == DIGESTS:
            break
        known = name in NEEDED or _is_small(name)
        limit = MAX_DATABASE if name in (DATABASE, CONTACT_PROFILE) else MAX_SMALL
        if not known or name in digests or size > limit or len(digests) >= MAX_FILES + len(NEEDED):
            raise BackupDamaged("it has other contents than a server's backup")
        with ExitStack() as stack:
            target = None
            if folder is not None:
                make_private_folder((folder / name).parent)
                target = stack.enter_context(draft_private_file(folder / name))
            digested = _Digested(target)
            read_content(archive, size, digested, step)
            digests[name] = digested.hexdigest
    sums = io.BytesIO()
    read_content(archive, min(size, MAX_SMALL), sums, no_step)
    check_end(archive)
    if sums.getvalue().decode("ascii", "replace") != "".join(f"{digest}  {name}\n" for name, digest in digests.items()):
        raise BackupDamaged("its contents are not what was written")
    if missing := NEEDED - digests.keys():
        raise BackupDamaged(f"it has no {min(missing)}")
    return digests


def check_state(state: Path, databases: Path, step: Step = no_step) -> Iterator[tuple[str, list[str]]]:
    """
    Check the parts of a state, and change nothing.

    @param databases: the folder that they are in; another than the state, while a daemon uses it.
    @return: each part with what is wrong with it.
    @raise OSError: or L{StorageError}: a part cannot be read.
    """
    if (state / RESTORING).exists():
        yield RESTORING, ["a restore was interrupted"]
    key = state / SERVER_KEY
    whole = key.is_file() and KEY.fullmatch(key.read_bytes())
    yield SERVER_KEY, [] if whole else ["it is missing or damaged"]
    database = databases / DATABASE
    yield DATABASE, faults_of(database, MAX_FAULTS) if database.is_file() else ["it is missing"]
    # A copy, so that nothing is made beside it, and its owner may be another than we are.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [(state, CONTACT_KEY), *((databases, f"{CONTACT_PROFILE}{suffix}") for suffix in ("", "-wal", "-journal"))]
        for place, part in names:
            copy = folder / Path(part).name
            with contextlib.suppress(FileNotFoundError), open_without_links(place, part) as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target)
                copy.chmod(0o600)
        try:
            faults = [fault.text for fault in check_records(folder, open_vault(folder, None), step)[1]]
        except (VaultError, StorageError, OSError) as error:
            faults = [str(error)]
        yield CONTACT, [fault.replace(f"{folder}{os.sep}", "") for fault in faults]


def restore_backup(archive: IO[bytes], source: str, state: Path, when: str, step: Step = no_step) -> str | None:
    """
    Put the state of a backup in the place of the one in a folder, which no daemon may use. All of it is checked before.

    A kill while the files change places leaves a folder that the daemon refuses until the restore is repeated.

    @param source: what the backup is called, for errors.
    @param when: names the folder that what was there is moved to.
    @return: its name; C{None}: nothing was there.
    @raise SecuremsgError: C{state-in-use}.
    @raise BackupDamaged: it is not a whole backup; nothing has changed.
    @raise OSError: or L{StorageError}: the folder cannot be used.
    """
    if os.geteuid() != ROOT:
        check_owner(state)
    make_private_folder(state)
    with as_owner(state) as folder:
        lock = FileLock(folder / LOCK_FILE)
        if not lock.take():
            raise error_for("state-in-use", str(state))
        for left in folder.glob(f"{DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(dir=folder, prefix=DRAFT)).name
    try:
        try:
            with as_owner(state) as folder:
                read_backup(archive, folder / draft, step)
            # SQLite wants the whole path. Reading what that user has meanwhile put there would do no harm.
            for part, faults in check_state(state / draft, state / draft):
                if faults:
                    raise BackupDamaged(f"{part}: {faults[0]}")
        except BackupDamaged as error:
            text = f"{source} is not a whole backup of a server: {error}; nothing was restored, use another copy"
            raise BackupDamaged(text) from None
        with as_owner(state) as folder:
            return _put_in_place(folder / draft, folder, when)
    finally:
        try:
            with as_owner(state) as folder:
                shutil.rmtree(folder / draft, ignore_errors=True)
        finally:
            lock.free()


def _put_in_place(draft: Path, state: Path, when: str) -> str | None:
    """
    Move what is in the folder aside, and the draft's files into it. A folder of somebody else's, as C{lost+found}, stays.

    @return: the name of the folder that the former has gone to; C{None}: nothing was there.
    @raise OSError: something cannot be moved; if C{.restoring} is there, a part of it was.
    """
    stay = (LOCK_FILE, RESTORING, draft.name, SNAPSHOT)
    there = [path for path in state.iterdir() if path.name not in stay and not path.name.startswith(ASIDE)]
    foreign = [path for path in there if path.is_dir() and path.lstat().st_uid != os.geteuid()]
    for path in foreign:
        if (draft / path.name).exists():
            raise OSError(errno.EPERM, f"{path.name} belongs to another user; give it to the owner of the folder, by chown")
    there = [path for path in there if path not in foreign]
    write_private_file(state / RESTORING, b"")
    aside = None
    if there:
        aside = state / f"{ASIDE}{when}"
        for number in count(2):
            if not aside.exists():
                break
            aside = state / f"{ASIDE}{when}-{number}"
        aside.mkdir(0o700)
        for path in there:
            path.rename(aside / path.name)
        sync_folder(aside)
    shutil.rmtree(state / SNAPSHOT, ignore_errors=True)
    for path in list(draft.iterdir()):
        path.rename(state / path.name)
    _note_restore(state)
    sync_folder(state)
    (state / RESTORING).unlink()
    sync_folder(state)
    return None if aside is None else aside.name


def _note_restore(state: Path) -> None:
    """Note it in the audit log, which is that of the backup now, as the daemon does with all else."""
    record = {"time": iso(time.time()), "uid": os.getuid(), "action": "restore", "subject": "", "result": "done"}
    descriptor = os.open(state / AUDIT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab") as file:
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
