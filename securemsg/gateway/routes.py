"""The file of routes: which webhook goes to whom, with which token, and in which words."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from attrs import field, frozen

from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.names import full_name
from securemsg.account.rooms import is_room
from securemsg.errors import Refusal
from securemsg.gateway.formats import FORMATS, TextTemplate
from securemsg.interfaces import IProfileStore
from securemsg.protocol.devices import LOBBY_NAME, check_name
from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileExposed, check_private, read_private_file

# Of the file, and of each that it names: nobody writes a longer one by hand.
MAX_SIZE = 65536
# A shorter token could be guessed.
MIN_TOKEN = 16
# Permissions of others with which they could choose who gets the messages.
WRITABLE_BY_OTHERS = 0o022
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", re.ASCII)
# What can stand in a header.
_TOKEN = re.compile(rf"[!-~]{{{MIN_TOKEN},}}", re.ASCII)
_NO_TOKEN = (
    f"give a token of {MIN_TOKEN} or more characters of ASCII without spaces, in token-file; make one: openssl rand -hex 32"
)

Table = dict[str, Any]


@frozen
class Route:
    """
    A path that webhooks are posted to.

    @ivar to: accounts and rooms.
    @ivar format: a key of L{FORMATS}.
    @ivar token: whoever posts must have it.
    """

    name: str
    to: tuple[str, ...]
    format: str
    token: bytes = field(repr=False)
    template: TextTemplate = field(repr=False)


def read_routes(path: Path, store: IProfileStore, own: str) -> tuple[list[Route], list[SecuremsgError]]:
    """
    Read the file.

    @param store: knows rooms and aliases.
    @param own: the name of the account that sends.
    @return: the routes, and what is wrong: with each key of each route, if it is. Then none of them must be used.
    """
    routes: list[Route] = []
    faults: list[SecuremsgError] = []
    reader = _RouteReader(path.parent, store, own)
    read = {"to": reader.to, "format": reader.format, "token": reader.token, "template": reader.template}
    known = (*read, "token-file", "template-file")
    try:
        tables = _tables(path)
    except (OSError, ValueError, StorageError) as error:
        return [], [_fault(str(path), error)]
    for name, table in tables.items():
        found: Table = {}
        place = f"{path}: routes.{name}"
        for key, value_of in read.items():
            try:
                found[key] = value_of(table)
            except (OSError, ValueError, StorageError, SecuremsgError) as error:
                faults.append(_fault(f"{place}.{key}", error))
        wrong = ValueError(f"unknown key; there are {', '.join(known)}")
        faults += [_fault(f"{place}.{key}", wrong) for key in table if key not in known]
        if not _NAME.fullmatch(name):
            faults.append(_fault(place, ValueError("a name has 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'")))
        elif len(found) == len(read):
            routes.append(Route(name, **found))
    return routes, faults


def _tables(path: Path) -> dict[str, Table]:
    """
    The tables of the routes.

    @raise OSError, ValueError, StorageError: the file cannot be used.
    """
    content = _read(path, private=False)
    found = path.stat()
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise FileExposed("others can write to it", f"restrict it to yourself: chmod go-w {path}")
    try:
        whole = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not TOML: {error}") from None
    tables = whole.pop("routes", None)
    if whole or not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError("it must have tables such as [routes.alerts], and nothing else")
    if any("token" in table for table in tables.values()):
        check_private(path, found)
    return tables


def _read(path: Path, *, private: bool) -> str:
    """
    The text in a file.

    @param private: nobody else may read it.
    @raise OSError, ValueError, StorageError: it cannot be used.
    """
    content = read_private_file(path, MAX_SIZE + 1, exposed=not private)
    if len(content) > MAX_SIZE:
        raise ValueError(f"{path} is longer than {MAX_SIZE} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None


def _fault(place: str, error: Exception) -> SecuremsgError:
    """The error for what is wrong there."""
    text, hint = str(error), ""
    if isinstance(error, FileExposed | SecuremsgError):
        text, hint = error.text, error.hint
    elif isinstance(error, OSError):
        text = f"cannot read {error.filename}: {error.strerror}"
    return SecuremsgError(Exit.USAGE, "routes", f"{place}: {text}", hint)


@frozen
class _RouteReader:
    """Reads the parts of a route from its table; each raises what is wrong."""

    _folder: Path
    _store: IProfileStore
    _own: str

    def to(self, table: Table) -> tuple[str, ...]:
        """Who gets the messages."""
        names = table.get("to")
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError("give a name such as 'bob' or '#team', or a list of names")
        return tuple(dict.fromkeys(self._recipient(name) for name in names))

    def format(self, table: Table) -> str:
        """What whoever posts sends."""
        name = table.get("format")
        if not isinstance(name, str) or name not in FORMATS:
            raise ValueError(f"give one of {', '.join(FORMATS)}")
        return name

    def token(self, table: Table) -> bytes:
        """What whoever posts must have."""
        token = (self._text(table, "token", private=True) or "").strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError(_NO_TOKEN)
        return token.encode("ascii")

    def template(self, table: Table) -> TextTemplate:
        """Its own template, or that of its format."""
        text = self._text(table, "template")
        if text is None:
            # Where there is no such format, that is a fault of its own.
            text = next((each.template for name, each in FORMATS.items() if name == table.get("format")), "")
        return TextTemplate.of(text)

    def _text(self, table: Table, key: str, *, private: bool = False) -> str | None:
        """A text that stands in the table, or in the file that C{KEY-file} names."""
        given = {name: table[name] for name in (key, f"{key}-file") if name in table}
        if len(given) > 1 or not all(isinstance(value, str) for value in given.values()):
            raise ValueError(f"give a text as {key}, or the name of a file as {key}-file")
        file = given.get(f"{key}-file")
        return given.get(key) if file is None else _read(self._folder / file, private=private)

    def _recipient(self, name: str) -> str:
        """The account or the room of this name or alias."""
        if name == LOBBY_NAME:
            raise ValueError("the server's operator can read what is said in the lobby; name accounts or rooms")
        full = full_name(self._store, name)
        if full == self._own:
            raise error_for("own-name", full)
        try:
            if not is_room(full):
                check_name(full)
        except Refusal as refusal:
            raise explain(refusal, repr(name)) from None
        return full
