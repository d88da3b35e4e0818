"""Machines that answer."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import autoresponder, messages
from securemsg.client.autoresponder import BUSY, Autoresponder, Immediate, Reply, answer_id, fitting
from securemsg.client.messages import Received
from securemsg.client.state.records import INBOUND
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_TEXT
from tests.client.rig import Fate, Killed, World, outbox_rows
from tests.client.sessions.test_resets import HOUR, Loss

# Questions of somebody who does not stop.
MAX_FLOOD = 200


class AnsweringTests(SynchronousTestCase):
    """A machine that repeats what it is told."""

    def setUp(self) -> None:
        """Alice can talk to it."""
        self.world = World()
        self.alice, self.bot = self.world.user("alice"), self.world.user("bot")
        self.asked: list[Received] = []

    def echo(self, question: Received) -> str | None:
        """Say the same, or nothing to those who say nothing."""
        self.asked.append(question)
        return question.text or None

    def answer(self) -> int:
        """Let the machine answer what has come."""
        before = outbox_rows(self.bot.store)
        Autoresponder(self.bot.store, Immediate(self.echo), lambda: self.world.clock).run()
        count = outbox_rows(self.bot.store) - before
        self.bot.pump()
        return count

    def test_answers(self) -> None:
        """Every text gets its answer, in order."""
        for number in range(3):
            self.alice.send("bot", f"{number}")
        self.assertEqual(self.answer(), 3)
        self.assertEqual(self.alice.read(), ["0", "1", "2"])
        self.assertEqual({message.kind for message in self.alice.has_read}, {Kind.ANSWER})

    def test_once(self) -> None:
        """What was answered is not asked again."""
        self.alice.send("bot", "hello")
        self.answer()
        self.assertEqual(self.answer(), 0)
        self.assertEqual(len(self.asked), 1)

    def test_no_answer(self) -> None:
        """A machine that has nothing to say has dealt with the message all the same."""
        self.alice.send("bot", "")
        self.assertEqual(self.answer(), 0)
        self.assertEqual(messages.unread_counts(self.bot.store), {})
        self.assertEqual(self.alice.read(), [])

    def test_quiet(self) -> None:
        """Two machines that are pointed at each other stay quiet after one answer."""
        self.alice.send("bot", "hello")
        self.answer()
        Autoresponder(self.alice.store, Immediate(lambda question: "again"), lambda: self.world.clock).run()
        self.assertEqual(outbox_rows(self.alice.store), 0)
        self.alice.pump()
        self.assertEqual(self.answer(), 0)

    def test_same_answer(self) -> None:
        """The answer to a question has an id that is always the same, and another one for everybody else."""
        self.alice.send("bot", "hello")
        question = messages.unread(self.bot.store)[0]
        self.assertEqual(answer_id("alice", question.id), answer_id("alice", question.id))
        self.answer()
        self.assertEqual(self.alice.lines("bot")[-1].id, answer_id("alice", question.id))

    def test_long(self) -> None:
        """An answer that is too long is cut, and not within a character."""
        text = "\u20ac" * MAX_TEXT
        self.assertLessEqual(len(fitting(text).encode()), MAX_TEXT)
        self.assertEqual(set(fitting(text)), {"\u20ac"})

    def test_no_text(self) -> None:
        """What cannot be encoded becomes question marks."""
        self.assertEqual(fitting("a\ud800b"), "a?b")

    def test_many(self) -> None:
        """More questions than are read at once are all answered."""
        self.bot.disconnect()
        self.world.settle()
        for number in range(messages.PAGE + 10):
            messages.compose(self.alice.store, "bot", f"{number}", now=self.world.clock)
        self.alice.pump()
        self.bot.connect()
        self.assertEqual(self.answer(), messages.PAGE + 10)
        self.assertEqual(len(self.alice.read()), messages.PAGE)
        self.assertEqual(len(self.alice.read()), 10)


@define(eq=False)
class Slow:
    """A source that answers when its test says so."""

    capacity: int = 2
    asked: list[tuple[str, str]] = field(factory=list)
    gives: list[Reply] = field(factory=list)
    trouble: Exception | None = None

    def ask(self, question: Received, reply: Reply) -> None:
        """Somebody wants to know."""
        if self.trouble is not None:
            raise self.trouble
        self.asked.append((question.sender, question.text))
        self.gives.append(reply)

    def stop(self) -> None:
        """Nothing runs here."""

    def reply(self, text: str | None, place: int = 0) -> None:
        """Answer one of those who wait."""
        self.gives.pop(place)(text)


class SlowTests(SynchronousTestCase):
    """A machine that thinks."""

    def setUp(self) -> None:
        """Three people can talk to it."""
        self.world = World()
        self.bot = self.world.user("bot")
        self.people = {name: self.world.user(name) for name in ("alice", "bob", "carol")}
        self.source = Slow()
        self.shown: list[str] = []
        self.trouble: Exception | None = None
        self.answerer = self.make()

    def make(self, source: Slow | None = None) -> Autoresponder:
        """The machine, after a start."""
        self.source = source or Slow()
        return Autoresponder(self.bot.store, self.source, lambda: self.world.clock, self.bot.pump, self.on_received)

    def on_received(self, messages: list[Received]) -> None:
        """Look at what came."""
        if self.trouble is not None:
            raise self.trouble
        self.shown += [message.text for message in messages]

    def ask(self, name: str, *texts: str) -> None:
        """Somebody asks."""
        for text in texts:
            self.people[name].send("bot", text)
        self.answerer.run()

    def read(self, name: str) -> list[str]:
        """What somebody was answered."""
        return self.people[name].read()

    def test_in_turn(self) -> None:
        """The questions of one person are asked one after the other, and answered in this order."""
        self.ask("alice", "1", "2")
        self.assertEqual(self.source.asked, [("alice", "1")])
        self.source.reply("one")
        self.assertEqual(self.source.asked, [("alice", "1"), ("alice", "2")])
        self.source.reply("two")
        self.assertEqual(self.read("alice"), ["one", "two"])

    def test_side_by_side(self) -> None:
        """Different persons do not wait for each other, as long as the source has places; then whoever came first is next."""
        self.ask("alice", "a1", "a2")
        self.ask("bob", "b1")
        self.ask("carol", "c1")
        self.assertEqual(self.source.asked, [("alice", "a1"), ("bob", "b1")])
        self.source.reply("B", 1)
        self.assertEqual(self.read("bob"), ["B"])
        self.assertEqual(self.source.asked[2:], [("carol", "c1")])
        self.source.reply("A1")
        self.source.reply("C")
        self.source.reply("A2")
        self.assertEqual(self.read("alice"), ["A1", "A2"])
        self.assertEqual(self.read("carol"), ["C"])

    def test_flood(self) -> None:
        """A flood from one person takes one place; somebody who comes later is asked at once, and then one of each in turn."""
        self.ask("alice", *[f"a{number}" for number in range(MAX_FLOOD)])
        self.ask("bob", "b1", "b2")
        self.assertEqual(self.source.asked, [("alice", "a0"), ("bob", "b1")])
        self.ask("carol", "c1")
        for text in ("A", "B", "C"):
            self.source.reply(text)
        self.assertEqual(self.source.asked[2:], [("carol", "c1"), ("alice", "a1"), ("bob", "b2")])
        self.assertLessEqual(self.answerer.known, MAX_FLOOD)

    def test_asked_once(self) -> None:
        """What is under way is not asked again, however often there is news."""
        self.ask("alice", "1")
        self.answerer.run()
        self.ask("bob", "2")
        self.assertEqual(len(self.source.asked), 2)

    def test_again_after_a_crash(self) -> None:
        """A machine that died is asked again; its answer is sent once, even if the dead one's comes back."""
        self.ask("alice", "1")
        dead = self.source
        self.answerer = self.make()
        self.answerer.run()
        self.assertEqual(self.source.asked, [("alice", "1")])
        self.source.reply("one")
        dead.reply("one, too")
        self.assertEqual(self.read("alice"), ["one"])

    def test_twice(self) -> None:
        """A source that answers twice is heard once: what is under way by then is not disturbed."""
        self.ask("alice", "1", "2", "3")
        reply = self.source.gives[0]
        self.source.reply("one")
        reply("one, too")
        self.assertEqual(self.source.asked, [("alice", "1"), ("alice", "2")])
        self.source.reply("two")
        self.source.reply("three")
        self.assertEqual(self.read("alice"), ["one", "two", "three"])

    def test_read_meanwhile(self) -> None:
        """A question that its reader has seen meanwhile, in another process, is not answered any more."""
        self.ask("alice", "1", "2")
        messages.mark_read(self.bot.store, [messages.unread(self.bot.store)[0].seq], now=0)
        self.source.reply("one")
        self.source.reply("two")
        self.assertEqual(self.read("alice"), ["two"])

    def test_no_answer(self) -> None:
        """Who gets no answer does not hold up what comes next."""
        self.ask("alice", "1", "2")
        self.source.reply(None)
        self.source.reply("two")
        self.assertEqual(self.read("alice"), ["two"])
        self.assertEqual(messages.unread_counts(self.bot.store), {})

    def test_too_many(self) -> None:
        """Questions that are too many are answered at once, with a code and in order; nobody else is affected."""
        self.patch(autoresponder, "MAX_WAITING", 2)
        self.ask("alice", "1")
        self.ask("alice", "2", "3", "4", "5")
        self.ask("bob", "b")
        self.source.reply("one")
        self.assertEqual(self.source.asked, [("alice", "1"), ("bob", "b"), ("alice", "4")])
        self.source.reply("four", 1)
        self.source.reply("five", 1)
        self.assertEqual(self.read("alice"), ["one", BUSY, BUSY, "four", "five"])

    def test_room(self) -> None:
        """Of very many questions no more are known than there is room for; the others have their turn later."""
        self.patch(autoresponder, "MAX_KNOWN", 2)
        self.ask("alice", *map(str, range(7)))
        self.assertEqual(self.answerer.known, 2)
        for number in range(7):
            self.assertEqual(self.source.asked[-1], ("alice", str(number)))
            self.source.reply(str(number))
        self.assertEqual(self.read("alice"), list(map(str, range(7))))

    def test_broken_source(self) -> None:
        """A source that cannot be asked is asked again with the next call."""
        self.source.trouble = OSError("no")
        with self.assertRaises(OSError):
            self.ask("alice", "1")
        self.source.trouble = None
        self.answerer.run()
        self.source.reply("one")
        self.assertEqual(self.read("alice"), ["one"])

    def test_store_fails(self) -> None:
        """An answer that cannot be committed is asked for again."""
        self.ask("alice", "1", "2")
        self.bot.store.fate = Fate(deadline=1)
        with self.assertRaises(Killed):
            self.source.reply("one")
        self.bot.store.fate = Fate()
        self.answerer.run()
        self.assertEqual(self.source.asked, [("alice", "1"), ("alice", "1")])
        self.source.reply("one")
        self.source.reply("two")
        self.assertEqual(self.read("alice"), ["one", "two"])

    def test_shown_first(self) -> None:
        """What comes is shown once and in order, before it is answered; after a restart nothing is shown again."""
        self.ask("alice", "1", "2")
        self.assertEqual(self.shown, ["1", "2"])
        self.ask("bob", "3")
        self.answerer = self.make()
        self.answerer.run()
        self.ask("alice", "4")
        self.assertEqual(self.shown, ["1", "2", "3", "4"])

    def test_showing_fails(self) -> None:
        """While nothing can be shown nothing is answered, and nothing is lost."""
        self.trouble = OSError("the disk is full")
        for _ in range(2):
            with self.assertRaises(OSError):
                self.ask("alice", "1")
        self.assertEqual((self.source.asked, self.shown), ([], []))
        self.assertEqual(messages.unread_counts(self.bot.store), {"alice": 2})
        self.trouble = None
        self.answerer.run()
        self.assertEqual((self.source.asked, self.shown), ([("alice", "1")], ["1", "1"]))


class LateTests(SynchronousTestCase):
    """A message that the server lost comes after the next one, and has its place before it."""

    def setUp(self) -> None:
        """Alice and Carol can talk to the machine, whose server loses one of the next messages."""
        self.world = World()
        self.alice, self.bot, self.carol = (self.world.user(name) for name in ("alice", "bot", "carol"))
        self.shown: list[str] = []
        self.asked: list[str] = []

    def answer(self, question: Received) -> str:
        """Say it again."""
        self.asked.append(question.text)
        return f"re {question.text}"

    def talk(self, answerer: Autoresponder) -> None:
        """Write three messages, of which the second comes last, while the machine runs."""
        self.alice.send("bot", "0")
        answerer.run()
        loss = Loss(self.bot)
        loss.lose(0)
        for text in ("1", "2"):
            self.alice.send("bot", text)
            answerer.run()
        self.assertEqual((len(loss.lost), self.asked), (1, ["0", "2"]))
        for _ in range(24):
            self.world.advance(HOUR, ticks=2)
            answerer.run()

    def on_received(self, messages: list[Received]) -> None:
        """Look at what came."""
        self.shown += [message.text for message in messages]

    def make(self, **options: Any) -> Autoresponder:
        """A machine."""
        return Autoresponder(self.bot.store, Immediate(self.answer), lambda: self.world.clock, self.bot.pump, **options)

    def test_of_the_contact(self) -> None:
        """The machine is shown it when it comes, and answers it, without being started again; and both happen once."""
        self.talk(self.make(on_received=self.on_received))
        self.assertEqual([line.text for line in self.bot.lines("alice") if isinstance(line, Received)], ["0", "1", "2"])
        self.assertEqual(self.shown, ["0", "2", "1"])
        self.make(on_received=self.on_received).run()
        self.assertEqual(self.shown, ["0", "2", "1"])
        self.assertEqual(self.alice.read(), ["re 0", "re 2", "re 1"])

    def test_of_an_account(self) -> None:
        """So does one that answers one person alone, and leaves the others' messages to their reader."""
        self.carol.send("bot", "for a reader")
        self.talk(self.make(sender="alice", leaves_others=True))
        self.assertEqual(self.alice.read(), ["re 0", "re 2", "re 1"])
        self.assertEqual(messages.unread_counts(self.bot.store), {"carol": 1})

    def test_of_others(self) -> None:
        """Of what others wrote, and is left to its reader, the first is looked at, however much there is."""
        for number in range(5):
            self.carol.send("bot", f"{number}")
        answerer = self.make(sender="alice", leaves_others=True)
        answerer.run()
        looks: list[int] = []
        with self.bot.store.reading() as records:
            kind = type(records)
        scan = kind.scan

        def note(records: IRecords, table: str, *given: Any, **options: Any) -> list[tuple[bytes, int, bytes]]:
            rows = scan(records, table, *given, **options)
            looks.extend(order for _, order, _ in rows if table == INBOUND)
            return rows

        self.patch(kind, "scan", note)
        self.alice.send("bot", "hello")
        answerer.run()
        self.assertEqual(self.asked, ["hello"])
        # The first of each of the two, and what came.
        self.assertEqual(len(looks), 3)

    def test_under_way(self) -> None:
        """What is asked about when something comes late is not asked about again, and what waits keeps its place."""
        source = Slow()
        answerer = Autoresponder(self.bot.store, source, lambda: self.world.clock, self.bot.pump)
        loss = Loss(self.bot)
        self.alice.send("bot", "0")
        loss.lose(0)
        for text in ("1", "2", "3"):
            self.alice.send("bot", text)
            answerer.run()
        for _ in range(24):
            self.world.advance(HOUR, ticks=2)
            answerer.run()
        for number in "0123":
            self.assertEqual(source.asked[-1], ("alice", number))
            source.reply(f"re {number}")
        self.assertEqual(len(source.asked), 4)
        self.assertEqual(self.alice.read(), ["re 0", "re 1", "re 2", "re 3"])
