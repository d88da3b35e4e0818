"""
The high-water mark: how far the database had come, in a file of its own.

SQLite drops a damaged write-ahead log from the first wrong byte on, without a word. A database that is behind its mark has lost
what was accepted. The mark may lag behind by a second, because no message waits for it; it is never ahead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from securemsg.daemon.folder import DATABASE, HIGH_WATER, StateError, read_private
from securemsg.daemon.worker import Worker
from securemsg.storage.files import write_private_file
from securemsg.storage.sqlite.store import ServerStore

# Seconds between two writes, at least.
PERIOD = 1.0


def check_high_water(state: Path, high_water: int) -> None:
    """
    Check that the database has not fallen behind its mark. A state from before there were marks has none.

    @param high_water: how far the database has come, see L{ServerStore.high_water}.
    @raise StateError: it is behind, or the mark is damaged.
    """
    path = state / HIGH_WATER
    content = read_private(path)
    if content is None:
        return
    if not content.strip().isdigit():
        raise StateError(
            f"{path} is damaged, so a loss of messages from {DATABASE} cannot be ruled out; restore the whole folder from a"
            f" backup, or start anyway: rm {path}"
        )
    if high_water < int(content):
        raise StateError(
            f"{state / DATABASE} lacks messages that were accepted: it or {DATABASE}-wal was damaged, deleted or replaced by"
            f" an older copy; nothing was changed; restore the whole folder from a backup, or go on without those messages:"
            f" rm {path}"
        )


class HighWaterMark:
    """Writes the mark of an open store, which it closes in the end, in a thread of its own."""

    _log = Logger()

    def __init__(self, state: Path, reactor: Any, store: ServerStore) -> None:
        self._path = state / HIGH_WATER
        self._store = store
        self._worker = Worker(reactor, HIGH_WATER)
        self._written = 0
        self._has_failed = False
        self._loop = LoopingCall(self._write)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._worker.start()
        self._loop.start(PERIOD).addErrback(self._log_failure)

    async def stop(self) -> None:
        """Close the store, and write how far it has come; what a full disk has held up may be missing there."""
        if self._loop.running:
            self._loop.stop()
        self._write().addErrback(self._log_failure)
        await self._store.close()
        await self._worker.stop()

    def _write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._advance())

    async def _advance(self) -> None:
        """Write how far the store has come, if that is further than before."""
        high_water = await self._store.high_water()
        if high_water <= self._written:
            return
        try:
            await self._worker.call(write_private_file, self._path, b"%d\n" % high_water)
        except OSError as error:
            # It lags until it can be written again.
            if not self._has_failed:
                self._log.warn("{path} cannot be written: {problem}", path=str(self._path), problem=error.strerror)
            self._has_failed = True
        else:
            self._written, self._has_failed = high_water, False

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("the high-water mark is no longer written", failure)
