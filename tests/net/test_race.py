"""Several routes to a server: they are tried together, and one wins."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.control import observe_daemon
from securemsg.net.dialer import LOGIN_LEAD, Dialer, Route
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import HANDSHAKE_TIME
from securemsg.net.turn import Turn
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, FakePeer
from tests.net.test_dialer import FakeEndpoint
from tests.net.test_stream import frames

DELAY = 0.25


class RaceCase(SynchronousTestCase):
    """A fast route, and another that is a little behind; both have handshakes."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.first, self.second = FakeEndpoint(), FakeEndpoint()
        self.peer = FakePeer()
        self.failures: list[str] = []
        routes = [Route(self.first, observe_daemon), Route(self.second, observe_daemon, delay=DELAY)]
        self.dialer = Dialer(routes, self.peer, self.clock, Turn(self.clock), self.failures.append)
        self.dialer.start()

    def lose(self, protocol: IProtocol) -> None:
        """Its transport is gone."""
        protocol.connectionLost(Failure(ConnectionDone()))

    def finish(self, endpoint: FakeEndpoint) -> tuple[StreamProtocol, StringTransport]:
        """One route stands, but for its handshake."""
        protocol, transport = endpoint.succeed()
        assert isinstance(protocol, StreamProtocol)
        return protocol, transport

    def log_in(self, protocol: StreamProtocol) -> None:
        """The login succeeds."""
        protocol.send(HELLO)
        protocol.dataReceived(frames(CHALLENGE))
        protocol.send(PROOF)
        protocol.dataReceived(frames(WELCOME))


class RaceTests(RaceCase):
    """Who is first."""

    def test_head_start(self) -> None:
        """The second is not tried at once."""
        self.assertEqual((len(self.first.attempts), len(self.second.attempts)), (1, 0))
        self.clock.advance(DELAY)
        self.assertEqual((len(self.first.attempts), len(self.second.attempts)), (1, 1))

    def test_not_needed(self) -> None:
        """If the first is done before that it is not tried at all."""
        protocol, _ = self.finish(self.first)
        protocol.handshakeCompleted()
        self.clock.advance(DELAY)
        self.assertEqual(len(self.second.attempts), 0)
        self.assertIs(self.peer.channel, protocol)

    def test_no_head_start(self) -> None:
        """If the first fails the second begins at once, and nothing is said of that."""
        self.first.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))
        self.assertEqual(len(self.second.attempts), 1)
        protocol, _ = self.finish(self.second)
        protocol.handshakeCompleted()
        self.assertIs(self.peer.channel, protocol)
        self.assertEqual(self.failures, [])

    def test_first_wins(self) -> None:
        """Whoever ends its handshake first gets the peer; the other is cut off, and its end means nothing."""
        self.clock.advance(DELAY)
        slow, slow_transport = self.finish(self.first)
        fast, _ = self.finish(self.second)
        fast.handshakeCompleted()
        self.assertIs(self.peer.channel, fast)
        self.assertTrue(slow_transport.disconnecting or slow_transport.disconnected)
        self.lose(slow)
        self.assertEqual((self.failures, self.peer.codes), ([], []))
        self.log_in(fast)
        self.lose(fast)
        self.assertEqual((self.failures, self.peer.codes), ([], ["lost"]))

    def test_both_fail(self) -> None:
        """If both fail it is said once, and why as well as it is known."""
        self.clock.advance(DELAY)
        self.first.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))
        self.assertEqual(self.failures, [])
        protocol, _ = self.finish(self.second)
        self.clock.advance(HANDSHAKE_TIME)
        self.lose(protocol)
        self.assertEqual(len(self.failures), 1)

    def test_stopped(self) -> None:
        """Whoever gives up leaves nothing behind."""
        protocol, transport = self.finish(self.first)
        done: list[None] = []
        self.dialer.stop().addCallback(done.append)
        self.assertTrue(transport.disconnecting)
        self.lose(protocol)
        self.assertEqual((len(done), len(self.second.attempts)), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_early(self) -> None:
        """Nor does whoever gives up while the first is being connected."""
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.dialer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.second.attempts), 0)


class LoginTests(RaceCase):
    """A handshake is won, and the login fails."""

    def win(self) -> StreamProtocol:
        """The first route is the faster one."""
        protocol, self.transport = self.finish(self.first)
        protocol.handshakeCompleted()
        self.assertIs(self.peer.channel, protocol)
        return protocol

    def test_silent(self) -> None:
        """Where the server says nothing the other route is tried soon, and the peer hears nothing of the first."""
        silent = self.win()
        self.clock.advance(LOGIN_LEAD)
        self.assertTrue(self.transport.disconnected)
        self.lose(silent)
        self.assertEqual((len(self.second.attempts), self.failures, self.peer.codes), (1, [], []))
        other, _ = self.finish(self.second)
        other.handshakeCompleted()
        self.assertIs(self.peer.channel, other)
        self.log_in(other)
        self.lose(other)
        self.clock.advance(0)
        self.assertEqual((self.failures, self.peer.codes), ([], ["lost"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_logged_in(self) -> None:
        """Whoever logs in has won, however long it stays silent after that."""
        protocol = self.win()
        self.log_in(protocol)
        self.clock.advance(LOGIN_LEAD)
        self.assertEqual((len(self.second.attempts), self.peer.codes), (0, []))
        self.lose(protocol)
        self.assertEqual((len(self.second.attempts), self.peer.codes), (0, ["lost"]))

    def test_nonsense(self) -> None:
        """Where it says what makes no sense the other is tried at once."""
        protocol = self.win()
        protocol.dataReceived(bytes(100))
        self.lose(protocol)
        self.assertEqual((len(self.second.attempts), self.peer.codes), (1, []))

    def test_no_better(self) -> None:
        """If the other route leads nowhere, the peer hears how the first ended."""
        protocol = self.win()
        protocol.dataReceived(bytes(100))
        self.lose(protocol)
        self.second.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))
        self.assertEqual((self.failures, self.peer.codes), ([], [protocol.code]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_both_silent(self) -> None:
        """If the other comes no further, the peer hears of that one."""
        first = self.win()
        self.lose(first)
        second, _ = self.finish(self.second)
        second.handshakeCompleted()
        second.dataReceived(bytes(100))
        self.lose(second)
        self.assertEqual((self.failures, self.peer.codes), ([], [second.code]))

    def test_given_up(self) -> None:
        """Whoever gives up meanwhile is told of the end, and nothing is left."""
        protocol = self.win()
        self.dialer.stop()
        self.lose(protocol)
        self.assertEqual((len(self.second.attempts), self.peer.codes), (0, [""]))
        self.assertEqual(self.clock.getDelayedCalls(), [])
