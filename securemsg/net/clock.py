"""Monotonic time, for timers and durations; people and NTP set the wall clock."""

from __future__ import annotations

import time
from typing import Any

# Where the system has one, a clock that goes on while the machine is suspended: a laptop that wakes is connected again at once.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic_seconds() -> float:
    """Seconds since some moment in the past, on a monotonic clock."""
    return time.clock_gettime(_CLOCK)


def use_monotonic_clock(reactor: Any) -> None:
    """
    Have a reactor's timers use monotonic time; Twisted's follow the wall clock, and stand still for as long as that is set
    back. Call it before the first timer starts.
    """
    reactor.seconds = monotonic_seconds
