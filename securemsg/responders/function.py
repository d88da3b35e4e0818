"""
A Python function that answers: called for each message, in a thread.

It is trusted like our own code: it runs in this process, and nothing stops it when it takes too long.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen

from securemsg.client.messages import Received
from securemsg.responders.command import current_folder
from securemsg.responders.errors import AnswerFailed


@frozen
class Function:
    """
    Calls a function.

    @cvar problem: none, because it was imported.
    """

    problem: ClassVar[str] = ""
    _call: Callable[[Received], object]

    def __call__(self, reactor: Any, question: Received) -> str | None:
        """
        Call the function with a message.

        @return: what it returned; C{None}: nothing, or an empty text.
        @raise AnswerFailed: C{exception}: it raised one, or returned no text.
        """
        try:
            text = self._call(question)
        except BaseException as error:  # foreign code; its text may hold the message
            raise AnswerFailed("exception", place_of(error)) from error
        if text is not None and not isinstance(text, str):
            raise AnswerFailed("exception", f"it returned {type(text).__name__}, not a text")
        return text or None

    def stop(self) -> None:
        """Do nothing: a function cannot be stopped."""


def place_of(error: BaseException) -> str:
    """The type of an exception and where it was raised, without its text."""
    # The first entry is our own call.
    found = traceback.extract_tb(error.__traceback__)[1:]
    kind = type(error).__name__
    return f"{kind} in {found[-1].filename}:{found[-1].lineno}" if found else f"{kind} when it was called"


def load_function(name: str) -> Function:
    """
    Import a function. Modules in the current folder are found, as with C{python -m}.

    @param name: C{module.function}; the module may be in a package.
    @raise ValueError: there is no such function; the text says so in one line.
    """
    module, _, function = name.rpartition(".")
    if not module or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is not of the form module.function")
    here = str(current_folder())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = getattr(importlib.import_module(module), function)
    except BaseException as error:  # noqa: BLE001 - whatever a foreign module raises when it is imported
        said = " ".join(str(error).split())
        raise ValueError(
            f"{name} cannot be imported: {type(error).__name__}{': ' if said else ''}{said}; this must work in the same folder:"
            f" python -c 'from {module} import {function}'"
        ) from None
    if not callable(found):
        raise ValueError(f"{name} is not a function")
    return Function(found)
