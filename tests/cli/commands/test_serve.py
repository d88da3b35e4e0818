"""C{securemsg serve}, up to where it becomes the daemon."""

from __future__ import annotations

import os
import sys

from securemsg.account.errors import Exit
from tests.cli.test_main import CommandLineCase


class ServeTests(CommandLineCase):
    """The program that is run, and its arguments."""

    def setUp(self) -> None:
        """Make a fake Python."""
        super().setUp()
        self.patch(sys, "executable", str(self.folder / "python"))

    def assert_passed(self, *arguments: str) -> None:
        """C{twistd} gets these arguments after its own."""
        runs: list[tuple[str, list[str]]] = []
        self.patch(os, "execv", lambda path, argv: runs.append((str(path), argv)))
        self.assertEqual(self.run_line("serve", *arguments), (Exit.DONE, "", ""))
        wanted = ["twistd", "-n", "securemsg", *arguments]
        self.assertEqual(runs, [(str(self.folder / "twistd"), wanted)])

    def test_nothing(self) -> None:
        """Without arguments the C{twistd} beside this Python runs in the foreground, and writes no C{twistd.pid}."""
        self.assert_passed()

    def test_daemon_options(self) -> None:
        """Options of the daemon arrive as they are."""
        self.assert_passed("--port", "9000", "--host=0.0.0.0", "--state", "a b", "--answer", "exec:tr a-z A-Z", "-p9001")

    def test_shared_options(self) -> None:
        """So do those that the other commands share, help and version included: none is the client's."""
        for option in ("--help", "-h", "--version", "--json", "--debug", "--retry"):
            self.assert_passed(option)
        self.assert_passed("--profile", "x", "--timeout", "5", "--passphrase-file", "y")

    def test_odd_words(self) -> None:
        """So does whatever the daemon will refuse."""
        self.assert_passed("--nope", "-x", "word", "", "-", "--", "--port")

    def test_options_before(self) -> None:
        """An option before the word is refused: it would be ignored, and the daemon would listen elsewhere than asked."""
        for options in (("--port", "9000"), ("--host", "::1"), ("--debug",), ("--profile", "x")):
            status, out, err = self.run_line(*options, "serve")
            self.assertEqual((status, out), (Exit.USAGE, ""))
            self.assert_one_line(err, "usage")
            self.assertIn(f"after serve, not before it: {options[0]}; see: securemsg serve --help", err)

    def test_missing(self) -> None:
        """Without a C{twistd} beside this Python one line says so, and what to do."""
        status, out, err = self.run_line("serve")
        self.assertEqual((status, out), (Exit.INTERNAL, ""))
        self.assert_one_line(err, "no-twistd")
        self.assertIn(f"cannot run {self.folder}/twistd: No such file or directory; reinstall", err)
