"""The thread that owns the database: order, shared commits, failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, current_thread

from twisted.trial.unittest import SynchronousTestCase

from securemsg.counters import WriterCounters
from securemsg.errors import Refusal
from securemsg.storage.errors import StateUnusable
from securemsg.storage.sqlite.writer import COPIED, GROUP, ThreadWriter
from tests.storage.stores import TIMEOUT, HandReactor

# Seconds between two attempts to write to a full disk: a thread waits here, and no clock of a test's can move it.
PAUSE = 0.01
# So many numbers do not fit a page.
FILLING = 5000


class Blunder(Exception):
    """A bug."""


class WriterCase(SynchronousTestCase):
    """A writer on a file with one table of numbers."""

    def setUp(self) -> None:
        """Start it."""
        self.reactor = HandReactor()
        self.path = Path(self.mktemp())
        self.commits = 0
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        connection.set_trace_callback(self.trace)
        self.connection = connection
        failures, full = self.reactor.failures.append, self.reactor.full.append
        self.counters = WriterCounters()
        self.writer = ThreadWriter(connection, failures, self.reactor, full, PAUSE, self.counters)  # type: ignore[arg-type]
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


class WriterTests(WriterCase):
    """Work, and what becomes of it."""

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
        self.assertEqual((self.counters.jobs.total, sum(self.counters.seconds.counts)), (10.0, 1))
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
        self.assertEqual(sum(self.counters.jobs.counts), 0)

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


class CopyTests(WriterCase):
    """A copy of the database, made while it is written."""

    def setUp(self) -> None:
        """Have more than is copied at once."""
        super().setUp()
        self.copy = Path(self.mktemp())
        release = self.hold()
        filling = f"CREATE TABLE filling AS SELECT zeroblob({8 * COPIED * 4096})"
        self.writer.submit(lambda connection: connection.execute(filling))
        release.set()

    def read(self) -> list[int]:
        """What the copy has, and that it is whole."""
        connection = sqlite3.connect(self.copy)
        try:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]
        finally:
            connection.close()

    def test_writes_go_on(self) -> None:
        """What is asked while the copy is made is answered before it ends, and is in it."""
        answered: list[object] = []
        release = self.hold()
        copied = self.writer.copy(self.copy).addCallback(answered.append)
        for number in range(2 * GROUP):
            self.writer.submit(insert(number)).addCallback(lambda _: answered.append(1))
        release.set()
        self.reactor.wait(copied)
        self.assertEqual(answered, [1] * 2 * GROUP + [None])
        self.assertEqual(self.read(), list(range(2 * GROUP)))

    def test_closed(self) -> None:
        """A writer that is closed does not finish the copy."""
        release = self.hold()
        first, second = self.writer.copy(self.copy), self.writer.copy(Path(self.mktemp()))
        closed = self.writer.close()
        release.set()
        for copied in (first, second, self.writer.copy(self.copy)):
            self.assertRaises(StateUnusable, self.reactor.wait, copied)
        self.reactor.wait(closed)
        self.assertEqual(self.reactor.failures, [])

    def test_unwritable(self) -> None:
        """A copy that cannot be written does not harm the database."""
        self.assertRaises(StateUnusable, self.reactor.wait, self.writer.copy(self.copy / "nowhere"))
        self.reactor.wait(self.writer.submit(insert(1)))


class FullDiskTests(WriterCase):
    """A disk that is full: nothing ends, and nothing is answered before it is written."""

    def limit(self, pages: int) -> None:
        """Let the file have so many pages; while the thread waits, anybody may say so."""
        self.connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill(self) -> list[object]:
        """
        Fill the disk, then ask for work of every kind.

        @return: the answers, as they come.
        """
        release = self.hold()
        self.limit(1)
        answered: list[object] = []
        self.writer.submit(insert(1)).addBoth(lambda _: answered.append("small"))
        self.writer.post(lambda _: answered.append("large"), fill)
        self.writer.submit(insert(1)).addErrback(lambda failure: answered.append(failure.type))
        release.set()
        self.reactor.until(lambda: self.reactor.full)
        self.writer.submit(len_numbers, writes=False).addCallback(answered.append)
        return answered

    def test_room_again(self) -> None:
        """Once there is room all is done, in order and once; that it was full is said once, and that it no longer is."""
        answered = self.fill()
        self.assertEqual((answered, self.reactor.full, self.numbers()), ([], [True], []))
        self.limit(10**6)
        self.reactor.until(lambda: len(answered) == 4)
        self.assertEqual(answered, ["small", "large", sqlite3.IntegrityError, 1 + FILLING])
        self.assertEqual(self.reactor.full, [True, False])
        self.assertEqual(self.reactor.failures, [])
        self.reactor.wait(self.writer.submit(insert(2)))

    def test_attempts(self) -> None:
        """It goes on trying, and says nothing more."""
        self.fill()
        attempts: SimpleQueue[str] = SimpleQueue()
        self.connection.set_trace_callback(attempts.put)
        for _ in range(4):
            while attempts.get(timeout=TIMEOUT) != "BEGIN IMMEDIATE":
                pass
        self.reactor.wait(self.writer.close())
        self.assertEqual(self.reactor.full, [True])

    def test_closed(self) -> None:
        """Closing does not wait for room: what waits, and all behind it, is given up unanswered, and the file is closed."""
        answered = self.fill()
        self.writer._pause = 2 * TIMEOUT
        self.reactor.wait(self.writer.close())
        self.assertEqual((answered, self.reactor.failures), ([], []))
        self.assertRaises(sqlite3.ProgrammingError, self.connection.execute, "SELECT 1")
        self.assertEqual(self.numbers(), [])


def fill(connection: sqlite3.Connection) -> None:
    """Work that needs more pages."""
    connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1000, 1000 + FILLING)])


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
