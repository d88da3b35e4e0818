"""Durations and times as they are written."""

from __future__ import annotations

import click
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.times import Duration, iso, parse_duration, written


class DurationTests(SynchronousTestCase):
    """From text to seconds."""

    def test_units(self) -> None:
        """A number alone is seconds; the letters are those of everyday."""
        expected = {"90": 90, "90s": 90, "15m": 900, "12h": 43200, "7d": 604800, "2w": 1209600, " 5s ": 5, "0": 0}
        for text, seconds in expected.items():
            self.assertEqual(parse_duration(text), seconds)

    def test_wrong(self) -> None:
        """Whatever else is no duration."""
        for text in ("", "s", "-1", "1.5h", "1h30m", "1y", "٣", "9999999999", "1 h"):
            self.assertRaises(ValueError, parse_duration, text)

    def test_bounds(self) -> None:
        """An option takes what lies within its bounds, the bounds included, and fails with a sentence otherwise."""
        option = Duration(60, 30 * 86400)
        self.assertEqual([option.convert(text, None, None) for text in ("60", "30d")], [60, 2592000])
        for text in ("59s", "31d", "soon"):
            self.assertRaises(click.BadParameter, option.convert, text, None, None)

    @given(st.integers(min_value=0, max_value=10**9 - 1))
    def test_written(self, seconds: int) -> None:
        """What is written is read as the same."""
        self.assertEqual(parse_duration(written(seconds)), seconds)


class IsoTests(SynchronousTestCase):
    """From seconds to text."""

    def test_utc(self) -> None:
        """Times are UTC, ISO 8601, to the second."""
        self.assertEqual(iso(1795255200), "2026-11-21T10:00:00Z")
        self.assertEqual(iso(0.9), "1970-01-01T00:00:00Z")
        self.assertIsNone(iso(None))

    def test_any_clock(self) -> None:
        """A sender's clock may say anything."""
        self.assertEqual(iso(2**63 - 1), "9999-12-31T23:59:59Z")
        self.assertEqual(iso(-5), "1970-01-01T00:00:00Z")
