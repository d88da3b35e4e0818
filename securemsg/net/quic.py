"""
QUIC version 1 (RFC 9000, 9001): a connection's bytes on one bidirectional stream over UDP, which the client opens.

C{aioquic} is the protocol without any I/O; L{securemsg.net.quicwire} gives it datagrams and time. There is no 0-RTT and no
resumption. C{aioquic} exposes no exporter, so that a login is tied to the server's key alone.

Only L{QuicState} uses private names of C{aioquic}; C{setup.cfg} pins its version, and tests cover the behaviour.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import MAX_STREAM_DATA_FRAME_CAPACITY, QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicProtocolVersion
from aioquic.tls import Group
from OpenSSL import crypto

from securemsg.protocol.auth import ALPN

# The one stream: the client's first (RFC 9000 2.1).
STREAM = 0
# Bytes that the other end may send before we have taken them: once it has logged in, and to a server before that: the largest
# frame of a registration, and room for those before it.
WINDOW = 256 * 1024
FIRST_WINDOW = 32 * 1024
# What an end may leave out in between, of the bytes of all streams, and a client of those of the handshake that it has sent
# ahead. Every gap is looked at with every frame; a window in which every other packet is lost has fewer.
MAX_GAPS = 128
MAX_HANDSHAKE = 16 * 1024
# So short that it fits into every path (RFC 9000 14.1), headers included.
ID_SIZE = 8
RESET_TOKEN_SIZE = 16
# Seconds of silence after which either end drops the connection.
IDLE_TIME = 100
# Packets that only acknowledge, and whose acknowledgement may still come.
ACKS_KEPT = 32
# The group of the key exchange, by OpenSSL's name.
GROUP = "x25519"
# With one stream, the limit of the stream is enough.
NO_LIMIT = (1 << 62) - 1

Address = tuple[Any, ...]
# Compares secrets in constant time; passed in, because this package imports no crypto.
Same = Callable[[bytes, bytes], bool]

# aioquic logs single packets, on standard error if there is no handler.
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
        max_stream_data=WINDOW if is_client else FIRST_WINDOW,
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
    @ivar window: see L{WINDOW}.
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
        self.window = configuration.max_stream_data
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

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """Take in a datagram, and close the connection if its other end makes us hold too much."""
        super().receive_datagram(data, addr, now)
        handshake = [stream.receiver for stream in self._crypto_streams.values()]
        receivers = [*handshake, *(stream.receiver for stream in self._streams.values())]
        is_patchy = sum(len(receiver._ranges) for receiver in receivers) > MAX_GAPS
        if is_patchy or (not self._is_client and any(len(receiver._buffer) > MAX_HANDSHAKE for receiver in handshake)):
            self.close(QuicErrorCode.INTERNAL_ERROR, reason_phrase="too much out of order")

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """
        What is to be sent now. Packets that only acknowledge are forgotten after a while: nobody acknowledges them if we say
        nothing else, and C{aioquic} would keep those of an idle connection until its end.
        """
        datagrams = super().datagrams_to_send(now)
        for space in self._loss.spaces:
            if len(space.sent_packets) - space.ack_eliciting_in_flight > 2 * ACKS_KEPT:
                idle = [number for number, packet in space.sent_packets.items() if not packet.in_flight]
                for number in idle[:-ACKS_KEPT]:
                    del space.sent_packets[number]
        return datagrams

    def is_reset(self, datagram: bytes) -> bool:
        """Whether a datagram says that the server knows nothing of this connection any more (RFC 9000 10.3.1)."""
        if self._same is None:
            return False
        ids = (self._peer_cid, *self._peer_cid_available)
        tokens = [known.stateless_reset_token for known in ids if known.stateless_reset_token]
        return any(self._same(datagram[-RESET_TOKEN_SIZE:], token) for token in tokens)

    def _initialize(self, peer_cid: bytes) -> None:
        """Offer X25519 alone, so that the group is known; C{aioquic} has no post-quantum one."""
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
        if stream.max_stream_data_local and self.taken + self.window - stream.max_stream_data_local >= self.window // 2:
            stream.max_stream_data_local = self.taken + self.window
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
