"""
The configuration file: defaults for options, by the names that they have on the command line.

Keys at the top are for all commands, a table such as C{[chat]} or C{[admin.invite]} is for one. What is given on the command
line or in the environment comes first. Values pass the checks of their options; click takes them from its C{default_map}.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import platformdirs
from attrs import define, field

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.settings import APPLICATION, NamedPath
from securemsg.cli.times import Duration

CONFIG_FILE = "config.toml"
ENVIRONMENT = "SECUREMSG_CONFIG"
# Nobody writes a longer one by hand.
MAX_SIZE = 65536
# Permissions of others with which they could choose our server or our profile.
WRITABLE_BY_OTHERS = 0o022
ROOT = 0
# What decides how a single call is used, and no default for all of them.
NOT_HERE = frozenset({"json", "debug", "help", "version", "config"})
# In click's store of a call: the configuration.
KEY = "securemsg.config"


@define
class Config:
    """
    A configuration file that was read.

    @ivar tables: the tables of commands, unchecked: a command is imported only when it is called.
    """

    path: Path
    tables: dict[str, dict[str, Any]] = field(factory=dict)

    def problem(self, key: str, text: str, hint: str = "") -> SecuremsgError:
        """The error for a key."""
        return SecuremsgError(Exit.USAGE, "config", f"{self.path}: {key}: {text}", hint)

    def checked(self, command: click.Command, values: dict[str, Any], place: str = "") -> dict[str, Any]:
        """
        The defaults of a command and of its own commands, by the names of click's parameters.

        @param place: what stands before each key in errors.
        @raise SecuremsgError: a key is unknown, or a value is not one of its option.
        """
        given = {name.removeprefix("--"): each for each in command.params for name in each.opts if name[:2] == "--"}
        options = {name: each for name, each in given.items() if name not in NOT_HERE}
        inner = command.commands if isinstance(command, click.Group) else {}
        found: dict[str, Any] = {}
        for key, value in values.items():
            if key in inner and isinstance(value, dict):
                found[key] = self.checked(inner[key], value, f"{place}{key}.")
            elif key in options:
                option = options[key]
                assert option.name is not None, "options have names"
                found[option.name] = self._value(option, value, f"{place}{key}")
            elif key in given:
                raise self.problem(f"{place}{key}", "cannot be set here", f"give --{key} on the command line")
            else:
                raise self.unknown(f"{place}{key}", [*options, *inner])
        return found

    def unknown(self, key: str, known: Sequence[str]) -> SecuremsgError:
        """The error for a key that nothing has."""
        from difflib import get_close_matches

        place, _, name = key.rpartition(".")
        near = get_close_matches(name, known)
        help_of = " ".join([APPLICATION, *place.split(".")]).rstrip()
        return self.problem(key, "unknown key", f"did you mean {near[0]}?" if near else f"see: {help_of} --help")

    def _value(self, option: click.Parameter, value: object, key: str) -> object:
        """
        A value as its option takes it: a path is relative to the folder of the file, and may begin with C{~}.

        @raise SecuremsgError: the option does not take it.
        """
        kinds, wanted = _kinds(option)
        if type(value) not in kinds:
            raise self.problem(key, f"{value!r} is not {wanted}")
        if isinstance(option.type, NamedPath) and isinstance(value, str) and value:
            value = str(self.path.absolute().parent / Path(value).expanduser())
        try:
            option.type_cast_value(click.Context(click.Command(None)), value)
        except click.UsageError as error:
            raise self.problem(key, error.message.rstrip(".")) from None
        except SecuremsgError as error:
            raise self.problem(key, error.text, error.hint) from None
        return value


def _kinds(option: click.Parameter) -> tuple[tuple[type, ...], str]:
    """The types of TOML that an option takes, also in words."""
    if isinstance(option, click.Option) and option.is_flag:
        return (bool,), "true or false"
    kind = option.type
    if isinstance(kind, click.IntRange) or (isinstance(kind, click.Choice) and isinstance(kind.choices[0], int)):
        return (int,), "a number"
    return ((int, str), "a text or a number") if isinstance(kind, Duration) else ((str,), "a text")


def read_config(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    """
    Read the file that is named, or the usual one if there is one, and take its defaults for this call.

    @raise SecuremsgError: C{config}: it cannot be read or used.
    """
    named = value or os.environ.get(ENVIRONMENT)
    try:
        path = Path(named) if named else platformdirs.user_config_path(APPLICATION) / CONFIG_FILE
    except (KeyError, RuntimeError):
        # This user has no home, and so no file there.
        return
    config = Config(path)
    try:
        content = _read(config)
    except FileNotFoundError:
        if named:
            raise SecuremsgError(Exit.USAGE, "config", f"there is no configuration file {path}") from None
        return
    except OSError as error:
        raise SecuremsgError(Exit.USAGE, "config", f"cannot read {path}: {error.strerror}") from None
    values = _parse(config, content)
    assert isinstance(ctx.command, click.Group), "the program"
    names = ctx.command.list_commands(ctx)
    config.tables = {key: table for key, table in values.items() if key in names and isinstance(table, dict)}
    ctx.meta[KEY] = config
    ctx.default_map = config.checked(ctx.command, {key: each for key, each in values.items() if key not in config.tables})


def config_of(ctx: click.Context) -> Config | None:
    """The file that was read for this call."""
    config = ctx.meta.get(KEY)
    assert config is None or isinstance(config, Config), "nobody else uses this key"
    return config


def use_table(ctx: click.Context, name: str, command: click.Command) -> None:
    """
    Take the defaults of the command that is called.

    @raise SecuremsgError: C{config}.
    """
    config = config_of(ctx)
    if config is not None and name in config.tables:
        ctx.default_map = {**(ctx.default_map or {}), name: config.checked(command, config.tables[name], f"{name}.")}


def _read(config: Config) -> bytes:
    """
    The content of the file.

    @raise OSError: it cannot be read.
    @raise SecuremsgError: others can change it, or it is too long.
    """
    with config.path.open("rb") as file:
        found = os.fstat(file.fileno())
        content = file.read(MAX_SIZE + 1)
    problem = ""
    if stat.S_ISREG(found.st_mode):
        if found.st_uid not in (ROOT, os.geteuid()):
            problem = f"it belongs to another user (uid {found.st_uid})"
        elif found.st_mode & WRITABLE_BY_OTHERS:
            problem = f"others can write to it (mode {found.st_mode & 0o777:o})"
    if problem:
        hint = f"restrict it to yourself: chmod 600 {config.path}"
        raise SecuremsgError(Exit.USAGE, "config", f"{config.path}: {problem}", hint)
    if len(content) > MAX_SIZE:
        raise SecuremsgError(Exit.USAGE, "config", f"{config.path} is longer than {MAX_SIZE} bytes")
    return content


def _parse(config: Config, content: bytes) -> dict[str, Any]:
    """
    The values in the file.

    @raise SecuremsgError: it is not TOML; the text says in which line.
    """
    # Most people have no such file.
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        text = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"it is not TOML: {error}"
        raise SecuremsgError(Exit.USAGE, "config", f"{config.path}: {text}") from None
