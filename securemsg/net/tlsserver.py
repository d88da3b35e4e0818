"""Where a server listens whose connections are L{TlsSocket}s: an endpoint, and its port."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from securemsg.net.link import tune_socket
from securemsg.net.poller import READ, Poller
from securemsg.net.tls import ServerCredentials
from securemsg.net.tlssocket import Address, TlsSocket, socket_address

# Connections that are accepted before others have their turn.
MAX_ACCEPTS = 64
# Seconds without accepting where the system has no room for another connection, and seconds until the log says so again.
ACCEPT_PAUSE = 1
SILENCE = 60
# One client was gone before it was accepted, or its network was (accept(2)); the next may be well.
CLIENT_ERRORS = frozenset(
    (
        errno.EINTR,
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    )
)


def bind_socket(host: str, port: int, backlog: int) -> socket.socket:
    """
    A socket that listens.

    @param host: an IP address.
    @raise OSError: nobody can listen there.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_PASSIVE
    family, kind, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    handle = socket.socket(family, kind)
    try:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind(name)
        handle.listen(backlog)
    except OSError:
        handle.close()
        raise
    return handle


@implementer(IListeningPort, ILoggingContext)
class TlsPort:
    """
    Accepts connections, and puts TLS under the protocols that a factory makes for them.

    @ivar log_prefix: names it in the log.
    """

    _log = Logger()

    def __init__(
        self, poller: Poller, credentials: ServerCredentials, handle: socket.socket, factory: IProtocolFactory
    ) -> None:
        """
        @param handle: a socket that listens; it is ours from now on.
        """
        self._poller = poller
        self._credentials = credentials
        self._socket = handle
        self._factory = factory
        self._host = socket_address(handle.getsockname())
        self._resuming: IDelayedCall | None = None
        self._silent_until = 0.0
        self._accepted = 0
        self._is_open = False
        self.log_prefix = factory.__class__.__name__

    def startListening(self) -> None:
        """
        Accept connections.

        @raise CannotListenError: the system has no room for it.
        """
        self._socket.setblocking(False)
        # Linux, the only system with epoll, hands these options down to accepted sockets.
        tune_socket(self._socket)
        try:
            self._poller.add(self._socket.fileno(), self, READ)
        except OSError as error:
            self._socket.close()
            raise CannotListenError(self._host.host, self._host.port, error) from error
        self._is_open = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Accept no more; open connections stay."""
        if not self._is_open:
            return succeed(None)
        self._is_open = False
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        self._poller.remove(self._socket.fileno())
        self._socket.close()
        return maybeDeferred(self._factory.doStop)

    def getHost(self) -> Address:
        """The address where it listens."""
        return self._host

    def logPrefix(self) -> str:
        """See C{ILoggingContext}."""
        return self.log_prefix

    def drop(self) -> None:
        """See L{securemsg.net.poller.Pollable}."""
        self.stopListening()

    def serve(self, events: int) -> None:
        """Accept who waits."""
        for _ in range(MAX_ACCEPTS):
            try:
                handle, name = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in CLIENT_ERRORS:
                    self._pause(error)
                    return
                continue
            try:
                self._open(handle, name)
            except Exception:  # noqa: BLE001 - a bug, or a client that is gone: the next may be well
                self._log.failure("a connection could not be taken")
                handle.close()
            if not self._is_open:
                return

    def _open(self, handle: socket.socket, name: tuple[str, int] | tuple[str, int, int, int]) -> None:
        """Give a new connection its protocol, unless the factory has none."""
        peer = socket_address(name)
        protocol: IProtocol | None = self._factory.buildProtocol(peer)
        if protocol is None:
            handle.close()
            return
        handle.setblocking(False)
        self._accepted += 1
        connection = self._credentials.connection_on(handle)
        transport = TlsSocket(
            self._poller, handle, connection, self._credentials.records, peer, self._host, self._accepted
        )
        transport.start(protocol)

    def _pause(self, error: OSError) -> None:
        """The system has no room; those who wait are accepted once it has some."""
        now = self._poller.clock.seconds()
        if now >= self._silent_until:
            self._silent_until = now + SILENCE
            self._log.error(
                "no connection can be accepted for now: {problem}; those that wait are tried again every second",
                problem=error.strerror,
            )
        self._poller.change(self._socket.fileno(), READ, 0)
        self._resuming = self._poller.clock.callLater(ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._poller.change(self._socket.fileno(), 0, READ)


@implementer(IStreamServerEndpoint)
@frozen
class TlsServerEndpoint:
    """
    Where a server listens.

    @ivar open: gives the socket, bound by us or inherited; it listens.
    """

    poller: Poller
    credentials: ServerCredentials
    open: Callable[[], socket.socket]

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen.

        @return: fires with the port; fails with C{CannotListenError}.
        """
        try:
            handle = self.open()
        except OSError as error:
            return fail(CannotListenError(None, None, error))
        port = TlsPort(self.poller, self.credentials, handle, protocolFactory)
        try:
            port.startListening()
        except CannotListenError as error:
            return fail(error)
        return succeed(port)
