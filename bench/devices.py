"""The daemon with load on Twisted, over UDP or TCP: as many devices as wanted, each an account of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from bench.accounts import Credentials
from bench.device import LoadDevice
from bench.flows import Flow
from bench.jobs import LOGIN_ACCOUNTS, TALKERS
from bench.served import HOST, Served
from bench.sizes import PARTS
from bench.target import Waiting
from securemsg.crypto.keys import same, spki_digest
from securemsg.net.dialer import Route, tcp_route
from securemsg.net.quicendpoint import quic_route
from securemsg.net.stream import ConnectionOptions, StreamFactory
from securemsg.net.tls import SecureFactory
from securemsg.net.turn import Turn
from securemsg.protocol.states import Side


@define
class Daemon:
    """
    The daemon as a target.

    @ivar way: gives the route to a port; see L{over_tcp} and L{over_udp}.
    @ivar base: the first of the accounts that it uses.
    """

    served: Served
    way: Callable[[int], Route]
    _waiting: Waiting
    base: int = TALKERS
    name: str = "daemon"
    _route: Route = field(init=False)
    _turn: Turn = field(init=False)
    _devices: list[LoadDevice] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        """All devices share their turns."""
        self._turn = Turn(self._waiting.reactor)
        self._route = self.way(self.served.port)

    async def flows(self, pairs: int, size: str) -> Sequence[Flow]:
        """Connect so many pairs."""
        devices = await self.connect(2 * pairs)
        flows = []
        for sender, recipient in zip(devices[::2], devices[1::2], strict=True):
            sender.parts, sender.to = PARTS[size], recipient.credentials
            sender.flow = recipient.source = Flow(sender.submit, self._waiting.reactor.seconds)
            flows.append(sender.flow)
        return flows

    async def idle(self, count: int) -> None:
        """Connect so many more, and let them be."""
        await self.connect(count, len(self._devices))

    async def log_in(self, number: int) -> int:
        """Log in one, and hang up."""
        [device] = await self.connect(1, number % LOGIN_ACCOUNTS)
        self._devices.remove(device)
        await device.leave()
        return 1

    async def hang_up(self) -> None:
        """Disconnect everybody."""
        devices, self._devices = self._devices, []
        for device in devices:
            await device.leave()

    async def connect(self, count: int, first: int = 0) -> list[LoadDevice]:
        """Log in so many."""
        who = [Credentials(self.base + number) for number in range(first, first + count)]
        devices = [LoadDevice(credentials, self._turn.later, self._waiting.errors.append) for credentials in who]
        await self._waiting.each([partial(self._open, device) for device in devices])
        self._devices += devices
        return devices

    async def _open(self, device: LoadDevice) -> None:
        """Connect a device, and wait until it is logged in."""
        route = self._route
        terms = ConnectionOptions(Side.CLIENT, lambda: device, route.observe, self._waiting.reactor, self._turn)
        factory: IProtocolFactory = StreamFactory(terms)
        if route.trust is not None:
            factory = SecureFactory(route.trust, True, factory)
        await route.endpoint.connect(factory)
        await self._waiting.until(lambda: device.ready.called, f"the login of {device.credentials.account}")


def over_tcp(reactor: IReactorTime, port: int, host: str = HOST) -> Route:
    """To the daemon, whatever its key is."""
    return tcp_route(reactor, host, port, spki_digest)


def over_udp(reactor: IReactorTime, port: int, host: str = HOST) -> Route:
    """As L{over_tcp}."""
    return quic_route(reactor, host, port, spki_digest, same)
