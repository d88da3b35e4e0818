"""The reactor around one command."""

from __future__ import annotations

import contextlib
import io
import os
import signal

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.main import spell_out
from securemsg.cli.run import _Run


class InterruptTests(SynchronousTestCase):
    """Ctrl-C."""

    def shown(self, number: int) -> str:
        """What a signal shows at a terminal, before the mark that follows."""
        screen, terminal = os.openpty()
        self.addCleanup(os.close, screen)

        async def work(reactor: object) -> int:
            return 0

        with open(terminal, "w") as stream, contextlib.redirect_stderr(stream):
            _Run(MemoryReactorClock(), work)._interrupt(number)
            stream.write("$")
            stream.flush()
            shown = b""
            while not shown.endswith(b"$"):  # a terminal hands over what was written in several pieces
                shown += os.read(screen, 100)
            return shown.decode()

    def test_row_ends(self) -> None:
        """Whatever follows stands in the row after the ^C that the terminal shows; other signals show nothing."""
        self.assertEqual(self.shown(signal.SIGINT), "\r\n$")
        self.assertEqual(self.shown(signal.SIGTERM), "$")


class EncodingTests(SynchronousTestCase):
    """A terminal that is not set to UTF-8."""

    def test_spelled_out(self) -> None:
        """What its encoding lacks is spelled out."""
        written = io.BytesIO()
        with contextlib.redirect_stdout(io.TextIOWrapper(written, "latin-1")) as stream:
            spell_out()
            stream.write("é ✓")
            stream.flush()
            self.assertEqual(written.getvalue(), b"\xe9 \\u2713")
