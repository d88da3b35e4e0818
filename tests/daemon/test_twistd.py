"""Tests of L{securemsg.daemon.twistd}: what keeps the daemon from starting, and what happens to its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon import twistd
from securemsg.daemon.twistd import (
    DaemonLog,
    PidFileTaken,
    clear_pid_file,
    ignore_signals,
    install_signal_handlers,
    log_file_of,
)
from tests.net.fakes import scratch

# Ids of processes end far below.
NOBODY = 2**31 - 1
ROOT = Path(__file__).resolve().parent.parent.parent


class PidFileTests(SynchronousTestCase):
    """A file that names no other daemon does not keep this one from starting."""

    def setUp(self) -> None:
        """Where it lies."""
        self.path = scratch(self) / "twistd.pid"

    def is_kept(self, content: bytes) -> bool:
        """Whether a file with this content stays."""
        self.path.write_bytes(content)
        clear_pid_file({"pidfile": str(self.path), "nodaemon": 1})
        return self.path.exists()

    def test_of_nobody(self) -> None:
        """Empty after a power cut; damaged; of a process that is gone; of this process, as in a container after a kill."""
        for content in (b"", b"\0\0\0", b"x", b"0", b"-1", str(NOBODY).encode(), b"9" * 30, str(os.getpid()).encode()):
            self.assertFalse(self.is_kept(content), content)

    def test_of_another_program(self) -> None:
        """Of a process that is no daemon of ours."""
        self.assertFalse(self.is_kept(str(self.start("idle")).encode()))

    def test_of_a_daemon(self) -> None:
        """Of a daemon that runs: one line says so."""
        pid = self.start("securemsg")
        self.assertIn(f"names process {pid}", str(self.assertRaises(PidFileTaken, self.is_kept, f"{pid}\n".encode())))
        self.assertTrue(self.path.exists())

    def test_folder(self) -> None:
        """A folder is no pid file."""
        given = {"pidfile": str(self.path.parent), "nodaemon": 1}
        self.assertIn("Is a directory", str(self.assertRaises(PidFileTaken, clear_pid_file, given)))

    def start(self, name: str) -> int:
        """Start a process with this argument: its id."""
        code = "import sys; print(flush=True); sys.stdin.read()"
        process = subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        self.addCleanup(process.wait)
        self.addCleanup(process.communicate)
        return process.pid

    def test_default(self) -> None:
        """At the terminal there is none unless it is asked for; in the background twistd's stays, to end the daemon by."""
        for options, expected in (
            ({"nodaemon": 1}, ""),
            ({"debug": 1}, ""),
            ({}, "twistd.pid"),
        ):
            given: dict[str, Any] = {"pidfile": "twistd.pid", **options}
            clear_pid_file(given)
            self.assertEqual(given["pidfile"], expected)
        clear_pid_file(given := {"pidfile": "", "nodaemon": 1})
        self.assertEqual(given["pidfile"], "")


class LogTests(SynchronousTestCase):
    """The log file is reopened at a signal."""

    def setUp(self) -> None:
        """Signals of this process do afterwards what they did before."""
        self.path = scratch(self) / "daemon.log"
        for number in twistd.SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_reopened(self) -> None:
        """What is written after the signal goes to a new file of the old name, whose mode follows the umask."""
        self.addCleanup(os.umask, os.umask(0o027))
        options: dict[str, Any] = {"logfile": str(self.path)}
        log = log_file_of(options)
        assert log is not None
        write = Logger(observer=log.observe()).info
        write("one")
        calls: list[Callable[[], None]] = []
        install_signal_handlers(log, calls.append, lambda: None)
        for count, number in enumerate(twistd.SIGNALS, 1):
            moved = self.path.with_name(f"moved{count}")
            self.path.rename(moved)
            os.kill(os.getpid(), number)
            # At SIGHUP the options are read again besides.
            self.assertEqual(len(calls), 2 if number == signal.SIGHUP else 1)
            call = calls[0]
            calls.clear()
            call()
            write("two")
            self.assertIn("two", self.path.read_text("utf-8"))
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertIn("one", self.path.with_name("moved1").read_text("utf-8"))

    def test_still_starting(self) -> None:
        """Before there are handlers the signals end nothing either."""
        for number in twistd.SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        ignore_signals()
        for number in twistd.SIGNALS:
            os.kill(os.getpid(), number)

    def test_second_signal(self) -> None:
        """The signal after the first ends the process at once, as it ends any other; its pid file goes."""
        for number in (signal.SIGTERM, signal.SIGINT):
            pid_file = self.path.with_name("pid")
            code = (
                "import os, sys, time; from pathlib import Path; from securemsg.daemon.twistd import end_at_next_signal;"
                "pid_file = Path(sys.argv[1]); pid_file.write_text(str(os.getpid())); end_at_next_signal(pid_file);"
                "os.kill(os.getpid(), int(sys.argv[2])); time.sleep(60)"
            )
            line = [sys.executable, "-c", code, str(pid_file), str(int(number))]
            done = subprocess.run(line, cwd=ROOT, check=False, timeout=60)
            self.assertEqual(done.returncode, -number)
            self.assertFalse(pid_file.exists())

    def test_no_file(self) -> None:
        """Where the log is no file the signals end nothing."""
        calls: list[Callable[[], None]] = []
        reread: list[bool] = []
        install_signal_handlers(None, calls.append, lambda: reread.append(True))
        for number in twistd.SIGNALS:
            os.kill(os.getpid(), number)
        for call in calls:
            call()
        self.assertEqual(reread, [True])
        self.assertEqual(len(calls), len(twistd.SIGNALS))

    def test_no_folder(self) -> None:
        """Where it cannot be opened it goes on in the old file, and the next signal opens it."""
        folder = self.path.parent / "logs"
        folder.mkdir()
        log = log_file_of({"logfile": str(folder / "log")})
        assert log is not None
        write = Logger(observer=log.observe()).info
        folder.rename(folder.with_name("old"))
        self.assertRaises(OSError, log.reopen)
        write("one")
        folder.mkdir()
        log.reopen()
        write("two")
        self.assertIn("one", (folder.with_name("old") / "log").read_text("utf-8"))
        self.assertIn("two", (folder / "log").read_text("utf-8"))

    def test_not_opened(self) -> None:
        """A signal before twistd has opened the file makes none."""
        DaemonLog(self.path).reopen()
        self.assertFalse(self.path.exists())

    def test_ours(self) -> None:
        """twistd's own choices stay: standard output at the terminal, the system's log, another logger."""
        for options in ({"nodaemon": 1}, {"nodaemon": 1, "logfile": "-"}, {"syslog": 1, "logfile": "x"}, {"logger": "x"}):
            self.assertIsNone(log_file_of(dict(options)), options)
        log = log_file_of({})
        assert log is not None
        self.assertEqual(log._path, Path("twistd.log").absolute())

    def test_bounded(self) -> None:
        """A log that grows is rotated, and so many older files are kept."""
        log = DaemonLog(self.path)
        log.observe()
        assert log._file is not None
        self.assertEqual((log._file.rotateLength, log._file.maxRotatedFiles), (twistd.LOG_SIZE, twistd.LOGS_KEPT))
