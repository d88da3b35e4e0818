"""How long a wait for the server may take."""

from __future__ import annotations

from attrs import frozen


@frozen
class Stillness:
    """
    A time limit that counts from when bytes last moved on our connection, so that a slow link does not reach it. A server that
    sends a byte now and then does not either: whoever wants an end names seconds.
    """

    seconds: float


# Seconds; C{None}: forever.
Limit = float | Stillness | None
