"""The daemon's command line."""

from __future__ import annotations

import getopt
import ipaddress
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from attrs import frozen
from twisted.python import usage

from securemsg import __version__
from securemsg.daemon.configfile import ConfigError, arguments, read_config
from securemsg.daemon.limits import LIMITS
from securemsg.daemon.twistd import PidFileTaken, clear_pid_file, ignore_signals
from securemsg.net.listener import PortUnavailable, address_of
from securemsg.protocol.hosts import MAX_PORT, parse_host_port
from securemsg.protocol.messages import MAX_OPEN_INVITES, MAX_USES
from securemsg.responders.choice import BadAnswer, check_form

MAX_DESCRIPTOR = 1023
# Each takes about 40 kB of memory, and at most two open files.
MAX_CLIENTS = 100_000
# Of one file of the record, in bytes.
MIN_RECORD = 4 << 10
MAX_RECORD = 4 << 30
DEFAULT_RECORD = "16M"
# Of one mailbox, in bytes: room for some of the largest messages.
MIN_MAILBOX = 1 << 20
MAX_MAILBOX = 1 << 40
DEFAULT_MAILBOX = "256M"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
REGISTRATIONS = ("invite", "open", "closed")
LOG_FORMATS = ("auto", "json", "text")
YES_NO = ("yes", "no")
TLS = ("epoll", "stock")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to be recognised, not to be bound


@frozen
class Setup:
    """
    The checked options, as far as they can be checked without looking at this machine.

    @ivar host: IP address to listen on; C{descriptor}: of a socket that listens there already; 0: none.
    @ivar advertise: host and port that invites name.
    @ivar udp_port: UDP port to listen on; 0: none.
    @ivar udp_descriptor: of a socket to listen on instead; 0: none.
    @ivar state: folder, or C{None} for the usual one.
    @ivar certificate: PEM files of an issued pair, or C{None}.
    @ivar users_invite: whether users may invite; C{user_invite_uses}: how many people with one invite; C{user_open_invites}:
        how many open ones each may have; C{user_invite_depth}: how many users in a row may invite each other; 0: any
        number.
    @ivar connections_per_address: and what follows, down to C{max_mailbox_size}: see L{securemsg.daemon.limits}.
    @ivar log_format: of the log; C{auto}: JSON where systemd's journal reads it, else text.
    @ivar log_peers: whether the log says who writes to whom.
    @ivar key_file: admits guests; C{None}: no guests. C{loose}: others may read it.
    @ivar record: where messages to the contact C{server} are written, and how many bytes one such file has at most.
    @ivar prints: whether they are printed as well.
    @ivar lobby: whether the contact C{server} relays what is said in the lobby.
    @ivar tls: what carries connections over TCP.
    @ivar metrics: the UNIX socket, address and port, or descriptor, where the daemon says how it is; C{None}: nowhere.
    """

    host: str
    port: int
    advertise: tuple[str, int]
    state: Path | None
    registration: Literal["invite", "open", "closed"]
    max_clients: int
    certificate: Path | None
    key: Path | None
    answer: str
    users_invite: bool = True
    user_invite_uses: int = 16
    user_open_invites: int = MAX_OPEN_INVITES
    user_invite_depth: int = 0
    connections_per_address: int | None = None
    connections_per_minute: int = 1000
    failed_logins_per_hour: int = 1000
    registrations_per_hour: int = 500
    logins_per_minute: int = 300
    deposits_per_day: int = 345_600
    claims_per_day: int = 1
    max_mailbox_messages: int = 100_000
    max_mailbox_size: int = 256 << 20
    log_format: Literal["auto", "json", "text"] = "auto"
    log_peers: bool = False
    key_file: Path | None = None
    loose: bool = False
    record: Path | None = None
    record_size: int = 16 << 20
    prints: bool = False
    udp_port: int = 0
    udp_descriptor: int = 0
    lobby: bool = False
    tls: Literal["epoll", "stock"] = "epoll"
    descriptor: int = 0
    metrics: Path | tuple[str, int] | int | None = None


class Options(usage.Options):
    """
    The options of C{twistd securemsg}.

    @ivar setup: the same, checked; there after parsing.
    """

    synopsis = "[options]"
    longdesc = (
        "A private message service: end-to-end encrypted, and nothing is lost. The first start writes an invite to"
        " STATE/first-invite; give it to `securemsg join`. `securemsg serve` is short for `twistd -n securemsg`:"
        " for twistd's own options, such as --logfile, run twistd."
    )
    optParameters = [
        ["config", None, None, "INI file with options; those on the command line win."],
        ["port", "p", "8443", "TCP port to listen on; fd:3 is the first socket passed by systemd."],
        ["udp-port", None, None, "UDP port to listen on as well, for QUIC; fd:3 is the first socket passed by systemd."],
        ["host", None, "127.0.0.1", "IP address to listen on; 0.0.0.0 or :: for all, which needs --advertise."],
        [
            "advertise",
            None,
            None,
            "HOST[:PORT] in invites; default: --host and --port, or this machine's name if systemd listens on all addresses.",
        ],
        ["state", None, None, "Folder of the daemon's state; default: $STATE_DIRECTORY, else one in your home."],
        ["registration", None, "invite", "invite: with any invite; open: anybody; closed: only with an operator's invite."],
        ["user-invites", None, "yes", "Whether users may invite others: yes or no."],
        ["user-invite-uses", None, "16", "How many people one invite of a user may admit."],
        ["user-open-invites", None, str(MAX_OPEN_INVITES), "How many open invites a user may have."],
        ["user-invite-depth", None, "0", "How many users in a row may invite; with 1 only whom you invited; 0: any number."],
        ["log-format", None, "auto", "auto (json where systemd's journal reads it, else text), json or text."],
        ["max-clients", None, "1000", "Devices and guests that may be logged in at once."],
        *([limit.name, None, limit.default, limit.help] for limit in LIMITS),
        ["max-mailbox-size", None, DEFAULT_MAILBOX, "Bytes that may wait for one device, with K, M, G or T."],
        ["cert", None, None, "PEM file of an issued certificate with its chain; default: a self-signed one."],
        ["key", None, None, "PEM file of the private key for --cert."],
        ["tls", None, "epoll", "What carries connections: epoll, or stock for Twisted's own TLS, which is slower."],
        [
            "answer",
            None,
            "ack",
            "What the contact `server` answers: ack, echo, none, exec:COMMAND (without a shell) or python:module.function.",
        ],
        ["key-file", None, None, "Holders of FILE may write to `server` without an account; made if it is missing."],
        ["record", None, None, "Append a line of JSON to FILE for each message to `server`."],
        [
            "metrics",
            None,
            None,
            "Serve metrics, health and a status page over HTTP at unix:PATH, tcp:PORT, which is on 127.0.0.1 unless"
            " :interface=ADDRESS follows, or fd:4, the second socket passed by systemd.",
        ],
        ["record-size", None, None, "Start a new FILE at this size, with K, M or G; default: 16M; nine older ones are kept."],
    ]
    optFlags = [
        ["lobby", None, "Everybody with an account may talk in '#lobby', which you can read."],
        ["log-peers", None, "Log who writes to whom, which is otherwise never written down."],
        ["loose", None, "Take a --key-file that other users may read."],
        ["print", None, "Print each message to `server` on standard output; needs twistd's -n."],
    ]

    setup: Setup
    given: Sequence[str] = ()

    def __init__(self, folder: Path | None = None) -> None:
        """
        @param folder: that relative paths start from; default: the current one.
        """
        super().__init__()
        try:
            self.folder = Path.cwd() if folder is None else folder
        except FileNotFoundError:
            # It was removed; whoever names a relative path is told that it is not there.
            self.folder = Path()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the options. A mistake is one line on standard error and status 2: C{twistd} would print its help, and succeed.

        @raise SystemExit: it was a mistake.
        """
        self.given = list(sys.argv[1:] if options is None else options)
        try:
            self.parse(self.given)
        except usage.UsageError as error:
            sys.stderr.write(f"securemsg: {error}\n")
            raise SystemExit(2) from None

    def parse(self, given: Sequence[str]) -> None:
        """
        Parse the options, and before them those in the file that they name.

        @raise usage.UsageError: one line that says what is wrong, and where.
        """
        options = self._options_in(given)
        path = self._path("config", options.get("config"))
        try:
            settings = {} if path is None else read_config(path)
            before = [] if path is None else arguments(path, settings, FLAGS, PARAMETERS)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        try:
            super().parseOptions([*before, *given])
        except usage.UsageError as error:
            text = " ".join(str(error).split())
            ours = {name: each for name, each in settings.items() if name not in options}
            where = next((f"{path}:{each.line}: " for name, each in ours.items() if f"--{name} " in f"{text} "), "")
            raise usage.UsageError(f"{where}{text}; see: securemsg serve --help") from None

    def _options_in(self, given: Sequence[str]) -> dict[str, str]:
        """The options of a command line by their full names, as far as it can be read; the last of each counts."""
        try:
            found, _ = getopt.getopt(list(given), self.shortOpt, self.longOpt)
        except getopt.GetoptError:
            return {}
        return {self.synonyms.get(name.lstrip("-"), name.lstrip("-")): value for name, value in found}

    def _path(self, option: str, text: str | None) -> Path | None:
        """
        An absolute path, because C{twistd} changes its current folder when it leaves the terminal.

        @raise usage.UsageError: it names the home of nobody, or holds a zero byte.
        """
        if text is None:
            return None
        try:
            path = self.folder / Path(text).expanduser()
        except RuntimeError:
            raise usage.UsageError(f"--{option} is in the home of a user who is not there: {text}") from None
        if "\0" in text:
            raise usage.UsageError(f"--{option} has a zero byte, which no path may have: {text!r}")
        return path

    def _metrics(self, text: str | None) -> Path | tuple[str, int] | int | None:
        """
        A UNIX socket, or an address and a port, in the words of Twisted's endpoints; or the descriptor of a socket.

        @raise usage.UsageError: it is none of these.
        """
        if text is None:
            return None
        if text.startswith("unix:") and text != "unix:":
            return self._path("metrics", text[5:])
        if text.startswith("fd:"):
            descriptor = _number("the descriptor of --metrics", text[3:], 3, MAX_DESCRIPTOR)
            _passed("--metrics", descriptor)
            return descriptor
        match = re.fullmatch(r"tcp:([0-9]{1,9})(?::interface=([0-9.]+))?", text)
        if match is None:
            wanted = "unix:PATH, tcp:PORT, tcp:PORT:interface=ADDRESS (IPv4) or fd:NUMBER"
            raise usage.UsageError(f"--metrics is {wanted}, not {text!r}")
        try:
            interface = str(ipaddress.IPv4Address(match[2] or "127.0.0.1"))
        except ValueError:
            raise usage.UsageError(f"the interface of --metrics is an IPv4 address of this machine, not {match[2]!r}") from None
        return interface, _number("the port of --metrics", match[1], 1, MAX_PORT)

    def opt_version(self) -> None:
        """Show the version of securemsg, and exit."""
        sys.stdout.write(f"securemsg {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Check what was given; twistd's pid file, which it looks at before it asks for the service, is settled here.

        @raise usage.UsageError: one line that says what is wrong.
        @raise SystemExit: the pid file cannot be used.
        """
        if self.parent is not None:
            ignore_signals()
            try:
                clear_pid_file(self.parent)
            except PidFileTaken as error:
                sys.stderr.write(f"securemsg: {error}\n")
                raise SystemExit(1) from None
        host, port, descriptor = _listening(self["host"], self["port"])
        advertise = self["advertise"]
        if advertise is None and host in WILDCARDS:
            if not descriptor:
                raise usage.UsageError(
                    f"--host {host} listens on all addresses; give the one for invites with --advertise HOST[:PORT]"
                )
            advertise = os.uname().nodename
        if (self["cert"] is None) is not (self["key"] is None):
            raise usage.UsageError("--cert and --key go together: give both, or neither")
        if self["registration"] not in REGISTRATIONS:
            raise usage.UsageError(f"--registration is one of {', '.join(REGISTRATIONS)}, not {self['registration']!r}")
        if self["user-invites"] not in YES_NO:
            raise usage.UsageError(f"--user-invites is yes or no, not {self['user-invites']!r}")
        if self["log-format"] not in LOG_FORMATS:
            raise usage.UsageError(f"--log-format is one of {', '.join(LOG_FORMATS)}, not {self['log-format']!r}")
        try:
            check_form(self["answer"])
        except BadAnswer as error:
            raise usage.UsageError(str(error)) from None
        if self["tls"] not in TLS:
            raise usage.UsageError(f"--tls is one of {', '.join(TLS)}, not {self['tls']!r}")
        for name, what in (("state", "folder"), ("key-file", "file"), ("record", "file")):
            if self[name] == "":
                raise usage.UsageError(f"--{name} is empty; name a {what}")
        if self["loose"] and self["key-file"] is None:
            raise usage.UsageError("--loose needs a key file; give one with --key-file FILE")
        if self["record-size"] is not None and self["record"] is None:
            raise usage.UsageError("--record-size needs a record; give one with --record FILE")
        udp_port, udp_descriptor = _udp_port(self["udp-port"])
        record_size = DEFAULT_RECORD if self["record-size"] is None else self["record-size"]
        self.setup = Setup(
            host=host,
            port=port,
            advertise=_advertised(advertise, host, port),
            udp_port=udp_port,
            udp_descriptor=udp_descriptor,
            state=self._path("state", self["state"]),
            registration=cast(Literal["invite", "open", "closed"], self["registration"]),
            max_clients=_number("--max-clients", self["max-clients"], 1, MAX_CLIENTS),
            users_invite=self["user-invites"] == "yes",
            user_invite_uses=_number("--user-invite-uses", self["user-invite-uses"], 1, MAX_USES),
            user_open_invites=_number("--user-open-invites", self["user-open-invites"], 1, MAX_OPEN_INVITES),
            user_invite_depth=_number("--user-invite-depth", self["user-invite-depth"], 0, MAX_USES),
            **{
                limit.name.replace("-", "_"): _number(f"--{limit.name}", self[limit.name], *limit.bounds)
                for limit in LIMITS
                if self[limit.name] is not None
            },
            max_mailbox_size=_size("--max-mailbox-size", self["max-mailbox-size"], MIN_MAILBOX, MAX_MAILBOX),
            log_format=cast(Literal["auto", "json", "text"], self["log-format"]),
            log_peers=bool(self["log-peers"]),
            certificate=self._path("cert", self["cert"]),
            key=self._path("key", self["key"]),
            answer=self["answer"],
            key_file=self._path("key-file", self["key-file"]),
            loose=bool(self["loose"]),
            record=self._path("record", self["record"]),
            record_size=_size("--record-size", record_size, MIN_RECORD, MAX_RECORD),
            prints=bool(self["print"]),
            lobby=bool(self["lobby"]),
            tls=cast(Literal["epoll", "stock"], self["tls"]),
            descriptor=descriptor,
            metrics=self._metrics(self["metrics"]),
        )


# What may stand in the file; of options with a value, their defaults.
FLAGS = [row[0] for row in cast(list[list[str]], Options.optFlags)]
PARAMETERS = {row[0]: row[2] for row in cast(list[list[str]], Options.optParameters) if row[0] != "config"}


def _number(option: str, text: str, least: int, most: int) -> int:
    """
    A number within its bounds.

    @raise usage.UsageError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise usage.UsageError(f"{option} is a number from {least} to {most}, not {text!r}")
    return int(text)


def _listening(host: str, port: str) -> tuple[str, int, int]:
    """
    Address and port to listen on, and the descriptor of a socket that does already; 0: none.

    @raise usage.UsageError: they are none.
    """
    if not port.startswith("fd:"):
        return _address(host), _number("--port", port, 1, MAX_PORT), 0
    descriptor = _number("the descriptor of --port", port[3:], 3, MAX_DESCRIPTOR)
    return *_passed("--port", descriptor), descriptor


def _passed(option: str, descriptor: int) -> tuple[str, int]:
    """
    Address and port of a socket that was handed over.

    @raise usage.UsageError: there is none.
    """
    try:
        return address_of(descriptor, option)
    except PortUnavailable as error:
        raise usage.UsageError(str(error)) from None


def _udp_port(text: str | None) -> tuple[int, int]:
    """
    A port, and a descriptor; 0: none.

    @raise usage.UsageError: it is neither.
    """
    if text is None:
        return 0, 0
    if text.startswith("fd:"):
        return 0, _number("the descriptor of --udp-port", text[3:], 3, MAX_DESCRIPTOR)
    return _number("--udp-port", text, 1, MAX_PORT), 0


def _size(option: str, text: str, least: int, most: int) -> int:
    """
    A number of bytes, with or without a letter. The bounds are powers of 2.

    @raise usage.UsageError: it is none, or out of bounds.
    """
    match = re.fullmatch(r"([0-9]{1,9})([KMGT]?)", text)
    size = int(match[1]) * UNITS[match[2]] if match is not None else 0
    if not least <= size <= most:
        raise usage.UsageError(f"{option} is a size from {_written(least)} to {_written(most)}, not {text!r}")
    return size


def _written(size: int) -> str:
    """A size as people write it."""
    letter, unit = max(((letter, unit) for letter, unit in UNITS.items() if size % unit == 0), key=lambda pair: pair[1])
    return f"{size // unit}{letter}"


def _address(text: str) -> str:
    """
    An IP address to listen on.

    @raise usage.UsageError: it is none.
    """
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text))
    except ValueError:
        raise usage.UsageError(f"--host is an IP address of this machine, not {text!r}") from None


def _advertised(text: str | None, host: str, port: int) -> tuple[str, int]:
    """
    What invites name: a host name or IP address, and a port.

    @raise usage.UsageError: C{text} is no such thing.
    """
    if text is None:
        return host, port
    try:
        name, chosen = parse_host_port(text, port)
    except ValueError:
        wanted = "HOST or HOST:PORT, with an IPv6 address in brackets"
        raise usage.UsageError(f"--advertise is {wanted}, such as [2001:db8::1]:{port}, not {text!r}") from None
    name = name.lower().removesuffix(".")
    if name in WILDCARDS:
        raise usage.UsageError(f"--advertise {name} leads nowhere; give the host that clients connect to")
    return name, chosen
