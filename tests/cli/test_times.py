"""Durations and points in time on the command line."""

from __future__ import annotations

import os
import time

import click
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.times import (
    At,
    Duration,
    Since,
    duration_text,
    expiry_text,
    moment_text,
    parse_at,
    parse_duration,
    parse_since,
    short_time,
    shown_time,
)


class ExpiryTests(SynchronousTestCase):
    """When a certificate expires."""

    def test_days(self) -> None:
        """Whole days are counted; the last one has none left, and then it has expired."""
        noon = 1_790_000_000
        for seconds, text in ((15 * 86400, "15 days left"), (86400, "1 day left"), (60, "0 days left"), (0, "")):
            self.assertEqual(expiry_text(noon + seconds, noon).partition(", ")[2], text)
        self.assertTrue(expiry_text(noon, noon).startswith("expired on 2026-"))


class DurationTests(SynchronousTestCase):
    """From text to seconds."""

    def test_units(self) -> None:
        """A number alone is seconds; units are s, m, h, d, w and y."""
        expected = {"90": 90, "90s": 90, "15m": 900, "12h": 43200, "7d": 604800, "2w": 1209600, "1y": 31536000}
        expected |= {" 5s ": 5, "0": 0}
        for text, seconds in expected.items():
            self.assertEqual(parse_duration(text), seconds)

    def test_wrong(self) -> None:
        """Anything else is refused."""
        for text in ("", "s", "-1", "1.5h", "1h30m", "1z", "٣", "9999999999", "1 h"):
            self.assertRaises(ValueError, parse_duration, text)

    def test_bounds(self) -> None:
        """An option accepts durations within its bounds, inclusive, and explains others."""
        option = Duration(60, 30 * 86400)
        self.assertEqual([option.convert(text, None, None) for text in ("60", "30d")], [60, 2592000])
        for text in ("59s", "31d", "soon"):
            self.assertRaises(click.BadParameter, option.convert, text, None, None)

    @given(st.integers(min_value=0, max_value=10**9 - 1))
    def test_written(self, seconds: int) -> None:
        """A written duration is read back as the same."""
        self.assertEqual(parse_duration(duration_text(seconds)), seconds)


class SinceTests(SynchronousTestCase):
    """Points in time."""

    NOW = 1_800_000_000

    def setUp(self) -> None:
        """We are in a zone an hour ahead of UTC."""
        before = os.environ.get("TZ")
        os.environ["TZ"] = "XST-1"
        time.tzset()
        self.addCleanup(self.zone, before)

    def zone(self, before: str | None) -> None:
        """Back to where we were."""
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

    def test_dates(self) -> None:
        """A date or a time without an offset is local; one with an offset is what it says."""
        midnight = 1_796_083_200 - 3600
        expected = {
            "2026-12-01": midnight,
            "2026-12-01T14:05": midnight + 14 * 3600 + 5 * 60,
            "2026-12-01 14:05:09": midnight + 14 * 3600 + 5 * 60 + 9,
            "2026-12-01T14:05Z": midnight + 15 * 3600 + 5 * 60,
            "2026-12-01T14:05+02:00": midnight + 13 * 3600 + 5 * 60,
        }
        for text, seconds in expected.items():
            self.assertEqual(parse_since(text, self.NOW), seconds, text)

    def test_durations(self) -> None:
        """A duration goes back from now, and needs its unit: digits alone may be a date."""
        self.assertEqual(parse_since("7d", self.NOW), self.NOW - 7 * 86400)
        self.assertEqual(parse_since(" 90s ", self.NOW), self.NOW - 90)
        self.assertEqual(parse_since("20261201", self.NOW), parse_since("2026-12-01", self.NOW))

    def test_wrong(self) -> None:
        """Anything else is refused, and the message shows how it is written."""
        for text in ("", "d", "7", "yesterday", "2026-13-01", "-7d", "1.5h", "9999999999d", "0001-01-01"):
            problem = self.assertRaises(click.BadParameter, Since(lambda: self.NOW).convert, text, None, None)
            self.assertIn("2026-11-30T14:05", str(problem))

    def test_ahead(self) -> None:
        """What lies ahead: the next such time of day, a date with a time, or a duration from now."""
        at = {"2h": 7200, "10m": 600, "09:01": 60, "9:01": 60, "09:00": 86400, "08:59": 86400 - 60, "2027-01-15T10:00": 3600}
        for text, seconds in at.items():
            self.assertEqual(parse_at(text, self.NOW) - self.NOW, seconds)
        for text in ("soon", "25:00", "9:60", "12", ""):
            self.assertRaises(ValueError, parse_at, text, self.NOW)

    def test_not_ahead(self) -> None:
        """What is over, or more than a year ahead, is explained."""
        self.assertGreater(At().convert("2h", None, None), time.time() + 7000)
        for text, why in (("2020-01-01T10:00", "is in the past"), ("2y", "366d at most"), ("soon", "18:30")):
            problem = self.assertRaises(click.BadParameter, At().convert, text, None, None)
            self.assertIn(why, str(problem))

    def test_moment(self) -> None:
        """The time of day, with the date if that is another."""
        self.assertEqual(moment_text(self.NOW + 60, self.NOW), "09:01")
        self.assertEqual(moment_text(self.NOW + 86400, self.NOW), "2027-01-16 09:00")

    def test_before_all_time(self) -> None:
        """What lies before 1970 is as long ago as anything can be."""
        self.assertEqual(Since(lambda: self.NOW).convert("1900-01-01", None, None), 0)
        self.assertEqual(Since(lambda: 5).convert("7d", None, None), 0)

    def test_short(self) -> None:
        """People see the local time of today, and the date of other days."""
        self.assertEqual(short_time(self.NOW, self.NOW), "09:00")
        self.assertEqual(short_time(self.NOW - 9 * 3600 - 1, self.NOW), "2027-01-14")

    def test_at_a_terminal(self) -> None:
        """At a terminal times are local, as --since takes them; elsewhere they are in UTC."""
        self.assertEqual(shown_time(self.NOW, 80), "2027-01-15 09:00")
        self.assertEqual(parse_since(shown_time(self.NOW, 80), self.NOW), self.NOW)
        self.assertEqual(shown_time(self.NOW, 0), "2027-01-15T08:00:00Z")

    def test_last_second(self) -> None:
        """A sender's clock may say anything, also where local time is ahead of UTC, and the calendar ends a day too early."""
        for seconds in (253_402_300_799, 2**63 - 1):
            self.assertEqual(shown_time(seconds, 80), "9999-12-31 00:59")
            self.assertEqual(short_time(seconds, self.NOW), "9999-12-31")
