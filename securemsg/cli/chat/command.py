"""C{securemsg chat}: with a prompt where there is a terminal for it, else line by line."""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click
from attrs import evolve
from twisted.internet.stdio import StandardIO

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, error_for
from securemsg.account.names import full_name
from securemsg.cli.chat.console import Console, blocking_restored
from securemsg.cli.chat.conversation import Chat, ChatOptions
from securemsg.cli.chat.ending import ENDING_TIME, LEAVING_TIME, finish
from securemsg.cli.chat.screen import Screen
from securemsg.cli.chat.slash import LEAVING_WORD
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import context_for
from securemsg.cli.notifier import Notifier
from securemsg.cli.output import OutputClosed, always_continue, columns, report_note, say, write_later
from securemsg.cli.settings import PEER, json_option, settings_of, shared, suite_options, wire_option
from securemsg.cli.suites import pin
from securemsg.client.state import settings
from securemsg.protocol.messages import MAX_TEXT

STDERR = 2
# Lines that may wait while our output is read slowly, and that are committed together.
MAX_WAITING = 256

_COMPLAINTS = {
    "too-long": f"-- a line is longer than {MAX_TEXT} bytes and was not sent",
    "not-utf8": "-- a line is not UTF-8 and was not sent",
}


@click.command()
@click.argument("name", type=PEER, metavar="NAME")
@suite_options("Key file: for --suite psk, or alone to chat with `server` without a profile.", "--suite")
@wire_option
@click.option("--commands", is_flag=True, help="Obey `exit` and /commands in piped input.")
@click.option("--bell", is_flag=True, help="Ring the terminal's bell for messages to you, in a room for @ and your name.")
@click.option("--no-receipts", is_flag=True, help="Do not ask NAME to confirm what arrives.")
@json_option("Line by line, even on a terminal; messages are printed as JSON, one object per line.")
@shared
@click.pass_context
def chat(ctx: click.Context, name: str, show_wire: bool, commands: bool, bell: bool, no_receipts: bool) -> int:
    """
    Chat with NAME: interactive on a terminal, line by line on a pipe.

    At a terminal, `exit`, /quit or Ctrl-D leaves and /help lists the commands. Before your own lines stands how far they have
    come: · waiting, ✓ accepted by the server, ✓✓ delivered, ✓r read, ✗ not sent, – withdrawn.

    Piped lines are sent as text, unless --commands is given.

    In a room such as '#team' you talk with all its members; see securemsg room. A line with @NAME is marked for NAME.

    In '#lobby' you talk with everybody there, through the server, whose operator can read it. `chat` enters it, and what is
    said there waits for you until /leave.

    With --key-file alone, NAME must be `server` and no profile is needed: all that counts is that both sides have the file.
    With --suite psk you chat from your profile with a contact who has the same file, with --suite rsa with one who has an RSA
    key.
    """
    with context_for(settings_of(ctx), name) as context:
        name = full_name(context.store, name)
        if name == context.profile.name:
            raise error_for("own-name", name)
        with context.store.reading() as records:
            ringing = ring if bell or settings.get(records).bell else None
        at_terminal = os.isatty(0) and os.isatty(1)
        prompt = at_terminal and not context.settings.as_json and os.environ.get("TERM", "") not in ("", "dumb")
        show_line: Callable[[str], object] = say
        if prompt:
            # Imported only here: it is slow, and a chat through a pipe does not need it.
            from securemsg.cli.chat.prompt import Above, interact

            # One queue for everything that shows above the line being typed.
            above = Above(screen(True))
            show_line = above.note

        async def work(reactor: Any, connection: AccountConnection) -> int:
            pin(context, name)
            notifier = Notifier(context, reactor, lambda text: report_note("notify", text, context.settings.as_json))
            options = ChatOptions(asks_receipts=not no_receipts, bell=ringing)
            watching = notifier.watch(connection)
            try:
                if prompt:
                    return await interact(context, connection, name, reactor, evolve(options, screen=above.screen), above)
                if at_terminal and not context.settings.as_json:
                    options = evolve(options, screen=screen(False))
                return await _Piped(context, connection, name, reactor, at_terminal, commands or os.isatty(0), options).talk()
            finally:
                watching.cancel()

        try:
            with blocking_restored(0, 1, 2):
                return context.run_connected(work, again=True, prompt=prompt, show_wire=show_wire, show=show_line)
        except OutputClosed:
            return Exit.DONE


def ring() -> None:
    """Ring the bell of the terminal that standard error goes to."""
    if os.isatty(STDERR):
        os.write(STDERR, b"\a")


def screen(has_prompt: bool) -> Screen:
    """How lines are shown at this terminal."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    has_colour = has_prompt and not os.environ.get("NO_COLOR")
    return Screen(shutil.get_terminal_size, has_colour, encoding == "utf8", has_prompt)


class _Piped:
    """A chat over the plain console."""

    def __init__(
        self,
        context: CommandContext,
        connection: AccountConnection,
        name: str,
        reactor: Any,
        at_terminal: bool,
        commands: bool,
        options: ChatOptions,
    ) -> None:
        self._context = context
        self._connection = connection
        self._reactor = reactor
        self._at_terminal = at_terminal
        self._lines: deque[str] = deque()
        self._is_over = False
        self._is_left = False
        self._is_held = False
        # Lines that had come in the turn before; below 0: nothing is gathered.
        self._gathered = -1
        self._input: StandardIO | None = None
        self._console = Console(self._typed, self._complain, self._ended)
        self._conversation = Chat(
            context,
            connection,
            name,
            write=self._write,
            notify=self._notify,
            columns=columns,
            commands=commands,
            patience=0 if at_terminal else ENDING_TIME,
            options=options,
        )

    async def talk(self) -> int:
        """Take lines to the end of the input, then wait for what is still on its way."""
        conversation, connection = self._conversation, self._connection
        if self._at_terminal:
            await self._notify(f"-- chatting {conversation.title_in_line()}. /help lists the commands, `{LEAVING_WORD}` leaves")
        try:
            self._input = StandardIO(self._console, reactor=self._reactor)
        except OSError:
            # Standard input is not there: it has ended.
            self._is_over = True
        await conversation.open()
        while True:
            await conversation.show_new()
            while self._lines and not self._is_left:
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), MAX_WAITING))]
                self._is_left = not await conversation.enter(*lines)
            if self._is_left or (self._is_over and not self._lines):
                break
            self._hold_back(False)
            await connection.until(self._something, None)
        self._console.stop()
        if self._context.settings.retry and self._context.settings.timeout is None and not self._at_terminal:
            await self._all_accepted()
        return await finish(
            self._context, connection, conversation, self._reactor, LEAVING_TIME if self._at_terminal else ENDING_TIME
        )

    async def _all_accepted(self) -> None:
        """Wait until the server has answered for every line, however long that takes."""
        conversation, unanswered = self._conversation, self._conversation.unanswered
        while unanswered.pending and unanswered.held_up is None:
            await self._connection.until(lambda: True if conversation.has_news() or unanswered.held_up else None, None)
            await conversation.show_new()

    def _something(self) -> bool | None:
        return True if self._lines or self._is_over or self._conversation.has_news() else None

    def _typed(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= MAX_WAITING:
            self._hold_back(True)
        if self._gathered < 0:
            self._gathered = 0
            self._reactor.callLater(0, self._gather)

    def _gather(self) -> None:
        """Take lines together that come in one turn after the other: a pipe is read in small pieces."""
        if self._gathered < len(self._lines) < MAX_WAITING:
            self._gathered = len(self._lines)
            self._reactor.callLater(0, self._gather)
        else:
            self._gathered = -1
            self._connection.changed()

    def _hold_back(self, wanted: bool) -> None:
        """Stop or resume reading: lines must not pile up while the output is read slowly."""
        if self._input is not None and wanted is not self._is_held and not self._is_over:
            self._is_held = wanted
            if wanted:
                self._input.pauseProducing()
            else:
                self._input.resumeProducing()

    def _ended(self) -> None:
        self._is_over = True
        self._connection.changed()

    def _write(
        self, *lines: str, written: Callable[[int], bool] = always_continue, own: Sequence[bytes] = ()
    ) -> Awaitable[None]:
        return write_later(self._reactor, *lines, written=written)

    def _complain(self, code: str) -> None:
        self._conversation.mistakes += 1
        self._say(_COMPLAINTS[code])

    async def _notify(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        if self._context.settings.as_json:
            report_note("chat", text.removeprefix("-- "), True)
        else:
            say(text)
