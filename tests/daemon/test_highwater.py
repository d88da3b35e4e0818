"""Tests of L{securemsg.daemon.highwater}: how far the database had come. The threads are real; the reactor is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.folder import HIGH_WATER, StateError
from securemsg.daemon.highwater import PERIOD, HighWaterMark, check_high_water
from tests.daemon.threads import ThreadCase


@define
class FakeStore:
    """
    A store.

    @ivar number: how far it has come.
    @ivar waiting: a full disk holds up whoever asks.
    """

    number: int = 0
    waiting: bool = False
    closed: Deferred[None] = field(factory=lambda: succeed(None))

    def high_water(self) -> Deferred[int]:
        """See L{securemsg.storage.sqlite.store.ServerStore.high_water}."""
        return Deferred() if self.waiting else succeed(self.number)

    def close(self) -> Deferred[None]:
        """See L{securemsg.storage.sqlite.store.ServerStore.close}."""
        return self.closed


class CheckTests(SynchronousTestCase):
    """A mark that is read at the start."""

    def setUp(self) -> None:
        """A state folder."""
        self.state = Path(self.mktemp())
        self.state.mkdir()

    def write(self, content: bytes) -> None:
        """There is a mark."""
        (self.state / HIGH_WATER).write_bytes(content)
        (self.state / HIGH_WATER).chmod(0o600)

    def test_none(self) -> None:
        """A state without one is older."""
        check_high_water(self.state, 0)

    def test_lags(self) -> None:
        """It is where the database is, or behind that."""
        self.write(b"7\n")
        for number in (7, 8, 1000):
            check_high_water(self.state, number)

    def test_lost(self) -> None:
        """A database behind it has lost something: that is said, and what to do."""
        self.write(b"7\n")
        for number in (6, 0):
            said = str(self.assertRaises(StateError, check_high_water, self.state, number))
            for part in ("server.db lacks messages", "server.db-wal", "older copy", "backup", f"rm {self.state / HIGH_WATER}"):
                self.assertIn(part, said)

    def test_damaged(self) -> None:
        """What is no number is not passed over."""
        for content in (b"", b"-7", b"seven", b"7 7", b"\xff"):
            self.write(content)
            self.assertIn("damaged", str(self.assertRaises(StateError, check_high_water, self.state, 10)))


class WriteTests(ThreadCase):
    """The mark of a store that is open."""

    def setUp(self) -> None:
        """Begin."""
        super().setUp()
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.store = FakeStore(3)
        self.mark = HighWaterMark(self.state, self.reactor, cast(Any, self.store))
        self.mark.start()
        self.settle()

    def settle(self) -> None:
        """What is on its way is written."""
        self.clock.settle(self.mark._worker)

    def stop(self) -> Deferred[None]:
        """It ends."""
        stopped = Deferred.fromCoroutine(self.mark.stop())
        self.clock.wait_for(lambda: stopped.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return stopped

    @property
    def content(self) -> bytes:
        """What is in the file."""
        return (self.state / HIGH_WATER).read_bytes()

    def test_once_a_second(self) -> None:
        """It follows the store, once in a second, and is for us alone."""
        self.assertEqual(self.content, b"3\n")
        self.assertEqual((self.state / HIGH_WATER).stat().st_mode & 0o777, 0o600)
        for number in (4, 5):
            self.store.number = number
            self.settle()
        self.assertEqual(self.content, b"3\n")
        self.clock.advance(PERIOD)
        self.settle()
        self.assertEqual(self.content, b"5\n")
        self.stop()

    def test_unchanged(self) -> None:
        """Where nothing was accepted nothing is written."""
        (self.state / HIGH_WATER).unlink()
        self.clock.advance(PERIOD)
        self.settle()
        self.assertEqual(list(self.state.iterdir()), [])
        self.stop()

    def test_stop(self) -> None:
        """At the end it says how far the closed store has come."""
        self.store.number = 9
        self.stop()
        self.assertEqual(self.content, b"9\n")

    def test_stop_while_full(self) -> None:
        """A store that a full disk holds up is closed all the same, and the mark stays behind."""
        self.store.waiting = True
        self.clock.advance(PERIOD)
        self.store.number = 9
        self.stop()
        self.assertEqual(self.content, b"3\n")

    def test_unwritable(self) -> None:
        """A mark that cannot be written is logged once, and written as soon as it can be."""
        draft = self.state / f"{HIGH_WATER}.new"
        draft.mkdir()
        with capturedLogs() as events:
            for number in (4, 5):
                self.store.number = number
                self.clock.advance(PERIOD)
                self.settle()
        (line,) = [str(formatEvent(event)) for event in events]
        self.assertIn(str(self.state / HIGH_WATER), line)
        draft.rmdir()
        self.clock.advance(PERIOD)
        self.settle()
        self.assertEqual(self.content, b"5\n")
        self.stop()
