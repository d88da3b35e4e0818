"""Durations on the command line."""

from __future__ import annotations

import click
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.times import Duration, parse_duration, written


class DurationTests(SynchronousTestCase):
    """From text to seconds."""

    def test_units(self) -> None:
        """A number alone is seconds; units are s, m, h, d and w."""
        expected = {"90": 90, "90s": 90, "15m": 900, "12h": 43200, "7d": 604800, "2w": 1209600, " 5s ": 5, "0": 0}
        for text, seconds in expected.items():
            self.assertEqual(parse_duration(text), seconds)

    def test_wrong(self) -> None:
        """Anything else is refused."""
        for text in ("", "s", "-1", "1.5h", "1h30m", "1y", "٣", "9999999999", "1 h"):
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
        self.assertEqual(parse_duration(written(seconds)), seconds)
