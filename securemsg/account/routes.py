"""The routes to a server: what brings the network in, so that the address alone can be had without."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

from attrs import evolve

from securemsg.account.address import ServerAddress
from securemsg.account.errors import error_for
from securemsg.crypto.keys import same, spki_digest
from securemsg.net.dialer import Route, later_route, tcp_route
from securemsg.protocol.invite import UDP

# By how much TCP, whose key exchange is post-quantum, is ahead of UDP, seconds (RFC 8305 8 has the same for addresses).
HEAD_START = 0.25


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
        # An extra: what needs no UDP needs no library for it.
        if find_spec("aioquic") is not None:
            found.append(later_route(partial(_quic, reactor, server), HEAD_START if found else 0))
        elif not found:
            hint = "install it in the checkout: pipx install --force '.[udp]'"
            raise error_for("no-udp", text="UDP needs the library aioquic", hint=hint)
    if not found:
        raise error_for("no-udp", server.host)
    return [evolve(route, post_quantum=server.post_quantum) for route in found]


def _quic(reactor: Any, server: ServerAddress) -> Route:
    """The route over UDP."""
    # As a rule TCP has connected before this is tried.
    from securemsg.net.quicendpoint import quic_route

    return quic_route(reactor, server.host, server.udp_port, spki_digest, same)
