"""
The three families of errors, and nothing else.

L{LocalProtocolError} is our own bug, L{RemoteProtocolError} means: answer the code and hang up, L{Refusal} means: answer the
code and carry on. What is raised besides these is a bug: it is logged, answered C{internal}, and the connection is aborted.
"""

from __future__ import annotations


class LocalProtocolError(Exception):
    """We were about to break the protocol ourselves."""


class RemoteProtocolError(Exception):
    """
    The peer broke the protocol: tell it the code, then hang up.

    @ivar code: one of the codes in C{docs/protocol.md}; the only thing the peer learns.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code if not detail else f"{code}: {detail}")
        self.code = code


class Refusal(Exception):
    """
    What was asked for cannot be done: answer the code, and carry on.

    @ivar code: one of the codes in C{docs/protocol.md}.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code if not detail else f"{code}: {detail}")
        self.code = code


class Unauthentic(Refusal):
    """
    Bytes that should prove where they come from do not: a signature, a tag or a key agreement failed.

    Nothing has changed when this is raised.
    """

    def __init__(self, detail: str = "") -> None:
        super().__init__("unauthentic", detail)
