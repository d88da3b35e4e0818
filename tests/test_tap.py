"""
Tests of L{securemsg.tap} and the daemon: what is checked before the daemon leaves the terminal,
what it does when it cannot go on, and what its contact answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import pwd
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest import skipUnless

from attrs import define, field
from twisted.application.service import ServiceMaker
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.coredump import PR_SET_DUMPABLE
from securemsg.crypto.keys import spki_digest, tls_key_pair
from securemsg.daemon import service
from securemsg.daemon.certificate import (
    CERTIFICATE_DAYS,
    DAY,
    TLS_CERTIFICATE,
    TLS_KEY,
    IssuedPair,
    OwnPair,
    load_credentials,
)
from securemsg.daemon.folder import DATABASE, HIGH_WATER, SERVER_KEY, FolderLock, StateError, open_folder, write_private
from securemsg.daemon.hosted import HostedContact
from securemsg.daemon.service import LOOK, MINUTE, SETTLE_TIME, SPARE_FILES, STOP_TIME, Daemon
from securemsg.errors import Refusal
from securemsg.net.control import MAX_SOCKET_PATH
from securemsg.responders.choice import ANSWERS
from securemsg.server.core import Server
from securemsg.storage.errors import StateDamaged
from securemsg.storage.sqlite.store import ServerStore
from securemsg.tap import Options, makeService, state_folder
from tests.net.fakes import scratch

PR_GET_DUMPABLE = 3


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield port


class FolderCase(SynchronousTestCase):
    """A short path for a state folder, and a port."""

    def setUp(self) -> None:
        """Choose them. What is checked sets the umask."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.state = scratch(self) / "state"
        with free_port() as port:
            self.port = port

    def options(self, *arguments: str) -> Options:
        """A command line."""
        options = Options()
        options.parseOptions(["--state", str(self.state), "--port", str(self.port), *arguments])
        return options

    def complaint(self, *arguments: str, status: int = 1) -> str:
        """What a start that fails says, in one line on standard error."""
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown), self.assertRaises(SystemExit) as caught:
            makeService(self.options(*arguments))
        self.assertEqual(caught.exception.code, status)
        text = shown.getvalue()
        self.assertTrue(text.startswith("securemsg: "))
        self.assertEqual(text.count("\n"), 1)
        return text


class CoreTests(FolderCase):
    """Keys stay in memory."""

    @skipUnless(sys.platform == "linux", "prctl is Linux's")
    def test_no_core(self) -> None:
        """Before it reads a key the daemon forbids that its memory is dumped or looked into."""
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        self.complaint("--port", "99", "--key-file", str(self.state.parent))
        self.assertEqual(resource.getrlimit(resource.RLIMIT_CORE), (0, 0))
        self.assertEqual(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0)


class PluginTests(SynchronousTestCase):
    """What twistd finds."""

    def test_plugin(self) -> None:
        """The plugin leads here."""
        plugin = namedAny("twisted.plugins.securemsg_plugin").securemsg
        self.assertIsInstance(plugin, ServiceMaker)
        self.assertIs(plugin.options, Options)
        self.assertIs(plugin.makeService, makeService)


class CheckTests(FolderCase):
    """A daemon that cannot start says why before it leaves the terminal, and changes nothing."""

    def test_good(self) -> None:
        """Where nothing is in the way there is a service, and nothing was made yet."""
        service = makeService(self.options())
        self.assertIsInstance(service, Daemon)
        self.assertFalse(self.state.exists())

    def test_umask(self) -> None:
        """Log and pid file are for their owner alone, unless twistd has a --umask."""
        for umask, expected in ((None, 0o077), (0o027, 0o022)):
            os.umask(0o022)
            options = self.options()
            options.parent = UsageOptions()
            options.parent.update(umask=umask, pidfile="")
            makeService(options)
            self.assertEqual(os.umask(0o022), expected)

    def test_port(self) -> None:
        """The port is taken."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            self.port = other.getsockname()[1]
            self.assertIn(f"127.0.0.1:{self.port} is taken", self.complaint())

    def test_address(self) -> None:
        """The address is another machine's."""
        self.assertIn("not an address of this machine", self.complaint("--host", "192.0.2.7"))

    def test_folder(self) -> None:
        """The state folder is a file."""
        self.state.write_text("mine")
        self.assertIn("not a folder", self.complaint())
        self.assertEqual(self.state.read_text(), "mine")

    def test_open_folder(self) -> None:
        """Others can read the state folder."""
        self.state.mkdir()
        (self.state / "x").touch()
        self.state.chmod(0o755)
        self.assertIn(f"chmod 700 {self.state}", self.complaint())

    def test_second_daemon(self) -> None:
        """Another daemon uses the state folder."""
        open_folder(self.state)
        with FolderLock(self.state):
            self.assertIn("another daemon", self.complaint())

    def test_socket_path(self) -> None:
        """The path of the control socket would be too long."""
        self.state = self.state / ("x" * MAX_SOCKET_PATH)
        self.assertIn("107 is the most", self.complaint())

    def test_no_prometheus(self) -> None:
        """The library for metrics is missing."""
        before = sys.modules.get("prometheus_client")
        sys.modules["prometheus_client"] = None  # type: ignore[assignment]
        try:
            self.assertIn("pipx install --force '.[metrics]'", self.complaint("--metrics", "tcp:9100"))
        finally:
            del sys.modules["prometheus_client"]
            if before is not None:
                sys.modules["prometheus_client"] = before

    def test_metrics_port(self) -> None:
        """The port for metrics is taken, or its socket's path too long."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            said = self.complaint("--metrics", f"tcp:{taken}")
        self.assertIn(f"127.0.0.1:{taken} is taken; stop what listens there, or choose another with --metrics", said)
        self.assertIn("107 is the most", self.complaint("--metrics", "unix:/" + "x" * MAX_SOCKET_PATH))

    def test_damaged_database(self) -> None:
        """The database is none; it stays as it is."""
        open_folder(self.state)
        write_private(self.state / DATABASE, b"not a database, but long enough to be one" * 200)
        before = (self.state / DATABASE).read_bytes()
        self.assertIn(str(self.state / DATABASE), self.complaint())
        self.assertEqual((self.state / DATABASE).read_bytes(), before)

    def test_newer_database(self) -> None:
        """A newer release wrote the database."""
        open_folder(self.state)
        write_private(self.state / DATABASE, b"")
        with contextlib.closing(sqlite3.connect(self.state / DATABASE)) as connection:
            connection.execute("CREATE TABLE x (y)")
            connection.execute("PRAGMA user_version = 999")
            connection.commit()
        self.assertIn(str(self.state / DATABASE), self.complaint())

    def test_exposed_key(self) -> None:
        """Others can read the server identity."""
        open_folder(self.state)
        write_private(self.state / SERVER_KEY, b"00" * 32)
        (self.state / SERVER_KEY).chmod(0o644)
        self.assertIn("chmod 600", self.complaint())

    def test_damaged_key(self) -> None:
        """The server identity is none; it is said before the terminal is left."""
        open_folder(self.state)
        for content in (b"", b"nonsense", b"00" * 31, b"\xff" * 64):
            write_private(self.state / SERVER_KEY, content)
            self.assertIn(f"{SERVER_KEY} is damaged", self.complaint())

    def test_missing_database(self) -> None:
        """Beside a key or a contact there has to be a database that is not empty; none is made."""
        for name, content in ((SERVER_KEY, b"00" * 32), ("contact/store.key", b"x")):
            self.state = scratch(self) / "state"
            open_folder(self.state)
            (self.state / "contact").mkdir()
            write_private(self.state / SERVER_KEY, b"00" * 32)
            write_private(self.state / name, content)
            self.assertIn(f"{self.state / DATABASE} is missing", self.complaint())
            self.assertFalse((self.state / DATABASE).exists())
            (self.state / DATABASE).touch()
            self.assertIn(f"{self.state / DATABASE} is empty", self.complaint())
            self.assertEqual((self.state / DATABASE).stat().st_size, 0)

    def test_missing_key(self) -> None:
        """Beside a contact there has to be a key; none is made."""
        open_folder(self.state)
        (self.state / "contact").mkdir()
        self.assertIn(f"{self.state / SERVER_KEY} is missing", self.complaint())
        self.assertFalse((self.state / SERVER_KEY).exists())

    def test_lost(self) -> None:
        """A database that is behind its mark, or gone with everything but that, keeps the daemon from starting."""
        open_folder(self.state)
        write_private(self.state / HIGH_WATER, b"1\n")
        self.assertIn(f"rm {self.state / HIGH_WATER}", self.complaint())
        self.assertEqual(list(self.state.iterdir()), [self.state / HIGH_WATER])

    def test_function(self) -> None:
        """A function that cannot be imported is an error before the daemon leaves the terminal, whatever the cause."""
        for name, problem in (
            ("no_such_module.answer", "ModuleNotFoundError"),
            ("json.no_such_function", "AttributeError"),
            ("json.__doc__", "is not a function"),
        ):
            self.assertIn(problem, self.complaint("--answer", f"python:{name}", status=2))

    def test_answer(self) -> None:
        """
        A word that is not known is answered with those that are; a command or function that cannot be one is told. All of that
        is wrong usage.
        """
        known = "ack, echo, none, exec:COMMAND and python:module.function, not 'all'"
        self.assertIn(known, self.complaint("--answer", "all", status=2))
        self.assertIn("quot", self.complaint("--answer", "exec:echo 'x", status=2))
        for value in ("exec:", "exec:   ", "python:", "python:answer", "python:a.b-c", "python:.a", "python:a..b"):
            self.assertIn("--answer", self.complaint("--answer", value, status=2))

    def test_record(self) -> None:
        """The record is open to others, or cannot be made."""
        path = self.state.parent / "record"
        path.touch(0o644)
        path.chmod(0o644)
        self.assertIn(f"chmod 600 {path}", self.complaint("--record", str(path)))
        self.assertIn("is not a folder", self.complaint("--record", str(path / "x")))

    def test_key_file(self) -> None:
        """The key file is none, is open to others unless that may be, or cannot be made; a missing one is not made yet."""
        path = self.state.parent / "key"
        makeService(self.options("--key-file", str(path)))
        makeService(self.options("--key-file", str(self.state / "key")))
        self.assertFalse(path.exists())
        self.assertIn("is not a folder", self.complaint("--key-file", str(path.parent / "none" / "key")))
        path.write_bytes(bytes(31))
        path.chmod(0o600)
        self.assertIn("has 31 bytes", self.complaint("--key-file", str(path)))
        path.write_bytes(bytes(32))
        path.chmod(0o644)
        self.assertIn("chmod 600", self.complaint("--key-file", str(path)))
        makeService(self.options("--key-file", str(path), "--loose"))

    def test_print_in_the_background(self) -> None:
        """In the background there is nothing to print on."""
        options = self.options("--print")
        options.parent = UsageOptions()
        for nodaemon in (0, 1):
            options.parent.update(umask=None, pidfile="", nodaemon=nodaemon)
            if nodaemon:
                makeService(options)
                continue
            shown = io.StringIO()
            with contextlib.redirect_stderr(shown), self.assertRaises(SystemExit) as caught:
                makeService(options)
            self.assertEqual(caught.exception.code, 2)
            self.assertIn("--print needs twistd's -n", shown.getvalue())

    def test_certificate(self) -> None:
        """The issued certificate is not there, or is none."""
        missing = str(self.state.parent / "missing.pem")
        self.assertIn(f"{missing} cannot be read", self.complaint("--cert", missing, "--key", missing))
        self.assertIn("not a certificate", self.complaint("--cert", __file__, "--key", __file__))


class FolderTests(SynchronousTestCase):
    """Where the state is kept."""

    def folder(self, *arguments: str) -> Path:
        """The folder that a command line leads to."""
        options = Options()
        options.parseOptions(list(arguments))
        return state_folder(options.setup)

    def test_given(self) -> None:
        """What the command line names comes first."""
        self.patch(os, "environ", {**os.environ, "STATE_DIRECTORY": "/var/lib/x"})
        self.assertEqual(self.folder("--state", "/s"), Path("/s"))

    def test_systemd(self) -> None:
        """Then what the service manager names, of several the first."""
        self.patch(os, "environ", {**os.environ, "STATE_DIRECTORY": "/var/lib/x:/var/lib/y"})
        self.assertEqual(self.folder(), Path("/var/lib/x"))

    def test_usual(self) -> None:
        """Else a folder of the user's."""
        others = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
        self.patch(os, "environ", {**others, "XDG_STATE_HOME": "/home/x/.state"})
        self.assertEqual(self.folder(), Path("/home/x/.state/securemsg"))

    def test_no_home(self) -> None:
        """A user id without an account has none: the option is named."""

        def nobody(number: int) -> None:
            raise KeyError(number)

        self.patch(os, "environ", {})
        self.patch(pwd, "getpwuid", nobody)
        self.assertIn("--state", str(self.assertRaises(StateError, self.folder)))


class FileLimitTests(FolderCase):
    """How many files the process may open bounds the connections: the accept that fails would be logged again and again."""

    def limit(self, files: int, wanted: int = 1000) -> tuple[int, list[str]]:
        """How many connections may be open with so many files, and what is logged."""
        self.patch(service, "raise_file_limit", lambda most: min(most, files))
        daemon = Daemon(self.options().setup, self.state, Clock())
        with capturedLogs() as events:
            limit = daemon._limit_connections(wanted)
        return limit, [str(formatEvent(event)) for event in events]

    def test_enough(self) -> None:
        """Nothing is said."""
        self.assertEqual(self.limit(10_000), (1000, []))

    def test_few(self) -> None:
        """The log says what to raise."""
        limit, [line] = self.limit(1024)
        self.assertEqual(limit, 1024 - SPARE_FILES)
        self.assertIn("ulimit -n", line)
        self.assertEqual(self.limit(100)[0], 50)

    def test_too_few(self) -> None:
        """A daemon that could serve nobody does not start."""
        self.assertIn("ulimit -n", str(self.assertRaises(StateError, self.limit, 16)))


class FatalTests(FolderCase):
    """After the start: one line in the log, and status 1."""

    def end(self, error: Exception) -> list[str]:
        """What a daemon logs that meets this error."""
        left: list[int] = []
        daemon = Daemon(self.options().setup, self.state, Clock(), left.append)
        with capturedLogs() as events:
            daemon._fail(Failure(error))
        self.assertEqual(left, [1])
        return [str(formatEvent(event)) for event in events if event["log_level"] is LogLevel.critical]

    def test_expected(self) -> None:
        """What was foreseen is one line, without a traceback."""
        for error in (StateError("the disk is full"), StateDamaged("the file is damaged")):
            self.assertEqual(self.end(error), [f"securemsg ends: {error}"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_disk(self) -> None:
        """A disk that fails under the store is one line, too, which says what to do."""
        left: list[int] = []
        daemon = Daemon(self.options().setup, self.state, Clock(), left.append)
        with capturedLogs() as events:
            daemon._lose_store(Failure(sqlite3.OperationalError("disk I/O error")))
        self.assertEqual(left, [1])
        (line,) = [str(formatEvent(event)) for event in events]
        self.assertIn("disk I/O error", line)
        self.assertIn("check the disk", line)

    def test_full_disk(self) -> None:
        """A full disk ends nothing: a line says what to do, new connections are refused, and another line says it is over."""
        daemon = Daemon(self.options().setup, self.state.parent, Clock(), lambda status: self.fail("it goes on"))
        core = FakeServer(frozenset())
        daemon._core = cast(Server, core)
        with capturedLogs() as events:
            for is_full in (True, False):
                daemon._disk_full_changed(is_full)
        full, over = [str(formatEvent(event)) for event in events]
        self.assertIn("free some space", full)
        self.assertIn(DATABASE, over)
        self.assertEqual(core.refused, ["retry-later", ""])

    def test_unexpected(self) -> None:
        """What was not is logged in full besides."""
        self.assertIn("securemsg ends: oh", self.end(ValueError("oh"))[-1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_bad_key_after_check(self) -> None:
        """A start that fails after the checks leaves no daemon behind that does not listen."""
        self.addCleanup(os.umask, os.umask(0o077))
        open_folder(self.state)
        write_private(self.state / SERVER_KEY, b"nonsense")
        left: list[int] = []
        clock = Clock()
        daemon = Daemon(self.options().setup, self.state, clock, left.append)
        with capturedLogs() as events:
            daemon.startService()
            self.assertEqual(left, [], "not before twistd has reported the child")
            clock.advance(0)
        self.assertEqual(left, [1])
        self.assertTrue([event for event in events if f"{SERVER_KEY} is damaged" in str(formatEvent(event))])
        self.successResultOf(daemon.stopService())

    def test_folder_taken_after_check(self) -> None:
        """Two daemons that start at once: one of them goes."""
        self.addCleanup(os.umask, os.umask(0o077))
        open_folder(self.state)
        left: list[int] = []
        clock = Clock()
        daemon = Daemon(self.options().setup, self.state, clock, left.append)
        with FolderLock(self.state):
            daemon.startService()
            clock.advance(0)
        self.assertEqual(left, [1])
        self.successResultOf(daemon.stopService())


class WatchdogTests(FolderCase):
    """What keeps the service manager from ending the daemon."""

    def test_fed(self) -> None:
        """The database has to answer; on a full disk, where it only waits for room, it need not."""
        alive: list[bool] = []
        open_folder(self.state)
        daemon = Daemon(self.options().setup, self.state, Clock())
        self.patch(daemon._supervisor, "alive", lambda: alive.append(True))
        asked: list[Deferred[int]] = []

        class Store:
            def high_water(self) -> Deferred[int]:
                asked.append(Deferred())
                return asked[-1]

        daemon._stores = cast(ServerStore, Store())
        daemon._ping_watchdog()
        self.assertEqual(alive, [])
        asked[0].callback(1)
        self.assertEqual(alive, [True])
        daemon._disk_full_changed(True)
        daemon._ping_watchdog()
        self.assertEqual((len(asked), alive), (1, [True, True]))
        self.assertIn("disk is full", daemon._monitor.problem)


class StopTests(FolderCase):
    """The orderly end."""

    def setUp(self) -> None:
        """A daemon that has begun to end."""
        super().setUp()
        self.clock = Clock()
        self.left: list[int] = []
        self.signals: list[bool] = []
        open_folder(self.state)
        self.daemon = Daemon(
            self.options().setup, self.state, self.clock, self.left.append, end_at_signal=lambda: self.signals.append(True)
        )
        self.core = FakeServer(frozenset())
        self.daemon._core = cast(Server, self.core)

    def test_settled(self) -> None:
        """Connections end once everything is answered; from the beginning another signal ends the process."""
        self.core.is_settled = False
        done = self.daemon.stopService()
        self.assertEqual(self.signals, [True])
        self.clock.pump([LOOK] * 20)
        self.assertEqual(self.core.ends, ["wind up"])
        self.core.is_settled = True
        self.clock.advance(LOOK)
        self.assertEqual(self.core.ends, ["wind up", "stop"])
        self.successResultOf(done)
        self.assertEqual(self.left, [])

    def test_not_settled(self) -> None:
        """Where the store does not answer, they end all the same after a while, and the log says so."""
        self.core.is_settled = False
        done = self.daemon.stopService()
        with capturedLogs() as events:
            self.clock.pump([1] * (SETTLE_TIME - 1))
            self.assertEqual(self.core.ends, ["wind up"])
            self.clock.pump([1, LOOK])
        self.assertEqual(self.core.ends, ["wind up", "stop"])
        self.assertIn("not everything", str(formatEvent(events[0])))
        self.successResultOf(done)

    def test_out_of_time(self) -> None:
        """What hangs for longer is left as it is: the process ends, with status 1."""
        contact = FakeContact()
        self.daemon._contact = cast(HostedContact, contact)
        done = self.daemon.stopService()
        self.clock.pump([1] * (STOP_TIME - 1))
        self.assertEqual(self.left, [])
        with capturedLogs() as events:
            self.clock.advance(1)
        self.assertIn("without closing its files", str(formatEvent(events[0])))
        self.assertEqual(self.left, [1])
        self.successResultOf(done)


class CertificateTests(FolderCase):
    """The certificate of a daemon that runs for years."""

    def setUp(self) -> None:
        """One with a clock of its own, and a certificate of its own."""
        super().setUp()
        open_folder(self.state)
        self.clock = Clock()
        self.start = time.time()
        self.daemon = Daemon(self.options().setup, self.state, self.clock, lambda status: self.fail("it goes on"))
        self.daemon._core = cast(Server, FakeServer(frozenset()))
        self.pair = OwnPair(self.state, ["localhost"], tls_key_pair, spki_digest, lambda: self.start + self.clock.seconds())
        self.renewals: list[bool] = []
        self.daemon._renew_udp = lambda: self.renewals.append(True)

    def test_renewed(self) -> None:
        """It is made anew before it expires, for UDP as well, and no sooner."""
        self.daemon._own = self.pair
        before = self.pair.credentials.spki
        self.daemon._minutes.start(MINUTE, now=False)
        self.clock.pump([DAY] * (CERTIFICATE_DAYS - 91))
        self.assertEqual((self.pair.credentials.spki, self.renewals), (before, []))
        # The new one is made by the real clock, so that it would be due again at the next look.
        self.clock.advance(2 * DAY)
        self.assertNotEqual(self.pair.credentials.spki, before)
        self.assertEqual(self.renewals, [True])

    def test_rotated(self) -> None:
        """The operator has it made anew, unless it is an issued one, or cannot be written."""
        self.assertEqual(self.assertRaises(Refusal, self.daemon._rotate_key).code, "forbidden")
        self.daemon._own = self.pair
        self.daemon._rotate_key()
        self.assertEqual(self.renewals, [True])
        self.state.rename(self.state.with_name("moved"))
        self.assertEqual(self.assertRaises(Refusal, self.daemon._rotate_key).code, "retry-later")
        self.assertEqual(self.renewals, [True])

    def test_warned(self) -> None:
        """An issued one that is about to expire is a warning."""
        files = self.state / TLS_CERTIFICATE, self.state / TLS_KEY
        self.daemon._issued = IssuedPair(load_credentials(*files, spki_digest), spki_digest, lambda: self.start + 720 * DAY)
        with capturedLogs() as events:
            self.daemon._tick()
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])


@define
class FakeContact:
    """The contact as the daemon sees it, which takes forever to stop."""

    forgotten: list[frozenset[bytes]] = field(factory=list)
    is_stopped: bool = False

    def forget_gone(self, present: frozenset[bytes]) -> None:
        """See L{securemsg.daemon.hosted.HostedContact.forget_gone}."""
        self.forgotten.append(present)

    def stop(self) -> Deferred[None]:
        """See L{securemsg.daemon.hosted.HostedContact.stop}."""
        return Deferred()

    def stop_answering(self) -> None:
        """See L{securemsg.daemon.hosted.HostedContact.stop_answering}."""
        self.is_stopped = True


@define
class FakeServer:
    """A server core whose guests are these."""

    guests: frozenset[bytes]
    refused: list[str] = field(factory=list)
    is_settled: bool = True
    ends: list[str] = field(factory=list)

    def wind_up(self) -> None:
        """See L{securemsg.server.core.Server.wind_up}."""
        self.ends.append("wind up")

    def stop(self) -> None:
        """See L{securemsg.server.core.Server.stop}."""
        self.ends.append("stop")

    def refuse_connections(self, code: str) -> None:
        """See L{securemsg.server.core.Server.refuse_connections}."""
        self.refused.append(code)

    def tick(self) -> None:
        """See L{securemsg.server.core.Server.tick}."""


class ContactTests(FolderCase):
    """The daemon and its contact."""

    def setUp(self) -> None:
        """A daemon whose contact has logged in."""
        super().setUp()
        self.left: list[int] = []
        self.daemon = Daemon(self.options().setup, self.state, Clock(), self.left.append)
        self.contact = FakeContact()
        self.daemon._contact = cast(HostedContact, self.contact)

    def test_minute(self) -> None:
        """Every minute the contact forgets guests who are not connected."""
        self.daemon._core = cast(Server, FakeServer(frozenset([b"here"])))
        self.daemon._tick()
        self.assertEqual(self.contact.forgotten, [frozenset([b"here"])])

    def test_end(self) -> None:
        """A daemon that cannot go on, and closes nothing, leaves no command of its contact's running."""
        with capturedLogs():
            self.daemon._lose_store(Failure(sqlite3.OperationalError("disk I/O error")))
        self.assertEqual((self.contact.is_stopped, self.left), (True, [1]))


class AnswerTests(SynchronousTestCase):
    """What the contact C{server} answers."""

    message = Received(1, b"", "ada", "server", 1, 1_795_255_200, "hello", 1, True, "pqxdh", 0, "")

    def test_ack(self) -> None:
        """The time of receipt, in UTC."""
        self.assertEqual(ANSWERS["ack"](self.message), "Message received at 2026-11-21T10:00:00Z")

    def test_echo(self) -> None:
        """The text itself."""
        self.assertEqual(ANSWERS["echo"](self.message), "hello")

    def test_none(self) -> None:
        """Nothing."""
        self.assertIsNone(ANSWERS["none"](self.message))

    def test_every_kind(self) -> None:
        """Whatever the command line offers exists."""
        for kind in ANSWERS:
            options = Options()
            options.parseOptions(["--answer", kind])
            self.assertEqual(options.setup.answer, kind)
