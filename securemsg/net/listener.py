"""Where the server listens: TLS for everybody, with a limit on open connections."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import evolve
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from securemsg.net.poller import IS_AVAILABLE, Poller
from securemsg.net.stream import ConnectionOptions, StreamFactory, StreamProtocol
from securemsg.net.tls import SecureFactory, ServerCredentials
from securemsg.net.tlsserver import TlsServerEndpoint, bind_socket
from securemsg.net.turn import Turn
from securemsg.protocol.hosts import host_port

# Connections beyond those of `max_clients` devices: for logins that replace an old connection, and to answer server-full.
SPARE_FACTOR = 2
SPARE = 64
# What is counted and logged where an address has too many connections; nobody is told.
ADDRESS_LIMIT = "address-limit"
# After a restart all clients come at once.
BACKLOG = 1024


def connection_limit(max_clients: int) -> int:
    """How many connections may be open, logged in or not."""
    return SPARE_FACTOR * max_clients + SPARE


class PortUnavailable(Exception):
    """The daemon cannot listen there; the text says in one line why, and what to do."""


class Gate(Protocol):
    """Limits the connections of each address (C{securemsg.server.addresses}); a layer below has no zope interface of it."""

    def enter(self, host: str) -> bytes | None:
        """Count a new connection, and say as what; C{None}: it is refused."""

    def leave(self, source: bytes) -> None:
        """Count its end."""


class PublicFactory(StreamFactory):
    """
    Accepts connections from the network; beyond the limits they are closed unanswered, which costs next to nothing.

    @ivar open: the connections that are open.
    @ivar others: how many open connections of other transports share the limit.
    @ivar turned_away: how many were closed.
    """

    def __init__(self, options: ConnectionOptions, limit: int, gate: Gate) -> None:
        """
        @param limit: of open connections.
        """
        super().__init__(evolve(options, on_end=self._ended))
        self._limit = limit
        self._gate = gate
        self._on_end = options.on_end
        self.open: set[StreamProtocol] = set()
        self.others: Callable[[], int] = lambda: 0
        self.turned_away = 0

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol | None:  # type: ignore[override]
        """Accept a connection, if there is room."""
        if len(self.open) + self.others() >= self._limit:
            self.turned_away += 1
            return None
        source = self._gate.enter(getattr(addr, "host", ""))
        if source is None:
            self._options.on_hangup(ADDRESS_LIMIT)
            return None
        stream = super().buildProtocol(addr)
        stream.source = source
        self.open.add(stream)
        return stream

    def _ended(self, stream: StreamProtocol, reason: Failure) -> None:
        self.open.discard(stream)
        self._gate.leave(stream.source)
        self._on_end(stream, reason)


async def listen_public(
    reactor: Any,
    turn: Turn,
    host: str,
    port: int,
    credentials: ServerCredentials,
    factory: PublicFactory,
    is_stock: bool,
    descriptor: int = 0,
) -> IListeningPort:
    """
    Listen on the network.

    @param descriptor: of a socket that listens there already; 0: none.
    @param turn: in which the streams of C{factory} write.
    @param is_stock: whether Twisted's own TLS carries the connections; it does in any case where there is no epoll.
    @raise PortUnavailable: the port is in use, or not allowed.
    """
    endpoint: IStreamServerEndpoint
    wrapped: IProtocolFactory = factory
    if is_stock or not IS_AVAILABLE:
        if not is_stock:
            Logger().info("this system has no epoll: connections use Twisted's own TLS, which costs more")
        kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        endpoint = kind(reactor, port, BACKLOG, host)
        if descriptor:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            # It closes what it is given; the configuration, when it is read again, still names ours.
            endpoint = AdoptedStreamServerEndpoint(reactor, os.dup(descriptor), family)
        wrapped = SecureFactory(credentials, False, factory, reactor)
    else:
        bound = partial(socket.socket, fileno=descriptor) if descriptor else partial(bind_socket, host, port, BACKLOG)
        endpoint = TlsServerEndpoint(Poller(reactor, turn), credentials, bound)
    try:
        opened: IListeningPort = await endpoint.listen(wrapped)
    except CannotListenError as error:
        problem = error.socketError
        raise PortUnavailable(
            port_error(host, port, problem) if isinstance(problem, OSError) else f"cannot listen: {problem}"
        ) from error
    return opened


def address_of(descriptor: int, option: str = "--port") -> tuple[str, int]:
    """
    Address and port of a socket that was handed over when the process began, as by systemd, whose first is 3.

    @param option: that names it.
    @raise PortUnavailable: it is no TCP socket that listens.
    """
    try:
        with socket.socket(fileno=os.dup(descriptor)) as handed:
            is_ip = handed.family in (socket.AF_INET, socket.AF_INET6) and handed.type == socket.SOCK_STREAM
            if is_ip and handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                host, port, *_ = handed.getsockname()
                return host, port
    except OSError:
        pass
    raise PortUnavailable(
        f"{option} fd:{descriptor}: descriptor {descriptor} is not a TCP socket that listens; add ListenStream= to the socket"
        " unit, or correct the number (the first is fd:3)"
    )


def adopt_port(reactor: Any, descriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """Accept connections on a socket that was handed over (L{address_of})."""
    with socket.socket(fileno=os.dup(descriptor)) as handed:
        # All who share it see that; Twisted expects it, and accepts until there is nothing more.
        handed.setblocking(False)
        port: IListeningPort = reactor.adoptStreamPort(descriptor, handed.family, factory)
    return port


def raise_file_limit(wanted: int) -> int:
    """
    Raise the limit of open files to what the connections may need.

    @return: the limit then, if that is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


class HangupCounter:
    """
    Counts the connections that we ended, by code. The first of a code is logged at once, the others as a number: a peer that
    connects a thousand times a second does not fill the log.
    """

    _log = Logger()

    def __init__(self, total: Counter[str]) -> None:
        """
        @param total: counts them all, since the start.
        """
        self._counts: Counter[str] = Counter()
        self._total = total

    def count(self, code: str) -> None:
        """Count one more."""
        self._counts[code] += 1
        self._total[code] += 1
        if self._counts[code] == 1:
            self._log.info("hung up on a connection: {code}", code=code)

    def report(self) -> None:
        """Log the numbers since the last report, and start again from zero."""
        for code, count in sorted(self._counts.items()):
            if count > 1:
                self._log.info("hung up on {count} connections: {code}", count=count, code=code)
        self._counts.clear()


def check_port(host: str, port: int, option: str = "--port") -> None:
    """
    Check whether we can listen on a port, without doing so: a client that comes just then would find a server that goes away.

    @raise PortUnavailable: we cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise PortUnavailable(port_error(host, port, error, option)) from error


def port_error(host: str, port: int, error: OSError, option: str = "--port") -> str:
    """Why we cannot listen, and what helps, in one line."""
    if error.errno == errno.EADDRINUSE:
        return f"{host_port(host, port)} is taken; stop what listens there, or choose another with {option}"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the system's services; choose one above 1023 with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; choose another with --host"
    if error.errno == errno.EAFNOSUPPORT:
        where = "add ListenStream= to its socket unit"
        return f"cannot listen on {host_port(host, port)}: the service may open no port itself; {where}, and give {option} fd:N"
    return f"cannot listen on {host_port(host, port)}: {error.strerror}"
