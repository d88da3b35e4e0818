"""What is typed in a chat and what is shown, without a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli import rendering
from securemsg.cli.chat import slash
from securemsg.cli.chat.slash import (
    AcceptKeys,
    ChooseKeep,
    Confirm,
    Explain,
    Leave,
    Misunderstood,
    Say,
    ShowContacts,
    ShowLast,
    ShowSafety,
    ShowState,
    SwitchTo,
)
from securemsg.protocol.messages import MAX_TEXT


class UnderstandTests(SynchronousTestCase):
    """From lines to intentions."""

    def test_data(self) -> None:
        """Data is text, whatever it looks like; only a blank line is nothing, and one that is too long is not sent."""
        for line in ("exit", "/quit", "/to bob", "/verify accept", "//usr/bin", "/nope", " text "):
            self.assertEqual(slash.text_of(line), Say(line))
        self.assertIsNone(slash.text_of(" \t"))
        self.assertIsInstance(slash.text_of("x" * (MAX_TEXT + 1)), Misunderstood)

    def test_text(self) -> None:
        """A line is sent as it was typed, spaces included."""
        self.assertEqual(slash.understand("  hello, world "), Say("  hello, world "))

    def test_nothing(self) -> None:
        """An empty line means nothing."""
        self.assertIsNone(slash.understand(""))
        self.assertIsNone(slash.understand("   \t"))

    def test_leaving(self) -> None:
        """C{exit} alone and C{/quit} leave; C{exit} within a text does not."""
        for line in ("exit", " exit ", "/quit"):
            self.assertEqual(slash.understand(line), Leave())
        self.assertEqual(slash.understand("exit now"), Say("exit now"))

    def test_commands(self) -> None:
        """Every command is understood with and without what may follow it."""
        expected = {
            "/help": Explain(),
            "/who": ShowContacts(),
            "/status": ShowState(),
            "/last": ShowLast(slash.LAST_LINES),
            "/last 5": ShowLast(5),
            "/last 9999": ShowLast(slash.MAX_LAST_LINES),
            "/verify": ShowSafety(),
            "/verify confirm": Confirm(""),
            "/verify " + "12345 " * 12: Confirm("12345" * 12),
            "/accept": AcceptKeys(),
            "/to bob": SwitchTo("bob"),
            "/keep": ChooseKeep(None),
            "/keep 1d": ChooseKeep(86400),
            "/keep off": ChooseKeep(0),
        }
        for line, intention in expected.items():
            self.assertEqual(slash.understand(line), intention, line)

    def test_misunderstood(self) -> None:
        """A command that does not exist, or with wrong words, does nothing and says so."""
        unknown = ("/", "/nope", "/quit now", "/last many", "/last 0", "/last 1 2", "/keep 1s", "/keep 1d 2d", "/keep long")
        for line in (*unknown, "/verify bob", "/verify 12345", "/accept bob", "/to", "/to Bob!", "/to a b"):
            self.assertIsInstance(slash.understand(line), Misunderstood, line)

    def test_why(self) -> None:
        """A name that cannot be one is said to be none; without a name there is only the usage."""
        usage = "usage: /to NAME, or /to #lobby"
        self.assertEqual(slash.understand("/to Bob"), Misunderstood(f"invalid name: Bob (a-z, 0-9, . _ - only); {usage}"))
        self.assertEqual(slash.understand("/to"), Misunderstood(usage))

    def test_slash(self) -> None:
        """Two slashes begin a text with one."""
        self.assertEqual(slash.understand("//usr/bin"), Say("/usr/bin"))

    def test_not_utf8(self) -> None:
        """A byte that is no UTF-8, from a terminal with another encoding, is refused here, and not by the server."""
        found = slash.understand(b"caf\xe9".decode("utf-8", "surrogateescape"))
        assert isinstance(found, slash.Misunderstood)
        self.assertIn("not UTF-8", found.reason)

    def test_too_long(self) -> None:
        """A line over the limit is not sent, and one at the limit is."""
        self.assertEqual(slash.understand("x" * MAX_TEXT), Say("x" * MAX_TEXT))
        self.assertIsInstance(slash.understand("ü" * (MAX_TEXT // 2 + 1)), Misunderstood)

    @given(st.text())
    def test_any_line(self, line: str) -> None:
        """No line whatsoever is an error."""
        slash.understand(line)
        slash.complete(line, ["bob"])


class CompleteTests(SynchronousTestCase):
    """What may follow."""

    def test_command(self) -> None:
        """A slash at the beginning completes to commands."""
        self.assertEqual(slash.complete("/h", []), ["/help"])
        self.assertEqual(slash.complete("see /h", []), [])

    def test_name(self) -> None:
        """Names are completed where a name is expected."""
        names = ["carol", "bob", "bert"]
        self.assertEqual(slash.complete("/to b", names), ["bert", "bob"])
        self.assertEqual(slash.complete("ask @c", names), ["@carol"])
        self.assertEqual(slash.complete("bo", names), [])


class ShowTests(SynchronousTestCase):
    """What a chat shows."""

    def test_line(self) -> None:
        """A message stands with time, sender and mark, its text escaped."""
        self.assertEqual(rendering.line_of("now", "bob", "a\x1b[2J"), "[now] bob: a\\x1b[2J")
        self.assertEqual(rendering.line_of("now", "bob", "a", mark="unverified"), "[now] bob (unverified): a")

    def test_no_fake_line(self) -> None:
        """A line end in a text begins no line that looks like another message."""
        self.assertEqual(rendering.line_of("now", "bob", "a\n[now] eve: b"), "[now] bob: a\n    | [now] eve: b")

    def test_unread(self) -> None:
        """Unread messages of others are counted, those of the current contact are not."""
        self.assertEqual(slash.unread_text({"carol": 2, "bob": 1, "ann": 0}), "unread: bob 1, carol 2")
        self.assertEqual(slash.unread_text({"bob": 0}), "")

    def test_gap(self) -> None:
        """A gap says how many messages are missing."""
        self.assertIn("1 message from bob", rendering.gap_line("bob", 1))
        self.assertIn("2 messages from bob", rendering.gap_line("bob", 2))

    def test_help(self) -> None:
        """The help names every command."""
        text = "\n".join(slash.help_lines())
        for name in slash.COMMANDS:
            self.assertIn(name, text)
