"""C{securemsg profile}: the folder of keys and messages as a thing that is backed up, restored and checked."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import IO

import click

from securemsg.account.backup import check_vacant, restore_backup, write_backup
from securemsg.account.check import MAX_FAULTS, check_permissions, check_records, fault_of
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.folder import check_whole
from securemsg.cli.helptext import Group
from securemsg.cli.output import STDOUT, json_line, say, write_line, write_record
from securemsg.cli.passphrases import ask_new_passphrase, ask_passphrase, can_ask, chosen_passphrase, given_passphrase
from securemsg.cli.profiles import open_vault
from securemsg.cli.progress import progress
from securemsg.cli.settings import DESCRIPTOR, NamedPath, json_option, settings_of, shared
from securemsg.client.escape import escape
from securemsg.client.state.vault import KEY_FILE, VaultDamaged, VaultExposed
from securemsg.protocol.hosts import host_port
from securemsg.storage.backupfile import begins_with
from securemsg.storage.files import draft_private_file
from securemsg.storage.profile import open_profile

# In place of FILE: standard output, or standard input.
PIPE = Path("-")
MEBIBYTE = 1 << 20

RESTORED = (
    "What came after the backup is missing here, or comes again.",
    "Stop the original if it still runs: two copies of a profile must not both be in use.",
    "Contacts see no new safety number.",
)


@click.group(cls=Group)
@json_option("Print JSON, one object per line.")
@shared
def profile() -> None:
    """
    The folder of your keys and messages: where it is, whether it is whole, and backups of it.

    A backup is one file, sealed with a passphrase of its own, and can be made while other commands use the profile.
    """


@profile.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def path(ctx: click.Context) -> int:
    """Print the folder of the profile, whether there is one or not."""
    settings = settings_of(ctx)
    folder = str(settings.folder.absolute())
    write_record({"profile": folder}, settings.as_json, folder, verbatim=True)
    return Exit.DONE


@profile.command()
@json_option("Print JSON, one object for each fault, then one for the profile.")
@shared
@click.pass_context
def check(ctx: click.Context) -> int:
    """
    Check that the profile is whole: permissions, key, database, and that every record opens. It changes nothing.

    What is wrong is printed with what can be done about it; the status is 9 then.
    """
    settings = settings_of(ctx)
    folder = settings.folder.absolute()
    faults, number = check_permissions(folder), 0
    try:
        key = open_vault(settings)
    except VaultExposed:
        pass  # as was found above; what is in it is checked once that is put right
    except VaultDamaged as error:
        faults.append(fault_of(error))
    else:
        with progress("records checked") as step:
            number, found = check_records(folder, key, step)
        faults += found
    shown = faults[:MAX_FAULTS]
    for fault in shown:
        record: dict[str, object] = {"fault": fault.text, "hint": fault.hint, "damage": fault.is_damage}
        write_line(json_line(record) if settings.as_json else f"{escape(fault.text)}; {escape(fault.hint)}")
    if settings.as_json:
        write_line(json_line({"profile": str(folder), "whole": not faults, "records": number, "faults": len(faults)}))
    elif not faults:
        say(f"The profile in {folder} is whole: {number} records.")
    if not faults:
        return Exit.DONE
    if any(fault.is_damage for fault in faults):
        raise error_for("profile-damaged")
    raise error_for("profile-exposed")


@profile.command()
@click.argument("file", type=NamedPath(), metavar="FILE")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--backup-passphrase-file", "sealed_by", type=NamedPath(), metavar="FILE", help="File with its passphrase.")
@click.option("--backup-passphrase-fd", "sealed_fd", type=DESCRIPTOR, metavar="N", help="Open descriptor that gives it.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def backup(ctx: click.Context, file: Path, force: bool, sealed_by: Path | None, sealed_fd: int | None) -> int:
    """
    Write a backup of the profile to FILE, sealed with a passphrase; `-` is standard output.

    Other commands may use the profile meanwhile. Whoever has FILE and its passphrase can read everything in it and write as
    you. Without the passphrase nobody can, nor can it be restored.
    """
    settings = settings_of(ctx)
    if file == PIPE and os.isatty(STDOUT):
        raise click.UsageError("a backup is not text; give FILE, or send standard output to a file or another program", ctx)
    if file != PIPE and file.resolve().parent == settings.folder.resolve():
        text = "a backup cannot be kept in the folder that it is a backup of"
        raise click.UsageError(f"{text}; give a FILE elsewhere, best on another disk", ctx)
    if file != PIPE and not force and os.path.lexists(file):
        raise error_for("backup-exists", str(file))
    check_whole(settings.folder)
    key = open_vault(settings)
    store = open_profile(settings.folder, key)
    try:
        sealed = key.key_file(chosen_passphrase(sealed_by, sealed_fd, "--backup-passphrase") or _new_passphrase(file))
        with progress("MiB copied", unit=MEBIBYTE) as step, _target(file, force) as archive:
            write_backup(store, settings.folder, sealed, archive, step)
    except FileExistsError:
        raise error_for("backup-exists", str(file)) from None
    except OSError as error:
        raise error_for("backup-failed", text=f"cannot write the backup to {file}: {error.strerror}") from None
    finally:
        store.close()
    if file != PIPE:
        record: dict[str, object] = {"backup": str(file.absolute()), "size": file.stat().st_size}
        if settings.as_json:
            write_line(json_line(record))
        else:
            say(f"{escape(str(file))} is a backup of {settings.folder.absolute()}, sealed with its own passphrase.")
    return Exit.DONE


@profile.command()
@click.argument("file", type=NamedPath(), metavar="FILE")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def restore(ctx: click.Context, file: Path) -> int:
    """
    Restore the profile from the backup FILE into a folder that has none; `-` is standard input.

    The passphrase is that of the backup, and the restored profile keeps it. What came after the backup is missing, or comes
    again. Stop the original first: two copies of a profile must not both be in use. Contacts see no new safety number.
    """
    settings = settings_of(ctx)
    folder = settings.folder.absolute()
    check_vacant(folder)
    try:
        with _source(file) as archive:
            if not begins_with(archive, KEY_FILE):
                raise error_for("backup-damaged", text=f"{file} is not a backup of a profile", hint="give another FILE")
            passphrase = given_passphrase(settings)
            if passphrase is None:
                if not can_ask():
                    raise error_for("passphrase-needed", text=f"{file} is sealed with a passphrase")
                passphrase = ask_passphrase(str(file))
            with progress("MiB restored", unit=MEBIBYTE) as step:
                restored = restore_backup(archive, str(file), folder, passphrase, step)
    except OSError as error:
        raise error_for("restore-failed", text=f"cannot restore {file} into {folder}: {error.strerror}") from None
    where = host_port(restored.host, restored.port)
    record: dict[str, object] = {"name": restored.name, "server": where, "profile": str(folder)}
    write_record(record, settings.as_json, f"{restored.name} at {where} was restored into {escape(str(folder))}")
    if not settings.as_json:
        for sentence in RESTORED:
            say(sentence)
    return Exit.DONE


def _target(file: Path, force: bool) -> AbstractContextManager[IO[bytes]]:
    """Where the backup goes."""
    return open(STDOUT, "wb", closefd=False) if file == PIPE else draft_private_file(file, replace=force)


def _source(file: Path) -> BufferedReader:
    """
    The backup.

    @raise SecuremsgError: it cannot be read.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False) if file == PIPE else file.open("rb")
    except OSError as error:
        raise SecuremsgError(
            Exit.USAGE, "backup-unreadable", f"cannot read the backup {file}: {error.strerror}", "give another FILE"
        ) from None


def _new_passphrase(file: Path) -> bytes:
    """
    Ask for the passphrase of a backup.

    @raise SecuremsgError: there is nobody to ask, or none is entered.
    """
    if not can_ask():
        raise error_for("new-passphrase-needed", "--backup-passphrase-file FILE")
    passphrase = ask_new_passphrase(f"the backup {file}")
    if not passphrase:
        raise error_for("new-passphrase-needed", text="a backup needs a passphrase", hint="nothing was written; run it again")
    return passphrase
