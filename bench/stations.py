"""Load for the daemon: as many stations as wanted, each an account of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from attrs import define, field
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTCP

from bench.queues import SendQueue
from bench.served import HOST, Served
from bench.station import Credentials, Parts, Station, text_parts, total_parts
from bench.target import Waiting
from securemsg.crypto.keys import spki_digest
from securemsg.net.stream import ConnectionOptions, StreamFactory
from securemsg.net.tls import ClientTrust, SecureFactory
from securemsg.net.turn import Turn
from securemsg.protocol.states import Side

MESSAGE_SIZE = 200
PARTS: dict[str, Parts] = {"text": text_parts(MESSAGE_SIZE), "total": total_parts(MESSAGE_SIZE)}


@define
class Daemon:
    """
    The daemon as a target.

    @ivar accounts: who is registered.
    @ivar prefix: what their names begin with.
    """

    served: Served
    _reactor: IReactorTCP
    _waiting: Waiting
    accounts: list[Credentials] = field(factory=list)
    prefix: str = "load"
    _turn: Turn = field(init=False)
    _trust: ClientTrust = field(init=False)
    _stations: list[Station] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        """All stations share their turns."""
        self._turn = Turn(self._waiting.reactor)
        self._trust = ClientTrust(HOST, spki_digest)

    async def register(self, count: int) -> None:
        """Make accounts until there are so many."""
        names = [f"{self.prefix}-{number}" for number in range(len(self.accounts), count)]
        self.accounts += await self._waiting.each([partial(self._register, name) for name in names])

    async def queues(self, pairs: int, size: str) -> Sequence[SendQueue]:
        """Connect so many pairs."""
        await self.register(2 * pairs)
        stations = await self.connect(self.accounts[: 2 * pairs])
        queues = []
        for sender, recipient in zip(stations[::2], stations[1::2], strict=True):
            queues.append(self.queue(sender, recipient.credentials, size))
            recipient.source = queues[-1]
        return queues

    def queue(self, sender: Station, to: Credentials, size: str) -> SendQueue:
        """The way from a station to a device, whether that is connected or not."""
        sender.parts, sender.to = PARTS[size], to
        sender.queue = SendQueue(sender.submit, self._waiting.reactor.seconds)
        return sender.queue

    async def idle(self, count: int) -> None:
        """Connect so many more, and let them be."""
        here = len(self._stations)
        await self.register(here + count)
        await self.connect(self.accounts[here : here + count])

    async def log_in(self, number: int) -> int:
        """Log in one, and hang up."""
        [station] = await self.connect([self.accounts[number % len(self.accounts)]])
        self._stations.remove(station)
        await station.leave()
        return 1

    async def hang_up(self) -> None:
        """Disconnect everybody."""
        stations, self._stations = self._stations, []
        for station in stations:
            await station.leave()

    async def connect(self, who: Sequence[Credentials]) -> list[Station]:
        """
        Log in all of these.

        @return: in the order of C{who}.
        """
        stations = [Station(credentials, self._turn.later, self._waiting.troubles.append) for credentials in who]
        await self._waiting.each([partial(self._open, station) for station in stations])
        self._stations += stations
        return stations

    async def _register(self, name: str) -> Credentials:
        """Make one account, and leave."""
        station = Station(Credentials(name, os.urandom(16)), self._turn.later, self._waiting.troubles.append, True)
        await self._open(station)
        await station.leave()
        return station.credentials

    async def _open(self, station: Station) -> None:
        """Connect a station, and wait until it is logged in."""
        terms = ConnectionOptions(Side.CLIENT, lambda: station, self._trust.observe, self._waiting.reactor, self._turn)
        endpoint = TCP4ClientEndpoint(self._reactor, HOST, self.served.port)
        await endpoint.connect(SecureFactory(self._trust, True, StreamFactory(terms)))
        await self._waiting.until(lambda: station.ready.called, f"the login of {station.credentials.account}")
