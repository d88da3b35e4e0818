"""
TLS on a non-blocking socket with as little Python around it as possible, so that the load does not become the bottleneck.

C{SSL_read} and C{SSL_write} are called through the cffi bindings of pyOpenSSL: its own C{recv} and C{send} cost several times
as much.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from bench.machine import Unmeasurable
from securemsg.crypto.keys import spki_digest

RECORD = 16384
_WAITS = (2, 3)  # SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
# pyOpenSSL itself sets those for partial writes and for buffers that move.
_RELEASE_BUFFERS = 0x10

_buffer: Any = _ffi.new("char[]", RECORD)
_view: Any = _ffi.buffer(_buffer)


def make_context(alpn: bytes = b"") -> SSL.Context:
    """TLS 1.3, without tickets; certificates are not checked, because they are ours."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_mode(_RELEASE_BUFFERS)
    if alpn:
        context.set_alpn_protos([alpn])
    return context


class Stream:
    """One connection. It blocks until C{watch} is called: logging in is simpler that way."""

    __slots__ = ("_epoll", "_ssl", "_unsent", "descriptor", "sock", "tls")

    def __init__(self, context: SSL.Context, sock: socket.socket, is_server: bool = False) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.descriptor = sock.fileno()
        self.tls = SSL.Connection(context, sock)
        self._ssl: Any = self.tls._ssl
        self._unsent = b""
        self._epoll: select.epoll | None = None
        if is_server:
            self.tls.set_accept_state()
        else:
            self.tls.set_connect_state()
            self.tls.do_handshake()

    def spki(self) -> bytes:
        """The digest of the server's key."""
        certificate = self.tls.get_peer_certificate()
        assert certificate is not None
        return spki_digest(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))

    def watch(self, epoll: select.epoll) -> None:
        """Block no more; C{epoll} says when there is something to do."""
        self.sock.setblocking(False)
        self._epoll = epoll
        epoll.register(self.descriptor, select.EPOLLIN)

    def read(self) -> bytes | None:
        """
        Read a record at most.

        @return: C{None}: there is nothing yet; empty: the other end has hung up.
        """
        count = _lib.SSL_read(self._ssl, _buffer, RECORD)
        if count > 0:
            data: bytes = _view[0:count]
            return data
        return None if _lib.SSL_get_error(self._ssl, count) in _WAITS else b""

    def write(self, data: bytes) -> None:
        """
        Write, or keep what the socket does not take.

        @raise Unmeasurable: the other end has hung up.
        """
        if self._unsent:
            self._unsent += data
            return
        while data:
            count = _lib.SSL_write(self._ssl, data, len(data))
            if count == len(data):
                return
            if count <= 0:
                if self._epoll is None or _lib.SSL_get_error(self._ssl, count) not in _WAITS:
                    raise Unmeasurable("a connection was lost while the load wrote to it")
                self._unsent = data
                self._epoll.modify(self.descriptor, select.EPOLLIN | select.EPOLLOUT)
                return
            data = data[count:]

    def go_on_writing(self) -> None:
        """There is room again."""
        assert self._epoll is not None
        data, self._unsent = self._unsent, b""
        self._epoll.modify(self.descriptor, select.EPOLLIN)
        self.write(data)

    def close(self) -> None:
        """Say so, and hang up."""
        try:
            self.tls.shutdown()
        except SSL.Error:
            pass
        self.sock.close()
