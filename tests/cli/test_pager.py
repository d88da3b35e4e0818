"""What may be longer than the screen."""

from __future__ import annotations

import os
import pty
import sys
import termios
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli import output, pager
from securemsg.cli.pager import write_lines

ROWS, COLUMNS = 10, 80
# Says that it was there, and how it was called.
PAGER = 'printf "pager %s %s:" "$LESS" "$LESSHISTFILE"; exec cat\n'


class PagerTests(SynchronousTestCase):
    """Lines that go to a terminal, through a pager or not."""

    def setUp(self) -> None:
        """A terminal in the place of both standard streams, and a pager."""
        self.keyboard, self.screen = pty.openpty()
        self.addCleanup(os.close, self.keyboard)
        termios.tcsetwinsize(self.screen, (ROWS, COLUMNS))
        self.patch(output, "STDOUT", self.screen)
        self.patch(pager, "STDOUT", self.screen)
        for name in ("stdin", "stdout"):
            stream = open(self.screen, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            self.addCleanup(stream.close)
            self.patch(sys, name, stream)
        self.addCleanup(os.close, self.screen)
        program = Path(self.mktemp())
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{PAGER}", "utf-8")
        program.chmod(0o700)
        self.settings = dict(os.environ)
        self.addCleanup(self.restore)
        os.environ.update(PAGER=str(program.absolute()), LINES=str(ROWS), COLUMNS=str(COLUMNS))
        for name in ("LESS", "LESSHISTFILE"):
            os.environ.pop(name, None)

    def restore(self) -> None:
        """The environment as it was."""
        os.environ.clear()
        os.environ.update(self.settings)

    def shown(self, lines: list[str], *, paged: bool = True) -> str:
        """What the terminal shows of lines."""
        saved = os.dup(1)
        os.dup2(self.screen, 1)
        try:
            write_lines(lines, paged=paged)
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        os.write(self.screen, b"$")
        found = b""
        while not found.endswith(b"$"):  # a terminal hands over what was written in several pieces
            found += os.read(self.keyboard, 65536)
        return found[:-1].decode().replace("\r\n", "\n")

    def test_long(self) -> None:
        """
        What does not fit on the screen goes through the pager, every line of it once, with our choice for C{less}, which keeps
        no file of what is looked for.
        """
        lines = [f"line {number}" for number in range(3 * ROWS)]
        self.assertEqual(self.shown(lines), "pager FRX -:" + "".join(f"{line}\n" for line in lines))

    def test_short(self) -> None:
        """What fits does not; the prompt behind it needs a row, too."""
        self.assertEqual(self.shown(["line"] * (ROWS - 1)), "line\n" * (ROWS - 1))
        self.assertIn("pager", self.shown(["line"] * ROWS))

    def test_rows(self) -> None:
        """A message may have many rows."""
        self.assertIn("pager", self.shown(["\n".join(["row"] * ROWS)]))

    def test_own_choice(self) -> None:
        """What users have chosen for C{less} stays."""
        os.environ.update(LESS="S", LESSHISTFILE="mine")
        self.assertIn("pager S mine:", self.shown(["line"] * ROWS))

    def test_not_wanted(self) -> None:
        """Without a pager everything is printed as it is."""
        self.assertEqual(self.shown(["line"] * 3 * ROWS, paged=False), "line\n" * 3 * ROWS)

    def test_nothing(self) -> None:
        """No lines are no output."""
        self.assertEqual(self.shown([]), "")

    def test_terminal(self) -> None:
        """A pager needs a terminal at both ends."""
        self.assertTrue(pager.is_terminal())
        with open(os.devnull, encoding="utf-8") as nothing:
            self.patch(sys, "stdin", nothing)
            self.assertFalse(pager.is_terminal())
