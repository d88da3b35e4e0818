"""Timeouts of waits for the server."""

from __future__ import annotations

from attrs import frozen


@frozen
class IdleTimeout:
    """
    A timeout that counts from when bytes last moved on our connection, so that a slow link does not reach it. Nor does a server
    that sends a byte now and then: a number of seconds is the end in any case.
    """

    seconds: float


# Seconds; C{None}: forever.
Timeout = float | IdleTimeout | None
