"""Strangers on the port: whatever they send, the daemon stays up and everybody else is served."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, LIMIT, Daemon, Person, Place, PlaceCase, until


def context(*protocols: str) -> ssl.SSLContext:
    """A client that believes every certificate."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


class AbuseTests(PlaceCase):
    """Each test does its worst, and then two people talk."""

    def setUp(self) -> None:
        """Whatever a test opens is closed."""
        self.sockets = contextlib.ExitStack()
        self.addCleanup(self.sockets.close)

    def plain(self) -> socket.socket:
        """A TCP connection."""
        return self.sockets.enter_context(socket.create_connection((HOST, self.daemon.port), LIMIT))

    def secure(self, *protocols: str) -> ssl.SSLSocket:
        """A TLS connection."""
        return self.sockets.enter_context(context(*protocols).wrap_socket(self.plain(), server_hostname="localhost"))

    def all_of(self, connection: socket.socket) -> bytes:
        """Everything until the other end hangs up."""
        connection.settimeout(LIMIT)
        found = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := connection.recv(65536):
                found += data
        return found

    def assert_fine(self, name: str) -> None:
        """Somebody else gets an answer, and the log has no traceback."""
        done = self.person(name).run("chat", "server", text="still there?\n")
        self.assertIn("Message received", done.out)
        self.assertNotIn("Traceback", self.daemon.log)

    def test_no_tls(self) -> None:
        """Bytes that are no TLS."""
        connection = self.plain()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 10)
        self.all_of(connection)
        self.assert_fine("ada")

    def test_silent(self) -> None:
        """A hundred connections that say nothing hold up nobody, and are dropped in the end."""
        silent = [self.plain() for _ in range(100)]
        self.assert_fine("ben")
        for connection in silent:
            self.assertEqual(self.all_of(connection), b"")

    def test_no_alpn(self) -> None:
        """TLS without our protocol's name is not served."""
        for protocols in ((), ("http/1.1",)):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                self.assertEqual(self.all_of(self.secure(*protocols)), b"")
        self.assert_fine("cleo")

    def test_old_tls(self) -> None:
        """TLS 1.2 is not spoken."""
        old = context("securemsg/1")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(self.plain(), server_hostname="localhost").recv(1)
        self.assert_fine("dan")

    def test_garbage(self) -> None:
        """Random bytes behind TLS end the connection with a code."""
        for _ in range(20):
            connection = self.secure("securemsg/1")
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.sendall(struct.pack(">I", 64) + os.urandom(64))
            self.assertIn(b"malformed", self.all_of(connection))
        self.assert_fine("eve")

    def test_oversized(self) -> None:
        """A frame that announces too much is refused before it is sent."""
        connection = self.secure("securemsg/1")
        connection.sendall(struct.pack(">I", 2**31))
        self.assertIn(b"frame-too-large", self.all_of(connection))
        self.assert_fine("fay")

    def test_out_of_turn(self) -> None:
        """A deposit before the login."""
        connection = self.secure("securemsg/1")
        ping = bytes([0x92, 28, 1])
        connection.sendall(struct.pack(">I", len(ping)) + ping)
        self.assertIn(b"out-of-turn", self.all_of(connection))
        self.assert_fine("gus")

    def test_silent_behind_tls(self) -> None:
        """Nobody stays who does not log in."""
        connection = self.secure("securemsg/1")
        self.assertIn(b"timeout", self.all_of(connection))
        self.assert_fine("hal")


class FatalTests(SynchronousTestCase):
    """A daemon that cannot keep its promise ends."""

    def test_disk_fails(self) -> None:
        """
        When a write fails the daemon says so and ends with status 1; nothing that was accepted is lost, and what was not
        waits with its sender.
        """
        place = Place.make()
        self.addCleanup(place.forget)
        daemon = Daemon(place)
        # Its log is no file, for no file can grow in this test.
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        daemon.start(write)
        os.close(write)
        ada, ben = (Person(place, name).join(daemon.invite()) for name in ("ada", "ben"))
        ada.send("ben", "kept")
        before, _ = resource.prlimit(daemon.running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.running.process.pid, resource.RLIMIT_FSIZE, (4096, before))
        ada.run("send", "ben", "waits", "--timeout", "3", status=6)
        until(lambda: not daemon.running.is_alive, "the end of the daemon")
        self.assertEqual(daemon.running.process.returncode, 1)
        os.set_blocking(read, False)
        log = os.read(read, 1 << 20).decode()
        self.assertNotIn("Traceback", log)
        daemon.start()
        ada.recv()
        self.assertEqual(ben.texts(2), ["kept", "waits"])
