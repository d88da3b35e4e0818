"""C{outbox}."""

from __future__ import annotations

import contextlib
import io
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError
from securemsg.account.timeouts import Timeout
from securemsg.account.tracking import HELD_UP
from securemsg.cli.commands.outbox import HELD_WORDS, Attempt, reason_of, reason_text, report_attempt, row_text
from securemsg.cli.context import CommandContext
from securemsg.cli.times import short_time
from securemsg.cli.wrapping import cut
from securemsg.client import messages, unsent
from securemsg.client.state.contacts import get_contact, put_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.records import HISTORY, OUTBOX, ROWS, OutboxRow, Status, find_sent, save
from securemsg.client.times import iso
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_EXPIRY
from tests.cli.commands.rig import NOW, ProfileCase
from tests.cli.rig import Person, PlaceCase

T = TypeVar("T")
BEN = direct("ben")
# More than a month.
LONG = 31 * 86400


class OutboxCase(ProfileCase):
    """Messages that wait."""

    def setUp(self) -> None:
        """It is always now."""
        super().setUp()
        self.patch(CommandContext, "wake_owner", lambda context: self.woken.append(True))
        self.woken: list[bool] = []
        self.now = NOW
        init = CommandContext.__init__

        def at_now(context: CommandContext, *arguments: Any, **named: Any) -> None:
            init(context, *arguments, **{**named, "now": lambda: self.now})

        self.patch(CommandContext, "__init__", at_now)

    def compose(self, text: str, to: str = "ben", first: str = "") -> str:
        """
        Write a message.

        @param first: the first digits of its id.
        @return: its id.
        """
        message_id = bytes.fromhex(first.ljust(32, "0")) if first else None
        return messages.compose(self.store, to, text, now=NOW, message_id=message_id).hex()

    def mark(self, message_id: str, status: Status, code: str = "") -> None:
        """What the server's answer does, or its absence."""
        with self.store.writing() as records:
            found = find_sent(records, bytes.fromhex(message_id))
            assert found is not None
            known, row = found
            if status is not Status.QUEUED:
                records.delete(OUTBOX, ROWS, known.outbox)
            save(records, HISTORY, known.conversation.bucket, replace(row, status=status, code=code), known.history)

    def status_of(self, message_id: str) -> str:
        """What became of a message."""
        found = messages.sent(self.store, bytes.fromhex(message_id))
        assert found is not None
        return found.status


class ListTests(OutboxCase):
    """What is listed."""

    def test_nothing(self) -> None:
        """An empty outbox says so, on standard error."""
        done = self.run_command("outbox")
        self.assertEqual((done.out, done.err), ("", "securemsg: no message waits\n"))

    def test_waiting(self) -> None:
        """A message that waits is a line: id, to whom, when, its state and its text."""
        number = self.compose("hello\nben")
        done = self.run_command("outbox")
        [line] = done.out.splitlines()
        self.assertRegex(line, rf"^{number[:8]}  ben  \d\d:\d\d  waiting  hello\\nben$")
        self.assertIn("securemsg outbox retry", done.err)

    def test_reasons(self) -> None:
        """Why a message waits stands under it, with what helps; what is behind it waits for no other reason."""
        self.mark(self.compose("one"), Status.QUEUED, "mailbox-full")
        self.compose("two")
        self.compose("other", "cia")
        first, reason, *others = self.run_command("outbox").out.splitlines()
        self.assertIn("waiting  one", first)
        self.assertEqual(reason, "    the mailbox of ben is full; try again later")
        self.assertEqual([line.rpartition("  ")[2] for line in others], ["two", "other"])
        rows = self.run_command("outbox", "--json").rows
        whys = ["the mailbox of ben is full", "behind a message that waits", "waiting for the connection"]
        self.assertEqual([row["why"] for row in rows], whys)

    def test_held(self) -> None:
        """What is held says which command helps, once for all messages in a row."""
        for text in ("one", "two"):
            self.mark(self.compose(text), Status.QUEUED, "identity-changed")
        done = self.run_command("outbox")
        self.assertEqual(done.out.splitlines()[2:], ["    identity changed: securemsg verify ben"])
        self.assertIn("held  one", done.out)
        self.assertNotIn("outbox retry", done.err)
        [row, _] = self.run_command("outbox", "--json").rows
        self.assertEqual((row["code"], row["hint"]), ("identity-changed", "securemsg verify ben"))

    def test_wrapped(self) -> None:
        """A reason is wrapped between words, and every row of it is indented."""
        message = self.failed()
        with self.store.reading() as records:
            reason = evolve(reason_of(records, message, NOW), hint="securemsg contacts lists those you know")
        rows = reason_text(reason, 40).splitlines()
        self.assertEqual(" ".join(row.strip() for row in rows), reason_text(reason, 0).strip())
        self.assertGreater(len(rows), 1)
        for row in rows:
            self.assertLessEqual(len(row), 40)
            self.assertTrue(row.startswith("    "))

    def failed(self) -> messages.Sent:
        """A message to nobody."""
        number = self.compose("one")
        self.mark(number, Status.FAILED, "no-such-account")
        found = messages.sent(self.store, bytes.fromhex(number))
        assert found is not None
        return found

    def test_held_words(self) -> None:
        """Each code that holds messages back has its words."""
        self.assertEqual(set(HELD_WORDS), set(HELD_UP))

    def test_failed(self) -> None:
        """What has failed is listed for 30 days, with why and how it is sent again."""
        self.mark(self.compose("one"), Status.FAILED, "expired")
        done = self.run_command("outbox")
        self.assertIn("failed  one", done.out)
        self.assertIn("    the message expired before it could be sent; send it again", done.out)
        self.assertIn("securemsg outbox retry ID", done.err)
        self.now += LONG
        self.assertEqual(self.run_command("outbox").out, "")

    def test_others(self) -> None:
        """What waits besides messages is counted in one line."""
        with self.store.writing() as records:
            for number, kind in enumerate((Kind.RECEIPT, Kind.LIST, Kind.LIST, Kind.VOID), 100):
                save(records, OUTBOX, ROWS, OutboxRow(BEN, int(kind), 0, NOW, MAX_EXPIRY), number)
        done = self.run_command("outbox")
        self.assertIn("securemsg: besides messages there wait: receipts 1, changes of rooms 2, others 1\n", done.err)

    def test_scheduled(self) -> None:
        """What is to be sent later says when, and how it is sent at once; what is behind it does not wait for it."""
        with self.store.writing() as records:
            messages.compose_in(records, BEN, "later", now=NOW, at=NOW + 86400)
        self.compose("now")
        done = self.run_command("outbox")
        self.assertIn(f"{short_time(NOW + 86400, NOW)} ", done.out)
        self.assertIn("scheduled  later", done.out)
        self.assertNotIn("behind", done.out)
        self.assertIn("to send one now: securemsg outbox retry ID", done.err)
        later, now = self.run_command("outbox", "--json").rows
        self.assertEqual((later["at"], later["why"], now["at"]), (iso(NOW + 86400), "its time has not come", None))
        self.assertEqual(unsent.waiting_ids(self.store, NOW), [bytes.fromhex(now["id"])])
        self.assertEqual(unsent.count(self.store, NOW), 1)

    def test_narrow(self) -> None:
        """A line is never longer than the terminal is wide, and its beginning stays."""
        self.compose(f"schön, {'🙂' * 60}\x1b[31m{'🙂' * 60}")
        [message] = self.sent()
        for width in (40, 80, 120):
            line = row_text(message, "waiting", NOW, width)
            self.assertEqual(line, cut(line, width))
            self.assertTrue(line.startswith(message.id.hex()[:8]))
            self.assertTrue(line.endswith("..."))
        self.compose("\x1b[31m")
        self.assertNotIn("\x1b", self.run_command("outbox").out)

    def sent(self) -> list[messages.Sent]:
        """What was written to ben."""
        return [line for line in messages.history(self.store, "ben") if isinstance(line, messages.Sent)]


class CancelTests(OutboxCase):
    """C{outbox cancel}."""

    def test_withdrawn(self) -> None:
        """Messages are withdrawn by the first digits of their ids, and the owner of the connection is woken."""
        one, two, three = (self.compose(text, first=first) for text, first in (("1", "aa01"), ("2", "aa02"), ("3", "aa03")))
        done = self.run_command("outbox", "cancel", "AA01", two)
        self.assertIn("message aa010000 to ben is withdrawn\n", done.err)
        self.assertEqual([self.status_of(each) for each in (one, two, three)], ["withdrawn", "withdrawn", "queued"])
        self.assertEqual(self.woken, [True])

    def test_json(self) -> None:
        """Programs learn what became of it, and whether it may have been sent already."""
        number = self.compose("one")
        [row] = self.run_command("outbox", "cancel", number, "--json").rows
        self.assertEqual((row["id"], row["status"], row["may_be_out"]), (number, "withdrawn", False))

    def test_may_be_out(self) -> None:
        """Of what was on its way it is said that it may have arrived."""
        number = self.compose("one")
        with self.store.writing() as records:
            found = find_sent(records, bytes.fromhex(number))
            assert found is not None
            row = OutboxRow(BEN, int(Kind.TEXT), found[0].history, NOW, MAX_EXPIRY, sealed=True)
            save(records, OUTBOX, ROWS, row, found[0].outbox)
        self.assertIn("may have got it already", self.run_command("outbox", "cancel", number).err)

    def test_unclear(self) -> None:
        """Digits that fit several messages are refused, and nothing is withdrawn."""
        one, two = self.compose("1", first="aa01"), self.compose("2", first="aa01bb")
        sure = self.compose("3", first="cc")
        self.assertIn("several ids", self.run_command("outbox", "cancel", sure, "aa01", status=2).err)
        self.assertEqual([self.status_of(each) for each in (one, two, sure)], ["queued"] * 3)

    def test_too_late(self) -> None:
        """What was accepted cannot be withdrawn, and what has failed does not wait; another of these digits may."""
        number = self.compose("1", first="aa01")
        self.mark(number, Status.ACCEPTED)
        self.assertIn("[already-accepted]", self.run_command("outbox", "cancel", "aa01", status=5).err)
        self.mark(number, Status.FAILED, "expired")
        self.assertIn("it has failed; ", self.run_command("outbox", "cancel", "aa01", status=5).err)
        self.mark(number, Status.WITHDRAWN)
        self.assertIn("it was withdrawn; ", self.run_command("outbox", "cancel", "aa01", status=5).err)
        waiting = self.compose("2", first="aa01bb")
        self.run_command("outbox", "cancel", "aa01")
        self.assertEqual(self.status_of(waiting), "withdrawn")

    def test_accepted_meanwhile(self) -> None:
        """What is accepted between the look and the withdrawal is not called withdrawn."""
        number = self.compose("one")
        withdraw = messages.withdraw

        def late(store: IProfileStore, message_id: bytes) -> bool:
            self.mark(number, Status.ACCEPTED)
            return withdraw(store, message_id)

        self.patch(messages, "withdraw", late)
        self.assertIn("[already-accepted]", self.run_command("outbox", "cancel", number, status=5).err)

    def test_unknown(self) -> None:
        """Digits of no message are refused, and so is what is no id."""
        self.assertIn("[no-such-message]", self.run_command("outbox", "cancel", "abcd", status=5).err)
        for text in ("abc", "xyzw", "ab" * 17, ""):
            self.assertIn("hex digits", self.run_command("outbox", "cancel", text, status=2).err)
        self.run_command("outbox", "cancel", status=2)


class RetryTests(OutboxCase):
    """C{outbox retry}, up to the connection."""

    def setUp(self) -> None:
        """There is no server."""
        super().setUp()
        self.attempts: list[Attempt] = []

        def connect(context: CommandContext, work: Any) -> int:
            self.attempts.append(work.__self__)
            return 0

        self.patch(CommandContext, "run_connected", connect)

    def test_nothing(self) -> None:
        """Without anything that waits there is no connection."""
        self.assertIn("no message waits", self.run_command("outbox", "retry").err)
        self.assertEqual(self.attempts, [])

    def test_codes_forgotten(self) -> None:
        """Why something waited is forgotten before it is tried; what still waits is an error."""
        number = self.compose("one")
        self.mark(number, Status.QUEUED, "rate-limited")
        self.assertIn("[not-accepted]", self.run_command("outbox", "retry", status=6).err)
        self.assertEqual(len(self.attempts), 1)

    def test_failed(self) -> None:
        """By its id a message that has failed or was withdrawn is queued again; without, it is left alone."""
        failed, withdrawn = self.compose("1", first="aa01"), self.compose("2", first="aa02")
        self.mark(failed, Status.FAILED, "expired")
        self.mark(withdrawn, Status.WITHDRAWN)
        self.run_command("outbox", "retry")
        self.assertEqual([self.status_of(each) for each in (failed, withdrawn)], ["failed", "withdrawn"])
        self.run_command("outbox", "retry", "aa01", "aa02", status=6)
        self.assertEqual([self.status_of(each) for each in (failed, withdrawn)], ["queued", "queued"])

    def test_accepted(self) -> None:
        """What was accepted is not sent again."""
        self.mark(self.compose("1", first="aa01"), Status.ACCEPTED)
        self.assertIn("[already-accepted]", self.run_command("outbox", "retry", "aa01", status=5).err)


class Refusing(AccountConnection):
    """A connection to a server that has refused everything already."""

    def __init__(self) -> None:
        """It needs nothing."""

    async def ask(self, kind: str, argument: str = "", *, timeout: Timeout) -> dict[str, str]:
        """Nothing to say."""
        return {}

    async def until(self, check: Callable[[], T | None], timeout: Timeout) -> T | None:
        """Look once."""
        found = check()
        assert found is not None, "it would wait"
        return found


class AttemptTests(PlaceCase):
    """C{outbox retry}, with a server."""

    def setUp(self) -> None:
        """Ada and ben."""
        super().setUp()
        self.ada, self.ben = (self.place.person(name, again=True) for name in ("ada", "ben"))

    def attempt(self, person: Person, ids: list[bytes]) -> list[object]:
        """Try to send messages, and give the result once there is one."""
        results: list[object] = []
        done = Deferred.fromCoroutine(Attempt(person.context, deque(ids)).run(None, person.connection))
        done.addBoth(results.append)
        self.place.settle(5)
        return results

    def compose(self, to: str, text: str) -> bytes:
        """Write a message that nobody looks at."""
        return messages.compose(self.ada.context.store, to, text, now=self.place.now())

    def report(self, ids: list[bytes]) -> str:
        """What is said at the end."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            report_attempt(self.ada.context, ids)
        return err.getvalue()

    def test_sent(self) -> None:
        """It ends when all messages were accepted, and says so."""
        ids = [self.compose("ben", text) for text in ("one", "two")]
        self.assertEqual(self.attempt(self.ada, ids), [0])
        self.assertEqual([line.text for line in messages.unread(self.ben.context.store)], ["one", "two"])
        self.assertEqual(self.report(ids), "2 messages were accepted\n")

    def test_behind(self) -> None:
        """It does not wait for what is behind a message that the server refuses for now."""
        first, _ = ids = [self.compose("ben", "one"), self.compose("ben", "two")]
        with self.ada.context.store.writing() as records:
            found = find_sent(records, first)
            assert found is not None
            refused = replace(found[1], code="mailbox-full")
            save(records, HISTORY, found[0].conversation.bucket, refused, found[0].history)
        done = Deferred.fromCoroutine(Attempt(self.ada.context, deque(ids)).run(None, Refusing()))
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(self.assertRaises(SecuremsgError, self.report, ids).code, "mailbox-full")

    def test_held(self) -> None:
        """Nor for what is held back; the first of all is the error."""
        self.attempt(self.ada, [self.compose("ben", "zero")])
        with self.ada.context.store.writing() as records:
            contact = get_contact(records, "ben")
            assert contact is not None
            put_contact(records, replace(contact, changed_to=bytes(range(32))))
        ids = [self.compose("ben", "one"), self.compose("ben", "two")]
        self.assertEqual(self.attempt(self.ada, ids), [0])
        problem = self.assertRaises(SecuremsgError, self.report, ids)
        self.assertEqual((problem.code, int(problem.status)), ("identity-changed", 4))
        self.assertIn("0 of 2 messages were accepted", problem.text)

    def test_failed(self) -> None:
        """What fails is an error."""
        ids = [self.compose("nobody", "one")]
        self.assertEqual(self.attempt(self.ada, ids), [0])
        problem = self.assertRaises(SecuremsgError, self.report, ids)
        self.assertEqual(problem.code, "no-such-account")
        self.assertIn("to nobody was not accepted: ", problem.text)

    def test_through_owner(self) -> None:
        """Another process that has the connection sends it."""
        beside = self.place.beside(self.ada)
        beside.start()
        ids = [self.compose("ben", "one")]
        results: list[object] = []
        Deferred.fromCoroutine(Attempt(self.ada.context, deque(ids)).run(None, beside)).addBoth(results.append)
        self.place.settle(5)
        self.assertEqual(results, [0])
        self.assertEqual([line.text for line in messages.unread(self.ben.context.store)], ["one"])
