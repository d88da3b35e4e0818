"""The daemon's log."""

from __future__ import annotations

import io
import json
import os
import tempfile

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.logs import BURST, WINDOW, DaemonLogging, Repeats, json_line, writes_to_journal

NOW = 1_800_000_000.0


class LogTests(SynchronousTestCase):
    """What is written."""

    def setUp(self) -> None:
        """A log in JSON."""
        self.file = io.StringIO()
        self.logging = DaemonLogging(as_json=True)
        self.log = Logger("securemsg.test", observer=LogPublisher(self.logging.observer(self.file)))

    @property
    def rows(self) -> list[dict[str, object]]:
        """What was written."""
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def test_json(self) -> None:
        """An event is one line, with its fields; what is no text and no number is left out."""
        self.log.warn("{name} is {state}\nhere", name="bob", state="\u00e9", other=b"secret")
        (row,) = self.rows
        self.assertTrue(str(row.pop("time")).endswith("Z"))
        expected = {"level": "warn", "source": "securemsg.test", "name": "bob", "state": "\u00e9"}
        self.assertEqual(row, {**expected, "message": "bob is \u00e9\nhere"})

    def test_foreign(self) -> None:
        """The fields of other people's events are not looked at."""
        event = {"log_time": NOW, "log_level": LogLevel.info, "log_namespace": "other", "log_format": "text", "key": "secret"}
        self.assertNotIn("secret", json_line(event))

    def test_failure(self) -> None:
        """A failure brings its traceback."""
        try:
            raise ValueError("a bug")
        except ValueError:
            self.log.failure("it broke")
        self.assertIn("ValueError: a bug", str(self.rows[0]["traceback"]))

    def test_level(self) -> None:
        """What is below the level is not written; the level may change."""
        self.log.debug("one")
        self.logging.set_level("debug")
        self.log.debug("two")
        self.logging.set_level("error")
        self.log.warn("three")
        self.log.error("four")
        self.assertEqual([row["message"] for row in self.rows], ["two", "four"])

    def test_text(self) -> None:
        """For people it is text."""
        Logger("securemsg.test", observer=DaemonLogging(as_json=False).observer(self.file)).info("hello")
        self.assertIn("[securemsg.test#info] hello", self.file.getvalue())


class RepeatTests(SynchronousTestCase):
    """Many of one kind."""

    def test_repeats(self) -> None:
        """The first of a minute are written, the rest counted, which is said once the minute is over; others pass."""
        found: list[dict[str, object]] = []
        repeats = Repeats(found.append)
        base = {"log_namespace": "securemsg.x", "log_level": LogLevel.info, "log_format": "{n}"}
        for number in range(BURST + 3):
            repeats({**base, "log_time": NOW, "n": number})
        repeats({**base, "log_format": "other", "log_time": NOW})
        repeats({**base, "log_namespace": "twisted", "log_time": NOW})
        self.assertEqual(len(found), BURST + 2)
        # Many of one code do not hide another.
        repeats({**base, "log_time": NOW, "n": 0, "code": "server-full"})
        self.assertEqual(found.pop()["code"], "server-full")
        for _ in range(BURST + 1):
            repeats({**base, "log_format": "each", "log_each": True, "log_time": NOW})
        self.assertEqual([row["log_format"] for row in found].count("each"), BURST + 1)
        del found[-BURST - 1 :]
        repeats.report(NOW + WINDOW - 1)
        self.assertEqual(len(found), BURST + 2)
        repeats.report(NOW + WINDOW)
        repeats.report(NOW + WINDOW)
        self.assertEqual(len(found), BURST + 3)
        self.assertEqual((found[-1]["count"], found[-1]["last"]), (3, str(BURST + 2)))
        repeats({**base, "log_time": NOW + WINDOW, "n": 0})
        self.assertEqual(found[-1]["n"], 0)


class JournalTests(SynchronousTestCase):
    """Whether systemd reads standard error."""

    def test_journal(self) -> None:
        """It does if the variable names that very stream."""
        with tempfile.TemporaryFile() as file:
            status = os.fstat(file.fileno())
            self.patch(os, "fstat", lambda descriptor: status)
            for value, expected in ((f"{status.st_dev}:{status.st_ino}", True), (f"{status.st_dev}:1", False), ("", False)):
                self.patch(os, "environ", {"JOURNAL_STREAM": value})
                self.assertIs(writes_to_journal(), expected, value)
