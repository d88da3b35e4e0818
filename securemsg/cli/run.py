"""The reactor around one command: it starts, handles signals, stops, and closes everything."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.interrupts import INTERRUPTS, die, note
from securemsg.cli.output import report, say
from securemsg.net.clock import use_monotonic_clock

# After an internal error.
SEE_MORE = "run it again with --debug to see more"

Work = Callable[[Any], Coroutine[Any, Any, int]]


def run(work: Work, *, debug: bool = False, as_json: bool = False, prompt: bool = False) -> int:
    """
    Run a coroutine in the reactor, to its end or the first interrupt. Once in a process.

    @param prompt: take asyncio's reactor, which a prompt can share.
    @return: what the coroutine returns; 130 when interrupted.
    """
    start_log(debug, as_json)
    if prompt:
        from twisted.internet import asyncioreactor

        asyncioreactor.install()
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    return _Run(reactor, work).go()


class _Run:
    """One run."""

    def __init__(self, reactor: Any, work: Work) -> None:
        self._reactor = reactor
        self._work = work
        self._result = int(Exit.INTERRUPTED)
        self._failure: Failure | None = None
        self._done: Deferred[int] | None = None
        self._is_interrupted = False

    def go(self) -> int:
        """Start, wait for the end, and give the result or raise what the work raised."""
        before = {number: signal.getsignal(number) for number in INTERRUPTS}
        self._catch()
        self._reactor.callWhenRunning(self._start)
        try:
            self._reactor.run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failure is not None:
            self._failure.raiseException()
        return self._result

    def _start(self) -> None:
        # The reactor installs its own SIGTERM handler when it starts.
        self._reactor.callLater(0, self._catch)
        self._done = Deferred.fromCoroutine(self._work(self._reactor))
        self._done.addCallbacks(self._finished, self._failed)

    def _catch(self) -> None:
        for number in INTERRUPTS:
            signal.signal(number, self._interrupted)

    def _finished(self, result: int) -> None:
        self._result = int(result)
        self._stop()

    def _failed(self, failure: Failure) -> None:
        """The work has raised; interrupted work is cancelled, which is no failure."""
        if not (self._is_interrupted and failure.check(CancelledError)):
            self._failure = failure
        self._stop()

    def _stop(self) -> None:
        """End the reactor, if it does not end already."""
        if self._reactor.running:
            self._reactor.stop()

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """A first signal ends the command in order, a second one at once."""
        for again in INTERRUPTS:
            signal.signal(again, die)
        note(number)
        self._reactor.callFromThread(self._interrupt, number)

    def _interrupt(self, number: int) -> None:
        """Cancel the work, so that it cleans up and ends the reactor."""
        if number == signal.SIGINT and sys.stderr.isatty():
            # Ends the row in which the terminal shows ^C.
            say("")
        self._is_interrupted = True
        if self._done is not None:
            self._done.cancel()
        else:
            self._stop()


def start_log(debug: bool, as_json: bool = False) -> None:
    """Let the log go to standard error in full, or failures alone and in one line each."""
    observer = cast(ILogObserver, textFileLogObserver(sys.stderr) if debug else partial(_briefly, as_json))
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)


def _briefly(as_json: bool, event: LogEvent) -> None:
    """Report a logged failure, which is a bug, in one line: a traceback needs --debug."""
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        kind = failure.type.__name__ if failure.type is not None else "failure"
        report(SecuremsgError(Exit.INTERNAL, "internal", f"internal error ({kind})", SEE_MORE), as_json)
