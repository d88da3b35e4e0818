"""The command C{securemsg}: all commands, and one place where errors become a line and an exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import sys
import traceback
from importlib import import_module

import click
from click.shell_completion import CompletionItem, shell_complete

from securemsg import __version__
from securemsg.account.errors import Exit, SecuremsgError, error_for, explain, table
from securemsg.cli.completion import COMPLETION
from securemsg.cli.config import read_config, use_table
from securemsg.cli.helptext import Formatter
from securemsg.cli.output import OutputClosed, flush_all, report, say, silence
from securemsg.cli.settings import NamedPath, json_option, shared
from securemsg.coredump import forbid_core_dumps
from securemsg.errors import Refusal, RemoteProtocolError

PROGRAM = "securemsg"
# Of all commands.
click.Context.formatter_class = Formatter
# The argument that takes a text for people, wherever there is one.
TEXT = "text"
# What a command may have open at once, with some to spare.
MIN_FILES = 40

ENVIRONMENT = {
    "SECUREMSG_PROFILE": "default of --profile",
    "SECUREMSG_PASSPHRASE_FILE": "default of --passphrase-file",
    "SECUREMSG_CONFIG": "default of --config",
    "STATE_DIRECTORY": "default of --state, as systemd sets it",
}
FILES = {
    "~/.local/share/securemsg/profile": "keys and messages",
    "~/.config/securemsg/config.toml": "defaults for options",
    "~/.local/state/securemsg": "state of the daemon",
}


def _listed(rows: dict[str, str]) -> str:
    return "\n".join(f"  {name:<32}  {text}" for name, text in rows.items())


EPILOG = f"""
\b
Exit statuses:
{table()}

\b
Environment:
{_listed(ENVIRONMENT)}

\b
Files:
{_listed(FILES)}
"""


# The commands in the order in which users need them, with their help. A command is imported when it is called, so that help and
# errors are fast.
COMMANDS = {
    "serve": "Start the daemon; `securemsg serve --help` lists its options.",
    "join": "Create keys, pin the server, and register NAME with INVITE.",
    "send": "Send TEXT, or standard input, to NAME.",
    "ask": "Ask NAME a question with choices, and wait for the answer.",
    "answer": "Answer a question of WHO with one of its choices.",
    "recv": "Print waiting messages, each of them once.",
    "respond": "Answer every text message with the output of a command.",
    "pipe": "Stream standard input to NAME, or receive one from NAME.",
    "gateway": "Send what webhooks bring as encrypted messages.",
    "chat": "Chat with NAME, at a terminal or line by line on a pipe.",
    "history": "Print the messages to and from NAME; marks nothing as read.",
    "search": "Print the messages in which all WORDS occur.",
    "export": "Write whole histories to standard output, as JSON or text.",
    "outbox": "List what waits to be sent, and why; cancel or retry it.",
    "room": "Make and join rooms, see who is in them, change them.",
    "lobby": "List who is in '#lobby', or leave it.",
    "contacts": "List contacts, or accept the new keys of one.",
    "settings": "List or change the settings of this profile.",
    "devices": "List devices of yours or of NAME; remove or accept one of yours.",
    "verify": "Show the safety number with NAME; --confirm marks NAME verified.",
    "status": "Show how connection and keys are protected, and what is waiting.",
    "doctor": "Check profile, clock and server, and say what is wrong.",
    "whoami": "Print the name and the fingerprint of this profile.",
    "ping": "Measure how long the server takes to answer.",
    "invite": "Print an invite for one person, if the server lets users invite.",
    "identity": "Make all keys of this account anew; the old ones sign the new.",
    "passphrase": "Set, change or remove the passphrase that protects your keys.",
    "profile": "Back up, restore and check the folder of keys and messages.",
    "keygen": "Create a key file, for a daemon or for two people.",
    "admin": "Manage the daemon on this machine: invites, accounts, address.",
    "completion": "Print the script with which a shell completes commands.",
    "help": "Print the help of a command, or find commands by a word.",
}


def load(name: str) -> click.Command:
    """Import a command from the module of the same name."""
    module = import_module("securemsg.cli.chat.command" if name == "chat" else f"securemsg.cli.commands.{name}")
    command = getattr(module, name)
    assert isinstance(command, click.Command), "the module has a command of its own name"
    return command


class Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find a command by the first argument.

        @raise click.NoSuchCommand: there is none; it names the nearest ones.
        """
        if args[0] in COMMANDS or args[0].startswith("-") or ctx.resilient_parsing:
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and command is not None:
                use_table(ctx, name, command)
            return name, command, rest
        raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands without importing them, and the options of all."""
        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name=PROGRAM)
@click.option(
    "--config",
    type=NamedPath(),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="File with defaults for options.  [$SECUREMSG_CONFIG, else ~/.config/securemsg/config.toml]",
)
@json_option("Print JSON, one object per line; errors too.")
@shared
def group() -> None:
    """
    Private messages from a terminal: end-to-end encrypted, and nothing is lost.

    Options for profile and connection can be given before or after the command, --config before it.
    """


def main() -> None:
    """Run the command line, and end the process."""
    forbid_core_dumps()
    ensure_descriptors()
    spell_out()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MIN_FILES:
        # Wherever the next one is opened, the error would be about something else.
        problem = error_for("too-many-files")
        report(problem, "--json" in sys.argv)
        sys.exit(problem.status)
    status = run(sys.argv[1:])
    flush_all()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """
    Run one command.

    @return: its exit status.
    """
    as_json = "--json" in arguments
    if COMPLETION in os.environ:
        return complete()
    try:
        result = group.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            silence()
        return int(result or Exit.DONE)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        silence()
        return Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        if as_json:
            report(SecuremsgError(Exit.USAGE, "usage", "no command given", _see_help(error)), as_json)
        else:
            say(error.format_message())
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 - the outermost handler: any error becomes a line and a status
        if "--debug" in arguments and not isinstance(error, click.ClickException):
            traceback.print_exc()
        problem = _problem(error)
        report(problem, as_json)
        return problem.status


def complete() -> int:
    """
    Answer a shell that completes: silently, whatever is wrong.

    @return: its exit status.
    """
    with contextlib.suppress(Exception):
        return shell_complete(group, {}, PROGRAM, COMPLETION, os.environ[COMPLETION])
    return Exit.INTERNAL


def _problem(error: Exception) -> SecuremsgError:
    match error:
        case SecuremsgError():
            return error
        case Refusal() | RemoteProtocolError():
            return explain(error)
        case click.ClickException():
            text = error.format_message().rstrip(".")
            # Click's messages begin with a capital; names of arguments stay as they are.
            text = text[:1].lower() + text[1:] if text[1:2].islower() else text
            return SecuremsgError(Exit.USAGE, "usage", text, _next_step(error))
        case _:
            # Imported only here, because usage errors do not need it.
            from securemsg.account.folder import known_error

            known = known_error(error)
            if known is not None:
                return known
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                return error_for("too-many-files")
            kind = type(error).__name__
            return SecuremsgError(
                Exit.INTERNAL, "internal", f"internal error ({kind})", "run it again with --debug to see more"
            )


def _next_step(error: click.ClickException) -> str:
    """What to do about wrong usage. A text is easily taken for options, or for several arguments."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    arguments = [] if ctx is None else [each.name or "" for each in ctx.command.params if isinstance(each, click.Argument)]
    if ctx is not None and TEXT in arguments:
        typed = " ".join([ctx.command_path, *(name.upper() for name in arguments if name != TEXT)])
        if isinstance(error, click.NoSuchOption) and not error.possibilities:
            return f'a text that begins with a hyphen goes after --, in quotes: {typed} -- "TEXT"'
        if "unexpected extra argument" in error.message:
            return f'put a text of several words in quotes: {typed} "TEXT"'
    if isinstance(error, click.NoSuchCommand) and not error.possibilities:
        return f"see: {PROGRAM} --help, or search it: {PROGRAM} help WORD"
    return _see_help(error)


def _see_help(error: click.ClickException) -> str:
    name = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else PROGRAM
    return f"see: {name} --help"


def spell_out() -> None:
    """Have characters spelled out that the terminal's encoding lacks, such as a check mark: none of them ends a command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def ensure_descriptors() -> None:
    """
    Open the null device for every closed standard stream; otherwise the next opened file would get its number, and what is said
    there would change the exit status. Descriptor 1 still cannot be written to, so that no message is lost there.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
