"""Two ends in one process, with no socket between them: how the contact C{server} reaches the daemon that it lives in."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from securemsg.net.link import LinkInfo, Wire
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.protocol.auth import MEMORY

# As Twisted's sockets: above this the writer is asked to wait.
BUFFER_SIZE = 64 * 1024


class MemoryWire:
    """
    One end of a pair of transports. Nothing happens while it is called: all of it comes later, in a turn of its own, so
    that two ends that answer each other never nest.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._protocol: Protocol | None = None
        self._other: MemoryWire | None = None
        self._out: list[bytes] = []
        self._size = 0
        self._moving: IDelayedCall | None = None
        self._producer: IPushProducer | None = None
        self._full = False
        self._paused = False
        self._hanging_up = False

    def attach(self, protocol: Protocol, other: MemoryWire) -> None:
        """Join the two ends."""
        self._protocol = protocol
        self._other = other

    def write(self, data: bytes, /) -> None:
        """Queue bytes for the other end."""
        if self._other is None or self._hanging_up:
            return
        self._out.append(data)
        self._size += len(data)
        self._move_later()
        if self._size > BUFFER_SIZE and not self._full and self._producer is not None:
            self._full = True
            self._producer.pauseProducing()

    def loseConnection(self) -> None:
        """Hang up once everything is read."""
        self._hanging_up = True
        self._move_later()

    def abortConnection(self) -> None:
        """Hang up and drop what is not read yet."""
        self._out.clear()
        self._paused = False
        self.loseConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool, /) -> None:
        """Tell C{producer} when the buffer is full."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Stop telling the producer."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Read nothing from the other end."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Read what is there."""
        self._paused = False
        if self._other is not None:
            self._other._move_later()

    def _move_later(self) -> None:
        """Move bytes in a turn of their own."""
        if self._moving is None and self._other is not None:
            self._moving = self._clock.callLater(0, self._move)

    def _move(self) -> None:
        """Hand the other end what waits for it, and the end if there is one."""
        self._moving = None
        other = self._other
        if other is None:
            return
        if self._out and not other._paused:
            data = b"".join(self._out)
            self._out.clear()
            self._size = 0
            assert other._protocol is not None
            other._protocol.dataReceived(data)
            if self._full and self._producer is not None:
                self._full = False
                self._producer.resumeProducing()
        if self._hanging_up and not self._out and self._other is not None:
            self._part()
            other._part()

    def _part(self) -> None:
        protocol, self._protocol, self._other, self._producer = self._protocol, None, None, None
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        if protocol is not None:
            protocol.connectionLost(Failure(ConnectionDone()))


def observe_memory(transport: Wire) -> LinkInfo:
    """Memory needs no protection."""
    return LinkInfo(MEMORY)


def connect_memory(
    server: ConnectionOptions, client: ConnectionOptions, clock: IReactorTime
) -> tuple[StreamProtocol, StreamProtocol]:
    """
    Join a server's end and a client's.

    @param server: without handshake, and with L{observe_memory}, like C{client}.
    """
    server_stream, client_stream = StreamProtocol(server), StreamProtocol(client)
    server_wire, client_wire = MemoryWire(clock), MemoryWire(clock)
    server_wire.attach(server_stream, client_wire)
    client_wire.attach(client_stream, server_wire)
    server_stream.makeConnection(server_wire)
    client_stream.makeConnection(client_wire)
    return server_stream, client_stream
