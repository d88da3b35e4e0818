"""
An answer that could not be made.
"""

from __future__ import annotations


class AnswerFailed(Exception):
    """
    There is no answer, and whoever asked is told why by a code.

    @ivar code: a word or two; never what the machine itself said of it.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Stopped(Exception):
    """
    Everything ends: nobody is answered now, and the question is asked again after the next start.
    """
