"""Keys that do something else in a chat than in other prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prompt_toolkit.application import get_app, in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.cli.suspending import WHOLE_JOB, stop_process, suspend


def bindings(connection: AccountConnection, terminal: Input, forget: Callable[[], object]) -> KeyBindings:
    """
    Ctrl-C clears what was typed, and leaves the chat only where there is nothing. Ctrl-Z suspends the chat, and leaves the
    connection to other processes.

    @param terminal: where the chat is.
    @param forget: called when others have written there.
    """
    keys = KeyBindings()

    async def leave_terminal() -> None:
        async with in_terminal():
            # The chat has made it raw for good; the shell gets it back as it was.
            with type(terminal).cooked_mode(terminal):
                suspended = Deferred.fromCoroutine(suspend(connection, lambda: stop_process(WHOLE_JOB)))
                await suspended.asFuture(asyncio.get_running_loop())
            forget()

    @keys.add("c-c", filter=has_focus(DEFAULT_BUFFER) & Condition(lambda: bool(get_app().current_buffer.text)))
    def _clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    @keys.add("c-z")
    def _suspend(event: KeyPressEvent) -> None:
        event.app.create_background_task(leave_terminal())

    @keys.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(pasted_text(event.data))

    return keys


def pasted_text(data: str) -> str:
    """What a paste is, as text without its last line end, which would be an empty row: terminals end its lines in any way."""
    return data.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
