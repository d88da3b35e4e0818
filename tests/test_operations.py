"""The operator's guide names each line that the daemon logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
# What runs in the daemon.
LAYERS = ("daemon", "net", "protocol", "responders", "server", "storage")
LEVELS = {"info", "warn", "error", "critical"}


def logged() -> Iterator[str]:
    """The formats of all events that are no failures: those have a traceback, and are bugs."""
    for layer in LAYERS:
        for path in sorted((ROOT / "securemsg" / layer).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                if call.func.attr in LEVELS and call.args:
                    forms = (one.value for one in ast.walk(call.args[0]) if isinstance(one, ast.Constant))
                    yield from (form for form in forms if isinstance(form, str))


def start_of(form: str) -> str:
    """What stands before, or else behind, the first thing that differs."""
    before, _, behind = form.partition("{")
    return before.strip() or re.split("[{;]", behind.partition("}")[2])[0].strip()


class LogTests(SynchronousTestCase):
    """Its table."""

    def test_named(self) -> None:
        """Each line that is no bug is in the table."""
        guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
        table = guide.partition("## Logs")[2].partition("\n## ")[0]
        forms = list(logged())
        self.assertGreater(len(forms), 40)
        for form in forms:
            start = re.split(r"[,;] ", start_of(form))[0].rstrip(":;( ")
            self.assertIn(start, table, form)
