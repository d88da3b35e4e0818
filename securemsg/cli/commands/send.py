"""C{securemsg send}: commit a message, then wait as long as C{--wait} says."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from securemsg.account.beside import OwnerGone, OwnersConnection, finish
from securemsg.account.compose import checked, commit
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.names import full_name
from securemsg.account.rooms import is_room
from securemsg.account.timeouts import Timeout, rest_of
from securemsg.account.tracking import ACCEPTED, DELIVERED, HELD_UP, Connection, follow
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import context_for
from securemsg.cli.interrupts import Interrupted, interruptible
from securemsg.cli.lobby import announce_lobby
from securemsg.cli.output import json_line, report_elsewhere, report_note, say, write_line
from securemsg.cli.rendering import left_out_text, sent_record
from securemsg.cli.settings import PEER, json_option, settings_of, shared, suite_options, wire_option
from securemsg.cli.suites import pin
from securemsg.cli.times import Duration, KeepTime, short_time
from securemsg.client import messages
from securemsg.client.state.records import Status
from securemsg.crypto.keys import ID_SIZE, random_id
from securemsg.net.clock import monotonic_seconds
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT, MIN_EXPIRY

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

NONE = "none"
# The status of a message that was not accepted, if no outbox is kept.
NOT_KEPT = "not-kept"


class MessageId(click.ParamType[bytes]):
    """An option that takes a message id."""

    name = "hex"

    def convert(self, value: str | bytes, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Read 32 hex digits."""
        if isinstance(value, bytes):
            return value
        try:
            number = bytes.fromhex(value)
        except ValueError:
            number = b""
        if len(number) != ID_SIZE or len(value) != 2 * ID_SIZE:
            self.fail(f"{value!r} does not have {2 * ID_SIZE} hex digits", param, ctx)
        return number


@click.command()
@click.argument("name", type=PEER, metavar="NAME")
@click.argument("text", required=False)
@click.option(
    "--wait", type=click.Choice([ACCEPTED, DELIVERED, NONE]), default=ACCEPTED, show_default=True, help="What to wait for."
)
@click.option(
    "--expires",
    type=Duration(MIN_EXPIRY, MAX_EXPIRY),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="How long the server keeps it.",
)
@click.option(
    "--keep",
    type=KeepTime(),
    metavar="TIME",
    help="Delete it at both ends after TIME; off: never.  [default: as chosen for NAME]",
)
@click.option(
    "--id",
    "message_id",
    type=MessageId(),
    metavar="HEX",
    help="32 hex digits; with the same id, sending again cannot duplicate the message.",
)
@click.option("--to-newcomers", is_flag=True, help="In a room: send it also if somebody joins before it is accepted.")
@click.option("--no-receipts", is_flag=True, help="Do not ask NAME to confirm that it has arrived.")
@click.option("--no-queue", is_flag=True, help="Withdraw the message if it cannot be sent now.")
@suite_options("Key file: for --suite psk, or alone to write to `server` without a profile.", "--suite")
@wire_option
@json_option("Print the result as a JSON object.")
@shared
@click.pass_context
def send(
    ctx: click.Context,
    name: str,
    text: str | None,
    wait: str,
    expires: int,
    keep: int | None,
    message_id: bytes | None,
    no_queue: bool,
    to_newcomers: bool,
    no_receipts: bool,
    show_wire: bool,
) -> int:
    """
    Send TEXT, or standard input where there is none or it is -, to NAME.

    The text is UTF-8, at most 48 KiB; a final line end of standard input is dropped. The message is saved to disk first: if it
    cannot be sent now, it is sent with the next connection.

    To a room such as '#team' it goes to all its members. Who does not get it, and why, is said on standard error. If somebody
    has joined since it was written, it waits, unless --to-newcomers is given: securemsg room release '#team' sends it.

    To '#lobby' it goes to everybody there, through the server, whose operator can read it; sending enters it. Unless --wait is
    none, send waits there until the server has relayed the message, or refused it.

    With --keep 1d it disappears: here a day after the server has accepted it, and there a day after NAME has read it. NAME's
    program does that; it cannot be made to, and whoever has read it may remember it. contacts keep NAME 1d chooses it for all.

    With --key-file alone, NAME must be `server` and no profile is needed: all that counts is that both sides have the file,
    and what cannot be sent now is not kept. With --suite psk you write from your profile to a contact who has the same file.
    With --suite rsa you write to a contact who has an RSA key.
    """
    if no_queue and wait == NONE:
        raise click.UsageError("--no-queue needs --wait accepted or delivered")
    if no_receipts and wait == DELIVERED:
        raise click.UsageError("--wait delivered waits for a receipt: omit --no-receipts")
    if show_wire and wait == NONE:
        raise click.UsageError("--show-wire needs --wait accepted or delivered")
    with context_for(settings_of(ctx), name) as context:
        name = full_name(context.store, name)
        if name == context.profile.name:
            raise error_for("own-name", name)
        if wait == NONE and context.folder is None:
            raise click.UsageError("--wait none would send nothing: with --key-file alone no outbox is kept")
        if to_newcomers and not is_room(name):
            raise click.UsageError("--to-newcomers is for rooms")
        if keep and name == LOBBY_NAME:
            raise error_for("lobby-keep")
        body = given_text(text)
        number = message_id or random_id()

        pin(context, name)
        announce_lobby(context, name)
        commit(
            context.store,
            name,
            body,
            wait,
            now=context.now(),
            message_id=number,
            expiry=expires,
            to_newcomers=to_newcomers,
            receipts=not no_receipts,
            keep=keep,
        )
        if wait == NONE:
            context.wake_owner()
            return _finish(context, number, wait)
        return _SentMessage(context, number, wait, no_queue, show_wire).run()


def given_text(text: str | None) -> str:
    """
    The text on the command line; without one, or for C{-}, that on standard input.

    @raise SecuremsgError: see L{checked} and L{read_text}.
    """
    if text in (None, "-"):
        return read_text(sys.stdin.buffer)
    # The very bytes that were given: the locale's encoding may be another than UTF-8.
    return checked(os.fsencode(text).decode("utf-8", "surrogateescape"))


def read_text(stream: BinaryIO) -> str:
    """
    The text on standard input, without one line end.

    @raise SecuremsgError: C{too-large}: no more is read than that takes; C{not-utf8}; C{no-text}: nothing, or a line end alone.
    """
    if stream.isatty():
        say("securemsg: type the message; end it with Ctrl-D on a line of its own")
    # The longest text, a line end, and one byte that is too much.
    data = stream.read(MAX_TEXT + 3)
    data = data.removesuffix(b"\r\n") if data.endswith(b"\r\n") else data.removesuffix(b"\n")
    if not data:
        raise error_for("no-text")
    if len(data) > MAX_TEXT:
        raise error_for("too-large")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise error_for("not-utf8") from None


class _SentMessage:
    """One message on its way."""

    def __init__(
        self,
        context: CommandContext,
        number: bytes,
        wait: str,
        no_queue: bool,
        show_wire: bool,
    ) -> None:
        self._context = context
        self._number = number
        self._wait = wait
        self._no_queue = no_queue
        self._show_wire = show_wire

    def run(self) -> int:
        """
        Follow it.

        @raise SecuremsgError: it did not come as far as was asked for.
        """
        try:
            status = self._follow()
        except SecuremsgError as problem:
            raise self._failure(problem) from None
        if status != Exit.DONE:
            raise self._failure(SecuremsgError(Exit.INTERRUPTED, "interrupted", "interrupted"))
        return _finish(self._context, self._number, self._wait)

    def _follow(self) -> int:
        """Let the process that has the connection send it, or connect, and wait for it."""
        context, limit, started = self._context, self._context.settings.time_limit, monotonic_seconds()
        if context.wake_owner():
            if self._show_wire:
                report_elsewhere(context.settings.as_json)
            try:
                with interruptible():
                    finish(self._until_settled(OwnersConnection(context.profile_folder, context.address.in_words), limit))
                return Exit.DONE
            except Interrupted:
                return Exit.INTERRUPTED
            except OwnerGone:
                limit = rest_of(limit, monotonic_seconds() - started)

        async def connected(reactor: Any, connection: AccountConnection) -> int:
            await self._until_settled(connection, limit)
            return Exit.DONE

        return context.run_connected(connected, show_wire=self._show_wire)

    async def _until_settled(self, connection: Connection, limit: Timeout) -> None:
        await follow(self._context.store, connection, self._number, self._wait, limit)

    def _failure(self, problem: SecuremsgError) -> SecuremsgError:
        """Add to an error what becomes of the message; C{--no-queue} withdraws it."""
        sent = messages.sent(self._context.store, self._number)
        if sent is None:
            # It has disappeared.
            return problem
        hint = problem.hint
        held_up_by = problem.code if problem.code in HELD_UP else ""
        if sent.status == "queued":
            number = sent.id.hex()
            if self._context.folder is None:
                fate = f"the message is not kept; send it again with --id {number}, so that it arrives only once"
            elif self._no_queue:
                may_be_out = messages.withdraw(self._context.store, self._number)
                fate = f"message {number} was withdrawn" + (", but may have been sent already" if may_be_out else "")
            elif problem.status == Exit.REFUSED or problem.code in HELD_UP:
                fate = f"message {number} stays in the outbox"
            else:
                fate = f"message {number} stays in the outbox and is sent with the next connection"
            hint = f"{fate}; {hint}" if hint else fate
        if self._context.settings.as_json:
            _print(self._context, self._number, held_up_by)
        return SecuremsgError(problem.status, problem.code, problem.text, hint)


def _print(context: CommandContext, number: bytes, held_up_by: str = "") -> None:
    """
    Print the state of a message for a program.

    @param held_up_by: why it does not go out, where the message itself does not say.
    """
    sent = messages.sent(context.store, number)
    if sent is None:
        # It has disappeared.
        return
    record = sent_record(sent)
    if context.folder is None and sent.status == Status.QUEUED:
        # The outbox is in memory, and ends with this process.
        record["status"] = NOT_KEPT
    write_line(json_line({**record, "code": record["code"] or held_up_by}))


def _finish(context: CommandContext, number: bytes, wait: str) -> int:
    """Print what became of the message; for people, on standard error and only at a terminal."""
    if context.settings.as_json:
        _print(context, number)
        return Exit.DONE
    sent = messages.sent(context.store, number)
    if sent is not None:
        for each in sent.missed:
            text = f"not sent to {each.account}: {left_out_text(each.account, each.code)}"
            report_note(each.code, text, context.settings.as_json)
        if sys.stderr.isatty():
            # What was waited for, also where more has happened since.
            is_delivered = wait == DELIVERED or not sent.accepted_at
            status, moment = (sent.status, sent.delivered_at) if is_delivered else (ACCEPTED, sent.accepted_at)
            say(f"{status} {short_time(moment, context.now())}" if moment else status)
    return Exit.DONE
