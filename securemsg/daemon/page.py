"""
The status page: the monitor's numbers for people, with plots of the last hour.

The page needs nothing from elsewhere, and no JavaScript: then the browser loads it again twice a minute. A few lines of
JavaScript, from its own path, exchange its content more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from attrs import frozen

from securemsg import __version__
from securemsg.daemon.monitor import PERIOD, SAMPLES, Monitor

DAY = 86400
# A plot in its own units: a step for each sample, and as much room for a line that would be cut off otherwise.
WIDTH, HEIGHT, MARGIN = SAMPLES, 60, 2
# Refusals of so many codes are listed, the most frequent first.
MAX_CODES = 20
# What the browser may load and do: our own style, script and answers, nothing else, and in nobody's frame.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
FOLDER = Path(__file__).parent / "status"


@frozen
class Plot:
    """
    A curve.

    @ivar now: the last value, as text; C{most}: the highest.
    @ivar points: of an SVG polyline.
    """

    title: str
    now: str
    most: str
    points: str


def plot(title: str, values: Sequence[float], form: str, scale: float = 1) -> Plot:
    """A curve of values, the newest at the right."""
    most = max(values, default=0)
    room = HEIGHT - 2 * MARGIN
    heights = [HEIGHT - MARGIN - (value / most * room if most else 0) for value in values]
    points = " ".join(f"{WIDTH - len(values) + at},{height:.1f}" for at, height in enumerate(heights, 1))
    return Plot(title, form.format((values[-1] if values else 0) * scale), form.format(most * scale), points)


def duration(seconds: float) -> str:
    """A time for people, in its two largest units."""
    minutes, hours, days = int(seconds) // 60 % 60, int(seconds) // 3600 % 24, int(seconds) // DAY
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {int(seconds) % 60} s"


class Page:
    """Renders the page."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._template = environment.from_string((FOLDER / "status.html").read_text("utf-8"))

    def render(self) -> str:
        """The page as it is now."""
        monitor, samples = self._monitor, self._monitor.samples
        expiry = datetime.fromtimestamp(monitor.expires_at(), UTC)
        waiting, left = monitor.waiting, monitor.expires_at() - monitor.now()
        certificate = f"expires {expiry:%Y-%m-%d}, in {duration(left)}" if left > 0 else f"EXPIRED on {expiry:%Y-%m-%d}"
        return self._template.render(
            version=__version__,
            problem=monitor.problem,
            is_draining=monitor.is_draining(),
            width=WIDTH,
            height=HEIGHT,
            period=PERIOD,
            plots=[
                plot("Connections", [sample.connections for sample in samples], "{:.0f}"),
                plot("Messages a second", [sample.messages for sample in samples], "{:.1f}"),
                plot("Time until accepted", [sample.latency for sample in samples], "{:.1f} ms", 1000),
                plot("Messages waiting", [sample.waiting for sample in samples], "{:.0f}"),
                plot("Refusals a second", [sample.refusals for sample in samples], "{:.1f}"),
            ],
            facts=[
                ("Up for", duration(monitor.uptime)),
                ("Logged in", f"{monitor.logged_in()} devices and guests"),
                ("Waiting", f"{waiting.messages} messages, {waiting.size / 1e6:.1f} MB; oldest {duration(monitor.age)}"),
                ("Certificate", certificate),
                ("Unhandled errors", f"{monitor.errors}, which the log describes" if monitor.errors else "0"),
            ],
            refusals=(monitor.server.refusals + monitor.hangups).most_common(MAX_CODES),
        )


def asset(name: str) -> str:
    """A file that the page loads."""
    return (FOLDER / name).read_text("utf-8")
