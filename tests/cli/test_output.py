"""Standard output, and what happens when nobody reads it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import termios
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.cli import output
from securemsg.cli.output import OutputClosed, json_line, report, report_waiting, report_warning, write_line, write_record
from securemsg.client.events import Warned


@contextlib.contextmanager
def stdout_to(descriptor: int) -> Iterator[None]:
    """Redirect this process's standard output for a while."""
    saved = os.dup(output.STDOUT)
    os.dup2(descriptor, output.STDOUT)
    try:
        yield
    finally:
        os.dup2(saved, output.STDOUT)
        os.close(saved)


def close(descriptor: int) -> None:
    """Close a descriptor that the test may have closed itself."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


class WarningTests(SynchronousTestCase):
    """Warnings and notes."""

    def said(self, as_json: bool) -> str:
        """Return what a warning writes to standard error."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            report_warning(Warned("identity-changed", "bob", "the identity has changed"), as_json)
        return err.getvalue()

    def test_news(self) -> None:
        """Good news is not called a warning."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            report_warning(Warned("joined", "eve", "eve has joined"), False)
        self.assertEqual(err.getvalue(), "securemsg: eve has joined [joined]\n")

    def test_waiting(self) -> None:
        """A command that keeps trying says why and how to end it, in one line or one object."""
        for code, words in (
            ("server-full", ("the server is full; waiting for a place, Ctrl-C ends",)),
            ("not-connected", ("example:8443", "; trying again, Ctrl-C ends")),
        ):
            for as_json in (False, True):
                err = io.StringIO()
                with contextlib.redirect_stderr(err):
                    report_waiting(code, "example:8443", as_json)
                line = err.getvalue()
                self.assertEqual(line.count("\n"), 1)
                self.assertIn(code, json.loads(line)["code"] if as_json else line)
                for part in words:
                    self.assertIn(part, json.loads(line)["warning"] if as_json else line)

    def test_people(self) -> None:
        """A warning is one line that names the contact."""
        self.assertEqual(self.said(False), "securemsg: warning (bob): the identity has changed [identity-changed]\n")

    def test_programs(self) -> None:
        """With C{--json} a warning is one object."""
        record = json.loads(self.said(True))
        self.assertEqual(record["warning"], "the identity has changed")
        self.assertEqual((record["code"], record["name"]), ("identity-changed", "bob"))


class PutTests(SynchronousTestCase):
    """Lines of data."""

    def pipe(self) -> tuple[int, int]:
        """Make a pipe that is closed after the test."""
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            self.addCleanup(close, descriptor)
        return reader, writer

    def test_written(self) -> None:
        """A line is written whole, in UTF-8, before the call returns."""
        reader, writer = self.pipe()
        with stdout_to(writer):
            write_line("grüße")
        self.assertEqual(os.read(reader, 100), "grüße\n".encode())

    def test_nobody_reads(self) -> None:
        """A closed pipe is not an error."""
        reader, writer = self.pipe()
        os.close(reader)
        with stdout_to(writer):
            self.assertRaises(OutputClosed, write_line, "x")

    def test_no_room(self) -> None:
        """Output that cannot be written is an error."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        with stdout_to(full):
            problem = self.assertRaises(SecuremsgError, write_line, "x")
        self.assertEqual((problem.status, problem.code), (Exit.INTERNAL, "output-failed"))

    def test_surrogates(self) -> None:
        """Lone surrogates do not prevent a line from being written."""
        reader, writer = self.pipe()
        with stdout_to(writer):
            write_line("a\udc80")
        self.assertEqual(os.read(reader, 100), b"a\\udc80\n")


class JsonTests(SynchronousTestCase):
    """Records for programs."""

    def test_one_line(self) -> None:
        """A record is one line of visible ASCII, whatever a peer wrote."""
        text = "a\nb\x1b[31m\u2028\u202e"
        line = json_line({"text": text})
        self.assertTrue(line.isascii() and line.isprintable())
        self.assertEqual(json.loads(line), {"text": text})


class WrappedTests(SynchronousTestCase):
    """What people read at a terminal."""

    def setUp(self) -> None:
        """A terminal of 40 columns."""
        self.screen, self.terminal = os.openpty()
        termios.tcsetwinsize(self.terminal, (24, 40))
        self.addCleanup(os.close, self.screen)
        self.addCleanup(os.close, self.terminal)

    def shown(self) -> list[str]:
        """The rows that were written; a terminal hands them over in several pieces."""
        os.write(self.terminal, b"$")
        shown = b""
        while not shown.endswith(b"$"):
            shown += os.read(self.screen, 4096)
        return shown.decode().split("\r\n")[:-1]

    def reported(self, as_json: bool) -> list[str]:
        """The rows of an error."""
        with contextlib.redirect_stderr(open(os.dup(self.terminal), "w")) as stream:
            report(SecuremsgError(Exit.USAGE, "usage", "cannot change the suite", "use --set-suite psk"), as_json)
            stream.close()
        return self.shown()

    def test_error(self) -> None:
        """An error ends its rows between words, and never within an option."""
        rows = ["securemsg: cannot change the suite; use", "   --set-suite psk [usage]"]
        self.assertEqual(self.reported(False), rows)

    def test_error_for_programs(self) -> None:
        """A record stays one line, however narrow the terminal is."""
        self.assertEqual(len(self.reported(True)), 1)

    def record(self, as_json: bool = False, verbatim: bool = False) -> list[str]:
        """The rows of a record on standard output."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": "40"})
        with stdout_to(self.terminal):
            write_record({"link": "x" * 50}, as_json, "y " * 19 + "link " + "x" * 30, verbatim=verbatim)
        return self.shown()

    def test_record(self) -> None:
        """Data is wrapped for people, unless it is there to be copied, or for a program."""
        self.assertEqual(self.record(), ["y " * 18 + "y", "   link " + "x" * 30])
        self.assertEqual(len(self.record(verbatim=True)), 1)
        self.assertEqual(len(self.record(as_json=True)), 1)


class ReportTests(SynchronousTestCase):
    """Errors that end a command."""

    def report(self, problem: SecuremsgError, as_json: bool) -> str:
        """Return what an error writes to standard error."""
        with contextlib.redirect_stderr(io.StringIO()) as written:
            report(problem, as_json)
        return written.getvalue()

    def test_one_line(self) -> None:
        """People get one line with what happened, what to do and the code; names in it are escaped."""
        text = self.report(error_for("no-such-account", "b\x1bob\n"), False)
        self.assertEqual(text.count("\n"), 1)
        self.assertNotIn("\x1b", text)
        self.assertTrue(text.startswith("securemsg: no such account: b\\x1bob\\n; "))
        self.assertTrue(text.endswith("[no-such-account]\n"))

    def test_json(self) -> None:
        """Programs get one object with error, code and hint."""
        record = json.loads(self.report(error_for("too-large"), True))
        self.assertEqual(set(record), {"error", "code", "hint"})
        self.assertEqual(record["code"], "too-large")
