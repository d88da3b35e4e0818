"""Whatever a peer writes, the terminal gets nothing but visible characters."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.escape import escape


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
        for text in ("grüße, 你好, привет, שלום", "ကြွေး, שָּׁלוֹם, น้ำ", "❤️ 👍 1️⃣", "back\\slash"):
            self.assertEqual(escape(text), text)
        self.assertEqual(escape("a\tb"), "a    b")

    def test_towers(self) -> None:
        """More than three marks on a character are spelled out, so that they cover no other line."""
        self.assertEqual(escape("e" + "\u0301" * 3 + "a\u0302\u20dd"), "e" + "\u0301" * 3 + "a\u0302\u20dd")
        self.assertEqual(escape("e" + "\u0301" * 5 + "a\u0302"), "e" + "\u0301" * 3 + "\\u0301" * 2 + "a\u0302")
        self.assertEqual(escape("❤" + "\ufe0f" * 4), "❤" + "\ufe0f" * 3 + "\\ufe0f")
        # A mark with a column of its own is no new character.
        self.assertEqual(escape("က" + "\u102d" * 2 + "\u102c" + "\u102d" * 2), "က" + "\u102d" * 2 + "\u102c" + "\u102d\\u102d")

    def test_spacing_marks(self) -> None:
        """Nor are there more than three marks with a column of their own, beside three without one."""
        self.assertEqual(escape("क" + "\u0903" * 5 + "क\u0903"), "क" + "\u0903" * 3 + "\\u0903" * 2 + "क\u0903")
        self.assertEqual(escape("က" + "\u102d\u102c" * 4), "က" + "\u102d\u102c" * 3 + "\\u102d\\u102c")
        self.assertEqual(escape("कार्यों মো நௌ ဩော် ကြောင့်"), "कार्यों মো நௌ ဩော် ကြောင့်")

    def test_line_ends(self) -> None:
        """In one line, line ends are spelled out, of either kind alike."""
        self.assertEqual(escape("a\nb\r\nc"), "a\\nb\\nc")
