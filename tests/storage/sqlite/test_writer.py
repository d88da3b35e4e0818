"""The thread that owns the database: order, shared commits, failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event, current_thread

from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import Refusal
from securemsg.storage.sqlite.writer import GROUP, ThreadWriter
from tests.storage.stores import TIMEOUT, HandReactor


class Blunder(Exception):
    """A bug."""


class WriterTests(SynchronousTestCase):
    """A writer on a file with one table of numbers."""

    def setUp(self) -> None:
        """Start it."""
        self.reactor = HandReactor()
        self.path = Path(self.mktemp())
        self.commits = 0
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        connection.set_trace_callback(self.trace)
        self.writer = ThreadWriter(connection, self.reactor.failures.append, self.reactor)  # type: ignore[arg-type]
        self.writer.start()
        self.addCleanup(lambda: self.reactor.wait(self.writer.close()))

    def trace(self, statement: str) -> None:
        """Count commits."""
        self.commits += statement == "COMMIT"

    def numbers(self) -> list[int]:
        """What another process sees."""
        connection = sqlite3.connect(self.path)
        try:
            return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]
        finally:
            connection.close()

    def hold(self) -> Event:
        """Keep the thread busy until the event is set."""
        begun, release = Event(), Event()

        def wait(connection: sqlite3.Connection) -> None:
            begun.set()
            assert release.wait(TIMEOUT)

        self.writer.submit(wait, writes=False)
        assert begun.wait(TIMEOUT)
        return release

    def test_result(self) -> None:
        """The result of work comes back."""
        self.assertEqual(self.reactor.wait(self.writer.submit(lambda connection: 42)), 42)

    def test_own_thread(self) -> None:
        """Work is done in the writer's thread, and reported in ours."""
        threads: list[str] = []
        self.writer.post(threads.append, lambda connection: current_thread().name)
        self.reactor.until(lambda: threads)
        self.assertEqual(threads, ["securemsg writer"])

    def test_shared_commit(self) -> None:
        """What gathers while the thread is busy shares one commit, and comes back in one call, in order."""
        release = self.hold()
        order: list[int] = []
        for number in range(10):
            self.writer.post(lambda _: order.append(len(order)), insert(number))
        release.set()
        self.reactor.turn()
        self.assertEqual(order, [])
        self.reactor.turn()
        self.assertEqual(order, list(range(10)))
        self.assertEqual(self.commits, 1)
        self.assertEqual(self.numbers(), order)

    def test_bounded_commit(self) -> None:
        """Only so many share a commit."""
        release = self.hold()
        for number in range(GROUP + 1):
            self.writer.submit(insert(number))
        release.set()
        self.reactor.wait(self.writer.submit(len_numbers, writes=False))
        self.assertEqual(self.commits, 2)

    def test_reading_alone(self) -> None:
        """Where nobody writes nothing is committed."""
        self.reactor.wait(self.writer.submit(len_numbers, writes=False))
        self.assertEqual(self.commits, 0)

    def test_refused(self) -> None:
        """A refusal reaches who asked, undoes what was done for it, and leaves the others of the commit alone."""

        def refuse(connection: sqlite3.Connection) -> None:
            insert(2)(connection)
            raise Refusal("no")

        release = self.hold()
        self.writer.submit(insert(1))
        refused = self.writer.submit(refuse)
        last = self.writer.submit(insert(3))
        release.set()
        self.assertEqual(self.assertRaises(Refusal, self.reactor.wait, refused).code, "no")
        self.reactor.wait(last)
        self.assertEqual(self.numbers(), [1, 3])

    def test_bug(self) -> None:
        """A bug in work that somebody waits for is told to them, undone, and no reason to stop."""

        def blunder(connection: sqlite3.Connection) -> None:
            insert(1)(connection)
            raise Blunder

        self.assertRaises(Blunder, self.reactor.wait, self.writer.submit(blunder))
        self.assertRaises(sqlite3.IntegrityError, self.reactor.wait, self.writer.submit(twice))
        self.assertEqual(self.numbers(), [])
        self.assertEqual(self.reactor.failures, [])
        self.reactor.wait(self.writer.submit(insert(1)))

    def test_bug_that_nobody_hears_of(self) -> None:
        """A bug in work that cannot fail is fatal: nothing of its commit is kept or answered, nor anything behind it."""

        def blunder(connection: sqlite3.Connection) -> None:
            raise Blunder

        answered: list[object] = []
        release = self.hold()
        self.writer.post(answered.append, insert(1))
        self.writer.post(answered.append, blunder)
        self.writer.submit(insert(2)).addBoth(answered.append)
        release.set()
        self.reactor.until(lambda: self.reactor.failures)
        self.writer.submit(insert(3)).addBoth(answered.append)
        self.reactor.wait(self.writer.close())
        self.assertEqual(answered, [])
        self.assertEqual(self.numbers(), [])
        (failure,) = self.reactor.failures
        self.assertIs(failure.type, Blunder)

    def test_bug_in_answer(self) -> None:
        """A report that its hearer cannot bear is fatal, for what follows from it would be missing."""

        def blunder(_: object) -> None:
            raise Blunder

        self.writer.post(blunder, insert(1))
        self.reactor.until(lambda: self.reactor.failures)
        self.assertIs(self.reactor.failures[0].type, Blunder)

    def test_broken_database(self) -> None:
        """An error of the database itself is fatal, also where somebody waits."""
        answered: list[object] = []
        self.writer.submit(lambda connection: connection.execute("nonsense")).addBoth(answered.append)
        self.reactor.until(lambda: self.reactor.failures)
        self.assertEqual(answered, [])
        self.assertIs(self.reactor.failures[0].type, sqlite3.OperationalError)


def insert(number: int) -> Callable[[sqlite3.Connection], None]:
    """Work: add a number."""

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))

    return work


def twice(connection: sqlite3.Connection) -> None:
    """Work that breaks a constraint."""
    insert(7)(connection)
    insert(7)(connection)


def len_numbers(connection: sqlite3.Connection) -> int:
    """Work: count."""
    (count,) = connection.execute("SELECT count(*) FROM numbers").fetchone()
    return int(count)
