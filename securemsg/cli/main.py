"""
The command C{securemsg}: all commands, and one place where errors become a line and an exit status.
"""

from __future__ import annotations

import sys
import traceback

import click

from securemsg import __version__
from securemsg.cli.admin import admin
from securemsg.cli.chatting import chat
from securemsg.cli.exits import Exit, Trouble, explain, table
from securemsg.cli.joining import join
from securemsg.cli.output import OutputClosed, report, say, silence
from securemsg.cli.people import contacts, history, verify
from securemsg.cli.profiles import ensure_descriptors, storage_trouble
from securemsg.cli.receiving import recv
from securemsg.cli.sending import send
from securemsg.cli.settings import json_option, shared
from securemsg.cli.standing import invite, ping, status, whoami
from securemsg.client.vault import VaultError
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.storage.errors import StorageError

PROGRAM = "securemsg"

EPILOG = f"""
\b
Exit statuses:
{table()}
"""


class Commands(click.Group):
    """
    The commands in the order in which one meets them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        As they were added.
        """
        return list(self.commands)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name=PROGRAM)
@json_option("Print JSON: one object a line, on standard error, too.")
@shared
def group(as_json: bool) -> None:
    """
    Private messages from a terminal: end-to-end encrypted, and nothing is lost.

    Profile and connection options may stand before or after the command.
    """


for command in (join, send, recv, chat, history, contacts, verify, status, whoami, ping, invite, admin):
    group.add_command(command)


def main() -> None:
    """
    Run the command line, and end the process.
    """
    ensure_descriptors()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """
    Run one command.

    @return: its exit status.
    """
    as_json = "--json" in arguments
    try:
        result = group.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(result or Exit.DONE)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        silence()
        return Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        if as_json:
            report(Trouble(Exit.USAGE, "usage", "no command is given", _see_help(error)), as_json)
        else:
            say(error.format_message())
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 - the last one there is: whatever it is becomes a line and a status
        if "--debug" in arguments and not isinstance(error, click.ClickException):
            traceback.print_exc()
        problem = _problem(error)
        report(problem, as_json)
        return problem.status


def _problem(error: Exception) -> Trouble:
    """
    What an exception means to the user.
    """
    match error:
        case Trouble():
            return error
        case VaultError() | StorageError():
            return storage_trouble(error)
        case Refusal() | RemoteProtocolError():
            return explain(error)
        case click.ClickException():
            return Trouble(Exit.USAGE, "usage", error.format_message().rstrip("."), _see_help(error))
        case _:
            kind = type(error).__name__
            return Trouble(Exit.INTERNAL, "internal", f"internal error ({kind})", "run it again with --debug to see more")


def _see_help(error: click.ClickException) -> str:
    """
    Where the right usage stands.
    """
    name = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else PROGRAM
    return f"see: {name} --help"
