"""Ctrl-Z: a suspended command leaves the connection to other commands of the profile, and takes it again when it continues."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from securemsg.account.connection import AccountConnection

_log = Logger()
# For L{os.kill}: every process of the job, as when the terminal itself acts on Ctrl-Z.
WHOLE_JOB = 0


async def suspend(connection: AccountConnection, stop: Callable[[], object]) -> None:
    """
    Hang up, stop, and connect again once we continue. While that is under way, further wishes to stop are ignored.

    @param stop: stops this process, and returns once it continues; see L{stop_process}.
    """
    if connection.is_paused:
        return
    await connection.pause()
    try:
        stop()
    finally:
        connection.resume()


def stop_process(whom: int) -> None:
    """Stop as a program without a handler of its own does: not at all where no shell could continue it."""
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    try:
        os.kill(whom, signal.SIGTSTP)
    finally:
        signal.signal(signal.SIGTSTP, before)


def suspend_when_asked(reactor: IReactorFromThreads, connection: AccountConnection) -> None:
    """Suspend at SIGTSTP, unless whoever has started us ignores it."""

    def asked(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(begin)

    def begin() -> None:
        suspended = Deferred.fromCoroutine(suspend(connection, lambda: stop_process(os.getpid())))
        suspended.addErrback(lambda failure: _log.failure("it could not be suspended", failure))

    if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, asked)
