"""The wire itself: how it is protected, what ties a login to it, and TCP's options."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import termios
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IPushProducer

from securemsg.protocol.auth import Binding

# TCP itself finds dead peers: after a minute of silence it probes three times, 20 s apart; bytes that stay unconfirmed for
# two minutes end the connection as well. Probes also keep entries in address translators alive.
KEEPALIVE_IDLE = 60
KEEPALIVE_INTERVAL = 20
KEEPALIVE_PROBES = 3
USER_TIMEOUT = 120


@frozen
class LinkInfo:
    """
    How a connection is protected, for C{status} and for logins.

    @ivar version: TLS version, as C{TLSv1.3}; empty without TLS, like the next two.
    @ivar group: of the key exchange; over TCP two default ends agree on C{X25519MLKEM768}.
    @ivar certificate_expires_at: when the server's certificate expires, Unix time, as a client sees it; 0: not known.
    """

    binding: Binding
    version: str = ""
    cipher: str = ""
    group: str = ""
    certificate_expires_at: float = 0


def is_post_quantum(group: str) -> bool:
    """Whether what a connection carries stays secret from whoever records it now and has a quantum computer later."""
    return "MLKEM" in group


class Wire(Protocol):
    """The transport of a stream: TLS, QUIC, a UNIX socket or memory."""

    def write(self, data: bytes, /) -> object:
        """Queue bytes."""

    def loseConnection(self) -> object:
        """Hang up once everything is written."""

    def abortConnection(self) -> object:
        """Hang up now."""

    def registerProducer(self, producer: IPushProducer, streaming: bool, /) -> object:
        """Tell C{producer} when the buffer is full, and when it has drained."""

    def unregisterProducer(self) -> object:
        """Stop telling the producer."""

    def pauseProducing(self) -> object:
        """Stop reading."""

    def resumeProducing(self) -> object:
        """Read again."""


def innermost(transport: object) -> object:
    """The transport that holds the socket, below whatever wraps it."""
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    return transport


def unsent(transport: object) -> int:
    """
    How many bytes the other end has not taken yet: those that wait in Twisted, and those that wait in the kernel, which may be
    a megabyte before it asks Twisted for more. The number falls only when the other end takes some.
    """
    raw = innermost(transport)
    if callable(counted := getattr(raw, "unsent", None)):
        return int(counted())
    waiting = unsent_in_kernel(getattr(raw, "socket", None))
    return len(getattr(raw, "dataBuffer", b"")) - int(getattr(raw, "offset", 0)) + waiting


def unsent_in_kernel(handle: object) -> int:
    """How many bytes of a socket the other end has not taken yet; 0 where there is no socket."""
    if isinstance(handle, socket.socket):
        with contextlib.suppress(OSError):
            return int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return 0


def tune(transport: object) -> None:
    """Tune the socket of a transport, if it has one that is not tuned already."""
    raw = innermost(transport)
    handle = getattr(raw, "socket", None)
    if isinstance(handle, socket.socket) and not getattr(raw, "is_tuned", False):
        tune_socket(handle)


def tune_socket(handle: socket.socket) -> None:
    """Have TCP send at once, because we collect ourselves, and notice a dead peer. Other sockets need nothing."""
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # These names exist on Linux; other systems use their own times.
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            handle.setsockopt(socket.IPPROTO_TCP, option, value)
