"""
The clock that says what has expired: the wall clock, as long as that can be believed.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

# A step that is larger than this, in seconds, was not time that passed here.
JUMP = 3600
# So many calm ticks, about an hour of them, and the wall clock is believed again: somebody had the time to correct it.
CALM_TICKS = 60


@define
class ExpiryClock:
    """
    Stands still from a jump of the wall clock until that has been calm for a while, so that a wrong date deletes nothing.

    @ivar now: whole seconds, as of the last tick.
    """

    _wall: Callable[[], float]
    now: int = field(init=False)
    _last: float = field(init=False)
    _calm: int = field(init=False, default=CALM_TICKS)

    def __attrs_post_init__(self) -> None:
        """
        Begin with what the wall clock says.
        """
        self._last = self._wall()
        self.now = int(self._last)

    @property
    def running(self) -> bool:
        """
        Whether the wall clock is believed.
        """
        return self._calm >= CALM_TICKS

    def tick(self) -> None:
        """
        To be called about once a minute.
        """
        wall = self._wall()
        if abs(wall - self._last) > JUMP:
            self._calm = 0
        elif self._calm < CALM_TICKS:
            self._calm += 1
        self._last = wall
        if self.running:
            self.now = int(wall)
