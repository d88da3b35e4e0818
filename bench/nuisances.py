"""
Bad company for those who are measured: clients that hold a connection and do not keep to the protocol.

One of each kind, for as long as they are wanted: whenever the daemon hangs up on one, it comes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from attrs import define, field, frozen
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTCP
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from bench.devices import Daemon, over_tcp
from bench.flows import Flow
from bench.machine import Unmeasurable
from bench.served import HOST, Served
from bench.target import Waiting
from securemsg.crypto.keys import spki_digest
from securemsg.net.tls import ClientTrust, SecureFactory

# Seconds between two bytes of the dribbler, and before one that was thrown out comes again.
DRIBBLE = 0.05
AGAIN = 1.0
# The length of a frame, announced so that one byte after the other belongs to it.
ANNOUNCED = (4096).to_bytes(4, "big")
# A frame that is none of our messages.
GARBAGE_SIZE = 64
# Seconds between two messages to the one that does not read: its window is full soon.
PILE = 0.02


@frozen
class Kind:
    """
    A way to be a nuisance.

    @ivar secure: whether it does the TLS handshake.
    @ivar first: makes what it says at once.
    @ivar dribbles: whether it goes on, a byte at a time.
    """

    secure: bool
    first: Callable[[], bytes]
    dribbles: bool = False


# Silent in its handshake; dribbling bytes behind TLS; sending garbage there.
KINDS = (
    Kind(False, bytes),
    Kind(True, lambda: ANNOUNCED, True),
    Kind(True, lambda: GARBAGE_SIZE.to_bytes(4, "big") + os.urandom(GARBAGE_SIZE)),
)


class Nuisance(Protocol):
    """One connection of one of them."""

    def __init__(self, kind: Kind, lost: Callable[[Nuisance], None]) -> None:
        """
        @param lost: is told of the end.
        """
        self._kind = kind
        self._lost = lost
        self._dribble = LoopingCall(self._say_more)

    def connectionMade(self) -> None:
        """Say what there is to say. Behind TLS it waits until the handshake is done."""
        assert self.transport is not None
        self.transport.write(self._kind.first())
        if self._kind.dribbles:
            self._dribble.start(DRIBBLE, now=False)

    def leave(self) -> None:
        """Hang up."""
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It was thrown out, or has left."""
        if self._dribble.running:
            self._dribble.stop()
        self._lost(self)

    def _say_more(self) -> None:
        """A byte."""
        assert self.transport is not None
        self.transport.write(b"\0")


class NuisanceFactory(Factory):
    """Makes those of a kind."""

    noisy = False

    def __init__(self, kind: Kind, arrived: Callable[[Nuisance], None], lost: Callable[[Nuisance], None]) -> None:
        """
        @param arrived: is told of each that is made; C{lost} of its end.
        """
        self._kind = kind
        self._arrived = arrived
        self._lost = lost

    def buildProtocol(self, addr: IAddress | None) -> Nuisance:
        """One more."""
        nuisance = Nuisance(self._kind, self._lost)
        self._arrived(nuisance)
        return nuisance


@define(eq=False)
class Company:
    """
    All four: those three that never log in, and one that has, but does not read while messages pile up for it.

    @ivar thrown_out: how often the daemon hung up on one of the three.
    """

    _served: Served
    _reactor: IReactorTCP
    _waiting: Waiting
    thrown_out: int = field(init=False, default=0)
    # Rises when they come, and when they go: whoever comes too late for one visit is not part of the next.
    _visit: int = field(init=False, default=0)
    _strangers: list[Nuisance] = field(init=False, factory=list)
    _daemon: Daemon = field(init=False)
    _flow: Flow = field(init=False)
    _piling: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Have accounts of our own, for what piles up is not for the others."""
        self._daemon = Daemon(self._served, partial(over_tcp, self._waiting.reactor), self._waiting, prefix="nuisance")

    async def come(self) -> None:
        """Be there until told to go."""
        await self._daemon.register(2)
        writer, deaf = await self._daemon.connect(self._daemon.accounts)
        self._flow = flow = self._daemon.flow(writer, deaf.credentials, "text")
        flow.awaits_delivery = False
        deaf.deafen()
        self._piling = LoopingCall(lambda: flow.push(1, 0))
        self._piling.start(PILE)
        self._visit += 1
        for kind in KINDS:
            self._connect(kind, self._visit)

    async def go(self) -> int:
        """
        Hang up; then the one that did not read comes once more, and takes what waited for it.

        @return: how much that was.
        @raise Unmeasurable: it did not get everything.
        """
        self._visit += 1
        self._piling.stop()
        for nuisance in list(self._strangers):
            nuisance.leave()
        flow = self._flow
        await self._waiting.until(lambda: flow.accepted == flow.sent, "messages for one that does not read")
        await self._daemon.hang_up()
        [reader] = await self._daemon.connect(self._daemon.accounts[1:])
        await self._waiting.until(lambda: reader.drained and reader.received_count >= flow.sent, "what piled up")
        await self._daemon.hang_up()
        if reader.received_count != flow.sent:
            raise Unmeasurable(f"{flow.sent} messages had piled up for one client, and it got {reader.received_count}")
        return flow.sent

    def _connect(self, kind: Kind, visit: int) -> None:
        """One stranger comes, and comes again."""

        def lost(nuisance: Nuisance) -> None:
            """It is out."""
            self._strangers.remove(nuisance)
            if visit == self._visit:
                self.thrown_out += 1
                self._waiting.reactor.callLater(AGAIN, self._connect, kind, visit)

        if visit == self._visit:
            factory: IProtocolFactory = NuisanceFactory(kind, self._strangers.append, lost)
            if kind.secure:
                trust = ClientTrust(HOST, spki_digest)
                factory = SecureFactory(trust, True, factory)
            connecting = TCP4ClientEndpoint(self._reactor, HOST, self._served.port).connect(factory)
            connecting.addErrback(lambda failure: self._waiting.errors.append(f"no way in: {failure.getErrorMessage()}"))
