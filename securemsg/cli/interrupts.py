"""The signals that interrupt a command, and what they do where no reactor runs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from securemsg.account.errors import Exit

# Signals that have come so far; a process has one such list.
_received: list[int] = []
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def note(number: int) -> None:
    """A signal has come that interrupts this process."""
    _received.append(number)


def was_terminated() -> bool:
    """Whether the first of them was not the user's Ctrl-C, but one by which a system ends a process."""
    return bool(_received) and _received[0] != signal.SIGINT


class Interrupted(BaseException):
    """A signal has interrupted the command."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """
    A first signal ends the block, a second one the process, as in the reactor (L{securemsg.cli.run}).

    @raise Interrupted: there was one.
    """
    before = {number: signal.signal(number, _interrupt) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the block."""
    for again in INTERRUPTS:
        signal.signal(again, die)
    raise Interrupted


def die(number: int, frame: FrameType | None) -> None:
    """End the process at once, at a second signal."""
    os._exit(Exit.INTERRUPTED)
