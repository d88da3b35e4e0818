"""What the README shows is what happens. The format of its transcript stands in L{tests.functional.transcript}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import ROOT, Place
from tests.functional.transcript import pattern, replay, steps


class ReadmeTests(SynchronousTestCase):
    """The transcript of the README."""

    def test_transcript(self) -> None:
        """Every command of it does what is shown, with two people, a daemon, and C{kill -9} in the middle."""
        place = Place.make()
        self.addCleanup(place.forget)
        text = (ROOT / "README.md").read_text("utf-8")
        self.assertGreater(replay(text, place), 5)
        shown = [step.text for step in steps(text)]
        self.assertTrue(any("kill -9" in command for command in shown), "nobody is killed")


class TranscriptTests(SynchronousTestCase):
    """The replayer itself: a transcript that is wrong fails."""

    def replay(self, *lines: str) -> None:
        """Replay some lines."""
        place = Place.make()
        self.addCleanup(place.forget)
        replay("\n".join(["```console", *lines, "```", ""]), place)

    def test_right(self) -> None:
        """Commands, variable parts, statuses, typing and two terminals work."""
        self.replay(
            "one$ export WHO=me",
            "one$ echo $WHO is $$",
            "me is ...",
            "one$ cat",
            "one> hello",
            "hello",
            "two$ seq 9; exit 4   # status 4",
            "1",
            "...",
            "9",
            "one>  again",
            " again",
            "one> ^D",
            "two$ echo done",
            "done",
        )

    def test_other_output(self) -> None:
        """Output that differs, is missing, or comes besides, fails."""
        for shown in (["two"], ["one", "two"], []):
            with self.assertRaisesRegex(AssertionError, "expected"):
                self.replay("a$ echo one", *shown, "a$ true")

    def test_other_status(self) -> None:
        """A status that is not shown fails."""
        with self.assertRaisesRegex(AssertionError, "status 1"):
            self.replay("a$ false", "a$ true")

    def test_dots(self) -> None:
        """C{...} stands within a line, and alone for lines."""
        self.assertRegex("a 1 b\n", rf"\A{pattern(['a ... b'])}\Z")
        self.assertRegex("x\ny\nend\n", rf"\A{pattern(['...', 'end'])}\Z")
        self.assertNotRegex("a\nb\n", rf"\A{pattern(['a...b'])}\Z")
