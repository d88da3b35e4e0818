"""The server's store in memory, for tests: it can hold commits back, and simulate a crash."""

from __future__ import annotations

import sqlite3
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any, Self

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from securemsg.storage.sqlite import mailboxes
from securemsg.storage.sqlite.schema import migrate
from securemsg.storage.sqlite.store import ServerStore
from securemsg.storage.sqlite.writer import Job, Writer, commit, deliver


class MemoryWriter(Writer):
    """
    Does every job at once, in the caller's thread. If C{manual} is set, what is posted, and every job behind it, waits until
    L{flush}, as behind a commit that takes its time.

    @ivar held: what waits.
    """

    def __init__(self, connection: sqlite3.Connection, manual: bool) -> None:
        super().__init__(connection, self._keep)
        self.manual = manual
        self.held: deque[Job] = deque()
        self._failure: Failure | None = None

    def flush(self, limit: int | None = None) -> None:
        """
        Do what was held back when this was called, in order: all of it, or so many jobs.

        @raise BaseException: what is fatal.
        """
        for _ in range(len(self.held) if limit is None else limit):
            if self.held:  # a callback may have crashed the store
                deliver(commit(self._connection, [self.held.popleft()]))
            if self._failure is not None:
                failure, self._failure = self._failure, None
                failure.raiseException()

    def _keep(self, failure: Failure) -> None:
        """A posted job failed, or the call that reports it did."""
        self._failure = failure

    def close(self) -> Deferred[None]:
        """See L{Writer.close}."""
        self.flush()
        self._closing = True
        return succeed(None)

    def _put(self, job: Job) -> None:
        self.held.append(job)
        if len(self.held) == 1 and (job.may_fail or not self.manual):
            self.flush()


class MemoryServerStore(ServerStore):
    """
    The server's store over a database in memory, without a thread.

    @ivar writer: holds commits back, if C{manual} is set.
    """

    def __init__(self, manual: bool = False, source: sqlite3.Connection | None = None) -> None:
        """
        @param manual: see L{MemoryWriter}.
        @param source: the database to begin with, which is copied; C{None}: an empty one.
        """
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        (_empty() if source is None else source).backup(self._connection)
        self.writer = MemoryWriter(self._connection, manual)
        super().__init__(self.writer, None, mailboxes.read_clock(self._connection))

    @property
    def held(self) -> int:
        """How many operations wait for L{flush}."""
        return len(self.writer.held)

    def flush(self, limit: int | None = None) -> None:
        """See L{MemoryWriter.flush}."""
        self.writer.flush(limit)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What is committed, row by row."""
        return self._connection.execute(statement).fetchall()

    def crash(self) -> Self:
        """
        Lose what was not committed, and never report it.

        @return: the store as the next process finds it.
        """
        self.writer.held.clear()
        self._connection.rollback()
        return type(self)(self.writer.manual, self._connection)


@cache
def _empty() -> sqlite3.Connection:
    """A database without rows. Copying it takes a tenth of the time that making it takes."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, Path(":memory:"))
    return connection
