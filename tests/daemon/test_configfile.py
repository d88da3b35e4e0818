"""The daemon's configuration file."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.configfile import MAX_SIZE
from securemsg.daemon.options import Options
from tests.net.fakes import scratch


class ConfigCase(SynchronousTestCase):
    """A file."""

    def setUp(self) -> None:
        """It is not there yet."""
        self.path = scratch(self) / "securemsg.conf"

    def options(self, text: str | bytes, *given: str) -> Options:
        """The options with this file, and these on the command line."""
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        options = Options()
        options.parse([*given, "--config", str(self.path)])
        return options


class GoodTests(ConfigCase):
    """What is taken from it."""

    def test_taken(self) -> None:
        """Options with values and flags; comments and blank lines are none."""
        text = "# comment\n; another\n\n[securemsg]\nport = 9000\nlobby = yes\nprint = no\nstate = ~/elsewhere\n"
        setup = self.options(text).setup
        self.assertEqual((setup.port, setup.lobby, setup.prints), (9000, True, False))
        self.assertEqual(setup.state, Path("~/elsewhere").expanduser())

    def test_command_line_wins(self) -> None:
        """Wherever it stands."""
        setup = self.options("[securemsg]\nport = 9000\nmax-clients = 7\n", "--port", "9001").setup
        self.assertEqual((setup.port, setup.max_clients), (9001, 7))

    def test_empty(self) -> None:
        """An empty one changes nothing; the last one that is named counts."""
        self.assertEqual(self.options("").setup, self.options("[securemsg]\n").setup)
        self.assertEqual(self.options("[securemsg]\nport = 9000\n", f"--config={self.path}x").setup.port, 9000)

    def test_mark(self) -> None:
        """Editors may put a byte order mark in front."""
        self.assertEqual(self.options("\ufeff[securemsg]\nport = 9000\n").setup.port, 9000)

    def test_shortened(self) -> None:
        """The option that names it may be shortened, as any may."""
        self.path.write_text("[securemsg]\nport = 9000\n", "utf-8")
        options = Options()
        options.parse(["--conf", str(self.path)])
        self.assertEqual(options.setup.port, 9000)

    def test_folder(self) -> None:
        """Relative paths start from the folder of the first time, wherever the process has gone since."""
        self.path.write_text("[securemsg]\nstate = state\n", "utf-8")
        options = Options(self.path.parent)
        options.parse(["--config", self.path.name])
        self.assertEqual(options.setup.state, self.path.parent / "state")

    def test_no_folder(self) -> None:
        """A current folder that was removed stops nobody who names whole paths."""
        gone = self.path.parent / "gone"
        gone.mkdir()
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(gone)
        gone.rmdir()
        self.assertEqual(self.options("[securemsg]\nport = 9000\n").setup.port, 9000)


class BadTests(ConfigCase):
    """What is wrong is said with its line."""

    def refused(self, text: str | bytes, *given: str) -> str:
        """Why."""
        problem: UsageError = self.assertRaises(UsageError, self.options, text, *given)
        return str(problem).replace(str(self.path), "FILE")

    def test_lines(self) -> None:
        """Each mistake."""
        cases: dict[str | bytes, str] = {
            "[securemsg]\nport = 9000\n\nmax-clients = many\n": "FILE:4: --max-clients is a number",
            "[securemsg]\nloby = yes\n": "FILE:2: there is no option loby",
            "[securemsg]\nconfig = other\n": "FILE:2: there is no option config",
            "[securemsg]\nlobby = maybe\n": "FILE:2: lobby is yes or no, not 'maybe'",
            "port = 1\n": "FILE:1: options go below a line [securemsg]",
            "[securemsg]\nport 1\n": "FILE:2: neither an option",
            "[securemsg]\nport = 1\nport = 2\n": "FILE:3: port is set twice",
            "[securemsg]\n[other]\n": "FILE:2: unknown section [other]; the only one is [securemsg]",
            "[securemsg]\nanswer = bogus\n": "FILE:2: --answer is one of ack, echo, none",
            "[securemsg]\ncert = ~nobody-here/c\nkey = k\n": "FILE:2: --cert is in the home of a user who is not there",
            "[securemsg]\nstate = a\0b\n": "FILE:2: --state has a zero byte",
            "[securemsg]\nanswer = exec:/bin/cat\n  lobby = yes\n": "FILE:2: answer goes on in the next line",
            "# a form feed \f and \u2028\n[securemsg]x\nport = 1\n": "FILE:2: nothing may stand behind the name of a section",
            b"[securemsg]\nstate = \xff\n": "FILE is not UTF-8",
            b"#" * (MAX_SIZE + 1): "FILE is larger than 64 KiB",
        }
        for text, why in cases.items():
            self.assertTrue(self.refused(text).startswith(why), self.refused(text))

    def test_of_the_command_line(self) -> None:
        """What is wrong on the command line is no fault of the file."""
        self.assertTrue(self.refused("[securemsg]\nport = 9000\n", "--max-clients", "many").startswith("--max-clients"))
        for wrong in ("--port=many", "-pmany", "--po=many"):
            self.assertTrue(self.refused("[securemsg]\nport = 9000\n", wrong).startswith("--port is"), wrong)

    def test_unreadable(self) -> None:
        """A file that is not there."""
        problem = self.assertRaises(UsageError, Options().parse, ["--config", str(self.path)])
        self.assertIn("cannot be read: No such file", str(problem))
