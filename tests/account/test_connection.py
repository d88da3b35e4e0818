"""The way to the server, with and without the profile's lock."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from securemsg.account.connection import JOB_LIFE, OWNER_POLL, RETRY_PAUSE, WAITING_POLL, AccountConnection, Retry
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.timeouts import LONGEST_WAIT, IdleTimeout, Timeout
from securemsg.client import jobs
from securemsg.client.agent import Agent
from securemsg.client.events import ShortInviteEnded
from securemsg.client.state.profile import create_profile
from securemsg.protocol.auth import UNIX, Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Message
from securemsg.protocol.states import Side
from securemsg.storage.errors import ProfileDamaged
from securemsg.storage.files import FileLock
from securemsg.storage.memory import MemoryProfile

NOW = 1_800_000_000.0
LINK = InviteLink("example", 8443, bytes(32))


@define(eq=False)
class Line:
    """Connects to nothing, in the place of a L{securemsg.net.dialer.Dialer}."""

    peer: IPeer
    failed: Callable[[str], None]
    again: bool
    starts: int = 0
    stops: int = 0

    def start(self) -> None:
        """Count."""
        self.starts += 1

    def stop(self, code: str = "") -> Deferred[None]:
        """Count."""
        self.stops += 1
        return succeed(None)


@implementer(IChannel)
@define(eq=False)
class SlowChannel:
    """A channel on which nothing arrives completely."""

    binding: Binding = UNIX
    source: bytes = b""
    connection: Connection = field(factory=lambda: Connection(Side.CLIENT))
    moves: int = 0

    def send(self, message: Message) -> None:
        """Nobody reads it."""

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """Nobody hears it."""

    def moved_at(self) -> float:
        """See L{IChannel.moved_at}."""
        return float(self.moves)

    def pause(self, wanted: bool) -> None:
        """Nothing comes anyway."""


class ConnectionCase(SynchronousTestCase):
    """One profile, with or without another process."""

    def setUp(self) -> None:
        """A folder, a clock, and nobody else."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.clock = Clock()
        self.store = MemoryProfile()
        self.wakeups = 0
        self.lines: list[Line] = []
        self.made: list[AccountConnection] = []

    def connection(self, again: bool = False, retry: Retry | None = None) -> AccountConnection:
        """A new command's connection."""
        made = AccountConnection(
            clock=self.clock,
            store=self.store,
            profile=create_profile(LINK, "ada", int(NOW)),
            now=lambda: NOW + self.clock.seconds(),
            soon=lambda call: call(),
            lock=FileLock(self.folder / "lock"),
            dial=self.dial,
            listen=None,
            wake_owner=self.wake_owner,
            warn=lambda event: None,
            again=again,
            where="example:8443",
            retry=retry,
            seconds=lambda: NOW + self.clock.seconds(),
        )
        self.made.append(made)
        self.addCleanup(made.stop)
        return made

    def wake_owner(self) -> None:
        """Count."""
        self.wakeups += 1

    def dial(self, peer: IPeer, failed: Callable[[str], None], again: bool) -> Line:
        """Make the line of whoever has the lock."""
        self.lines.append(Line(peer, failed, again))
        return self.lines[-1]

    def other(self) -> FileLock:
        """Another process that has the lock."""
        lock = FileLock(self.folder / "lock")
        self.assertTrue(lock.take())
        self.addCleanup(lock.free)
        return lock

    def wait(self, connection: AccountConnection, check: Callable[[], Any], timeout: Timeout) -> Deferred[Any]:
        """Begin to wait."""
        return Deferred.fromCoroutine(connection.until(check, timeout))


class OwnerTests(ConnectionCase):
    """Without the wish to try again."""

    def test_owner(self) -> None:
        """Whoever finds the lock free connects, again and again if that is wanted."""
        for again in (False, True):
            connection = self.connection(again)
            connection.start()
            connection.nudge()
            self.assertEqual((self.lines[-1].starts, self.lines[-1].again, self.wakeups), (1, again, 0))
            connection.stop()

    def test_not_owner(self) -> None:
        """Whoever finds it taken wakes the owner, and connects to nothing."""
        self.other()
        connection = self.connection()
        connection.start()
        connection.nudge()
        self.assertEqual((self.lines, self.wakeups), ([], 2))

    def test_not_owner_waits(self) -> None:
        """Whoever has no connection looks into the store often, and takes what it finds at once."""
        self.other()
        found: list[str] = []
        waiting = self.wait(self.connection(), lambda: found[0] if found else None, 5)
        self.clock.advance(WAITING_POLL)
        self.assertNoResult(waiting)
        found.append("it")
        self.clock.advance(WAITING_POLL)
        self.assertEqual(self.successResultOf(waiting), "it")

    def test_owner_is_told(self) -> None:
        """The owner looks as soon as something changes, before its clock says so."""
        found: list[str] = []
        connection = self.connection()
        waiting = self.wait(connection, lambda: found[0] if found else None, 5)
        found.append("it")
        self.made[-1].changed()
        self.assertEqual(self.successResultOf(waiting), "it")
        self.made[-1].stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_patience(self) -> None:
        """Waiting ends when its time is over, and a last look is taken."""
        looks: list[float] = []
        waiting = self.wait(self.connection(), lambda: looks.append(self.clock.seconds()), 2.5)
        self.clock.pump([0.5] * 6)
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(looks[-1], 2.5)
        self.made[-1].stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_movement(self) -> None:
        """A limit that counts from when bytes last moved ends that long after; seconds that were named are a hard limit."""
        connection = self.connection()
        waiting, firm = self.wait(connection, lambda: None, IdleTimeout(3)), self.wait(connection, lambda: None, 3)
        agent = self.lines[0].peer
        assert isinstance(agent, Agent)
        channel = SlowChannel()
        agent.opened(channel)
        for _ in range(10):
            channel.moves += 1
            self.clock.advance(1)
        self.assertIsNone(self.successResultOf(firm))
        self.clock.advance(2)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.assertIsNone(self.successResultOf(waiting))

    def test_movement_of_others(self) -> None:
        """However much others write to us meanwhile, such a limit ends."""
        connection = self.connection()
        waiting = self.wait(connection, lambda: None, IdleTimeout(3))
        agent = self.lines[0].peer
        assert isinstance(agent, Agent)
        channel = SlowChannel()
        agent.opened(channel)
        for _ in range(LONGEST_WAIT + 4):
            channel.moves += 1
            self.clock.advance(1)
        self.assertIsNone(self.successResultOf(waiting))

    def test_paused(self) -> None:
        """A pause hangs up and frees the lock, which is no failure, and whoever waits takes it again once that is over."""
        connection = self.connection()
        waiting = self.wait(connection, lambda: None, None)
        agent = self.lines[0].peer
        assert isinstance(agent, Agent)
        agent.opened(SlowChannel())
        self.successResultOf(connection.pause())
        agent.closed("lost")
        connection._notified(ShortInviteEnded(7, "lost"))
        self.clock.advance(OWNER_POLL)
        self.assertNoResult(waiting)
        self.assertEqual(connection.short_invite_end, ShortInviteEnded(7, "lost"))
        self.assertEqual((len(self.lines), self.lines[0].stops, connection.last_failure), (1, 1, ""))
        lock = self.other()
        connection.resume()
        self.assertFalse(connection.is_owner)
        lock.free()
        self.clock.advance(WAITING_POLL)
        self.assertTrue(connection.is_owner)
        waiting.cancel()
        self.failureResultOf(waiting)

    def test_no_patience(self) -> None:
        """Without any time there is one look."""
        self.assertEqual(self.successResultOf(self.wait(self.connection(), lambda: "it", 0)), "it")
        self.assertIsNone(self.successResultOf(self.wait(self.connection(), lambda: None, 0)))

    def test_takes_over(self) -> None:
        """When the process with the lock dies, whoever waits takes it and connects."""
        lock = self.other()
        waiting = self.wait(self.connection(), lambda: None, None)
        lock.free()
        self.clock.advance(WAITING_POLL)
        self.assertEqual(len(self.lines), 1)
        waiting.cancel()
        self.failureResultOf(waiting)

    def test_first_failure(self) -> None:
        """A command of one go ends with the first failure, but not before it has looked: what is there counts."""
        connection = self.connection()
        waiting = self.wait(connection, lambda: None, 30)
        self.made[-1].last_failure = "not-connected"
        self.assertEqual(self.successResultOf(self.wait(connection, lambda: "it", 30)), "it")
        self.made[-1].changed()
        problem = self.failureResultOf(waiting, SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NOT_CONNECTED, "not-connected"))
        self.assertIn("example:8443", problem.text)

    def test_goes_on(self) -> None:
        """A command that connects again outlives failures, but not one that would come again."""
        waiting = self.wait(self.connection(again=True), lambda: None, None)
        self.made[-1].last_failure = "lost"
        self.clock.advance(OWNER_POLL)
        self.assertNoResult(waiting)
        self.made[-1].fatal = "server-identity"
        self.made[-1].changed()
        self.assertEqual(self.failureResultOf(waiting, SecuremsgError).value.status, Exit.WRONG_SERVER)

    def test_unreached(self) -> None:
        """Why there never was a connection is known until there is one; afterwards there was."""
        connection = self.connection(again=True)
        self.assertEqual(connection.unreached, "")
        connection.start()
        self.assertEqual(connection.unreached, "timeout")
        self.made[-1].last_failure = "not-connected"
        self.assertEqual(connection.unreached, "not-connected")
        self.made[-1].was_ready = True
        self.assertEqual(connection.unreached, "")

    def test_damage(self) -> None:
        """A damaged profile ends every command, and says what is damaged."""
        waiting = self.wait(self.connection(again=True), lambda: None, None)
        agent = self.lines[0].peer
        assert isinstance(agent, Agent)
        agent.local_error = ProfileDamaged("a record was altered")
        self.made[-1].changed()
        self.failureResultOf(waiting, ProfileDamaged)

    def test_two_wait(self) -> None:
        """Two may wait at once."""
        connection = self.connection()
        found: list[str] = []
        both = [self.wait(connection, lambda: found[0] if found else None, 5) for _ in range(2)]
        found.append("it")
        self.made[-1].changed()
        self.assertEqual([self.successResultOf(waiting) for waiting in both], ["it", "it"])

    def test_stop(self) -> None:
        """After the end the lock is free for others, and is not taken again."""
        connection = self.connection()
        connection.start()
        self.successResultOf(connection.stop())
        self.other()
        connection.changed()
        self.assertEqual((self.lines[0].stops, len(self.lines)), (1, 1))

    def test_job(self) -> None:
        """A job is run by whoever has the connection; its facts come back."""
        self.other()
        asking = Deferred.fromCoroutine(self.connection().ask("ping", timeout=5))
        self.assertEqual(self.wakeups, 1)
        (job,) = jobs.pending(self.store, clock=lambda: NOW)
        jobs.finish(self.store, job.number, "", {"seconds": "0.1"}, seconds=NOW)
        self.clock.advance(WAITING_POLL)
        self.assertEqual(self.successResultOf(asking), {"seconds": "0.1"})

    def test_job_refused(self) -> None:
        """A refusal names whom it is about."""
        self.other()
        asking = Deferred.fromCoroutine(self.connection().ask("fetch", "bob", timeout=5))
        (job,) = jobs.pending(self.store, clock=lambda: NOW)
        jobs.finish(self.store, job.number, "no-such-account", {}, seconds=NOW)
        self.clock.advance(WAITING_POLL)
        problem = self.failureResultOf(asking, SecuremsgError).value
        self.assertEqual((problem.status, problem.text), (Exit.NO_CONTACT, "no such account: bob"))

    def test_job_unanswered(self) -> None:
        """A job that nobody runs ends in time, and leaves nothing behind."""
        self.other()
        asking = Deferred.fromCoroutine(self.connection().ask("ping", timeout=1))
        self.clock.pump([WAITING_POLL] * 12)
        self.assertEqual(self.failureResultOf(asking, SecuremsgError).value.status, Exit.NOT_CONNECTED)
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW), [])


class StopTests(ConnectionCase):
    """The end."""

    def test_stopped(self) -> None:
        """
        Whoever waits when it ends is told so, with and without the lock, and so is who begins to wait afterwards; what is there
        already is given all the same.
        """
        for again in (False, True):
            connection = self.connection(again)
            connection.start()
            waiting = self.wait(connection, lambda: None, None)
            connection.stop()
            late = self.wait(connection, lambda: None, None)
            for deferred in (waiting, late):
                self.assertEqual(self.failureResultOf(deferred, SecuremsgError).value.code, "stopped")
            self.assertEqual(self.successResultOf(self.wait(connection, lambda: 1, None)), 1)
            if not again:
                self.other()


class RetryTests(ConnectionCase):
    """With the wish to go on while the server is not there, full or stopping."""

    def setUp(self) -> None:
        """Keep what the user is told."""
        super().setUp()
        self.told: list[tuple[str, str]] = []

    def persistent(self) -> AccountConnection:
        """The connection of a command with C{--retry}."""
        return self.connection(retry=Retry(lambda code, where: self.told.append((code, where))))

    def ask(self, connection: AccountConnection, timeout: float | None) -> Deferred[dict[str, str]]:
        """Begin to ask."""
        return Deferred.fromCoroutine(connection.ask("ping", timeout=timeout))

    def settle(self, code: str = "", **facts: str) -> None:
        """The process with the connection runs the job that waits."""
        now = NOW + self.clock.seconds()
        (job,) = jobs.pending(self.store, clock=lambda: now)
        jobs.finish(self.store, job.number, code, facts, seconds=now)
        self.clock.advance(WAITING_POLL)

    def test_passing(self) -> None:
        """A failure that passes does not end the waiting, whose beginning is told once, and again when it begins again."""
        connection = self.persistent()
        found: list[str] = []
        waiting = self.wait(connection, lambda: found[0] if found else None, None)
        (line,) = self.lines
        self.assertTrue(line.again)
        for code in ("server-full", "not-connected", "stopping", "lost", "timeout", "server-full"):
            line.failed(code)
            self.clock.advance(OWNER_POLL)
            self.assertNoResult(waiting)
        self.assertEqual(self.told, [("server-full", "example:8443")])
        for code in ("", "stopping"):
            connection.last_failure = code
            connection.changed()
        self.assertEqual(self.told[1:], [("stopping", "example:8443")])
        found.append("it")
        connection.changed()
        self.assertEqual(self.successResultOf(waiting), "it")
        self.made[-1].stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fatal(self) -> None:
        """What another attempt would meet again ends the command at once, and so does a profile that cannot be written."""
        for name, code, status in (
            ("fatal", "server-identity", Exit.WRONG_SERVER),
            ("fatal", "login-failed", Exit.REFUSED),
            ("fatal", "replaced", Exit.NOT_CONNECTED),
            ("last_failure", "local-error", Exit.PROFILE),
        ):
            connection = self.persistent()
            waiting = self.wait(connection, lambda: None, None)
            setattr(connection, name, code)
            self.made[-1].changed()
            self.assertEqual(self.failureResultOf(waiting, SecuremsgError).value.status, status, code)
            connection.stop()
        self.assertEqual(self.told, [])

    def test_time(self) -> None:
        """When the time is over there is no result, and the reason is known."""
        connection = self.persistent()
        waiting = self.wait(connection, lambda: None, 3)
        self.made[-1].last_failure = "server-full"
        self.clock.pump([0.5] * 7)
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(connection.last_failure, "server-full")

    def test_question(self) -> None:
        """A question outlives a connection that ends under it, and is asked again a while later."""
        self.other()
        asking = self.ask(self.persistent(), 60)
        self.settle("stopping")
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW), [])
        self.clock.advance(RETRY_PAUSE)
        self.settle(seconds="0.1")
        self.assertEqual(self.successResultOf(asking), {"seconds": "0.1"})

    def test_question_refused(self) -> None:
        """A question that is refused for good is not asked again."""
        self.other()
        asking = self.ask(self.persistent(), None)
        self.settle("no-such-account")
        self.assertEqual(self.failureResultOf(asking, SecuremsgError).value.status, Exit.NO_CONTACT)

    def test_question_time(self) -> None:
        """A question ends with the time for it, with status 6 and the reason for which nobody answered."""
        asking = self.ask(self.persistent(), 5)
        self.made[-1].last_failure = "server-full"
        self.clock.pump([0.5] * 11)
        problem = self.failureResultOf(asking, SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NOT_CONNECTED, "server-full"))
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW), [])

    def test_endless_question(self) -> None:
        """A question without a bound waits forever; its job has an end, so that nobody runs one whose process is long gone."""
        self.other()
        asking = self.ask(self.persistent(), None)
        numbers = set()
        for _ in range(3):
            (job,) = jobs.pending(self.store, clock=lambda: NOW + self.clock.seconds())
            numbers.add(job.number)
            self.clock.pump([WAITING_POLL] * (10 * JOB_LIFE + 1))
        self.assertEqual(len(numbers), 3)
        self.assertNoResult(asking)
        self.settle(seconds="0.1")
        self.successResultOf(asking)


class LockTests(SynchronousTestCase):
    """Locks by themselves."""

    def test_one_holder(self) -> None:
        """A lock has one holder, who may take it twice; freed, another may have it."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "lock"
        one, other = FileLock(path), FileLock(path)
        self.assertTrue(one.take() and one.take())
        self.assertFalse(other.take())
        one.free()
        self.assertFalse(one.is_held)
        self.assertTrue(other.take())
        other.free()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
