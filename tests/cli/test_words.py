"""The words of short invites: made, read, and corrected."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli import words
from securemsg.cli.words import COUNT, all_words, looks_short, make_words, read_words

WORDS = "abandon-ability-able-about-above-absent"


class MakeTests(SynchronousTestCase):
    """New ones."""

    def test_list(self) -> None:
        """There are 2,048 different words of small letters; 6 of them are 66 bits."""
        known = all_words()
        self.assertEqual((len(set(known)), len(known), COUNT), (2048, 2048, 6))
        self.assertTrue(all(word.isascii() and word.isalpha() and word.islower() for word in known))

    def test_random(self) -> None:
        """All of them come up, and no two short invites are alike."""
        made = [make_words() for _ in range(5000)]
        self.assertEqual(len(set(made)), len(made))
        self.assertEqual({word for one in made for word in one.split("-")}, set(all_words()))

    def test_each_word_random(self) -> None:
        """Each word takes random bytes of its own."""
        sizes: list[int] = []

        def count(size: int) -> bytes:
            sizes.append(size)
            return bytes([8, len(sizes)])

        self.patch(words, "random_bytes", count)
        self.assertEqual(make_words(), "-".join(all_words()[1:7]))
        self.assertEqual(sizes, [2] * COUNT)


class ReadTests(SynchronousTestCase):
    """What people type."""

    def assert_bad(self, text: str) -> SecuremsgError:
        """It is refused before anything is sent."""
        problem = self.assertRaises(SecuremsgError, read_words, text)
        assert isinstance(problem, SecuremsgError)
        self.assertEqual((problem.status, problem.code), (Exit.USAGE, "bad-invite"))
        return problem

    def test_forms(self) -> None:
        """Any case, hyphens or blanks, and what stands around it."""
        for text in (f"7-{WORDS}", f"7-{WORDS}".upper(), f"7 {WORDS}".replace("-", " "), f" 7 - {WORDS}\n"):
            self.assertEqual(read_words(text), (7, WORDS))
        self.assertEqual(read_words(f"9999-{WORDS}")[0], 9999)

    def test_made(self) -> None:
        """What is made can be read."""
        made = make_words()
        self.assertEqual(read_words(f"12-{made}"), (12, made))

    def test_unknown_word(self) -> None:
        """A mistyped word is named, with the nearest one if there is one."""
        problem = self.assert_bad(f"7-{WORDS.replace('ability', 'abilty')}")
        self.assertIn("'abilty'", problem.text)
        self.assertIn("did you mean ability?", problem.hint)
        problem = self.assert_bad(f"7-{WORDS.replace('ability', 'xxxxxx')}")
        self.assertIn("check it with the inviter", problem.hint)

    def test_other_forms(self) -> None:
        """A number and six words, neither more nor less."""
        short = WORDS.rpartition("-")[0]
        wrong_numbers = [f"{number}-{WORDS}" for number in ("0", "07", "10000", "٧", "x")]
        for text in ("", "7", WORDS, f"7-{short}", f"7-{WORDS}-able", *wrong_numbers):
            self.assertIn("a number and six words", self.assert_bad(text).hint)

    def test_looks_short(self) -> None:
        """A short invite is told from a name, also a mistyped one."""
        for text in (f"7-{WORDS}", f"7-{WORDS}x".upper()):
            self.assertTrue(looks_short(text))
        for text in ("ada", "7-up", WORDS, f"7-{WORDS}-able"):
            self.assertFalse(looks_short(text))
