"""Lines from standard input, however they come."""

from __future__ import annotations

import os

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.cli.chat.console import MAX_LINE, Console, blocking_restored


class ConsoleTests(SynchronousTestCase):
    """A console over a transport in memory."""

    def setUp(self) -> None:
        """Make a console that records its calls."""
        self.lines: list[str] = []
        self.complaints: list[str] = []
        self.ends = 0
        self.console = Console(self.lines.append, self.complaints.append, self.end)
        self.console.makeConnection(StringTransport())

    def end(self) -> None:
        """Count the ends."""
        self.ends += 1

    def test_interface(self) -> None:
        """It survives the end of its input, because output may still come."""
        verifyObject(IHalfCloseableProtocol, self.console)

    def test_any_split(self) -> None:
        """Lines come out whole wherever the pipe cuts them, with either line end."""
        data = "grüße\r\nzwei\n\ndrei\n".encode()
        for cut in range(len(data) + 1):
            self.lines.clear()
            self.console.dataReceived(data[:cut])
            self.console.dataReceived(data[cut:])
            self.assertEqual(self.lines, ["grüße", "zwei", "", "drei"])

    def test_last_line(self) -> None:
        """The last line counts even without a line end, and the end is reported once."""
        self.console.dataReceived(b"one\ntwo")
        self.console.readConnectionLost()
        self.console.connectionLost()
        self.assertEqual((self.lines, self.ends), (["one", "two"], 1))

    def test_too_long(self) -> None:
        """
        A line that is too long is dropped whole and reported once, in however many pieces it comes; the next one is taken.
        """
        for piece in (10, MAX_LINE, 3 * MAX_LINE):
            self.lines.clear()
            self.complaints.clear()
            data = b"a\n" + b"x" * (3 * MAX_LINE) + b"\nb\n"
            for start in range(0, len(data), piece):
                self.console.dataReceived(data[start : start + piece])
            self.assertEqual((self.lines, self.complaints), (["a", "b"], ["too-long"]))

    def test_too_long_at_the_end(self) -> None:
        """The rest of a line that is too long is dropped when the input ends."""
        self.console.dataReceived(b"x" * (2 * MAX_LINE))
        self.console.dataReceived(b"rest")
        self.console.readConnectionLost()
        self.assertEqual((self.lines, self.complaints, self.ends), ([], ["too-long"], 1))

    def test_longest(self) -> None:
        """A line of exactly the greatest length is taken."""
        self.console.dataReceived(b"x" * MAX_LINE + b"\n")
        self.assertEqual([len(line) for line in self.lines], [MAX_LINE])

    def test_not_text(self) -> None:
        """A line that is not UTF-8 is reported and dropped, and the next one is taken."""
        self.console.dataReceived(b"\xff\xfe\nfine\n")
        self.assertEqual((self.lines, self.complaints), (["fine"], ["not-utf8"]))

    def test_stop(self) -> None:
        """After C{stop} no line is taken, not even from the same chunk, and no end is reported."""

        def take(line: str) -> None:
            self.lines.append(line)
            console.stop()

        console = Console(take, self.complaints.append, self.end)
        console.makeConnection(StringTransport())
        console.dataReceived(b"exit\nmore\n")
        console.readConnectionLost()
        self.assertEqual((self.lines, self.ends), (["exit"], 0))


class BlockingTests(SynchronousTestCase):
    """Descriptors shared with other processes."""

    def test_restored(self) -> None:
        """A descriptor blocks again afterwards if it did before, also when something was raised in between."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)

        def fail() -> None:
            with blocking_restored(reader, writer):
                os.set_blocking(reader, False)
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertTrue(os.get_blocking(reader))

    def test_closed(self) -> None:
        """A closed descriptor is ignored."""
        reader, writer = os.pipe()
        os.close(reader)
        os.close(writer)
        with blocking_restored(reader):
            pass
