"""What the README and the reference show is what happens. The format stands in L{tests.functional.transcript}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import ROOT, Place
from tests.functional.transcript import pattern, replay, steps


class ReadmeTests(SynchronousTestCase):
    """The transcripts."""

    def replay(self, name: str, *told: str) -> None:
        """
        Replay a document.

        @param told: what stands in its commands, so that a story does not lose its point unseen.
        """
        place = Place.make()
        self.addCleanup(place.forget)
        text = (ROOT / name).read_text("utf-8")
        self.assertGreater(replay(text, place), 5)
        commands = "\n".join(step.text for step in steps(text))
        for words in told:
            self.assertIn(words, commands)

    def test_readme(self) -> None:
        """A server with a name, two people, their safety number, and what scripts do."""
        self.replay("README.md", "serve --host", "--advertise", "join", "send", "recv", "verify", "--json", "respond")

    def test_reference(self) -> None:
        """Two people, a daemon, and C{kill -9} in the middle."""
        self.replay("docs/reference.md", "twistd -n", "kill -9", "# status 6", "chat")


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
