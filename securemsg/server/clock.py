"""The clock that says what has expired. It counts seconds that passed, and knows no date."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.interfaces import ClockReading

# A step of the wall clock that is larger than this, in seconds, was not time that passed here.
JUMP = 3600
# So many ticks without such a step, about an hour of them, and the date is believed: somebody had the time to correct it.
CALM_TICKS = 60


@define
class ExpiryClock:
    """
    Goes on with the wall clock as long as that makes small steps, and stands still when it jumps or is set back. So whatever is
    stamped by it is kept too long rather than too short, and a wrong date deletes nothing, before its correction or after.

    It goes on from what the store has of it. What it counted since then is lost in a crash: things are kept that much longer.

    @ivar now: what it was at when it was last looked at; never goes back.
    """

    _wall: Callable[[], float]
    _reading: ClockReading
    now: int = field(init=False)
    _last: int = field(init=False)
    _calm: int = field(init=False, default=CALM_TICKS)

    def __attrs_post_init__(self) -> None:
        """A short time that nobody was here counts."""
        self.now, self._last = self._reading.now, self._reading.wall
        self.read()

    def at(self, wall: int) -> int:
        """
        What it is at while the wall clock says this.

        Whoever stamps something looks first, so that no step that was made before takes from its time.
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
        """What it is at."""
        return self.at(int(self._wall()))

    def tick(self) -> None:
        """To be called about once a minute, so that small steps are seen as such."""
        if self._calm < CALM_TICKS:
            self._calm += 1
        self.read()

    @property
    def reading(self) -> ClockReading:
        """What the store is to keep."""
        return ClockReading(self.now, self._last)

    @property
    def date(self) -> int:
        """What the wall clock said, if that is believed; or else 0, which is before everything."""
        return self._last if self._calm >= CALM_TICKS else 0
