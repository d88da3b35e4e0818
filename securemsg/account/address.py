"""The address of a server."""

from __future__ import annotations

from attrs import frozen

from securemsg.client.state.profile import Profile
from securemsg.protocol.hosts import host_port
from securemsg.protocol.invite import AUTO, TCP, UDP


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
