"""Two plots of C{docs/performance.md}, as SVG: cost against messages in flight, and delay against rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median

from attrs import frozen

from bench.report import Figure

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
# Apart for those who see few colours as well (Okabe and Ito).
COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
# Pixels between two lines of the legend.
LINE = 18

# A line of a plot: points, from left to right.
Points = Sequence[tuple[float, float]]


@frozen
class Plot:
    """A plot with both axes logarithmic."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Points]

    def svg(self) -> str:
        """All of it."""
        across = self._axis([x for points in self.lines.values() for x, _ in points], LEFT, WIDTH - RIGHT)
        up = self._axis([y for points in self.lines.values() for _, y in points], HEIGHT - BOTTOM, TOP)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(LEFT, TOP - 16, self.title, "start", 'font-size="14" font-weight="bold"'),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.across),
            _text(16, HEIGHT / 2, self.up, "middle", f'transform="rotate(-90 16 {HEIGHT / 2:g})"'),
        ]
        for x in sorted({x for points in self.lines.values() for x, _ in points}):
            parts += [_rule(across(x), TOP, across(x), HEIGHT - BOTTOM), _text(across(x), HEIGHT - BOTTOM + 16, f"{x:,g}")]
        for y in _decades([y for points in self.lines.values() for _, y in points]):
            if TOP <= up(y) <= HEIGHT - BOTTOM:
                parts += [_rule(LEFT, up(y), WIDTH - RIGHT, up(y)), _text(LEFT - 6, up(y) + 4, f"{y:,g}", "end")]
        for number, (name, points) in enumerate(self.lines.items()):
            colour, y = COLOURS[number % len(COLOURS)], TOP + 10 + number * LINE
            places = [(across(x), up(value)) for x, value in points]
            path = " ".join(f"{x:.1f},{place:.1f}" for x, place in places)
            dashes = "" if number < len(COLOURS) else ' stroke-dasharray="4 3"'
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
            parts += [f'<circle cx="{x:.1f}" cy="{place:.1f}" r="3" fill="{colour}"/>' for x, place in places]
            parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 8}" width="10" height="10" fill="{colour}"/>')
            parts.append(_text(WIDTH - RIGHT + 30, y + 1, name, "start"))
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _axis(self, values: Sequence[float], begin: float, end: float) -> Callable[[float], float]:
        """Where a value stands."""
        low, high = math.log(min(values)), math.log(max(values) * 1.0001)
        return lambda value: begin + (end - begin) * (math.log(value) - low) / (high - low)


def _decades(values: Sequence[float]) -> list[float]:
    """Numbers for an axis: 1, 2 and 5 of each decade."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [digit * 10.0**decade for decade in range(first, last + 1) for digit in (1, 2, 5)]


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="#222222" {more}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#dddddd"/>'


def plots(figures: Sequence[Figure]) -> dict[str, Plot]:
    """Those whose figures are there, by the name of their file."""
    found = {}
    for name, prefix, title, across, up in (
        ("cost", "cpu_", "Server CPU a message", "messages in flight on each pair", "microseconds"),
        ("delay", "p99_", "Delay of 99 % of messages", "messages a second, due at a steady rate", "milliseconds"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in figures:
            at = row.key.removeprefix(prefix)
            if row.key.startswith(prefix) and at.isdecimal():
                for server, values in row.samples.items():
                    lines.setdefault(server, []).append((float(at), median(values)))
        if lines:
            found[f"{name}.svg"] = Plot(title, across, up, lines)
    return found


def write(folder: Path, figures: Sequence[Figure]) -> list[Path]:
    """
    Draw them.

    @return: the files.
    """
    paths = []
    for name, plot in plots(figures).items():
        paths.append(folder / name)
        paths[-1].write_text(plot.svg(), "utf-8")
    return paths
