"""C{history}, C{search} and C{export}."""

from __future__ import annotations

import os
import time

from securemsg.cli.chat.screen import Screen
from securemsg.cli.commands import history, search
from securemsg.cli.commands.status import notice_text
from securemsg.client import messages
from securemsg.client.state.conversations import direct, room
from securemsg.client.state.records import Notice, Status
from tests.cli.commands.rig import NOW, ProfileCase

BEN, CIA = direct("ben"), direct("cia")
TEAM = room(bytes(range(16)), "team")


class HistoryTests(ProfileCase):
    """C{history}."""

    def setUp(self) -> None:
        """Three messages."""
        super().setUp()
        self.add(BEN, "one", at=NOW - 100)
        self.add(BEN, "two", status=Status.ACCEPTED)
        self.add(BEN, "three")

    def texts(self, *options: str) -> list[str]:
        """What it prints."""
        return [row["text"] for row in self.run_command("history", "ben", "--json", *options).rows]

    def test_limit(self) -> None:
        """With a limit the last messages are printed, in order."""
        self.assertEqual(self.texts(), ["one", "two", "three"])
        self.assertEqual(self.texts("--limit", "2"), ["two", "three"])

    def test_since(self) -> None:
        """Only what came since then is printed."""
        self.assertEqual(self.texts("--since", "2027-01-15T08:00Z"), ["two", "three"])
        self.assertEqual(self.texts("--since", "2027-01-15T08:00Z", "--limit", "1"), ["three"])
        self.assertEqual(self.texts("--since", "2027-01-15T08:00:01Z"), [])
        self.assertIn("2026-11-30", self.run_command("history", "ben", "--since", "soon", status=2).err)

    def test_text(self) -> None:
        """People read lines."""
        shown = self.run_command("history", "ben", "--no-pager").out
        expected = ["[2027-01-15T08:00:00Z] ada (accepted): two", "[2027-01-15T08:00:00Z] ben: three"]
        self.assertEqual(shown.splitlines()[1:], expected)

    def test_nobody(self) -> None:
        """There is no history with somebody who is not known."""
        self.assertIn("[no-such-account]", self.run_command("history", "zoe", status=3).err)


class LocalTests(ProfileCase):
    """Times, where somebody reads them in Tokyo."""

    def setUp(self) -> None:
        """A message, and a terminal."""
        super().setUp()
        self.add(BEN, "red fish")
        before = os.environ.get("TZ")
        os.environ["TZ"] = "JST-9"
        time.tzset()
        self.addCleanup(self.come_home, before)

    def come_home(self, before: str | None) -> None:
        """Be in the zone from before."""
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()

    def test_local(self) -> None:
        """At a terminal times are local; on a pipe they are in UTC, and in JSON and an export everywhere."""
        utc, local = "[2027-01-15T08:00:00Z] ben: red fish\n", "[2027-01-15 17:00] ben: red fish\n"
        commands = (("history", "ben"), ("search", "fish"))
        for words in commands:
            self.assertEqual(self.run_command(*words).out, utc)
        for module in (history, search):
            self.patch(module, "columns", lambda: 80)
        for words in commands:
            self.assertEqual(self.run_command(*words).out, local)
            self.assertEqual(self.run_command(*words, "--json").rows[0]["sent_at"], "2027-01-15T08:00:00Z")
        self.assertIn(utc, self.run_command("export", "--format", "text").out)

    def test_last_second(self) -> None:
        """A chat shows a message whose sender's clock is at the end of time."""
        shown = Screen(lambda: (80, 24), has_colour=False).line(messages.LAST_SECOND, "ben", "hi")
        self.assertEqual(shown, "-- Friday, 31 December 9999\n   08:59 ben: hi")

    def test_warnings(self) -> None:
        """So it is with the warnings of C{status}."""
        notice = Notice(NOW, "state-lost", "ben", "gone")
        self.assertEqual(notice_text(notice, 80), "[2027-01-15 17:00] warning (ben): gone [state-lost]")
        self.assertEqual(notice_text(notice, 0), "[2027-01-15T08:00:00Z] warning (ben): gone [state-lost]")


class SearchTests(ProfileCase):
    """C{search}."""

    def setUp(self) -> None:
        """Messages in three conversations."""
        super().setUp()
        self.add(BEN, "Red fish", at=NOW - 100)
        self.add(CIA, "blue fish", status=Status.ACCEPTED)
        self.add(TEAM, "fish and chips", status=Status.ACCEPTED)

    def test_everywhere(self) -> None:
        """All conversations are searched; each line says in which one it stands."""
        shown = self.run_command("search", "FISH").out.splitlines()
        self.assertEqual(
            shown,
            [
                "[2027-01-15T07:58:20Z] ben: Red fish",
                "[2027-01-15T08:00:00Z] ada to cia (accepted): blue fish",
                "[2027-01-15T08:00:00Z] #00010203 ada (accepted): fish and chips",
            ],
        )

    def test_json(self) -> None:
        """Programs get the records of C{history}, and the name of the conversation."""
        rows = self.run_command("search", "fish", "--json").rows
        self.assertEqual([row["conversation"] for row in rows], ["ben", "cia", "#00010203"])
        [row] = self.run_command("history", "cia", "--json").rows
        self.assertEqual({**row, "conversation": "cia"}, rows[1])

    def test_narrowed(self) -> None:
        """The search can be narrowed to a conversation and a time."""
        self.assertEqual(self.run_command("search", "fish", "--with", "cia").out.count("\n"), 1)
        self.assertEqual(self.run_command("search", "fish", "--since", "2027-01-15T08:00Z").out.count("\n"), 2)
        self.assertIn("[no-such-account]", self.run_command("search", "fish", "--with", "zoe", status=3).err)

    def test_nothing(self) -> None:
        """Nothing found is status 1, as with grep, and no error."""
        done = self.run_command("search", "fish", "chips", "red", status=search.NOT_FOUND)
        self.assertEqual((done.out, done.err), ("", ""))
        self.assertEqual(search.NOT_FOUND, 1)

    def test_limit(self) -> None:
        """With a limit the newest are shown, and that there are more."""
        done = self.run_command("search", "fish", "--limit", "1")
        self.assertIn("chips", done.out)
        self.assertIn("--limit", done.err)
        self.assertEqual(self.run_command("search", "fish", "--limit", "3").err, "")
        self.assertEqual(self.run_command("search", "fish", "--limit", "1", "--json").err, "")

    def test_words(self) -> None:
        """A word is needed, and an empty one is none."""
        self.run_command("search", status=2)
        self.assertIn("empty", self.run_command("search", "fish", " ", status=2).err)

    def test_harmless(self) -> None:
        """What others wrote cannot command the terminal."""
        self.add(BEN, "\x1b]0;title\x07 harm")
        self.assertNotIn("\x1b", self.run_command("search", "harm").out)
        self.assertNotIn("\x1b", self.run_command("export", "--format", "text").out)


class ExportTests(ProfileCase):
    """C{export}."""

    def setUp(self) -> None:
        """Messages in two conversations, one of several lines."""
        super().setUp()
        self.add(CIA, "first", status=Status.DELIVERED)
        self.add(BEN, "a line\nand another")
        self.add(CIA, "last")

    def test_all(self) -> None:
        """All conversations are written, one after the other, each in order."""
        rows = self.run_command("export").rows
        self.assertEqual(
            [(row["conversation"], row["from"], row["text"]) for row in rows],
            [("ben", "ben", "a line\nand another"), ("cia", "ada", "first"), ("cia", "cia", "last")],
        )

    def test_records(self) -> None:
        """Each is the record of C{history}, with the conversation."""
        expected = [{**row, "conversation": "cia"} for row in self.run_command("history", "cia", "--json").rows]
        self.assertEqual(self.run_command("export", "cia").rows, expected)

    def test_text(self) -> None:
        """As text each conversation has its name above it, and times are in UTC and whole."""
        self.assertEqual(
            self.run_command("export", "--format", "text").out.splitlines(),
            [
                "-- ben",
                "[2027-01-15T08:00:00Z] ben: a line",
                "    | and another",
                "-- cia",
                "[2027-01-15T08:00:00Z] ada (delivered): first",
                "[2027-01-15T08:00:00Z] cia: last",
            ],
        )

    def test_unread_stay(self) -> None:
        """Nothing is marked as read, neither by this nor by a search."""
        before = messages.unread_counts(self.store)
        self.run_command("export")
        self.run_command("search", "last")
        self.assertEqual(messages.unread_counts(self.store), before)
        self.assertEqual(before, {"ben": 1, "cia": 1})

    def test_nobody(self) -> None:
        """Somebody who is not known has no history; neither has a room."""
        self.run_command("export", "zoe", status=3)
        self.run_command("export", "#zoo", status=3)
