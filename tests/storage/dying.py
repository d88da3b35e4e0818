"""
A process that dies between two steps at files: from some step on, nothing that it tries happens any more.

The steps are what Python audits before it does it: opening, linking, renaming, removing. So a test can go through all moments
of death in its own process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

STEPS = ("open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "sqlite3.connect")


class Died(BaseException):
    """The process is dead."""


class _Life:
    """The life of the process under test: how many steps it has left; below 0: it is not under test."""

    left = -1

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        """A step is about to be taken."""
        if self.left < 0 or event not in STEPS:
            return
        if self.left == 0:
            raise Died
        self.left -= 1


_life = _Life()


def dies_after(steps: int, work: Callable[[], object]) -> bool:
    """
    Do something in a process that dies after so many steps.

    @return: whether it died.
    """
    _watch()
    _life.left = steps
    try:
        work()
    except Died:
        return True
    finally:
        _life.left = -1
    return False


def _watch() -> None:
    """See the steps, from the first time on: a hook cannot be removed."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_life.see)


_hooked: list[bool] = []
