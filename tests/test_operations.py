"""The operator's guide names each line that the daemon logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.commands.admin import COMMANDS

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


def plain(text: str) -> str:
    """A line with X for all that differs: what stands in braces in the source, and in capitals in the guide."""
    return re.sub(r"\{[^}]*\}|\b[A-Z]{2,}\b|\b[NM]\b", "X", text)


def is_named(form: str, spans: list[str]) -> bool:
    """Whether one of these is the line, or its beginning before three dots."""
    line = plain(form)
    for span in spans:
        start, dots, _ = re.sub(r"^\.\.\.", "XX", span).partition("...")
        if line == plain(start) or (dots and line.startswith(plain(start))):
            return True
    return False


class LogTests(SynchronousTestCase):
    """Its table."""

    def test_named(self) -> None:
        """Each line that is no bug is in the table."""
        guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
        table = " ".join(guide.partition("## Logs")[2].partition("\n## ")[0].split())
        forms = list(logged())
        self.assertGreater(len(forms), 40)
        spans = re.findall(r"`([^`]+)`", table)
        self.assertEqual([form for form in forms if not is_named(form, spans)], [])

    def test_alerts(self) -> None:
        """Each alert is in its table, and each command of the operator in its own."""
        guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
        for name in re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "alerts.yml").read_text("utf-8")):
            self.assertIn(f"`{name}`", guide)
        administration = guide.partition("## Administration")[2].partition("\n## ")[0]
        for command in COMMANDS:
            self.assertRegex(administration, rf"`{command.name}[ `]")
