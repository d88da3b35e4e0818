"""C{securemsg passphrase}: another passphrase for the store key, also while other processes use the profile."""

from __future__ import annotations

from pathlib import Path

import click

from securemsg.account.errors import Exit, error_for
from securemsg.account.folder import check_whole
from securemsg.cli.output import say, write_record
from securemsg.cli.passphrases import ask_new_passphrase, can_ask, chosen_passphrase
from securemsg.cli.profiles import PROTECTIONS, open_vault
from securemsg.cli.settings import DESCRIPTOR, NamedPath, Settings, json_option, settings_of, shared
from securemsg.client.escape import escape
from securemsg.client.state import vault

COPIES = {
    vault.KEY_IN_FILE: "Copies of the folder that were made before still open without a passphrase, backups with their own.",
    vault.PASSPHRASE: "Copies of the folder that were made before still open with the old passphrase, backups with their own.",
}


@click.command()
@click.option("--remove", is_flag=True, help="Remove the passphrase; file permissions alone protect the keys then.")
@click.option("--new-passphrase-file", "new_file", type=NamedPath(), metavar="FILE", help="File with the new passphrase.")
@click.option("--new-passphrase-fd", "new_fd", type=DESCRIPTOR, metavar="N", help="Open descriptor that gives it.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def passphrase(ctx: click.Context, remove: bool, new_file: Path | None, new_fd: int | None) -> int:
    """
    Set, change or remove the passphrase that protects your keys and messages on this machine.

    It is asked for at the terminal, the present one first. The profile may be in use meanwhile: its keys stay the same.
    """
    settings = settings_of(ctx)
    if remove and (new_file, new_fd) != (None, None):
        raise click.UsageError("give --remove or a new passphrase, not both", ctx)
    folder = settings.folder
    check_whole(folder)
    key = open_vault(settings)  # before a new one is asked for
    before = key.kind
    new = None if remove else chosen_passphrase(new_file, new_fd, "--new-passphrase") or _ask(settings)
    vault.change_passphrase(folder, key, new)
    protection = PROTECTIONS[key.kind]
    write_record(
        {"profile": str(folder.absolute()), "keys_protected": protection},
        settings.as_json,
        f"the keys in {escape(str(folder.absolute()))} are protected {protection}",
    )
    if not settings.as_json and (before, key.kind) != (vault.KEY_IN_FILE, vault.KEY_IN_FILE):
        say(COPIES[before])
    return Exit.DONE


def _ask(settings: Settings) -> bytes:
    """
    Ask for the new passphrase.

    @raise SecuremsgError: there is nobody to ask, or none is entered.
    """
    if not can_ask():
        raise error_for("new-passphrase-needed", "--new-passphrase-file FILE")
    new = ask_new_passphrase(str(settings.folder))
    if not new:
        hint = "nothing was changed; to go on without one, give --remove"
        raise error_for("new-passphrase-needed", text="no passphrase was entered", hint=hint)
    return new
