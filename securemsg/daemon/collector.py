"""The garbage collector of a process that runs for long and frees nearly everything by reference counts."""

from __future__ import annotations

import gc

# How many more objects are made than freed before the young ones are examined; after how many such collections the middle
# generation is, and after how many of those the old one. With Python's 700, 10 and 10 every connection would be examined again
# and again while thousands of messages wait for an answer.
YOUNG = 20_000
MIDDLE = 50
OLD = 100


def relax_collector() -> None:
    """
    Pass over everything that is in memory now for good, and look at the rest less often: a look at all of it holds up all
    connections for as long as thousands of messages take.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
