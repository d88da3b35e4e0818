"""C{securemsg ask}: ask people a question with choices, and wait for their answers."""

from __future__ import annotations

import sys
from math import ceil
from typing import Any

import click
from twisted.internet.defer import CancelledError

from securemsg.account import questions
from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for, worst
from securemsg.account.names import full_name
from securemsg.account.questions import Draft
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.account.tracking import ACCEPTED, follow, settled
from securemsg.cli.commands.send import MessageId, Peers, given_text, id_of
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line, report, report_note, say, write_result
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import question_record
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import moment_text
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.messages import Sent
from securemsg.client.state.questions import Asked
from securemsg.client.state.records import Status
from securemsg.client.times import iso
from securemsg.crypto.keys import random_id
from securemsg.protocol.envelope import MAX_CHOICES, Question
from securemsg.protocol.messages import MAX_EXPIRY

# People who can be asked at once.
MAX_ASKED = 16
# How long a question is open unless --timeout says otherwise, seconds.
DEFAULT_TIME = 600
# The exit status of the second choice; the others follow. The first has 0.
SECOND = Exit.SECOND_CHOICE


class Choices(click.ParamType[tuple[str, ...]]):
    """An option that takes choices with commas between."""

    name = "choices"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Check them."""
        if isinstance(value, tuple):
            return value
        choices = tuple(choice.strip() for choice in value.split(","))
        if not 2 <= len(choices) <= MAX_CHOICES:
            self.fail(f"a question has 2 to {MAX_CHOICES} choices", param, ctx)
        try:
            Question("", choices, 0)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return choices


@click.command()
@click.argument("name", type=Peers(), metavar="NAME[,NAME]...")
@click.argument("text", required=False)
@click.option(
    "--choices", type=Choices(), default="yes,no", show_default=True, metavar="A,B...", help="What can be chosen, 2 to 16."
)
@click.option("--first", is_flag=True, help="Of several NAMEs the first answer counts.")
@click.option("--all", "everybody", is_flag=True, help="Wait for the answers of all NAMEs.")
@click.option(
    "--id",
    "message_id",
    type=MessageId(),
    metavar="HEX",
    help="32 hex digits; with the same id, asking again waits for the answer to the same question.",
)
@json_option("Print each result as a JSON object.")
@shared
@click.pass_context
def ask(
    ctx: click.Context,
    name: tuple[str, ...],
    text: str | None,
    choices: tuple[str, ...],
    first: bool,
    everybody: bool,
    message_id: bytes | None,
) -> int:
    """
    Ask NAME the question TEXT (standard input where there is none, or it is -), and wait for the answer.

    NAME chooses with /answer in a chat, or with securemsg answer. The answer is signed and bound to this question, and only the
    first one counts. It is printed; the exit status is 0 for the first choice, 10 for the second, 11 for the third, and so on,
    and 7 if there is no answer within --timeout (10 minutes unless it is given): then the question is over.

    After a kill or Ctrl-C, ask again with the same --id, TEXT and --choices: it waits for the rest of the time, and NAME is not
    asked twice. A question that cannot be sent is withdrawn, and the exit status is that of send.

    Several NAMEs need --first or --all. With --all the exit status is the highest of all choices, or, where anybody did not
    answer, why. With --id each question gets an id that is made of it and NAME.
    """
    settings = settings_of(ctx)
    time = DEFAULT_TIME if settings.timeout is None else settings.timeout
    if not 1 <= time <= MAX_EXPIRY:
        raise click.UsageError("a question can be open for 1s to 30d: give another --timeout")
    with opened(settings) as context:
        names = tuple(dict.fromkeys(full_name(context.store, each) for each in name))
        if context.profile.name in names:
            raise error_for("own-name", context.profile.name)
        if len(names) > MAX_ASKED:
            raise click.UsageError(f"{len(names)} names; at most {MAX_ASKED} can be asked at once")
        if (first and everybody) or (len(names) > 1 and not (first or everybody)):
            raise click.UsageError("to ask several, say --first (the first answer counts) or --all (wait for everybody)")
        given = random_id() if message_id is None else message_id
        words = given_text(text)
        drafts = [Draft(to, given if len(names) == 1 else id_of(to, given) or given, words, choices) for to in names]
        questions.ask(context.store, drafts, ceil(context.now()) + time, now=context.now())
        return _Asking(context, given, [draft.message_id for draft in drafts], first).run()


class _Asking:
    """Questions that were committed, to one person or several."""

    def __init__(self, context: CommandContext, given: bytes, ids: list[bytes], first: bool) -> None:
        """
        @param given: what C{--id} is to be to wait for them again.
        @param first: the first answer counts, and no other is waited for.
        """
        self._context = context
        self._given = given
        self._ids = ids
        self._first = first
        # Why there is no answer.
        self._problems: dict[bytes, SecuremsgError] = {}

    def run(self) -> int:
        """
        Wait, and say what was answered.

        @return: the exit status.
        @raise SecuremsgError: why there is no answer, where one person was asked.
        """
        if not self._is_decided() and self._context.run_connected(self._wait, again=True) == Exit.INTERRUPTED:
            return Exit.INTERRUPTED
        if not self._has_first():
            for message_id in self._ids:
                if message_id not in self._problems:
                    questions.close(self._context.store, message_id)
        found = self._questions()
        answered = sorted((each for each in found if each[1].choice), key=lambda each: each[1].outcome.answer)
        if self._first and answered:
            self._problems.clear()
            found = answered = answered[:1]
        for sent, question in found:
            if question.choice:
                self._problems.pop(sent.id, None)
            else:
                self._problems.setdefault(sent.id, error_for("question-unanswered", sent.to))
            self._print(sent, question)
        if len(self._ids) == 1 and self._problems:
            raise self._problems[self._ids[0]]
        for problem in self._problems.values():
            report(problem, self._context.settings.as_json)
        failed = worst(problem.status for problem in self._problems.values())
        return failed or max((status_of(question) for _, question in answered), default=0)

    async def _wait(self, reactor: Any, connection: AccountConnection) -> int:
        """Wait until the questions are out, and then for the answers. What is not out by then is withdrawn."""
        limit = self._context.settings.time_limit
        patience: Timeout = limit if isinstance(limit, IdleTimeout) else self._left()
        connection.nudge()
        try:
            await connection.until(lambda: self._is_out(connection) or None, patience)
            for message_id in [] if self._has_first() else self._ids:
                try:
                    await follow(self._context.store, connection, message_id, ACCEPTED, 0)
                except SecuremsgError as problem:
                    self._problems[message_id] = problem
            self._withdraw()
            self._say_until()
            await connection.until(lambda: self._is_decided() or None, self._left())
        except CancelledError:
            again = f"to wait for the answer again, ask the same with --id {self._given.hex()}"
            report_note("interrupted", again, self._context.settings.as_json)
            raise
        finally:
            self._withdraw()
        return Exit.DONE

    def _withdraw(self) -> None:
        """Withdraw what is not out."""
        for sent, question in self._questions():
            if sent.status == Status.QUEUED and not question.choice:
                fate = "the question was withdrawn"
                if messages.withdraw(self._context.store, sent.id):
                    fate += ", but may have been sent already"
                problem = self._problems.get(sent.id)
                if problem is not None:
                    problem.hint = f"{fate}; {problem.hint}" if problem.hint else fate

    def _questions(self) -> list[tuple[Sent, Asked]]:
        """
        The questions as they stand.

        @raise SecuremsgError: C{disappeared}: one is not there any more.
        """
        sent = [messages.sent(self._context.store, message_id) for message_id in self._ids]
        found = [(each, each.question) for each in sent if each is not None and each.question is not None]
        if len(found) < len(self._ids):
            raise error_for("disappeared")
        return found

    def _left(self) -> float:
        """How long an answer can come, seconds."""
        return max(max(question.until for _, question in self._questions()) - self._context.now(), 0)

    def _is_out(self, connection: AccountConnection) -> bool:
        """Whether it is known what has become of all questions on their way."""
        store = self._context.store
        return self._is_decided() or all(settled(store, connection, each, ACCEPTED) is not None for each in self._ids)

    def _is_decided(self) -> bool:
        """Whether there is nothing more to wait for."""
        found, now = self._questions(), self._context.now()
        return self._has_first() or not any(
            question.is_open(now) and sent.id not in self._problems for sent, question in found
        )

    def _has_first(self) -> bool:
        """Whether the one answer that counts has come."""
        return self._first and any(question.choice for _, question in self._questions())

    def _say_until(self) -> None:
        """Say at a terminal until when we wait."""
        if sys.stderr.isatty() and not self._context.settings.as_json and not self._is_decided():
            now = self._context.now()
            names = ", ".join(sent.to for sent, _ in self._questions() if sent.id not in self._problems)
            say(f"asked {names}; waiting until {moment_text(now + self._left(), now)}")

    def _print(self, sent: Sent, question: Asked) -> None:
        """Print what was answered, and mark the answer as read: it was shown; programs are also told if nothing was."""
        if self._context.settings.as_json:
            write_result(json_line(record_of(sent, question)))
        elif question.choice:
            if sys.stderr.isatty():
                say(f"{sent.to} answered: {escape(question.choice)}")
            name = f"{sent.to}: " if len(self._ids) > 1 and not self._first else ""
            write_result(name + escape(question.choice))
        if question.choice:
            messages.mark_read(self._context.store, [question.outcome.answer], now=self._context.now())


def status_of(question: Asked) -> int:
    """The exit status that stands for what was chosen."""
    return SECOND - 1 + question.outcome.choice if question.outcome.choice else Exit.DONE


def record_of(sent: Sent, question: Asked) -> dict[str, object]:
    """A question and its answer, for programs."""
    outcome = question.outcome
    return {
        **question_record(question),
        "from": sent.to,
        "index": outcome.choice,
        "answered_at": iso(outcome.at) if outcome.at else None,
        "signature": outcome.signature.hex() or None,
        "device": outcome.device.hex() or None,
        "status": "answered" if question.choice else "unanswered" if sent.accepted_at else sent.status,
    }
