"""The listener's end of a profile's wake-up FIFO (L{securemsg.account.wake}), in the reactor."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

# What is read at once; each byte is one wake-up.
_CHUNK = 4096


@implementer(IReadDescriptor)
class WakeFifo:
    """The listener's end."""

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet, path: Path, woken: Callable[[], None]) -> None:
        """
        Make the FIFO, readable and writable by us alone, and listen.

        @raise OSError: it cannot be made or opened here.
        """
        self._reactor = reactor
        self._woken = woken
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        if not stat.S_ISFIFO(path.lstat().st_mode):
            path.unlink()
            os.mkfifo(path, 0o600)
        # Open for writing as well: without any writer a FIFO reports its end again and again.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        reactor.addReader(self)

    def fileno(self) -> int:
        """What the reactor watches."""
        return self._descriptor

    def logPrefix(self) -> str:
        """The name in logs."""
        return "WakeFifo"

    def doRead(self) -> None:
        """Another process wrote, once or several times."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, _CHUNK)
        try:
            self._woken()
        except Exception:  # noqa: BLE001 - logged in full; otherwise the reactor would drop the FIFO
            self._log.failure("what a wake-up asked for failed")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has dropped the FIFO."""
        self.close()

    def close(self) -> None:
        """Stop listening."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(descriptor)
