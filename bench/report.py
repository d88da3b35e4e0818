"""Figures, as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from attrs import Attribute, asdict, frozen
from rich.console import Console
from rich.table import Table

# Rises when a reader of the JSON has to change.
VERSION = 2


@frozen
class Figure:
    """
    One row of the table: what was measured of the daemon, and beside it of others in the same rounds.

    @ivar key: for programs.
    @ivar samples: by server, one for each round, in C{unit}; the first server is ours.
    @ivar aim: what the daemon is meant to reach, in words.
    @ivar others: what else the machine did meanwhile, of one core, at most.
    @ivar load: share of its core that the load used for the daemon, at most; near 1 it was the bottleneck.
    """

    key: str
    label: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    aim: str = ""
    others: float = 0
    load: float = 0

    def ratios(self, server: str) -> list[float]:
        """The first server over another, round by round."""
        ours, theirs = next(iter(self.samples.values())), self.samples[server]
        return [one / other for one, other in zip(ours, theirs, strict=True) if other]

    @property
    def servers(self) -> dict[str, dict[str, object]]:
        """What is to be said of each."""
        found: dict[str, dict[str, object]] = {}
        for number, (server, values) in enumerate(self.samples.items()):
            ratios = self.ratios(server) if number else []
            found[server] = {**_spread(values), "rounds": list(values), "ratio": _spread(ratios) if ratios else None}
        return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def figure(
    key: str, label: str, unit: str, daemon: float, other: float | None = None, aim: str = "", beside: str = "stock relay"
) -> Figure:
    """A row that was measured once, of the daemon and at most one other."""
    return Figure(key, label, unit, {"daemon": [daemon], **({} if other is None else {beside: [other]})}, aim)


def as_json(figures: Sequence[Figure], machine: Mapping[str, str], options: Mapping[str, object]) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "version": VERSION,
        "at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": dict(machine),
        "options": dict(options),
        "figures": [{**asdict(row, filter=_is_plain), "servers": row.servers} for row in figures],
    }


def _is_plain(attribute: Attribute[object], _value: object) -> bool:
    """The samples stand among the servers."""
    return attribute.name != "samples"


def write_json(path: Path, report: Mapping[str, object]) -> None:
    """Keep a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Everything, for people: a line for each server of each row."""
    lines: list[tuple[str, ...]] = []
    for row in figures:
        for number, (server, values) in enumerate(row.samples.items()):
            ratios = row.ratios(server) if number else []
            label, aim = ("", "") if number else (f"{row.label}, {row.unit}", row.aim)
            lines.append((label, server, *_cells(values), *(_cells(ratios) if ratios else ("", "")), aim))
    return lines


def _cells(values: Sequence[float]) -> tuple[str, str]:
    """Median and range, for people."""
    spread = f"{written(min(values))}-{written(max(values))}" if len(values) > 1 else ""
    return written(statistics.median(values)), spread


def written(value: float) -> str:
    """A number with the digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_table(figures: Sequence[Figure], out: TextIO = sys.stdout) -> None:
    """Print it: with lines on a terminal, else plain."""
    headings, table = ("", "server", "median", "range", "ratio", "range", "aim"), rows(figures)
    words = (0, 1, 6)
    if out.isatty():
        shown = Table()
        for number, heading in enumerate(headings):
            shown.add_column(heading, justify="left" if number in words else "right")
        for row in table:
            shown.add_row(*row)
        Console(file=out).print(shown)
        return
    widths = [max(len(row[column]) for row in [headings, *table]) for column in range(len(headings))]
    for row in [headings, *table]:
        cells = [
            cell.ljust(width) if number in words else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=out)
