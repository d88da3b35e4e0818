"""The FIFO between processes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.account.wake import wake
from securemsg.account.wakefifo import WakeFifo


class Readers:
    """The part of a reactor that watches descriptors."""

    def __init__(self) -> None:
        self.watched: list[object] = []
        self.addReader = self.watched.append
        self.removeReader = self.watched.remove


class FifoTests(SynchronousTestCase):
    """A FIFO in a folder of the test."""

    def setUp(self) -> None:
        """A listener that counts."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.path = folder / "wake"
        self.wakeups = 0
        self.reactor = Readers()

    def listen(self) -> WakeFifo:
        """Listen."""
        wake_fifo = WakeFifo(self.reactor, self.path, self.woken)  # type: ignore[arg-type]  # the part that it uses
        self.addCleanup(wake_fifo.close)
        return wake_fifo

    def woken(self) -> None:
        """Count."""
        self.wakeups += 1

    def test_wake(self) -> None:
        """Any number of wake-ups is heard as one, and the next is heard again."""
        wake_fifo = self.listen()
        verifyObject(IReadDescriptor, wake_fifo)
        for _ in range(3):
            self.assertTrue(wake(self.path.parent))
        wake_fifo.doRead()
        self.assertEqual(self.wakeups, 1)
        wake(self.path.parent)
        wake_fifo.doRead()
        self.assertEqual(self.wakeups, 2)

    def test_private(self) -> None:
        """Nobody else may write."""
        self.listen()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_nobody_listens(self) -> None:
        """A wake-up with no FIFO, no listener or another file in its place is nothing, and never waits."""
        self.assertFalse(wake(self.path.parent))
        self.listen().close()
        self.assertFalse(wake(self.path.parent))
        self.path.unlink()
        self.path.write_bytes(b"")
        self.assertFalse(wake(self.path.parent))
        self.assertEqual(self.path.read_bytes(), b"")

    def test_full(self) -> None:
        """Whoever rings for ever is not held up."""
        self.listen()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, descriptor)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(descriptor, b"x" * 4096)
        self.assertFalse(wake(self.path.parent))

    def test_left_over(self) -> None:
        """The bell of a process that died is used again, and a file in its place makes way."""
        self.listen().close()
        self.listen().close()
        self.path.unlink()
        self.path.write_bytes(b"")
        wake_fifo = self.listen()
        self.assertTrue(wake(self.path.parent))
        wake_fifo.doRead()
        self.assertEqual(self.wakeups, 1)

    def test_closed_once(self) -> None:
        """The reactor is told once that the bell is gone."""
        wake_fifo = self.listen()
        wake_fifo.close()
        wake_fifo.close()
        self.assertEqual(self.reactor.watched, [])
