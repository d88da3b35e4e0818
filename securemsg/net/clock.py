"""Which clock timers follow: not the wall clock, which people and NTP set."""

from __future__ import annotations

import time
from typing import Any


def count_passing_time(reactor: Any) -> None:
    """
    Have the timers of a reactor count the time that passes; Twisted's follow the wall clock, and stand still for as long as
    that is set back. To be called before the first timer is set.
    """
    reactor.seconds = time.monotonic
