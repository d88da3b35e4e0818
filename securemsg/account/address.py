"""The address of a server, and the ways that lead there."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from securemsg.account.errors import error_for
from securemsg.client.state.profile import Profile
from securemsg.crypto.keys import same, spki_digest
from securemsg.net.dialer import Route, tcp_route
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
        """Host and port, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.transport == UDP:
            return f"{host}:{self.udp_port or self.port} over UDP"
        return f"{host}:{self.port}" + (f" or UDP port {self.udp_port}" if self.transport == AUTO and self.udp_port else "")


def address_of(
    profile: Profile, host: str | None, port: int | None, transport: str | None = None, post_quantum: bool = False
) -> ServerAddress:
    """
    The address of a profile's server, with what the user says instead.

    @param port: of whichever transport is used.
    """
    way = transport or profile.transport
    # A server that is not known to have UDP is tried there only if that is asked for.
    udp_port = port or profile.udp_port if profile.udp_port or way == UDP else 0
    tcp_port = profile.port if way == UDP else port or profile.port
    return ServerAddress(host or profile.host, tcp_port, udp_port or 0, way, post_quantum)


def routes(reactor: Any, server: ServerAddress) -> list[Route]:
    """
    The ways to a server that may be tried, the best first.

    @raise SecuremsgError: C{no-udp}: UDP alone is wanted, and the server has none, or this installation; C{not-post-quantum}:
        UDP alone is wanted, and its key exchange is not.
    """
    if server.post_quantum and server.transport == UDP:
        raise error_for("not-post-quantum", str(server))
    ways = [] if server.transport == UDP else [tcp_route(reactor, server.host, server.port, spki_digest)]
    if server.transport != TCP and server.udp_port and not server.post_quantum:
        try:
            # An extra: what needs no UDP needs no library for it.
            from securemsg.net.udp import quic_route
        except ImportError:
            if not ways:
                raise error_for("no-udp", text="UDP needs the library aioquic", hint="pip install 'securemsg[udp]'") from None
        else:
            ways.append(quic_route(reactor, server.host, server.udp_port, spki_digest, same, HEAD_START if ways else 0))
    if not ways:
        raise error_for("no-udp", server.host)
    return [evolve(way, post_quantum=server.post_quantum) for way in ways]
