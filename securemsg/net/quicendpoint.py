"""A client's endpoint for QUIC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aioquic.quic import events
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.net.dialer import CONNECT_TIME, Route
from securemsg.net.quic import Address, QuicState, Same, client_configuration
from securemsg.net.quicwire import QuicWire, observe_quic, send_datagram
from securemsg.net.stream import StreamProtocol
from securemsg.net.tls import Spki

# Seconds after which the next address is tried as well, while those before have not answered (RFC 8305 8).
ATTEMPT_DELAY = 0.25


class UdpClient(DatagramProtocol):
    """A socket with its one connection."""

    noisy = False
    wire: QuicWire | None = None

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Hand a datagram on."""
        if self.wire is not None:
            self.wire.receive(datagram, addr)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram."""
        if self.transport is not None:
            send_datagram(self.transport, datagram, address)

    def close(self) -> None:
        """Close the socket."""
        if self.transport is not None:
            self.transport.stopListening()


class _Attempt:
    """
    A connection that is being made: to each address of the host in turn, without waiting for those before to fail (RFC 8305).
    The first whose handshake is done gets the protocol.
    """

    def __init__(self, reactor: Any, port: int, make_state: Callable[[], QuicState], factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._port = port
        self._make_state = make_state
        self._factory = factory
        self._addresses: deque[IAddress] = deque()
        self._clients: list[UdpClient] = []
        self._calls: list[IDelayedCall] = []
        self._done: Deferred[IProtocol] = Deferred(lambda done: self._end())

    def start(self, addresses: list[IAddress]) -> Deferred[IProtocol]:
        """Begin."""
        self._addresses.extend(addresses)
        self._calls.append(self._reactor.callLater(CONNECT_TIME, self._fail, ConnectTimeout()))
        self._try_next()
        return self._done

    def _try_next(self) -> None:
        address = self._addresses.popleft()
        assert isinstance(address, IPv4Address | IPv6Address)
        if self._addresses:
            self._calls.append(self._reactor.callLater(ATTEMPT_DELAY, self._try_next))
        client = UdpClient()
        try:
            self._reactor.listenUDP(0, client, interface="::" if isinstance(address, IPv6Address) else "")
        except CannotListenError as error:
            self._lost(client, ConnectError(string=str(error)))
            return
        client.wire = QuicWire(self._make_state(), self._reactor, client.send, partial(self._on_event, client, address))
        self._clients.append(client)
        client.wire.connect((address.host, self._port))

    def _on_event(self, client: UdpClient, address: IAddress, wire: QuicWire, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            self._won(client, address, wire)
        elif isinstance(event, events.ConnectionTerminated):
            client.close()
            self._lost(client, ConnectError(string="the handshake failed"))

    def _won(self, client: UdpClient, address: IAddress, wire: QuicWire) -> None:
        """A handshake is done: nobody else is needed."""
        self._clients.remove(client)
        self._end()
        protocol = self._factory.buildProtocol(address)
        assert isinstance(protocol, StreamProtocol)
        wire.attach(protocol)
        self._done.callback(protocol)

    def _lost(self, client: UdpClient, problem: Exception) -> None:
        """No connection to one of the addresses, or the one that we gave away has ended."""
        if client in self._clients:
            self._clients.remove(client)
        if not self._clients and not self._addresses and not self._done.called:
            self._fail(problem)

    def _fail(self, problem: Exception) -> None:
        self._end()
        self._done.errback(Failure(problem))

    def _end(self) -> None:
        """Give up what is still being tried."""
        self._addresses.clear()
        for call in self._calls:
            if call.active():
                call.cancel()
        clients, self._clients = self._clients, []
        for client in clients:
            if client.wire is not None:
                client.wire.stop()
            client.close()


@implementer(IStreamClientEndpoint)
class QuicEndpoint:
    """Connects to a host over QUIC. The handshake of what it gives is done."""

    def __init__(self, reactor: Any, host: str, port: int, make_state: Callable[[], QuicState]) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._make_state = make_state

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect.

        @return: fires with the protocol; fails with C{DNSLookupError}, C{ConnectError} or C{TimeoutError}.
        """
        attempt = _Attempt(self._reactor, self._port, self._make_state, factory)
        return resolve(self._reactor, self._host).addCallback(attempt.start)


def quic_route(
    reactor: Any, host: str, port: int, spki: Spki, same: Same, authorities: Path | None = None
) -> Route:
    """
    QUIC over UDP.

    @param authorities: see L{securemsg.net.tls.ClientTrust}.
    """

    def make_state() -> QuicState:
        """One for each attempt."""
        return QuicState(client_configuration(host, authorities), same=same)

    endpoint = QuicEndpoint(reactor, host, port, make_state)
    return Route(endpoint, partial(observe_quic, spki=spki))


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
