"""
How processes of one profile wake each other: a FIFO that the process with the connection listens to, and the others write
into. The listener is L{securemsg.account.wakefifo}.

A wake-up says only: look into the store. One that gets lost costs a second: the listener looks once a second anyway.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

# In a profile's folder.
WAKE = "wake"
# One byte is one wake-up; the buffer of the FIFO bounds how many can wait to be read.
_BYTE = b"!"


def wake(folder: Path | None) -> bool:
    """
    Wake the process that has the connection of the profile in this folder, if there is one. This never waits.

    @return: whether somebody listens.
    """
    if folder is None:
        return False
    descriptor = _open(folder)
    if descriptor < 0:
        return False
    try:
        os.write(descriptor, _BYTE)
    except OSError:
        # The FIFO is full: the process is being woken already.
        return False
    finally:
        os.close(descriptor)
    return True


def is_heard(folder: Path) -> bool:
    """Whether a process has the connection of the profile in this folder: whether anybody would hear L{wake}."""
    descriptor = _open(folder)
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def _open(folder: Path) -> int:
    """
    Open the FIFO for writing.

    @return: the descriptor; -1: nobody listens.
    """
    try:
        descriptor = os.open(folder / WAKE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return -1
