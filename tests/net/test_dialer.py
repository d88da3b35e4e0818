"""Tests of L{securemsg.net.dialer}: one attempt, many attempts, and what is said of those that fail."""

from __future__ import annotations

from collections.abc import Callable

from attrs import Factory, define
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from securemsg.crypto.keys import spki_digest
from securemsg.net.control import observe_daemon
from securemsg.net.dialer import FIRST_DELAY, FULL_CODE, MAX_DELAY, MAX_FULL_DELAY, Dialer, Route, later_route
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import HANDSHAKE_TIME
from securemsg.net.tls import ClientTrust
from securemsg.net.turn import Turn
from securemsg.protocol.messages import Failed
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, FakePeer
from tests.net.test_stream import frames


@implementer(IStreamClientEndpoint)
@define
class FakeEndpoint:
    """Keeps the attempts, for the test to decide what becomes of them."""

    attempts: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = Factory(list)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """One more."""
        attempt: Deferred[IProtocol] = Deferred()
        self.attempts.append((protocolFactory, attempt))
        return attempt

    def succeed(self) -> tuple[IProtocol, StringTransport]:
        """The last attempt gets its transport."""
        factory, attempt = self.attempts[-1]
        protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        attempt.callback(protocol)
        return protocol, transport


class DialerCase(SynchronousTestCase):
    """A dialer, still at rest."""

    def setUp(self) -> None:
        """Make one for each manner."""
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        self.peer = FakePeer()
        self.failures: list[str] = []

    def dialer(self, *, again: bool = False, secure: bool = False) -> Dialer:
        """A dialer that has begun."""
        trust = ClientTrust("localhost", spki_digest) if secure else None
        made = Dialer(
            [Route(self.endpoint, trust.observe if trust else observe_daemon, trust, trust is not None)],
            self.peer,
            self.clock,
            Turn(self.clock),
            self.failures.append,
            again,
            lambda: 0.5,
        )
        made.start()
        return made

    def lose(self, protocol: IProtocol, reason: Exception | None = None) -> None:
        """A connection ends."""
        protocol.connectionLost(Failure(reason or ConnectionDone()))

    def log_in(self, protocol: IProtocol) -> None:
        """The login succeeds."""
        assert isinstance(protocol, StreamProtocol)
        protocol.send(HELLO)
        protocol.dataReceived(frames(CHALLENGE))
        protocol.send(PROOF)
        protocol.dataReceived(frames(WELCOME))


class FailureTests(DialerCase):
    """Why it did not come to a connection."""

    def test_codes(self) -> None:
        """A refused connection, an unknown host and a time limit have codes of their own as far as that helps."""
        for reason, code in (
            (error.ConnectionRefusedError(), "not-connected"),
            (DNSLookupError(), "not-connected"),
            (error.TimeoutError(), "timeout"),
        ):
            self.dialer()
            self.endpoint.attempts[-1][1].errback(Failure(reason))
            self.assertEqual(self.failures.pop(), code)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tls(self) -> None:
        """A handshake that fails is C{tls}, one that is cut off is C{not-connected}."""
        for reason, code in ((SSL.Error([]), "tls"), (ConnectionDone(), "not-connected")):
            self.dialer(secure=True)
            protocol, _ = self.endpoint.succeed()
            self.lose(protocol.wrappedProtocol, reason)  # type: ignore[attr-defined]
            self.assertEqual(self.failures.pop(), code)
        self.assertIsNone(self.peer.channel)

    def test_silent_server(self) -> None:
        """A server that says nothing in its handshake is a C{timeout}."""
        self.dialer(secure=True)
        protocol, transport = self.endpoint.succeed()
        self.clock.advance(HANDSHAKE_TIME)
        self.assertTrue(transport.disconnected)
        self.lose(protocol)
        self.assertEqual(self.failures, ["timeout"])

    def test_other_program(self) -> None:
        """A port where something else answers is C{tls}."""
        self.dialer(secure=True)
        protocol, _ = self.endpoint.succeed()
        protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.lose(protocol)
        self.assertEqual(self.failures, ["tls"])

    def test_end_of_connection(self) -> None:
        """After a connection was established, its peer alone is told of its end."""
        self.dialer()
        protocol, _ = self.endpoint.succeed()
        self.lose(protocol)
        self.assertEqual((self.failures, self.peer.codes), ([], ["lost"]))


class AgainTests(DialerCase):
    """Again and again."""

    def test_delays_grow(self) -> None:
        """Each failure doubles the delay, up to a minute."""
        self.dialer(again=True)
        delays = []
        for _ in range(10):
            self.endpoint.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))
            (call,) = self.clock.getDelayedCalls()
            delays.append(call.getTime() - self.clock.seconds())
            self.clock.advance(delays[-1])
        self.assertEqual(delays[:4], [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY])
        self.assertEqual(delays[-1], MAX_DELAY)

    def test_login_shortens(self) -> None:
        """After a login the first delay is short again; a connection that did not come so far does not count."""
        self.dialer(again=True)
        for _ in range(5):
            protocol, _ = self.endpoint.succeed()
            self.lose(protocol)
            self.clock.advance(MAX_DELAY)
        protocol, _ = self.endpoint.succeed()
        self.log_in(protocol)
        self.lose(protocol)
        before = len(self.endpoint.attempts)
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(len(self.endpoint.attempts), before + 1)

    def test_full(self) -> None:
        """A full server is asked again every few seconds, however often it said no; one that is gone after that, less often."""
        self.dialer(again=True)
        delays = []
        for code in (*[FULL_CODE] * 8, "stopping"):
            protocol, _ = self.endpoint.succeed()
            assert isinstance(protocol, StreamProtocol)
            protocol.send(HELLO)
            protocol.dataReceived(frames(CHALLENGE))
            protocol.send(PROOF)
            protocol.dataReceived(frames(Failed(code)))
            self.lose(protocol)
            self.clock.advance(0)
            (call,) = self.clock.getDelayedCalls()
            delays.append(call.getTime() - self.clock.seconds())
            self.clock.advance(delays[-1])
        self.assertEqual(delays[:3], [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY])
        self.assertEqual(delays[4:8], [MAX_FULL_DELAY] * 4)
        self.assertEqual(delays[8], MAX_DELAY)

    def test_told_when(self) -> None:
        """Who was logged in connects again when the server said; who has failed since then waits longer each time."""
        self.dialer(again=True)
        delays = []
        for logs_in in (True, False, False):
            protocol, _ = self.endpoint.succeed()
            assert isinstance(protocol, StreamProtocol)
            if logs_in:
                self.log_in(protocol)
            else:
                protocol.send(HELLO)
            protocol.dataReceived(frames(Failed("stopping", 7_250)))
            self.lose(protocol)
            self.clock.advance(0)
            (call,) = self.clock.getDelayedCalls()
            delays.append(call.getTime() - self.clock.seconds())
            self.clock.advance(delays[-1])
        self.assertEqual(delays, [7.25, 2 * FIRST_DELAY, 4 * FIRST_DELAY])

    def test_once(self) -> None:
        """Who wants one connection gets one."""
        self.dialer()
        protocol, _ = self.endpoint.succeed()
        self.lose(protocol)
        self.clock.advance(MAX_DELAY)
        self.assertEqual(len(self.endpoint.attempts), 1)


class StopTests(DialerCase):
    """Stopping."""

    def test_waiting(self) -> None:
        """Between two attempts there is nothing but a timer, and that stops."""
        dialer = self.dialer(again=True)
        self.endpoint.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))
        self.assertIsNone(self.successResultOf(dialer.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connecting(self) -> None:
        """An attempt that is under way is given up, and is no failure."""
        dialer = self.dialer(again=True)
        self.successResultOf(dialer.stop())
        self.assertEqual((self.failures, self.clock.getDelayedCalls()), ([], []))

    def test_connected(self) -> None:
        """A connection is ended, and the end is waited for."""
        dialer = self.dialer(again=True)
        protocol, transport = self.endpoint.succeed()
        self.log_in(protocol)
        stopped = dialer.stop()
        self.assertNoResult(stopped)
        self.assertTrue(transport.disconnecting)
        self.lose(protocol)
        self.successResultOf(stopped)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.peer.codes, [""])

    def test_start_again(self) -> None:
        """A dialer that was stopped can be started again."""
        dialer = self.dialer()
        self.successResultOf(dialer.stop())
        dialer.start()
        self.endpoint.succeed()
        self.assertIsNotNone(self.peer.channel)


class LaterTests(DialerCase):
    """A route that is made when it is tried."""

    def begin(self, make: Callable[[], Route]) -> None:
        """Have a dialer that tries it after a second."""
        route = later_route(make, 1)
        Dialer([route], self.peer, self.clock, Turn(self.clock), self.failures.append).start()

    def test_later(self) -> None:
        """It is made once, not before that, and says itself what protects the connection."""
        made: list[Route] = []

        def make() -> Route:
            made.append(Route(self.endpoint, observe_daemon))
            return made[-1]

        self.begin(make)
        self.clock.advance(0.9)
        self.assertEqual(made, [])
        self.clock.advance(0.1)
        protocol, _ = self.endpoint.succeed()
        assert isinstance(protocol, StreamProtocol)
        protocol.handshakeCompleted()
        self.assertIs(self.peer.channel, protocol)
        self.assertEqual(len(made), 1)

    def test_not_made(self) -> None:
        """One that cannot be made, for a library is broken, is one that does not connect."""

        def make() -> Route:
            raise ImportError

        self.begin(make)
        self.clock.advance(1)
        self.assertEqual(self.failures, ["not-connected"])
