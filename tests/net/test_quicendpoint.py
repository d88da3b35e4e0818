"""Tests of L{securemsg.net.quicendpoint}: a client that connects over datagrams in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import same
from securemsg.net.dialer import CONNECT_TIME
from securemsg.net.quic import IDLE_TIME, Address, QuicState, client_configuration
from securemsg.net.quicendpoint import ATTEMPT_DELAY, QuicEndpoint
from securemsg.net.stream import StreamFactory, StreamProtocol
from securemsg.protocol.states import Side
from tests.net.fakes import End, log_in
from tests.net.quicpair import CLIENT, SERVER, FakeSocket, Network, Pair, observe_client

NOWHERE = "192.0.2.77"


class ClientSocket(FakeSocket):
    """A client's transport, which can be closed."""

    is_open = True

    def stopListening(self) -> None:
        """Close it."""
        self.is_open = False
        self.network.hosts.pop(self.address, None)


class FakeReactor:
    """
    What an endpoint uses of a reactor.

    @ivar sockets: all that were opened.
    @ivar addresses: what any host name stands for.
    """

    def __init__(self, network: Network, addresses: list[str]) -> None:
        self.network = network
        self.addresses = addresses
        self.sockets: list[ClientSocket] = []
        self.nameResolver = self
        self.is_full = False
        clock: Clock = network.clock
        self.callLater, self.seconds = clock.callLater, clock.seconds

    def resolveHostName(self, receiver: Any, name: str) -> None:
        """Resolve at once."""
        receiver.resolutionBegan(None)
        for address in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()

    def listenUDP(self, port: int, protocol: Any, interface: str = "") -> None:
        """Open a socket."""
        if self.is_full:
            raise CannotListenError(interface, port, OSError(24, "too many open files"))
        address: Address = (CLIENT[0], 50001 + len(self.sockets))
        self.sockets.append(ClientSocket(self.network, address))
        protocol.transport = self.sockets[-1]
        self.network.hosts[address] = protocol.datagramReceived


class EndpointTests(SynchronousTestCase):
    """A server, and a client that has its name."""

    def setUp(self) -> None:
        """It listens."""
        self.pair = Pair()
        self.network = self.pair.network
        self.end = End(Side.CLIENT, self.network.clock)

    def connect(self, *addresses: str) -> Deferred[IProtocol]:
        """Begin to connect."""
        self.reactor = FakeReactor(self.network, list(addresses))

        def make_state() -> QuicState:
            """As a client has it."""
            return QuicState(client_configuration("localhost"), same=same)

        endpoint = QuicEndpoint(self.reactor, "example.net", SERVER[1], make_state)
        return endpoint.connect(StreamFactory(self.end.options(observe_client)))

    @property
    def open_sockets(self) -> list[bool]:
        """Which sockets are open, in the order in which they were opened."""
        return [socket.is_open for socket in self.reactor.sockets]

    def test_first(self) -> None:
        """Where the first address answers, no other is tried."""
        done = self.connect(SERVER[0], NOWHERE)
        self.network.settle()
        protocol = self.successResultOf(done)
        assert isinstance(protocol, StreamProtocol)
        self.assertIs(self.end.peer.channel, protocol)
        self.network.advance(2 * ATTEMPT_DELAY)
        self.assertEqual(self.open_sockets, [True])

    def test_second(self) -> None:
        """Where it is silent the next is tried soon, and its socket is closed once the other has won."""
        done = self.connect(NOWHERE, SERVER[0])
        self.network.settle()
        self.assertNoResult(done)
        self.network.advance(ATTEMPT_DELAY + 0.1)
        self.assertIs(self.end.peer.channel, self.successResultOf(done))
        self.assertEqual(self.open_sockets, [False, True])

    def test_none(self) -> None:
        """Where nobody answers it takes so long, and not longer."""
        done = self.connect(NOWHERE, NOWHERE)
        self.network.advance(CONNECT_TIME - 1)
        self.assertNoResult(done)
        self.network.advance(1.5)
        self.failureResultOf(done, ConnectTimeout)
        self.assertEqual(self.open_sockets, [False, False])
        self.network.advance(CONNECT_TIME)

    def test_cancelled(self) -> None:
        """Whoever gives up leaves nothing behind."""
        before = len(self.network.clock.getDelayedCalls())
        done = self.connect(NOWHERE, SERVER[0])
        done.cancel()
        self.failureResultOf(done)
        self.assertEqual((self.open_sockets, len(self.network.clock.getDelayedCalls())), ([False], before))

    def test_ended(self) -> None:
        """The socket is closed after the connection."""
        done = self.connect(SERVER[0])
        self.network.settle()
        protocol = self.successResultOf(done)
        assert isinstance(protocol, StreamProtocol)
        protocol.close()
        self.network.advance(5)
        self.assertEqual((self.open_sockets, self.end.peer.codes), ([False], [""]))

    def test_lost(self) -> None:
        """So it is where the server is heard of no more, and the peer is told."""
        self.connect(SERVER[0])
        self.network.settle()
        log_in(self.pair.ends[-1].peer, self.end.peer, self.network.settle)
        self.network.hosts.pop(SERVER)
        self.network.advance(2 * IDLE_TIME)
        self.assertEqual((self.open_sockets, self.end.peer.codes), ([False], ["lost"]))

    def test_no_socket(self) -> None:
        """Where no socket can be opened that is said."""
        self.reactor = FakeReactor(self.network, [SERVER[0]])
        self.reactor.is_full = True
        endpoint = QuicEndpoint(self.reactor, "example.net", 1, lambda: QuicState(client_configuration("localhost")))
        self.failureResultOf(endpoint.connect(StreamFactory(self.end.options(observe_client))), ConnectError)

    def test_no_address(self) -> None:
        """Nor is a name without an address."""
        self.failureResultOf(self.connect(), DNSLookupError)
