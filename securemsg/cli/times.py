"""Durations, as they are written on the command line."""

from __future__ import annotations

import re

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)


def parse_duration(text: str) -> int:
    """
    Seconds: C{90}, C{90s}, C{15m}, C{12h}, C{7d}, C{2w}.

    @raise ValueError: it is written otherwise.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2] or "s"]


class Duration(click.ParamType[int]):
    """
    An option that takes a duration within bounds.

    @ivar low: shortest, seconds.
    @ivar high: longest, seconds.
    """

    name = "duration"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail with a sentence."""
        try:
            seconds = value if isinstance(value, int) else parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h or 7d", param, ctx)
        if not self.low <= seconds <= self.high:
            self.fail(f"{value!r} is not from {written(self.low)} to {written(self.high)}", param, ctx)
        return seconds


def written(seconds: int) -> str:
    """A duration as it is typed."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
