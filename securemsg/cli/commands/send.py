"""C{securemsg send}: commit a message, then wait as long as C{--wait} says."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from securemsg.account.compose import checked, commit_all, draft_of
from securemsg.account.errors import error_for
from securemsg.account.names import full_name
from securemsg.account.rooms import is_room
from securemsg.account.tracking import ACCEPTED, DELIVERED
from securemsg.cli.guest import context_for
from securemsg.cli.lobby import announce_lobby
from securemsg.cli.output import say
from securemsg.cli.sending import NONE, Sending
from securemsg.cli.settings import PEER, json_option, settings_of, shared, suite_options, wire_option
from securemsg.cli.suites import pin
from securemsg.cli.times import At, Duration, KeepTime
from securemsg.crypto.keys import ID_SIZE, digest
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT, MIN_EXPIRY

# Names that can be given at once.
MAX_NAMES = 50
OF_SEVERAL = b"securemsg/1 message of several"


class Peers(click.ParamType[tuple[str, ...]]):
    """An argument that takes one name, or several with commas between."""

    name = "names"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """
        Check each.

        @raise SecuremsgError: one is invalid.
        """
        if isinstance(value, tuple):
            return value
        names = value.split(",")
        if len(names) > MAX_NAMES:
            self.fail(f"{len(names)} names; at most {MAX_NAMES} can be given at once", param, ctx)
        return tuple(PEER.convert(name, param, ctx) for name in names)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The last name."""
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + item.value) for item in PEER.shell_complete(ctx, param, last)]


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
@click.argument("name", type=Peers(), metavar="NAME[,NAME]...")
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
    "--at", type=At(), metavar="TIME", help="Send it then: 18:30, 2026-12-24T18:30, or 2h for in two hours."
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
@click.option("--quiet", is_flag=True, help="At a terminal, do not say that it was accepted.")
@suite_options("Key file: for --suite psk, or alone to write to `server` without a profile.", "--suite")
@wire_option
@json_option("Print the result as a JSON object.")
@shared
@click.pass_context
def send(
    ctx: click.Context,
    name: tuple[str, ...],
    text: str | None,
    wait: str,
    expires: int,
    keep: int | None,
    at: int | None,
    message_id: bytes | None,
    no_queue: bool,
    to_newcomers: bool,
    no_receipts: bool,
    show_wire: bool,
    quiet: bool,
) -> int:
    """
    Send TEXT, or standard input where there is none or it is -, to NAME, or to each of several NAMEs.

    The text is UTF-8, at most 48 KiB; a final line end of standard input is dropped. The message is saved to disk first: if it
    cannot be sent now, it is sent with the next connection.

    To several, it is a message of its own to each. All are saved at once; the exit status is the worst of theirs (7 counts
    least, then 6), and with --id each gets an id that is made of it and NAME: one NAME alone gets the id as it is.

    To a room such as '#team' it goes to all its members. Who does not get it, and why, is said on standard error. If somebody
    has joined since it was written, it waits, unless --to-newcomers is given: securemsg room release '#team' sends it.

    To '#lobby' it goes to everybody there, through the server, whose operator can read it; sending enters it. Unless --wait is
    none, send waits there until the server has relayed the message, or refused it.

    With --keep 1d it disappears: here a day after the server has accepted it, and there a day after NAME has read it. NAME's
    program does that; it cannot be made to, and whoever has read it may remember it. contacts keep NAME 1d chooses it for all.

    With --at it waits in the outbox until then, and send ends at once. It is sent by whatever is connected at that time, such
    as recv --follow, chat or a bot; if nothing is, with the next connection. Until then, outbox cancel ID withdraws it.

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
    if at:
        if ctx.get_parameter_source("wait") is not ParameterSource.DEFAULT or no_queue or show_wire:
            raise click.UsageError("--at does not wait: omit --wait, --no-queue and --show-wire")
        wait = NONE
    with context_for(settings_of(ctx), name[0]) as context:
        names = tuple(dict.fromkeys(full_name(context.store, each) for each in name))
        if context.profile.name in names:
            raise error_for("own-name", context.profile.name)
        if wait == NONE and context.folder is None:
            raise click.UsageError("with --key-file alone no outbox is kept: --at and --wait none would send nothing")
        if to_newcomers and not all(map(is_room, names)):
            raise click.UsageError("--to-newcomers is for rooms")
        if keep and LOBBY_NAME in names:
            raise error_for("lobby-keep")
        if at and LOBBY_NAME in names:
            raise click.UsageError("--at is not for the lobby, which is left before then")
        body = given_text(text)
        drafts = [
            draft_of(
                to,
                body,
                wait,
                message_id=message_id if len(names) == 1 else id_of(to, message_id),
                expiry=expires,
                to_newcomers=to_newcomers,
                receipts=not no_receipts,
                keep=keep,
                at=at or 0,
            )
            for to in names
        ]
        for to in names:
            pin(context, to)
            announce_lobby(context, to)
        sending = Sending(context, wait, no_queue=no_queue, show_wire=show_wire, quiet=quiet)
        for to, written in zip(names, commit_all(context.store, drafts, now=context.now()), strict=True):
            sending.add(to, written)
        return sending.run()


def id_of(name: str, given: bytes | None) -> bytes | None:
    """The id of one of several messages, always the same for the same C{--id}."""
    return None if given is None else digest(OF_SEVERAL, name.encode("utf-8"), given)[:ID_SIZE]


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
