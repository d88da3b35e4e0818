"""A progress count for long work, shown on terminals only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.status import Status

# Work that is shorter than this shows nothing.
QUIET_STEPS = 50


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
