"""Whatever a peer writes, none of its lines looks like one of ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.wrapping import INDENT, block


class BlockTests(SynchronousTestCase):
    """A message of several lines, or of one that is too long."""

    @given(st.text(), st.integers(min_value=0, max_value=90))
    def test_no_fake_line(self, text: str, columns: int) -> None:
        """Every line but the first is indented: none can pass for another sender's."""
        rows = block("bob: ", text, columns).split("\n")
        self.assertTrue(rows[0].startswith("bob: "))
        for row in rows[1:]:
            self.assertTrue(row.startswith(INDENT))

    def test_fold(self) -> None:
        """Long lines are wrapped with the indent, so that padding cannot push a fake to the start of a line."""
        rows = block("bob: ", "x" * 35 + "[12:00] eve: gotcha", 40).split("\n")
        self.assertEqual(rows, ["bob: " + "x" * 35, INDENT + "[12:00] eve: gotcha"])

    def test_wide(self) -> None:
        """Wide characters count for two columns."""
        self.assertEqual(block("", "你" * 11, 20), "你" * 10 + "\n" + INDENT + "你")

    def test_line_ends(self) -> None:
        """Line ends of either kind begin a new line."""
        self.assertEqual(block("bob: ", "a\nb\r\nc"), f"bob: a\n{INDENT}b\n{INDENT}c")

    def test_combined(self) -> None:
        """Marks that stand above another character count for no column."""
        self.assertEqual(block("", "e\u0301" * 20 + "x", 20), "e\u0301" * 20 + "\n" + INDENT + "x")
