"""Durations and points in time, as they are written on the command line, and as people read them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

import click

from securemsg.client.times import MAX_DELAY, iso
from securemsg.protocol.envelope import MAX_KEEP, MIN_KEEP

OFF = "off"
# A day before the last second that the calendar can show: a sender's clock may say anything, and local time be ahead of UTC.
_LAST = 253_402_300_799 - 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdwy]?)", re.ASCII)


def parse_duration(text: str) -> int:
    """
    Seconds: C{90}, C{90s}, C{15m}, C{12h}, C{7d}, C{2w}, C{1y}.

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
            self.fail(f"{value!r} is not from {duration_text(self.low)} to {duration_text(self.high)}", param, ctx)
        return seconds


class KeepTime(Duration):
    """An option that takes for how long a message is kept; C{off}: 0, as long as each end likes."""

    def __init__(self) -> None:
        super().__init__(MIN_KEEP, MAX_KEEP)

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail with a sentence."""
        return 0 if value in (OFF, 0) else super().convert(value, param, ctx)


def duration_text(seconds: int) -> str:
    """A duration as it is typed."""
    for unit in ("y", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def parse_since(text: str, now: float) -> int:
    """
    A point in time, in seconds: an ISO date or time, local unless it has an offset, or a duration before C{now}, with its unit.

    @raise ValueError: it is written otherwise.
    """
    text = text.strip()
    if text[-1:] in _UNITS and text[:-1].isdigit():
        return int(now) - parse_duration(text)
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (OverflowError, OSError):
        raise ValueError(text) from None


def parse_at(text: str, now: float) -> int:
    """
    A point in time that lies ahead, in seconds: a time of day, local, of today or tomorrow; or as in L{parse_since}, but with a
    duration from C{now}.

    @raise ValueError: it is written otherwise.
    """
    text = text.strip()
    if text[-1:] in _UNITS and text[:-1].isdigit():
        return int(now) + parse_duration(text)
    if re.fullmatch("[0-9]{1,2}:[0-9]{2}", text, re.ASCII):
        moment = datetime.combine(local(now).date(), time_of_day.fromisoformat(text.zfill(5)))
        return int((moment if moment.timestamp() > now else moment + timedelta(days=1)).timestamp())
    return parse_since(text, now)


class At(click.ParamType[int]):
    """An option that takes a point in time that lies ahead; see L{parse_at}."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail with a sentence."""
        now = time.time()
        try:
            moment = value if isinstance(value, int) else parse_at(value, now)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 18:30, 2026-12-24T18:30, or 2h for in two hours", param, ctx)
        if moment <= now:
            self.fail(f"{value!r} is in the past; give a time in the future", param, ctx)
        if moment > now + MAX_DELAY:
            self.fail(f"{value!r} is too far ahead: it can be {duration_text(MAX_DELAY)} at most", param, ctx)
        return moment


class Since(click.ParamType[int]):
    """An option that takes a point in time; see L{parse_since}."""

    name = "date"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail with a sentence."""
        try:
            return value if isinstance(value, int) else max(parse_since(value, self._now()), 0)
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2026-11-30, a time such as 2026-11-30T14:05, or 7d", param, ctx)


def local(seconds: float) -> datetime:
    """A time in local time; the last one that the calendar can show in every zone, if it is later."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).astimezone()


def short_time(seconds: float, now: float) -> str:
    """A time for people, in local time: the time of day, or the date if that is not today."""
    moment, today = local(seconds), local(now)
    return f"{moment:%H:%M}" if moment.date() == today.date() else f"{moment:%Y-%m-%d}"


def moment_text(seconds: float, now: float) -> str:
    """A time for people, in local time and to the minute, with the date if that is not today."""
    moment = local(seconds)
    return f"{moment:%H:%M}" if moment.date() == local(now).date() else f"{moment:%Y-%m-%d %H:%M}"


def shown_time(seconds: float, columns: int) -> str:
    """
    A time in text output: local and to the minute for people at a terminal, as C{--since} takes it; in UTC elsewhere, for
    programs.

    @param columns: of the terminal; 0: it is none.
    """
    return f"{local(seconds):%Y-%m-%d %H:%M}" if columns else iso(seconds)


def expiry_text(expires_at: float, now: float) -> str:
    """When something expires, for people: the day, and how many days that leaves."""
    if expires_at <= now:
        return f"expired on {local(expires_at):%Y-%m-%d}"
    days = int((expires_at - now) // 86400)
    return f"expires on {local(expires_at):%Y-%m-%d}, {days} day{'' if days == 1 else 's'} left"


since_option = click.option(
    "--since",
    type=Since(),
    default=0,
    metavar="DATE",
    help="Only messages since then: 2026-11-30, 2026-11-30T14:05, or 7d for the last seven days.",
)
