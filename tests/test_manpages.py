"""The manual pages say what the help says, in troff that no letter of a text disturbs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast
from unittest import skipUnless

import click
from twisted.trial.unittest import SynchronousTestCase

from securemsg import manpages
from securemsg.account.errors import MEANINGS
from securemsg.cli.main import COMMANDS, ENVIRONMENT, FILES, load
from securemsg.daemon.options import FLAGS, PARAMETERS, Options

# What troff makes of the escapes.
PLAIN = {
    r"\(rs": "\\", r"\-": "-", r"\(aq": "'", r"\(ha": "^", r"\(ti": "~", r"\(ga": "`", r"\(dq": '"',
    r"\fB": "", r"\fP": "", r"\&": "", "\n.PP\n": "\n",
}


def plain(page: str) -> str:
    """A page without escapes, in one line."""
    text = re.sub("|".join(map(re.escape, PLAIN)), lambda match: PLAIN[match[0]], page)
    return " ".join(text.split())


class PageTests(SynchronousTestCase):
    """All pages."""

    def setUp(self) -> None:
        """Make them."""
        self.pages = manpages.pages()

    def test_every_command(self) -> None:
        """Each command has a page, those of groups, too, with its help and its own options."""
        for name in COMMANDS:
            self.assertIn(f"securemsg-{name}.1", self.pages)
        for path, command in (("send", load("send")), ("room-invite", _inner("room", "invite")), ("doctor", load("doctor"))):
            text = plain(self.pages[f"securemsg-{path}.1"])
            self.assertIn(" ".join((command.help or "").replace("`", "").split()), text)
            for option in command.params:
                if isinstance(option, click.Option) and option.help and "--host" not in option.opts:
                    self.assertEqual(option.opts[0] in text, option.opts[0] not in manpages.shared_options(), option.opts)

    def test_program(self) -> None:
        """The page of the program has commands, shared options, exit statuses, environment and files."""
        text = plain(self.pages["securemsg.1"])
        for part in (*COMMANDS, "--profile DIR", *MEANINGS.values(), *ENVIRONMENT, *FILES, "securemsg room invite"):
            self.assertIn(part, text)

    def test_serve(self) -> None:
        """The page of C{serve} has the daemon's options."""
        text = plain(self.pages["securemsg-serve.1"])
        for name, _, _, help_text in cast(list[list[Any]], Options.optParameters):
            self.assertIn(f"--{name} VALUE {str(help_text).replace('`', '')}", text)

    def test_admin(self) -> None:
        """The page of C{admin} has the operator's commands, each of which has a page of its own."""
        command = load("admin")
        assert isinstance(command, click.Group), "it has commands"
        text = plain(self.pages["securemsg-admin.1"])
        for name, each in command.commands.items():
            self.assertIn(f"securemsg admin {name} {each.get_short_help_str(limit=400).replace('`', '')}", text)
            self.assertIn(f"securemsg-admin-{name}.1", self.pages)

    def test_config(self) -> None:
        """The page of the configuration file has all that may stand there, with defaults; it is of section 5."""
        text = plain(self.pages["securemsg.conf.5"])
        self.assertTrue(text.startswith('.TH SECUREMSG.CONF 5 "" "securemsg '), text)
        parts = ("[securemsg]", "port = 8443 TCP port", "advertise = HOST", "lobby = no", "tls = epoll", manpages.CONFIG_FILE)
        for part in parts:
            self.assertIn(part, text)
        for name in (*PARAMETERS, *FLAGS):
            self.assertIn(f".TP {name} =", text)

    def test_escapes(self) -> None:
        """A line that begins like a request, and characters that troff reads as others, stay what they are."""
        self.assertEqual(manpages._lines([".so /etc/passwd", "'tis"]), "\\&.so /etc/passwd\n\\&\\(aqtis\n")
        self.assertEqual(manpages._lines(["-x `a-b` \\n ~^"]), "\\-x \\fBa\\-b\\fP \\(rsn \\(ti\\(ha\n")

    @skipUnless(shutil.which("groff"), "needs groff")
    def test_groff(self) -> None:
        """groff has nothing to say against any of them."""
        with tempfile.TemporaryDirectory() as folder:
            for path in manpages.write_pages(Path(folder)):
                argv = ("groff", "-man", "-Tutf8", "-ww", "-z", str(path))
                done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""), path.name)


def _inner(group: str, name: str) -> click.Command:
    command = load(group)
    assert isinstance(command, click.Group), "it has commands"
    return command.commands[name]
