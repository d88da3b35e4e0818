"""What one client makes the server keep, whatever it does: over both transports, with the server's own end of a connection."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from itertools import count

from msgspec.structs import replace
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from securemsg.counters import ServerCounters
from securemsg.net.quicwire import BUFFER_SIZE
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.timeouts import STALL_TIME
from securemsg.net.turn import Turn, spawn
from securemsg.protocol.auth import ROOMS
from securemsg.protocol.framing import MAX_ROOM_FRAME, encode_frame
from securemsg.protocol.messages import (
    Account,
    AccountRecord,
    Claim,
    Fetch,
    Message,
    Ping,
    Pong,
    SignedDeviceList,
    encode_message,
)
from securemsg.protocol.states import Side
from securemsg.server.commands import Row, _by_role, _row
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.limits import MIB, Settings
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME
from tests.net.quicpair import CLIENT, Pair, observe_server
from tests.net.socketpair import SocketPair

# What a device may make the server keep: its largest frame, as it comes and again as what it says, answers that wait, and what
# is read in one go. Half of the frame is spare, because what grows in place does so in steps.
BOUND = 2 * MIB
# What a client tries to have kept.
MUCH = 16 * MIB
# A page of a device list.
RECORD = AccountRecord("bob", bytes(32), SignedDeviceList(bytes(8192), bytes(64)))


def frame(message: Message) -> bytes:
    """A message on the wire."""
    return encode_frame(encode_message(message), MAX_ROOM_FRAME)


class Server:
    """
    Makes the server's ends of connections, whose commands are these alone; the rest is the server's.

    @ivar commands: carried out so far.
    """

    def __init__(self, turn: Turn) -> None:
        self.commands = 0

        def greet(connection: ClientConnection, message: object) -> None:
            connection.send(replace(CHALLENGE, features=[ROOMS]))

        def welcome(connection: ClientConnection, message: object) -> None:
            connection.become(Role.DEVICE)
            connection.send(WELCOME)

        def answer(connection: ClientConnection, message: object) -> None:
            self.commands += 1
            connection.send(Account(1, RECORD) if isinstance(message, Fetch) else Pong(1, 0))

        async def wait(connection: ClientConnection, message: object) -> None:
            await Deferred()

        stranger, device = (Role.STRANGER,), (Role.DEVICE,)
        rows: list[Row] = [_row(type(HELLO), stranger, greet), _row(type(PROOF), stranger, welcome)]
        rows += [_row(Ping, device, answer), _row(Fetch, device, answer), _row(Claim, device, wait)]
        self._tables, self._turn = _by_role(rows), turn

    def connect(self) -> ClientConnection:
        """The server's end of a connection."""

        def ignore(*arguments: object) -> None:
            """Nothing is counted."""

        return ClientConnection(
            self._tables, spawn, self._turn.later, ignore, ignore, ignore, Settings().max_queued, False, ServerCounters()
        )


class BoundTests:
    """The tests; how bytes get there is the transport's."""

    server: Server
    stream: StreamProtocol

    def push(self, data: bytes) -> int:
        """Send as much as the transport takes; the server has its turns."""
        raise NotImplementedError

    def pass_time(self, seconds: int) -> None:
        """Let time pass."""
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether the server has not hung up."""
        return self.stream.code is None

    def send(self, data: bytes) -> int:
        """Send all of it, as long as the server takes any."""
        sent, idle = 0, 0
        while sent < len(data) and idle < 20:
            taken = self.push(data[sent:])
            sent += taken
            idle = 0 if taken else idle + 1
        return sent

    def assert_bounded(self, pieces: Iterable[bytes]) -> None:
        """However much of this the client sends, or tries to, no more is kept than the bound."""
        for message in (replace(HELLO, features=[ROOMS]), PROOF):
            assert self.send(frame(message))
        gc.collect()
        tracemalloc.start()
        try:
            before, sent, peak = tracemalloc.get_traced_memory()[0], 0, 0
            for piece in pieces:
                taken = self.send(piece)
                sent += len(piece)
                peak = max(peak, tracemalloc.get_traced_memory()[0] - before - len(piece))
                if taken < len(piece) or sent >= MUCH or not self.is_open:
                    break
        finally:
            tracemalloc.stop()
        assert peak < BOUND, f"{peak} bytes are kept"

    def test_slow_reader(self) -> None:
        """Who asks for much, and reads nothing of it, is asked to wait and then cut off."""
        questions = frame(Fetch(1, "bob")) * 100
        self.assert_bounded(questions for _ in count())
        assert 0 < self.server.commands * 8192 < 4 * BOUND, self.server.commands
        self.pass_time(STALL_TIME + 2)
        assert not self.is_open

    def test_pings(self) -> None:
        """So is who only pings; one answer is as short as its question."""
        pings = frame(Ping(1)) * 1000
        self.assert_bounded(pings for _ in count())

    def test_half_frame(self) -> None:
        """Of a frame that never ends no more is kept than the largest has."""
        whole = (MAX_ROOM_FRAME).to_bytes(4, "big") + bytes(MAX_ROOM_FRAME - 1)
        self.assert_bounded(whole[at : at + 10_000] for at in range(0, len(whole), 10_000))

    def test_slow_writer(self) -> None:
        """Nor more of one that comes in crumbs."""
        header = (MAX_ROOM_FRAME).to_bytes(4, "big")
        self.assert_bounded(header[at : at + 1] if at < 4 else b"\x00" for at in range(5000))

    def test_unanswered(self) -> None:
        """Behind a command whose answer does not come nothing is carried out, and little is read."""
        chunk = frame(Ping(1)) * 1000
        pieces = (frame(Claim(1, "bob", bytes(16), 0)) if number == 0 else chunk for number in count())
        self.assert_bounded(pieces)
        assert self.server.commands == 0


class TlsBoundTests(BoundTests, SynchronousTestCase):
    """TLS over TCP."""

    def setUp(self) -> None:
        """Shake hands."""

        def make(pair: SocketPair) -> StreamProtocol:
            self.server = Server(pair.turn)
            self.stream = StreamProtocol(
                ConnectionOptions(Side.SERVER, self.server.connect, pair.credentials.observe, pair.reactor, pair.turn)
            )
            return self.stream

        self.pair = SocketPair(self, make=make)
        self.pair.shake_hands()
        self.addCleanup(self.pair.transport.drop)

    def push(self, data: bytes) -> int:
        """See L{BoundTests}."""
        try:
            taken: int = self.pair.tls.send(data[:65536])
        except SSL.WantWriteError:
            taken = 0
        self.pair.reactor.turn()
        return taken

    def pass_time(self, seconds: int) -> None:
        """See L{BoundTests}."""
        for _ in range(seconds):
            self.pair.reactor.advance(1)
            self.pair.reactor.turn()


class QuicBoundTests(BoundTests, SynchronousTestCase):
    """QUIC over UDP. What the client's library keeps to send it again counts as well."""

    def setUp(self) -> None:
        """Shake hands."""
        self.pair = Pair()
        self.network = self.pair.network
        options = self.pair.common.options(observe_server)
        self.server = Server(options.turn)
        channel = self.pair.server.peer.channel
        assert isinstance(channel, StreamProtocol)
        self.stream = channel
        peer = self.server.connect()
        # The server's end, in the place of one that only records.
        channel._peer = peer
        peer.opened(channel)
        self.pair.wire.pauseProducing()

    def push(self, data: bytes) -> int:
        """See L{BoundTests}."""
        wire = self.pair.wire
        taken = max(0, min(len(data), BUFFER_SIZE - wire.unsent()))
        wire.write(data[:taken])
        self.network.settle()
        self.network.log.clear()
        return taken

    def pass_time(self, seconds: int) -> None:
        """See L{BoundTests}."""
        self.network.hosts.pop(CLIENT)
        self.network.advance(seconds)
