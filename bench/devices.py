"""Load for the daemon: as many devices as wanted, each an account of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from bench.device import Credentials, LoadDevice, Parts, text_parts, total_parts
from bench.flows import Flow
from bench.served import HOST, Served
from bench.target import Waiting
from securemsg.crypto.keys import same, spki_digest
from securemsg.net.dialer import Route, tcp_route
from securemsg.net.quicendpoint import quic_route
from securemsg.net.stream import ConnectionOptions, StreamFactory
from securemsg.net.tls import SecureFactory
from securemsg.net.turn import Turn
from securemsg.protocol.states import Side

MESSAGE_SIZE = 200
PARTS: dict[str, Parts] = {"text": text_parts(MESSAGE_SIZE), "total": total_parts(MESSAGE_SIZE)}


@define
class Daemon:
    """
    The daemon as a target.

    @ivar way: gives the route to a port; see L{over_tcp} and L{over_udp}.
    @ivar accounts: who is registered.
    @ivar prefix: what their names begin with.
    """

    served: Served
    way: Callable[[int], Route]
    _waiting: Waiting
    accounts: list[Credentials] = field(factory=list)
    prefix: str = "load"
    name: str = "daemon"
    _route: Route = field(init=False)
    _turn: Turn = field(init=False)
    _devices: list[LoadDevice] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        """All devices share their turns."""
        self._turn = Turn(self._waiting.reactor)
        self._route = self.way(self.served.port)

    def move(self, served: Served) -> None:
        """Go on with another process, which has the state of the last one."""
        self.served = served
        self._route = self.way(served.port)

    async def register(self, count: int) -> None:
        """Make accounts until there are so many."""
        names = [f"{self.prefix}-{number}" for number in range(len(self.accounts), count)]
        self.accounts += await self._waiting.each([partial(self._register, name) for name in names])

    async def flows(self, pairs: int, size: str) -> Sequence[Flow]:
        """Connect so many pairs."""
        await self.register(2 * pairs)
        devices = await self.connect(self.accounts[: 2 * pairs])
        flows = []
        for sender, recipient in zip(devices[::2], devices[1::2], strict=True):
            flows.append(self.flow(sender, recipient.credentials, size))
            recipient.source = flows[-1]
        return flows

    def flow(self, sender: LoadDevice, to: Credentials, size: str) -> Flow:
        """The way from one device to another, whether that is connected or not."""
        sender.parts, sender.to = PARTS[size], to
        sender.flow = Flow(sender.submit, self._waiting.reactor.seconds)
        return sender.flow

    async def idle(self, count: int) -> None:
        """Connect so many more, and let them be."""
        here = len(self._devices)
        await self.register(here + count)
        await self.connect(self.accounts[here : here + count])

    async def log_in(self, number: int) -> int:
        """Log in one, and hang up."""
        [device] = await self.connect([self.accounts[number % len(self.accounts)]])
        self._devices.remove(device)
        await device.leave()
        return 1

    async def hang_up(self) -> None:
        """Disconnect everybody."""
        devices, self._devices = self._devices, []
        for device in devices:
            await device.leave()

    async def connect(self, who: Sequence[Credentials]) -> list[LoadDevice]:
        """
        Log in all of these.

        @return: in the order of C{who}.
        """
        devices = [LoadDevice(credentials, self._turn.later, self._waiting.errors.append) for credentials in who]
        await self._waiting.each([partial(self._open, device) for device in devices])
        self._devices += devices
        return devices

    async def _register(self, name: str) -> Credentials:
        """Make one account, and leave."""
        device = LoadDevice(Credentials(name, os.urandom(16)), self._turn.later, self._waiting.errors.append, True)
        await self._open(device)
        await device.leave()
        return device.credentials

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
    return quic_route(reactor, host, port, spki_digest, same, 0)
