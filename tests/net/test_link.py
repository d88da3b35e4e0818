"""Tests of L{securemsg.net.link}: TCP's options, and how a reading peer is noticed."""

from __future__ import annotations

import socket

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.link import KEEPALIVE_IDLE, USER_TIMEOUT, innermost, tune, unsent


class Holding:
    """A transport that holds a socket."""

    def __init__(self, handle: socket.socket) -> None:
        """Hold it."""
        self.socket = handle


class Around:
    """A transport around another, as TLS is."""

    def __init__(self, transport: object) -> None:
        """Wrap it."""
        self.transport = transport


class TuneTests(SynchronousTestCase):
    """Options of a socket."""

    def test_tcp(self) -> None:
        """What was collected is sent at once, and a dead peer is found in minutes, not hours; through any wrapping."""
        with socket.socket() as handle:
            tune(Around(Around(Holding(handle))))
            for level, option, expected in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT * 1000),
            ):
                self.assertEqual(handle.getsockopt(level, option), expected)

    def test_others(self) -> None:
        """A UNIX socket, or none, is left as it is."""
        with socket.socket(socket.AF_UNIX) as handle:
            tune(Holding(handle))
            self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)
        tune(StringTransport())

    def test_innermost(self) -> None:
        """What holds the socket is found below whatever wraps it."""
        inside = StringTransport()
        self.assertIs(innermost(Around(Around(inside))), inside)
        self.assertIs(innermost(inside), inside)


class MarkTests(SynchronousTestCase):
    """Whether a reader takes anything."""

    def test_kernel(self) -> None:
        """The number falls when the other end reads what waits in the kernel, and stays where it does not."""
        one, other = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        transport = Around(Holding(one))
        for _ in range(4):
            one.send(bytes(1000))
        before = unsent(transport)
        self.assertEqual(unsent(transport), before)
        other.recv(1000)
        self.assertLess(unsent(transport), before)

    def test_no_socket(self) -> None:
        """Where there is no socket there is a number all the same."""
        self.assertEqual(unsent(StringTransport()), 0)
