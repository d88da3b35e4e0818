"""The address of a server, and the routes to it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from securemsg.account.address import ServerAddress, address_of
from securemsg.account.errors import SecuremsgError
from securemsg.account.routes import HEAD_START, routes
from securemsg.client.state.profile import create_profile
from securemsg.protocol.invite import TRANSPORTS, InviteLink


@implementer(IReactorPluggableNameResolver)
class NameResolver(Clock):
    """A reactor that resolves nothing here."""

    nameResolver = None

    def installNameResolver(self, resolver: object) -> Any:
        """None is."""


class AddressTests(SynchronousTestCase):
    """What the user says goes before what the invite said."""

    def setUp(self) -> None:
        """A server with both ports, and one with TCP alone."""
        self.both = create_profile(InviteLink("example", 8443, bytes(32), udp_port=8444), "ada", 0)
        self.plain = evolve(self.both, udp_port=0)

    def test_invite(self) -> None:
        """Without options it is what the invite says."""
        self.assertEqual(address_of(self.both, None, None), ServerAddress("example", 8443, 8444, "auto"))
        self.assertEqual(address_of(self.plain, None, None), ServerAddress("example", 8443, 0, "auto"))

    def test_port(self) -> None:
        """A port is that of the transport that is used; a server without UDP is not tried there."""
        self.assertEqual(address_of(self.both, "other", 9), ServerAddress("other", 9, 9, "auto"))
        self.assertEqual(address_of(self.plain, None, 9), ServerAddress("example", 9, 0, "auto"))
        self.assertEqual(address_of(self.plain, None, 9, "udp"), ServerAddress("example", 8443, 9, "udp"))
        self.assertEqual(address_of(self.both, None, 9, "tcp"), ServerAddress("example", 9, 8444, "tcp"))

    def test_kept(self) -> None:
        """What `join` was told stays, unless a command is told otherwise."""
        udp = evolve(self.both, transport="udp")
        self.assertEqual(address_of(udp, None, None).transport, "udp")
        self.assertEqual(address_of(udp, None, None, "tcp").transport, "tcp")

    def test_words(self) -> None:
        """People read where it goes."""
        addresses = [ServerAddress("::1", 8443, 8444, transport) for transport in TRANSPORTS]
        self.assertEqual([str(address) for address in addresses], ["[::1]:8443", "[::1]:8444", "[::1]:8443"])
        shown = ["[::1]:8443", "[::1]:8444 (UDP)", "[::1]:8443 (TCP) or 8444 (UDP)"]
        self.assertEqual([address.in_words for address in addresses], shown)
        self.assertEqual(ServerAddress("example", 8443, 0, "auto").in_words, "example:8443")
        self.assertEqual(evolve(addresses[2], post_quantum=True).in_words, "[::1]:8443")


class RouteTests(SynchronousTestCase):
    """Which routes are tried."""

    def delays(self, *details: object, post_quantum: bool = False) -> list[float]:
        """By how much each route is behind."""
        server = ServerAddress("127.0.0.1", *details, post_quantum)  # type: ignore[arg-type,call-arg]
        return [route.delay for route in routes(NameResolver(), server)]

    def test_ways(self) -> None:
        """Both, with TCP ahead; or the one that is wanted, or the only one there is."""
        self.assertEqual(self.delays(8443, 8444, "auto"), [0, HEAD_START])
        self.assertEqual(self.delays(8443, 8444, "tcp"), [0])
        self.assertEqual(self.delays(8443, 8444, "udp"), [0])
        self.assertEqual(self.delays(8443, 0, "auto"), [0])

    def test_post_quantum(self) -> None:
        """UDP is not tried where that is wanted, and refused where nothing else is."""
        self.assertEqual(self.delays(8443, 8444, "auto", post_quantum=True), [0])
        problem = self.assertRaises(SecuremsgError, self.delays, 8443, 8444, "udp", post_quantum=True)
        self.assertEqual(problem.code, "not-post-quantum")

    def test_no_udp(self) -> None:
        """UDP alone needs a port."""
        self.assertEqual(self.assertRaises(SecuremsgError, self.delays, 8443, 0, "udp").code, "no-udp")
