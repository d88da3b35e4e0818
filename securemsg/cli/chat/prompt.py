"""
A chat at a terminal: a prompt with history and completion, incoming lines above the line being typed.

What is typed is remembered as long as the chat lasts, and nowhere else: no text lies in clear on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from attrs import frozen
from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.patch_stdout import patch_stdout
from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit
from securemsg.cli.chat import slash
from securemsg.cli.chat.conversation import LEAVING_TIME, Chat, ChatOptions, finish
from securemsg.cli.chat.screen import Screen
from securemsg.cli.context import CommandContext
from securemsg.cli.output import always_continue, columns
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.messages import Sent
from securemsg.errors import Refusal

# The toolbar is drawn again this often, seconds.
REFRESH = 1.0
# Lines of ours that the arrow key brings back.
REMEMBERED = 100


class Interrupted(Exception):
    """Ctrl-C was typed. Not C{KeyboardInterrupt}: that would end asyncio's loop under us."""


class Words(Completer):
    """Commands and names."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        line = document.text_before_cursor
        word = line.rpartition(" ")[2]
        for choice in slash.complete(line, self._names()):
            yield Completion(choice, start_position=-len(word))


@frozen
class Above:
    """
    Shows lines above the one being typed, after those that were shown before.

    @ivar screen: where they stand.
    """

    screen: Screen

    def show(
        self, *lines: str, written: Callable[[int], bool] = always_continue, own: bytes = b""
    ) -> Awaitable[None]:
        """
        Show lines.

        @param written: see L{securemsg.cli.output.write_later}.
        @param own: the id of the message of ours that this is.
        """

        def write() -> None:
            for number, line in enumerate(lines):
                _put(line + "\n")
                self.screen.shown(line, own)
                if not written(number):
                    break

        return _in_turn(write)

    def note(self, text: str) -> Awaitable[None]:
        """Show a line of ours."""
        return self.show(self.screen.note(text))

    def move(self, what: str) -> Awaitable[None]:
        """Put out what changes something that stands above, and leaves the cursor where it was."""
        return _in_turn(lambda: _put(what))


@contextlib.contextmanager
def _noticed(notice: Callable[[], object]) -> Iterator[None]:
    """Notice what others write to the terminal: where our lines stand is not known after that."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Noticed(stream, notice) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Noticed:
    """A stream whose lines are noticed."""

    def __init__(self, stream: Any, notice: Callable[[], object]) -> None:
        self._stream = stream
        self._notice = notice

    def write(self, text: str) -> int:
        """Write, and say so."""
        self._notice()
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self._stream, name)


def _put(text: str) -> None:
    # The terminal itself: what goes to `sys.stdout` would be queued to be shown above the line being typed.
    terminal = sys.__stdout__
    assert terminal is not None, "there is a terminal, so there is an output"
    terminal.write(text)
    terminal.flush()


def _in_turn(write: Callable[[], None]) -> Awaitable[None]:
    done: Awaitable[None] = Deferred.fromFuture(asyncio.ensure_future(run_in_terminal(write)))
    return done


async def interact(
    context: CommandContext, connection: AccountConnection, name: str, reactor: Any, options: ChatOptions, above: Above
) -> int:
    """
    Chat until the user leaves. Warnings, too, appear above the line being typed.

    @return: the exit status.
    """
    conversation = Chat(
        context, connection, name, write=above.show, notify=above.note, columns=columns, options=options, move=above.move
    )
    terminal = create_input()
    # What is typed between two prompts, or while a line is shown, belongs to the next prompt, which shows it: it is not echoed.
    terminal.cooked_mode = terminal.raw_mode  # type: ignore[method-assign]
    with patch_stdout(), _noticed(above.screen.forget):
        with terminal.raw_mode():
            is_interrupted = await _talk(context, connection, conversation, terminal, above)
        if is_interrupted:
            return Exit.INTERRUPTED
        status = await finish(context, connection, conversation, reactor, LEAVING_TIME)
    # A mistyped command was already reported.
    return Exit.DONE if status == Exit.USAGE else status


async def _talk(
    context: CommandContext, connection: AccountConnection, conversation: Chat, terminal: Input, above: Above
) -> bool:
    """
    Take lines until the user leaves.

    @return: whether that was with Ctrl-C.
    """
    session: PromptSession[str] = PromptSession(
        input=terminal,
        history=_history(context, conversation.name),
        completer=Words(conversation.names),
        complete_while_typing=False,
        bottom_toolbar=conversation.toolbar,
        refresh_interval=REFRESH,
        interrupt_exception=Interrupted,
        enable_suspend=True,
        key_bindings=paste_keys(),
        # What was typed is shown again with how far it has come.
        erase_when_done=True,
    )
    # A terminal that cannot say where its cursor is needs no line about that.
    session.app.renderer.cpr_not_supported_callback = None
    await above.note(f"-- chatting {conversation.title_in_line()}. /help lists the commands, Ctrl-D leaves")
    await conversation.open()
    typing: asyncio.Future[str] | None = None

    def something() -> bool | None:
        return True if typing is None or typing.done() or conversation.has_news() else None

    try:
        while True:
            await conversation.show_new()
            if typing is None:
                typing = asyncio.ensure_future(session.prompt_async(_prompt(context, conversation), handle_sigint=False))
                typing.add_done_callback(lambda future: connection.changed())
            elif typing.done():
                try:
                    line = typing.result()
                except EOFError:
                    break
                except Interrupted:
                    return True
                typing = None
                if slash.is_command(line):
                    # What was typed is erased, and a message of ours is shown again by itself.
                    await above.note(_prompt(context, conversation) + escape(line))
                if not await conversation.enter(line):
                    break
            else:
                await connection.until(something, None)
    finally:
        if typing is not None and not typing.done():
            # Only when it has ended in order is the terminal as it was.
            if session.app.is_running:
                session.app.exit(exception=Interrupted)
            else:
                typing.cancel()
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait([typing])))
            if not typing.cancelled():
                typing.exception()
    return False


def paste_keys() -> KeyBindings:
    """A paste without its last line end, which would be sent, and be an empty row."""
    keys = KeyBindings()

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(pasted_text(event.data))

    return keys


def pasted_text(data: str) -> str:
    """What a paste is, as text: terminals end its lines in any way."""
    return data.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def _prompt(context: CommandContext, conversation: Chat) -> str:
    return f"{context.profile.name} -> {conversation.name}> "


def _history(context: CommandContext, name: str) -> InMemoryHistory:
    """Earlier messages to this contact, from the sealed store."""
    remembered = InMemoryHistory()
    try:
        lines = messages.history(context.store, name, REMEMBERED)
    except Refusal:
        return remembered
    for line in lines:
        if isinstance(line, Sent) and line.text and "\n" not in line.text:
            remembered.append_string(line.text)
    return remembered
