"""C{securemsg serve}: the daemon, also where the shell finds no C{twistd}, as after C{pipx install}."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from securemsg.account.errors import Exit, SecuremsgError

# In the foreground, where the daemon makes no pid file (L{securemsg.daemon.twistd}).
TWISTD = ("twistd", "-n", "securemsg")


class _PassThrough(click.Command):
    """A command whose arguments, C{--help} included, belong to another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave all of them unread."""
        ctx.args = args
        return args


@click.command(cls=_PassThrough)
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Run the daemon in the foreground, in the place of this process; `securemsg serve --help` lists its options."""
    _replace(ctx)


def _replace(ctx: click.Context) -> None:
    """
    Replace this process with C{twistd}: process id, signals, exit status and standard streams are then the daemon's.

    @raise click.UsageError: an option stands before C{serve}, where it would be ignored.
    @raise SecuremsgError: C{twistd} is not beside this Python.
    """
    group = ctx.find_root()
    for option in group.command.params:
        if option.name and group.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"options of the daemon go after serve, not before it: {option.opts[0]}", ctx)
    twistd = Path(sys.executable).with_name("twistd")
    try:
        os.execv(twistd, [*TWISTD, *ctx.args])  # noqa: S606 - a program of our own installation
    except OSError as error:
        hint = "reinstall securemsg in an environment of its own, with pipx or venv"
        raise SecuremsgError(Exit.INTERNAL, "no-twistd", f"cannot run {twistd}: {error.strerror}", hint) from None
