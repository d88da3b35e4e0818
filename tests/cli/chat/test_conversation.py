"""A chat between two people, without a terminal."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from securemsg.account import questions
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.questions import Draft
from securemsg.cli.chat.conversation import Chat, ChatOptions
from securemsg.cli.chat.ending import finish
from securemsg.cli.chat.screen import MARKS, Screen
from securemsg.cli.output import always_continue
from securemsg.cli.settings import Settings
from securemsg.cli.wrapping import width_of
from securemsg.client import messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.state import disappearing, preferences
from securemsg.client.state.contacts import devices, get_contact, new_contact, put_contact
from securemsg.crypto.keys import random_id
from securemsg.storage.memory import MemoryProfile
from tests.cli.rig import Person, PlaceCase
from tests.client.rig import outbox_rows


class ChatCase(PlaceCase):
    """Ada chats with Ben."""

    def setUp(self) -> None:
        """Set up two people and a chat."""
        super().setUp()
        self.ada, self.ben = self.place.person("ada", again=True), self.place.person("ben")
        self.data: list[str] = []
        self.notes: list[str] = []
        self.chat = self.talk(self.ada, "ben")

    def talk(self, person: Person, name: str, patience: float = 0) -> Chat:
        """Open a chat that records its lines."""
        return Chat(
            person.context,
            person.connection,
            name,
            write=self.write_data,
            notify=lambda text: self.put(self.notes, text),
            columns=lambda: 0,
            patience=patience,
        )

    def write_data(
        self, *lines: str, written: Callable[[int], bool] = always_continue, own: Sequence[bytes] = ()
    ) -> Deferred[None]:
        """Record lines of data."""
        for number, line in enumerate(lines):
            self.put(self.data, line)
            if not written(number):
                break
        return succeed(None)

    def put(self, lines: list[str], text: str) -> Deferred[None]:
        """Record a line."""
        lines.append(text)
        return succeed(None)

    def take(self, line: str) -> bool:
        """Type a line, and run everything."""
        taken = Deferred.fromCoroutine(self.chat.enter(line))
        self.place.settle(0.5)
        return self.successResultOf(taken)

    def show(self) -> None:
        """Show new messages."""
        self.place.settle(1.5)
        self.successResultOf(Deferred.fromCoroutine(self.chat.show_new()))

    def write(self, person: Person, to: str, text: str) -> None:
        """Send from the other side."""
        messages.compose(person.context.store, to, text, now=self.place.now())
        self.place.settle(1.5)


class QuestionTests(ChatCase):
    """Ben asks Ada."""

    def ask(self, text: str) -> bytes:
        """Ben asks; return the id of the question."""
        draft = Draft("ada", random_id(), text, ("yes", "not yet"))
        now = self.place.now()
        questions.ask(self.ben.context.store, [draft], int(now) + 600, now=now)
        self.place.settle(1.5)
        self.show()
        return draft.message_id

    def test_answered(self) -> None:
        """The question is shown with its choices; /answer answers it, once, and the chat waits for that to be accepted."""
        question = self.ask("Ready?")
        self.assertIn("Ready? (1 yes, 2 not yet; until ", self.data[-1])
        self.assertIn("; to answer: securemsg answer ben CHOICE)", self.data[-1])
        self.take("/answer maybe")
        self.assertIn("choose one of: 1 yes, 2 not yet", self.notes[-1])
        self.take("/answer not yet")
        self.place.settle(1.5)
        sent = messages.sent(self.ben.context.store, question)
        assert sent is not None
        assert sent.question is not None
        self.assertEqual((sent.question.choice, self.chat.unanswered.pending), ("not yet", 1))
        self.show()
        self.assertEqual((self.chat.unanswered.pending, self.chat.mistakes), (0, 1))
        self.take("/answer yes")
        self.assertIn("you have answered ben already: not yet", self.notes[-1])
        self.take("/answer")
        self.assertIn("usage: /answer", self.notes[-1])

    def test_screen(self) -> None:
        """At a terminal it names the command of the chat; what was answered is marked, and the answer says to what."""
        self.chat = Chat(
            self.ada.context,
            self.ada.connection,
            "ben",
            write=self.write_data,
            notify=lambda text: self.put(self.notes, text),
            columns=lambda: 120,
            options=ChatOptions(screen=Screen(lambda: (120, 24), False, True, True)),
        )
        self.ask("Ready?")
        self.assertIn("to answer: /answer CHOICE)", " ".join(self.data[-1].split()))
        self.take("/answer 1")
        self.assertIn("yes (the answer to: Ready?)", self.data[-1])
        self.take("/last 2")
        self.assertIn("Ready? (1 yes, 2 not yet; answered: yes)", " ".join(self.data[-2].split()))


class NarrowTests(ChatCase):
    """At a terminal of 40 columns."""

    def talk(self, person: Person, name: str, patience: float = 0) -> Chat:
        """Open a chat in which the cursor cannot be moved."""
        return Chat(
            person.context,
            person.connection,
            name,
            write=self.write_data,
            notify=lambda text: self.put(self.notes, text),
            columns=lambda: 40,
            options=ChatOptions(screen=Screen(lambda: (40, 24), False, True, False)),
        )

    def test_help(self) -> None:
        """The commands are wrapped, and the marks are explained."""
        self.take("/help")
        self.assertTrue(all(width_of(row) <= 40 for row in self.data[0].split("\n")))
        for mark in MARKS.values():
            self.assertIn(f"{mark.strip()} ", self.data[0])

    def test_toolbar(self) -> None:
        """The bar is cut with dots."""
        self.place.is_up = False
        for _ in range(3):
            self.take("x")
        self.chat.name = "a-name-that-is-rather-long"
        self.assertEqual((len(self.chat.toolbar()), self.chat.toolbar()[-3:]), (40, "..."))

    def test_states(self) -> None:
        """Where no mark can change, each state is said, with the beginning of the text."""
        self.take("hello " * 20)
        self.successResultOf(Deferred.fromCoroutine(self.chat.show_new()))
        self.assertEqual(self.notes, [f"-- accepted: {('hello ' * 20)[:37]}..."])

    def test_waits(self) -> None:
        """Without a connection it is said that a line waits."""
        self.place.is_up = False
        assert self.ada.dialer is not None and self.ada.dialer.stream is not None, "there was a connection"
        self.ada.dialer.stream.close()
        self.place.settle(0.5)
        self.take("hello")
        self.assertEqual(self.notes, ["-- waits for the connection: hello"])


class ConversationTests(ChatCase):
    """Lines in, lines out."""

    def test_there(self) -> None:
        """A line goes to the other side, and is accepted."""
        self.assertTrue(self.take("hello"))
        self.show()
        self.assertEqual(self.chat.unanswered.pending, 0)
        self.assertEqual([message.text for message in messages.unread(self.ben.context.store)], ["hello"])

    def test_in_order(self) -> None:
        """Lines that are entered together are sent in order, around those that do something else."""
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.chat.enter("one", "two", "/who", "three"))))
        self.assertEqual(self.data, [])
        self.assertEqual(self.notes, ["-- no contacts yet; write to somebody"])
        self.show()
        self.assertEqual([message.text for message in messages.unread(self.ben.context.store)], ["one", "two", "three"])
        self.assertEqual(self.chat.unanswered.pending, 0)

    def test_together(self) -> None:
        """Lines that are entered together are committed together."""
        commits: list[None] = []
        store = self.ada.context.store
        assert isinstance(store, MemoryProfile)
        store.before_commit = lambda: commits.append(None)
        self.successResultOf(Deferred.fromCoroutine(self.chat.enter(*(f"{number}" for number in range(50)))))
        store.before_commit = None
        self.assertLess(len(commits), 5)
        self.assertEqual(self.chat.unanswered.pending, 50)

    def test_refused_among_others(self) -> None:
        """A line that cannot be sent is said so, and those around it are sent; what follows the end is not."""
        entered = Deferred.fromCoroutine(self.chat.enter("one", "x" * 50_000, "two", "exit", "three"))
        self.assertFalse(self.successResultOf(entered))
        self.show()
        self.assertEqual([message.text for message in messages.unread(self.ben.context.store)], ["one", "two"])
        self.assertEqual((self.chat.mistakes, len(self.notes)), (1, 1))

    def test_and_back(self) -> None:
        """A received message is shown once and then marked as read."""
        self.write(self.ben, "ada", "hello\x1b")
        self.show()
        self.show()
        self.assertEqual(self.data, ["[2027-01-15T08:00:00Z] ben: hello\\x1b"])
        self.assertEqual(messages.unread(self.ada.context.store), [])

    def test_keep(self) -> None:
        """What is chosen for this conversation holds for the next line; both ends mark it."""
        for line in ("/keep", "/keep 1h", "hello", "/keep off"):
            self.take(line)
        self.assertEqual(
            self.notes,
            [
                "-- what you write to ben is kept",
                "-- what you write to ben is deleted 1h after it was accepted here, and after it was read there",
                "-- what you write to ben is kept",
            ],
        )
        self.write(self.ben, "ada", "hi")
        ben = self.talk(self.ben, "ada")
        self.place.settle(1.5)
        self.successResultOf(Deferred.fromCoroutine(ben.show_new()))
        self.assertIn("[2027-01-15T08:00:01Z] ada (keep 1h): hello", self.data)

    def test_keep_in_the_lobby(self) -> None:
        """There it cannot be chosen."""
        self.chat.name = "#lobby"
        self.take("/keep 1h")
        self.assertEqual(self.notes, ["-- messages in the lobby cannot disappear"])

    def test_disappeared(self) -> None:
        """A line that has disappeared before the chat saw that it was accepted is waited for no longer."""
        self.take("/keep 10s")
        self.take("hello")
        disappearing.sweep(self.ada.context.store, int(self.place.now()) + 60)
        self.assertEqual(messages.history(self.ada.context.store, "ben"), [])
        self.show()
        self.assertEqual(self.chat.unanswered.pending, 0)

    def test_for_programs(self) -> None:
        """Output for a program is one object per line."""
        self.ada.context = evolve(self.ada.context, settings=Settings(as_json=True))
        self.chat = self.talk(self.ada, "ben")
        self.write(self.ben, "ada", "hello")
        self.show()
        for line in ("hello, Ben", "/last", "/who", "/verify", "/status", "/help"):
            self.take(line)
        rows = [json.loads(line) for text in self.data for line in text.splitlines()]
        self.assertEqual([row.get("text") for row in rows[:3]], ["hello", "hello", "hello, Ben"])
        self.assertEqual(rows[3]["name"], "ben")
        self.assertEqual(len(rows[4]["safety_number"].split()), 12)
        self.assertEqual(rows[5]["connection"], "connected")
        self.assertEqual(len(rows), 7)

    def test_alias(self) -> None:
        """The user's name for somebody stands in the prompt, as in the line at the bottom."""
        with self.ada.context.store.writing() as records:
            put_contact(records, new_contact("ben", self.ben.context.profile.identity.public, "", 0))
            preferences.set_alias(records, self.ada.context.profile, "ben", "benny")
        self.assertEqual(self.chat.shown_name, "benny (ben)")
        self.assertIn("benny (ben)", self.chat.toolbar())

    def test_others(self) -> None:
        """Messages from others are counted but not shown until the chat switches to them."""
        carol = self.place.person("carol")
        self.write(carol, "ada", "psst")
        self.show()
        self.assertEqual(self.data, [])
        self.assertIn("unread: carol 1", self.chat.toolbar())
        self.take("/to carol")
        self.show()
        self.assertEqual(len(self.data), 1)
        self.assertTrue(self.take("now to carol"))
        self.place.settle(1.5)
        self.assertEqual([message.text for message in messages.unread(carol.context.store)], ["now to carol"])

    def test_leave(self) -> None:
        """C{exit} and C{/quit} end the chat, and nothing is sent."""
        for line in ("exit", "/quit"):
            self.assertFalse(self.take(line))
        self.assertEqual(outbox_rows(self.ada.context.store), 0)

    def test_refused(self) -> None:
        """A message that is refused for good says so, once."""
        self.chat = self.talk(self.ada, "nobody")
        self.take("anyone?")
        self.show()
        self.show()
        why = "(no such account: nobody; check the name; /who lists those you know)"
        self.assertEqual(self.notes, [f"-- not sent [no-such-account]: anyone? {why}"])
        assert self.chat.refused is not None
        self.assertEqual(self.chat.refused.to, "nobody")

    def test_mistakes(self) -> None:
        """A command that does not exist, and a line that is too long, send nothing and are counted."""
        for line in ("/dance", "x" * 50_000, "/to ada"):
            self.take(line)
        self.assertEqual((self.chat.mistakes, len(self.notes), self.chat.unanswered.pending), (2, 3, 0))

    def test_shown_on_request(self) -> None:
        """Help, history, contacts and state are data: they go where messages go."""
        self.take("hello")
        for line in ("/help", "/last", "/who", "/status"):
            self.take(line)
        shown = "\n".join(self.data)
        for part in ("/quit", "ada (accepted): hello", "ben ", "connected"):
            self.assertIn(part, shown)

    def test_verify(self) -> None:
        """The number is shown, and C{confirm} marks the contact as verified; not before it was shown."""
        self.take("hello")
        self.take("/verify confirm")
        self.assertEqual(self.chat.title(), "ben (unverified)")
        self.take("/verify")
        self.assertIn("safety number with ben", self.data[-1])
        self.take("/accept")
        self.assertEqual(self.chat.title(), "ben (unverified)")
        self.take("/verify confirm")
        self.assertEqual(self.chat.title(), "ben")

    def test_new_device(self) -> None:
        """A new device is shown beside the number, and both are confirmed together."""
        self.take("hello")
        self.take("/verify")
        self.take("/verify confirm")
        known = self.chat.contact()
        assert known is not None, "met"
        added = msgspec.structs.replace(known, verified=False, unconfirmed=(devices(known)[0].id,))
        with self.ada.context.store.writing() as records:
            put_contact(records, added)
        self.assertEqual(self.chat.title(), "ben (NEW DEVICE)")
        self.take("/verify confirm")
        self.assertEqual(self.chat.title(), "ben (NEW DEVICE)")
        self.take("/verify")
        self.assertRegex(self.notes[-2], rf"-- {added.unconfirmed[0].hex()} .* NEW")
        self.take("/verify confirm")
        self.assertEqual(self.chat.title(), "ben")

    def test_nobody_known(self) -> None:
        """An unknown contact has no number yet."""
        self.take("/verify")
        self.assertEqual(self.data, [])
        self.assertEqual(len(self.notes), 1)


class FinishTests(ChatCase):
    """The end of a chat on a pipe."""

    def finish(self, timeout: float = 5) -> Deferred[int]:
        """The input has ended."""
        return Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, timeout))

    def test_accepted(self) -> None:
        """It ends when everything is accepted."""
        Deferred.fromCoroutine(self.chat.enter("hello"))
        ended = self.finish()
        self.assertNoResult(ended)
        self.place.settle(1.5)
        self.assertEqual(self.successResultOf(ended), Exit.DONE)

    def test_answered(self) -> None:
        """With the contact C{server} it also waits for answers; with others it does not."""
        server = self.hosted()
        self.chat = self.talk(self.ada, "server")
        self.take("question")
        ended = self.finish(60)
        self.place.settle(1.5)
        self.assertNoResult(ended)
        Autoresponder(server.context.store, Immediate(lambda question: "answer"), self.place.now).run()
        self.place.settle(2.5)
        self.assertEqual(self.successResultOf(ended), Exit.DONE)
        self.assertIn("server: answer", self.data[0])

    def test_waiting(self) -> None:
        """
        When everything is accepted and no answer is there a second later, it is said once for how long one is waited for, and
        what sets that; not at a terminal, where it is short, nor of an answer that comes at once.
        """
        server = self.hosted()
        self.chat = self.talk(self.ada, "server")
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            for timeout, seconds in ((60, 0.3), (2, 1.5)):
                self.take("question")
                ended = self.finish(timeout)
                self.place.settle(seconds)
                self.assertNoResult(ended)
                Autoresponder(server.context.store, Immediate(lambda question: "answer"), self.place.now).run()
                server.connection.nudge()
                self.place.settle(2.5)
                self.assertEqual(self.successResultOf(ended), Exit.DONE)
            self.assertEqual(err.getvalue(), "")
            self.take("question")
            ended = self.finish(60)
            self.place.settle(10)
            self.assertNoResult(ended)
        expected = "securemsg: waiting up to 60 s for an answer from server; --timeout changes that [waiting]\n"
        self.assertEqual(err.getvalue(), expected)
        self.place.settle(60)
        self.failureResultOf(ended, SecuremsgError)

    def test_not_answered(self) -> None:
        """Without an answer in time it ends with 6."""
        self.hosted()
        self.chat = self.talk(self.ada, "server")
        self.take("question")
        ended = self.finish(2)
        self.place.settle(3.5)
        self.assertEqual(self.failureResultOf(ended, SecuremsgError).value.status, Exit.NOT_CONNECTED)

    def test_not_accepted(self) -> None:
        """Without a server it ends with 6 when the time is over, and the message stays."""
        self.place.server.stop()
        self.place.settle()
        Deferred.fromCoroutine(self.chat.enter("hello"))
        ended = self.finish(2)
        self.place.settle(3.5)
        problem = self.failureResultOf(ended, SecuremsgError).value
        self.assertEqual(problem.status, Exit.NOT_CONNECTED)
        self.assertEqual(outbox_rows(self.ada.context.store), 1)

    def test_still_waiting(self) -> None:
        """Without a server, what waits from before is said, and changes nothing else."""
        self.place.server.stop()
        self.place.settle()
        for text in ("one", "two"):
            messages.compose(self.ada.context.store, "ben", text, now=self.place.now())
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(self.successResultOf(self.finish(2)), Exit.DONE)
        expected = "securemsg: 2 messages from before wait in the outbox; see: securemsg outbox [waiting]\n"
        self.assertEqual(err.getvalue(), expected)

    def test_identity_changed(self) -> None:
        """A contact with changed keys ends it with 4, without waiting."""
        self.take("hello")
        self.show()
        with self.ada.context.store.writing() as records:
            ben = get_contact(records, "ben")
            assert ben is not None
            put_contact(records, msgspec.structs.replace(ben, changed_to=bytes(32)))
        Deferred.fromCoroutine(self.chat.enter("secret"))
        ended = self.finish(60)
        self.place.settle(1.5)
        self.assertEqual(self.failureResultOf(ended, SecuremsgError).value.status, Exit.IDENTITY_CHANGED)

    def test_identity_changed_for_longer(self) -> None:
        """So does an older waiting message to that contact."""
        self.take("hello")
        self.show()
        with self.ada.context.store.writing() as records:
            ben = get_contact(records, "ben")
            assert ben is not None
            put_contact(records, msgspec.structs.replace(ben, changed_to=bytes(32)))
        self.write(self.ada, "ben", "queued before")
        Deferred.fromCoroutine(self.chat.enter("secret"))
        ended = self.finish(60)
        self.place.settle(1.5)
        problem = self.failureResultOf(ended, SecuremsgError).value
        self.assertEqual(problem.status, Exit.IDENTITY_CHANGED)
        self.assertIn("securemsg contacts accept ben", problem.hint)

    def test_others_go_first(self) -> None:
        """Messages to others are still sent before changed keys end it; the error names the right contact."""
        self.place.person("carol")
        self.take("hello")
        self.show()
        with self.ada.context.store.writing() as records:
            ben = get_contact(records, "ben")
            assert ben is not None
            put_contact(records, msgspec.structs.replace(ben, changed_to=bytes(32)))
        for line in ("secret", "/to carol", "hello"):
            Deferred.fromCoroutine(self.chat.enter(line))
        ended = self.finish(60)
        self.place.settle(1.5)
        self.assertIn("verify ben", self.failureResultOf(ended, SecuremsgError).value.hint)
        self.assertEqual(outbox_rows(self.ada.context.store), 1)

    def test_refused_at_the_end(self) -> None:
        """A refused message decides the exit status."""
        self.chat = self.talk(self.ada, "nobody")
        self.take("anyone?")
        ended = self.finish()
        self.place.settle(1.5)
        self.assertEqual(self.failureResultOf(ended, SecuremsgError).value.status, Exit.NO_CONTACT)

    def test_not_understood(self) -> None:
        """A line that was not understood changes the exit status."""
        self.take("/dance")
        self.assertEqual(self.successResultOf(self.finish()), Exit.USAGE)

    def hosted(self) -> Person:
        """The contact C{server}, as a daemon has it."""
        return self.place.person("server")
