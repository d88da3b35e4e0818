"""Tests of L{securemsg.net.listener}: how many get in, and what is written of the others."""

from __future__ import annotations

import socket
from collections import Counter

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net.listener import (
    ADDRESS_LIMIT,
    HangupCounter,
    PortUnavailable,
    PublicFactory,
    check_port,
    connection_limit,
    port_error,
)
from securemsg.net.stream import StreamProtocol
from securemsg.net.tls import SecureFactory, ServerCredentials
from securemsg.protocol.states import Side
from securemsg.server.addresses import Addresses
from securemsg.server.limits import Rate, Settings
from tests.net.fakes import End, key_files


class LimitTests(SynchronousTestCase):
    """A limit of connections."""

    def test_limit(self) -> None:
        """Twice as many as may be logged in, and some more, get an answer."""
        self.assertEqual(connection_limit(1000), 2064)

    def test_beyond(self) -> None:
        """Beyond the limit there is no protocol, so that Twisted closes the socket; an end makes room again."""
        clock = Clock()
        end = End(Side.SERVER, clock)
        credentials = ServerCredentials(*key_files(), spki_digest)
        factory = PublicFactory(end.options(credentials.observe), 2, Addresses(Settings(), clock.seconds))
        taken = [factory.buildProtocol(None) for _ in range(2)]
        for protocol in taken:
            assert protocol is not None
            protocol.makeConnection(StringTransport())
        self.assertIsNone(factory.buildProtocol(None))
        self.assertEqual(factory.turned_away, 1)
        assert taken[0] is not None
        taken[0].connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(factory.buildProtocol(None))
        # Those over UDP count as well.
        assert taken[1] is not None
        taken[1].connectionLost(Failure(ConnectionDone()))
        factory.others = lambda: 1
        self.assertIsNone(factory.buildProtocol(None))


class AddressTests(SynchronousTestCase):
    """The gate of a listener over TCP, whichever TLS carries it: both ask the factory before they do anything."""

    def setUp(self) -> None:
        """Two connections of one address, and what is counted."""
        self.clock = Clock()
        self.counted: list[str] = []
        self.addresses = Addresses(Settings(max_address_connections=2, address_connections=Rate(3, 10)), self.clock.seconds)
        end = End(Side.SERVER, self.clock)
        options = evolve(end.options(lambda transport: None), on_hangup=self.counted.append)
        self.factory = PublicFactory(options, 100, self.addresses)

    def accept(self, host: str) -> StreamProtocol | None:
        """Accept a connection."""
        stream = self.factory.buildProtocol(IPv4Address("TCP", host, 50_000))
        if stream is not None:
            stream.makeConnection(StringTransport())
        return stream

    def lose(self, stream: StreamProtocol | None) -> None:
        """A connection ends."""
        assert stream is not None
        stream.connectionLost(Failure(ConnectionDone()))

    def test_open(self) -> None:
        """Beyond its limit an address gets nothing, and that is counted; others get in; an end makes room."""
        first, second = self.accept("192.0.2.1"), self.accept("192.0.2.1")
        self.assertIsNone(self.accept("192.0.2.1"))
        self.assertEqual((self.factory.turned_away, self.counted), (0, [ADDRESS_LIMIT]))
        self.assertIsNotNone(self.accept("192.0.2.2"))
        self.lose(first)
        self.assertIsNotNone(self.accept("192.0.2.1"))
        self.lose(second)

    def test_made(self) -> None:
        """Connections that come and go are limited by their rate."""
        for _ in range(3):
            self.lose(self.accept("192.0.2.1"))
        self.assertIsNone(self.accept("192.0.2.1"))
        self.clock.advance(10)
        self.assertIsNotNone(self.accept("192.0.2.1"))

    def test_stock(self) -> None:
        """It is so with Twisted's own TLS around the factory, too."""
        outer = SecureFactory(ServerCredentials(*key_files(), spki_digest), False, self.factory, self.clock)
        address = IPv4Address("TCP", "192.0.2.1", 50_000)
        self.assertEqual([outer.buildProtocol(address) is None for _ in range(3)], [False, False, True])

    def test_nothing_left(self) -> None:
        """Of addresses without a connection nothing is counted as open."""
        for host in ("192.0.2.1", "192.0.2.2"):
            self.lose(self.accept(host))
        self.assertEqual(len(self.addresses.open), 0)

    def test_full(self) -> None:
        """Who finds all places taken has used up nothing."""
        self.factory.others = lambda: 100
        self.assertIsNone(self.accept("192.0.2.1"))
        self.factory.others = lambda: 0
        self.assertIsNotNone(self.accept("192.0.2.1"))
        self.assertEqual((len(self.addresses.open), self.counted), (1, []))


class HangupTests(SynchronousTestCase):
    """The log stays short."""

    def setUp(self) -> None:
        """Nothing was counted yet."""
        self.total: Counter[str] = Counter()

    def test_first_at_once(self) -> None:
        """The first of a kind is logged when it happens, a thousand more are one line."""
        hangups = HangupCounter(self.total)
        with capturedLogs() as events:
            for _ in range(1000):
                hangups.count("malformed")
            hangups.count("timeout")
            hangups.report()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "hung up on a connection: malformed",
                "hung up on a connection: timeout",
                "hung up on 1000 connections: malformed",
            ],
        )
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.info})

    def test_quiet(self) -> None:
        """Where nothing happened nothing is reported, and a report is made once."""
        hangups = HangupCounter(self.total)
        hangups.count("malformed")
        hangups.count("malformed")
        hangups.report()
        with capturedLogs() as events:
            hangups.report()
        self.assertEqual(events, [])
        self.assertEqual(self.total, {"malformed": 2})


class PortTests(SynchronousTestCase):
    """Whether we could listen."""

    def test_taken(self) -> None:
        """A port in use is named, with what helps."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with self.assertRaises(PortUnavailable) as caught:
                check_port("127.0.0.1", port)
        self.assertEqual(
            str(caught.exception),
            f"127.0.0.1:{port} is taken; stop what listens there, or choose another with --port",
        )
        check_port("127.0.0.1", port)

    def test_never_listens(self) -> None:
        """Nobody is let in who would be thrown out at once."""
        self.patch(socket.socket, "listen", lambda *arguments: self.fail("it listened"))
        check_port("127.0.0.1", 0)

    def test_other_machine(self) -> None:
        """An address of another machine is named as such."""
        with self.assertRaises(PortUnavailable) as caught:
            check_port("192.0.2.1", 8443)
        self.assertIn("not an address of this machine", str(caught.exception))

    def test_privileged(self) -> None:
        """A port that only the system may use is explained."""
        self.assertIn("above 1023", port_error("127.0.0.1", 80, PermissionError(13, "Permission denied")))

    def test_anything_else(self) -> None:
        """Any other error is said in the system's words."""
        self.assertEqual(port_error("::1", 80, OSError(24, "Too many files")), "cannot listen on [::1]:80: Too many files")
