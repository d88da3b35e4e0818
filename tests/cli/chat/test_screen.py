"""What a chat shows at a terminal, and what changes there."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.chat import screen
from securemsg.cli.chat.screen import ACCEPTED, DELIVERED, FAILED, WAITING, Screen

# 2026-11-30 14:05 UTC.
NOON = 1_796_047_500
ONE, TWO = bytes(16), bytes([1] * 16)


class ScreenCase(SynchronousTestCase):
    """A terminal of 40 columns and 10 rows."""

    def setUp(self) -> None:
        """It is in UTC."""
        self.patch(os, "environ", {**os.environ, "TZ": "UTC"})
        time.tzset()
        self.addCleanup(time.tzset)
        self.place = (40, 10)
        self.screen = Screen(lambda: self.place, has_colour=False)

    def say(self, text: str, message_id: bytes = b"", own: str = "", at: int = NOON) -> str:
        """Show a message."""
        line = self.screen.line(at, "ada" if own else "ben", text, own=own)
        self.screen.shown(line, message_id)
        return line


class LineTests(ScreenCase):
    """What lines look like."""

    def test_lines(self) -> None:
        """Times are short; the day stands above its first line."""
        self.assertEqual(self.say("hi", ONE, WAITING), "-- Monday, 30 November 2026\n·  14:05 ada: hi")
        self.assertEqual(self.say("hello"), "   14:05 ben: hello")
        self.assertEqual(self.say("still up?", at=NOON + 86400), "-- Tuesday, 1 December 2026\n   14:05 ben: still up?")
        self.assertEqual(self.screen.event(NOON + 86400, "ben has left"), "   14:05 -- ben has left")

    def test_wrapped(self) -> None:
        """Lines and notes end between words; what a peer writes looks like none of ours."""
        self.say("")
        shown = self.say("one two three four five six seven\n-- eight\x1b[2J").split("\n")
        self.assertEqual(shown, ["   14:05 ben: one two three four five", "    | six seven", "    | -- eight\\x1b[2J"])
        note = self.screen.note("-- held back: the keys of ben have changed")
        self.assertEqual(note.split("\n"), ["-- held back: the keys of ben have", "   changed"])

    def test_colours(self) -> None:
        """A name has the same colour each time, and there are several; the text has none."""
        self.screen.has_colour = True
        self.say("")
        shown = self.say("ben: hi")
        self.assertRegex(shown, "^   14:05 \x1b\\[3[1-6]mben\x1b\\[0m: ben: hi$")
        self.assertEqual(self.say("ben: hi"), shown)
        found = {self.screen.line(NOON, f"user{number}", "")[:14] for number in range(30)}
        self.assertGreater(len({line.partition("m")[0] for line in found}), 3)

    def test_ascii(self) -> None:
        """A terminal that knows only ASCII gets no more."""
        self.screen.is_unicode = False
        self.say("")
        self.assertTrue(self.say("hi", ONE, DELIVERED).isascii())


class ChangeTests(ScreenCase):
    """How far messages have come changes where they stand."""

    def test_in_place(self) -> None:
        """However many rows stand below, and whatever the date above takes."""
        self.say("first", ONE, WAITING)
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "\x1b[1A\r✓ \x1b[1B\r")
        self.say("second of two rows, as it does not fit", TWO, WAITING)
        self.screen.shown("-- " + "x" * 38)
        self.assertEqual(self.screen.change(TWO, DELIVERED), "\x1b[4A\r✓✓\x1b[4B\r")
        self.assertEqual(self.screen.change(ONE, FAILED), "\x1b[5A\r✗ \x1b[5B\r")

    def test_twice(self) -> None:
        """What was shown again changes in both places."""
        self.say("first", ONE, WAITING)
        self.say("first", ONE, WAITING)
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "\x1b[1A\r✓ \x1b[1B\r\x1b[2A\r✓ \x1b[2B\r")

    def test_scrolled_out(self) -> None:
        """Not where it is above the screen."""
        self.say("first", ONE, WAITING)
        for _ in range(6):
            self.say("more")
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "\x1b[7A\r✓ \x1b[7B\r")
        self.say("more")
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "")

    def test_unknown_place(self) -> None:
        """Nor where it is not known where it stands: others wrote, or the terminal has another size, or is too narrow."""
        self.say("first", ONE, WAITING)
        self.screen.forget()
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "")
        for place in ((50, 10), (19, 10)):
            self.place = (40, 10)
            self.say("first", ONE, WAITING)
            self.place = place
            self.assertEqual(self.screen.change(ONE, ACCEPTED), "")
        self.say("second", TWO, WAITING)
        self.assertEqual(self.screen.change(TWO, ACCEPTED), "", "nothing is wrapped there")

    def test_no_cursor(self) -> None:
        """Nor where the cursor cannot be moved."""
        self.screen.moves = False
        self.say("first", ONE, WAITING)
        self.assertEqual(self.screen.change(ONE, ACCEPTED), "")

    def test_bounded(self) -> None:
        """What is remembered has a limit."""
        self.patch(screen, "REMEMBERED", 3)
        self.screen = Screen(lambda: (40, 1000))
        for number in range(5):
            self.say("x", bytes([number] * 16), WAITING)
        self.assertEqual(self.screen.change(bytes(16), ACCEPTED), "")
