"""The daemon's UDP socket, for QUIC: who is let in, and which datagram belongs to which connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # exported, but not in its types
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import DatagramProtocol

from securemsg.net.listener import ADDRESS_LIMIT, Gate, PortUnavailable, port_error
from securemsg.net.quic import ID_SIZE, RESET_TOKEN_SIZE, Address, QuicState
from securemsg.net.quicwire import QuicWire, send_datagram
from securemsg.net.stream import ConnectionOptions, StreamProtocol

# A client's first datagram is at least as long (RFC 9000 14.1); a shorter one gets no answer, and so amplifies nothing.
SMALLEST_FIRST = 1200
# The bytes of a stateless reset: as many as make it look like any packet, and fewer than what it answers has, so that two ends
# never go on forever (RFC 9000 10.3, 10.3.3).
SMALLEST_RESET, LONGEST_RESET = 21, 43
# What is read of a datagram, bytes. QUIC's are cut to fit into one packet of the network.
LONGEST = 65_535
# At most one in this many connections may be in its handshake. Then the oldest of them goes, so that who only begins keeps
# nobody out.
HANDSHAKE_SHARE = 4

NOT_HANDED = (
    "--udp-port fd:{0}: descriptor {0} is not a UDP socket; add ListenDatagram= to the socket unit, or correct the number (the"
    " first is fd:3)"
)


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
        gate: Gate,
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
        self._gate = gate
        self._others = others
        self._retry = QuicRetryTokenHandler()
        self.wires: dict[bytes, QuicWire] = {}
        self._open: dict[QuicWire, set[bytes]] = {}
        # In the order in which they came.
        self._in_handshake: dict[QuicWire, None] = {}
        self.turned_away = 0
        self._port: IListeningPort | None = None

    def renew(self, configuration: QuicConfiguration, options: ConnectionOptions) -> None:
        """Take others for the connections to come."""
        self._configuration, self._options = configuration, options

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
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
            send_datagram(self.transport, datagram, address)

    def _say_reset(self, datagram: bytes, header: QuicHeader, addr: Address) -> None:
        """Tell a client of ours from before a restart to connect again; whoever guesses an id learns nothing from it."""
        size = min(len(datagram) - 1, LONGEST_RESET)
        if size >= SMALLEST_RESET:
            noise = self._random_bytes(size - RESET_TOKEN_SIZE)
            # It looks like any packet: a short header with the fixed bit.
            first = noise[0] & 0x3F | 0x40
            self._send(bytes([first]) + noise[1:] + self._reset_token(header.destination_cid), addr)

    def _answer_first(self, datagram: bytes, header: QuicHeader, addr: Address) -> None:
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

    def _ask_again(self, header: QuicHeader, addr: Address) -> None:
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

    def _open_connection(self, datagram: bytes, header: QuicHeader, original: bytes, addr: Address) -> None:
        """Keep state, if there is room. A client stays counted under the address that it came from, wherever it moves."""
        source = self._gate.enter(addr[0])
        if source is None:
            self._options.on_hangup(ADDRESS_LIMIT)
            return
        if len(self._in_handshake) >= max(1, self._limit // HANDSHAKE_SHARE):
            self._drop(next(iter(self._in_handshake)))
        if len(self._open) + self._others() >= self._limit:
            self.turned_away += 1
            self._gate.leave(source)
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
        self._in_handshake[wire] = None
        stream = StreamProtocol(self._options)
        stream.source = wire.source = source
        wire.attach(stream)
        wire.receive(datagram, addr)

    def _on_event(self, wire: QuicWire, event: events.QuicEvent) -> None:
        """Follow the ids of a connection, to its end."""
        known = self._open.get(wire, set())
        if isinstance(event, events.HandshakeCompleted):
            self._in_handshake.pop(wire, None)
        elif isinstance(event, events.ConnectionIdIssued):
            known.add(event.connection_id)
            self.wires[event.connection_id] = wire
        elif isinstance(event, events.ConnectionIdRetired):
            known.discard(event.connection_id)
            self.wires.pop(event.connection_id, None)
        elif isinstance(event, events.ConnectionTerminated):
            self._forget(wire)

    def _drop(self, wire: QuicWire) -> None:
        """End a connection at once, with nothing said."""
        self._forget(wire)
        wire.drop()

    def _forget(self, wire: QuicWire) -> None:
        self._in_handshake.pop(wire, None)
        if wire in self._open:
            self._gate.leave(wire.source)
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
