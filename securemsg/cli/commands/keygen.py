"""C{securemsg keygen}, and the key files of other commands."""

from __future__ import annotations

from pathlib import Path

import click

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.output import say, write_line, write_record
from securemsg.cli.settings import NamedPath, Settings, json_option, settings_of, shared
from securemsg.client.escape import escape
from securemsg.crypto.keyfile import SharedKey
from securemsg.storage.keyfiles import KeyFileError, KeyFileExposed, make_key_file, read_key_file


@click.command()
@click.argument("path", type=NamedPath(), metavar="[FILE]", required=False)
@click.option("--hex", "as_hex", is_flag=True, help="Print the key in hex as well; without FILE no file is written.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def keygen(ctx: click.Context, path: Path | None, as_hex: bool) -> int:
    """
    Create a key file: 32 random bytes in FILE, readable by you only. An existing FILE is never overwritten.

    Anyone who has a copy can write as you and read what is encrypted with it, so share it like a password: with a daemon
    (--key-file there, and with send and chat here) or with one person (--suite psk). Use one file for one purpose.
    """
    if path is None and not as_hex:
        raise click.UsageError("give a FILE to create, or --hex to print a key")
    key = SharedKey.generate()
    if path is not None:
        try:
            make_key_file(path, key.secret)
        except KeyFileError as error:
            raise key_file_error(error) from None
    try:
        if settings_of(ctx).as_json:
            record: dict[str, object] = {"file": None if path is None else str(path), "key": key.name}
            write_record({**record, "hex": key.secret.hex()} if as_hex else record, True, "")
            return Exit.DONE
        if as_hex:
            write_line(key.secret.hex())
    except SecuremsgError as problem:
        made = f"{path} was created anyway and contains {key.name}" if path is not None else "no file was created; run it again"
        raise SecuremsgError(problem.status, problem.code, problem.text, made) from None
    created = f"{escape(str(path))} contains {key.name}; only you can read it"
    say(created if path is not None else f"{key.name}; no file was created")
    return Exit.DONE


def check_loose(settings: Settings) -> None:
    """
    Check that C{--loose} comes with a key file.

    @raise SecuremsgError: it does not.
    """
    if settings.loose and settings.key_file is None:
        raise SecuremsgError(Exit.USAGE, "usage", "--loose needs a key file", "give one with --key-file FILE")


def load_key(path: Path, loose: bool) -> SharedKey:
    """
    The key in a file.

    @raise SecuremsgError: it cannot be used.
    """
    try:
        return SharedKey(read_key_file(path, loose))
    except KeyFileError as error:
        raise key_file_error(error) from None


def key_file_error(error: KeyFileError) -> SecuremsgError:
    """What is wrong with a key file; it says itself what to do."""
    if isinstance(error, KeyFileExposed):
        return SecuremsgError(Exit.PROFILE, "key-file-exposed", str(error))
    return SecuremsgError(Exit.USAGE, "key-file", str(error))
