"""How C{ask} waits, and what it makes of what it is given."""

from __future__ import annotations

import contextlib
import io
import tempfile

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from securemsg.account import questions
from securemsg.account.questions import Draft
from securemsg.cli import output
from securemsg.cli.asking import Asking
from securemsg.cli.commands.ask import MAX_ASKED
from securemsg.client import messages
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, find_sent, load, save
from securemsg.crypto.keys import random_id
from tests.cli.commands.rig import ProfileCase
from tests.cli.rig import PlaceCase

TIME = 60


class WaitTests(PlaceCase):
    """Ada asks Ben and Cleo; the question to Cleo does not go out."""

    def setUp(self) -> None:
        """Both are asked."""
        super().setUp()
        self.ada, self.ben, _ = (self.place.person(name) for name in ("ada", "ben", "cleo"))
        self.store, self.ids = self.ada.context.store, [random_id(), random_id()]
        drafts = [Draft(to, each, "Ready?", ("yes", "no")) for to, each in zip(("ben", "cleo"), self.ids, strict=True)]
        questions.ask(self.store, drafts, int(self.place.now()) + TIME, now=self.place.now())
        with self.store.writing() as records:
            found = find_sent(records, self.ids[1])
            assert found is not None
            row = load(records, OutboxRow, OUTBOX, ROWS, found[0].outbox)
            assert row is not None
            save(records, OUTBOX, ROWS, msgspec.structs.replace(row, at=2**40), found[0].outbox)

    def start(self, *, first: bool) -> Deferred[int]:
        """Begin to wait."""
        self.asking = Asking(self.ada.context, random_id(), self.ids, first)
        waiting = Deferred.fromCoroutine(self.asking._wait(None, self.ada.connection))
        self.place.settle(2)
        return waiting

    def answer(self) -> None:
        """Ben answers."""
        questions.answer(self.ben.context.store, "ada", "no", now=self.place.now())
        self.ben.connection.nudge()
        self.place.settle(2)

    def end(self) -> tuple[int, str, str]:
        """The exit status, and what was printed."""
        err = io.StringIO()
        with tempfile.TemporaryFile() as out:
            self.patch(output, "STDOUT", out.fileno())
            with contextlib.redirect_stderr(err):
                status = self.asking.run()
            out.seek(0)
            return status, out.read().decode(), err.getvalue()

    def statuses(self) -> list[str]:
        """What has become of the questions."""
        sent = [messages.sent(self.store, each) for each in self.ids]
        return [each.status for each in sent if each is not None]

    def test_first(self) -> None:
        """The first answer ends the wait, also while another question is not out; that is withdrawn."""
        waiting = self.start(first=True)
        self.assertNoResult(waiting)
        self.answer()
        self.successResultOf(waiting)
        self.assertEqual(self.statuses()[1], "withdrawn")
        self.assertEqual(self.end(), (10, "no\n", ""))
        self.assertEqual(messages.unread(self.store), [])

    def test_all(self) -> None:
        """Who was not asked has not answered: that status counts, and what was chosen is printed."""
        waiting = self.start(first=False)
        self.answer()
        self.assertNoResult(waiting)
        self.place.settle(40)
        self.successResultOf(waiting)
        status, out, err = self.end()
        self.assertEqual((status, out, self.statuses()[1]), (6, "ben: no\n", "withdrawn"))
        self.assertIn("the question was withdrawn", err)

    def test_interrupted(self) -> None:
        """Ctrl-C withdraws what is not out, and says how to wait again."""
        waiting = self.start(first=False)
        with contextlib.redirect_stderr(io.StringIO()) as err:
            waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.statuses(), ["accepted", "withdrawn"])
        self.assertIn("ask the same with --id", err.getvalue())

    def test_before_accepted(self) -> None:
        """An answer counts that comes before the server's word on the question."""
        self.ada.connection.nudge()
        self.place.settle(2)
        self.answer()
        with self.store.writing() as records:
            found = find_sent(records, self.ids[0])
            assert found is not None
            known, row = found
            save(records, "history", known.conversation.bucket, msgspec.structs.replace(row, status="queued"), known.history)
        self.ids = self.ids[:1]
        self.successResultOf(self.start(first=False))
        self.assertEqual((self.end(), self.statuses()), ((10, "no\n", ""), ["queued"]))


class UsageTests(ProfileCase):
    """What cannot be asked, is not."""

    def test_misused(self) -> None:
        """Each mistake is named, and nothing is written."""
        many = ",".join(f"p{number}" for number in range(MAX_ASKED + 1))
        for arguments, said in (
            (("ben,cleo", "?"), "--first"),
            (("ben,cleo", "?", "--first", "--all"), "--first"),
            ((many, "?", "--all"), f"at most {MAX_ASKED}"),
            (("ben", "?", "--choices", "yes"), "2 to 16 choices"),
            (("ben", "?", "--choices", ",".join("abcdefghijklmnopq")), "2 to 16 choices"),
            (("ben", "?", "--choices", "yes, yes"), "two choices are the same"),
            (("ben", "?", "--choices", "yes,,no"), "empty"),
            (("ben", "?", "--timeout", "0"), "1s to 30d"),
            (("ada", "?"), "own"),
            (("#lobby", "?"), "only people can"),
        ):
            self.assertIn(said, self.run_command("ask", *arguments, status=2).err)
        self.assertEqual(messages.unread_counts(self.store), {})
        self.run_command("answer", "ben", "yes", status=2)
