"""How help is laid out."""

from __future__ import annotations

import os
import re

import click
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.commands.help import commands_below
from securemsg.cli.helptext import Formatter
from securemsg.cli.main import PROGRAM, group


class FormatterTests(SynchronousTestCase):
    """The help of commands, at 40 and 80 columns."""

    def help_of(self, *path: str, columns: int) -> list[str]:
        """The rows of a command's help."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": str(columns)})
        context = click.Context(group, info_name=PROGRAM)
        for name in path:
            assert isinstance(context.command, click.Group), "it has commands"
            command = context.command.get_command(context, name)
            assert command is not None, "it is one of them"
            context = click.Context(command, context, name)
        return context.get_help().split("\n")

    def test_narrow(self) -> None:
        """No row is wider than a narrow terminal."""
        for path, _ in commands_below(click.Context(group, info_name=PROGRAM)):
            for row in self.help_of(*path, columns=40) if path != ("serve",) else ():
                term = re.match(r" +-", row)
                self.assertTrue(len(row) <= 40 or term, row)

    def test_options(self) -> None:
        """Options are not broken at their hyphens."""
        formatter = Formatter(width=20)
        formatter.write_text("to do it use --set-suite")
        formatter.write_dl([("x", "just use --set-suite")])
        self.assertEqual(formatter.getvalue(), "to do it use\n--set-suite\nx  just use\n   --set-suite\n")

    def test_whole_sentences(self) -> None:
        """The commands of a group are listed with their whole first sentence."""
        for name in ("room", "admin", "profile", "outbox"):
            self.assertNotIn("...\n", "\n".join(self.help_of(name, columns=80)).partition("Commands:")[2])
