"""A QUIC connection as a transport: the bytes of its stream, its datagrams, its timer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from aioquic.quic import events
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure

from securemsg.net.link import LinkInfo, Wire
from securemsg.net.quic import GROUP, STREAM, WINDOW, Address, QuicState
from securemsg.net.stream import StreamProtocol
from securemsg.net.tls import Spki, shown_expiry
from securemsg.protocol.auth import ALPN, Binding
from securemsg.protocol.states import Phase

# Bytes that wait to be sent, or acknowledged, above which the writer is asked to wait.
BUFFER_SIZE = 64 * 1024
# Seconds of silence after which a client sends a ping, as soon as RFC 8085 3.5 allows: address translators keep its port, and
# it hears of a restart of the server.
KEEP_ALIVE = 15

Send = Callable[[bytes, Address], object]


class QuicWire:
    """
    The transport of one stream.

    @ivar state: the protocol below.
    @ivar is_established: the handshake is done, with our protocol.
    @ivar source: as what its address is counted, at a server.
    """

    is_established = False
    source = b""

    def __init__(self, state: QuicState, clock: IReactorTime, send: Send, on_event: Callable[[QuicWire, Any], None]) -> None:
        """
        @param send: sends a datagram.
        @param on_event: called for the end of the handshake, for new and retired connection ids, and for the end of the
            connection, after which nobody uses the wire.
        """
        self.state = state
        self._clock = clock
        self._send = send
        self._on_event = on_event
        self._protocol: StreamProtocol | None = None
        self._producer: IPushProducer | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: deque[bytes] = deque()
        self._is_full = self._is_paused = self._is_closing = self._is_pumping = self._is_aborted = False
        # When a client last sent a ping.
        self._pinged_at = clock.seconds()

    def connect(self, address: Address) -> None:
        """Begin, as a client."""
        self.state.connect(address, self._clock.seconds())
        self._pump()

    def attach(self, protocol: StreamProtocol) -> None:
        """Give it the stream that it carries."""
        self._protocol = protocol
        protocol.makeConnection(self)

    def receive(self, datagram: bytes, address: Address) -> None:
        """A datagram came."""
        if self.state.is_reset(datagram):
            self.drop()
            self._on_event(self, events.ConnectionTerminated(0, None, "stateless reset"))
            return
        self.state.receive_datagram(datagram, address, self._clock.seconds())
        self._pump()

    def stop(self) -> None:
        """Forget everything at once."""
        self._cancel()
        self._protocol = None

    def drop(self) -> None:
        """Forget everything but to tell the stream."""
        self._report_lost(ConnectionLost())
        self._cancel()

    # --- what a stream needs of its transport -----------------------------------------------------------------------

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""
        if not self._is_closing and self._protocol is not None and self.state.has_stream:
            self.state.send_stream_data(STREAM, data)
            self._pump()

    def loseConnection(self) -> None:
        """Hang up once the other end has everything."""
        if not self._is_closing:
            self._is_closing = True
            if self.is_established and self.state.has_stream:
                self.state.send_stream_data(STREAM, b"", end_stream=True)
            self._pump()

    def abortConnection(self) -> None:
        """Hang up now."""
        self._is_closing = self._is_aborted = True
        self._pump()

    def registerProducer(self, producer: IPushProducer, streaming: bool, /) -> None:
        """Tell C{producer} when the buffer is full, and when it has drained."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Stop telling the producer."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Take nothing, so that the other end may send no more than a window."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Take what came, and more."""
        self._is_paused = False
        self._clock.callLater(0, self._pump)

    def unsent(self) -> int:
        """See L{securemsg.net.link.unsent}."""
        return self.state.unsent

    # --- inside -----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Take in what came, send what may be sent, and wait for what comes next. It is called again by what it calls."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while (event := self.state.next_event()) is not None:
                self._handle_event(event)
            self._hand_over()
            if self._protocol is not None and self._protocol.connection.phase is Phase.READY:
                self.state.window = WINDOW
            self._watch_buffer()
            self._hang_up()
            for datagram, address in self.state.datagrams_to_send(self._clock.seconds()):
                self._send(datagram, address)
        finally:
            self._is_pumping = False
        if self.state.is_over:
            self._report_lost(ConnectionDone() if self.state.is_clean else ConnectionLost())
        self._set_timer()

    def _handle_event(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived(data=data, end_stream=is_end):
                self._waiting.append(data)
                # No half-open streams: an end that is done hangs up.
                self._is_closing = self._is_closing or is_end
            case events.HandshakeCompleted(alpn_protocol=alpn):
                self.is_established = alpn == ALPN.decode()
                self._on_event(self, event)
                if self._protocol is not None:
                    self._protocol.handshakeCompleted()
            case events.StreamReset() | events.StopSendingReceived():
                self._is_closing = self._is_aborted = True
            case events.ConnectionTerminated() | events.ConnectionIdIssued() | events.ConnectionIdRetired():
                self._on_event(self, event)

    def _hand_over(self) -> None:
        """Give the stream what came for it."""
        while self._waiting and not self._is_paused and self._protocol is not None:
            data = self._waiting.popleft()
            self.state.taken += len(data)
            self._protocol.dataReceived(data)

    def _watch_buffer(self) -> None:
        """Tell the producer when too much waits, and when that is over."""
        unsent = self.state.unsent
        if self._producer is not None and self._is_full is not (unsent > (BUFFER_SIZE // 2 if self._is_full else BUFFER_SIZE)):
            self._is_full = not self._is_full
            if self._is_full:
                self._producer.pauseProducing()
            else:
                self._producer.resumeProducing()

    def _hang_up(self) -> None:
        """Close the connection, once nothing waits or at once."""
        if self._is_closing and (self._is_aborted or not self.state.unsent):
            self.state.close()

    def _report_lost(self, reason: Exception) -> None:
        """It is over: tell the stream, later, as other transports do."""
        protocol, self._protocol = self._protocol, None
        self._is_closing = True
        if protocol is not None:
            self._clock.callLater(0, protocol.connectionLost, Failure(reason))

    def _set_timer(self) -> None:
        """Set the timer for what is due next. One that fires too early does nothing."""
        due = self.state.get_timer()
        if due is None:
            self._cancel()
            return
        if self.state.configuration.is_client and not self.state.is_over:
            due = min(due, self._ping_due)
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(due - self._clock.seconds(), 0), self._timer_fired)

    @property
    def _ping_due(self) -> float:
        return max(self.state.active_at, self._pinged_at) + KEEP_ALIVE

    def _timer_fired(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        if self.state.configuration.is_client and not self.state.is_over and now >= self._ping_due:
            # One for each interval, answered or not.
            self._pinged_at = now
            self.state.send_ping(0)
        due = self.state.get_timer()
        if due is not None and now >= due:
            self.state.handle_timer(now)
        self._pump()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def send_datagram(transport: Any, datagram: bytes, address: Address) -> None:
    """Send a datagram. One that the kernel does not take is lost like any other, and is sent again."""
    try:
        transport.write(datagram, address)
    except OSError:
        return


def observe_quic(transport: Wire, spki: bytes | Spki) -> LinkInfo | None:
    """
    What protects a connection; C{None} if another protocol was negotiated.

    @param spki: SHA-256 of the server's SubjectPublicKeyInfo; at a client, what takes it from this handshake's certificate.
    """
    assert isinstance(transport, QuicWire)
    if not transport.is_established:
        return None
    state = transport.state
    if isinstance(spki, bytes):
        return LinkInfo(Binding("quic", "spki", b"", spki), "TLSv1.3", state.cipher, GROUP)
    certificate = state.certificate
    return LinkInfo(Binding("quic", "spki", b"", spki(certificate)), "TLSv1.3", state.cipher, GROUP, shown_expiry(certificate))
