"""
The daemon's configuration file: INI, whose keys are the long options of the command line without their hyphens.

The command line wins. Errors name the line of the file.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

SECTION = "securemsg"
# Bytes; a file with every option and its comments is a twentieth of that.
MAX_SIZE = 64 * 1024
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


class ConfigError(Exception):
    """A configuration file cannot be used; the text says in one line why, and where."""


@frozen
class Setting:
    """What the file says of an option, and in which line."""

    value: str
    line: int


def read_config(path: Path) -> dict[str, Setting]:
    """
    The options in a file.

    @raise ConfigError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{path} is larger than {MAX_SIZE // 1024} KiB")
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"), default_section="")
    try:
        text = data.decode("utf-8-sig")
        parser.read_string(text)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(f"{path}:{error.lineno}: options go below a line [{SECTION}]") from None
    except configparser.ParsingError as error:
        raise ConfigError(f"{path}:{error.errors[0][0]}: neither an option, such as port = 8443, nor a comment") from None
    except configparser.DuplicateOptionError as error:
        raise ConfigError(f"{path}:{error.lineno}: {error.option} is set twice") from None
    except configparser.DuplicateSectionError as error:
        raise ConfigError(f"{path}:{error.lineno}: [{error.section}] appears twice") from None
    for number, row in enumerate(text.split("\n"), 1):
        if row.startswith("[") and not row.rstrip().endswith("]"):
            raise ConfigError(f"{path}:{number}: nothing may stand behind the name of a section")
    for section in parser.sections():
        if section != SECTION:
            line = _line(text, re.escape(f"[{section}]"))
            raise ConfigError(f"{path}:{line}: unknown section [{section}]; the only one is [{SECTION}]")
    found = parser[SECTION] if parser.has_section(SECTION) else {}
    for key, value in found.items():
        if "\n" in value:
            line = _line(text, rf"{re.escape(key)}\s*=")
            raise ConfigError(f"{path}:{line}: {key} goes on in the next line, which begins with a space; write it in one line")
    return {key: Setting(value, _line(text, rf"{re.escape(key)}\s*=")) for key, value in found.items()}


def arguments(
    path: Path, settings: Mapping[str, Setting], flags: Sequence[str], options: Mapping[str, str | None]
) -> list[str]:
    """
    The same as arguments of a command line.

    @param flags: options that take no value; in the file they are C{yes} or C{no}. C{options}: those that take one, with
        their defaults; one without a default may be empty, and is not set then.
    @raise ConfigError: there is no such option, or its value is neither.
    """
    made = []
    for name, setting in settings.items():
        if name in flags:
            if setting.value.lower() not in (*_YES, *_NO):
                raise ConfigError(f"{path}:{setting.line}: {name} is yes or no, not {setting.value!r}")
            made += [f"--{name}"] if setting.value.lower() in _YES else []
        elif name in options:
            made += [f"--{name}={setting.value}"] if setting.value or options[name] is not None else []
        else:
            raise ConfigError(f"{path}:{setting.line}: there is no option {name}; see: man securemsg.conf")
    return made


def _line(text: str, pattern: str) -> int:
    """The number of the first line that begins like this."""
    lines = enumerate(text.split("\n"), 1)
    return next((number for number, line in lines if re.match(rf"\s*{pattern}", line, re.IGNORECASE)), 0)
