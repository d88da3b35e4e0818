"""Points in time, as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime

# The longest time by which a message may be sent later than it was written, seconds.
MAX_DELAY = 366 * 86400
# The last second that the calendar can show: a sender's clock may say anything.
_LAST = 253402300799


def iso(seconds: float) -> str:
    """A time in UTC, ISO 8601, to the second."""
    return f"{datetime.fromtimestamp(min(max(int(seconds), 0), _LAST), UTC):%Y-%m-%dT%H:%M:%SZ}"
