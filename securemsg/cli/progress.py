"""Progress of long work, shown on terminals only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.status import Status

# Work that is shorter than this shows nothing.
QUIET_STEPS = 50
# A bar appears after this time, seconds.
QUIET_TIME = 1


class Count:
    """Counts up on standard error."""

    def __init__(self, what: str, *, active: bool = True) -> None:
        self._what = what
        self._steps = 0
        self._is_active = active and sys.stderr.isatty()
        self._status: Status | None = None

    def step(self, count: int = 1) -> None:
        """So many more."""
        self._steps += count
        if not self._is_active or self._steps < QUIET_STEPS:
            return
        if self._status is None:
            # Only here: most commands do without, and it takes long to import.
            from rich.console import Console

            self._status = Console(stderr=True).status("")
            self._status.start()
        self._status.update(f"{self._steps} {self._what}")

    def stop(self) -> None:
        """Leave no trace on the terminal."""
        if self._status is not None:
            self._status.stop()


class Bar:
    """A bar on standard error, for work whose size is known; it appears if that takes long."""

    def __init__(
        self, what: str, total: int, *, active: bool = True, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._steps = 0
        self._is_active = active and sys.stderr.isatty()
        self._seconds = seconds
        self._began = seconds()
        self._progress: Progress | None = None

    def step(self, count: int = 1) -> None:
        """So many more."""
        self._steps += count
        if not self._is_active or (self._progress is None and self._seconds() - self._began < QUIET_TIME):
            return
        if self._progress is None:
            # Only here: most commands do without, and it takes long to import.
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.add_task(self._what, total=self._total)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=self._steps)

    def stop(self) -> None:
        """Leave no trace on the terminal."""
        if self._progress is not None:
            self._progress.stop()


@contextlib.contextmanager
def counted(what: str, unit: int = 1) -> Iterator[Callable[[int], None]]:
    """
    A count for as long as the block runs.

    @param unit: how many steps count as one.
    @return: takes how many steps were taken.
    """
    count, rest = Count(what), 0

    def step(steps: int) -> None:
        nonlocal rest
        whole, rest = divmod(rest + steps, unit)
        count.step(whole)

    try:
        yield step
    finally:
        count.stop()
