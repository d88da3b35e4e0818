"""Messages that C{securemsg send} has committed: wait for them, and say what became of each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from securemsg.account.beside import OwnerGone, OwnersConnection, finish
from securemsg.account.errors import Exit, SecuremsgError, worst
from securemsg.account.timeouts import Timeout, rest_of
from securemsg.account.tracking import ACCEPTED, DELIVERED, HELD_UP, Connection, follow, is_enough
from securemsg.cli.context import CommandContext
from securemsg.cli.interrupts import Interrupted, interruptible
from securemsg.cli.output import json_line, report, report_elsewhere, report_note, say, write_result
from securemsg.cli.rendering import left_out_text, sent_record
from securemsg.cli.times import moment_text, short_time
from securemsg.client import messages
from securemsg.client.state.records import Status
from securemsg.client.times import iso
from securemsg.net.clock import monotonic_seconds

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# What is waited for, beside L{ACCEPTED} and L{DELIVERED}.
NONE = "none"
# The status of a message that was not accepted, if no outbox is kept.
NOT_KEPT = "not-kept"


class Sending:
    """One message, or one to each of several."""

    def __init__(
        self, context: CommandContext, wait: str, *, no_queue: bool = False, show_wire: bool = False, quiet: bool = False
    ) -> None:
        """
        @param wait: L{ACCEPTED}, L{DELIVERED} or L{NONE}.
        @param no_queue: withdraw what cannot be sent now.
        @param quiet: do not say at a terminal what was accepted.
        """
        self._context = context
        self._wait = wait
        self._no_queue = no_queue
        self._show_wire = show_wire
        self._quiet = quiet
        # Of each message that was committed what is wrong with it, once that is known; and those that have come far enough.
        self._problems: dict[bytes, SecuremsgError | None] = {}
        self._arrived: set[bytes] = set()
        self._refused: list[tuple[str, SecuremsgError]] = []
        self._write: Callable[[], tuple[str, bytes]] | None = None

    def add(self, to: str, written: bytes | SecuremsgError) -> None:
        """Take the id of a message that was committed, or why there is none."""
        if isinstance(written, SecuremsgError):
            self._refused.append((to, written))
        else:
            self._problems[written] = None

    def run(self, write: Callable[[], tuple[str, bytes]] | None = None) -> int:
        """
        Wait for them, and say what became of each.

        @param write: commits one more message once all that waits for us is here, or cannot come; it gives to whom, and the id.

        @return: the worst of their exit statuses.
        @raise SecuremsgError: what is wrong with the one message that there is.
        """
        if self._wait == NONE:
            self._context.wake_owner()
        elif self._problems or write is not None:
            self._write = write
            self._wait_for_all()
        failures = list(self._refused)
        for number, problem in self._problems.items():
            if problem is None:
                self._report(number)
            else:
                sent = messages.sent(self._context.store, number)
                failures.append(("" if sent is None else sent.to, self._failure(number, problem)))
        if failures and len(self._problems) + len(self._refused) == 1:
            raise failures[0][1]
        for to, failure in failures:
            named = f"to {to}: {failure.text}" if to else failure.text
            report(SecuremsgError(failure.status, failure.code, named, failure.hint), self._context.settings.as_json)
        return worst(failure.status for _, failure in failures)

    def _wait_for_all(self) -> None:
        try:
            status = self._follow()
            rest = SecuremsgError(Exit.INTERRUPTED, "interrupted", "interrupted") if status != Exit.DONE else None
        except SecuremsgError as problem:
            if not self._problems:
                raise
            rest = problem
        for number in self._problems.keys() - self._arrived:
            sent = messages.sent(self._context.store, number)
            if sent is None or not is_enough(sent, self._wait):
                self._problems[number] = self._problems[number] or rest

    def _follow(self) -> int:
        """
        Let the process that has the connection send them, or connect, and wait for them.

        @raise SecuremsgError: one of them did not come as far as was asked for.
        """
        context, limit, started = self._context, self._context.settings.time_limit, monotonic_seconds()
        if context.wake_owner():
            if self._show_wire:
                report_elsewhere(context.settings.as_json)
            try:
                with interruptible():
                    self._write_one()
                    finish(self._until_settled(OwnersConnection(context.profile_folder, context.address.in_words), limit))
                return Exit.DONE
            except Interrupted:
                return Exit.INTERRUPTED
            except OwnerGone:
                limit = rest_of(limit, monotonic_seconds() - started)

        async def connected(reactor: Any, connection: AccountConnection) -> int:
            if self._write is not None:
                with contextlib.suppress(SecuremsgError):
                    await connection.ask("drained", timeout=limit)
                self._write_one()
                connection.nudge()
            await self._until_settled(connection, limit)
            return Exit.DONE

        return context.run_connected(connected, show_wire=self._show_wire)

    def _write_one(self) -> None:
        if self._write is not None:
            self.add(*self._write())
            self._write = None

    async def _until_settled(self, connection: Connection, limit: Timeout) -> None:
        started = monotonic_seconds()
        for number, problem in list(self._problems.items()):
            if problem is not None or number in self._arrived:
                continue
            try:
                left = rest_of(limit, monotonic_seconds() - started)
                await follow(self._context.store, connection, number, self._wait, left)
                self._arrived.add(number)
            except SecuremsgError as error:
                self._problems[number] = self._context.reworded(error)
        for problem in self._problems.values():
            if problem is not None:
                raise problem

    def _failure(self, number: bytes, problem: SecuremsgError) -> SecuremsgError:
        """Add to an error what becomes of the message; C{--no-queue} withdraws it."""
        sent = messages.sent(self._context.store, number)
        if sent is None:
            # It has disappeared.
            return problem
        hint = problem.hint
        held_up_by = problem.code if problem.code in HELD_UP else ""
        if sent.status == "queued":
            shown = number.hex()
            if self._context.folder is None:
                fate = f"the message is not kept; send it again with --id {shown}, so that it arrives only once"
            elif self._no_queue:
                may_be_out = messages.withdraw(self._context.store, number)
                fate = f"message {shown} was withdrawn" + (", but may have been sent already" if may_be_out else "")
            elif problem.status == Exit.REFUSED or problem.code in HELD_UP:
                fate = f"message {shown} stays in the outbox"
            else:
                fate = f"message {shown} stays in the outbox and is sent with the next connection"
            hint = f"{fate}; {hint}" if hint else fate
        elif problem.status == Exit.INTERRUPTED:
            hint = f"message {number.hex()} is {sent.status}"
        if self._context.settings.as_json:
            self._print(number, held_up_by)
        return SecuremsgError(problem.status, problem.code, problem.text, hint)

    def _print(self, number: bytes, held_up_by: str = "") -> None:
        """
        Print the state of a message for a program.

        @param held_up_by: why it does not go out, where the message itself does not say.
        """
        sent = messages.sent(self._context.store, number)
        if sent is None:
            # It has disappeared.
            return
        record = sent_record(sent)
        if self._context.folder is None and sent.status == Status.QUEUED:
            # The outbox is in memory, and ends with this process.
            record["status"] = NOT_KEPT
        if sent.status == Status.QUEUED and sent.sent_at > self._context.now():
            record["at"] = iso(sent.sent_at)
        write_result(json_line({**record, "code": record["code"] or held_up_by}))

    def _report(self, number: bytes) -> None:
        """Print what became of a message; for people, on standard error and only at a terminal."""
        if self._context.settings.as_json:
            self._print(number)
            return
        sent = messages.sent(self._context.store, number)
        if sent is None:
            return
        for each in sent.missed:
            text = f"not sent to {each.account}: {left_out_text(each.account, each.code)}"
            report_note(each.code, text, self._context.settings.as_json)
        if sys.stderr.isatty() and not self._quiet:
            # What was waited for, also where more has happened since.
            is_delivered = self._wait == DELIVERED or not sent.accepted_at
            status, moment = (sent.status, sent.delivered_at) if is_delivered else (ACCEPTED, sent.accepted_at)
            to = f"{sent.to}: " if len(self._problems) > 1 else ""
            now = self._context.now()
            if sent.status == Status.QUEUED and sent.sent_at > now:
                say(f"{to}to be sent {moment_text(sent.sent_at, now)}")
                return
            say(to + (f"{status} {short_time(moment, now)}" if moment else status))
