"""Progress of long work, at a terminal; elsewhere nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

# Work that is shorter than this shows nothing.
QUIET_STEPS = 50


class Count:
    """Counts up on standard error."""

    def __init__(self, what: str, *, active: bool = True) -> None:
        self._what = what
        self._steps = 0
        self._is_active = active and sys.stderr.isatty()
        self._status: Any = None

    def __enter__(self) -> Count:
        """Begin; nothing shows before there is much to count."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leave no trace on the terminal."""
        if self._status is not None:
            self._status.stop()

    def step(self) -> None:
        """One more."""
        self._steps += 1
        if not self._is_active or self._steps < QUIET_STEPS:
            return
        if self._status is None:
            # Only here: most commands do without, and it takes long to import.
            from rich.console import Console
            from rich.status import Status

            self._status = Status("", console=Console(stderr=True))
            self._status.start()
        self._status.update(f"{self._steps} {self._what}")
