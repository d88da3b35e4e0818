"""Load for the yardstick."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IAddress, IReactorTCP
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from bench.flows import Flow
from bench.served import HOST, Served
from bench.target import Waiting
from bench.yardstick import PAIRED

MESSAGE = bytes(200)


class StringEnd(Int32StringReceiver):
    """
    A client's end of one connection.

    @ivar flow: what arrives here came by it.
    @ivar paired: whether both ends are there.
    @ivar gone: fires when the connection has ended.
    """

    flow: Flow | None = None
    paired = False

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def stringReceived(self, string: bytes) -> None:
        """A message, but for the first one."""
        if self.flow is not None:
            self.flow.arrived()
        elif string == PAIRED:
            self.paired = True

    def submit(self, count: int) -> None:
        """Send so many."""
        for _ in range(count):
            self.sendString(MESSAGE)

    def leave(self) -> Deferred[None]:
        """Hang up."""
        assert self.transport is not None
        self.transport.loseConnection()
        return self.gone

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits for that knows now."""
        self.gone.callback(None)


class StringFactory(Factory):
    """Makes client ends."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> StringEnd:
        """One more."""
        return StringEnd()


@define
class Yardstick:
    """The stock relay as a target."""

    served: Served
    _reactor: IReactorTCP
    _waiting: Waiting
    _ends: list[StringEnd] = field(factory=list)
    _pairs: int = 0
    name: str = "yardstick"
    _factory: TLSMemoryBIOFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Clients believe every certificate: it is ours."""
        options = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_3)
        self._factory = TLSMemoryBIOFactory(options, True, StringFactory())

    async def flows(self, pairs: int, size: str) -> Sequence[Flow]:
        """Connect so many pairs. A message is 200 bytes whatever it stands for."""
        ends = await self._pair_up(pairs)
        flows = []
        for sender, recipient in ends:
            flow = Flow(sender.submit, self._waiting.reactor.seconds, awaits_accept=False)
            sender.flow = recipient.flow = flow
            flows.append(flow)
        return flows

    async def idle(self, count: int) -> None:
        """Connect so many more, in pairs."""
        await self._pair_up(count // 2)

    async def log_in(self, number: int) -> int:
        """There is no login: connect two ends, each a TLS handshake and a name, and leave again."""
        name = b"login %d" % number
        ends = [await self._connect(name), await self._connect(name)]
        await self._waiting.until(lambda: all(end.paired for end in ends), "a handshake with the yardstick")
        for end in ends:
            self._ends.remove(end)
            await end.leave()
        return len(ends)

    async def hang_up(self) -> None:
        """Disconnect everybody."""
        ends, self._ends = self._ends, []
        for end in ends:
            await end.leave()

    async def _pair_up(self, pairs: int) -> list[tuple[StringEnd, StringEnd]]:
        """Connect both ends of so many pairs."""

        async def pair(number: int) -> tuple[StringEnd, StringEnd]:
            """One of them."""
            name = b"pair %d" % number
            return (await self._connect(name), await self._connect(name))

        first, self._pairs = self._pairs, self._pairs + pairs
        ends = await self._waiting.each([partial(pair, number) for number in range(first, self._pairs)])
        await self._waiting.until(lambda: all(end.paired for both in ends for end in both), "the pairs of the yardstick")
        return ends

    async def _connect(self, name: bytes) -> StringEnd:
        """Connect one end, and say which pair it belongs to."""
        endpoint = TCP4ClientEndpoint(self._reactor, HOST, self.served.port)
        protocol = await endpoint.connect(self._factory)
        assert isinstance(protocol, TLSMemoryBIOProtocol)
        end = protocol.wrappedProtocol
        assert isinstance(end, StringEnd)
        end.sendString(name)
        self._ends.append(end)
        return end
