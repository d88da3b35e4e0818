"""Questions that C{securemsg ask} has committed: wait for the answers, and say what they are."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import CancelledError

from securemsg.account import questions
from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for, worst
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.account.tracking import ACCEPTED, follow, settled
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line, report, report_note, say, write_result
from securemsg.cli.rendering import question_record
from securemsg.cli.times import moment_text
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.messages import Sent
from securemsg.client.state.questions import Asked
from securemsg.client.state.records import Status
from securemsg.client.times import iso


class Asking:
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
        send_limit: Timeout = limit if isinstance(limit, IdleTimeout) else self._left()
        connection.nudge()
        try:
            await connection.until(lambda: self._is_out(connection) or None, send_limit)
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
    # The others follow that of the second.
    return Exit.SECOND_CHOICE - 1 + question.outcome.choice if question.outcome.choice else Exit.DONE


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
