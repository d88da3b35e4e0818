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
        """No control, formatting or line separator comes through, whatever goes in, but for joiners and direction marks."""
        for character in escape(text):
            if character not in "\u200c\u200d\u200e\u200f":
                self.assertNotIn(unicodedata.category(character), ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"))

    @given(st.text(st.sampled_from("\u200c\u200d\u200e\u200fab1 .-@٠é你é🏽\ufe0f\u0301")))
    def test_no_joiner_alone(self, text: str) -> None:
        """Where no letter joins and none is written from right to left, every joiner and direction mark is spelled out."""
        for character in escape(text):
            self.assertNotIn(character, "\u200c\u200d\u200e\u200f")

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

    def test_joiners_in_place(self) -> None:
        """Joiners and direction marks stay where a script or an emoji needs them."""
        for text in (
            "می\u200cخواهم",  # Persian: no join within a word
            "نِ\u200cم",  # the same, with a vowel on the letter before
            "क्\u200dष क्\u200cष",  # Devanagari: half and full form
            "ශ්\u200dරී ලංකා",  # Sinhala
            "ന്\u200d",  # Malayalam, the end of a word
            "👩\u200d👧\u200d👦 👩🏽\u200d🚀 ❤️\u200d🔥 🏳️\u200d🌈 🙂\u200d↔️ 🐦\u200d⬛",
            "שלום\u200f (C++)\u200e אבג",
            "שלום!\u200f",
            "\u200fשָׁ\u200f",
        ):
            self.assertEqual(escape(text), text)

    def test_joiners_elsewhere(self) -> None:
        """Everywhere else they would hide something, and are spelled out."""
        for text, shown in (
            ("a\u200db", "a\\u200db"),
            ("pay\u200cpal", "pay\\u200cpal"),
            ("\u200d", "\\u200d"),
            ("👍\u200d", "👍\\u200d"),
            ("👍\u200da", "👍\\u200da"),
            ("a\u200d👍", "a\\u200d👍"),
            ("👍\u200d\u200d👍", "👍\\u200d\\u200d👍"),
            ("👍\u200d🏽", "👍\\u200d🏽"),
            ("می\u200c\u200cخ", "می\\u200c\\u200cخ"),
            ("م\u200c", "م\\u200c"),
            ("क\u200dष", "क\\u200dष"),
            ("क्\u200d\u200dष", "क्\u200d\\u200dष"),
            ("abc\u200e def\u200f", "abc\\u200e def\\u200f"),
            ("ש\u200f\u200f\u200fa", "ש\u200f\\u200f\\u200fa"),
            ("ש     \u200fa", "ש     \\u200fa"),
            ("\u0378\u200dש", "\\u0378\\u200dש"),
        ):
            self.assertEqual(escape(text), shown)

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
