"""The server's end of TLS on a pair of sockets, with a reactor that does what it is told, and a client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocol, IReadDescriptor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net.poller import Poller
from securemsg.net.tls import ServerCredentials
from securemsg.net.tlssocket import TlsSocket
from securemsg.net.turn import Turn
from securemsg.protocol.auth import ALPN
from tests.net.fakes import key_files
from tests.net.recorder import Recorder

PEER = IPv4Address("TCP", "192.0.2.2", 50000)
LOCAL = IPv4Address("TCP", "192.0.2.1", 8443)
# Turns after which nothing is on its way any more.
TURNS = 20


class FakeReactor(Clock):
    """
    A clock that knows descriptors.

    @ivar readers: those that it was given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[IReadDescriptor] = []

    def addReader(self, reader: IReadDescriptor) -> None:
        """Keep it."""
        self.readers.append(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Forget it."""
        self.readers.remove(reader)

    def turn(self) -> None:
        """Do what a reactor does in one turn."""
        self.advance(0)
        for reader in list(self.readers):
            reader.doRead()


class SocketPair:
    """
    Both ends.

    @ivar end: the error that ended reading.
    @ivar tls: the client's.
    @ivar socket: the client's.
    """

    def __init__(
        self,
        case: SynchronousTestCase,
        hooks: dict[str, Callable[[Recorder], object]] | None = None,
        make: Callable[[SocketPair], IProtocol] | None = None,
    ) -> None:
        """
        @param make: makes another protocol than one that records.
        """
        self.end = ""
        self.reactor = FakeReactor()
        self.turn = Turn(self.reactor)
        self.poller = Poller(self.reactor, self.turn)
        self.credentials = ServerCredentials(*key_files(), spki_digest)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_alpn_protos([ALPN])
        handle, self.socket = socket.socketpair()
        for one in (handle, self.socket):
            one.setblocking(False)
            case.addCleanup(one.close)
        self.tls = SSL.Connection(context, self.socket)
        self.tls.set_connect_state()
        self.protocol = Recorder({} if hooks is None else hooks)
        self.transport = TlsSocket(
            self.poller, handle, self.credentials.connection_on(handle), self.credentials.records, PEER, LOCAL, 7
        )
        self.transport.start(self.protocol if make is None else make(self))

    def shake_hands(self) -> None:
        """Do the handshake."""
        for _ in range(TURNS):
            with contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
            self.reactor.turn()

    def settle(self) -> None:
        """Let the server do everything that it can."""
        for _ in range(TURNS):
            self.reactor.turn()

    def read(self) -> list[bytes]:
        """What has come, a record at a time."""
        records = []
        try:
            while not self.end:
                records.append(self.tls.recv(1 << 16))
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.end = type(error).__name__
        return records
