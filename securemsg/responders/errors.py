"""Why there is no answer, and what the log is told of it."""

from __future__ import annotations

from twisted.python.failure import Failure


class AnswerFailed(Exception):
    """
    There is no answer; the code is sent to the sender in its place.

    @ivar code: a word or two; never what the command or function itself wrote.
    @ivar reason: more, for the log; nothing of the message. Mostly empty.
    """

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Stopped(Exception):
    """Answering has stopped: the question is asked again after the next start."""


def without_text(failure: Failure) -> Failure:
    """The same failure, for the log: its type and where it was raised, without its text, which may quote a message."""
    hidden = Exception("(what it says is left out, because it may quote a message)")
    return Failure(hidden, failure.type, failure.getTracebackObject())
