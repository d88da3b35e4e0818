"""Tests of L{securemsg.net.stream} over a transport without TLS: messages, turns, backpressure, time, and ends."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.errors import RemoteProtocolError
from securemsg.net.stream import UNREADABLE_CODE, StreamProtocol
from securemsg.net.timeouts import CLOSING_TIME, IDLE_TIME, LOGIN_LIMIT, LOGIN_TIME, STALL_TIME
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import LENGTH_SIZE, MAX_FRAME, FrameDecoder, encode_frame
from securemsg.protocol.messages import (
    Failed,
    Message,
    Ping,
    Pong,
    Unknown,
    decode_message,
    encode_message,
)
from securemsg.protocol.states import Side
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, FakePeer, plain


def frames(*messages: Message) -> bytes:
    """Messages as bytes of the wire."""
    return b"".join(encode_frame(encode_message(message)) for message in messages)


def messages_in(data: bytes) -> list[Message | Unknown]:
    """The reverse of L{frames}."""
    decoder = FrameDecoder(2**20)
    decoder.feed(data)
    return [decode_message(payload) for payload in iter(decoder.next, None)]


class CountingTransport(StringTransport):
    """A transport that counts the writes, and can be aborted."""

    writes = 0
    offset = 0
    dataBuffer = b""

    def write(self, data: bytes) -> None:
        """Count, too."""
        self.writes += 1
        super().write(data)


class StreamCase(SynchronousTestCase):
    """A server's end that is connected, with its peer."""

    idle_time = 0

    def setUp(self) -> None:
        """Connect it."""
        self.clock = Clock()
        self.stream, self.end = plain(Side.SERVER, self.clock, self.idle_time)
        self.peer = self.end.peer
        self.transport = CountingTransport()
        self.stream.makeConnection(self.transport)

    def log_in(self) -> None:
        """Take the stream to phase ready."""
        self.stream.dataReceived(frames(HELLO))
        self.stream.send(CHALLENGE)
        self.stream.dataReceived(frames(PROOF))
        self.stream.send(WELCOME)
        self.clock.advance(0)
        self.peer.messages.clear()
        self.transport.clear()
        self.transport.writes = 0

    def fill(self) -> int:
        """
        The peer pauses, and so much comes that the stream reads no more.

        @return: how many messages came, Ping(0) to Ping(n - 1).
        """
        self.stream.pause(True)
        count = 0
        while self.transport.producerState == "producing":
            self.assertLessEqual(self.stream.connection.unread, MAX_FRAME + LENGTH_SIZE)
            self.stream.dataReceived(frames(Ping(count)))
            count += 1
        return count

    def lose(self) -> None:
        """The transport goes away."""
        self.stream.connectionLost(Failure(ConnectionDone()))

    def said(self) -> list[Message | Unknown]:
        """What the stream wrote."""
        return messages_in(self.transport.value())


class MessageTests(StreamCase):
    """Bytes to messages and back."""

    def test_interfaces(self) -> None:
        """The stream is a channel, and the fake a peer."""
        verifyObject(IChannel, self.stream)
        verifyObject(IPeer, self.peer)

    def test_opened(self) -> None:
        """Without TLS the peer has its channel as soon as the transport is connected."""
        self.assertIs(self.peer.channel, self.stream)

    def test_every_cut(self) -> None:
        """Messages arrive whole wherever the network cuts the stream."""
        wire = frames(Ping(1), Ping(2), Ping(3))
        for cut in range(len(wire) + 1):
            self.setUp()
            self.log_in()
            self.stream.dataReceived(wire[:cut])
            self.stream.dataReceived(wire[cut:])
            self.assertEqual(self.peer.messages, [Ping(1), Ping(2), Ping(3)])

    def test_dribble(self) -> None:
        """A peer that sends byte by byte is understood."""
        self.log_in()
        for byte in frames(Ping(7)):
            self.stream.dataReceived(bytes((byte,)))
        self.assertEqual(self.peer.messages, [Ping(7)])

    def test_one_write_a_turn(self) -> None:
        """Everything that is sent in one turn is one write at its end, in order."""
        self.log_in()
        for number in range(5):
            self.stream.send(Pong(number, 0))
        self.assertEqual(self.transport.writes, 0)
        self.clock.advance(0)
        self.assertEqual(self.transport.writes, 1)
        self.assertEqual(self.said(), [Pong(number, 0) for number in range(5)])

    def test_one_timer_for_all(self) -> None:
        """However many streams have something to write, the turn costs one timer."""
        turn = Turn(self.clock)
        before = len(self.clock.getDelayedCalls())
        for _ in range(3):
            turn.later(lambda: None)
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)

    def test_turn_goes_on(self) -> None:
        """A call that fails at the end of a turn is logged, and the others are made."""
        turn = Turn(self.clock)
        made: list[int] = []
        turn.later(lambda: made.append(1))
        turn.later(lambda: [][0])
        turn.later(lambda: made.append(2))
        self.clock.advance(0)
        self.assertEqual(made, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    def test_unknown_message(self) -> None:
        """After the login a message of a newer version reaches the peer as what it is."""
        self.log_in()
        self.stream.dataReceived(encode_frame(b"\x92\xcc\xc8\x05"))
        self.assertEqual(self.peer.messages, [Unknown(200, 5)])
        self.assertFalse(self.transport.disconnecting)


class BadInputTests(StreamCase):
    """What the peer does wrong ends its own connection, with a code."""

    def assert_hung_up(self, code: str) -> None:
        """The peer was told this code, and nothing was logged as an error."""
        self.assertEqual(self.said()[-1], Failed(code))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.end.on_hangup, [code])
        self.lose()
        self.assertEqual(self.peer.codes, [code])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_garbage(self) -> None:
        """Bytes that are no message are answered C{malformed}."""
        self.stream.dataReceived(encode_frame(b"\xc1 nonsense"))
        self.assert_hung_up("malformed")

    def test_other_protocol(self) -> None:
        """An HTTP request announces far too large a frame."""
        self.stream.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assert_hung_up("frame-too-large")

    def test_announced_size(self) -> None:
        """A frame that is too large is refused when it is announced, before any of it came."""
        self.stream.dataReceived((4097).to_bytes(4, "big"))
        self.assert_hung_up("frame-too-large")

    def test_out_of_turn(self) -> None:
        """A deposit or anything else before the login is out of turn."""
        self.stream.dataReceived(frames(Ping(1)))
        self.assert_hung_up("out-of-turn")

    def test_good_before_bad(self) -> None:
        """Messages before the bad one were handed over, and what was answered to them goes out before the code."""
        self.log_in()
        self.peer.react = lambda message: self.stream.send(Pong(1, 0))
        self.stream.dataReceived(frames(Ping(1)) + encode_frame(b"\xc1") + frames(Ping(2)))
        self.assertEqual(self.peer.messages, [Ping(1)])
        self.assertEqual(self.said(), [Pong(1, 0), Failed("malformed")])

    def test_peer_complains(self) -> None:
        """The domain can find fault with a well-formed message, too."""
        self.log_in()

        def complain(message: Message | Unknown) -> None:
            """Find fault."""
            raise RemoteProtocolError("bad-acknowledgement", "detail that stays here")

        self.peer.react = complain
        self.stream.dataReceived(frames(Ping(1), Ping(2)))
        self.assertEqual(len(self.peer.messages), 1)
        self.assert_hung_up("bad-acknowledgement")

    def test_bug(self) -> None:
        """An exception of ours is logged, the peer gets C{internal}, and the connection ends."""
        self.log_in()
        self.peer.react = lambda message: [][0]
        self.stream.dataReceived(frames(Ping(1), Ping(2)))
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(self.said(), [Failed("internal")])
        self.assertTrue(self.transport.disconnecting)
        self.lose()
        self.assertEqual(self.peer.codes, ["internal"])

    def test_send_out_of_turn(self) -> None:
        """To send out of turn is a bug that ends this connection and does not reach the sender, who may have many to serve."""
        self.stream.send(Pong(1, 0))
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(self.said(), [Failed("internal")])

    def test_opened_fails(self) -> None:
        """A peer that fails when it is opened loses the connection, and is told of the end."""

        class Broken(FakePeer):
            """Fails at once."""

            def opened(self, channel: IChannel) -> None:
                """Fail."""
                raise ValueError

        stream, end = plain(Side.SERVER, self.clock)
        end.peer = Broken()
        transport = StringTransport()
        stream.makeConnection(transport)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertTrue(transport.disconnecting)

    def test_closed_fails(self) -> None:
        """A peer that fails at the end is logged, no more."""

        class Broken(FakePeer):
            """Fails at the end."""

            def closed(self, code: str) -> None:
                """Fail."""
                raise ValueError

        stream, end = plain(Side.SERVER, self.clock)
        end.peer = Broken()
        stream.makeConnection(StringTransport())
        stream.connectionLost()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_client_stays_in_turn(self) -> None:
        """A client hangs up on a server that talks nonsense, and says so only where the protocol lets it."""
        stream, end = plain(Side.CLIENT, self.clock)
        transport = StringTransport()
        stream.makeConnection(transport)
        stream.send(HELLO)
        self.clock.advance(0)
        transport.clear()
        stream.dataReceived(encode_frame(b"\xc1"))
        self.assertEqual(transport.value(), b"")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(end.on_hangup, ["malformed"])


class TimeTests(StreamCase):
    """Nothing takes for ever."""

    def test_login(self) -> None:
        """A peer that does not log in within ten seconds gets C{timeout} and is disconnected."""
        self.clock.advance(LOGIN_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual(self.said(), [Failed("timeout")])
        self.assertEqual(self.end.on_hangup, ["timeout"])

    def test_dribbled_login(self) -> None:
        """Bytes that trickle in lengthen the time for the login, but not beyond a minute."""
        for byte in frames(HELLO)[: LOGIN_LIMIT // 5 - 1]:
            self.stream.dataReceived(bytes((byte,)))
            self.clock.advance(5)
        self.assertFalse(self.transport.disconnecting)
        self.stream.dataReceived(b"")
        self.clock.advance(5)
        self.assertEqual(self.said(), [Failed("timeout")])

    def test_login_leaves_slowly(self) -> None:
        """A login whose own bytes still leave goes on; ten seconds after the last of them it ends."""
        self.transport.dataBuffer = bytes(5)
        for _ in range(5):
            self.assertFalse(self.transport.disconnecting)
            self.stream.moved_at()
            self.clock.advance(LOGIN_TIME / 2)
            self.transport.offset += 1
        self.stream.moved_at()
        self.clock.advance(LOGIN_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)

    def test_moved(self) -> None:
        """What comes and what the other end takes is movement; what waits is none."""
        self.log_in()
        self.clock.advance(1)
        before = self.stream.moved_at()
        self.clock.advance(1)
        self.transport.dataBuffer = bytes(10)
        self.assertEqual(self.stream.moved_at(), before)
        self.clock.advance(1)
        self.transport.offset = 1
        taken = self.stream.moved_at()
        self.clock.advance(1)
        self.assertEqual(self.stream.moved_at(), taken)
        self.stream.dataReceived(frames(Ping(1))[:1])
        self.assertGreater(self.stream.moved_at(), taken)
        self.assertGreater(taken, before)

    def test_no_limit(self) -> None:
        """Where there is no such limit a peer that is logged in may be silent for ever, and costs no timer."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10**6)
        self.assertFalse(self.transport.disconnecting)

    def test_late_abort(self) -> None:
        """A peer that does not hang up after the last message is cut off five seconds later."""
        self.log_in()
        self.stream.close("stopping")
        self.clock.advance(CLOSING_TIME - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_nothing_left_ticking(self) -> None:
        """After the end no timer is left."""
        self.stream.close()
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stalled_reader(self) -> None:
        """Who takes nothing of a full buffer for thirty seconds is cut off without a word."""
        self.log_in()
        self.stream.pauseProducing()
        self.clock.advance(STALL_TIME)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.said(), [])
        self.assertEqual(self.end.on_hangup, ["timeout"])

    def test_timer_of_login(self) -> None:
        """The timer that was set for the login does not shorten the thirty seconds."""
        self.log_in()
        self.stream.pauseProducing()
        for seconds in (LOGIN_TIME, STALL_TIME - LOGIN_TIME - 1):
            self.clock.advance(seconds)
            self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_stalled_while_more_waits(self) -> None:
        """What is added to a full buffer is no sign of a reader."""
        self.log_in()
        self.stream.pauseProducing()
        self.transport.dataBuffer = bytes(10)
        self.clock.advance(STALL_TIME)
        self.assertTrue(self.transport.disconnected)

    def test_slow_reader(self) -> None:
        """Who takes little, but takes, is left alone."""
        self.log_in()
        self.stream.pauseProducing()
        for _ in range(5):
            self.transport.offset += 1
            self.clock.advance(STALL_TIME)
        self.assertFalse(self.transport.disconnected)

    def test_buffer_full_at_login(self) -> None:
        """A buffer that was full when the login ended is watched from then on."""
        self.stream.pauseProducing()
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.clock.advance(STALL_TIME)
        self.assertTrue(self.transport.disconnected)


class IdleTests(StreamCase):
    """A device that sends nothing keeps no place."""

    idle_time = IDLE_TIME

    def test_silent(self) -> None:
        """A logged-in peer that sends no byte for fifteen minutes gets C{timeout} and is disconnected."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.clock.advance(IDLE_TIME - LOGIN_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual(self.said(), [Failed("timeout")])
        self.assertEqual(self.end.on_hangup, ["timeout"])
        self.lose()
        self.assertEqual((self.peer.codes, self.clock.getDelayedCalls()), (["timeout"], []))

    def test_ready(self) -> None:
        """Fifteen minutes count from the last byte, wherever in a message it was."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        for payload in (frames(Ping(1))[:1], frames(Ping(1))[1:]):
            self.clock.advance(IDLE_TIME - LOGIN_TIME - 1)
            self.stream.dataReceived(payload)
        self.assertEqual(self.peer.messages, [Ping(1)])
        self.clock.advance(IDLE_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual(self.said(), [Failed("timeout")])

    def test_spoken_to(self) -> None:
        """What we send proves nothing of the peer."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.clock.advance(IDLE_TIME - LOGIN_TIME - 1)
        self.stream.send(Pong(1, 0))
        self.clock.advance(1)
        self.assertEqual(self.said(), [Pong(1, 0), Failed("timeout")])

    def test_one_timer(self) -> None:
        """However much comes, there is one timer, and it is set once in fifteen minutes."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        (timer,) = self.clock.getDelayedCalls()
        for _ in range(100):
            self.clock.advance(1)
            self.stream.dataReceived(frames(Ping(1)))
        self.assertEqual(self.clock.getDelayedCalls(), [timer])

    def test_not_read(self) -> None:
        """While we do not read, and right after, a peer cannot be blamed for silence."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.fill()
        self.clock.pump([IDLE_TIME / 3] * 10)
        self.stream.pause(False)
        self.clock.advance(0)
        self.clock.advance(IDLE_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual(self.said(), [Failed("timeout")])

    def test_after_full_buffer(self) -> None:
        """After the buffer was full, and moved, silence counts as before."""
        self.log_in()
        self.clock.advance(LOGIN_TIME)
        self.stream.pauseProducing()
        self.transport.offset += 1
        self.clock.advance(STALL_TIME)
        self.stream.resumeProducing()
        self.clock.advance(STALL_TIME)
        self.clock.advance(IDLE_TIME - LOGIN_TIME - 2 * STALL_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual(self.said(), [Failed("timeout")])


class PressureTests(StreamCase):
    """Backpressure both ways."""

    def test_full_and_drained(self) -> None:
        """The peer is told once when the buffer is full, and once when it has drained."""
        self.log_in()
        for call in (self.stream.pauseProducing, self.stream.pauseProducing, self.stream.resumeProducing):
            call()
        self.stream.resumeProducing()
        self.assertEqual(self.peer.full, [True, False])
        self.clock.advance(STALL_TIME)
        self.assertFalse(self.transport.disconnected)

    def test_registered(self) -> None:
        """The connection is registered as the transport's producer."""
        self.assertIs(self.transport.producer, self.stream)
        self.assertTrue(self.transport.streaming)

    def test_pause(self) -> None:
        """A peer that has paused gets nothing, and the network is read up to a bound; then all comes, in order."""
        self.log_in()
        count = self.fill()
        self.assertEqual((self.transport.producerState, self.peer.messages), ("paused", []))
        self.stream.pause(False)
        self.assertEqual(self.peer.messages, [])
        self.clock.advance(0)
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(self.peer.messages, [Ping(number) for number in range(count)])

    def test_pause_between(self) -> None:
        """A peer that pauses at each message gets one at a time, though all were read together."""
        self.log_in()
        self.peer.react = lambda message: self.stream.pause(True)
        self.stream.dataReceived(frames(Ping(1), Ping(2), Ping(3)))
        for count in (1, 2, 3):
            self.assertEqual(self.peer.messages, [Ping(number + 1) for number in range(count)])
            self.stream.pause(False)
            self.clock.advance(0)

    def test_paused_again(self) -> None:
        """A pause that ends and begins in the same turn goes on."""
        self.log_in()
        self.stream.pause(True)
        self.stream.dataReceived(frames(Ping(1)))
        self.stream.pause(False)
        self.stream.pause(True)
        self.clock.advance(0)
        self.assertEqual(self.peer.messages, [])

    def test_lost_while_paused(self) -> None:
        """What waits when the connection is lost, or closed, is dropped."""
        for is_lost in (True, False):
            self.setUp()
            self.log_in()
            self.stream.pause(True)
            self.stream.dataReceived(frames(Ping(1)))
            self.stream.pause(False)
            if is_lost:
                self.lose()
            else:
                self.stream.close()
            self.clock.advance(0)
            self.assertEqual(self.peer.messages, [])

    def test_close_reads_again(self) -> None:
        """A paused stream reads again when it closes, or it would never see the other end hang up."""
        self.log_in()
        self.fill()
        self.stream.close()
        self.assertEqual(self.transport.producerState, "producing")
        self.assertIsNone(self.transport.producer)


class EndTests(StreamCase):
    """Every end is told once."""

    def test_lost(self) -> None:
        """A transport that goes away with nothing said is C{lost}."""
        self.lose()
        self.assertEqual(self.peer.codes, ["lost"])

    def test_last_words_of_the_peer(self) -> None:
        """What the peer said last is the code, nothing is said in return, and the message itself is not handed over."""
        self.log_in()
        self.stream.dataReceived(frames(Failed("going-home"), Ping(1)))
        self.assertTrue(self.transport.disconnecting)
        self.lose()
        self.assertEqual(self.peer.codes, ["going-home"])
        self.assertEqual((self.said(), self.peer.messages), ([], []))

    def test_unreadable_last_words(self) -> None:
        """A peer's text does not get through in the place of a code."""
        self.log_in()
        self.stream.dataReceived(frames(Failed("\x1b[31mpwned")))
        self.lose()
        self.assertEqual(self.peer.codes, [UNREADABLE_CODE])

    def test_own_words(self) -> None:
        """What is queued goes out first, then the code; the peer is closed with that code."""
        self.log_in()
        self.stream.send(Pong(1, 2))
        self.stream.close("replaced")
        self.assertEqual(self.said(), [Pong(1, 2), Failed("replaced")])
        self.lose()
        self.assertEqual(self.peer.codes, ["replaced"])
        self.assertEqual(self.end.on_hangup, ["replaced"])

    def test_close_twice(self) -> None:
        """Only the first end counts."""
        self.log_in()
        self.stream.close("replaced")
        self.stream.close("stopping")
        self.assertEqual(self.said(), [Failed("replaced")])

    def test_retry_after(self) -> None:
        """When the client is to connect again is said to one that has announced that it knows this, and to no other."""
        for features, said in ((["retry-after"], 1500), ([], None)):
            self.setUp()
            self.stream.dataReceived(frames(HELLO))
            self.stream.send(replace(CHALLENGE, features=features))
            self.clock.advance(0)
            self.transport.clear()
            self.stream.close("stopping", 1500)
            self.assertEqual(self.said(), [Failed("stopping", said)])

    def test_late_bytes(self) -> None:
        """After the end bytes are dropped, and sending does nothing."""
        self.log_in()
        self.stream.close()
        self.stream.dataReceived(frames(Ping(1)) + b"\xff" * 100)
        self.stream.send(Pong(1, 1))
        self.clock.advance(0)
        self.assertEqual((self.peer.messages, self.said()), ([], []))

    def test_close_while_receiving(self) -> None:
        """A peer that hangs up in the middle of a read gets nothing more of it."""
        self.log_in()
        self.peer.react = lambda message: self.stream.close("enough")
        self.stream.dataReceived(frames(Ping(1), Ping(2)))
        self.assertEqual(self.peer.messages, [Ping(1)])
        self.assertEqual(self.said(), [Failed("enough")])

    def test_ready(self) -> None:
        """C{when_ready} makes its call once, at the login."""
        stream, _ = plain(Side.CLIENT, self.clock)
        stream.makeConnection(StringTransport())
        ready: list[bool] = []
        stream.when_ready(lambda: ready.append(True))
        other = Connection(Side.SERVER)
        stream.send(HELLO)
        list(other.receive(frames(HELLO)))
        stream.dataReceived(frames(CHALLENGE))
        stream.send(PROOF)
        self.assertEqual(ready, [])
        stream.dataReceived(frames(WELCOME))
        stream.dataReceived(frames(Pong(1, 1)))
        self.assertEqual(ready, [True])

    def test_refused_by_observation(self) -> None:
        """A transport that is not what it must be is dropped before anybody is introduced to it."""
        _, end = plain(Side.SERVER, self.clock)
        stream = StreamProtocol(end.options(lambda transport: None, handshake=False))
        transport = StringTransport()
        stream.makeConnection(transport)
        self.assertTrue(transport.disconnected)
        stream.connectionLost()
        self.assertEqual((end.unopened, end.peer.channel, end.peer.codes), (["forbidden"], None, []))
