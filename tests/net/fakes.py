"""What the tests of the network edge share: a peer that records, key files, and two ends with real TLS in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from attrs import Factory, define, field
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from securemsg.counters import ConnectionCounters
from securemsg.crypto.keys import spki_digest, tls_key_pair
from securemsg.net.link import LinkInfo, Wire
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.tls import ClientTrust, SecureFactory, ServerCredentials
from securemsg.net.turn import Turn
from securemsg.protocol.auth import UNIX
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Challenge, Hello, Message, PrekeyStock, Proof, Unknown, Welcome
from securemsg.protocol.states import Side

HELLO = Hello([1], [], "device", "tcp", bytes(32))
CHALLENGE = Challenge(1, [], bytes(32), bytes(32), bytes(64))
PROOF = Proof("alice", bytes(16), 0, bytes(64))
WELCOME = Welcome(0, 0, PrekeyStock(0, 0, 0, 0), [])


def scratch(case: SynchronousTestCase) -> Path:
    """A folder for one test, gone after it."""
    folder = tempfile.TemporaryDirectory(prefix="sm-")
    case.addCleanup(folder.cleanup)
    return Path(folder.name)


def give_away(case: SynchronousTestCase, path: Path) -> None:
    """Let a file of ours belong to another user. Where we cannot, we are another user for the rest of the test."""
    if os.geteuid() == 0:
        os.chown(path, 1, -1)
    else:
        case.patch(os, "geteuid", lambda: path.stat().st_uid + 1)


@cache
def _shared() -> tempfile.TemporaryDirectory[str]:
    """A folder for all tests, gone at the end."""
    return tempfile.TemporaryDirectory(prefix="sm-")


@cache
def key_files() -> tuple[Path, Path]:
    """Certificate and key of a server, made once."""
    folder = Path(_shared().name)
    key, certificate = tls_key_pair(["localhost", "127.0.0.1"], days=2)
    (folder / "key").write_bytes(key)
    (folder / "certificate").write_bytes(certificate)
    return folder / "certificate", folder / "key"


@implementer(IPeer)
@define
class FakePeer:
    """
    Records every call.

    @ivar react: is called with each message.
    """

    react: Callable[[Message | Unknown], None] = lambda message: None
    channel: IChannel | None = None
    messages: list[Message | Unknown] = Factory(list)
    full: list[bool] = Factory(list)
    codes: list[str] = Factory(list)

    def opened(self, channel: IChannel) -> None:
        """Keep the channel."""
        self.channel = channel

    def received(self, message: Message | Unknown) -> None:
        """Keep the message."""
        self.messages.append(message)
        self.react(message)

    def writable(self, yes: bool) -> None:
        """Keep what is said of the buffer."""
        self.full.append(not yes)

    def closed(self, code: str) -> None:
        """Keep the code."""
        self.codes.append(code)


@define
class End:
    """One end: its peer, the codes it hung up with, and why it never stood."""

    side: Side
    clock: Clock
    peer: FakePeer = field(factory=FakePeer)
    on_hangup: list[str] = field(factory=list)
    unopened: list[str] = field(factory=list)
    reasons: list[Failure] = field(factory=list)
    idle_time: float = 0
    post_quantum: bool = False
    counters: ConnectionCounters = field(factory=ConnectionCounters)

    def options(self, observe: Callable[[Wire], LinkInfo | None], handshake: bool = True) -> ConnectionOptions:
        """Terms that lead here."""

        def ended(stream: StreamProtocol, reason: Failure) -> None:
            """Keep the end of what never stood."""
            if stream.link is None:
                self.unopened.append(stream.code or "")
                self.reasons.append(reason)

        turn = Turn(self.clock)
        return ConnectionOptions(
            self.side,
            lambda: self.peer,
            observe,
            self.clock,
            turn,
            handshake,
            self.on_hangup.append,
            ended,
            self.idle_time,
            self.post_quantum,
            self.counters,
        )


def plain(side: Side, clock: Clock, idle_time: float = 0) -> tuple[StreamProtocol, End]:
    """A stream without TLS, still to be connected."""
    end = End(side, clock, idle_time=idle_time)
    return StreamProtocol(end.options(lambda transport: LinkInfo(UNIX), handshake=False)), end


def log_in(server: FakePeer, client: FakePeer, pump: Callable[[], object]) -> None:
    """Take both ends to phase ready."""
    assert server.channel is not None
    assert client.channel is not None
    for channel, message in (
        (client.channel, HELLO),
        (server.channel, CHALLENGE),
        (client.channel, PROOF),
        (server.channel, WELCOME),
    ):
        channel.send(message)
        pump()
    server.messages.clear()
    client.messages.clear()


@define
class SecurePair:
    """
    Two ends with TLS between them, in memory.

    @ivar wire: the transports below TLS, of client and server.
    """

    clock: Clock
    client: End
    server: End
    client_stream: Protocol
    server_stream: StreamProtocol
    wire: tuple[iosim.FakeTransport, iosim.FakeTransport]
    pump: iosim.IOPump


def secure_pair(
    *,
    client_creator: IOpenSSLClientConnectionCreator | None = None,
    client_protocol: Protocol | None = None,
    server_creator: IOpenSSLServerConnectionCreator | None = None,
    greet: bool = True,
    post_quantum: bool = False,
) -> SecurePair:
    """Connect two ends; either may be another than ours."""
    clock = Clock()
    client, server = End(Side.CLIENT, clock, post_quantum=post_quantum), End(Side.SERVER, clock)
    credentials = ServerCredentials(*key_files(), spki_digest)
    trust = ClientTrust("localhost", spki_digest)
    server_stream = StreamProtocol(server.options(credentials.observe))
    client_stream: Protocol = client_protocol or StreamProtocol(client.options(trust.observe))

    def wrapped(protocol: Protocol, creator: object, is_client: bool) -> Protocol:
        """The protocol with TLS below it."""
        factory = ProtocolFactory()
        factory.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]
        secure: TLSMemoryBIOFactory = SecureFactory(creator, is_client, factory, clock)  # type: ignore[arg-type]
        made = secure.buildProtocol(None)
        assert made is not None
        return made

    server_outer = wrapped(server_stream, server_creator or credentials, False)
    client_outer = wrapped(client_stream, client_creator or trust, True)
    server_wire, client_wire = iosim.makeFakeServer(server_outer), iosim.makeFakeClient(client_outer)
    pump = iosim.connect(server_outer, server_wire, client_outer, client_wire, greet=greet, clock=clock)
    return SecurePair(clock, client, server, client_stream, server_stream, (client_wire, server_wire), pump)
