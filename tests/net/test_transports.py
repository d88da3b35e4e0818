"""What a stream may rely on, whatever carries it: the same tests over TLS and over QUIC, in memory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net.quic import WINDOW
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import CLOSING_TIME, LOGIN_TIME, STALL_TIME
from securemsg.protocol.messages import Deliver, Message, Ping, Pong
from tests.net.fakes import End, key_files, log_in, secure_pair
from tests.net.quicpair import Pair

# More than buffers at both ends hold.
MUCH = 100
SIZE = 48 * 1024


def delivery(number: int) -> Deliver:
    """A long message."""
    return Deliver(number, "alice", bytes(16), bytes(16), 0, bytes(SIZE), bytes(100))


class TransportTests:
    """
    The tests. C{connect} is the transport's own.

    @ivar settle: lets everything arrive that is on its way.
    @ivar deafen: nothing arrives at the client any more.
    """

    transport = ""
    is_post_quantum = False
    clock: Clock
    client: End
    server: End
    client_stream: StreamProtocol
    server_stream: StreamProtocol

    def settle(self) -> None:
        """See above."""
        raise NotImplementedError

    def connect(self, *, post_quantum: bool = False) -> None:
        """Connect two ends; the client may insist."""
        raise NotImplementedError

    def deafen(self) -> None:
        """See above."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Two ends, in their greetings."""
        self.connect()

    def log_in(self) -> None:
        """Log in."""
        log_in(self.server.peer, self.client.peer, self.settle)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.settle()

    def say(self, stream: StreamProtocol, *messages: Message) -> None:
        """One end says that, and it arrives."""
        for message in messages:
            stream.send(message)
        self.settle()

    def test_binding(self) -> None:
        """Both ends see the same channel, and the server's key."""
        binding = self.client_stream.binding
        assert isinstance(self, SynchronousTestCase)
        self.assertEqual(binding, self.server_stream.binding)
        self.assertEqual((binding.transport, binding.spki), (self.transport, spki_digest(key_files()[0].read_bytes())))

    def test_post_quantum(self) -> None:
        """Who insists on a post-quantum key exchange gets a connection where there is one, else an end that says so."""
        assert isinstance(self, SynchronousTestCase)
        self.connect(post_quantum=True)
        self.assertEqual(self.client.peer.channel is not None, self.is_post_quantum)
        self.assertEqual(self.client.unopened, [] if self.is_post_quantum else ["not-post-quantum"])

    def test_messages(self) -> None:
        """What is said arrives, once and in order, in both directions."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        pings, pongs = [Ping(number) for number in range(1, 500)], [Pong(number, 0) for number in range(1, 500)]
        self.say(self.client_stream, *pings)
        self.say(self.server_stream, *pongs)
        self.assertEqual(self.server.peer.messages, pings)
        self.assertEqual(self.client.peer.messages, pongs)

    def test_much(self) -> None:
        """However much is said at once, all of it arrives."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        sent = [delivery(number) for number in range(1, MUCH)]
        self.say(self.server_stream, *sent)
        self.assertEqual(self.client.peer.messages, sent)

    def test_close(self) -> None:
        """What was said before the end arrives, and why it ended."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        sent = [delivery(number) for number in range(1, 10)]
        for message in sent:
            self.server_stream.send(message)
        self.server_stream.close("stopping")
        self.settle()
        self.assertEqual(self.client.peer.messages, sent)
        self.assertEqual((self.client.peer.codes, self.server.peer.codes), (["stopping"], ["stopping"]))

    def test_hang_up(self) -> None:
        """A client that hangs up says no code."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.client_stream.close()
        self.settle()
        self.assertEqual((self.client.peer.codes, self.server.peer.codes), ([""], ["lost"]))

    def test_last_words_unread(self) -> None:
        """Last words that nobody takes do not keep the connection."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.deafen()
        self.server_stream.close("stopping")
        self.wait(CLOSING_TIME + 1)
        self.assertEqual(self.server.peer.codes, ["stopping"])

    def test_silence(self) -> None:
        """A client that says nothing after the handshake is hung up on."""
        assert isinstance(self, SynchronousTestCase)
        self.wait(LOGIN_TIME + 1)
        self.assertEqual((self.client.peer.codes, self.server.peer.codes), (["timeout"], ["timeout"]))

    def test_nothing_left(self) -> None:
        """After an end nothing ticks."""
        assert isinstance(self, SynchronousTestCase)
        self.log_in()
        self.client_stream.close()
        self.settle()
        self.wait(CLOSING_TIME + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TlsTests(TransportTests, SynchronousTestCase):
    """TLS over a stream of bytes."""

    transport = "tcp"
    is_post_quantum = True

    def connect(self, *, post_quantum: bool = False) -> None:
        """See L{TransportTests}."""
        self.pair = pair = secure_pair(post_quantum=post_quantum)
        assert isinstance(pair.client_stream, StreamProtocol)
        self.clock, self.client, self.server = pair.clock, pair.client, pair.server
        self.client_stream, self.server_stream = pair.client_stream, pair.server_stream

    def settle(self) -> None:
        """See L{TransportTests}."""
        for _ in range(10):
            self.clock.advance(0)
            self.pair.pump.flush()

    def deafen(self) -> None:
        """See L{TransportTests}."""
        client_wire, _ = self.pair.wire
        client_wire.bufferReceived = lambda data: None  # type: ignore[method-assign]


class QuicTests(TransportTests, SynchronousTestCase):
    """QUIC over datagrams."""

    transport = "quic"

    def connect(self, *, post_quantum: bool = False) -> None:
        """See L{TransportTests}."""
        self.pair = pair = Pair(post_quantum=post_quantum)
        self.clock, self.client, self.client_stream = pair.network.clock, pair.client, pair.stream
        if not pair.ends:
            return
        self.server = pair.server
        channel = pair.server.peer.channel
        assert isinstance(channel, StreamProtocol)
        self.server_stream = channel

    def settle(self) -> None:
        """See L{TransportTests}."""
        self.pair.network.settle()

    def deafen(self) -> None:
        """See L{TransportTests}."""
        self.pair.network.hosts.pop(("192.0.2.2", 50000))

    def test_full(self) -> None:
        """A writer who outruns the network is told to wait, and to go on; nothing is lost."""
        self.log_in()
        sent = [delivery(number) for number in range(1, MUCH)]
        self.say(self.server_stream, *sent)
        self.assertEqual(self.server.peer.full, [True, False])
        self.assertEqual(self.client.peer.messages, sent)

    def test_paused(self) -> None:
        """Who takes nothing is sent no more than buffers hold; what waits comes when it goes on."""
        self.log_in()
        self.client_stream.pause(True)
        sent = [delivery(number) for number in range(1, MUCH)]
        self.say(self.server_stream, *sent)
        self.assertEqual(self.client.peer.messages, [])
        self.assertLess(self.client_stream.connection.unread, 8 * SIZE)
        self.assertEqual(self.server.peer.full, [True])
        self.client_stream.pause(False)
        self.settle()
        self.assertEqual(self.client.peer.messages, sent)

    def test_stalled(self) -> None:
        """Who reads nothing for a while is cut off."""
        self.log_in()
        self.deafen()
        self.say(self.server_stream, *[delivery(number) for number in range(1, MUCH)])
        self.wait(STALL_TIME - 1)
        self.assertEqual(self.server.peer.codes, [])
        self.wait(2)
        self.assertEqual(self.server.peer.codes, ["timeout"])

    def test_window(self) -> None:
        """However much has come before, no more waits for who takes nothing."""
        self.log_in()
        self.say(self.server_stream, *[delivery(number) for number in range(1, MUCH)])
        self.pair.wire.pauseProducing()
        self.say(self.server_stream, *[delivery(number) for number in range(1, MUCH)])
        self.assertLessEqual(sum(map(len, self.pair.wire._waiting)), WINDOW)
