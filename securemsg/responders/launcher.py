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
import time

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


def kill_group_after(seconds: float) -> None:
    """
    Leave a process behind that kills the command and its children at the limit, if nobody has done so before.

    It is adopted by init, so that a command that waits for all its children does not wait for it.
    """
    if os.fork():
        os.wait()
        return
    if os.fork():
        os._exit(0)
    # It must hold no pipe open.
    os.closerange(0, FILES)
    time.sleep(seconds)
    os.killpg(0, signal.SIGKILL)


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
        kill_group_after(float(limit))
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
