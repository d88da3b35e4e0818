"""
The server's end of a TLS connection, as a transport of Twisted: OpenSSL reads from the socket and writes to it.

A protocol sees what it sees on C{twisted.protocols.tls}, and in the same order; even C{abortConnection} ends in
C{ConnectionLost} there. What is different: what is written leaves at the end of the turn; C{loseWriteConnection} tells the
client with a close_notify; a client that never answers ours is given up after a while; and one that ends TCP alone gets an
alert.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHandshakeListener,
    ILoggingContext,
    INegotiated,
    IProducer,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import callWithLogger
from zope.interface import implementer

from securemsg.net.link import unsent_in_kernel
from securemsg.net.poller import READ, WRITE, Poller
from securemsg.net.records import RECORD_SIZE, Records

# Bytes that wait here before a producer is told to pause; the same as in Twisted.
BUFFER_SIZE = 65536
# Bytes that one connection writes before others have their turn; the same as in Twisted.
WRITE_LIMIT = 128 * 1024
# Seconds that the other end has to answer our close_notify.
CLOSE_TIME = 10
# What is read of a client whose handshake failed, bytes, because unread bytes would take the alert with them.
LAST_READ = 65536

Address = IPv4Address | IPv6Address


def socket_address(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """What Twisted calls an address of a socket."""
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    if name[3]:
        # Only with its scope is it an address.
        host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        name = (host, *name[1:])
    return IPv6Address("TCP", *name)


def _is_truncation(error: SSL.Error) -> bool:
    """Whether the connection below TLS has ended, by whatever sign."""
    if isinstance(error, SSL.SysCallError):
        return True
    queue = error.args[0] if error.args else []
    return not queue or str(queue[-1][-1]).casefold().startswith("unexpected eof")


@implementer(ITCPTransport, ISSLTransport, INegotiated, ISystemHandle, IConsumer, IPushProducer, ILoggingContext)
class TlsSocket:
    """
    One connection.

    @ivar socket: C{None} once it is closed.
    @ivar protocol: whose transport this is; C{None} after its end.
    @cvar is_tuned: its options were set where it was accepted; see L{securemsg.net.link.tune}.
    @ivar disconnecting: whether C{loseConnection} was called.
    @ivar log_prefix: names it in the log, without an address.
    """

    __slots__ = (
        "_buffer",
        "_close_timer",
        "_connection",
        "_events",
        "_has_said_end",
        "_has_seen_end",
        "_is_aborted",
        "_is_blocked",
        "_is_paused",
        "_is_producer_paused",
        "_is_read_blocked",
        "_is_secure",
        "_is_streaming",
        "_is_write_closed",
        "_local",
        "_offset",
        "_peer",
        "_poller",
        "_producer",
        "_queue",
        "_read",
        "_reason",
        "_unsent",
        "_write",
        "disconnecting",
        "log_prefix",
        "protocol",
        "socket",
    )

    is_tuned = True
    _log = Logger()

    def __init__(
        self,
        poller: Poller,
        handle: socket.socket,
        connection: SSL.Connection,
        records: Records,
        peer: Address,
        local: Address,
        number: int,
    ) -> None:
        """
        @param connection: on the socket C{handle}, which does not block.
        @param local: our address, when the socket has none any more.
        @param number: of this connection, for the log.
        """
        self._poller = poller
        self._connection: SSL.Connection | None = connection
        self._read = records.read
        self._write = records.write
        self._peer = peer
        self._local = local
        # Why it ended.
        self._reason: Failure | None = None
        self._events = READ
        self._is_secure = False
        self._is_paused = False
        # Whether OpenSSL waits for the socket to take bytes, and whether it must do so before it can read.
        self._is_blocked = False
        self._is_read_blocked = False
        # Bytes to send: first those of the buffer, from the offset on.
        self._queue: list[bytes] = []
        self._buffer = b""
        self._offset = 0
        self._unsent = 0
        # One that pushes or one to pull, as was said when it came.
        self._producer: Any = None
        self._is_streaming = False
        self._is_producer_paused = False
        self._is_write_closed = False
        self._is_aborted = False
        # Close_notify: whether ours is in the socket, and whether theirs has come.
        self._has_said_end = False
        self._has_seen_end = False
        self._close_timer: IDelayedCall | None = None
        self.socket: socket.socket | None = handle
        self.protocol: IProtocol | None = None
        self.disconnecting = False
        self.log_prefix = f"TLS,{number}"

    def start(self, protocol: IProtocol) -> None:
        """Become the transport of a protocol."""
        assert self.socket is not None, "it is new"
        self.protocol = protocol
        name = protocol.logPrefix() if ILoggingContext.providedBy(protocol) else protocol.__class__.__name__
        self.log_prefix = f"{name} ({self.log_prefix})"
        try:
            self._poller.add(self.socket.fileno(), self, READ)
        except OSError:
            self._events = -1
        try:
            protocol.makeConnection(self)
        except Exception:  # noqa: BLE001 - a bug of the protocol, which ends its connection only
            self._break()
        if self._events < 0:
            self._end(ConnectionLost())

    # --- the poller's side ----------------------------------------------------------------------------------------

    def serve(self, events: int) -> None:
        """See L{securemsg.net.poller.Pollable}."""
        try:
            if events != READ and self._is_blocked:
                self._unblock()
            if events != WRITE and not self._is_paused and not self._has_seen_end and self._reason is None:
                self._receive()
        except Exception:  # noqa: BLE001 - as above
            self._break()

    def flush(self) -> None:
        """See L{securemsg.net.poller.Writer}."""
        try:
            if self._is_secure and not self._is_blocked and self._reason is None:
                self._send()
        except Exception:  # noqa: BLE001 - as above
            self._break()

    def drop(self) -> None:
        """See L{securemsg.net.poller.Pollable}."""
        if self._reason is None:
            self._stop(ConnectionLost())
            self._finish()

    # --- the protocol's side: ITransport, IConsumer ---------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, at the end of the turn."""
        if type(data) is not bytes:
            # Whoever wrote it may change it before it is sent.
            data = memoryview(data).tobytes()
        if not data or self._reason is not None or self._has_seen_end or self._is_write_closed:
            return
        producer = self._producer
        if self.disconnecting and producer is None:
            return
        if not self._unsent and self._is_secure and not self._is_blocked:
            self._poller.write_later(self)
        self._queue.append(data)
        self._unsent += len(data)
        if producer is None or not self._is_streaming or self._is_producer_paused:
            return
        if self._unsent > BUFFER_SIZE or not self._is_secure:
            self._is_producer_paused = True
            producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send bytes that are in several pieces."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Send what was written and a close_notify, and end once the other end has answered with its own."""
        if self.disconnecting or self._reason is not None:
            return
        if not self._is_secure and not self._unsent:
            # Without a handshake there is nothing to close.
            self.abortConnection()
            return
        self.disconnecting = True
        self._close_if_drained()

    def abortConnection(self) -> None:
        """End now. The other end sees a reset."""
        self.disconnecting = True
        if self._reason is None:
            assert self.socket is not None, "it has not ended"
            with contextlib.suppress(OSError):
                # Closing it resets the connection.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._is_aborted = True
            self._end(ConnectionLost())

    def loseWriteConnection(self) -> None:
        """Send what was written and a close_notify, and go on reading."""
        if self._reason is None:
            self._is_write_closed = True
            self._close_if_drained()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        See C{IConsumer}.

        @raise RuntimeError: there is one already.
        """
        if self._reason is not None or self._has_seen_end:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self._producer} was never unregistered")
        self._producer = producer
        self._is_streaming = streaming
        self._is_producer_paused = False
        if not streaming:
            self._pull(producer)

    def unregisterProducer(self) -> None:
        """See C{IConsumer}."""
        self._producer = None
        if self.disconnecting and self._reason is None:
            self._close_if_drained()

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._is_paused = True
        self._watch()

    def resumeProducing(self) -> None:
        """Read again."""
        self._is_paused = False
        self._watch()

    def stopProducing(self) -> None:
        """See C{IPushProducer}."""
        self.loseConnection()

    # --- the protocol's side: what there is to know ---------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether it has not ended."""
        return self._reason is None

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """See C{INegotiated}."""
        return None if self._connection is None else self._connection.get_alpn_proto_negotiated() or None

    def getHandle(self) -> SSL.Connection | None:
        """The connection of pyOpenSSL; C{None} after the end."""
        return self._connection

    def getPeerCertificate(self) -> crypto.X509 | None:
        """The client's certificate, if it had to show one."""
        return None if self._connection is None else self._connection.get_peer_certificate()

    def getPeer(self) -> Address:
        """The client's address."""
        return self._peer

    def getHost(self) -> Address:
        """Our address."""
        return self._local if self.socket is None else socket_address(self.socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        """See C{ITCPTransport}."""
        return self._get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See C{ITCPTransport}."""
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """See C{ITCPTransport}."""
        return self._get_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See C{ITCPTransport}."""
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def logPrefix(self) -> str:
        """See C{ILoggingContext}."""
        return self.log_prefix

    def unsent(self) -> int:
        """See L{securemsg.net.link.unsent}."""
        return self._unsent + unsent_in_kernel(self.socket)

    # --- reading --------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """Go on with the handshake, or read one record."""
        assert self._connection is not None, "it has not ended"
        assert self.protocol is not None, "it has not ended"
        try:
            if not self._is_secure:
                self._connection.do_handshake()
                data = b""
            else:
                data = self._read(self._connection)
        except SSL.WantReadError:
            return
        except SSL.WantWriteError:
            self._is_read_blocked = True
            self._block(True)
        except SSL.ZeroReturnError:
            self._has_seen_end = True
            self._close_if_drained()
            self._watch()
        except SSL.Error as error:
            self._fail(error)
        else:
            if self._is_secure:
                self.protocol.dataReceived(data)
            else:
                self._secured(self.protocol)

    def _secured(self, protocol: IProtocol) -> None:
        """The handshake is done."""
        self._is_secure = True
        if IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()
        if self._unsent and self._reason is None:
            self._poller.write_later(self)

    def _unblock(self) -> None:
        """The socket takes bytes again."""
        self._block(False)
        if self._is_read_blocked:
            self._is_read_blocked = False
            self._receive()
        if self._is_secure and not self._is_blocked and self._reason is None:
            self._send()

    # --- writing --------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send what waits, or as much of it as the socket takes and others allow."""
        assert self._connection is not None, "it has not ended"
        buffer, offset = self._buffer, self._offset
        if self._queue and len(buffer) - offset < WRITE_LIMIT:
            buffer = self._queue[0] if not buffer and len(self._queue) == 1 else b"".join((buffer[offset:], *self._queue))
            offset = 0
            self._queue.clear()
        start, size = offset, len(buffer)
        limit = min(size, start + WRITE_LIMIT)
        try:
            while offset < limit:
                # OpenSSL insists on the same bytes, or more, after it was blocked.
                offset += self._write(
                    self._connection, buffer if size <= RECORD_SIZE and not offset else buffer[offset : offset + RECORD_SIZE]
                )
        except SSL.WantWriteError:
            pass
        except SSL.Error as error:
            self._fail(error)
            return
        self._unsent -= offset - start
        self._buffer, self._offset = (b"", 0) if offset == size else (buffer, offset)
        if self._unsent:
            self._block(True)
        else:
            self._drained()

    def _drained(self) -> None:
        """Everything is in the socket."""
        producer = self._producer
        if producer is not None and not self._has_seen_end and not self._is_write_closed:
            if self._is_producer_paused:
                self._is_producer_paused = False
                producer.resumeProducing()
            elif not self._is_streaming:
                self._pull(producer)
        self._close_if_drained()

    def _pull(self, producer: Any) -> None:
        """Ask a producer for more; one that fails is not asked again."""
        try:
            producer.resumeProducing()
        except Exception:  # noqa: BLE001 - as above
            self._log.failure("a producer failed")
            self.unregisterProducer()

    def _block(self, yes: bool) -> None:
        self._is_blocked = yes
        self._watch()

    def _watch(self) -> None:
        """Wait for what there is to wait for."""
        if self._reason is not None or self.socket is None:
            return
        events = (0 if self._is_paused or self._has_seen_end else READ) | (WRITE if self._is_blocked else 0)
        if events != self._events:
            before, self._events = self._events, events
            self._poller.change(self.socket.fileno(), before, events)

    # --- the end --------------------------------------------------------------------------------------------------

    def _close_if_drained(self) -> None:
        """Say close_notify, if it is time for it; after both have, the connection has ended."""
        if self._unsent or not self._is_secure or self._reason is not None:
            return
        is_wanted = self._has_seen_end or self._is_write_closed or (self.disconnecting and self._producer is None)
        if is_wanted and not self._has_said_end:
            self._say_end()
        if self._has_said_end and self._has_seen_end:
            self._end(ConnectionDone())
        elif self._has_said_end and self.disconnecting and self._close_timer is None:
            self._close_timer = self._poller.clock.callLater(CLOSE_TIME, self._end, ConnectionLost())

    def _say_end(self) -> None:
        assert self._connection is not None, "it has not ended"
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            self._block(True)
            return
        except SSL.Error as error:
            self._fail(error)
            return
        self._has_said_end = True

    def _break(self) -> None:
        """A protocol raised something; to be called in an exception handler."""
        self._log.failure("a protocol failed, and its connection ends")
        self._end(ConnectionLost())

    def _fail(self, error: SSL.Error) -> None:
        """TLS cannot go on."""
        if _is_truncation(error):
            self._end(ConnectionLost())
            return
        assert self.socket is not None, "it has not ended"
        with contextlib.suppress(OSError):
            self.socket.recv(LAST_READ)
        # Its traceback would keep everything that was known of the connection.
        self._end(error.with_traceback(None))

    def _end(self, reason: Exception) -> None:
        """End the connection; the protocol is told when nobody is in the middle of anything."""
        if self._reason is None:
            self._stop(reason)
            self._poller.turn.later(self._finish)

    def _stop(self, reason: Exception) -> None:
        """Neither read nor write any more."""
        assert self.socket is not None, "it has not ended"
        self._reason = Failure(reason)
        if self._events >= 0:
            self._poller.remove(self.socket.fileno())
        self._queue.clear()
        self._buffer, self._offset, self._unsent = b"", 0, 0
        if self._close_timer is not None and self._close_timer.active():
            self._close_timer.cancel()
        self._close_timer = None

    def _finish(self) -> None:
        """Close the socket, and tell the producer and the protocol."""
        assert self._reason is not None, "it has ended"
        protocol, self.protocol = self.protocol, None
        producer, self._producer = self._producer, None
        self._close_socket()
        try:
            if producer is not None:
                producer.stopProducing()
        except Exception:  # noqa: BLE001 - as above
            self._log.failure("a producer failed")
        try:
            if protocol is not None:
                callWithLogger(self, protocol.connectionLost, self._reason)
        except Exception:  # noqa: BLE001 - as above
            self._log.failure("a protocol failed at the end of its connection")

    def _close_socket(self) -> None:
        """Close the socket; OpenSSL must not touch its number after that."""
        handle, self.socket, self._connection = self.socket, None, None
        assert handle is not None, "it is closed once"
        if not self._is_aborted:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)
        handle.close()

    def _get_option(self, level: int, option: int) -> bool:
        return self.socket is not None and bool(self.socket.getsockopt(level, option))

    def _set_option(self, level: int, option: int, enabled: bool) -> None:
        if self.socket is not None:
            self.socket.setsockopt(level, option, enabled)
