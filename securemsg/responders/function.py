"""
A function of somebody's module that answers: called for each message, in a thread.

It is trusted as our own code is: it runs within this process, and nothing stops it when it takes too long.
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

    @cvar problem: none is known of, for it was imported.
    """

    problem: ClassVar[str] = ""
    _call: Callable[[Received], object]

    def __call__(self, reactor: Any, question: Received) -> str | None:
        """
        Call it with a message.

        @return: what it returned; C{None}: nothing, or an empty text.
        @raise AnswerFailed: C{exception}: it raised one, or returned no text.
        """
        try:
            text = self._call(question)
        except BaseException as error:  # somebody else's code; what it says may hold the message
            raise AnswerFailed("exception", place_of(error)) from error
        if text is not None and not isinstance(text, str):
            raise AnswerFailed("exception", f"it returned {type(text).__name__}, and no text")
        return text or None

    def stop(self) -> None:
        """There is no stopping a function."""


def place_of(error: BaseException) -> str:
    """What was raised, and where: nothing that it says itself."""
    # The first line is that of our own call.
    found = traceback.extract_tb(error.__traceback__)[1:]
    kind = type(error).__name__
    return f"{kind} in {found[-1].filename}:{found[-1].lineno}" if found else f"{kind} when it was called"


def load_function(name: str) -> Function:
    """
    Import a function. Modules of the current folder are found, as by C{python -m}.

    @param name: C{module.function}; the module may be in a package.
    @raise ValueError: there is no such thing; the text says so in one line.
    """
    module, _, function = name.rpartition(".")
    if not module or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} does not read module.function")
    here = str(current_folder())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = getattr(importlib.import_module(module), function)
    except BaseException as error:  # noqa: BLE001 - whatever somebody's module does when it is imported
        said = " ".join(str(error).split())
        raise ValueError(
            f"{name} cannot be imported: {type(error).__name__}{': ' if said else ''}{said}; this must work in the same folder:"
            f" python -c 'from {module} import {function}'"
        ) from None
    if not callable(found):
        raise ValueError(f"{name} is no function")
    return Function(found)
