"""
QUIC version 1 (RFC 9000, 9001): a connection's bytes on one bidirectional stream over UDP, which the client opens.

C{aioquic} is the protocol without any I/O; L{QuicWire} gives it datagrams and time, and is to a stream what a TCP transport
is. There is no 0-RTT and no resumption. C{aioquic} exposes no exporter, so that a login is tied to the server's key alone.

What has no public name in C{aioquic} is used by L{QuicState} alone; C{setup.cfg} keeps its version, tests its behaviour.
"""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import MAX_STREAM_DATA_FRAME_CAPACITY, QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicProtocolVersion
from aioquic.tls import Group
from OpenSSL import crypto
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure

from securemsg.net.link import LinkInfo, Wire
from securemsg.net.stream import StreamProtocol
from securemsg.net.tls import Spki
from securemsg.protocol.auth import ALPN, Binding

# The one stream: the client's first (RFC 9000 2.1).
STREAM = 0
# Bytes that the other end may send before we have taken them; and bytes of ours above which the writer is asked to wait.
WINDOW = 256 * 1024
BUFFER_SIZE = 64 * 1024
# So short that it fits into every path (RFC 9000 14.1), headers included.
ID_SIZE = 8
RESET_TOKEN_SIZE = 16
# Seconds of silence after which a client says something, as soon as RFC 8085 3.5 allows: address translators keep its port, and
# it hears of a restart of the server. And after which a connection is over, at both ends.
KEEP_ALIVE = 15
IDLE_TIME = 100
# The group of the key exchange, by OpenSSL's name.
GROUP = "x25519"
# One stream fills no window of the whole connection.
NO_LIMIT = (1 << 62) - 1

Address = tuple[Any, ...]
Send = Callable[[bytes, Address], object]
# Compares secrets in a time that says nothing of them; a parameter: it needs a crypto library.
Same = Callable[[bytes, bytes], bool]

# It speaks of single packets, to standard error if nobody else listens.
logging.getLogger("quic").addHandler(logging.NullHandler())
logging.getLogger("quic").propagate = False


def _configuration(is_client: bool) -> QuicConfiguration:
    """What both ends have in common."""
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN.decode()],
        connection_id_length=ID_SIZE,
        idle_timeout=IDLE_TIME,
        max_data=NO_LIMIT,
        max_stream_data=WINDOW,
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )


def server_configuration(certificate: Path, key: Path) -> QuicConfiguration:
    """
    The server's end, with the key of its TLS.

    @param certificate: PEM, with its chain; C{key} likewise. Both are known to be good.
    """
    configuration = _configuration(False)
    configuration.load_cert_chain(certificate, key)
    return configuration


def client_configuration(host: str, authorities: Path | None = None) -> QuicConfiguration:
    """
    A client's end.

    @param authorities: as in L{securemsg.net.tls.ClientTrust}.
    """
    configuration = _configuration(True)
    configuration.server_name = host
    configuration.verify_mode = ssl.CERT_NONE if authorities is None else ssl.CERT_REQUIRED
    if authorities is not None:
        configuration.load_verify_locations(str(authorities))
    return configuration


class QuicState(QuicConnection):
    """
    C{aioquic}'s connection with one stream, a window that does not grow, and reset tokens that outlive the process.

    @ivar taken: bytes of the stream that our end has taken.
    """

    taken = 0

    def __init__(
        self,
        configuration: QuicConfiguration,
        *,
        same: Same | None = None,
        reset_token: Callable[[bytes], bytes] | None = None,
        **ids: Any,
    ) -> None:
        """
        @param same: a client needs it.
        @param reset_token: gives the stateless reset token of a connection id (RFC 9000 10.3); a server needs it.
        @param ids: C{original_destination_connection_id} and C{retry_source_connection_id} at a server.
        """
        super().__init__(configuration=configuration, **ids)
        self._same = same
        self._reset_token = reset_token
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = 0
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = 0 if self._is_client else 1
        self._set_reset_tokens()

    @property
    def is_over(self) -> bool:
        """Whether either end has closed it, or it was silent for too long."""
        return self._close_event is not None

    @property
    def is_clean(self) -> bool:
        """Whether it was closed on purpose."""
        return self._close_event is not None and self._close_event.error_code == 0

    @property
    def active_at(self) -> float:
        """
        When the idle timeout was restarted last: by an authentic packet, or the first one of ours after it (RFC 9000 10.1).
        What anybody else sends in the name of the other end does not count.
        """
        assert self._close_at is not None, "a connection that has begun, and is not over"
        return self._close_at - self._idle_timeout()

    @property
    def unsent(self) -> int:
        """Bytes of the stream that the other end has not acknowledged."""
        stream = self._streams.get(STREAM)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender._buffer_start

    @property
    def has_stream(self) -> bool:
        """Whether the client has opened the stream."""
        return self._is_client or STREAM in self._streams

    @property
    def certificate(self) -> bytes:
        """The server's certificate in DER, at a client after the handshake."""
        found = self.tls._peer_certificate
        assert found is not None, "a server without a certificate ends the handshake"
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.X509.from_cryptography(found))

    @property
    def cipher(self) -> str:
        """The name of the cipher suite."""
        schedule = self.tls.key_schedule
        return "" if schedule is None else f"TLS_{schedule.cipher_suite.name}"

    def is_reset(self, datagram: bytes) -> bool:
        """Whether a datagram says that the server knows nothing of this connection any more (RFC 9000 10.3.1)."""
        if self._same is None:
            return False
        ids = (self._peer_cid, *self._peer_cid_available)
        tokens = [known.stateless_reset_token for known in ids if known.stateless_reset_token]
        return any(self._same(datagram[-RESET_TOKEN_SIZE:], token) for token in tokens)

    def _initialize(self, peer_cid: bytes) -> None:
        """Agree on keys with one group at both ends, so that it is known which; C{aioquic} has none that is post-quantum."""
        super()._initialize(peer_cid)
        self.tls._supported_groups = [Group.X25519]

    def _replenish_connection_ids(self) -> None:
        """Give new ids our tokens."""
        super()._replenish_connection_ids()
        self._set_reset_tokens()

    def _set_reset_tokens(self) -> None:
        if self._reset_token is not None:
            for known in self._host_cids:
                known.stateless_reset_token = self._reset_token(known.cid)

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        """Let the other end send as much as we have taken, and a window more; C{aioquic}'s grows with what came."""
        if stream.max_stream_data_local and self.taken + WINDOW - stream.max_stream_data_local >= WINDOW // 2:
            stream.max_stream_data_local = self.taken + WINDOW
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            frame = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            frame.push_uint_var(stream.stream_id)
            frame.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local


class QuicWire:
    """
    The transport of one stream.

    @ivar state: the protocol below.
    @ivar is_established: the handshake is done, with our protocol.
    """

    is_established = False

    def __init__(self, state: QuicState, clock: IReactorTime, send: Send, on_event: Callable[[QuicWire, Any], None]) -> None:
        """
        @param send: sends a datagram.
        @param on_event: gets the events of the handshake, of connection ids, and the last, after which the wire is nobody's.
        """
        self.state = state
        self._clock = clock
        self._send = send
        self._on_event = on_event
        self._protocol: StreamProtocol | None = None
        self._producer: IPushProducer | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: deque[bytes] = deque()
        self._is_full = self._is_paused = self._is_closing = self._is_working = self._is_aborted = False
        # When a client last sent a ping.
        self._pinged_at = clock.seconds()

    def connect(self, address: Address) -> None:
        """Begin, as a client."""
        self.state.connect(address, self._clock.seconds())
        self._work()

    def attach(self, protocol: StreamProtocol) -> None:
        """Give it the stream that it carries."""
        self._protocol = protocol
        protocol.makeConnection(self)

    def receive(self, datagram: bytes, address: Address) -> None:
        """A datagram came."""
        if self.state.is_reset(datagram):
            self._lose(ConnectionLost("the server does not know this connection any more"))
            self._cancel()
            self._on_event(self, events.ConnectionTerminated(0, None, "stateless reset"))
            return
        self.state.receive_datagram(datagram, address, self._clock.seconds())
        self._work()

    def stop(self) -> None:
        """Forget everything at once."""
        self._cancel()
        self._protocol = None

    # --- what a stream needs of its transport -----------------------------------------------------------------------

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""
        if not self._is_closing and self._protocol is not None and self.state.has_stream:
            self.state.send_stream_data(STREAM, data)
            self._work()

    def loseConnection(self) -> None:
        """Hang up once the other end has everything."""
        if not self._is_closing:
            self._is_closing = True
            if self.is_established and self.state.has_stream:
                self.state.send_stream_data(STREAM, b"", end_stream=True)
            self._work()

    def abortConnection(self) -> None:
        """Hang up now."""
        self._is_closing = self._is_aborted = True
        self._work()

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
        self._clock.callLater(0, self._work)

    def unsent(self) -> int:
        """See L{securemsg.net.link.unsent}."""
        return self.state.unsent

    # --- inside -----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Take in what came, send what may be sent, and wait for what comes next. It is called again by what it calls."""
        if self._is_working:
            return
        self._is_working = True
        try:
            while (event := self.state.next_event()) is not None:
                self._take(event)
            self._hand_over()
            self._watch_buffer()
            self._hang_up()
            for datagram, address in self.state.datagrams_to_send(self._clock.seconds()):
                self._send(datagram, address)
        finally:
            self._is_working = False
        if self.state.is_over:
            self._lose(ConnectionDone() if self.state.is_clean else ConnectionLost())
        self._wait()

    def _take(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived(data=data, end_stream=is_end):
                self._waiting.append(data)
                # There is no half of a connection: who is done hangs up.
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

    def _lose(self, reason: Exception) -> None:
        """It is over: tell the stream, later, as other transports do."""
        protocol, self._protocol = self._protocol, None
        self._is_closing = True
        if protocol is not None:
            self._clock.callLater(0, protocol.connectionLost, Failure(reason))

    def _wait(self) -> None:
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
        self._timer = self._clock.callLater(max(due - self._clock.seconds(), 0), self._fire)

    @property
    def _ping_due(self) -> float:
        return max(self.state.active_at, self._pinged_at) + KEEP_ALIVE

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        if self.state.configuration.is_client and not self.state.is_over and now >= self._ping_due:
            # One for each interval, answered or not.
            self._pinged_at = now
            self.state.send_ping(0)
        due = self.state.get_timer()
        if due is not None and now >= due:
            self.state.handle_timer(now)
        self._work()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def observe_quic(transport: Wire, spki: bytes | Spki) -> LinkInfo | None:
    """
    What protects a connection; C{None} if it is not our protocol that was agreed upon.

    @param spki: SHA-256 of the server's SubjectPublicKeyInfo; at a client, what takes it from this handshake's certificate.
    """
    assert isinstance(transport, QuicWire)
    if not transport.is_established:
        return None
    state = transport.state
    digest = spki if isinstance(spki, bytes) else spki(state.certificate)
    return LinkInfo(Binding("quic", "spki", b"", digest), "TLSv1.3", state.cipher, GROUP)
