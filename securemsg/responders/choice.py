"""What C{--answer} names: one of a few words, a command, or a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from securemsg.client.autoresponder import Immediate, Source
from securemsg.client.messages import Received
from securemsg.client.times import iso
from securemsg.responders.command import Command
from securemsg.responders.function import load_function
from securemsg.responders.pool import ThreadPool

EXEC = "exec:"
PYTHON = "python:"

# Makes a source, from the reactor and a function that makes a call in the thread that asks.
Prepared = Callable[[Any, Callable[[Callable[[], None]], None]], Source]


class BadAnswer(Exception):
    """C{--answer} names nothing that can answer; the text says why, in one line."""


def acknowledged(message: Received) -> str:
    """Answer with the time of receipt."""
    return f"Message received at {iso(message.received_at)}"


ANSWERS: dict[str, Callable[[Received], str | None]] = {
    "ack": acknowledged,
    "echo": lambda message: message.text,
    "none": lambda message: None,
}


def check_form(text: str) -> None:
    """
    Check that this could answer, without looking for it.

    @raise BadAnswer: it is of no form that there is.
    """
    if text not in ANSWERS and not text.startswith((EXEC, PYTHON)):
        raise BadAnswer(f"--answer is one of {', '.join(ANSWERS)}, {EXEC}COMMAND and {PYTHON}module.function, not {text!r}")


def prepare(text: str) -> Prepared:
    """
    Find what answers, and import it if necessary; nothing runs yet. Paths and modules are relative to the current folder.

    @param text: C{ack}, C{echo}, C{none}, C{exec:COMMAND} or C{python:module.function}.
    @raise BadAnswer: it is none of these, or cannot be used.
    """
    try:
        if text.startswith(EXEC):
            return partial(ThreadPool, Command(text.removeprefix(EXEC)))
        if text.startswith(PYTHON):
            return partial(ThreadPool, load_function(text.removeprefix(PYTHON)))
    except ValueError as error:
        raise BadAnswer(f"--answer {text.partition(':')[0]}: {error}") from None
    check_form(text)
    source = Immediate(ANSWERS[text])
    return lambda reactor, call_back: source
