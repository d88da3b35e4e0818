"""
One thread, one connection, one queue: whatever the server asks of its database goes through here, in order.

What has gathered while a commit ran shares the next one. Results travel back to the reactor's thread once per commit, and
only when that commit has returned. Where the disk is full, the same jobs are done again until there is room. An error of input
or output is the end: nothing that was in that commit, and nothing behind it, is ever answered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import perf_counter
from typing import Any, TypeVar, TypeVarTuple

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from securemsg.counters import WriterCounters
from securemsg.storage.errors import StateUnusable
from securemsg.storage.sqlite.errors import is_full

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

# How many jobs share a commit at most, so that the first does not wait for all that come later.
GROUP = 128
# Pages that are copied between two commits: about a millisecond's work.
COPIED = 256
# Seconds between two attempts to write to a full disk.
PAUSE = 1.0
# Errors of SQLite that are our own bugs and do no harm beyond one job; all others mean that the file cannot be relied on.
OUR_BUGS = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
)


@frozen
class Job:
    """
    A function of the connection and some arguments that waits for its turn.

    @ivar writes: whether it needs a transaction.
    @ivar may_fail: whether a failure is reported to the caller; otherwise it is fatal.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: Deferred[Any]
    writes: bool
    may_fail: bool


@frozen
class Answer:
    """What became of a job."""

    result: Deferred[Any]
    value: Any
    error: Exception | None


@define(eq=False)
class Writer:
    """
    Takes jobs for a connection, one after the other. When and where they are done, subclasses say.

    @ivar _fatal: called in the reactor's thread when nothing can be relied on any more.
    """

    _connection: sqlite3.Connection
    _fatal: Callable[[Failure], None]
    _closing: bool = field(default=False, init=False)

    @property
    def closing(self) -> bool:
        """Whether nothing more is taken."""
        return self._closing

    def submit(
        self,
        function: Callable[[sqlite3.Connection, *Arguments], T],
        *arguments: *Arguments,
        writes: bool = True,
    ) -> Deferred[T]:
        """
        Call a function with the connection and these arguments in its turn. When it raises, its changes are undone.

        @return: fires with the result once it is committed; fails with what the function raised.
        """
        if self._closing:
            return fail(StateUnusable("the store is closed"))
        result: Deferred[T] = Deferred()
        self._put(Job(function, arguments, result, writes, may_fail=True))
        return result

    def post(
        self,
        done: Callable[[T], None],
        function: Callable[[sqlite3.Connection, *Arguments], T],
        *arguments: *Arguments,
    ) -> None:
        """
        Call a function that writes in its turn, and C{done} with its result once that is committed. Nobody hears of a
        failure of either, so it is fatal. After L{close} nothing happens.
        """
        if not self._closing:
            result: Deferred[T] = Deferred()
            result.addCallback(done)
            result.addErrback(self._fatal)
            self._put(Job(function, arguments, result, writes=True, may_fail=False))

    def close(self) -> Deferred[None]:
        """
        Take nothing more, and do what waits.

        @return: fires when all that is done.
        """
        raise NotImplementedError

    def copy(self, path: Path) -> Deferred[None]:
        """
        Copy the database into an empty file, as it is when the copy ends. What is asked meanwhile is done between its parts.

        @return: fires when that is done, but not yet on disk; fails with L{StateUnusable}: it cannot be done.
        """
        raise NotImplementedError

    def _put(self, job: Job) -> None:
        """Do this job in its turn."""
        raise NotImplementedError


@define(eq=False)
class ThreadWriter(Writer):
    """
    The thread that owns a connection, which it closes in the end.

    @ivar _on_disk_full: called in the reactor's thread when a full disk holds up all jobs, and when it no longer does.
    @ivar _pause: seconds between two attempts then.
    @ivar _counters: counts commits.
    """

    _reactor: IReactorFromThreads
    _on_disk_full: Callable[[bool], None]
    _pause: float = PAUSE
    _counters: WriterCounters = field(factory=WriterCounters)
    _queue: SimpleQueue[Job | None] = field(factory=SimpleQueue, init=False)
    _stopping: Event = field(factory=Event, init=False)
    _closed: Deferred[None] = field(factory=Deferred, init=False)
    _copies: SimpleQueue[tuple[Path, Deferred[None]]] = field(factory=SimpleQueue, init=False)
    _usable: bool = field(default=True, init=False)
    _more: bool = field(default=True, init=False)

    def start(self) -> None:
        """Start the thread. Threads do not survive a fork, so this comes after it."""
        Thread(target=self._run, name="securemsg writer", daemon=True).start()

    def close(self) -> Deferred[None]:
        """See L{Writer.close}. The thread ends; jobs that a full disk holds up are given up, and never answered."""
        if not self._closing:
            self._closing = True
            self._stopping.set()
            self._queue.put(None)
        waiter: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: waiter.callback(None))
        return waiter

    def copy(self, path: Path) -> Deferred[None]:
        """See L{Writer.copy}."""
        if self._closing:
            return fail(StateUnusable("the store is closed"))
        result: Deferred[None] = Deferred()
        self._copies.put((path, result))
        self.submit(lambda connection: None, writes=False)
        return result

    def _put(self, job: Job) -> None:
        self._queue.put(job)

    def _run(self) -> None:
        """The thread. Whatever goes wrong, it must not end in silence."""
        while self._more:
            self._turn()
            while not self._copies.empty():
                self._copy(*self._copies.get())
        if self._usable:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                self._reactor.callFromThread(self._end, error)
        self._reactor.callFromThread(self._closed.callback, None)

    def _turn(self) -> None:
        """Do what has gathered, in one commit."""
        jobs, self._more = self._gather()
        if not self._usable:
            return
        try:
            answers = self._commit(jobs)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is reported
            self._usable = False
            self._reactor.callFromThread(self._end, error)
            return
        if answers is None:
            self._more = False
        elif answers:
            self._reactor.callFromThread(deliver, answers)

    def _copy(self, path: Path, result: Deferred[None]) -> None:
        """Copy the database, with commits in between; SQLite adds to the copy what this connection writes meanwhile."""

        def between(status: int, remaining: int, total: int) -> None:
            if not self._queue.empty():
                self._turn()
            if not (self._usable and self._more):
                raise StateUnusable("the daemon stops")

        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as target:
                for pragma in ("journal_mode", "synchronous"):
                    target.execute(f"PRAGMA {pragma} = OFF")
                between(0, 0, 0)
                self._connection.backup(target, pages=COPIED, progress=between)
        except (sqlite3.Error, StateUnusable) as error:
            problem = StateUnusable(f"{path} cannot be written: {error}")
            self._reactor.callFromThread(result.errback, problem)
        else:
            self._reactor.callFromThread(result.callback, None)

    def _commit(self, jobs: list[Job]) -> list[Answer] | None:
        """
        See L{commit}. While the disk is full, do the same again.

        @return: C{None}: the writer was closed while the disk was full.
        @raise Exception: see L{commit}.
        """
        held_up = False
        began = perf_counter()
        while True:
            try:
                answers = commit(self._connection, jobs)
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
            else:
                if held_up:
                    self._reactor.callFromThread(self._on_disk_full, False)
                if any(job.writes for job in jobs):
                    self._counters.jobs.observe(len(jobs))
                    self._counters.seconds.observe(perf_counter() - began)
                return answers
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if not held_up:
                held_up = True
                self._reactor.callFromThread(self._on_disk_full, True)
            if self._stopping.wait(self._pause):
                return None

    def _gather(self) -> tuple[list[Job], bool]:
        """
        Wait for something to do, and take what has gathered.

        @return: the jobs, and whether more may come.
        """
        jobs = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == GROUP:
                return jobs, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _end(self, error: Exception) -> None:
        """Report, in the reactor's thread, that the database cannot be relied on."""
        fail(error).addErrback(self._fatal)


def commit(connection: sqlite3.Connection, jobs: list[Job]) -> list[Answer]:
    """
    Do these jobs, in one transaction if any of them writes.

    @raise Exception: the database cannot be relied on any more, or a job failed that must not.
    """
    if any(job.writes for job in jobs):
        connection.execute("BEGIN IMMEDIATE")
    answers = [_answer(connection, job) for job in jobs]
    if connection.in_transaction:
        connection.execute("COMMIT")
    return answers


def _answer(connection: sqlite3.Connection, job: Job) -> Answer:
    """Do a job, and keep its result, or the error to report."""
    if not job.may_fail:
        return Answer(job.result, job.function(connection, *job.arguments), None)
    if job.writes:
        connection.execute("SAVEPOINT job")
    try:
        answer = Answer(job.result, job.function(connection, *job.arguments), None)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, OUR_BUGS):
            raise
        if job.writes:
            connection.execute("ROLLBACK TO job")
        answer = Answer(job.result, None, error)
    if job.writes:
        connection.execute("RELEASE job")
    return answer


def deliver(answers: list[Answer]) -> None:
    """Hand results out, in the reactor's thread."""
    for answer in answers:
        if answer.error is None:
            answer.result.callback(answer.value)
        else:
            answer.result.errback(answer.error)
