"""What the daemon tells the service manager."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.notify import Supervisor
from tests.net.fakes import scratch


class NotifyTests(SynchronousTestCase):
    """A socket that listens, as systemd's does."""

    def setUp(self) -> None:
        """Listen."""
        path = str(scratch(self) / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(path)
        self.socket.settimeout(5)
        self.environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}

    def said(self) -> str:
        """What was said."""
        return self.socket.recv(4096).decode()

    def test_said(self) -> None:
        """Each state, in the words of sd_notify(3)."""
        manager = Supervisor(self.environment)
        manager.ready("3 connections")
        self.assertEqual(self.said(), "READY=1\nSTATUS=3 connections")
        manager.reloading()
        first, second = self.said().split("\n")
        self.assertEqual((first, second[:15]), ("RELOADING=1", "MONOTONIC_USEC="))
        manager.alive()
        self.assertEqual(self.said(), "WATCHDOG=1")
        manager.stopping()
        self.assertTrue(self.said().startswith("STOPPING=1\n"))
        self.assertEqual(manager.watchdog, 15)

    def test_abstract(self) -> None:
        """The socket may have an abstract name."""
        name = f"securemsg-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(f"\0{name}")
            other.settimeout(5)
            Supervisor({"NOTIFY_SOCKET": f"@{name}"}).alive()
            self.assertEqual(other.recv(100), b"WATCHDOG=1")

    def test_no_descriptor(self) -> None:
        """It can be said when no file can be opened any more, too: the watchdog would end a daemon that waits for one."""
        manager = Supervisor(self.environment)
        manager.ready("")
        self.said()
        self.patch(socket, "socket", lambda *arguments: self.fail("there is none"))
        manager.alive()
        self.assertEqual(self.said(), "WATCHDOG=1")

    def test_nobody(self) -> None:
        """Without a service manager, or with one that has gone, nothing happens; another process's watchdog is not ours."""
        manager = Supervisor({})
        manager.ready("")
        self.assertEqual(manager.watchdog, 0)
        Supervisor({"NOTIFY_SOCKET": self.environment["NOTIFY_SOCKET"] + "x"}).alive()
        other = Supervisor({**self.environment, "WATCHDOG_PID": str(os.getpid() + 1)})
        self.assertEqual(other.watchdog, 0)
