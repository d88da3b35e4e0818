"""Progress of long work, shown on terminals only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from securemsg.interfaces import Step

if TYPE_CHECKING:
    from rich.progress import Progress

# Progress appears after this time, seconds.
QUIET_TIME = 1


@contextlib.contextmanager
def progress(
    what: str,
    total: int | None = None,
    *,
    unit: int = 1,
    is_active: bool = True,
    seconds: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """
    Show on standard error how far the work in this block has come, if it takes long: a bar, or a count if its size is unknown.

    @param total: how many steps there will be.
    @param unit: how many steps are counted as one.
    @return: takes how many steps were taken since it was called last.
    """
    is_active = is_active and sys.stderr.isatty()
    began, steps = seconds(), 0
    display: Progress | None = None

    def step(count: int) -> None:
        nonlocal steps, display
        steps += count
        if not is_active or (display is None and seconds() - began < QUIET_TIME):
            return
        if display is None:
            display = _display(what, total)
            display.start()
        display.update(display.task_ids[0], completed=steps // unit)

    try:
        yield step
    finally:
        if display is not None:
            # It leaves no trace.
            display.stop()


def _display(what: str, total: int | None) -> Progress:
    # Only here: most commands do without, and it takes long to import.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = () if total is not None else (SpinnerColumn(), TextColumn("{task.completed:.0f} {task.description}"))
    display = Progress(*columns, console=Console(stderr=True), transient=True)
    display.add_task(what, total=total)
    return display
