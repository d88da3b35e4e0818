"""C{securemsg keygen}, and the key files that other commands are given."""

from __future__ import annotations

from pathlib import Path

import click

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.output import put, put_record, say
from securemsg.cli.settings import NamedPath, Settings, json_option, shared
from securemsg.client.escape import escape
from securemsg.crypto.keyfile import SharedKey
from securemsg.storage.keyfiles import KeyFileError, KeyFileExposed, make_key_file, read_key_file


@click.command()
@click.argument("path", type=NamedPath(), metavar="[FILE]", required=False)
@click.option("--hex", "as_hex", is_flag=True, help="Print the key in hex, too; without FILE nothing is written.")
@json_option("Print a JSON object.")
@shared
def keygen(path: Path | None, as_hex: bool, as_json: bool) -> int:
    """
    Make a key file: 32 random bytes in FILE, which you alone can read. An existing FILE is left as it is.

    Who holds a copy can write as you and read what is encrypted with it, so pass it on as you would a password: for a daemon
    (--key-file there, and on send and chat here), or for two people (--suite psk), but one file for one purpose.
    """
    if path is None and not as_hex:
        raise click.UsageError("name the FILE to be made, or say --hex to have a key printed")
    key = SharedKey.generate()
    if path is not None:
        try:
            make_key_file(path, key.secret)
        except KeyFileError as error:
            raise key_file_error(error) from None
    try:
        if as_json:
            record: dict[str, object] = {"file": None if path is None else str(path), "key": key.name}
            put_record({**record, "hex": key.secret.hex()} if as_hex else record, True, "")
            return Exit.DONE
        if as_hex:
            put(key.secret.hex())
    except SecuremsgError as problem:
        made = f"{path} was made all the same, and holds {key.name}" if path is not None else "no file was made; run it again"
        raise SecuremsgError(problem.status, problem.code, problem.text, made) from None
    say(f"{escape(str(path))} holds {key.name}; you alone can read it" if path is not None else f"{key.name}; no file was made")
    return Exit.DONE


def check_loose(settings: Settings) -> None:
    """
    See that C{--loose} has something to be said of.

    @raise SecuremsgError: it has not.
    """
    if settings.loose and settings.key_file is None:
        raise SecuremsgError(Exit.USAGE, "usage", "--loose says something of a key file", "name one with --key-file FILE")


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
