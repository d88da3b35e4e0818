"""A measurement from its first turn to its last, and what it says meanwhile."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.task import react
from twisted.python.failure import Failure

from bench.report import Figure


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def run(begin: Callable[[IReactorTCP], Coroutine[Any, Any, list[Figure]]]) -> list[Figure]:
    """
    Run the reactor until this has come to an end.

    @raise Unmeasurable: it has not come to a good one.
    """
    figures: list[Figure] = []
    failures: list[Failure] = []

    def whole(reactor: IReactorTCP) -> Deferred[None]:
        """C{react} would print a traceback and exit; we keep both ends."""
        return Deferred.fromCoroutine(begin(reactor)).addCallbacks(figures.extend, failures.append)

    with contextlib.suppress(SystemExit):
        react(whole)
    for failure in failures:
        failure.raiseException()
    return figures
