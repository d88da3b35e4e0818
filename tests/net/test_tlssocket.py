"""Tests of L{securemsg.net.tlssocket} and L{securemsg.net.poller} on a pair of sockets: when things happen, what is left."""

from __future__ import annotations

import socket
from functools import partial
from unittest import SkipTest

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IConsumer,
    ILoggingContext,
    INegotiated,
    IPushProducer,
    IReadDescriptor,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.python import context
from twisted.python.log import ILogContext
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.net import poller
from securemsg.net.link import innermost, unsent
from securemsg.net.records import RECORD_SIZE
from securemsg.net.tlssocket import CLOSE_TIME, WRITE_LIMIT, socket_address
from securemsg.net.turn import Turn
from securemsg.protocol.auth import ALPN
from tests.net.recorder import Pull, Push, Recorder
from tests.net.socketpair import LOCAL, PEER, SocketPair

DONE, LOST = ("lost", "Failure ConnectionDone"), ("lost", "Failure ConnectionLost")


class PairCase(SynchronousTestCase):
    """A connection whose handshake is done."""

    def setUp(self) -> None:
        """Connect."""
        if not poller.IS_AVAILABLE:
            raise SkipTest("no epoll")
        self.pair = SocketPair(self)
        self.pair.shake_hands()
        self.protocol, self.transport = self.pair.protocol, self.pair.transport

    def abort_at_end(self) -> None:
        """End the connection: nothing is left in the reactor."""
        self.transport.abortConnection()
        self.pair.reactor.advance(0)
        self.assertEqual((self.pair.reactor.readers, self.pair.reactor.getDelayedCalls()), ([], []))


class ContractTests(PairCase):
    """What a transport of Twisted is."""

    def test_interfaces(self) -> None:
        """It has everything that it claims to have."""
        for interface in (
            ITCPTransport,
            ISSLTransport,
            INegotiated,
            ISystemHandle,
            IConsumer,
            IPushProducer,
            ILoggingContext,
        ):
            verifyObject(interface, self.transport)
        verifyObject(IReadDescriptor, self.pair.poller)

    def test_questions(self) -> None:
        """It knows both addresses, the handshake and the socket; after its end it still answers."""
        transport = self.transport
        self.assertEqual((transport.getPeer(), transport.negotiatedProtocol), (PEER, ALPN))
        self.assertIsInstance(transport.getHandle(), SSL.Connection)
        self.assertIsNone(transport.getPeerCertificate())
        self.assertIs(innermost(transport), transport)
        self.assertTrue(transport.connected)
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpKeepAlive())
        self.abort_at_end()
        self.assertFalse(transport.connected)
        self.assertEqual((transport.getPeer(), transport.getHost()), (PEER, LOCAL))
        self.assertEqual((transport.negotiatedProtocol, transport.getHandle(), transport.socket), (None, None, None))
        self.assertIsNone(transport.getPeerCertificate())
        self.assertFalse(transport.getTcpKeepAlive())
        self.assertFalse(transport.getTcpNoDelay())
        transport.setTcpNoDelay(True)
        self.assertEqual(unsent(transport), 0)
        transport.pauseProducing()
        transport.resumeProducing()

    def test_types(self) -> None:
        """What is no bytes is refused at once, where the mistake was made."""
        for wrong in ("text", 5, None):
            self.assertRaises(TypeError, self.transport.write, wrong)
        self.assertEqual(self.pair.read(), [])

    def test_addresses(self) -> None:
        """IPv6 addresses keep what belongs to them."""
        self.assertEqual(socket_address(("192.0.2.2", 50000)), PEER)
        address = socket_address(("::1", 1, 0, 0))
        self.assertEqual((type(address).__name__, address.host, address.port), ("IPv6Address", "::1", 1))


class TurnTests(PairCase):
    """When things happen."""

    def test_write_at_end(self) -> None:
        """Writes leave at the end of the turn, together."""
        self.transport.write(b"one ")
        self.transport.writeSequence([b"two ", b"three"])
        self.assertEqual(self.pair.read(), [])
        self.assertEqual(unsent(self.transport), 13)
        self.pair.reactor.advance(0)
        self.assertEqual(self.pair.read(), [b"one two three"])
        self.assertEqual(unsent(self.transport), 0)

    def test_answer_in_turn(self) -> None:
        """An answer leaves in the turn in which the question came, through a L{Turn} or not, with no timer."""
        for later in (lambda call: call(), self.pair.turn.later):
            self.protocol.hooks["data"] = lambda protocol, later=later: later(  # type: ignore[misc]
                partial(protocol.transport.write, b"answer")
            )
            self.pair.tls.send(b"question")
            self.pair.poller.doRead()
            self.assertEqual(self.pair.read(), [b"answer"])
            self.assertEqual(self.pair.reactor.getDelayedCalls(), [])

    def test_other_turn(self) -> None:
        """Who writes at the end of some other turn writes all the same."""
        Turn(self.pair.reactor).later(lambda: self.transport.write(b"elsewhere"))
        self.pair.settle()
        self.assertEqual(self.pair.read(), [b"elsewhere"])

    def test_one_record(self) -> None:
        """One connection gets one record at a time, so that the others have their turn."""
        self.pair.tls.send(bytes(RECORD_SIZE))
        self.pair.tls.send(b"more")
        self.pair.poller.doRead()
        self.assertEqual(len(self.protocol.data), RECORD_SIZE)
        self.pair.poller.doRead()
        self.assertEqual(len(self.protocol.data), RECORD_SIZE + 4)

    def test_write_limit(self) -> None:
        """One that has a great deal to write does not keep the others waiting."""
        assert self.transport.socket is not None
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * WRITE_LIMIT)
        self.transport.write(bytes(2 * WRITE_LIMIT))
        self.pair.reactor.advance(0)
        self.assertEqual(sum(map(len, self.pair.read())), WRITE_LIMIT)
        self.pair.settle()
        self.assertEqual(sum(map(len, self.pair.read())), WRITE_LIMIT)

    def test_endless_producer(self) -> None:
        """A producer that always has more leaves the turn its end."""

        def produce() -> None:
            self.transport.write(b"more")

        producer = Pull(self.protocol, [])
        producer.resumeProducing = produce  # type: ignore[method-assign]
        self.transport.registerProducer(producer, False)
        self.pair.poller.doRead()
        self.assertEqual(self.pair.read(), [b"more"])
        self.abort_at_end()

    def test_failing_producer(self) -> None:
        """A producer that raises something is asked no more."""
        self.transport.registerProducer(Pull(self.protocol, []), False)
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.transport.registerProducer(Push(self.protocol), True)

    def test_failing_push(self) -> None:
        """One that raises something when it is to go on costs the connection."""
        producer = Push(self.protocol)
        producer.resumeProducing = lambda: [][0]  # type: ignore[method-assign]
        self.transport.registerProducer(producer, True)
        self.transport.write(bytes(100_000))
        for _ in range(3):
            self.pair.settle()
            self.pair.read()
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(self.protocol.calls[-2:], [("stop", ""), LOST])

    def test_log_context(self) -> None:
        """What a protocol logs names it, and not its address; afterwards the name is gone."""
        seen: list[str] = []
        self.protocol.hooks["data"] = lambda protocol: seen.append(context.get(ILogContext)["system"])
        self.pair.tls.send(b"x")
        self.pair.poller.doRead()
        self.assertEqual(seen, ["Recorder (TLS,7)"])
        self.assertEqual(context.get(ILogContext)["system"], "-")


class EndTests(PairCase):
    """How it ends, and what is left."""

    def test_no_answer(self) -> None:
        """A client that does not answer a close_notify is given up after a while."""
        self.transport.loseConnection()
        self.pair.settle()
        self.pair.reactor.advance(CLOSE_TIME - 1)
        self.assertNotIn(LOST, self.protocol.calls)
        self.pair.reactor.pump([1, 0])
        self.assertEqual(self.protocol.calls[-1], LOST)
        self.abort_at_end()

    def test_no_answer_after_half_close(self) -> None:
        """The same where our half was closed before."""
        self.transport.loseWriteConnection()
        self.pair.reactor.pump([CLOSE_TIME + 1, 0])
        self.assertNotIn(LOST, self.protocol.calls)
        self.transport.loseConnection()
        self.pair.reactor.pump([CLOSE_TIME + 1, 0])
        self.assertEqual(self.protocol.calls[-1], LOST)

    def test_answer(self) -> None:
        """After an answer nothing is left, not even the timer."""
        self.transport.loseConnection()
        self.pair.settle()
        self.pair.tls.shutdown()
        self.pair.settle()
        self.assertEqual(self.protocol.calls[-1], DONE)
        self.abort_at_end()

    def test_blocked_notice(self) -> None:
        """A close_notify waits for room in the socket."""
        connection = self.transport._connection
        assert connection is not None
        shutdown, answers = connection.shutdown, [SSL.WantWriteError()]

        def shut_down() -> bool:
            """There is no room at first."""
            if answers:
                raise answers.pop()
            return shutdown()

        connection.shutdown = shut_down  # type: ignore[method-assign]
        self.transport.loseConnection()
        self.assertEqual(answers, [])
        self.pair.settle()
        self.pair.read()
        self.assertEqual(self.pair.end, "ZeroReturnError")
        self.pair.tls.shutdown()
        self.pair.settle()
        self.assertEqual(self.protocol.calls[-1], DONE)

    def test_alert(self) -> None:
        """What is left unread of somebody who sends garbage does not take the alert with it."""
        pair = SocketPair(self)
        pair.socket.send(b"\x16\x03\x01\x00\x05hello" * 100)
        pair.settle()
        self.assertEqual(pair.protocol.calls[-1], ("lost", "Failure Error"))
        self.assertEqual(pair.socket.recv(1000)[:1], b"\x15")
        self.assertEqual(pair.socket.recv(1000), b"")

    def test_paused(self) -> None:
        """A paused connection whose client has gone does not keep the reactor busy; its end is seen when it goes on."""
        self.transport.pauseProducing()
        self.pair.socket.close()
        assert self.pair.poller._epoll is not None
        self.assertEqual(self.pair.poller._epoll.poll(0), [])
        self.transport.resumeProducing()
        self.pair.settle()
        self.assertEqual(self.protocol.calls[-1], LOST)

    def test_ended_in_turn(self) -> None:
        """Who ends in a turn gets nothing more in it, nor does its producer."""
        self.pair.tls.send(b"never read")
        self.transport.registerProducer(Push(self.protocol), True)
        self.transport.write(bytes(100_000))
        self.pair.turn.later(self.transport.abortConnection)
        self.transport.abortConnection()
        self.pair.poller.doRead()
        self.transport.serve(poller.READ)
        self.transport.flush()
        self.pair.reactor.advance(0)
        self.assertEqual(self.protocol.calls[-3:], [("pause", ""), ("stop", ""), LOST])

    def test_reactor_stops(self) -> None:
        """At the end of the reactor every protocol is told, at once."""
        self.transport.registerProducer(Push(self.protocol), True)
        self.pair.poller.connectionLost(None)  # type: ignore[arg-type]
        self.assertEqual(self.protocol.calls[-2:], [("stop", ""), LOST])
        self.assertEqual(self.pair.reactor.readers, [])

    def test_no_room(self) -> None:
        """Where epoll takes no more sockets the protocol sees the end of its connection."""
        self.abort_at_end()

        def refuse(*args: object) -> None:
            """The limit of a user."""
            raise OSError(28, "No space left on device")

        self.patch(poller.Poller, "add", refuse)
        pair = SocketPair(self)
        pair.reactor.advance(0)
        self.assertEqual(pair.protocol.calls, [("made", ""), LOST])

    def test_full(self) -> None:
        """What epoll does not take is not kept."""
        self.abort_at_end()
        self.assertRaises(OSError, self.pair.poller.add, 99_999, self.transport, poller.READ)
        self.assertEqual(self.pair.reactor.readers, [])

    def test_failing_protocol(self) -> None:
        """A protocol that fails when it begins or ends is logged."""

        def fail(protocol: Recorder) -> None:
            raise ValueError("a bug")

        pair = SocketPair(self, {"made": fail, "lost": fail})
        pair.reactor.advance(0)
        self.assertEqual(pair.protocol.calls, [("made", ""), LOST])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual(pair.reactor.readers, [])
