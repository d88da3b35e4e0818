"""Options that every command shares, before or after its name, and the folders they default to."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, TypeVar

import click
import platformdirs
from attrs import define, field
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from securemsg.account.errors import error_for
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.cli.times import Duration
from securemsg.errors import Refusal
from securemsg.protocol.devices import NAME_PATTERN, ROOM_MARK, RSA_BITS, check_name
from securemsg.protocol.envelope import CIPHERS, PQXDH, PSK, RSA
from securemsg.protocol.hosts import parse_host
from securemsg.protocol.invite import TRANSPORTS

APPLICATION = "securemsg"
# Where the installed service has its state.
SERVICE_STATE = Path("/var/lib/securemsg")
# How long to wait for an answer while no bytes move, where the command says nothing else, seconds.
DEFAULT_TIMEOUT = 30
LONGEST_TIMEOUT = 366 * 86400

# What has a variable of the environment, which comes before the configuration file.
_BEHIND_ENVIRONMENT = frozenset({"profile", "passphrase_file", "state"})

F = TypeVar("F", bound=Callable[..., Any])


def _in_home(path: Callable[[str], Path], option: str) -> Path:
    """
    A folder of ours in the user's home.

    @raise SecuremsgError: C{no-home}: there is none, as for a user id without an account.
    """
    try:
        return path(APPLICATION)
    except (KeyError, RuntimeError):
        raise error_for("no-home", option) from None


@define
class Settings:
    """
    The values of the shared options; C{None} if not given.

    @ivar transport: C{tcp}, C{udp} or C{auto}.
    @ivar require_pq: refuse a connection whose key exchange is not post-quantum.
    @ivar timeout: seconds.
    @ivar retry: keep trying while the server is unreachable, full or shutting down, until C{timeout}.
    @ivar as_json: data and whatever goes to standard error are for a program.
    @ivar suite: that the conversation is to have from now on; C{None}: the one it has.
    @ivar key_file: for suite C{psk}, or, where no suite is named, in place of a profile.
    @ivar loose: use the key file even if others can read it.
    @ivar cipher: for suite C{rsa}.
    @ivar rsa_bits: of the RSA key of this device, if one is made.
    @ivar state: the state folder of the daemon on this machine.
    @ivar given: the names of those on the command line.
    @ivar configured: folders and files that the configuration file names: the environment comes before them.
    """

    profile: Path | None = None
    host: str | None = None
    port: int | None = None
    transport: str | None = None
    require_pq: bool = False
    timeout: int | None = None
    retry: bool = False
    passphrase_file: Path | None = None
    passphrase_fd: int | None = None
    debug: bool = False
    as_json: bool = False
    suite: str | None = None
    key_file: Path | None = None
    loose: bool = False
    cipher: str | None = None
    rsa_bits: int | None = None
    state: Path | None = None
    given: set[str] = field(factory=set)
    configured: dict[str, Path] = field(factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the profile: C{--profile}, C{$SECUREMSG_PROFILE}, the configured, or the default on this system."""
        if self.profile is not None:
            return self.profile
        named = os.environ.get("SECUREMSG_PROFILE") or self.configured.get("profile")
        return Path(named) if named else _in_home(platformdirs.user_data_path, "--profile") / "profile"

    @property
    def default_passphrase_file(self) -> Path | None:
        """The file that holds the passphrase, as the environment or the configuration names it."""
        named = os.environ.get("SECUREMSG_PASSPHRASE_FILE") or self.configured.get("passphrase_file")
        return Path(named) if named else None

    @property
    def state_folder(self) -> Path:
        """The state folder of the daemon: as given, else for root that of the service, else where the daemon itself has it."""
        if self.state is not None:
            return self.state
        named = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or self.configured.get("state")
        if named:
            return Path(named)
        if os.geteuid() == 0 and SERVICE_STATE.is_dir():
            return SERVICE_STATE
        return _in_home(platformdirs.user_state_path, "--state")

    @property
    def time_limit(self) -> Timeout:
        """How long to wait for an answer. What the user named is a hard limit."""
        if self.timeout is None and not self.retry:
            return IdleTimeout(DEFAULT_TIMEOUT)
        return self.timeout


def shared(command: F) -> F:
    """Add the shared options to a command; what stands after the command's name wins."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(ctx: click.Context) -> Settings:
    """The options as they stand for this call."""
    return ctx.ensure_object(Settings)


def _remember(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Note an option, whether it was given before or after the command, or in the configuration file."""
    if value is None or value is False or parameter.name is None:
        return
    settings = settings_of(ctx)
    if ctx.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT_MAP:
        settings.given.add(parameter.name)
        setattr(settings, parameter.name, value)
    elif parameter.name in _BEHIND_ENVIRONMENT:
        assert isinstance(value, Path), "folders and files"
        settings.configured[parameter.name] = value
    elif parameter.name not in settings.given:
        setattr(settings, parameter.name, value)


def json_option(help_text: str) -> Callable[[F], F]:
    """C{--json}, with what it prints there; before the command it counts as well."""
    return _option("--json", "as_json", is_flag=True, help=help_text)


def wire_option(command: F) -> F:
    """C{--show-wire}, for commands through which messages go."""
    help_text = "Show on standard error what the server sees of each message: sizes, the suite, encrypted bytes."
    return click.option("--show-wire", is_flag=True, help=help_text)(command)


def _option(*names: str, **details: Any) -> Callable[[F], F]:
    return click.option(*names, **{"expose_value": False, "callback": _remember, **details})


class NamedPath(click.ParamType[Path]):
    """Takes a path. An empty one, as from an unset variable, would mean the current folder, and is refused."""

    def __init__(self, what: str = "file") -> None:
        self.name = what

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Accept every name but an empty one."""
        if value == "":
            raise click.UsageError(f"{_label(param)} is empty; give a {self.name}", ctx)
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The shell knows the files."""
        return [CompletionItem(incomplete, type="dir" if self.name == "folder" else "file")]


class Host(click.ParamType[str]):
    """Takes the name or the address of a machine; an IPv6 address may be in brackets."""

    name = "host"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it, or fail with a sentence."""
        try:
            return parse_host(value)
        except ValueError:
            self.fail(f"{value!r} is not a host name or address; a port goes into --port", param, ctx)


def _label(param: click.Parameter | None) -> str:
    """What the user knows an option or an argument by."""
    return "FILE" if param is None or isinstance(param, click.Argument) else param.opts[0]


_FILE = NamedPath()
DESCRIPTOR = click.IntRange(0, 65535)
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _option("--profile", type=NamedPath("folder"), metavar="DIR", help="Folder of keys and messages.  [$SECUREMSG_PROFILE]"),
    _option("--host", type=Host(), metavar="HOST", help="Host to connect to, instead of the one in the invite."),
    _option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port to connect to, likewise."),
    _option(
        "--transport",
        type=click.Choice(TRANSPORTS),
        help="How to connect; `join` keeps the choice; auto, the default, tries both.",
    ),
    _option("--require-pq", is_flag=True, help="Refuse a connection whose key exchange is not post-quantum."),
    _option("--timeout", type=Duration(0, LONGEST_TIMEOUT), metavar="S", help="How long to wait, such as 5, 90s or 2m."),
    _option(
        "--retry",
        is_flag=True,
        help="Keep trying while the server is unreachable, full or shutting down, until --timeout (forever without one).",
    ),
    _option("--passphrase-file", type=_FILE, metavar="FILE", help="File with the passphrase.  [$SECUREMSG_PASSPHRASE_FILE]"),
    _option("--passphrase-fd", type=DESCRIPTOR, metavar="N", help="Open descriptor that gives the passphrase."),
    _option("--debug", is_flag=True, help="Show tracebacks and the log, for bug reports."),
)


state_option = _option(
    "--state",
    type=NamedPath("folder"),
    metavar="DIR",
    help="State folder of the daemon; for root that of the service.  [$STATE_DIRECTORY]",
)


def suite_options(key_file_help: str, *suite_names: str) -> Callable[[F], F]:
    """
    C{--suite} (or another name for it), C{--key-file}, C{--loose} and C{--cipher}, for commands that choose how a conversation
    is encrypted.
    """
    options: tuple[Callable[[Any], Any], ...] = (
        _option(
            *suite_names,
            "suite",
            type=click.Choice([PQXDH, PSK, RSA]),
            help="How the conversation with NAME is encrypted from now on.",
        ),
        _option("--key-file", type=_FILE, metavar="FILE", help=key_file_help),
        _option("--loose", is_flag=True, help="Use the key file even if others can read it."),
        _option("--cipher", type=click.Choice(list(CIPHERS)), help="For suite rsa: AES-256 (the default) or AES-128."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


rsa_bits_option = _option(
    "--rsa-bits",
    type=click.Choice(RSA_BITS),
    help="Size of the RSA key that is made.  [default: 2048]",
)


class AccountName(click.ParamType[str]):
    """An argument that takes the name of an account."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Check a name.

        @raise SecuremsgError: it is invalid.
        """
        try:
            check_name(value)
        except Refusal as refusal:
            raise error_for(refusal.code, repr(value)) from None
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of contacts."""
        return _known(ctx, incomplete, people=True)


class ConversationName(AccountName):
    """An argument that takes the name of an account, or of a room."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Check a name.

        @raise SecuremsgError: it is invalid.
        """
        return ROOM.convert(value, param, ctx) if value.startswith(ROOM_MARK) else super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of contacts and rooms."""
        return _known(ctx, incomplete, people=True, rooms=True)


class RoomName(click.ParamType[str]):
    """An argument that takes what a room is called, or the first digits of its id; with or without the mark."""

    name = "room"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Check a name, and give it with the mark.

        @raise SecuremsgError: it is invalid.
        """
        if not NAME_PATTERN.fullmatch(value.removeprefix(ROOM_MARK)):
            raise error_for("illegal-name", repr(value), text="invalid room name: {name}")
        return ROOM_MARK + value.removeprefix(ROOM_MARK)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of rooms, without the mark, which shells take for a comment, unless it was typed."""
        mark = incomplete[:1] if incomplete.startswith(ROOM_MARK) else ""
        found = _known(ctx, ROOM_MARK + incomplete.removeprefix(ROOM_MARK), rooms=True)
        return [CompletionItem(mark + item.value.removeprefix(ROOM_MARK)) for item in found]


def _known(ctx: click.Context, prefix: str, *, people: bool = False, rooms: bool = False) -> list[CompletionItem]:
    """Names that the profile knows."""
    # Only a shell that completes needs it.
    from securemsg.cli.knownnames import known_names

    return [CompletionItem(name) for name in known_names(settings_of(ctx).folder, prefix, people=people, rooms=rooms)]


NAME = AccountName()
ROOM = RoomName()
PEER = ConversationName()


def name_or_action(actions: Container[str]) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, str]]:
    """
    Reads the arguments of a command that lists something and has actions on one row: nothing, a name, or two words.

    @param actions: the first words of two.
    @return: a callback; it gives the action, or an empty text, and its argument or the name, or an empty text.
    """

    def read(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, str]:
        match words:
            case (action, argument) if action in actions:
                return action, argument
            case (name,):
                return "", NAME.convert(name, parameter, ctx)
            case ():
                return "", ""
        raise click.UsageError(f"give {parameter.metavar}", ctx)

    return read
