"""Reads and writes that may block, while the reactor goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads

T = TypeVar("T")


def in_thread(reactor: IReactorFromThreads, call: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """
    Make a call in a thread of its own, as C{deferToThread} does. It does not hold up the end of the program: whoever does not
    read, or write, must not keep us.
    """
    done: Deferred[T] = Deferred()

    def finish(result: T | Failure) -> None:
        # The Deferred may have been cancelled meanwhile.
        if not done.called:
            done.callback(result)

    def work() -> None:
        try:
            result: T | Failure = call(*arguments)
        except Exception:  # noqa: BLE001 - passed to the Deferred
            result = Failure()
        # The reactor may have ended.
        with contextlib.suppress(RuntimeError):
            reactor.callFromThread(finish, result)

    threading.Thread(target=work, name="blocking", daemon=True).start()
    return done
