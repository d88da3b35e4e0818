"""
Where passphrases come from: an option, the environment, a credential of systemd's, or the terminal.

One source counts, the first of these that is there. Nothing here ends up in a message or a log.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

import click

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.cli.output import columns_of, say
from securemsg.cli.settings import Settings
from securemsg.cli.wrapping import fill
from securemsg.storage.files import FileExposed, check_private

# A longer file is probably not a passphrase file.
MAX_PASSPHRASE = 4096
# What a unit of systemd's calls the credential: LoadCredential=securemsg.passphrase:FILE
CREDENTIAL = "securemsg.passphrase"
# How often two entries that differ are asked for again.
ATTEMPTS = 3
_STDERR = 2


def given_passphrase(settings: Settings) -> bytes | None:
    """
    The passphrase of the profile from the first source that is there; C{None}: there is none but the terminal.

    @raise SecuremsgError: the source cannot be used.
    """
    chosen = chosen_passphrase(settings.passphrase_file, settings.passphrase_fd, "--passphrase")
    if chosen is not None:
        return chosen
    if settings.default_passphrase_file is not None:
        return read_passphrase(settings.default_passphrase_file)
    credential = _credential()
    # systemd keeps others out with the folder, and may let us in with an access list, which a file's mode shows as a group.
    return None if credential is None else read_passphrase(credential, exposed=True)


def chosen_passphrase(path: Path | None, descriptor: int | None, option: str) -> bytes | None:
    """
    The passphrase from a file or a descriptor; C{None}: neither is named.

    @param option: what their two options begin with.
    @raise SecuremsgError: it cannot be read, or is none.
    """
    if path is not None and descriptor is not None:
        raise click.UsageError(f"give {option}-file or {option}-fd, not both", click.get_current_context(silent=True))
    if path is not None:
        return read_passphrase(path)
    return None if descriptor is None else _read_descriptor(descriptor, option)


def read_passphrase(path: Path, *, exposed: bool = False) -> bytes:
    """
    The passphrase in a file, without one line end.

    @param exposed: whether others may seem able to read it.
    @raise SecuremsgError: the file cannot be read, others may read it, it belongs to another user, or it holds none.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(MAX_PASSPHRASE + 1)
    except OSError as error:
        raise SecuremsgError(
            Exit.USAGE, "passphrase-file", f"cannot read the passphrase file {path}: {error.strerror}"
        ) from None
    if stat.S_ISREG(found.st_mode) and not exposed:
        try:
            check_private(path, found)
        except FileExposed as error:
            raise SecuremsgError(
                Exit.PROFILE, "passphrase-exposed", f"the passphrase file {error.text}", error.hint
            ) from None
    return _checked(content, f"the passphrase file {path}")


def can_ask() -> bool:
    """Whether there is a terminal at which a passphrase can be asked for. Standard input may be a pipe with a message."""
    if sys.stdin.isatty():
        return True
    if not sys.stderr.isatty():
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask_passphrase(what: str) -> bytes:
    """
    Ask at the terminal for a passphrase that protects something already.

    @raise SecuremsgError: the terminal has ended.
    """
    return _enter(f"Passphrase for {what}:", error_for("passphrase-needed"))


def ask_new_passphrase(what: str) -> bytes:
    """
    Ask twice for a passphrase that is to be set.

    @return: it may be empty.
    @raise SecuremsgError: two entries differ, again and again, or the terminal has ended.
    """
    ended = error_for("new-passphrase-needed", text="no passphrase was entered", hint="nothing was changed; run it again")
    for _ in range(ATTEMPTS):
        passphrase = _enter(f"New passphrase for {what}:", ended)
        if not passphrase or _enter("The same again:", ended) == passphrase:
            return passphrase
        say("These two differ; enter both again.")
    raise error_for("passphrases-differ")


def _enter(prompt: str, ended: SecuremsgError) -> bytes:
    """
    Show a prompt, on standard error or the terminal itself, and take what is typed.

    @raise SecuremsgError: C{ended}: the terminal has ended.
    """
    shown = fill(prompt, columns_of(sys.stderr) - 1) + " "
    try:
        return getpass.getpass(shown, stream=sys.stderr).encode("utf-8", "surrogateescape")
    except EOFError:
        raise ended from None


def _credential() -> Path | None:
    """The credential that a unit of systemd's has, if it has one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and os.path.lexists(path) else None


def _read_descriptor(descriptor: int, option: str) -> bytes:
    """
    The passphrase that an open descriptor gives until its end. It is closed then, so that no other program inherits it.

    @raise SecuremsgError: it cannot be read, or gives none.
    """
    try:
        with open(descriptor, "rb", buffering=0, closefd=descriptor > _STDERR) as file:
            content = b""
            while len(content) <= MAX_PASSPHRASE and (more := file.read(MAX_PASSPHRASE + 1 - len(content))):
                content += more
    except OSError as error:
        raise SecuremsgError(
            Exit.USAGE, "passphrase-file", f"cannot read descriptor {descriptor} ({option}-fd): {error.strerror}"
        ) from None
    return _checked(content, f"descriptor {descriptor} ({option}-fd)")


def _checked(content: bytes, where: str) -> bytes:
    """
    A passphrase without one line end.

    @raise SecuremsgError: it is none.
    """
    passphrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(passphrase) > MAX_PASSPHRASE:
        raise SecuremsgError(Exit.USAGE, "passphrase-file", f"{where} is empty or longer than {MAX_PASSPHRASE} bytes")
    return passphrase
