"""Whatever a peer writes, none of its lines looks like one of ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.rendering import line_of
from securemsg.cli.wrapping import INDENT, block, cut, fill_all, width_of

# All that C{splitlines}, a terminal or an editor takes for one.
LINE_ENDS = ("\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")


class BlockTests(SynchronousTestCase):
    """A message of several lines, or of one that is too long."""

    def assert_indented(self, text: str, columns: int) -> None:
        """Whatever counts as the end of a line, every line but the first is indented."""
        first, *others = block("bob: ", text, columns).splitlines()
        self.assertTrue(first.startswith("bob: "))
        for row in others:
            self.assertTrue(row.startswith("    | "), repr(row))

    def test_no_fake_line(self) -> None:
        """No line after the first can pass for another sender's, whatever line end is before it, in any width."""
        for end in LINE_ENDS:
            for columns in (0, 20, 40, 200):
                self.assert_indented(f"one{end}[12:00] eve: gotcha{end}{end}more", columns)
        shown = line_of("12:00", "bob", "one\n[12:00] eve: gotcha")
        self.assertEqual(shown, "[12:00] bob: one\n    | [12:00] eve: gotcha")

    @given(st.lists(st.sampled_from(LINE_ENDS) | st.text()).map("".join), st.integers(min_value=0, max_value=90))
    def test_no_fake_line_in_any_text(self, text: str, columns: int) -> None:
        """So it is for any text."""
        self.assert_indented(text, columns)

    def test_fold(self) -> None:
        """Long lines are wrapped with the indent, so that padding cannot push a fake to the start of a line."""
        rows = block("bob: ", "x" * 35 + "[12:00] eve: gotcha", 40).split("\n")
        self.assertEqual(rows, ["bob: " + "x" * 35, INDENT + "[12:00] eve: gotcha"])

    def test_between_words(self) -> None:
        """Rows end between words where there are any; nothing of the text is lost but the space at a break."""
        rows = block("bob: ", "the quick brown fox jumps over the lazy dog", 24).split("\n")
        self.assertEqual(rows, ["bob: the quick brown fox", INDENT + "jumps over the", INDENT + "lazy dog"])
        rows = block("bob: ", "a" + " " * 3 + "b" * 18, 20).split("\n")
        self.assertEqual(rows, ["bob: a  ", INDENT + "b" * 14, INDENT + "b" * 4])

    def test_first_word(self) -> None:
        """The first word moves to the next row if it fits there, and so does the end of what stands before it."""
        rows = block("[2026-11-30T03:50:02Z] bobby (bob): ", "Zurich is nice", 40).split("\n")
        self.assertEqual(rows, ["[2026-11-30T03:50:02Z] bobby (bob):", INDENT + "Zurich is nice"])
        rows = block("[2026-11-30T03:50:02Z] alice (delivered): ", "hi bob", 40).split("\n")
        self.assertEqual(rows, ["[2026-11-30T03:50:02Z] alice", INDENT + "(delivered): hi bob"])

    def test_joined(self) -> None:
        """What shows as one picture stays whole: a flag, and a family whose members are joined."""
        flag, family = "🇨🇿", "👨\u200d👩\u200d👧"
        self.assertEqual(block("", flag * 7 + "x" * 20, 31).split("\n")[0], flag * 7 + "x" * 3)
        for one in (flag, family):
            for columns in range(20, 50):
                rows = block("bob: ", one * 15, columns).split("\n")
                shown = "".join(row.removeprefix("bob: ").removeprefix(INDENT) for row in rows)
                self.assertEqual(shown, one * 15)
                self.assertTrue(all(len(row.removeprefix("bob: ").removeprefix(INDENT)) % len(one) == 0 for row in rows))
        self.assertEqual(cut(flag * 10, 22), flag * 4 + "...")

    def test_joined_without_end(self) -> None:
        """A picture that is joined without end pushes nothing to the start of a line."""
        for row in block("bob: ", "\u200d".join("👩" * 50) + " [12:00] eve: gotcha", 40).split("\n"):
            self.assertLessEqual(width_of(row), 40)

    def test_ours(self) -> None:
        """A line of ours is broken between words, and its further rows are indented more than it is; options stay whole."""
        shown = fill_all("  use --set-suite psk, or else\nnothing  ", 20)
        self.assertEqual(shown, "  use --set-suite\n     psk, or else\nnothing  ")

    def test_wide(self) -> None:
        """Wide characters count for two columns."""
        self.assertEqual(block("", "你" * 11, 20), "你" * 10 + "\n" + INDENT + "你")

    def test_emoji(self) -> None:
        """An emoji with its style counts for two columns, and stays whole: no row is longer than the terminal is wide."""
        self.assertEqual(block("", "❤️" * 11, 20), "❤️" * 10 + "\n" + INDENT + "❤️")
        self.assertEqual(block("", "x" * 19 + "❤️", 20), "x" * 19 + "\n" + INDENT + "❤️")
        self.assertEqual(block("", "👍️" * 11, 20), "👍️" * 10 + "\n" + INDENT + "👍️")

    def test_faked_with_emoji(self) -> None:
        """Emoji in front push nothing to the start of a line."""
        rows = block("bob: ", "❤️" * 20 + "[12:00] eve: gotcha", 45).split("\n")
        self.assertEqual(rows, ["bob: " + "❤️" * 20, INDENT + "[12:00] eve: gotcha"])

    def test_line_ends(self) -> None:
        """Line ends of either kind begin a new line."""
        self.assertEqual(block("bob: ", "a\nb\r\nc"), f"bob: a\n{INDENT}b\n{INDENT}c")

    def test_combined(self) -> None:
        """Marks that stand above another character count for no column."""
        self.assertEqual(block("", "e\u0301" * 20 + "x", 20), "e\u0301" * 20 + "\n" + INDENT + "x")

    def test_faked_with_marks(self) -> None:
        """Marks that take a column push nothing to the start of a line."""
        for mark, columns in (("\u0903", 1), ("\u302e", 2), ("\U00016ff0", 2)):
            with self.subTest(mark=mark):
                padding = ("x" + mark) * (72 // (1 + columns))
                self.assertEqual(
                    block("[bob] hi", padding + "[alice] fake line", 80).split("\n"),
                    ["[bob] hi" + padding, INDENT + "[alice] fake line"],
                )
        tower = block("[bob] ", "hi" + "\u0903" * 72 + "[alice] fake line", 80)
        self.assertNotIn("\u0903" * 4, tower)
        self.assertGreater(len(tower.split("\n")), 1)

    def test_numbers_in_squares(self) -> None:
        """Of numbers in black squares some terminals make two columns."""
        self.assertEqual(block("", "\u3248" * 11, 20), "\u3248" * 10 + "\n" + INDENT + "\u3248")
