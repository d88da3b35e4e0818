"""
Turns into a command: the program that the reactor starts, which prepares its own process and is then replaced by the command.

It is run as a file, C{launcher.py PARENT LIMIT FOLDER COMMAND...}, and does what C{spawnProcess} has no options for. What keeps
the command from being started is reported on standard error, as an C{errno}; the command's own standard error is discarded.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

# Open files of a command: what is usual. The daemon has raised its own limit, and many programs loop over all possible files.
FILES = 1024
# <linux/prctl.h>: the signal that a process gets when the thread that started it has ended.
PR_SET_PDEATHSIG = 1
# Signals that Python ignores, and programs expect not to be ignored.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def end_with(parent: int) -> None:
    """Be killed by the kernel when the parent ends in any way. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # The parent has ended already.
            os._exit(1)


def limit_files() -> None:
    """Lower the limit of open files to what is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft > FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def main() -> None:
    """Become the command."""
    parent, limit, folder, *argv = sys.argv[1:]
    # Python closes it when the command takes over.
    report = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        # The command and its children are one group, to be killed together; a Ctrl-C at a terminal is not meant for them.
        os.setsid()
        end_with(int(parent))
        # Survives the exec: an orphan ends at its limit where the kernel did not end it with its parent.
        signal.setitimer(signal.ITIMER_REAL, float(limit))
        limit_files()
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        os.execvp(argv[0], argv)  # noqa: S606 - what the operator named, split there, seen by no shell
    except OSError as error:
        os.write(report, str(error.errno).encode("ascii"))
        os._exit(1)


if __name__ == "__main__":
    main()
