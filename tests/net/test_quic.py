"""Tests of L{securemsg.net.quic} and L{securemsg.net.udp}: what only QUIC has, over datagrams in memory."""

from __future__ import annotations

import errno
import gc
import logging
import os
import random
import socket
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import cast

import pytest
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # as in securemsg.net.udp
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch, Group
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import same
from securemsg.net.link import is_post_quantum
from securemsg.net.listener import ADDRESS_LIMIT, PortUnavailable
from securemsg.net.quic import (
    ACKS_KEPT,
    FIRST_WINDOW,
    ID_SIZE,
    IDLE_TIME,
    MAX_GAPS,
    MAX_HANDSHAKE,
    WINDOW,
    Address,
    QuicState,
    client_configuration,
)
from securemsg.net.quicwire import KEEP_ALIVE, QuicWire
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import HANDSHAKE_TIME
from securemsg.net.udp import HANDSHAKE_SHARE, LONGEST_RESET, SMALLEST_FIRST, SMALLEST_RESET, inherited_socket
from securemsg.protocol.messages import Ping, Pong
from securemsg.server.addresses import source_of
from securemsg.server.limits import Settings
from tests.net.fakes import CHALLENGE, HELLO, log_in
from tests.net.quicpair import CLIENT, SERVER, Datagram, FakeSocket, Pair

ELSEWHERE: Address = ("198.51.100.7", 40000)
# By how much memory may grow under noise, bytes.
LEAK = 64 * 1024
# Datagrams that are made of the handshakes of one client.
RENEWED = 50


def kind(datagram: bytes) -> QuicPacketType:
    """Of the first packet in a datagram."""
    return pull_quic_header(Buffer(data=datagram), host_cid_length=ID_SIZE).packet_type


class QuicCase(SynchronousTestCase):
    """One client, which is connected."""

    limit = 100

    def setUp(self) -> None:
        """Connect, and listen to what the library logs."""
        self.logged: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = self.logged.append  # type: ignore[assignment,method-assign]
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.pair = Pair(limit=self.limit)
        self.network = self.pair.network

    def log_in(self) -> None:
        """Log in."""
        log_in(self.pair.server.peer, self.pair.client.peer, self.network.settle)

    def exchange(self, *numbers: int) -> None:
        """Something goes each way and arrives."""
        server = self.pair.server.peer
        assert isinstance(server.channel, StreamProtocol)
        for number in numbers:
            self.pair.stream.send(Ping(number))
            server.channel.send(Pong(number, 0))
            self.network.settle()
        self.network.advance(2)
        self.assertEqual(server.messages[-len(numbers) :], [Ping(number) for number in numbers])
        self.assertEqual(self.pair.client.peer.messages[-len(numbers) :], [Pong(number, 0) for number in numbers])

    def to_server(self, data: bytes, source: Address = ELSEWHERE) -> list[bytes]:
        """Send a datagram from somewhere; what comes back there."""
        before = len(self.network.log)
        self.network.send(source, data, SERVER)
        self.network.settle()
        return [datagram.data for datagram in self.network.log[before:] if datagram.target == source]

    def first(self) -> bytes:
        """The first datagram of another client."""
        state = QuicState(client_configuration("localhost"))
        state.connect(SERVER, self.network.clock.seconds())
        [(data, _)] = state.datagrams_to_send(self.network.clock.seconds())
        return data


class AddressTests(QuicCase):
    """Nothing is kept for an address that has not shown that it receives."""

    def test_retry_first(self) -> None:
        """A first datagram is answered with a retry, however often it comes, and leaves nothing behind."""
        before = len(self.pair.listener), len(self.pair.listener.wires)
        first = self.first()
        for _ in range(10):
            [answer] = self.to_server(first)
            self.assertIs(kind(answer), QuicPacketType.RETRY)
            self.assertLess(len(answer), len(first) / 3)
        self.assertEqual((len(self.pair.listener), len(self.pair.listener.wires)), before)

    def test_spoofed_source(self) -> None:
        """A token from one address is worth nothing at another."""
        stolen: list[bytes] = []

        def tap(datagram: Datagram) -> list[Datagram]:
            """Keep what a client says with its token."""
            if datagram.target == SERVER and kind(datagram.data) is QuicPacketType.INITIAL:
                stolen.append(datagram.data)
            return [datagram] if len(stolen) < 2 else []

        self.network.tap = tap
        self.pair.connect(("192.0.2.3", 1))
        self.network.settle()
        self.network.tap = lambda datagram: [datagram]
        before = len(self.pair.listener)
        self.assertEqual(self.to_server(stolen[1]), [])
        self.assertEqual(len(self.pair.listener), before)
        self.assertNotEqual(self.to_server(stolen[1], ("192.0.2.3", 1)), [])

    def test_old_token(self) -> None:
        """Nor is one that is a minute old."""
        kept: list[bytes] = []
        self.network.tap = lambda datagram: kept.append(datagram.data) or [datagram]  # type: ignore[func-returns-value]
        self.pair.connect(ELSEWHERE)
        self.network.settle()
        [_, with_token] = [data for data in kept if len(data) >= SMALLEST_FIRST and kind(data) is QuicPacketType.INITIAL][:3:2]
        self.network.clock.advance(60)
        self.network.settle()
        before = len(self.pair.listener)
        self.network.clock.advance(60)
        self.to_server(with_token)
        self.assertLessEqual(len(self.pair.listener), before)

    def test_amplification(self) -> None:
        """Before an address is known to receive, it is sent at most three times what came from there."""
        sent: dict[Address, int] = {}
        came: dict[Address, int] = {}

        def tap(datagram: Datagram) -> list[Datagram]:
            """The client's second flight is lost, and all that follows it."""
            sizes, end = (came, datagram.source) if datagram.target == SERVER else (sent, datagram.target)
            sizes[end] = sizes.get(end, 0) + len(datagram.data)
            is_late = datagram.target == SERVER and came[end] > 2 * SMALLEST_FIRST
            return [] if is_late else [datagram]

        self.network.tap = tap
        self.pair.connect(ELSEWHERE)
        self.network.advance(HANDSHAKE_TIME + 1)
        self.assertGreater(sent[ELSEWHERE], 0)
        self.assertLessEqual(sent[ELSEWHERE], 3 * 2 * SMALLEST_FIRST)

    def test_small_first(self) -> None:
        """A first datagram that is too short to be one is not answered."""
        self.assertEqual(self.to_server(self.first()[: SMALLEST_FIRST - 1]), [])

    def test_other_version(self) -> None:
        """Another version is told which one we speak; a short datagram is told nothing."""
        other = bytearray(self.first())
        other[1:5] = b"\x0a\x0a\x0a\x0a"
        [answer] = self.to_server(bytes(other))
        self.assertIs(kind(answer), QuicPacketType.VERSION_NEGOTIATION)
        header = b"\xc0" + bytes(other[1:5]) + b"\x08" + bytes(8) + b"\x00\x00\x04"
        self.assertEqual(self.to_server(header + bytes(4)), [])
        self.assertEqual(len(self.to_server(header + bytes(SMALLEST_FIRST))), 1)
        self.assertEqual(self.to_server(answer + bytes(SMALLEST_FIRST)), [])


class FullSocket(FakeSocket):
    """One whose kernel has no room."""

    def write(self, data: bytes, address: Address) -> None:
        """It takes nothing."""
        raise OSError(errno.ENOBUFS, "no buffer space available")


class SocketTests(QuicCase):
    """What a kernel does."""

    def test_refused(self) -> None:
        """A datagram that it does not take is lost, and sent again."""
        self.log_in()
        sound = self.pair.listener.transport
        self.pair.listener.transport = FullSocket(self.network, SERVER)  # type: ignore[assignment]
        self.pair.stream.send(Ping(1))
        self.network.settle()
        self.pair.listener.transport = sound
        self.exchange(2)

    def test_handed(self) -> None:
        """What was handed over must be a socket for UDP, and is not closed if it is another."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            self.assertRaises(PortUnavailable, inherited_socket, stream.fileno())
            self.assertGreater(os.fstat(stream.fileno()).st_ino, 0)


class LimitTests(QuicCase):
    """How many there may be."""

    limit = 3

    def test_open(self) -> None:
        """Beyond the limit nobody is answered; whoever leaves makes room."""
        self.log_in()
        ends = []
        for port in (1, 2, 3):
            ends.append(self.pair.connect(("192.0.2.9", port))[0])
            self.network.advance(1)
        self.assertEqual([end.peer.channel is not None for end in ends], [True, True, False])
        self.assertGreater(self.pair.listener.turned_away, 0)
        self.pair.stream.close()
        self.network.advance(3)
        self.assertIsNotNone(ends[2].peer.channel)

    def test_shared(self) -> None:
        """Connections over TCP count as well."""
        self.pair.listener._others = lambda: self.limit - 1
        end, _, _ = self.pair.connect(ELSEWHERE)
        self.network.advance(1)
        self.assertIsNone(end.peer.channel)

    def test_half_open(self) -> None:
        """Of those that never end their handshake there are few: the oldest goes when another comes, all go in time."""
        self.log_in()
        self.pair.listener._limit = 8 * HANDSHAKE_SHARE
        finished = len(self.pair.listener)
        said = Counter[Address]()

        def tap(datagram: Datagram) -> list[Datagram]:
            """Two datagrams from each, the second with a token; then silence."""
            said[datagram.source] += 1
            return [datagram] if datagram.source == SERVER or said[datagram.source] <= 2 else []

        self.network.tap = tap
        for port in range(40):
            address = ("192.0.2.9", 1000 + port)
            _, wire, _ = self.pair.connect(address)
            self.network.settle()
            self.network.hosts.pop(address)
            wire.stop()
        self.assertEqual(len(self.pair.listener) - finished, 8)
        self.network.tap = lambda datagram: [datagram]
        end, _, _ = self.pair.connect(ELSEWHERE)
        self.network.settle()
        self.assertIsNotNone(end.peer.channel)
        self.network.advance(HANDSHAKE_TIME + 5)
        self.assertEqual(len(self.pair.listener), finished)


class SourceTests(QuicCase):
    """How many there may be from one address."""

    def connected(self, host: str, port: int) -> bool:
        """Whether somebody at this address gets in; whoever does not goes on trying."""
        self.last, _, _ = self.pair.connect((host, port))
        self.network.advance(1)
        return self.last.peer.channel is not None

    def test_open(self) -> None:
        """
        Beyond the limit of an address nobody there is answered, the others are, and whoever leaves makes room. It is counted,
        and no place of another is taken for it.
        """
        self.log_in()
        self.pair.gate._settings = Settings(max_address_connections=2)
        self.assertEqual([self.connected("192.0.2.9", port) for port in (1, 2, 3)], [True, True, False])
        waiting = self.last
        self.assertIn(ADDRESS_LIMIT, self.pair.common.on_hangup)
        self.assertTrue(self.connected("192.0.2.8", 1))
        cast(StreamProtocol, self.pair.ends[1].peer.channel).close()
        self.network.advance(3)
        self.assertIsNotNone(waiting.peer.channel)

    def test_source(self) -> None:
        """The server knows a connection by its address; one that ends is counted no more, also where it never began."""
        source = source_of(CLIENT[0])
        channel = self.pair.server.peer.channel
        assert channel is not None
        self.assertEqual((channel.source, self.pair.gate.open), (source, {source: 1}))
        self.network.tap = lambda datagram: [datagram] if datagram.source != SERVER else []
        self.pair.stream.close()
        self.network.advance(60)
        self.assertEqual((len(self.pair.listener), dict(self.pair.gate.open)), (0, {}))

    def test_no_room(self) -> None:
        """Who finds all places taken is not counted."""
        self.pair.listener._others = lambda: self.limit
        self.assertFalse(self.connected("192.0.2.9", 1))
        self.assertEqual(self.pair.gate.open, {source_of(CLIENT[0]): 1})


class PathTests(QuicCase):
    """The same connection, whatever becomes of addresses and keys."""

    def move(self, address: Address) -> None:
        """Let the client's address change, as an address translator does."""
        self.network.hosts[address] = self.network.hosts.pop(CLIENT)
        self.pair.wire._send = lambda data, target: self.network.send(address, data, target)

    def test_moves(self) -> None:
        """A client that moves goes on without a new login."""
        self.log_in()
        self.exchange(1, 2)
        self.move(("192.0.2.2", 50001))
        self.exchange(3, 4)
        self.assertEqual((self.pair.client.peer.codes, len(self.pair.ends)), ([], 1))

    def test_nobody_else_moves_it(self) -> None:
        """Whoever repeats a client's datagrams from elsewhere gets no more than a question, and the client goes on."""
        self.log_in()
        self.exchange(1)
        ours = [datagram.data for datagram in self.network.log if datagram.source == CLIENT][-3:]
        answers = [answer for data in ours for answer in self.to_server(data)]
        self.assertLessEqual(sum(map(len, answers)), 3 * sum(map(len, ours)))
        self.exchange(2, 3)

    def test_key_update(self) -> None:
        """Keys are renewed in between."""
        self.log_in()
        self.exchange(1)
        for _ in range(3):
            self.pair.wire.state.request_key_update()
            self.exchange(2, 3)

    def test_kept_alive(self) -> None:
        """A connection on which nothing is said is kept, and both ends know of a dead one in time."""
        self.log_in()
        self.network.advance(5 * IDLE_TIME)
        self.exchange(1)
        self.network.hosts.clear()
        self.network.advance(IDLE_TIME + KEEP_ALIVE)
        self.assertEqual((self.pair.client.peer.codes, self.pair.server.peer.codes), (["lost"], ["lost"]))
        self.network.advance(IDLE_TIME)
        self.assertEqual((len(self.pair.listener), self.pair.listener.wires), (0, {}))

    def test_idle_for_long(self) -> None:
        """A connection that is only kept alive does not grow."""
        self.log_in()
        self.network.advance(4 * ACKS_KEPT * KEEP_ALIVE)
        [wire] = self.pair.listener._open
        for state in (wire.state, self.pair.wire.state):
            self.assertLessEqual(sum(len(space.sent_packets) for space in state._loss.spaces), 2 * ACKS_KEPT + 1)
        self.exchange(1)

    def test_kept_alive_by_us(self) -> None:
        """Whoever sends to the client in the server's name does not make it believe that the server has spoken."""
        self.log_in()
        for _ in range(3 * IDLE_TIME):
            self.network.send(SERVER, bytes([0x40]) + bytes(40), CLIENT)
            self.network.advance(1, 1)
        self.exchange(1)

    def test_bad_network(self) -> None:
        """A fifth of everything is lost, some comes twice, and hardly anything in order; everything arrives, in order."""
        chance = random.Random(1)

        def tap(datagram: Datagram) -> list[Datagram]:
            """Lose, repeat, or let others go first."""
            copies = [] if chance.random() < 0.2 else [datagram] * (1 + (chance.random() < 0.1))
            if chance.random() < 0.3:
                for copy in copies:
                    self.network.clock.callLater(0.02, self.network.way.append, copy)
                return []
            return copies

        self.network.tap = tap
        self.log_in()
        server = self.pair.server.peer
        assert isinstance(server.channel, StreamProtocol)
        pings, pongs = [Ping(number) for number in range(1, 2000)], [Pong(number, 0) for number in range(1, 2000)]
        for ping, pong in zip(pings, pongs, strict=True):
            self.pair.stream.send(ping)
            server.channel.send(pong)
        self.network.advance(60)
        self.assertEqual((server.messages, self.pair.client.peer.messages), (pings, pongs))

    def log_in(self) -> None:
        """The messages of the login, over whatever network there is."""
        log_in(self.pair.server.peer, self.pair.client.peer, lambda: self.network.advance(3))


class HoleTests(QuicCase):
    """A stranger that sends bytes out of order, with holes in between."""

    def send_pieces(self, wire: QuicWire, stream: QuicStream, size: int, pieces: list[range]) -> None:
        """Send these parts of so many bytes, and nothing of the others."""
        state = wire.state
        stream.sender.write(bytes(size))
        stream.sender._pending = RangeSet(pieces)
        # It waits for nobody.
        state._loss._cc.congestion_window = size * 100
        clock = self.network.clock
        for _ in range(50):
            for data, _ in state.datagrams_to_send(clock.seconds()):
                self.network.send(ELSEWHERE, data, SERVER)
            self.network.advance(0.1)

    def test_stream(self) -> None:
        """Many holes in the stream end the connection, before they cost much."""
        _, wire, _ = self.pair.connect(ELSEWHERE)
        self.network.settle()
        self.assertEqual(len(self.pair.listener), 2)
        self.pair.network.hosts.pop(ELSEWHERE)
        wire.write(b"")
        stream = wire.state._get_or_create_stream_for_send(0)
        self.send_pieces(wire, stream, 4 * MAX_GAPS, [range(at, at + 1) for at in range(1, 4 * MAX_GAPS, 2)])
        self.assertEqual(len(self.pair.listener), 1)
        self.assertEqual(self.pair.ends[-1].peer.codes, ["lost"])

    def test_few_holes(self) -> None:
        """As many as a bad network makes do not."""
        _, wire, _ = self.pair.connect(ELSEWHERE)
        self.network.settle()
        self.pair.network.hosts.pop(ELSEWHERE)
        wire.write(b"")
        stream = wire.state._get_or_create_stream_for_send(0)
        self.send_pieces(wire, stream, 2 * MAX_GAPS, [range(at, at + 1) for at in range(1, 2 * MAX_GAPS, 2)])
        self.assertEqual(len(self.pair.listener), 2)

    def test_handshake(self) -> None:
        """Nor may the handshake have many."""
        wire = self.begin()
        stream = wire.state._crypto_streams[Epoch.INITIAL]
        self.send_pieces(wire, stream, 8 * MAX_GAPS, [range(at, at + 1) for at in range(600, 8 * MAX_GAPS, 2)])
        self.assertEqual(len(self.pair.listener), 1)

    def test_handshake_ahead(self) -> None:
        """Nor may much of it come before its beginning."""
        wire = self.begin()
        stream = wire.state._crypto_streams[Epoch.INITIAL]
        self.send_pieces(wire, stream, 2 * MAX_HANDSHAKE, [range(600, 2 * MAX_HANDSHAKE)])
        self.assertEqual(len(self.pair.listener), 1)

    def begin(self) -> QuicWire:
        """A client whose handshake the server has begun to read."""
        _, wire, _ = self.pair.connect(ELSEWHERE)
        self.network.tap = lambda datagram: [] if len(self.pair.listener) > 1 else [datagram]
        self.network.settle()
        self.network.tap = lambda datagram: [datagram]
        self.network.hosts.pop(ELSEWHERE)
        self.assertEqual(len(self.pair.listener), 2)
        return wire

    def test_first_window(self) -> None:
        """Before its login a client may send a little."""
        self.assertEqual(self.pair.wire.state._remote_max_stream_data_bidi_remote, FIRST_WINDOW)


    def test_later_window(self) -> None:
        """After its login it may send more."""
        self.log_in()
        [wire] = self.pair.listener._open
        wire.pauseProducing()
        self.pair.wire.write(bytes(2 * WINDOW))
        self.network.advance(10)
        waiting = sum(map(len, wire._waiting))
        self.assertGreater(waiting, WINDOW // 2)
        self.assertLessEqual(waiting, WINDOW)


class ResetTests(QuicCase):
    """The daemon starts again, and knows nothing any more."""

    def restart(self) -> None:
        """Kill it."""
        for wire in self.pair.listener._open:
            wire.stop()
        self.pair.listen()

    def test_told(self) -> None:
        """A client that says something is told at once, and its connection is over."""
        self.log_in()
        self.restart()
        self.pair.stream.send(Ping(1))
        self.network.settle()
        self.assertEqual(self.pair.client.peer.codes, ["lost"])
        # Nothing keeps it alive any more, and its socket may be closed.
        self.assertIsNone(self.pair.wire._timer)
        self.assertIsInstance(self.pair.events[-1], ConnectionTerminated)

    def test_after_changed_id(self) -> None:
        """So is one that has taken another of the server's ids."""
        self.log_in()
        self.pair.wire.state.change_connection_id()
        self.pair.stream.send(Ping(1))
        self.network.advance(1)
        self.restart()
        self.pair.stream.send(Ping(2))
        self.network.settle()
        self.assertEqual(self.pair.client.peer.codes, ["lost"])

    def test_guessed_id(self) -> None:
        """Whoever guesses ids gets noise that is shorter than what it sent, and ends nobody's connection."""
        self.log_in()
        chance = random.Random(2)
        for size in (*range(1, 60), 1200):
            data = bytes([0x40 | chance.randrange(64)]) + chance.randbytes(size - 1)
            answers = self.to_server(data)
            self.assertEqual(len(answers), size > SMALLEST_RESET)
            self.assertTrue(all(len(answer) < min(size, LONGEST_RESET + 1) for answer in answers))
            for answer in answers:
                self.network.send(SERVER, answer, CLIENT)
        self.network.settle()
        self.assertEqual(self.pair.client.peer.codes, [])


class NoiseTests(QuicCase):
    """Whatever anybody sends, the others are served, nothing is kept, and nothing is logged for a datagram."""

    noise: int

    @pytest.fixture(autouse=True)
    def _take_noise(self, noise: int) -> None:
        """As much as the command line says."""
        self.noise = noise

    def setUp(self) -> None:
        """Log in."""
        super().setUp()
        self.log_in()

    def assert_unmoved(self, make: Callable[[random.Random], tuple[bytes, Address]]) -> None:
        """After all this noise, a datagram each millisecond, memory is as it was, and the client goes on."""
        chance = random.Random(3)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        held = 0
        for number in range(self.noise):
            if number == self.noise // 4:
                held = self.held()
            self.forget()
            data, source = make(chance)
            self.network.send(source, data, SERVER)
            self.network.clock.advance(0.001)
            self.network.settle()
        self.network.advance(HANDSHAKE_TIME + 5)
        self.assertLess(self.held() - held, LEAK)
        self.assertEqual(len(self.pair.listener), 1)
        self.exchange(1, 2)
        self.assertEqual((self.logged, self.events), ([], []))

    def forget(self) -> None:
        """Forget what the tests themselves keep."""
        self.network.log.clear()
        self.pair.events.clear()
        del self.pair.ends[1:]
        for kept in (self.pair.common.reasons, self.pair.common.unopened, self.pair.common.on_hangup):
            kept.clear()

    def held(self) -> int:
        """The memory in use, bytes."""
        self.forget()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    def test_random(self) -> None:
        """Random bytes of any length."""
        self.assert_unmoved(lambda chance: (chance.randbytes(chance.randrange(1500)), ELSEWHERE))

    def test_random_headers(self) -> None:
        """Random bytes behind the first bytes of every kind of packet."""

        def make(chance: random.Random) -> tuple[bytes, Address]:
            """One."""
            head = bytes([chance.choice((0xC0, 0xD0, 0xE0, 0xF0, 0x40))]) + b"\x00\x00\x00\x01"
            return head + bytes([8]) + chance.randbytes(1300), ELSEWHERE

        self.assert_unmoved(make)

    def test_from_the_client(self) -> None:
        """The same in the client's own name."""
        self.assert_unmoved(lambda chance: (chance.randbytes(chance.randrange(1500)), CLIENT))

    def test_handshakes(self) -> None:
        """Handshakes that are cut or altered."""
        flights: list[bytes] = []

        def tap(datagram: Datagram) -> list[Datagram]:
            """Keep what the client says."""
            if datagram.source == ELSEWHERE:
                flights.append(datagram.data)
            return [datagram]

        def renew() -> None:
            """Whole ones; a token is good for some seconds only."""
            flights.clear()
            self.network.tap = tap
            _, wire, stream = self.pair.connect(ELSEWHERE)
            self.network.settle()
            stream.close()
            self.network.advance(5)
            wire.stop()
            self.network.hosts.pop(ELSEWHERE)
            self.network.tap = lambda datagram: [datagram]

        numbers = count()

        def make(chance: random.Random) -> tuple[bytes, Address]:
            """One of them."""
            if next(numbers) % RENEWED == 0:
                renew()
            data = bytearray(chance.choice(flights))
            if chance.random() < 0.5:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.3 else data), ELSEWHERE

        self.assert_unmoved(make)


class HandshakeTests(QuicCase):
    """Who gets a connection."""

    def test_silent_server(self) -> None:
        """A server that never answers is given up."""
        self.network.hosts.pop(SERVER)
        end, _, _ = self.pair.connect(ELSEWHERE)
        self.network.advance(HANDSHAKE_TIME + 1)
        self.assertEqual(end.unopened, ["timeout"])

    def test_other_protocol(self) -> None:
        """A client that wants another protocol gets no connection."""
        state = QuicState(client_configuration("localhost"))
        state.configuration.alpn_protocols = ["h3"]
        end, wire, stream = self.pair.connect_with(state, ELSEWHERE)
        self.network.advance(3)
        self.assertEqual((len(self.pair.ends), end.peer.channel), (1, None))

    def test_group(self) -> None:
        """Both ends know that the key exchange is not post-quantum."""
        for stream in (self.pair.stream, self.pair.server.peer.channel):
            assert isinstance(stream, StreamProtocol)
            assert stream.link is not None
            self.assertEqual((stream.link.version, stream.link.group), ("TLSv1.3", "x25519"))
            self.assertFalse(is_post_quantum(stream.link.group))

    def test_second_stream(self) -> None:
        """A client that opens a second stream breaks the protocol; the library may say so, and nobody hears it."""
        self.pair.stream.send(HELLO)
        self.network.settle()
        self.pair.wire.state._remote_max_streams_bidi = 2
        self.pair.wire.state.send_stream_data(4, b"more")
        self.pair.wire._pump()
        self.network.settle()
        self.assertEqual((self.pair.server.peer.codes, self.logged), (["lost"], []))

    def test_one_way_stream(self) -> None:
        """Nor may it open one that goes one way."""
        self.pair.stream.send(HELLO)
        self.network.settle()
        self.pair.wire.state._remote_max_streams_uni = 1
        self.pair.wire.state.send_stream_data(2, b"more")
        self.pair.wire._pump()
        self.network.settle()
        self.assertEqual(self.pair.server.peer.codes, ["lost"])

    def test_other_group(self) -> None:
        """Keys are agreed upon with the group that both ends say, and with no other."""

        class OtherGroup(QuicState):
            """A client that wants another."""

            def _initialize(self, peer_cid: bytes) -> None:
                super()._initialize(peer_cid)
                self.tls._supported_groups = [Group.SECP256R1]

        end, _, _ = self.pair.connect_with(OtherGroup(client_configuration("localhost"), same=same), ELSEWHERE)
        self.network.advance(1)
        self.assertIsNone(end.peer.channel)

    def test_ended_half(self) -> None:
        """A client that ends its half is done with the other, too."""
        self.pair.stream.send(HELLO)
        self.network.settle()
        self.pair.wire.state.send_stream_data(0, b"", end_stream=True)
        self.pair.wire._pump()
        self.network.advance(1)
        self.assertEqual((self.pair.server.peer.codes, len(self.pair.listener)), (["lost"], 0))

    def test_stopped(self) -> None:
        """Half a connection is none."""
        self.pair.stream.send(HELLO)
        self.network.settle()
        self.pair.wire.state.stop_stream(0, 1)
        self.pair.wire._pump()
        self.network.settle()
        self.assertEqual(self.pair.server.peer.codes, ["lost"])
        self.assertNotIn(CHALLENGE, self.pair.client.peer.messages)
