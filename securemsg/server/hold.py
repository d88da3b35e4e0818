"""How long deposits that were delivered are held back from the commit, because acknowledgements may make it needless."""

from __future__ import annotations

from attrs import define, field

from securemsg.server.accounts import DeviceState

# Seconds between two looks at the deposits that are held: each is held for one to two of these times.
LONG = 0.010
# The same where readers take longer than that anyway: only so that a commit has more to write.
SHORT = 0.002
# An acknowledgement that takes longer than this counts as this, seconds.
SLOWEST = 1.0
# The weight of one measurement in the mean.
WEIGHT = 1 / 8


@define(eq=False)
class Hold:
    """
    Measures how long readers take to acknowledge, once between two ticks, and says how long to hold.

    @ivar is_due: whether the next deposit that is delivered is to be measured.
    @ivar device: the reader that is being measured, if any.
    """

    is_due: bool = field(init=False, default=True)
    device: DeviceState | None = field(init=False, default=None, repr=False)
    _position: int = field(init=False, default=0)
    _since: float = field(init=False, default=0.0)
    _mean: float = field(init=False, default=0.0)

    @property
    def seconds(self) -> float:
        """The time between two ticks."""
        return LONG if self._mean < LONG else SHORT

    def start(self, device: DeviceState, position: int, now: float) -> None:
        """This was just delivered: measure how long the acknowledgement takes."""
        self.is_due = False
        self.device, self._position, self._since = device, position, now

    def acknowledged(self, position: int, now: float) -> None:
        """The reader that is being measured has acknowledged everything up to this position."""
        if position >= self._position:
            self._end(now)

    def tick(self, now: float) -> None:
        """Measure again, unless a reader is still being measured who has not taken too long."""
        if self.device is not None and now - self._since > SLOWEST:
            self._end(now)
        self.is_due = self.device is None

    def _end(self, now: float) -> None:
        self.device = None
        self._mean += (min(now - self._since, SLOWEST) - self._mean) * WEIGHT
