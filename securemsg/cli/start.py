"""
The console script's entry. It imports next to nothing, so that Ctrl-C ends it in order while everything else is being imported.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
# How many more objects are made than freed before the garbage collector looks. With Python's 700 it looks at all that was
# imported again and again: up to a tenth of what a command costs that connects.
YOUNG = 10_000


def main() -> None:
    """Import the command line and run it, and end the process."""
    gc.set_threshold(YOUNG)
    try:
        # No exception, because code that is being imported could swallow it. An ignored signal stays ignored.
        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_ours:
            signal.signal(signal.SIGINT, _end)
        if "serve" in sys.argv[1:]:
            # They never end a daemon, not even one that is still starting.
            for number in (signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
        from securemsg.cli.main import main as command_line

        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has started yet."""
    os._exit(INTERRUPTED)
