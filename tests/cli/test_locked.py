"""What is said of messages that need a key file."""

from __future__ import annotations

import contextlib
import io

from securemsg.cli.locked import LockedMessages, counted, kept
from securemsg.client.sessions import suites
from tests.cli.chat.test_conversation import ChatCase
from tests.cli.rig import Person
from tests.cli.test_guest import CallerCase

KEY, OTHER = bytes(range(32)), bytes(32)
COMMAND = "securemsg contacts ben --set-suite psk --key-file FILE"


class KeptTests(ChatCase):
    """Ben writes to Ada with a key file that she has not."""

    def setUp(self) -> None:
        """Only Ben has pinned it."""
        super().setUp()
        self.write(self.ada, "ben", "hello")
        self.choose(self.ben, "ada", KEY)

    def choose(self, person: Person, name: str, key: bytes) -> None:
        """Pin a key file."""
        with person.context.store.writing() as records:
            suites.choose(records, name, "psk", key, now=int(person.context.now()))
        person.connection.nudge()
        self.place.settle(2)

    def said(self) -> str:
        """What the chat says while it shows what is there."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.show()
        return err.getvalue()

    def test_in_a_chat(self) -> None:
        """
        A chat says once whose messages are kept, how many and what opens them; once more if a file was given and it was not
        the right one; and shows them once it was.
        """
        self.assertEqual(self.said(), "")
        self.write(self.ben, "ada", "one")
        self.assertTrue(self.chat.has_news())
        told = self.said()
        self.assertIn("(ben): 1 message of ben is kept unopened", told)
        self.assertTrue(told.endswith(f"{COMMAND} [suite-unavailable]\n"))
        self.write(self.ben, "ada", "two")
        self.assertFalse(self.chat.has_news())
        self.assertEqual(self.said(), "")
        self.choose(self.ada, "ben", OTHER)
        told = self.said()
        self.assertIn("(ben): 2 messages of ben are kept unopened", told)
        self.assertTrue(told.endswith(f"{COMMAND} [wrong-key]\n"))
        self.choose(self.ada, "ben", KEY)
        self.assertEqual(self.said(), "")
        self.assertEqual([line.partition("] ")[2] for line in self.data], ["ben: one", "ben: two"])
        self.assertEqual(kept(self.ada.context), [])

    def test_every_run(self) -> None:
        """Every chat says it anew, also of somebody else than it is with; who reads from one sender hears of that one alone."""
        self.write(self.ben, "ada", "one")
        self.assertIn(COMMAND, self.said())
        for name in ("ben", "server"):
            self.chat = self.talk(self.ada, name)
            self.assertIn(COMMAND, self.said())
        self.assertEqual(counted(kept(self.ada.context)), {"ben": 1})
        self.assertTrue(LockedMessages(self.ada.context, "ben").has_news())
        self.assertFalse(LockedMessages(self.ada.context, "eve").has_news())

    def test_contacts(self) -> None:
        """In the list of contacts it stands beside the name."""
        self.write(self.ben, "ada", "one")
        self.take("/who")
        self.assertTrue(self.data[0].endswith("1 kept, needs a key file"), self.data)


class CallerTests(CallerCase):
    """Somebody who calls with a key file."""

    def test_nothing(self) -> None:
        """A caller has no command with which to give another file, and is told of none."""
        self.assertEqual(kept(self.ada.context), [])
