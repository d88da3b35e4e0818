"""
C{securemsg respond}: let a command answer what comes.

The answer is committed together with the mark that its question was answered. A kill before that lets the command run again; a
kill after that changes nothing: the answer is sent once.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from attrs import frozen

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, error_for
from securemsg.account.names import full_name
from securemsg.account.readlocks import ReadLocks, take_read_lock
from securemsg.account.responder import Responder
from securemsg.account.rooms import is_room
from securemsg.cli.context import CommandContext
from securemsg.cli.lobby import open_lobby
from securemsg.cli.output import report_warning, say
from securemsg.cli.profiles import opened
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.client.escape import escape
from securemsg.client.events import Warned
from securemsg.client.messages import Received
from securemsg.responders.command import LIMIT, Command
from securemsg.responders.errors import AnswerFailed
from securemsg.responders.function import load_function
from securemsg.responders.pool import CAPACITY, ThreadPool, Work

STDERR = 2
# What to do about failures of answers, by their code.
_ADVICE = {
    "exception": "run it again with --debug to see the traceback, which may show the text of the message",
    "not-started": "check that the command exists and is executable",
    "timeout": f"make the command end within {LIMIT} s",
}


@click.command(
    epilog=f"""
    COMMAND is split the way a shell does, but runs without one, for at most {LIMIT} seconds; up to {CAPACITY} run at once, one
    at a time for each sender. It gets the text on standard input, and SECUREMSG_SENDER, SECUREMSG_ID and SECUREMSG_TIME in an
    otherwise minimal environment. The first 48 KiB of its output are the answer, without a final line end; no output means no
    answer. If it fails, the answer says why: error: status N, error: signal N, error: timeout, error: not-started.
    """
)
@click.option("--exec", "command", metavar="COMMAND", help="Answer with the output of COMMAND.")
@click.option("--python", "function", metavar="MODULE.FUNCTION", help="Answer with the return value of a Python function.")
@click.option("--from", "sender", type=PEER, metavar="NAME", help="Answer NAME only, or in a room; other messages stay.")
@click.option("--rooms", "in_rooms", is_flag=True, help="Answer in rooms, too, where all members read the answer.")
@json_option("Print warnings and errors as JSON, one object per line.")
@shared
@click.pass_context
def respond(ctx: click.Context, command: str | None, function: str | None, sender: str | None, in_rooms: bool) -> int:
    """
    Answer every text message with the output of a command, until --timeout (forever without one).

    What is said in rooms stays for recv, unless --rooms or --from with a room is given.

    Automatic answers from others are never answered; they stay for recv. If respond is killed, COMMAND may run again for the
    same message, but only one answer is sent.
    """
    if (command is None) == (function is None):
        raise click.UsageError("give either --exec COMMAND or --python MODULE.FUNCTION")
    work = _work(command, function)
    settings = settings_of(ctx)
    with opened(settings) as context:
        lock = take_read_lock(context.profile_folder)
        try:
            if work.problem:
                text = f"no message will be answered: {work.problem}"
                report_warning(Warned("not-started", "", text), settings.as_json, "stop this, and give another --exec COMMAND")
            if sender is not None:
                sender = full_name(context.store, sender)
            open_lobby(context, sender)
            reporting = ReportingWork(work, settings.as_json, settings.debug)
            return _Responding(context, reporting, sender, in_rooms or is_room(sender)).run()
        finally:
            lock.free()


def _work(command: str | None, function: str | None) -> Work:
    option, make, text = ("--exec", Command, command) if function is None else ("--python", load_function, function)
    maker: Callable[[str], Work] = make
    try:
        return maker(text or "")
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _what_next(code: str) -> str:
    return _ADVICE.get(code, "try the command by hand with a text on standard input")


@frozen
class ReportingWork:
    """Work whose failures are also reported on standard error."""

    _work: Work
    _as_json: bool
    _debug: bool = False

    @property
    def problem(self) -> str:
        """See L{Work.problem}; it was already reported."""
        return ""

    def __call__(self, reactor: Any, question: Received) -> str | None:
        """
        See L{Work}.

        @raise AnswerFailed: as the work itself does.
        """
        try:
            return self._work(reactor, question)
        except AnswerFailed as failure:
            reason = f" ({failure.reason})" if failure.reason else ""
            text = f"a message was answered with an error: {failure.code}{reason}"
            report_warning(Warned("answer-failed", question.sender, text), self._as_json, _what_next(failure.code))
            if self._debug and failure.__cause__ is not None:
                say("".join(traceback.format_exception(failure.__cause__)))
            raise

    def stop(self) -> None:
        """See L{Work.stop}."""
        self._work.stop()


@frozen
class _Responding:
    """One run of C{respond}."""

    _context: CommandContext
    _work: Work
    _sender: str | None
    _in_rooms: bool

    def run(self) -> int:
        """Answer until stopped."""
        return self._context.run_connected(self._respond, again=True)

    async def _respond(self, reactor: Any, connection: AccountConnection) -> int:
        context = self._context
        read_locks = ReadLocks(context.folder, context.store)
        reported = report_answer if os.isatty(STDERR) else lambda question, text: None
        responder = Responder(
            reactor,
            context.store,
            connection,
            read_locks,
            context.now,
            partial(ThreadPool, self._work, reactor),
            reported,
            self._sender,
            self._in_rooms,
        )
        await responder.run(context.settings.timeout)
        if connection.unreached:
            raise error_for(connection.unreached, connection.where)
        return Exit.DONE


def report_answer(question: Received, text: str | None) -> None:
    """One line for each message, and nothing of what it says."""
    name = escape(question.sender)
    say(f"no answer to {name}" if text is None else f"answered {name} ({len(text.encode('utf-8', 'replace'))} bytes)")
