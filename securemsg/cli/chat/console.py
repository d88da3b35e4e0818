"""Lines of standard input: the plain console, for pipes, tests and dumb terminals."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.protocol.messages import MAX_TEXT

# A text of full size, and a command's worth more: what is longer was never meant to be one line.
MAX_LINE = MAX_TEXT + 1024


@implementer(IHalfCloseableProtocol)
class Console(LineReceiver):
    """
    Gives whole lines as text, and says when there are no more.

    The end of the input is not the end: output may still come, so without L{IHalfCloseableProtocol} it would be lost.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, typed: Callable[[str], None], complain: Callable[[str], None], ended: Callable[[], None]) -> None:
        """
        @param typed: takes each line without its end.
        @param complain: takes a code for a line that was dropped: C{too-long} or C{not-utf8}.
        @param ended: is called once, when no line will come any more.
        """
        self._typed = typed
        self._complain = complain
        self._ended = ended
        self._is_open = True
        # The rest of a line that was too long is no line.
        self._skipping = False

    def dataReceived(self, data: bytes) -> None:
        """Take bytes, line by line, so that a line that is too long takes no other with it."""
        while data and self._is_open:
            end = data.find(b"\n") + 1 or len(data)
            LineReceiver.dataReceived(self, data[:end])
            data = data[end:]

    def lineReceived(self, line: bytes) -> None:
        """One line."""
        if self._skipping:
            self._skipping = False
            return
        try:
            text = line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            self._complain("not-utf8")
            return
        self._typed(text)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Drop a line that is too long, to its very end."""
        if not self._skipping:
            self._complain("too-long")
        self._skipping = not line.endswith(self.delimiter)

    def readConnectionLost(self) -> None:
        """The input has ended; a last line may lack its end."""
        rest = self.clearLineBuffer()
        if rest and not self._skipping and self._is_open:
            self.lineReceived(rest)
        self._end()

    def writeConnectionLost(self) -> None:
        """Nobody reads what we print."""
        self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both ends are gone."""
        self._end()

    def stop(self) -> None:
        """Take no more lines, not even those that were read already."""
        self._is_open = False

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._ended()


@contextlib.contextmanager
def blocking_restored(*descriptors: int) -> Iterator[None]:
    """
    Leave descriptors as they were found: a terminal is shared with the shell, which does not expect it to be non-blocking.
    """
    found = {}
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            found[descriptor] = os.get_blocking(descriptor)
    try:
        yield
    finally:
        for descriptor, blocking in found.items():
            with contextlib.suppress(OSError):
                os.set_blocking(descriptor, blocking)
