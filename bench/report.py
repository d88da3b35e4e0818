"""Figures, as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table

# Rises when a reader of the JSON has to change.
VERSION = 1


@frozen
class Figure:
    """
    One line of the table.

    @ivar key: for programs.
    @ivar daemon: as measured, in C{unit}.
    @ivar yardstick: the same of C{beside} in the same run, where it can do such a thing.
    @ivar ratio: daemon over yardstick.
    @ivar aim: what the daemon is meant to reach, in words.
    @ivar beside: what the daemon is compared with.
    """

    key: str
    label: str
    unit: str
    daemon: float
    yardstick: float | None = None
    aim: str = ""
    beside: str = "stock relay"

    @property
    def ratio(self) -> float | None:
        """How the two compare."""
        return self.daemon / self.yardstick if self.yardstick else None


def as_json(figures: Sequence[Figure], machine: Mapping[str, str], options: Mapping[str, object]) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "version": VERSION,
        "at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": dict(machine),
        "options": dict(options),
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures],
    }


def write_json(path: Path, report: Mapping[str, object]) -> None:
    """Keep a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Everything, for people."""
    return [
        (
            f"{figure.label}, {figure.unit}",
            written(figure.daemon),
            written(figure.yardstick),
            "" if figure.ratio is None else f"{figure.ratio:.1f}",
            figure.aim,
        )
        for figure in figures
    ]


def written(value: float | None) -> str:
    """A number with the digits that mean something."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_tables(figures: Sequence[Figure], out: TextIO = sys.stdout) -> None:
    """Print them: a table for each thing that the daemon is compared with."""
    for beside in dict.fromkeys(figure.beside for figure in figures):
        of_this = [figure for figure in figures if figure.beside == beside]
        _print_table(("", "daemon", beside, "ratio", "aim"), rows(of_this), out)


def _print_table(headings: tuple[str, ...], table: list[tuple[str, ...]], out: TextIO) -> None:
    """Print one: with lines on a terminal, else plain."""
    if out.isatty():
        shown = Table()
        for number, heading in enumerate(headings):
            shown.add_column(heading, justify="left" if number in (0, 4) else "right")
        for row in table:
            shown.add_row(*row)
        Console(file=out).print(shown)
        return
    widths = [max(len(row[column]) for row in [headings, *table]) for column in range(len(headings))]
    for row in [headings, *table]:
        cells = [
            cell.ljust(width) if number in (0, 4) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=out)
