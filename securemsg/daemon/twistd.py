"""What the daemon changes about C{twistd}: its pid file, its log file, and what SIGHUP, SIGUSR1 and a second SIGTERM do."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

from twisted.logger import ILogObserver, Logger, textFileLogObserver
from twisted.python.logfile import LogFile

# twistd's names where none are given.
PID_FILE = "twistd.pid"
LOG_FILE = "twistd.log"
# A log file grows to so many bytes, and so many older ones are kept.
LOG_SIZE = 10 * 2**20
LOGS_KEPT = 9
# Their default action would end the process.
SIGNALS = (signal.SIGHUP, signal.SIGUSR1)

Twistd = MutableMapping[str, Any]
_log = Logger()


class PidFileTaken(Exception):
    """The daemon cannot start with this pid file; the text says in one line why, and what to do."""


def clear_pid_file(twistd: Twistd) -> None:
    """
    In the foreground make no pid file unless one is asked for, and remove one that names no other daemon, which would keep
    twistd from starting. The lock in the state folder tells whether that is in use.

    @raise PidFileTaken: it names another daemon, as far as one can see, or cannot be read.
    """
    if twistd.get("pidfile") == PID_FILE and in_foreground(twistd):
        twistd["pidfile"] = ""
    if twistd.get("pidfile"):
        path = Path(twistd["pidfile"])
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise PidFileTaken(f"{path} is no pid file: {error.strerror}; name another with --pidfile") from error
        if _names_daemon(content):
            raise PidFileTaken(
                f"{path} names process {int(content)}, which seems to be a running daemon; stop it, or name another --pidfile"
            )
        with contextlib.suppress(OSError):
            path.unlink()


def in_foreground(twistd: Twistd) -> bool:
    """Whether twistd stays at the terminal."""
    return bool(twistd.get("nodaemon") or twistd.get("debug"))


def _names_daemon(content: bytes) -> bool:
    """Whether this is the id of a running daemon other than this process, as far as one can see."""
    if not content.strip().isdigit():
        return False
    pid = int(content)
    if pid in (0, os.getpid()):
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        # The word alone: a path may hold it as well.
        return b"securemsg" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True


def end_process(pid_file: Path | None, status: int) -> None:
    """End the process at once, and remove its pid file."""
    _remove(pid_file)
    os._exit(status)


def end_at_next_signal(pid_file: Path | None) -> None:
    """
    Have another SIGTERM or SIGINT end the process at once, while it closes after the first: as the signal ends any process,
    which service managers count as a clean end.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _remove(pid_file)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Of process 1, as in a container, the kernel keeps that away.
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _remove(pid_file: Path | None) -> None:
    """Remove the pid file, if it is ours."""
    if pid_file is not None:
        with contextlib.suppress(OSError):
            if pid_file.read_text("ascii") == str(os.getpid()):
                pid_file.unlink()


class DaemonLog:
    """The log file, which is reopened when a signal asks for that, as after C{logrotate} has moved it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: LogFile | None = None

    def observe(self, make: Callable[[IO[Any]], ILogObserver] = textFileLogObserver) -> ILogObserver:
        """
        Open it.

        @param make: makes what writes to it.
        """
        self._file = LogFile.fromFullPath(str(self._path), rotateLength=LOG_SIZE, maxRotatedFiles=LOGS_KEPT)
        return make(cast("IO[Any]", self._file))

    def reopen(self) -> None:
        """
        Reopen it, if it was opened.

        @raise OSError: it cannot be opened; the log goes on where it went.
        """
        if self._file is not None:
            # Twisted closes the old one first, and would have none.
            self._path.open("ab").close()
            self._file.reopen()


def has_own_log(twistd: Twistd) -> bool:
    """Whether the log is ours to write, and not that of the system, or of another logger."""
    return not (twistd.get("syslog") or twistd.get("logger"))


def log_file_of(twistd: Twistd) -> DaemonLog | None:
    """The file to which twistd is to write its log; C{None}: it goes elsewhere."""
    if not has_own_log(twistd):
        return None
    name = twistd.get("logfile") or ("-" if in_foreground(twistd) else LOG_FILE)
    if name == "-":
        return None
    # Absolute, because twistd may change its folder.
    return DaemonLog(Path(name).absolute())


def ignore_signals() -> None:
    """Have these signals end nothing until there are handlers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def install_signal_handlers(
    log: DaemonLog | None, call: Callable[[Callable[[], None]], object], reload: Callable[[], None]
) -> None:
    """
    Reopen the log at these signals, which by default end a process.

    @param call: makes a call in the reactor's thread, outside the signal's handler.
    @param reload: what SIGHUP asks for besides.
    """

    def reopen() -> None:
        try:
            if log is not None:
                log.reopen()
        except OSError as error:
            _log.error("the log cannot be reopened, and goes on in the old file: {problem}", problem=str(error))
            return
        _log.info("the log was reopened" if log is not None else "signal ignored: the log does not go to a file")

    def handle(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGHUP or log is not None:
            call(reopen)
        if number == signal.SIGHUP:
            call(reload)

    for number in SIGNALS:
        signal.signal(number, handle)
