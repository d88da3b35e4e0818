"""
A server with either of the two transports for TLS, on loopback and in a reactor of its own, and a client whose every byte is
the test's choice.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet import _producer_helpers
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import Cooperator
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net.poller import Poller
from securemsg.net.tls import SecureFactory, ServerCredentials
from securemsg.net.tlsserver import TlsServerEndpoint, bind_socket
from securemsg.net.turn import Turn
from securemsg.protocol.auth import ALPN
from tests.net.fakes import key_files
from tests.net.recorder import Recorder

KINDS = ("epoll", "stock")
# Seconds. What takes longer has failed.
PATIENCE = 20
# Seconds without anything new after which nothing is on its way any more.
CALM = 0.05


class Client:
    """
    The client's end.

    @ivar received: what the server has sent.
    @ivar ends: how the connection ended here, in order: C{close_notify}, C{eof}, C{reset} or an error of TLS.
    @ivar is_reading: whether it takes anything from the network.
    """

    def __init__(self, address: tuple[str, int], buffer: int = 0) -> None:
        """
        @param buffer: of the kernel for what is received; 0: its own choice.
        """
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(address)
        self.socket.setblocking(False)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_alpn_protos([ALPN])
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.is_secure = False
        self.is_reading = True
        self.received = b""
        self.ends: list[str] = []
        self._out = b""

    def step(self) -> bool:
        """Take and send what there is; whether there was anything."""
        moved = self._take() if self.is_reading else False
        return self._flush() or moved

    def shake_hands(self) -> None:
        """Begin, or go on with, the handshake."""
        try:
            self.tls.do_handshake()
            self.is_secure = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.ends.append(f"error {error.args[0][-1][-1]}")
        self._flush()

    def send(self, data: bytes) -> None:
        """Send bytes through TLS."""
        for start in range(0, len(data), 16384):
            self.tls.send(data[start : start + 16384])
        self._flush()

    def send_raw(self, data: bytes) -> None:
        """Send bytes below TLS."""
        self._out += data
        self._flush()

    def take_flight(self) -> bytes:
        """What the handshake would send next, instead of sending it."""
        with contextlib.suppress(SSL.WantReadError):
            self.tls.do_handshake()
        return self.tls.bio_read(1 << 20)

    def say_end(self) -> None:
        """Send a close_notify."""
        self.tls.shutdown()
        self._flush()

    def finish_writing(self) -> None:
        """Send the FIN of TCP."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket without a word in TLS."""
        self.is_reading = False
        self.socket.close()

    def reset(self) -> None:
        """Close it with the reset of TCP."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _take(self) -> bool:
        if self.ends[-1:] in (["eof"], ["reset"]):
            return False
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionError:
            self.ends.append("reset")
            return True
        if not data:
            self.ends.append("eof")
            return True
        self.tls.bio_write(data)
        if not self.is_secure:
            self.shake_hands()
        while self.is_secure and not self.ends:
            try:
                self.received += self.tls.recv(65536)
            except SSL.ZeroReturnError:
                self.ends.append("close_notify")
            except SSL.WantReadError:
                break
            except SSL.Error as error:
                self.ends.append(f"error {error.args[0][-1][-1]}")
        return True

    def _flush(self) -> bool:
        with contextlib.suppress(SSL.WantReadError):
            self._out += self.tls.bio_read(1 << 22)
        if not self._out or self.socket.fileno() < 0:
            return False
        try:
            sent = self.socket.send(self._out)
        except BlockingIOError:
            return False
        except ConnectionError:
            sent = len(self._out)
        self._out = self._out[sent:]
        return True


class Ends:
    """
    A server and its clients.

    @ivar protocols: of the server, in the order in which they were made.
    @ivar accepts: whether the factory makes protocols.
    """

    def __init__(self, case: SynchronousTestCase, kind: str, host: str = "127.0.0.1") -> None:
        """
        @param kind: of transport.
        """
        self._case = case
        self.reactor: Any = EPollReactor()
        case.addCleanup(self._clean)
        self.turn = Turn(self.reactor)
        self.protocols: list[Recorder] = []
        self.hooks: dict[str, Callable[[Recorder], object]] = {}
        self.accepts = True
        self._clients: list[Client] = []
        cooperator = Cooperator(scheduler=lambda call: self.reactor.callLater(0.0001, call))
        case.patch(_producer_helpers, "cooperate", cooperator.cooperate)
        self.credentials = ServerCredentials(*key_files(), spki_digest)
        factory: Any = Factory()
        factory.noisy = False
        factory.buildProtocol = self._build
        self.factory = factory
        endpoint: IStreamServerEndpoint
        if kind == "stock":
            tcp = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
            endpoint = tcp(self.reactor, 0, interface=host)
            factory = SecureFactory(self.credentials, False, factory, self.reactor)
        else:
            self.poller = Poller(self.reactor, self.turn)
            endpoint = TlsServerEndpoint(self.poller, self.credentials, partial(bind_socket, host, 0, 50))
        opened: list[IListeningPort] = []
        endpoint.listen(factory).addCallback(opened.append)
        self.port = opened[0]
        self.address = (host, self.port.getHost().port)  # type: ignore[attr-defined]

    @property
    def protocol(self) -> Recorder:
        """The newest."""
        return self.protocols[-1]

    def connect(self, *, handshake: bool = True, buffer: int = 0) -> Client:
        """A client, whose handshake is done if that is wanted."""
        client = Client(self.address, buffer)
        self._clients.append(client)
        before = len(self.protocols)
        self.until(lambda: not self.accepts or len(self.protocols) > before)
        if handshake:
            client.shake_hands()
            self.until(lambda: client.is_secure and ("handshake", "") in self.protocol.calls)
        return client

    def until(self, condition: Callable[[], bool]) -> None:
        """Let both ends work until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            self._step()

    def settle(self) -> None:
        """Let both ends work until nothing happens any more."""
        calm_since = time.monotonic()
        while time.monotonic() < calm_since + CALM:
            before = self._state()
            if self._step() or self._state() != before:
                calm_since = time.monotonic()

    def wait_lost(self) -> None:
        """Until the server's end is over."""
        self.until(lambda: "lost" in dict(self.protocol.calls))
        self.settle()

    def _step(self) -> bool:
        self.reactor.iterate(0.001)
        moved = [client.step() for client in self._clients]
        return any(moved)

    def _state(self) -> list[int]:
        return [len(protocol.calls) + len(protocol.data) for protocol in self.protocols]

    def _build(self, addr: object) -> Recorder | None:
        if not self.accepts:
            return None
        self.protocols.append(Recorder(self.hooks))
        return self.protocol

    def _clean(self) -> None:
        for client in self._clients:
            client.socket.close()
        for protocol in self.protocols:
            protocol.hooks = {}
            if "lost" not in dict(protocol.calls):
                protocol.transport.abortConnection()
        self.port.stopListening()
        for _ in range(3):
            self.reactor.iterate(0)
        left = [call for call in self.reactor.getDelayedCalls() if call.active()]
        readers = self.reactor.getReaders()
        self.reactor.removeAll()
        for reader in self.reactor._internalReaders:
            reader.connectionLost(connectionDone)
        self.reactor._poller.close()
        self._case.assertEqual(left, [])
        self._case.assertEqual([reader for reader in readers if reader not in self.reactor._internalReaders], [])
