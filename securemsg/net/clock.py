"""The clock for timers and for all that lasts: not the wall clock, which people and NTP set."""

from __future__ import annotations

import time
from typing import Any

# Where the system has one, a clock that goes on while the machine is suspended: a laptop that wakes is connected again at once.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def passed_seconds() -> float:
    """Seconds that have passed since some moment in the past; never fewer than before."""
    return time.clock_gettime(_CLOCK)


def count_passing_time(reactor: Any) -> None:
    """
    Have the timers of a reactor count the time that passes; Twisted's follow the wall clock, and stand still for as long as
    that is set back. To be called before the first timer is set.
    """
    reactor.seconds = passed_seconds
