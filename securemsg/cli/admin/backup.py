"""C{securemsg admin}: backups of the server's state, checks of it, and how it is restored."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import click

from securemsg.account.errors import Exit, error_for
from securemsg.cli.admin.client import AdminClient
from securemsg.cli.admin.control import ask, confirm, operate
from securemsg.cli.admin.serverbackup import (
    DATABASE,
    LOCK_FILE,
    SERVER_KEY,
    SNAPSHOT,
    check_state,
    read_backup,
    restore_backup,
    small_files,
    write_backup,
)
from securemsg.cli.checks import Finding, failed
from securemsg.cli.commands.doctor import Report
from securemsg.cli.output import STDOUT, json_line, say, write_line, write_record
from securemsg.cli.progress import progress
from securemsg.cli.settings import NamedPath, json_option, settings_of, shared, state_option
from securemsg.client.escape import escape
from securemsg.interfaces import no_step
from securemsg.protocol import messages as m
from securemsg.storage.backupfile import DRAFT, begins_with
from securemsg.storage.errors import BackupDamaged
from securemsg.storage.files import ROOT, FileLock, as_owner, draft_private_file, drafts_of

# In place of FILE: standard output.
PIPE = Path("-")
MEBIBYTE = 1 << 20

RESTORED = (
    "What came after the backup is missing, and clients say so: messages as gaps. Who joined since must join again.",
    "Invites that were used since are good again: securemsg admin invites lists them.",
)


@click.command()
@click.argument("file", type=NamedPath(), metavar="FILE")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def backup(ctx: click.Context, file: Path, force: bool) -> int:
    """
    Write a backup of the running server to FILE, and check it; `-` is standard output.

    The daemon keeps running; its state folder needs room for a copy of its databases. Whoever has FILE can pose as the
    server: keep it private, or encrypt it.
    """
    settings = settings_of(ctx)
    state = settings.state_folder
    if file == PIPE and os.isatty(STDOUT):
        raise click.UsageError("a backup is not text; give FILE, or send standard output to a file or another program", ctx)
    if file != PIPE and state.resolve() in file.resolve().parents:
        text = "a backup cannot be kept in the folder that it is a backup of"
        raise click.UsageError(f"{text}; give a FILE elsewhere, best on another disk", ctx)
    if file != PIPE and os.path.lexists(file):
        if not force:
            raise error_for("backup-exists", str(file))
        if not file.is_file():
            raise click.UsageError(f"{file} is no regular file, and is not replaced; give another FILE, or - for a pipe", ctx)
    try:
        with _snapshot(ctx, state):
            left_out = small_files(state)[1]
            _check_parts(state, state / SNAPSHOT, quiet=True)
            with _target(file, force) as archive:
                with progress("MiB written", unit=MEBIBYTE) as step:
                    write_backup(state, archive, step)
                digests = {} if file == PIPE else _read_back(archive, file)
        if file != PIPE:
            # Those of processes that were killed.
            for draft in drafts_of(file):
                draft.unlink(missing_ok=True)
    except FileExistsError:
        raise error_for("backup-exists", str(file)) from None
    except OSError as error:
        raise error_for("backup-failed", text=f"cannot write the backup to {file}: {error.strerror}") from None
    for path in left_out:
        say(f"{escape(str(path))} was left out of the backup: it has more than 4 MiB, or there are more than 64 files")
    if file != PIPE:
        size = file.stat().st_size
        if settings.as_json:
            write_line(json_line({"backup": str(file.absolute()), "bytes": size, "files": digests}))
        else:
            say(f"backed up {state} to {escape(str(file))}: {size} bytes, checked, not encrypted")
    return Exit.DONE


@click.command()
@click.argument("file", type=NamedPath(), metavar="[FILE]", required=False)
@json_option("Print JSON, one object for each part.")
@state_option
@shared
@click.pass_context
def check(ctx: click.Context, file: Path | None) -> int:
    """
    Check a backup, or without FILE the state of the server, whether it runs or not: databases, keys, digests.

    Nothing is changed. Each part is a line; the status is 9 if one is damaged. A backup is unpacked into $TMPDIR for it.
    """
    state = settings_of(ctx).state_folder
    if file is not None:
        with _read(file) as archive, _unpacked(archive, file) as folder:
            return _check_parts(folder, folder)
    try:
        is_there = (state / DATABASE).is_file()
    except PermissionError:
        raise error_for("no-permission", str(state)) from None
    if not is_there:
        raise error_for("no-daemon", str(state), text=f"there is no state of a server in {state}", hint="name another --state")
    lock = FileLock(state / LOCK_FILE)
    # Without a daemon there may be no lock to take, and none is left behind.
    if not (state / LOCK_FILE).exists() or lock.take():
        try:
            return _check_parts(state, state)
        finally:
            lock.free()
    with _snapshot(ctx, state):
        return _check_parts(state, state / SNAPSHOT)


@click.command()
@click.argument("file", type=NamedPath(), metavar="FILE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def restore(ctx: click.Context, file: Path, yes: bool) -> int:
    """
    Replace the server's state with the backup FILE, while no daemon runs.

    The backup is checked first; the old state is moved aside, not deleted. What came after the backup is missing then, and
    clients say so.
    """
    settings = settings_of(ctx)
    state = settings.state_folder
    if not yes and (state / SERVER_KEY).exists():
        confirm(f"Put the backup {file} in the place of what is in {state}?")
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        with _read(file) as archive, progress("MiB restored", unit=MEBIBYTE) as step:
            aside = restore_backup(archive, str(file), state, when, step)
    except OSError as error:
        hint = "check disk and permissions, then try again"
        raise error_for("restore-failed", text=f"cannot restore {file} into {state}: {error.strerror}", hint=hint) from None
    owner = state.stat().st_uid
    where = None if aside is None else str(state.absolute() / aside)
    write_record(
        {"state": str(state.absolute()), "before": where, "uid": owner}, settings.as_json, f"{file} was restored into {state}"
    )
    if not settings.as_json:
        if where is not None:
            say(f"What was there is in {where}; remove it once you do not need it.")
        for sentence in RESTORED:
            say(sentence)
        if owner == ROOT:
            say(f"The files belong to root. A daemon that runs as another user needs them: chown -R USER: {state}")
            say("A systemd unit with DynamicUser= takes them over by itself.")
    return Exit.DONE


def _read_back(archive: IO[bytes], file: Path) -> dict[str, str]:
    """
    Read what was just written, before it gets its name.

    @return: the digest of each part.
    @raise BackupDamaged: it is something else.
    """
    archive.flush()
    archive.seek(0)
    try:
        with progress("MiB checked", unit=MEBIBYTE) as step:
            return read_backup(archive, step=step)
    except BackupDamaged as error:
        raise BackupDamaged(f"{file} was not written as it should be: {error}; look at the disk") from None


@contextmanager
def _snapshot(ctx: click.Context, state: Path) -> Iterator[None]:
    """
    Have the daemon copy its databases; the copies are removed when the block ends.

    @raise SecuremsgError: it does not; C{state-in-use}: another command does the same.
    """
    try:
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        raise error_for("no-permission", str(state)) from None
    except OSError:
        raise error_for("no-daemon", str(state)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise error_for("state-in-use", str(state)) from None
    try:

        async def work(operator: AdminClient) -> None:
            if sys.stderr.isatty():
                say("The daemon copies its databases ...")
            await ask(operator, m.TakeSnapshot(0), m.Done)

        operate(ctx, work, is_limited=False)
        yield
    finally:
        with as_owner(state) as folder:
            shutil.rmtree(folder / SNAPSHOT, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def _unpacked(archive: IO[bytes], file: Path) -> Iterator[Path]:
    """
    The files of a backup in a folder, as long as the block lasts.

    @raise BackupDamaged: it is not whole.
    """
    with tempfile.TemporaryDirectory(prefix=DRAFT) as name, progress("MiB unpacked", unit=MEBIBYTE) as step:
        folder = Path(name)
        try:
            read_backup(archive, folder, step)
        except BackupDamaged as error:
            raise BackupDamaged(f"{file} is not a whole backup of a server: {error}; use another copy") from None
        yield folder


def _check_parts(state: Path, databases: Path, quiet: bool = False) -> int:
    """Check the parts of a state, and print a line for each; if C{quiet}, for those that are damaged."""
    report = Report(settings_of(click.get_current_context()).as_json)
    for part, faults in check_state(state, databases, no_step):
        for fault in faults:
            report.add(failed(part, error_for("state-damaged", part, text=fault)))
        if not faults and not quiet:
            report.add(Finding(part, "whole"))
    if quiet and report.status:
        raise error_for("state-damaged", str(state))
    return report.status


def _read(file: Path) -> AbstractContextManager[IO[bytes]]:
    """
    The backup.

    @raise SecuremsgError: it cannot be read, or is something else.
    """
    try:
        archive = file.open("rb")
    except OSError as error:
        raise error_for("backup-unreadable", text=f"cannot read the backup {file}: {error.strerror}") from None
    if not begins_with(archive, SERVER_KEY):
        archive.close()
        raise error_for("backup-damaged", text=f"{file} is not a backup of a server", hint="give another FILE")
    return archive


def _target(file: Path, force: bool) -> AbstractContextManager[IO[bytes]]:
    """Where the backup goes."""
    return open(STDOUT, "wb", closefd=False) if file == PIPE else draft_private_file(file, replace=force)
