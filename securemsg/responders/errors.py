"""Why there is no answer."""

from __future__ import annotations


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
