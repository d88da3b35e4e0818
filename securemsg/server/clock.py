"""The clock for expiry. It counts seconds that have passed, and knows no date."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.interfaces import ClockReading

# A step of the wall clock by more seconds than this is a jump, not time that has passed.
JUMP = 3600
# After this many ticks without a jump, about an hour, the date is trusted: there was time to correct it.
CALM_TICKS = 60


@define
class ExpiryClock:
    """
    Follows the wall clock while that moves in small steps, and stops while it jumps or is set back. So messages are kept too
    long rather than too short, and a wrong date deletes nothing, neither before nor after it is corrected.

    It continues from the reading in the store. A crash loses what was counted since then: messages are kept that much longer.

    @ivar now: the latest reading; never goes back.
    """

    _wall: Callable[[], float]
    _reading: ClockReading
    now: int = field(init=False)
    _last: int = field(init=False)
    _calm: int = field(init=False, default=CALM_TICKS)

    def __attrs_post_init__(self) -> None:
        """Count the time since the stored reading, if it was short."""
        self.now, self._last = self._reading.now, self._reading.wall
        self.read()

    def at(self, wall: int) -> int:
        """
        The reading when the wall clock says C{wall}.

        Read the clock before stamping a message, so that an earlier jump is not taken from its time.
        """
        passed = wall - self._last
        if passed:
            self._last = wall
            if 0 < passed <= JUMP:
                self.now += passed
            elif passed < -JUMP or passed > JUMP:
                self._calm = 0
        return self.now

    def read(self) -> int:
        """The reading now."""
        return self.at(int(self._wall()))

    def tick(self) -> None:
        """To be called about once a minute, so that passing time is seen in small steps."""
        if self._calm < CALM_TICKS:
            self._calm += 1
        self.read()

    @property
    def reading(self) -> ClockReading:
        """The reading for the store to keep."""
        return ClockReading(self.now, self._last)

    @property
    def date(self) -> int:
        """The wall clock's time if it is trusted, else 0, which is before everything."""
        return self._last if self._calm >= CALM_TICKS else 0
