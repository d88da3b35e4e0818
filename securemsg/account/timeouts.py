"""Timeouts of waits for the server."""

from __future__ import annotations

from attrs import frozen

# Seconds.
LONGEST_WAIT = 600


@frozen
class IdleTimeout:
    """
    A timeout that counts from when bytes last moved on our connection, and what we have sent had time to arrive on a slow link;
    but from L{LONGEST_WAIT} after the beginning at the latest, because others may write to us all the time.
    """

    seconds: float


# Seconds; C{None}: forever.
Timeout = float | IdleTimeout | None


def rest_of(timeout: Timeout, over: float) -> Timeout:
    """What is left of a timeout after so many seconds without a connection of ours."""
    return timeout if timeout is None or isinstance(timeout, IdleTimeout) else max(timeout - over, 0)
