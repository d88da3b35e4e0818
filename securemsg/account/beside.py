"""
Waits beside the process that has the connection of this profile: that process sends, this one looks into the store until it
says what became of the message. It takes neither a reactor nor the network, and so starts in a fraction of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen

from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.account.wake import is_heard
from securemsg.net.clock import monotonic_seconds

T = TypeVar("T")

# Seconds between two looks into the store: this part of what the wait has lasted so far, within these limits. An answer is seen
# within a few milliseconds or a tenth of its time, and whoever waits for long looks as seldom as in the reactor.
PART = 0.1
SHORTEST_LOOK = 0.005
LONGEST_LOOK = 0.1


class OwnerGone(Exception):
    """No other process has the connection any more: whoever still waits must connect."""


@frozen
class OwnersConnection:
    """
    The connection of another process, as far as somebody sees it who waits for a message: as
    L{securemsg.account.connection.AccountConnection} where that is not the owner, but L{until} blocks this process.
    """

    _folder: Path
    where: str
    _seconds: Callable[[], float] = monotonic_seconds
    _sleep: Callable[[float], None] = time.sleep
    is_owner: bool = field(default=False, init=False)
    is_ready: bool = field(default=False, init=False)
    last_failure: str = field(default="", init=False)
    fatal: str = field(default="", init=False)

    async def until(self, check: Callable[[], T | None], timeout: Timeout) -> T | None:
        """
        Wait until a check of the store gives a result.

        @return: the result, or C{None} after the timeout.
        @raise OwnerGone: no process has the connection.
        """
        since = self._seconds()
        limit = timeout.seconds if isinstance(timeout, IdleTimeout) else timeout
        while True:
            # In this order: what an owner has committed before its end counts.
            is_there = is_heard(self._folder)
            value = check()
            if value is not None:
                return value
            if not is_there:
                raise OwnerGone
            waited = self._seconds() - since
            if limit is not None and waited >= limit:
                return None
            pause = min(max(waited * PART, SHORTEST_LOOK), LONGEST_LOOK)
            self._sleep(pause if limit is None else min(pause, limit - waited))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but L{OwnersConnection.until}, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something else")
