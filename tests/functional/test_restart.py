"""
A service manager keeps the listening socket, and starts one daemon after another on it: under load a restart loses nothing,
shows nothing twice, and refuses no connection, whether the daemon was asked to end or was killed.

How many restarts is said with C{--rounds}: a sixth of it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import socket
import threading
import time

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, TWISTD, Daemon, Person, Place, RoundsCase, Running, until

# Puts the socket where systemd puts its first.
HANDED = "import os; os.dup2(int(os.environ['HANDED']), 3); "
# Between two lines of a person, and between two knocks at the port, seconds.
TYPING = 0.02
KNOCKING = 0.005
# How long the load flows before a restart, seconds, at most.
SPAN = 0.4
PATIENCE = 60
# Seconds that an orderly end may take.
STOP_TIME = 30


@define(eq=False)
class ActivatedDaemon(Daemon):
    """A daemon that is given its socket."""

    listening: socket.socket = field(kw_only=True)

    def launch(self, stdout: int | None = None) -> Running:
        """Start it as systemd does."""
        arguments = ("-n", "securemsg", "--port", "fd:3", "--advertise", f"{HOST}:{self.port}", "--state", str(self.state))
        number = self.listening.fileno()
        self.running = self.place.start("twistd", HANDED + TWISTD, *arguments, HANDED=str(number), pass_fds=(number,))
        return self.running

    def start(self, stdout: int | None = None) -> None:
        """Start it, and wait until it says that it serves: whoever connects is not refused before that, but waits."""
        running = self.launch(stdout)
        until(lambda: not running.is_alive or "securemsg listens" in self.log, "a daemon that listens")
        assert running.is_alive, self.log


@define(eq=False)
class Knocker:
    """
    Connects and hangs up, again and again.

    @ivar refused: the errors.
    """

    port: int
    count: int = 0
    refused: list[OSError] = field(factory=list)
    _stopped: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._knock, name="knocker")
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def _knock(self) -> None:
        """The thread."""
        while not self._stopped.wait(KNOCKING):
            try:
                socket.create_connection((HOST, self.port), PATIENCE).close()
            except OSError as error:
                self.refused.append(error)
            self.count += 1


@define(eq=False)
class Talker:
    """Types numbered lines to somebody, and is shown what comes."""

    person: Person
    to: str
    chat: Running = field(init=False)
    reader: Running = field(init=False)
    typed: int = 0

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.reader = self.person.start("recv", "--follow", "--json")
        self.chat = self.person.start("chat", self.to, pipe=True)

    def type(self) -> None:
        """One line more."""
        self.chat.type(f"line {self.typed}\n")
        self.typed += 1


class RestartTests(RoundsCase):
    """Three people write to each other in a ring."""

    def setUp(self) -> None:
        """A socket that stays, a daemon on it, and the people."""
        seed = random.randrange(2**32)
        self.random = random.Random(seed)
        self.note = f"seed {seed}"
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        listening = socket.create_server((HOST, 0), backlog=1024)
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        self.daemon = ActivatedDaemon(self.place, port=port, listening=listening)
        self.daemon.start()
        invite = self.daemon.invite(3)
        names = ("ada", "ben", "cy")
        people = [Person(self.place, name).join(invite) for name in names]
        self.talkers = [Talker(one, to) for one, to in zip(people, (*names[1:], names[0]), strict=True)]
        self.knocker = Knocker(port)
        self.knocker.start()
        self.addCleanup(self.knocker.stop)

    def talk(self, seconds: float) -> None:
        """Everybody types for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for talker in self.talkers:
                talker.type()
            time.sleep(TYPING)

    def await_flow(self) -> None:
        """Wait until everybody has been shown something new."""
        before = [talker.reader.line_count for talker in self.talkers]

        def has_come() -> bool:
            self.talk(TYPING)
            return all(talker.reader.line_count > count for talker, count in zip(self.talkers, before, strict=True))

        until(has_come, f"a message for everybody ({self.note})", PATIENCE)

    def test_restart_and_kill(self) -> None:
        """Every line arrives once and in order; nobody was refused; the orderly ends were quick."""
        self.await_flow()
        for _, number in zip(
            range(max(self.rounds // 6, 3)), itertools.cycle((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)), strict=False
        ):
            self.talk(self.random.uniform(0, SPAN))
            ended = self.daemon.running
            ended.process.send_signal(number)
            status = ended.process.wait(STOP_TIME)
            self.assertEqual(status, -number, self.daemon.log)
            if number == signal.SIGTERM:
                self.assertIn("securemsg stopped", self.daemon.log)
            self.daemon.start()
            self.await_flow()
        for talker in self.talkers:
            talker.chat.end_input()
        for talker in self.talkers:
            self.assertEqual(talker.chat.wait(PATIENCE).status, 0, talker.chat.err)
        for writer, reader in zip(self.talkers, (*self.talkers[1:], self.talkers[0]), strict=True):
            with contextlib.suppress(AssertionError):
                until(lambda: reader.reader.line_count >= writer.typed, "all lines", PATIENCE)  # noqa: B023 - in this round
            got = [row["text"] for row in reader.person.history(writer.person.name)]
            self.assertEqual(got, [f"line {number}" for number in range(writer.typed)], self.note)
            self.assertEqual(reader.reader.line_count, writer.typed, self.note)
            self.assertEqual([row["gap_before"] for row in reader.person.history(writer.person.name)], [0] * len(got))
        self.knocker.stop()
        self.assertGreater(self.knocker.count, 50)
        self.assertEqual(self.knocker.refused, [], self.note)
        self.assertEqual([talker.reader.err.count("not-connected") for talker in self.talkers], [0, 0, 0])



class SecondSignalTests(SynchronousTestCase):
    """The operator is in a hurry."""

    def test_at_once(self) -> None:
        """While the daemon waits for a connection to end, a second signal ends it; another daemon starts after it."""
        place = Place.make()
        self.addCleanup(place.forget)
        daemon = Daemon(place)
        daemon.start()
        with socket.create_connection((HOST, daemon.port)):
            daemon.running.process.send_signal(signal.SIGTERM)
            until(lambda: not (daemon.state / "control").exists(), "a daemon that has begun to end")
            daemon.running.process.send_signal(signal.SIGTERM)
            self.assertEqual(daemon.running.wait().status, -signal.SIGTERM)
        self.assertNotIn("securemsg stopped", daemon.log)
        daemon.start()
        daemon.stop()
        self.assertIn("securemsg stopped", daemon.log)
