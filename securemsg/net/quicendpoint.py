"""A client's endpoint for QUIC: a UDP socket for each connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aioquic.quic import events
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from securemsg.net.dialer import Route
from securemsg.net.quic import Address, QuicState, Same, client_configuration
from securemsg.net.quicwire import QuicWire, observe_quic, send_datagram
from securemsg.net.stream import StreamProtocol
from securemsg.net.tls import Spki


class UdpClient(DatagramProtocol):
    """A client's socket, with its one connection."""

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

    @param delay: seconds after the other routes before this one is tried.
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
