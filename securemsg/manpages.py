"""
Manual pages, made from the commands: C{python -m securemsg.manpages FOLDER} writes C{man1/securemsg.1}, one page for each
command, and C{man5/securemsg.conf.5}. They say what C{--help} says. Source of the format: C{man(7)}, C{groff_man_style(7)}.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import click

from securemsg import __version__
from securemsg.account.errors import MEANINGS
from securemsg.cli.commands.help import commands_below
from securemsg.cli.main import ENVIRONMENT, FILES, PROGRAM, group
from securemsg.daemon.configfile import SECTION
from securemsg.daemon.options import PARAMETERS, Options

Rows = Iterable[tuple[str, str]]
CONFIG_FILE = "/etc/securemsg/securemsg.conf"
CHAPTERS = {1: "User Commands", 5: "File Formats"}
# Characters that troff takes for others, or for its own.
_ESCAPES = str.maketrans({"\\": r"\(rs", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga", '"': r"\(dq"})
_CODE = re.compile(r"`([^`]+)`")
# What stands before lines that are not to be filled, for click.
_AS_IT_IS = "\b\n"


def pages() -> dict[str, str]:
    """All pages, by the names of their files."""
    root = click.Context(group, info_name=PROGRAM)
    found = {f"{PROGRAM}.1": program_page(root)}
    for path, command in commands_below(root):
        context = root
        for name in path[:-1]:
            assert isinstance(context.command, click.Group), "its commands are listed"
            inner = context.command.get_command(context, name)
            assert inner is not None, "likewise"
            context = click.Context(inner, context, name)
        page = serve_page() if path == ("serve",) else command_page(click.Context(command, context, path[-1]))
        found["-".join((PROGRAM, *path)) + ".1"] = page
    return {**found, f"{PROGRAM}.conf.5": config_page()}


def program_page(root: click.Context) -> str:
    """The page of the program."""
    listed = [(" ".join((PROGRAM, *path)), command.get_short_help_str(limit=400)) for path, command in commands_below(root)]
    return _page(
        PROGRAM,
        _first_line(group),
        ("SYNOPSIS", _synopsis(root)),
        ("DESCRIPTION", _paragraphs(group.help or "")),
        ("COMMANDS", _rows(listed)),
        ("OPTIONS", _rows(_options(root, frozenset()))),
        ("EXIT STATUS", _rows((str(status.value), text) for status, text in MEANINGS.items())),
        ("ENVIRONMENT", _rows(ENVIRONMENT.items())),
        ("FILES", _rows(FILES.items())),
    )


def command_page(context: click.Context) -> str:
    """The page of a command."""
    command = context.command
    inner = command.commands if isinstance(command, click.Group) else {}
    name = context.command_path
    listed = [(f"{name} {word}", each.get_short_help_str(limit=400)) for word, each in inner.items()]
    return _page(
        name.replace(" ", "-"),
        _first_line(command),
        ("SYNOPSIS", _synopsis(context)),
        ("DESCRIPTION", _paragraphs(command.help or "")),
        ("COMMANDS", _rows(listed)),
        ("OPTIONS", _rows(_options(context, shared_options())) + f".PP\nThe others are in \\fB{PROGRAM}\\fP(1).\n"),
        ("EXIT STATUS", f"See \\fB{PROGRAM}\\fP(1).\n"),
    )


def serve_page() -> str:
    """The page of C{serve}, whose options are the daemon's."""
    rows: list[tuple[str, str]] = []
    for option, short, default, text in _parameters():
        rows.append((f"{_spelled(option, short)} VALUE", f"{text} [default: {default}]" if default else str(text)))
    for option, short, text in cast(list[list[Any]], Options.optFlags):
        rows.append((_spelled(option, short), str(text)))
    name, summary = f"{PROGRAM} serve", "run the daemon in the foreground"
    return _page(
        name.replace(" ", "-"),
        summary,
        ("SYNOPSIS", f".B {name}\n[OPTIONS]\n"),
        ("DESCRIPTION", "Short for \\fBtwistd \\-n securemsg\\fP with the same options: the same process.\n"),
        ("OPTIONS", _rows(sorted(rows))),
    )


def config_page() -> str:
    """The page of the daemon's configuration file."""
    rows = [(f"{name} = {default or ''}".rstrip(), str(text)) for name, _, default, text in _parameters() if name in PARAMETERS]
    rows += [(f"{name} = no", str(text)) for name, _, text in cast(list[list[Any]], Options.optFlags)]
    about = (
        f"An INI file: options go below a line [{SECTION}], one a line, as `name = value`. A comment has a line of its own,"
        " and begins with # or ;. Options without a value are `yes` or `no`. The options are those of the command line, which"
        " wins. A mistake is an error that names the line.\n\n"
        f"After a change, restart the service: `systemctl restart {PROGRAM}`. A reload takes a changed `cert` and `key` only."
        " The service has `port` on its command line, because systemd listens for it."
    )
    return _page(
        f"{PROGRAM}.conf",
        "options of the daemon",
        ("SYNOPSIS", f".I {CONFIG_FILE}\n.br\n.B {PROGRAM} serve \\-\\-config\nFILE\n"),
        ("DESCRIPTION", _paragraphs(about)),
        ("OPTIONS", "With their defaults; where nothing follows, the option is not set.\n" + _rows(sorted(rows))),
        ("FILES", _rows([(CONFIG_FILE, "the file of the installed service")])),
        ("SEE ALSO", f"\\fB{PROGRAM}\\-serve\\fP(1), \\fB{PROGRAM}\\-admin\\fP(1)\n"),
        chapter=5,
    )


def write_pages(folder: Path) -> list[Path]:
    """Write all pages into the folders of their sections below this one."""
    written = []
    for name, text in pages().items():
        path = folder / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def shared_options() -> frozenset[str]:
    """The options that stand in the page of the program alone."""
    return frozenset(option for parameter in group.params for option in parameter.opts)


def _parameters() -> list[list[Any]]:
    """The daemon's options that take a value: name, letter, default and help."""
    return cast(list[list[Any]], Options.optParameters)


def _page(name: str, summary: str, *sections: tuple[str, str], chapter: Literal[1, 5] = 1) -> str:
    """A page of these sections; empty ones are left out."""
    head = f'.TH {_escaped(name.upper())} {chapter} "" "{PROGRAM} {__version__}" "{CHAPTERS[chapter]}"\n'
    head += f".SH NAME\n{_escaped(name)} \\- {_escaped(summary)}\n"
    return head + "".join(f".SH {title}\n{text}" for title, text in sections if text)


def _synopsis(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f".B {_escaped(context.command_path)}\n{_escaped(pieces)}\n"


def _first_line(command: click.Command) -> str:
    """The first sentence of the help, as the list of all pages has it."""
    text = command.get_short_help_str(limit=400).rstrip(".")
    return text[:1].lower() + text[1:]


def _paragraphs(text: str) -> str:
    """The paragraphs of a help text; what click leaves unfilled stays so."""
    parts = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(_AS_IT_IS):
            parts.append(f".nf\n{_lines(paragraph.removeprefix(_AS_IT_IS).splitlines())}.fi\n")
        else:
            parts.append(_lines([" ".join(paragraph.split())]))
    return ".PP\n".join(parts)


def _options(context: click.Context, left_out: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The options of a command with their help, but for those that are described elsewhere."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not left_out.intersection(parameter.opts) and "--help" not in parameter.opts:
            yield record


def _spelled(name: object, short: object) -> str:
    """An option of the daemon as it is typed."""
    return (f"-{short}, " if short else "") + f"--{name}"


def _rows(rows: Rows) -> str:
    """A list of terms and what they mean."""
    return "".join(f".TP\n\\fB{_escaped(term)}\\fP\n{_lines([' '.join(text.split())])}" for term, text in rows)


def _lines(lines: Iterable[str]) -> str:
    """Lines of text, in which a command is bold; none of them is taken for a request."""
    return "".join(f"\\&{_marked(line)}\n" if line[:1] in (".", "'") else f"{_marked(line)}\n" for line in lines)


def _marked(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(f"\\fB{_escaped(part)}\\fP" if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    """Text for troff, in ASCII: it reads no other encoding unless it is told to."""
    return "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in text.translate(_ESCAPES))


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
