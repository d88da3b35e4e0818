"""Threads for answers that take time."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import define
from twisted.logger import Logger
from twisted.python.failure import Failure

from securemsg.client.autoresponder import Reply
from securemsg.client.messages import Received
from securemsg.responders.errors import AnswerFailed, Stopped, without_text

# Questions that are answered at the same time.
CAPACITY = 4


class NoThread(OSError):
    """The system has no thread at the moment."""


class Work(Protocol):
    """Makes answers; called by several threads at the same time."""

    @property
    def problem(self) -> str:
        """Why it will not work, as far as is known beforehand; or empty."""

    def __call__(self, reactor: Any, question: Received) -> str | None:
        """
        Make an answer.

        @param reactor: for what has to be done in its thread.
        @raise AnswerFailed: there is none, and why.
        @raise Stopped: see L{Work.stop}.
        """

    def stop(self) -> None:
        """End what runs, and start nothing any more. From any thread."""


@define(eq=False)
class ThreadPool:
    """
    A source of answers (L{securemsg.client.autoresponder.Source}) that works in threads.

    @ivar reactor: passed to the work.
    @ivar call_back: makes a call in the thread that asks.
    """

    _log = Logger()
    _work: Work
    _reactor: Any
    _call_back: Callable[[Callable[[], None]], None]
    capacity: int = CAPACITY

    def __attrs_post_init__(self) -> None:
        """Log a known problem at the start."""
        if self._work.problem:
            self._log.warn("no message will be answered automatically: {problem}", problem=self._work.problem)

    def ask(self, question: Received, reply: Reply) -> None:
        """
        See L{securemsg.client.autoresponder.Source.ask}.

        @raise NoThread: there is none now; ask again later.
        """
        # The process ends without waiting for it: a function may never return.
        thread = threading.Thread(target=self._answer, args=(question, reply), name="answer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            raise NoThread(errno.EAGAIN, "no thread could be started; there are too many") from None

    def stop(self) -> None:
        """See L{securemsg.client.autoresponder.Source.stop}."""
        self._work.stop()

    def _answer(self, question: Received, reply: Reply) -> None:
        """In the thread."""
        try:
            text = self._work(self._reactor, question)
        except Stopped:
            return
        except AnswerFailed as failure:
            text = f"error: {failure.code}"
            said = f"{failure.code} ({failure.reason})" if failure.reason else failure.code
            self._log.warn("a message could not be answered automatically: {said}", said=said)
        except Exception:  # noqa: BLE001 - logged but for its text, and answered
            text = "error: internal"
            self._log.failure("an answer failed with an unexpected error", without_text(Failure()))
        self._call_back(partial(reply, text))
