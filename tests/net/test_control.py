"""Tests of L{securemsg.net.control}: who may use the control socket, and where it can be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net import control
from securemsg.net.control import (
    MAX_SOCKET_PATH,
    BadSocketPath,
    check_socket_path,
    listen_control,
    observe_operator,
    peer_user,
    remove_stale_socket,
)
from securemsg.net.stream import StreamProtocol
from securemsg.protocol.auth import UNIX
from securemsg.protocol.states import Side
from tests.net.fakes import End, scratch


class SocketTransport(StringTransport):
    """A transport that holds a real socket, as those of Twisted do."""

    def __init__(self, handle: socket.socket) -> None:
        """Hold it."""
        super().__init__()
        self.socket = handle


class FolderCase(SynchronousTestCase):
    """A short path, for that is what sockets need."""

    def setUp(self) -> None:
        """Make a folder."""
        self.path = scratch(self) / "control"


class CredentialTests(SynchronousTestCase):
    """The kernel says who is at the other end."""

    def setUp(self) -> None:
        """Make a pair of sockets."""
        self.one, other = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(self.one.close)
        self.addCleanup(other.close)

    def stream(self) -> tuple[StreamProtocol, End, StringTransport]:
        """A stream for that end."""
        end = End(Side.SERVER, Clock())
        stream = StreamProtocol(end.options(observe_operator, handshake=False))
        transport = SocketTransport(self.one)
        stream.makeConnection(transport)
        return stream, end, transport

    def test_user(self) -> None:
        """Both ends of a pair belong to us."""
        self.assertEqual(peer_user(self.one), os.getuid())

    def test_own_user(self) -> None:
        """Our own user comes in, and the login is bound to a UNIX socket."""
        stream, end, _ = self.stream()
        self.assertIs(end.peer.channel, stream)
        self.assertEqual((stream.binding, stream.binding.user), (UNIX, os.getuid()))

    def test_other_user(self) -> None:
        """Another user is cut off before anybody is introduced to it."""
        self.patch(control, "peer_user", lambda handle: os.getuid() + 1)
        stream, end, transport = self.stream()
        self.assertTrue(transport.disconnected)
        stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((end.peer.channel, end.unopened), (None, ["forbidden"]))

    def test_root(self) -> None:
        """Root comes in."""
        self.patch(control, "peer_user", lambda handle: 0)
        stream, end, _ = self.stream()
        self.assertIs(end.peer.channel, stream)


class PathTests(FolderCase):
    """Where the socket can be."""

    def test_longest(self) -> None:
        """A path of 107 bytes will do, one more will not, and the message says what to change."""
        check_socket_path(Path("/" + "x" * (MAX_SOCKET_PATH - 1)))
        with self.assertRaises(BadSocketPath) as caught:
            check_socket_path(Path("/" + "x" * MAX_SOCKET_PATH))
        self.assertIn("108 bytes", str(caught.exception))
        self.assertIn("--state", str(caught.exception))

    def test_bytes_count(self) -> None:
        """It is bytes that count, not letters."""
        with self.assertRaises(BadSocketPath):
            check_socket_path(Path("/" + "ü" * 60))

    def test_nothing_there(self) -> None:
        """Where there is nothing, nothing is removed."""
        remove_stale_socket(self.path)
        self.assertFalse(self.path.exists())

    def test_stale(self) -> None:
        """A socket that no process listens on is removed."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        remove_stale_socket(self.path)
        self.assertFalse(self.path.exists())

    def test_alive(self) -> None:
        """A socket that a process listens on stays."""
        with socket.socket(socket.AF_UNIX) as alive:
            alive.bind(str(self.path))
            alive.listen()
            with self.assertRaises(BadSocketPath):
                remove_stale_socket(self.path)
        self.assertTrue(self.path.exists())

    def test_other_file(self) -> None:
        """A file that is no socket stays."""
        self.path.write_text("mine")
        with self.assertRaises(BadSocketPath):
            remove_stale_socket(self.path)
        self.assertEqual(self.path.read_text(), "mine")

    def test_listen(self) -> None:
        """The socket is for its owner alone."""
        reactor = MemoryReactor()
        end = End(Side.SERVER, Clock())
        listen_control(reactor, self.path, end.options(observe_operator, handshake=False))
        address, _, _, mode, _ = reactor.unixServers[0]
        self.assertEqual((address, mode), (str(self.path), 0o600))
