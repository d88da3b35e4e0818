"""Keeps keys out of core dumps, and out of reach of other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
import sys

# prctl(2)
PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """
    Let no crash write our memory to disk. Linux then also refuses other processes of our user a look into it: debuggers, and
    C{environ}, C{fd}, C{maps} and C{mem} in C{/proc/PID}.
    """
    # What we start inherits the limit, but not the refusal.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, *[ctypes.c_ulong(0)] * 4)
