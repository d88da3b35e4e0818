"""What every TLS transport of the server does, over sockets: one suite, which runs on ours and on Twisted's."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net import listener
from securemsg.net.link import KEEPALIVE_IDLE, USER_TIMEOUT, innermost, unsent
from securemsg.net.listener import PortUnavailable, PublicFactory, listen_public
from securemsg.net.poller import Poller
from securemsg.net.records import PLAIN
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import HANDSHAKE_TIME, STALL_TIME
from securemsg.net.tls import ClientTrust, SecureFactory, ServerCredentials
from securemsg.net.tlsserver import TlsServerEndpoint, bind_socket
from securemsg.net.tlssocket import TlsSocket
from securemsg.net.turn import Turn
from securemsg.protocol.auth import ALPN
from securemsg.protocol.states import Side
from securemsg.server.addresses import Addresses
from securemsg.server.limits import Settings
from tests.functional.support import PlaceCase
from tests.functional.tlsends import CALM, PATIENCE, Ends
from tests.net.fakes import End, key_files
from tests.net.test_transports import MUCH, TransportTests, delivery

LIMIT = 3


def _lowest_free() -> int:
    """The descriptor that is given out next."""
    number = os.dup(0)
    os.close(number)
    return number


class StreamTests(TransportTests):
    """Streams of ours, in a reactor of their own. The clock of their time limits stands still unless a test moves it."""

    transport = "tcp"
    is_post_quantum = True
    kind = ""
    port: Any
    reactor: Any = None

    def connect(self, *, post_quantum: bool = False) -> None:
        """See L{TransportTests}."""
        if self.reactor is not None:
            self._clean(self.reactor)
        self.reactor = EPollReactor()
        self.clock = Clock()
        self.client = End(Side.CLIENT, self.clock, post_quantum=post_quantum)
        self.server = End(Side.SERVER, self.clock)
        credentials = ServerCredentials(*key_files(), spki_digest)
        self.factory = PublicFactory(self.server.options(credentials.observe), LIMIT, Addresses(Settings(), self.clock.seconds))
        self.port = self.result(self.listen(credentials))
        self.client_stream = self.connect_client(self.client)
        self.wait_for(lambda: self.client.peer.channel is not None or bool(self.client.unopened))
        self.settle()
        if isinstance(self.server.peer.channel, StreamProtocol):
            self.server_stream = self.server.peer.channel

    def tearDown(self) -> None:
        """Leave nothing behind."""
        self._clean(self.reactor)

    def listen(self, credentials: ServerCredentials, port: int = 0) -> Deferred[IListeningPort]:
        """Open a port of this kind."""
        return Deferred.fromCoroutine(
            listen_public(
                self.reactor, Turn(self.reactor), "127.0.0.1", port, credentials, self.factory, self.kind == "stock"
            )
        )

    def connect_client(self, end: End) -> StreamProtocol:
        """Another client."""
        trust = ClientTrust("localhost", spki_digest)
        stream = StreamProtocol(end.options(trust.observe))
        made = Factory()
        made.buildProtocol = lambda addr: stream  # type: ignore[method-assign]
        factory = SecureFactory(trust, True, made, self.reactor)
        number = self.port.getHost().port
        self.result(TCP4ClientEndpoint(self.reactor, "127.0.0.1", number).connect(factory))
        return stream

    def result(self, deferred: Deferred[Any]) -> Any:
        """What a Deferred comes to."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.wait_for(lambda: bool(results))
        return results[0]

    def wait_for(self, condition: Any) -> None:
        """Work until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            self.step()

    def step(self) -> None:
        """One turn."""
        self.reactor.iterate(0.001)
        self.clock.advance(0)

    def settle(self) -> None:
        """See L{TransportTests}."""
        calm_since = time.monotonic()
        while time.monotonic() < calm_since + CALM:
            before = self.state()
            self.step()
            if self.state() != before:
                calm_since = time.monotonic()

    def state(self) -> list[int]:
        """What changes while something happens."""
        peers = (self.client.peer, self.server.peer)
        return [len(peer.messages) + len(peer.codes) + len(peer.full) for peer in peers]

    def deafen(self) -> None:
        """See L{TransportTests}."""
        innermost(self.client_stream.transport).stopReading()  # type: ignore[attr-defined]

    def _clean(self, reactor: Any) -> None:
        self.port.stopListening()
        for stream in list(self.factory.open):
            stream.transport.abortConnection()
        if self.client_stream.connected:
            self.client_stream.transport.abortConnection()
        for _ in range(3):
            reactor.iterate(0)
        reactor.removeAll()
        for reader in reactor._internalReaders:
            reader.connectionLost(connectionDone)
        reactor._poller.close()

    # --- what is seen of a connection -----------------------------------------------------------------------------

    def test_transport(self) -> None:
        """It is of the kind that was asked for, and observed by the same means."""
        assert isinstance(self, SynchronousTestCase)
        transport: Any = self.server_stream.transport
        self.assertEqual(isinstance(transport, TlsSocket), self.kind == "epoll")
        self.assertEqual(transport.negotiatedProtocol, ALPN)
        self.assertIsNone(transport.getPeerCertificate())
        self.assertTrue(transport.getTcpNoDelay())
        self.assertTrue(transport.getTcpKeepAlive())
        handle = innermost(transport).socket  # type: ignore[attr-defined]
        for option, value in ((socket.TCP_KEEPIDLE, KEEPALIVE_IDLE), (socket.TCP_USER_TIMEOUT, USER_TIMEOUT * 1000)):
            self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, option), value)
        link = self.server_stream.link
        assert link is not None
        self.assertEqual((link.version, link.group), ("TLSv1.3", "X25519MLKEM768"))
        self.assertIsInstance(transport.getPeer(), IPv4Address)
        self.assertEqual(transport.getHost(), self.port.getHost())

    def test_unsent(self) -> None:
        """What a client does not take is counted, in the kernel and here."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.assertEqual(unsent(self.server_stream.transport), 0)
        self.deafen()
        self.say(self.server_stream, *[delivery(number) for number in range(1, MUCH)])
        before = unsent(self.server_stream.transport)
        self.assertGreater(before, 0)
        self.assertEqual(unsent(self.server_stream.transport), before)

    def test_full(self) -> None:
        """A writer who outruns the client is told to wait, and to go on; nothing is lost."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.client_stream.pause(True)
        sent = [delivery(number) for number in range(1, 4 * MUCH)]
        self.say(self.server_stream, *sent)
        self.assertEqual(self.server.peer.full, [True])
        self.client_stream.pause(False)
        self.wait_for(lambda: len(self.client.peer.messages) == len(sent))
        self.settle()
        self.assertEqual(self.client.peer.messages, sent)
        self.assertEqual(self.server.peer.full, [True, False])

    def test_stalled(self) -> None:
        """A client that reads nothing for a while is cut off."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.deafen()
        for number in range(1, 4 * MUCH):
            self.server_stream.send(delivery(number))
            self.step()
        self.settle()
        self.wait(STALL_TIME - 1)
        self.assertEqual(self.server.peer.codes, [])
        self.wait(2)
        self.assertEqual(self.server.peer.codes, ["timeout"])

    def test_handshake_time(self) -> None:
        """A client that never ends its handshake is cut off, and makes room."""
        assert isinstance(self, SynchronousTestCase)
        before = len(self.factory.open)
        with socket.create_connection(("127.0.0.1", self.port.getHost().port)) as idle:
            self.wait_for(lambda: len(self.factory.open) == before + 1)
            self.wait(HANDSHAKE_TIME - 1)
            self.assertEqual(self.server.unopened, [])
            self.wait(2)
            self.assertEqual(self.server.unopened, ["timeout"])
            self.assertRaises(ConnectionError, idle.recv, 1)

    def test_limit(self) -> None:
        """Beyond the limit a connection is closed before its handshake; an end makes room."""
        assert isinstance(self, SynchronousTestCase)
        address = ("127.0.0.1", self.port.getHost().port)
        with contextlib.ExitStack() as stack:
            others = [stack.enter_context(socket.create_connection(address)) for _ in range(LIMIT - 1)]
            self.wait_for(lambda: len(self.factory.open) == LIMIT)
            with socket.create_connection(address) as late:
                self.wait_for(lambda: self.factory.turned_away == 1)
                self.assertEqual(late.recv(1), b"")
            others[0].close()
            self.wait_for(lambda: len(self.factory.open) == LIMIT - 1)
            stack.enter_context(socket.create_connection(address))
            self.wait_for(lambda: len(self.factory.open) == LIMIT)
            self.assertEqual(self.factory.turned_away, 1)

    def test_taken(self) -> None:
        """A port in use is reported."""
        assert isinstance(self, SynchronousTestCase)
        credentials = ServerCredentials(*key_files(), spki_digest)
        failure = self.result(self.listen(credentials, self.port.getHost().port))
        self.assertIsInstance(failure.value, PortUnavailable)
        self.assertIn("is taken", str(failure.value))

    def test_stop(self) -> None:
        """A port that has stopped accepts nobody, and who is there stays."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        address = ("127.0.0.1", self.port.getHost().port)
        self.result(self.port.stopListening())
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        self.say(self.server_stream, delivery(1))
        self.assertEqual(self.client.peer.messages, [delivery(1)])

    def test_reactor_stops(self) -> None:
        """With the reactor every connection ends, and its peer is told."""
        assert isinstance(self, SynchronousTestCase)
        self.reactor.disconnectAll()
        self.assertEqual(self.server.peer.codes, ["lost"])
        self.assertEqual(len(self.factory.open), 0)


class EpollTests(StreamTests, SynchronousTestCase):
    """Ours."""

    kind = "epoll"

    def test_no_epoll(self) -> None:
        """Where there is no epoll, Twisted's own is used, and the log says so."""
        self.patch(listener, "IS_AVAILABLE", False)
        with capturedLogs() as events:
            self.connect()
        self.assertIn("this system has no epoll", " ".join(filter(None, map(formatEvent, events))))
        self.assertNotIsInstance(self.server_stream.transport, TlsSocket)


class PlainTests(StreamTests, SynchronousTestCase):
    """Ours, with none of pyOpenSSL's private names."""

    kind = "epoll"

    def listen(self, credentials: ServerCredentials, port: int = 0) -> Deferred[IListeningPort]:
        """See L{StreamTests}."""
        credentials.records = PLAIN
        return super().listen(credentials, port)


class StockTests(StreamTests, SynchronousTestCase):
    """Twisted's."""

    kind = "stock"


class StockDaemonTests(PlaceCase):
    """A daemon that was told to use Twisted's."""

    options = ("--tls", "stock")

    def test_talk(self) -> None:
        """People notice no difference."""
        eve, sam = self.person("eve"), self.person("sam")
        eve.send("sam", "hello")
        self.assertEqual(sam.texts(1), ["hello"])


class AddressTests(SynchronousTestCase):
    """Where ours listens."""

    def test_ipv6(self) -> None:
        """Over IPv6 both addresses are of that kind."""
        for kind in ("epoll", "stock"):
            ends = Ends(self, kind, "::1")
            client = ends.connect()
            ends.protocol.transport.write(b"hello")
            ends.until(lambda client=client: client.received == b"hello")  # type: ignore[misc]
            peer, host = ends.protocol.transport.getPeer(), ends.protocol.transport.getHost()
            self.assertEqual((type(peer), type(host)), (IPv6Address, IPv6Address))
            self.assertEqual((peer.host, peer.port), client.socket.getsockname()[:2])
            self.assertEqual(host, ends.port.getHost())

    def test_inherited(self) -> None:
        """A socket that somebody else has opened, as systemd does, is taken as it is."""
        ends = Ends(self, "epoll")
        opened = bind_socket("127.0.0.1", 0, 5)
        endpoint = TlsServerEndpoint(ends.poller, ends.credentials, partial(socket.socket, fileno=opened.detach()))
        ends.port.stopListening()
        ends.port = self.successResultOf(endpoint.listen(ends.factory))
        ends.address = ("127.0.0.1", ends.port.getHost().port)  # type: ignore[attr-defined]
        client = ends.connect()
        ends.protocol.transport.write(b"hello")
        ends.until(lambda: client.received == b"hello")

    def test_poller_leaves(self) -> None:
        """The reactor knows of the poller only while there is something to watch."""
        ends = Ends(self, "epoll")
        self.assertTrue(any(isinstance(reader, Poller) for reader in ends.reactor.getReaders()))
        ends.port.stopListening()
        self.assertFalse(any(isinstance(reader, Poller) for reader in ends.reactor.getReaders()))

    def test_few_files(self) -> None:
        """A process that has no file left accepts nobody for a while, and then those who have waited."""
        ends = Ends(self, "epoll")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as waiting, capturedLogs() as events:
            waiting.connect(ends.address)
            # Descriptors are given out from the lowest that is free.
            resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free(), limits[1]))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
            ends.settle()
            self.assertEqual(ends.protocols, [])
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            ends.until(lambda: len(ends.protocols) == 1)
        self.assertEqual(["Too many open files" in str(formatEvent(event)) for event in events], [True])

    def test_failing_factory(self) -> None:
        """A factory that fails costs that connection, and the next one is accepted."""
        ends = Ends(self, "epoll")
        build, ends.factory.buildProtocol = ends.factory.buildProtocol, lambda addr: [][0]
        ends.accepts = False
        client = ends.connect(handshake=False)
        ends.until(lambda: bool(client.ends))
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        ends.factory.buildProtocol, ends.accepts = build, True
        ends.connect()
