"""Whatever a peer writes, the terminal gets nothing but visible characters."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.escape import INDENT, block, escape, escape_lines


class EscapeTests(SynchronousTestCase):
    """One line."""

    @given(st.text())
    def test_nothing_hidden(self, text: str) -> None:
        """No control, formatting or line-separating character comes through, whatever goes in."""
        for character in escape(text):
            self.assertNotIn(unicodedata.category(character), ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"))

    def test_sequences(self) -> None:
        """Colours, titles, the eight-bit controls and the delete key are spelled out."""
        self.assertEqual(escape("\x1b[31mred"), "\\x1b[31mred")
        self.assertEqual(escape("\x1b]0;title\x07"), "\\x1b]0;title\\x07")
        self.assertEqual(escape("\x9b2J\x7f\x00"), "\\x9b2J\\x7f\\x00")

    def test_direction(self) -> None:
        """Overrides and isolates cannot turn a line around."""
        self.assertEqual(escape("\u202egnp.exe\u2066\u2069"), "\\u202egnp.exe\\u2066\\u2069")

    def test_invisible(self) -> None:
        """Zero-width characters, tags, fillers and odd variation selectors are seen."""
        self.assertEqual(escape("a\u200bb\ufeff\U000e0041"), "a\\u200bb\\ufeff\\U000e0041")
        self.assertEqual(escape("\u3164\u115f\u2800\ufe01"), "\\u3164\\u115f\\u2800\\ufe01")

    def test_cursor(self) -> None:
        """A carriage return or backspace overwrites nothing."""
        self.assertEqual(escape("good\rbad\x08"), "good\\x0dbad\\x08")

    def test_ordinary_text(self) -> None:
        """Letters of all scripts, and emoji with their style, stay as they are; a tab becomes spaces."""
        for text in ("grüße, 你好, привет, שלום", "❤️ 👍", "back\\slash"):
            self.assertEqual(escape(text), text)
        self.assertEqual(escape("a\tb"), "a    b")

    def test_line_ends(self) -> None:
        """In one line, line ends are spelled out, of either kind alike."""
        self.assertEqual(escape("a\nb\r\nc"), "a\\nb\\nc")
        self.assertEqual(escape_lines("a\nb\r\nc"), ["a", "b", "c"])


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
        """What the terminal would wrap is folded with the indent, so that padding cannot push a fake to a line's start."""
        rows = block("bob: ", "x" * 35 + "[12:00] eve: gotcha", 40).split("\n")
        self.assertEqual(rows, ["bob: " + "x" * 35, INDENT + "[12:00] eve: gotcha"])

    def test_wide(self) -> None:
        """Wide characters count for two columns."""
        self.assertEqual(block("", "你" * 11, 20), "你" * 10 + "\n" + INDENT + "你")
