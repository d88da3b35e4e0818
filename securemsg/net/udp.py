"""UDP sockets for QUIC: the daemon's, which serves everybody, and a client's, which has one connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # exported, but not in its types
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from securemsg.net.dialer import Route
from securemsg.net.listener import PortUnavailable, port_error
from securemsg.net.quic import (
    ID_SIZE,
    RESET_TOKEN_SIZE,
    Address,
    QuicState,
    QuicWire,
    Same,
    client_configuration,
    observe_quic,
)
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.tls import Spki

# A client's first datagram is at least as long (RFC 9000 14.1); a shorter one gets no answer, and so amplifies nothing.
SMALLEST_FIRST = 1200
# A stateless reset is shorter than what it answers, so that two ends never go on forever (RFC 9000 10.3.3).
SMALLEST_RESET = 21
# What is read of a datagram, bytes. QUIC's are cut to fit into one packet of the network.
LONGEST = 65_535
NOT_HANDED = "--udp-port fd:{0}: descriptor {0} is no UDP socket; add ListenDatagram= to the socket unit, or count again"
LONGEST_RESET = 43
# Connections in their handshake, at most this share of all: who only begins keeps nobody out.
HANDSHAKES = 4


class UdpListener(DatagramProtocol):
    """
    The daemon's socket. Nothing is kept for an address before it has shown that it receives what is sent to it, and nothing is
    logged for a datagram.

    @ivar wires: the connections, by each of their ids.
    @ivar turned_away: how many clients were left unanswered for want of room.
    """

    noisy = False

    def __init__(
        self,
        configuration: QuicConfiguration,
        options: ConnectionOptions,
        limit: int,
        reset_token: Callable[[bytes], bytes],
        random_bytes: Callable[[int], bytes],
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        @param limit: of open connections, those that C{others} counts among them.
        @param reset_token: see L{QuicState}; it gives the same after a restart.
        """
        self._configuration = configuration
        self._options = options
        self._clock: IReactorTime = options.clock
        self._limit = limit
        self._reset_token = reset_token
        self._random_bytes = random_bytes
        self._others = others
        self._retry = QuicRetryTokenHandler()
        self.wires: dict[bytes, QuicWire] = {}
        self._open: dict[QuicWire, set[bytes]] = {}
        self._in_handshake: set[QuicWire] = set()
        self.turned_away = 0
        self._port: IListeningPort | None = None

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def datagramReceived(self, datagram: bytes, addr: NetworkAddress) -> None:
        """Hand a datagram to its connection, or say what is to be said without one."""
        try:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=ID_SIZE)
        except ValueError:
            return
        wire = self.wires.get(header.destination_cid)
        if wire is not None:
            wire.receive(datagram, addr)
        elif header.packet_type is QuicPacketType.ONE_RTT:
            self._say_reset(datagram, header, addr)
        elif len(datagram) >= SMALLEST_FIRST and header.packet_type is not QuicPacketType.VERSION_NEGOTIATION:
            self._answer_first(datagram, header, addr)

    def listen(self, reactor: Any, host: str, port: int, inherited: socket.socket | None = None) -> None:
        """
        Listen on the network.

        @param inherited: listen there instead.
        @raise PortUnavailable: the port is in use, or not allowed.
        """
        try:
            if inherited is not None:
                self._port = reactor.adoptDatagramPort(inherited.fileno(), inherited.family, self, maxPacketSize=LONGEST)
                # The reactor has a descriptor of its own.
                inherited.close()
                return
            self._port = reactor.listenUDP(port, self, interface=host, maxPacketSize=LONGEST)
        except CannotListenError as error:
            problem = error.socketError
            if not isinstance(problem, OSError):
                raise PortUnavailable(f"cannot listen: {problem}") from error
            raise PortUnavailable(port_error(host, port, problem, "--udp-port")) from error

    def stop(self) -> Deferred[None]:
        """
        Forget all connections at once.

        @return: fires when the socket is closed.
        """
        for wire in self._open:
            wire.stop()
        self._open.clear()
        self.wires.clear()
        stopped = None if self._port is None else self._port.stopListening()
        return succeed(None) if stopped is None else stopped

    def _send(self, datagram: bytes, address: Address) -> None:
        if self.transport is not None:
            send(self.transport, datagram, address)

    def _say_reset(self, datagram: bytes, header: QuicHeader, addr: NetworkAddress) -> None:
        """Tell a client of ours from before a restart to connect again; whoever guesses an id learns nothing from it."""
        size = min(len(datagram) - 1, LONGEST_RESET)
        if size >= SMALLEST_RESET:
            noise = self._random_bytes(size - RESET_TOKEN_SIZE)
            # It looks like any packet: a short header with the fixed bit.
            first = noise[0] & 0x3F | 0x40
            self._send(bytes([first]) + noise[1:] + self._reset_token(header.destination_cid), addr)

    def _answer_first(self, datagram: bytes, header: QuicHeader, addr: NetworkAddress) -> None:
        """The first datagrams of a client: its version, then its address, then a connection."""
        if header.version not in self._configuration.supported_versions:
            versions = self._configuration.supported_versions
            self._send(encode_quic_version_negotiation(header.destination_cid, header.source_cid, versions), addr)
        elif header.packet_type is not QuicPacketType.INITIAL:
            return
        elif not header.token:
            self._ask_again(header, addr)
        else:
            try:
                original = self._retry.validate_token(
                    address=addr, destination_cid=header.destination_cid, token=header.token, now=self._clock.seconds()
                )
            except ValueError:
                return
            self._open_connection(datagram, header, original, addr)

    def _ask_again(self, header: QuicHeader, addr: NetworkAddress) -> None:
        """Have a client show that it receives at this address (RFC 9000 8.1.2)."""
        source = self._random_bytes(ID_SIZE)
        token = self._retry.create_token(
            address=addr,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source,
            now=self._clock.seconds(),
        )
        assert header.version is not None, "a long header has a version"
        self._send(
            encode_quic_retry(
                version=header.version,
                source_cid=source,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            ),
            addr,
        )

    def _open_connection(self, datagram: bytes, header: QuicHeader, original: bytes, addr: NetworkAddress) -> None:
        """Keep state, if there is room."""
        if len(self._open) + self._others() >= self._limit or len(self._in_handshake) >= max(1, self._limit // HANDSHAKES):
            self.turned_away += 1
            return
        state = QuicState(
            self._configuration,
            reset_token=self._reset_token,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )
        wire = QuicWire(state, self._clock, self._send, self._on_event)
        self._open[wire] = {header.destination_cid, state.host_cid}
        self.wires.update(dict.fromkeys(self._open[wire], wire))
        self._in_handshake.add(wire)
        wire.attach(StreamProtocol(self._options))
        wire.receive(datagram, addr)

    def _on_event(self, wire: QuicWire, event: events.QuicEvent) -> None:
        """Follow the ids of a connection, to its end."""
        known = self._open.get(wire, set())
        if isinstance(event, events.HandshakeCompleted):
            self._in_handshake.discard(wire)
        elif isinstance(event, events.ConnectionIdIssued):
            known.add(event.connection_id)
            self.wires[event.connection_id] = wire
        elif isinstance(event, events.ConnectionIdRetired):
            known.discard(event.connection_id)
            self.wires.pop(event.connection_id, None)
        elif isinstance(event, events.ConnectionTerminated):
            self._in_handshake.discard(wire)
            for one in self._open.pop(wire, set()):
                self.wires.pop(one, None)


def inherited_socket(descriptor: int) -> socket.socket:
    """
    A socket that was handed over when the process began, as by systemd (sd_listen_fds(3)), whose first is 3.

    @raise PortUnavailable: it is no socket for UDP.
    """
    try:
        handed = socket.socket(fileno=descriptor)
    except OSError:
        raise PortUnavailable(NOT_HANDED.format(descriptor)) from None
    if handed.family not in (socket.AF_INET, socket.AF_INET6) or handed.type != socket.SOCK_DGRAM:
        handed.detach()
        raise PortUnavailable(NOT_HANDED.format(descriptor))
    # The reactor would wait in it.
    handed.setblocking(False)
    return handed


def send(transport: Any, datagram: bytes, address: Address) -> None:
    """Send a datagram. One that the kernel does not take is lost like any other, and is sent again."""
    try:
        transport.write(datagram, address)
    except OSError:
        return


class UdpClient(DatagramProtocol):
    """A client's socket, with its one connection."""

    noisy = False
    wire: QuicWire | None = None

    def datagramReceived(self, datagram: bytes, addr: NetworkAddress) -> None:
        """Hand a datagram on."""
        if self.wire is not None:
            self.wire.receive(datagram, addr)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram."""
        if self.transport is not None:
            send(self.transport, datagram, address)

    def on_event(self, wire: QuicWire, event: events.QuicEvent) -> None:
        """Close the socket after the connection."""
        if isinstance(event, events.ConnectionTerminated) and self.transport is not None:
            self.transport.stopListening()


@implementer(IStreamClientEndpoint)
class QuicEndpoint:
    """Connects to a host over QUIC. What it gives is not established yet, as with TLS over TCP."""

    def __init__(self, reactor: Any, host: str, port: int, make_state: Callable[[], QuicState]) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._make_state = make_state
        self._attempts = 0

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Begin a connection.

        @return: fires with the protocol; fails with C{DNSLookupError} or C{ConnectError}.
        """
        return resolve(self._reactor, self._host).addCallback(partial(self._begin, factory))

    def _begin(self, factory: IProtocolFactory, addresses: list[IAddress]) -> IProtocol:
        # Another one each time, because one that does not answer is known only after a while.
        address = addresses[self._attempts % len(addresses)]
        self._attempts += 1
        assert isinstance(address, IPv4Address | IPv6Address)
        client = UdpClient()
        try:
            self._reactor.listenUDP(0, client, interface="::" if isinstance(address, IPv6Address) else "")
        except CannotListenError as error:
            raise ConnectError(string=str(error)) from error
        wire = client.wire = QuicWire(self._make_state(), self._reactor, client.send, client.on_event)
        protocol = factory.buildProtocol(address)
        assert isinstance(protocol, StreamProtocol)
        wire.attach(protocol)
        wire.connect((address.host, self._port))
        return protocol


def quic_route(
    reactor: Any, host: str, port: int, spki: Spki, same: Same, delay: float, authorities: Path | None = None
) -> Route:
    """
    QUIC over UDP.

    @param delay: by how much other ways are ahead of it.
    @param authorities: see L{securemsg.net.tls.ClientTrust}.
    """


    def make_state() -> QuicState:
        """One for each attempt."""
        return QuicState(client_configuration(host, authorities), same=same)

    endpoint = QuicEndpoint(reactor, host, port, make_state)
    return Route(endpoint, partial(observe_quic, spki=spki), delay=delay)


@implementer(IResolutionReceiver)
class _Resolution:
    """What became of a look-up; see L{twisted.internet.interfaces.IResolutionReceiver}."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: list[IAddress] = []
        self.done: Deferred[list[IAddress]] = Deferred()

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """Nothing to do."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep it."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        if self.addresses:
            self.done.callback(self.addresses)
        else:
            self.done.errback(DNSLookupError(f"no address of {self.name}"))


def resolve(reactor: Any, host: str) -> Deferred[list[IAddress]]:
    """The addresses of a host; at least one, or C{DNSLookupError}."""
    resolution = _Resolution(host)
    reactor.nameResolver.resolveHostName(resolution, host)
    return resolution.done
