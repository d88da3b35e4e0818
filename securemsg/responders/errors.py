"""An answer that could not be made."""

from __future__ import annotations


class AnswerFailed(Exception):
    """
    There is no answer, and whoever asked is told why by a code.

    @ivar code: a word or two; never what the machine itself said of it.
    @ivar reason: more of it, for whoever runs the machine; without a word of the message. Mostly empty.
    """

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Stopped(Exception):
    """Everything ends: nobody is answered now, and the question is asked again after the next start."""
