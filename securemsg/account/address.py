"""The address of a server, and the routes to it."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from securemsg.account.errors import error_for
from securemsg.client.state.profile import Profile
from securemsg.crypto.keys import same, spki_digest
from securemsg.net.dialer import Route, tcp_route
from securemsg.protocol.hosts import host_port
from securemsg.protocol.invite import AUTO, TCP, UDP

# By how much TCP, whose key exchange is post-quantum, is ahead of UDP, seconds (RFC 8305 8 has the same for addresses).
HEAD_START = 0.25


@frozen
class ServerAddress:
    """
    Where a server is.

    @ivar port: for TCP; C{udp_port}: for UDP; 0: none.
    @ivar transport: C{tcp}, C{udp} or C{auto}.
    @ivar post_quantum: whether the key exchange must withstand a quantum computer.
    """

    host: str
    port: int
    udp_port: int = 0
    transport: str = TCP
    post_quantum: bool = False

    def __str__(self) -> str:
        """Host and port."""
        return host_port(self.host, self.udp_port or self.port if self.transport == UDP else self.port)

    @property
    def in_words(self) -> str:
        """Host and ports that are tried, for people."""
        if self.transport == UDP:
            return f"{self} (UDP)"
        return f"{self} (TCP) or {self.udp_port} (UDP)" if self.tries_udp else str(self)

    @property
    def tries_udp(self) -> bool:
        """Whether UDP is one of the routes."""
        return self.transport != TCP and self.udp_port > 0 and not self.post_quantum


def address_of(
    profile: Profile, host: str | None, port: int | None, transport: str | None = None, post_quantum: bool = False
) -> ServerAddress:
    """
    The address of a profile's server, with what the user says instead.

    @param port: of whichever transport is used.
    """
    transport = transport or profile.transport
    tcp_port, udp_port = profile.port, profile.udp_port
    if port and transport != UDP:
        tcp_port = port
    # A server that is not known to have UDP is tried there only if that is asked for.
    if port and (transport == UDP or (transport == AUTO and udp_port)):
        udp_port = port
    return ServerAddress(host or profile.host, tcp_port, udp_port, transport, post_quantum)


def routes(reactor: Any, server: ServerAddress) -> list[Route]:
    """
    The routes to a server that may be tried, the best first.

    @raise SecuremsgError: C{no-udp}: UDP alone is wanted, and the server has none, or this installation; C{not-post-quantum}:
        UDP alone is wanted, and its key exchange is not.
    """
    if server.post_quantum and server.transport == UDP:
        raise error_for("not-post-quantum", server.in_words)
    found = [] if server.transport == UDP else [tcp_route(reactor, server.host, server.port, spki_digest)]
    if server.tries_udp:
        try:
            # An extra: what needs no UDP needs no library for it.
            from securemsg.net.quicendpoint import quic_route
        except ImportError:
            if not found:
                hint = "install it in the checkout: pipx install --force '.[udp]'"
                raise error_for("no-udp", text="UDP needs the library aioquic", hint=hint) from None
        else:
            found.append(quic_route(reactor, server.host, server.udp_port, spki_digest, same, HEAD_START if found else 0))
    if not found:
        raise error_for("no-udp", server.host)
    return [evolve(route, post_quantum=server.post_quantum) for route in found]
