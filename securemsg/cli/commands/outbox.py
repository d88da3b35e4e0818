"""C{securemsg outbox}: what waits to be sent, and why; withdraw it, or try it again."""

from __future__ import annotations

import string
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.tracking import BLOCKING, HELD_UP, NO_KEY, held_up_in
from securemsg.cli.context import CommandContext
from securemsg.cli.helptext import Group
from securemsg.cli.output import columns, json_line, report_note, say, write_line, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.progress import progress
from securemsg.cli.rendering import amount, kind_name, line_record
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import moment_text, short_time
from securemsg.cli.wrapping import cut, fill
from securemsg.client import histories, messages, unsent
from securemsg.client.escape import escape
from securemsg.client.messages import ROOM_CHANGED, Sent
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.records import Status
from securemsg.client.times import iso
from securemsg.client.unsent import SHORTEST_ID
from securemsg.crypto.keys import ID_SIZE
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import WITH_TEXT

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# How long failed messages are listed, and messages are found by the first digits of their ids, seconds.
RECENT = 30 * 86400
# Digits of an id that are shown.
SHOWN_ID = 8
# What is shown of a text where the output is no terminal, columns.
WIDTH = 120
# What has become of messages that do not wait.
ENDED: dict[str, str] = {Status.FAILED: "has failed", Status.WITHDRAWN: "was withdrawn"}
# Before the reason that stands below a message.
INDENT = "    "
# The states of what is listed.
WAITING, HELD, FAILED, SCHEDULED = "waiting", "held", "failed", "scheduled"
# Why a message is held back until somebody acts, and with which command, in a line's space.
HELD_WORDS = {
    BLOCKING: ("identity changed", "securemsg verify {name}"),
    NO_KEY: ("{name} has no RSA key", "securemsg contacts {name} --set-suite pqxdh"),
    ROOM_CHANGED: ("somebody has joined since", "securemsg room release '{name}'"),
    "room-forked": ("the server shows another member list", "securemsg room members '{name}'"),
    "room-broken": ("the room is broken", "securemsg room renew '{name}'"),
}


class MessagePrefix(click.ParamType[str]):
    """An argument that takes a message id, or its first digits."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read hex digits."""
        digits = value.lower()
        if not SHORTEST_ID <= len(digits) <= 2 * ID_SIZE or not set(digits) <= set(string.hexdigits):
            self.fail(f"{value!r} is not {SHORTEST_ID} to {2 * ID_SIZE} hex digits", param, ctx)
        return digits


PREFIX = MessagePrefix()
json_row = json_option("Print JSON, one object per line.")


@frozen
class Reason:
    """
    Why a message is not sent.

    @ivar state: in a word; C{text}: why; C{hint}: what to do.
    """

    state: str
    code: str
    text: str
    hint: str


BEHIND = Reason(WAITING, "", "behind a message that waits", "")
LATER = Reason(SCHEDULED, "", "its time has not come", "securemsg outbox retry ID")


@click.group(cls=Group, invoke_without_command=True)
@json_row
@shared
@click.pass_context
def outbox(ctx: click.Context) -> int:
    """
    List the messages that wait to be sent, and why; and those that have failed in the last 30 days.

    An ID is what stands at the beginning of a line; four digits are enough where no other message begins so.
    """
    if ctx.invoked_subcommand is None:
        with opened(settings_of(ctx)) as context:
            _show(context)
    return Exit.DONE


@outbox.command()
@click.argument("ids", nargs=-1, required=True, type=PREFIX, metavar="ID...")
@json_row
@shared
@click.pass_context
def cancel(ctx: click.Context, ids: tuple[str, ...]) -> int:
    """Withdraw messages that were not accepted yet."""
    with opened(settings_of(ctx)) as context:
        # All are found before any is withdrawn.
        for message in [_find(context, each, (Status.QUEUED,)) for each in ids]:
            may_be_out = messages.withdraw(context.store, message.id)
            left = messages.sent(context.store, message.id)
            if left is None or left.status != Status.WITHDRAWN:
                raise error_for("already-accepted", _short(message))
            if context.settings.as_json:
                write_line(json_line({**line_record(left, context.profile.name), "may_be_out": may_be_out}))
            else:
                warning = f", but {message.to} may have got it already" if may_be_out else ""
                say(f"message {_short(message)} to {message.to} is withdrawn{warning}")
        context.wake_owner()
    return Exit.DONE


@outbox.command()
@click.argument("ids", nargs=-1, type=PREFIX, metavar="[ID]...")
@json_row
@shared
@click.pass_context
def retry(ctx: click.Context, ids: tuple[str, ...]) -> int:
    """
    Try at once to send what waits: all whose time has come, or the messages with these IDs, which may also be scheduled for
    later, or have failed or been withdrawn.
    They keep their ids.

    Messages that are held back until you decide something stay in the outbox.
    """
    with opened(settings_of(ctx)) as context:
        wanted = (Status.QUEUED, Status.FAILED, Status.WITHDRAWN)
        chosen = [_find(context, each, wanted) for each in ids]
        for message in chosen:
            unsent.retry(context.store, message.id, context.now())
        tried = [message.id for message in chosen] if ids else unsent.waiting_ids(context.store, context.now())
        if not tried:
            report_note("nothing-waits", "no message waits", context.settings.as_json)
            return Exit.DONE
        unsent.clear_codes(context.store, HELD_UP)
        status = context.run_connected(Attempt(context, deque(tried)).run)
        return status or report_attempt(context, tried)


def _show(context: CommandContext) -> None:
    """List what waits and what has failed."""
    store, now, as_json = context.store, context.now(), context.settings.as_json
    found = unsent.waiting(store)
    with progress("looking for failed messages", histories.count(store, histories.conversations(store))) as step:
        failed = unsent.failed(store, int(now) - RECENT, step)
    with store.reading() as records:
        listed = [(message, reason_of(records, message, now)) for message in failed]
        stuck: set[Conversation] = set()
        for message in found.messages:
            reason = reason_of(records, message, now)
            if reason is not LATER and not reason.code and message.conversation in stuck:
                reason = BEHIND
            elif reason.code:
                stuck.add(message.conversation)
            listed.append((message, reason))
    width = columns() or WIDTH
    for reason, group in groupby(listed, key=lambda row: row[1]):
        for message, _ in group:
            record = line_record(message, context.profile.name)
            record |= {"code": reason.code, "why": reason.text, "hint": reason.hint}
            record["at"] = iso(message.at) if message.at else None
            write_record(record, as_json, row_text(message, reason.state, now, width))
        if reason.code and not as_json:
            write_line(reason_text(reason, columns()))
    if not as_json:
        _show_rest(found)
        if failed:
            say("securemsg: to send a failed message again: securemsg outbox retry ID")
        if any(reason is LATER for _, reason in listed):
            say("securemsg: what is scheduled is sent at its time; to send one now: securemsg outbox retry ID")
        if any(reason.state == WAITING for _, reason in listed):
            say("securemsg: what waits is sent with the next connection; to try now: securemsg outbox retry")
        if not listed:
            say("securemsg: no message waits")


def _show_rest(found: unsent.Waiting) -> None:
    """Say what else waits."""
    if found.count > len(found.messages):
        say(f"securemsg: besides these, {amount(found.count - len(found.messages), 'message')} to be sent")
    kinds = {"receipts": found.receipts, "changes of rooms": found.lists, "others": found.others}
    counts = [f"{what} {count}" for what, count in kinds.items() if count]
    if counts:
        say(f"securemsg: besides messages there wait: {', '.join(counts)}")


def row_text(message: Sent, state: str, now: float, width: int) -> str:
    """One message in a line: its id, to whom, when, its state, and the beginning of its text."""
    text = message.text if message.kind in WITH_TEXT else f"({kind_name(message.kind)})"
    when = moment_text(message.at, now) if state == SCHEDULED else short_time(message.sent_at, now)
    head = f"{_short(message)}  {escape(message.to)}  {when}  {state}  "
    return cut(head + escape(text), width)


def reason_text(reason: Reason, width: int) -> str:
    """
    Why messages are not sent and what helps, below them; wrapped between words.

    @param width: of the terminal; 0: not a terminal, nothing is wrapped.
    """
    between = ": " if reason.state == HELD else "; "
    text = escape(f"{reason.text}{between}{reason.hint}" if reason.hint else reason.text)
    return fill(text, width, INDENT, INDENT)


def reason_of(records: IRecords, message: Sent, now: float) -> Reason:
    """Why a message is not sent."""
    if message.at > now:
        return LATER
    held = held_up_in(records, message)
    if held:
        text, hint = (words.replace("{name}", message.to) for words in HELD_WORDS[held])
        return Reason(HELD, held, text, hint)
    # A code of HELD_UP may be left over from when the message was held back.
    if message.code and message.code not in HELD_UP:
        problem = error_for(message.code, message.to)
        return Reason(FAILED if message.status == Status.FAILED else WAITING, message.code, problem.text, problem.hint)
    return Reason(WAITING, "", "waiting for the connection", "securemsg outbox retry")


def _short(message: Sent) -> str:
    return message.id.hex()[:SHOWN_ID]


def _find(context: CommandContext, prefix: str, wanted: tuple[str, ...]) -> Sent:
    """
    The one message with a status that is wanted whose id begins like this.

    @raise SecuremsgError: C{no-such-message}; C{already-accepted}, C{not-waiting}: it has another status.
    @raise UsageError: it is not said which.
    """
    store = context.store
    with progress("searching", histories.count(store, histories.conversations(store))) as step:
        found = unsent.find(store, prefix, int(context.now()) - RECENT, step)
    possible = [message for message in found if message.status in wanted]
    if len(possible) > 1:
        raise click.UsageError(f"several ids begin with {prefix}; give more of the id")
    if possible:
        return possible[0]
    if not found:
        raise error_for("no-such-message", prefix)
    if found[0].status in (Status.ACCEPTED, Status.DELIVERED):
        raise error_for("already-accepted", _short(found[0]))
    raise error_for("not-waiting", _short(found[0]), text=f"message {{name}} does not wait: it {ENDED[found[0].status]}")


class Attempt:
    """Has the owner of the connection send messages now, and waits until something has become of each."""

    def __init__(self, context: CommandContext, left: deque[bytes]) -> None:
        self._context = context
        self._left = left
        # Conversations in which a message waits: those behind it wait, too.
        self._stuck: set[Conversation] = set()

    async def run(self, reactor: Any, connection: AccountConnection) -> int:
        """Ask, and wait."""
        limit = self._context.settings.time_limit
        await connection.ask("send-now", timeout=limit)
        await connection.until(self._look, limit)
        return Exit.DONE

    def _look(self) -> bool | None:
        """C{True}: something has become of every message."""
        with self._context.store.reading() as records:
            while self._left:
                message = messages.sent_in(records, self._left[0])
                if message is not None and message.status == Status.QUEUED and message.conversation not in self._stuck:
                    if not (message.code or held_up_in(records, message)):
                        return None
                    self._stuck.add(message.conversation)
                self._left.popleft()
        return True


def report_attempt(context: CommandContext, ids: list[bytes]) -> int:
    """
    Say what became of messages.

    @raise SecuremsgError: one was not accepted, and why: the first of them.
    """
    left = []
    with context.store.reading() as records:
        for each in ids:
            message = messages.sent_in(records, each)
            assert message is not None, "it was found before"
            if context.settings.as_json:
                write_line(json_line(line_record(message, context.profile.name)))
            if message.status not in (Status.ACCEPTED, Status.DELIVERED):
                left.append((message, held_up_in(records, message) or message.code))
    if not left:
        if not context.settings.as_json:
            say("1 message was accepted" if len(ids) == 1 else f"{len(ids)} messages were accepted")
        return Exit.DONE
    first, code = left[0]
    problem = error_for(code or "not-accepted", first.to)
    done = f"{len(ids) - len(left)} of {len(ids)} messages were accepted; " if len(ids) > 1 else ""
    text = f"{done}message {_short(first)} to {first.to} was not accepted: {problem.text}"
    raise SecuremsgError(problem.status, problem.code, text, problem.hint)
