"""C{securemsg help}: by command, and by word."""

from __future__ import annotations

import json

import click

from securemsg.account.errors import Exit
from securemsg.cli.commands.help import commands_below
from securemsg.cli.main import group
from tests.cli.test_main import CommandLineCase


class HelpCommandTests(CommandLineCase):
    """Its arguments are a command, or words."""

    def test_command(self) -> None:
        """With a command it prints what C{--help} does; without one, the help of the program."""
        for words in ((), ("send",), ("room",), ("room", "invite"), ("help",)):
            status, out, _ = self.run_whole("help", *words)
            self.assertEqual((status, out), (Exit.DONE, self.run_line(*words, "--help")[1]))

    def test_words(self) -> None:
        """Other words list the commands whose help has them all, in any case."""
        status, out, _ = self.run_whole("help", "SAFETY")
        self.assertEqual(status, Exit.DONE)
        self.assertRegex(out, r"(?m)^verify +Show the safety number")
        _, out, _ = self.run_whole("help", "room", "admin", "off", "--json")
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertIn("room admin", [row["command"] for row in rows])
        self.assertNotIn("send", [row["command"] for row in rows])

    def test_what_people_type(self) -> None:
        """The words that people look for find the command that does it."""
        for word, command in (
            ("rename", "room title"),
            ("nickname", "contacts"),
            ("disappear", "contacts"),
            ("disappear", "room keep"),
            ("disappear", "send"),
            ("notification", "settings"),
            ("notification", "recv"),
            ("qr", "invite"),
            ("group", "room"),
        ):
            rows = self.run_whole("help", word, "--json")[1].splitlines()
            self.assertIn(command, [json.loads(row)["command"] for row in rows], word)

    def test_for_people(self) -> None:
        """No help has what only programmers read."""
        for path, command in commands_below(click.Context(group)):
            self.assertNotRegex(command.help or "", r"@[a-z]+ |\b[CLI]\{", path)

    def test_nothing_found(self) -> None:
        """A word that no help has is wrong usage, with the nearest commands."""
        status, out, err = self.run_whole("help", "histroy")
        self.assertEqual((status, out), (Exit.USAGE, ""))
        self.assert_one_line(err, "usage")
        self.assertIn("'history'", err)
        # Commands have no commands of their own.
        self.assertEqual(self.run_whole("help", "send", "bob", "xyzzy")[0], Exit.USAGE)
