"""A daemon's UDP socket and its clients in memory: datagrams are carried by hand, and time is a clock's."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from attrs import define, evolve, field
from twisted.internet.task import Clock

from securemsg.crypto.keys import mac, same, spki_digest
from securemsg.net.link import LinkInfo, Wire
from securemsg.net.quic import RESET_TOKEN_SIZE, Address, QuicState, client_configuration, server_configuration
from securemsg.net.quicwire import QuicWire, observe_quic
from securemsg.net.stream import StreamProtocol
from securemsg.net.udp import UdpListener
from securemsg.protocol.states import Side
from securemsg.server.addresses import Addresses
from securemsg.server.limits import Settings
from tests.net.fakes import End, key_files

SERVER: Address = ("192.0.2.1", 8443)
CLIENT: Address = ("192.0.2.2", 50000)
# More datagrams than any exchange takes.
MAX_STEPS = 100_000
# Seconds in which delayed acknowledgements and paced datagrams go out.
MOMENT = 0.05


@cache
def credentials() -> QuicConfiguration:
    """The server's, read once."""
    return server_configuration(*key_files())


def observe_server(transport: Wire) -> LinkInfo | None:
    """What the server's end sees."""
    return observe_quic(transport, spki_digest(key_files()[0].read_bytes()))


def observe_client(transport: Wire) -> LinkInfo | None:
    """What a client's end sees."""
    return observe_quic(transport, spki_digest)


def reset_token(cid: bytes) -> bytes:
    """The same for every process of the server."""
    return mac(bytes(32), b"test", cid)[:RESET_TOKEN_SIZE]


@define(eq=False)
class Datagram:
    """One on its way."""

    data: bytes
    source: Address
    target: Address


@define(eq=False)
class Network:
    """
    Who has which address, and what is on its way.

    @ivar tap: what becomes of a datagram: those that arrive in its place.
    @ivar log: everything that was sent.
    """

    clock: Clock = field(factory=Clock)
    tap: Callable[[Datagram], list[Datagram]] = lambda datagram: [datagram]
    log: list[Datagram] = field(factory=list)
    hosts: dict[Address, Callable[[bytes, Address], object]] = field(factory=dict)
    way: deque[Datagram] = field(factory=deque)

    def send(self, source: Address, data: bytes, target: Address) -> None:
        """A datagram goes out."""
        datagram = Datagram(data, source, target)
        self.log.append(datagram)
        self.way.extend(self.tap(datagram))

    def settle(self) -> None:
        """Let everything arrive that is on its way, and what is sent within a moment."""
        end = self.clock.seconds() + MOMENT
        for _ in range(MAX_STEPS):
            self.clock.advance(0)
            if self.way:
                datagram = self.way.popleft()
                receive = self.hosts.get(datagram.target)
                if receive is not None:
                    receive(datagram.data, datagram.source)
                continue
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end)
            if due >= end:
                return
            self.clock.advance(due - self.clock.seconds())
        raise AssertionError("it does not come to rest")

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(step, end - self.clock.seconds()))
            self.settle()


@define(eq=False)
class FakeSocket:
    """The transport of a listener."""

    network: Network
    address: Address

    def write(self, data: bytes, address: Address) -> None:
        """Send."""
        self.network.send(self.address, data, address)


@define(eq=False)
class Pair:
    """
    A listener and its first client.

    @ivar ends: of the server, one for each connection in the order in which they came.
    @ivar events: those of the clients' connections.
    @ivar settings: what limits the connections of one address.
    @ivar common: gets the reasons for which the server's ends ended.
    """

    network: Network = field(factory=Network)
    limit: int = 100
    post_quantum: bool = False
    settings: Settings = field(factory=Settings)
    gate: Addresses = field(init=False)
    client: End = field(init=False)
    ends: list[End] = field(factory=list)
    events: list[Any] = field(factory=list)
    common: End = field(init=False)
    listener: UdpListener = field(init=False)
    wire: QuicWire = field(init=False)
    stream: StreamProtocol = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Connect."""
        self.listen()
        self.client, self.wire, self.stream = self.connect()
        self.network.settle()

    @property
    def server(self) -> End:
        """The server's end of the first connection."""
        return self.ends[0]

    def listen(self) -> None:
        """The server's process begins, or begins again."""
        clock = self.network.clock
        self.gate = Addresses(self.settings, clock.seconds)
        self.common = End(Side.SERVER, clock)
        options = self.common.options(observe_server)

        def make_peer() -> Any:
            """Each connection has an end of its own."""
            self.ends.append(End(Side.SERVER, clock))
            return self.ends[-1].peer

        self.listener = UdpListener(
            credentials(), evolve(options, make_peer=make_peer), self.limit, reset_token, os.urandom, self.gate
        )
        self.listener.transport = FakeSocket(self.network, SERVER)  # type: ignore[assignment]  # as much as is used
        self.network.hosts[SERVER] = self.listener.datagramReceived

    def connect(self, address: Address = CLIENT) -> tuple[End, QuicWire, StreamProtocol]:
        """Another client."""
        return self.connect_with(QuicState(client_configuration("localhost"), same=same), address)

    def connect_with(self, state: QuicState, address: Address) -> tuple[End, QuicWire, StreamProtocol]:
        """Another client, with a connection of its own."""
        network = self.network
        end = End(Side.CLIENT, network.clock, post_quantum=self.post_quantum)
        wire = QuicWire(state, network.clock, partial(network.send, address), lambda wire, event: self.events.append(event))
        stream = StreamProtocol(end.options(observe_client))
        network.hosts[address] = wire.receive
        wire.attach(stream)
        wire.connect(SERVER)
        return end, wire, stream
