"""
Starts as an operator sees them: with and without C{-n}, with options that mean nothing, and with a folder that lost a part.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, TWISTD, Daemon, Done, Person, Place, is_listening, until


class StartCase(SynchronousTestCase):
    """A place and a daemon that is not started."""

    def setUp(self) -> None:
        """Make them."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.daemon = Daemon(self.place)

    def made(self) -> None:
        """A state folder from a first start."""
        self.daemon.start()
        self.daemon.stop()

    def contents(self) -> dict[str, bytes]:
        """Every file of the state folder."""
        files = [path for path in self.daemon.state.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.daemon.state)): path.read_bytes() for path in files}


class DaemonisedTests(StartCase):
    """C{twistd} without C{-n}."""

    def setUp(self) -> None:
        """Where log and pid file lie."""
        super().setUp()
        self.log, self.pid_file = self.place.folder / "daemon.log", self.place.folder / "daemon.pid"

    def launch(self, *options: str) -> Done:
        """Start it, and wait until the terminal is free again."""
        where = ("--host", HOST, "--port", str(self.daemon.port), "--state", str(self.daemon.state))
        files = (f"--logfile={self.log}", f"--pidfile={self.pid_file}")
        before = os.umask(0o022)
        try:
            return self.place.start("twistd", TWISTD, *files, "securemsg", *where, *options).wait()
        finally:
            os.umask(before)

    def test_good(self) -> None:
        """The terminal is told of success; the daemon serves, its log is private, and it stops by its pid file."""
        done = self.launch()
        self.assertEqual((done.status, done.out, done.err), (0, "", ""))
        until(self.pid_file.exists, "a pid file")
        number = int(self.pid_file.read_text("ascii"))
        try:
            until(lambda: is_listening(self.daemon.port), "a daemon that listens")
            self.assertEqual(stat.S_IMODE(self.log.stat().st_mode), 0o600)
            Person(self.place, "ada").join(self.daemon.invite()).run("ping")
        finally:
            os.kill(number, signal.SIGTERM)
        until(lambda: not self.pid_file.exists(), "the end of the pid file")
        self.assertIn("securemsg stopped", self.log.read_text("utf-8"))

    def test_bad_key(self) -> None:
        """A damaged key is one line at the terminal, with status 1, and nothing is left running."""
        self.made()
        (self.daemon.state / "server.key").write_text("nonsense", "ascii")
        done = self.launch()
        self.assertEqual((done.status, done.out, done.err.count("\n")), (1, "", 1), done.err)
        self.assertIn("server.key is damaged", done.err)
        self.assertFalse(self.pid_file.exists())

    def test_bad_after_check(self) -> None:
        """What only shows after the terminal was left ends the daemon: one line in the log, no pid file, no journal."""
        self.made()
        (self.daemon.state / "contact" / "store.key").write_bytes(b"nonsense")
        started = time.monotonic()
        self.launch()
        until(lambda: self.log.exists() and "securemsg ends: " in self.log.read_text("utf-8"), "the line in the log")
        until(lambda: not self.pid_file.exists(), "the end of the pid file")
        self.assertLess(time.monotonic() - started, 60)
        self.assertNotIn("Traceback", self.log.read_text("utf-8"))
        self.assertEqual(list(self.daemon.state.rglob("*-wal")), [])
        self.assertFalse(is_listening(self.daemon.port))


class MissingPartTests(StartCase):
    """A state folder that lost a part is left as it is, so that the part can be put back."""

    def setUp(self) -> None:
        """A folder with somebody in it."""
        super().setUp()
        self.daemon.start()
        self.ada = Person(self.place, "ada").join(self.daemon.invite())
        self.daemon.stop()

    def refuse(self, path: Path, spoil: bool = False) -> None:
        """
        Without this file, or with an empty one, the daemon does not start and makes nothing; with it, it goes on as before.
        """
        kept = path.read_bytes()
        path.unlink()
        if spoil:
            path.touch()
        before = self.contents()
        done = self.daemon.launch().wait()
        self.assertEqual((done.status, done.out, done.err.count("\n")), (1, "", 1), done.out + done.err)
        self.assertIn(str(path), done.err)
        self.assertIn("restore", done.err)
        self.assertTrue(self.contents() == before, "something was made or changed")
        path.write_bytes(kept)
        path.chmod(0o600)
        self.daemon.start()
        self.ada.send("server", "still there?")

    def test_database(self) -> None:
        """The database is missing."""
        self.refuse(self.daemon.state / "server.db")

    def test_empty_database(self) -> None:
        """The database is empty."""
        self.refuse(self.daemon.state / "server.db", spoil=True)

    def test_key(self) -> None:
        """The server identity is missing."""
        self.refuse(self.daemon.state / "server.key")

    def test_contact(self) -> None:
        """The store of the contact is missing."""
        self.refuse(self.daemon.state / "contact" / "profile.db")


class UsageTests(StartCase):
    """What means nothing is one line on standard error, with status 2."""

    def test_usage(self) -> None:
        """Numbers that are none, options that are unknown, and a wildcard host that invites could not name."""
        for word, *options in (("--port", "--port", "abc"), ("no-such", "--no-such"), ("--advertise", "--host", "0.0.0.0")):  # noqa: S104
            done = self.place.start("twistd", TWISTD, "-n", "securemsg", *options).wait()
            self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1), done.out + done.err)
            self.assertTrue(done.err.startswith("securemsg: "), done.err)
            self.assertIn(word, done.err)


class SignalTests(StartCase):
    """Signals that end other programs."""

    def test_log_file(self) -> None:
        """With a log file, SIGHUP and SIGUSR1 reopen it, as after logrotate has moved it."""
        log = self.place.folder / "daemon.log"
        where = ("--host", HOST, "--port", str(self.daemon.port), "--state", str(self.daemon.state))
        self.daemon.running = self.place.start("twistd", TWISTD, "-n", f"--logfile={log}", "securemsg", *where)
        until(lambda: is_listening(self.daemon.port), "a daemon that listens")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            log.rename(log.with_suffix(".1"))
            self.daemon.running.process.send_signal(number)
            until(lambda: log.exists() and "reopened" in log.read_text("utf-8"), "a new log")
        self.daemon.admin("accounts")
        self.daemon.stop()
        self.assertIn("securemsg stopped", log.read_text("utf-8"))

    def test_terminal(self) -> None:
        """Where the log is standard output they end nothing."""
        self.daemon.start()
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.daemon.running.process.send_signal(number)
        lines = ("signal ignored", "the options were read again")
        until(lambda: all(line in self.daemon.log for line in lines), "two lines")
        self.daemon.admin("accounts")


class PidFileTests(StartCase):
    """The file with the daemon's process id."""

    def test_none(self) -> None:
        """At the terminal none is made, so that nothing of a killed daemon blocks the next."""
        (self.place.folder / "twistd.pid").write_text("1", "ascii")
        self.daemon.start()
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual((self.place.folder / "twistd.pid").read_text("ascii"), "1")

    def test_second_daemon(self) -> None:
        """One that another daemon has made stays, and is a reason not to start."""
        path = self.place.folder / "daemon.pid"
        where = (f"--pidfile={path}", "securemsg", "--host", HOST, "--state")
        self.daemon.running = self.place.start(
            "twistd", TWISTD, "-n", *where, str(self.daemon.state), "--port", str(self.daemon.port)
        )
        until(lambda: path.exists() and is_listening(self.daemon.port), "a daemon with a pid file that listens")
        number = path.read_text("ascii")
        second = self.place.start("twistd", TWISTD, "-n", *where, str(self.place.folder / "other"), "--port", "1").wait()
        self.assertEqual(second.status, 1)
        self.assertIn(f"names process {number}", second.err)
        self.assertEqual(second.err.count("\n"), 1)
        self.assertEqual(path.read_text("ascii"), number)
