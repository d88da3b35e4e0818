"""Tests of L{securemsg.net.tlsserver}: what an accepting socket does when the system has no room, without a network."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast
from unittest import SkipTest

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.crypto.keys import spki_digest
from securemsg.net import poller
from securemsg.net.poller import Poller
from securemsg.net.tls import ServerCredentials
from securemsg.net.tlsserver import ACCEPT_PAUSE, MAX_ACCEPTS, SILENCE, TlsPort, TlsServerEndpoint
from securemsg.net.turn import Turn
from tests.net.fakes import key_files
from tests.net.socketpair import FakeReactor


class FakeListener:
    """
    A socket that listens: always readable, as one in front of which somebody waits.

    @ivar answers: to C{accept}; after them nobody waits.
    """

    family = socket.AF_UNIX

    def __init__(self, case: SynchronousTestCase) -> None:
        self._reader, writer = os.pipe()
        os.write(writer, b"x")
        case.addCleanup(os.close, writer)
        self.answers: list[int] = []
        self.accepts = 0
        self.closed = False

    def accept(self) -> object:
        """The next answer."""
        self.accepts += 1
        number = self.answers.pop(0) if self.answers else errno.EAGAIN
        raise OSError(number, os.strerror(number))

    def fileno(self) -> int:
        """A descriptor that epoll takes."""
        return self._reader

    def getsockname(self) -> tuple[str, int]:
        """Any."""
        return "192.0.2.1", 8443

    def setblocking(self, yes: bool) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close it."""
        os.close(self._reader)
        self.closed = True


class PortTests(SynchronousTestCase):
    """A port with such a socket."""

    def setUp(self) -> None:
        """Listen."""
        if not poller.IS_AVAILABLE:
            raise SkipTest("no epoll")
        self.reactor = FakeReactor()
        self.socket = FakeListener(self)
        self.factory = Factory()
        self.factory.noisy = False
        self.poller = Poller(self.reactor, Turn(self.reactor))
        self.credentials = ServerCredentials(*key_files(), spki_digest)
        self.port = TlsPort(self.poller, self.credentials, cast(socket.socket, self.socket), self.factory)
        self.port.startListening()

    def test_interfaces(self) -> None:
        """Port and endpoint are what they say."""
        verifyObject(IListeningPort, self.port)
        verifyObject(IStreamServerEndpoint, TlsServerEndpoint(self.poller, self.credentials, socket.socket))
        self.port.stopListening()

    def test_no_files(self) -> None:
        """Without descriptors it waits instead of spinning, tries again, and says so once in a while."""
        with capturedLogs() as events:
            for second in range(SILENCE + 1):
                self.socket.answers = [errno.EMFILE]
                for _ in range(3):
                    self.poller.doRead()
                self.assertEqual(self.socket.accepts, second + 1)
                self.reactor.advance(ACCEPT_PAUSE)
        texts = [formatEvent(event) for event in events]
        self.assertEqual(len(texts), 2)
        self.assertIn("no connection can be accepted for now: Too many open files", texts[0])
        self.poller.doRead()
        self.assertEqual(self.socket.accepts, SILENCE + 2)
        self.port.stopListening()

    def test_client_gone(self) -> None:
        """A client that has gone is passed over, and so many in a row let others have their turn."""
        self.socket.answers = [errno.ECONNABORTED, errno.EPROTO]
        self.poller.doRead()
        self.assertEqual(self.socket.accepts, 3)
        self.socket.answers = [errno.ECONNABORTED] * (MAX_ACCEPTS + 1)
        self.poller.doRead()
        self.assertEqual(self.socket.accepts, 3 + MAX_ACCEPTS)
        self.port.stopListening()

    def test_stop(self) -> None:
        """A port that has stopped leaves nothing, also while it waits for descriptors, and stops once."""
        stops: list[Any] = []
        self.factory.stopFactory = lambda: stops.append(1)  # type: ignore[method-assign]
        self.socket.answers = [errno.ENFILE]
        with capturedLogs():
            self.poller.doRead()
        self.successResultOf(self.port.stopListening())
        self.successResultOf(self.port.stopListening())
        self.assertTrue(self.socket.closed)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls(), stops), ([], [], [1]))

    def test_reactor_stops(self) -> None:
        """With the reactor it stops."""
        self.poller.connectionLost(None)  # type: ignore[arg-type]
        self.assertTrue(self.socket.closed)

    def test_cannot_open(self) -> None:
        """An endpoint reports why it cannot listen."""

        def refuse() -> socket.socket:
            raise OSError(errno.EADDRINUSE, "Address already in use")

        endpoint = TlsServerEndpoint(self.poller, self.credentials, refuse)
        failure = self.failureResultOf(endpoint.listen(self.factory), CannotListenError)
        self.assertEqual(failure.value.socketError.errno, errno.EADDRINUSE)
        self.port.stopListening()

    def test_cannot_add(self) -> None:
        """The same where epoll takes no more."""
        other = FakeListener(self)

        def refuse(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(self.poller, "add", refuse)
        endpoint = TlsServerEndpoint(self.poller, self.credentials, lambda: cast(socket.socket, other))
        self.failureResultOf(endpoint.listen(self.factory), CannotListenError)
        self.assertTrue(other.closed)
        self.port.stopListening()
