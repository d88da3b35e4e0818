"""A program's own account, between a server in memory and people who write to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.internet.task import Clock

from securemsg.account import flush
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.reader import PAGE
from securemsg.account.readlocks import ReadLocks, take_read_lock
from securemsg.account.shown import ShownNote
from securemsg.bot import MAX_TOGETHER, Bot, open_bot
from securemsg.client import messages
from securemsg.client.autoresponder import answer_id
from securemsg.client.messages import Received, Sent
from securemsg.client.state import settings
from securemsg.client.state.contacts import get_contact, put_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import create_profile, save_profile
from securemsg.client.state.records import HISTORY, HistoryRow, Status, load_all, save
from securemsg.client.state.settings import Policy, UserSettings
from securemsg.client.state.vault import LOWEST_COST, create_vault
from securemsg.protocol.envelope import Kind
from securemsg.protocol.invite import InviteLink
from securemsg.storage.errors import StateUnusable
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.profile import create_profile as create_store
from tests.cli.rig import START, Person, Place, PlaceCase
from tests.client.rig import outbox_rows

ID = bytes(range(16))


class Reactor(Clock):
    """A clock that can also shut down."""

    def __init__(self) -> None:
        """Nothing is to be called."""
        super().__init__()
        self.triggers: list[Callable[[], Any]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], Any]) -> Callable[[], Any]:
        """Call this when we shut down."""
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(call)
        return call

    def removeSystemEventTrigger(self, trigger: Callable[[], Any]) -> None:
        """Call it no more."""
        self.triggers.remove(trigger)

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Call it in the next turn."""
        self.callLater(0, call, *arguments)

    def shut_down(self) -> list[Any]:
        """
        Call them all; from then on none can be taken away.

        @return: what they return.
        """
        triggers, self.triggers = self.triggers, []
        return [call() for call in triggers]


@define(eq=False)
class Program:
    """
    One run of a program around a bot.

    @ivar seen: texts it was given.
    @ivar trouble: what its handling of a message raises, once.
    """

    bot: Bot
    handle: Callable[[Bot, Received], None] | None = None
    sender: str | None = None
    seen: list[str] = field(factory=list)
    failure: Exception | None = None
    pause: Deferred[None] | None = None

    async def run(self) -> str:
        """Handle messages until that ends."""
        async with self.bot as bot:
            async for message in bot.messages(self.sender):
                self.seen.append(message.text)
                if self.pause is not None:
                    await self.pause
                if self.failure is not None:
                    raise self.failure
                if self.handle is not None:
                    self.handle(bot, message)
        return "ended"


def uppercase(bot: Bot, message: Received) -> None:
    """Answer in capitals."""
    bot.answer(message, message.text.upper())


class BotCase(PlaceCase):
    """Ada writes to the bot Bix."""

    def setUp(self) -> None:
        """Both are registered; no process of Bix's runs."""
        super().setUp()
        self.reactor = Reactor()
        self.place = Place(clock=self.reactor)
        self.ada = self.place.person("ada", again=True)
        self.bix = self.absent("bix")

    def absent(self, name: str) -> Person:
        """Somebody registered whose commands have ended."""
        person = self.place.person(name)
        person.connection.stop()
        self.place.settle()
        return person

    def bot(self, person: Person | None = None) -> Bot:
        """A new process of Bix's, or of somebody else's."""
        context = (person or self.bix).context
        connection = self.place._connection(context, True)
        return Bot(self.reactor, self.folder(context.profile.name), context.store, context.profile, connection, self.place.now)

    def folder(self, name: str) -> Path:
        """Where somebody's profile lies."""
        return self.place.folder / name

    def start(self, program: Program) -> Deferred[str]:
        """Run a program until it has nothing to do."""
        self.addCleanup(self.clear_up, program)
        running = Deferred.fromCoroutine(program.run())
        # Those that fail are looked at by their tests.
        self.addCleanup(running.addErrback, lambda failure: None)
        self.place.settle(2)
        return running

    def clear_up(self, program: Program) -> None:
        """Leave nothing running."""
        self.kill(program)
        if program.pause is not None and not program.pause.called:
            program.pause.callback(None)
        self.place.settle()

    def write(self, *texts: str, to: str = "bix", kind: int = Kind.TEXT) -> list[bytes]:
        """Ada writes."""
        numbers = [messages.compose(self.ada.context.store, to, text, now=self.place.now(), kind=kind) for text in texts]
        self.ada.connection.nudge()
        self.place.settle(2)
        return numbers

    def answers(self) -> list[Received]:
        """What Ada was answered."""
        return messages.unread(self.ada.context.store)

    def waiting(self) -> list[str]:
        """What would be given to Bix's next process."""
        return [message.text for message in messages.unread(self.bix.context.store)]

    def count_commits(self) -> list[None]:
        """Count the transactions that Bix's store commits from now on."""
        commits: list[None] = []
        assert isinstance(self.bix.context.store, MemoryProfile)
        self.bix.context.store.before_commit = lambda: commits.append(None)
        return commits

    def kill(self, program: Program) -> None:
        """As if the process died: nothing more is done, and the kernel frees its locks."""
        bot = program.bot
        bot._connection.stop()
        bot._read_locks.close()
        if bot._reader is not None:
            bot._reader.free()
        self.place.settle()


class MessagesTests(BotCase):
    """Receiving."""

    def test_answers(self) -> None:
        """Each message is given once and in order, and its answer arrives, with the id that belongs to the question."""
        numbers = self.write("one", "two")
        program = Program(self.bot(), uppercase)
        self.start(program)
        numbers += self.write("three")
        self.place.settle(2)
        self.assertEqual(program.seen, ["one", "two", "three"])
        answers = self.answers()
        self.assertEqual([(row.text, row.kind) for row in answers], [(t, Kind.ANSWER) for t in ("ONE", "TWO", "THREE")])
        question = messages.history(self.bix.context.store, "ada")[0]
        assert isinstance(question, Received)
        self.assertEqual((question.id, answer_id(question.sender, question.id)), (numbers[0], answers[0].id))

    def test_handled_when_next_asked(self) -> None:
        """A message counts as handled when the next one is asked for, and not before."""
        program = Program(self.bot(), pause=Deferred())
        self.write("one", "two")
        self.start(program)
        self.assertEqual((program.seen, self.waiting()), (["one"], ["one", "two"]))
        assert program.pause is not None
        program.pause.callback(None)
        self.place.settle(2)
        self.assertEqual((program.seen, self.waiting()), (["one", "two"], []))

    def test_handled_together(self) -> None:
        """Messages that are handled in one turn are marked as read together, at its end at the latest."""
        self.write(*(f"message {number}" for number in range(2 * PAGE)))
        commits = self.count_commits()
        self.start(Program(self.bot()))
        self.assertEqual(self.waiting(), [])
        # The others are of what is done after a login.
        self.assertLess(len(commits), 20)

    def test_killed_amid_turn(self) -> None:
        """What was handled does not come again, though the process was killed before that was marked."""
        self.write("one", "two", "three")
        bot = self.bot()
        Deferred.fromCoroutine(bot.__aenter__())
        self.place.settle(2)
        reader = bot.messages()
        handled = [self.successResultOf(Deferred.fromCoroutine(reader.__anext__())).text for _ in range(3)]
        self.assertEqual((handled, self.waiting()), (["one", "two", "three"], ["one", "two", "three"]))
        bot._read_locks.close()
        bot._read_locks.shown = ShownNote(None, self.bix.context.store)
        self.kill(Program(bot))
        program = Program(self.bot())
        self.start(program)
        self.assertEqual(program.seen, ["three"])

    def test_exception(self) -> None:
        """A message whose handling fails ends the loop, and is given again to the next run."""
        self.write("one", "two")
        failed = self.start(Program(self.bot(), failure=ValueError("no")))
        self.failureResultOf(failed, ValueError)
        program = Program(self.bot())
        self.start(program)
        self.assertEqual(program.seen, ["one", "two"])

    def test_killed(self) -> None:
        """A message in hand when the process dies comes again; one that was answered does not, and its answer arrives once."""
        first = Program(self.bot(), uppercase)
        self.write("one")
        self.start(first)
        second = Program(self.bot(), pause=Deferred())
        self.kill(first)
        self.write("two")
        self.start(second)
        self.kill(second)
        self.assertEqual(second.seen, ["two"])
        third = Program(self.bot(), uppercase)
        self.start(third)
        self.assertEqual(third.seen, ["two"])
        self.assertEqual([row.text for row in self.answers()], ["ONE", "TWO"])

    def test_done(self) -> None:
        """A message that was said to be done with does not come again, though the loop ended with it."""
        self.write("one", "two")

        def handle(bot: Bot, message: Received) -> None:
            bot.done(message)
            raise ValueError("after that")

        self.failureResultOf(self.start(Program(self.bot(), handle)), ValueError)
        self.assertEqual(self.waiting(), ["two"])

    def test_answers_are_not_answered(self) -> None:
        """An answer to an answer is not sent; the message is handled all the same."""
        self.write("I am a bot, too", kind=Kind.ANSWER)
        program = Program(self.bot(), uppercase)
        self.start(program)
        self.assertEqual((program.seen, self.answers(), self.waiting()), (["I am a bot, too"], [], []))

    def test_no_answer(self) -> None:
        """Without a text nothing is sent, and the message is handled."""
        self.write("one")
        self.start(Program(self.bot(), lambda bot, message: self.assertIsNone(bot.answer(message, None))))
        self.assertEqual((self.answers(), self.waiting()), ([], []))

    def test_from(self) -> None:
        """With a sender only its messages are given; others stay."""
        cleo = self.place.person("cleo", again=True)
        self.write("from ada")
        messages.compose(cleo.context.store, "bix", "from cleo", now=self.place.now())
        program = Program(self.bot(), sender="cleo")
        self.start(program)
        self.place.settle(2)
        self.assertEqual((program.seen, self.waiting()), (["from cleo"], ["from ada"]))

    def test_second_reader(self) -> None:
        """While one process reads, another is refused; and so is a loop that was replaced by a newer one."""
        self.start(Program(self.bot()))
        problem = self.failureResultOf(self.start(Program(self.bot())), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.PROFILE, "second-recv"))

    def test_older_loop(self) -> None:
        """A loop ends when the same bot begins another; its message comes again there."""
        self.write("one")
        bot = self.bot()
        Deferred.fromCoroutine(bot.__aenter__())
        self.place.settle(2)
        older = bot.messages()
        first = Deferred.fromCoroutine(older.__anext__())
        newer = bot.messages()
        again = Deferred.fromCoroutine(newer.__anext__())
        self.assertEqual(self.successResultOf(first).id, self.successResultOf(again).id)
        self.failureResultOf(Deferred.fromCoroutine(older.__anext__()), SecuremsgError)

    def test_bounded(self) -> None:
        """Of many messages no more than a page is in memory."""
        self.write(*(f"message {number}" for number in range(3 * PAGE)))
        program = Program(self.bot(), pause=Deferred())
        self.start(program)
        messages = program.bot._messages
        assert messages is not None
        self.assertEqual(len(messages._page), PAGE - 1)
        assert program.pause is not None
        program.pause.callback(None)
        self.place.settle(2)
        self.assertEqual(program.seen, [f"message {number}" for number in range(3 * PAGE)])

    def test_past_a_busy_sender(self) -> None:
        """
        Somebody whose messages stand still in a chat, however many, holds up nobody else's; they come afterwards, in order.
        """
        texts = [f"message {number}" for number in range(2 * PAGE)]
        ready, go = os.pipe()
        done, begin = os.pipe()
        child = os.fork()
        if child == 0:
            # A chat that stands still with the turn at what Ada wrote.
            try:
                ReadLocks(self.folder("bix"), self.bix.context.store)._locks.take("ada")
                os.write(go, b"x")
                os.read(done, 1)
            finally:
                os._exit(0)
        os.read(ready, 1)
        program = Program(self.bot())
        self.start(program)
        self.write(*texts)
        cleo = self.place.person("cleo", again=True)
        messages.compose(cleo.context.store, "bix", "from cleo", now=self.place.now())
        self.place.settle(3)
        self.assertEqual(program.seen, ["from cleo"])
        os.write(begin, b"x")
        os.waitpid(child, 0)
        for descriptor in (ready, go, done, begin):
            os.close(descriptor)
        self.place.settle(3)
        self.assertEqual(program.seen, ["from cleo", *texts])

    def test_beside_others(self) -> None:
        """A bot works while another command of its profile has the connection, and takes it over when that ends."""
        other = self.place._connection(self.bix.context, True)
        other.start()
        program = Program(self.bot(), uppercase)
        self.start(program)
        self.write("one")
        self.assertFalse(program.bot._connection.is_owner)
        self.assertEqual([row.text for row in self.answers()], ["ONE"])
        other.stop()
        self.place.settle(2)
        self.assertTrue(program.bot._connection.is_owner)
        self.write("two")
        self.assertEqual([row.text for row in self.answers()], ["ONE", "TWO"])


class EndTests(BotCase):
    """Ways to end."""

    def test_shutdown(self) -> None:
        """When the reactor stops, the loop ends, and the program with it; the reactor waits for the connection to be gone."""
        program = Program(self.bot(), uppercase)
        running = self.start(program)
        (hung_up,) = self.reactor.shut_down()
        self.place.settle()
        self.assertEqual(self.successResultOf(running), "ended")
        self.successResultOf(hung_up)

    def test_shutdown_amid_message(self) -> None:
        """When the reactor stops while a message is handled, no other is given."""
        self.write("one", "two")
        program = Program(self.bot(), pause=Deferred())
        running = self.start(program)
        self.reactor.shut_down()
        assert program.pause is not None
        program.pause.callback(None)
        self.place.settle()
        self.assertEqual(self.successResultOf(running), "ended")
        self.assertEqual((program.seen, self.waiting()), (["one"], ["two"]))

    def test_shutdown_amid_send(self) -> None:
        """
        When the reactor stops while something is sent, that is no error of the program's; the message stays in the outbox.
        """
        self.place.is_up = False

        async def talk() -> str:
            async with self.bot() as bot:
                await bot.send("ada", "later", timeout=None)
            return "left"

        running = Deferred.fromCoroutine(talk())
        self.place.settle(2)
        self.reactor.shut_down()
        self.place.settle()
        self.assertEqual(self.successResultOf(running), "left")
        self.assertEqual(outbox_rows(self.bix.context.store), 1)

    def test_leaving(self) -> None:
        """
        Whoever leaves in order takes along what is in the outbox, hears of it, and leaves lock, reading and reactor to others.
        """

        async def talk() -> None:
            async with self.bot() as bot:
                await bot.send("ada", "one")
                sent = await bot.send("ada", "two", wait="none")
                self.assertEqual(sent.status, "queued")

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        self.successResultOf(talking)
        self.assertEqual([row.text for row in self.answers()], ["one", "two"])
        sent = [line for line in messages.history(self.bix.context.store, "ada") if isinstance(line, Sent)]
        self.assertEqual([line.status for line in sent], ["accepted", "accepted"])
        self.assertEqual(outbox_rows(self.bix.context.store), 0)
        self.assertEqual(self.reactor.triggers, [])
        self.assertTrue(take_read_lock(self.folder("bix")).is_held)

    def test_disk_fails(self) -> None:
        """A disk that fails while it leaves keeps nobody from hanging up, and changes nothing of what was said before."""
        bot = self.bot()

        async def talk() -> Sent:
            async with bot:
                sent = await bot.send("ada", "one")
                self.patch(flush, "unsent", fail)
            return sent

        def fail(store: object, now: float) -> int:
            raise StateUnusable("the disk is gone")

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        self.assertEqual(self.successResultOf(talking).status, "accepted")
        self.assertEqual((bot._connection.is_stopped, self.reactor.triggers), (True, []))

    def test_close_fails(self) -> None:
        """Files that cannot be closed are an error with a code."""

        async def talk() -> None:
            async with self.bot():
                self.patch(self.bix.context.store, "close", fail)

        def fail() -> None:
            raise StateUnusable("the disk is gone")

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        self.assertEqual(self.failureResultOf(talking, SecuremsgError).value.code, "profile-unreadable")

    def test_cancelled(self) -> None:
        """Whoever is cancelled leaves all the same."""
        bot = self.bot()
        self.place.is_up = False

        async def talk() -> None:
            async with bot:
                await bot.send("ada", "one", timeout=None)

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(1)
        talking.cancel()
        self.place.settle(1)
        self.failureResultOf(talking, CancelledError)
        self.assertEqual((bot._connection.is_stopped, self.reactor.triggers), (True, []))

    def test_not_entered(self) -> None:
        """A folder that cannot be used leaves nothing behind, neither a connection nor anything in the reactor."""
        bot = self.bot()

        def fail() -> None:
            raise StateUnusable("the disk is gone")

        self.patch(bot._connection, "_wake_owner", fail)
        other = self.place._connection(self.bix.context, True)
        other.start()

        async def talk() -> None:
            async with bot:
                raise AssertionError("it was entered")

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        self.assertEqual(self.failureResultOf(talking, SecuremsgError).value.code, "profile-unreadable")
        self.assertEqual((bot._connection.is_stopped, self.reactor.triggers), (True, []))
        other.stop()

    def test_shutdown_amid_leaving(self) -> None:
        """When the reactor stops while somebody leaves, its trigger is not taken away a second time."""
        self.place.is_up = False
        bot = self.bot()

        async def talk() -> str:
            async with bot:
                pass
            return "left"

        talking = Deferred.fromCoroutine(talk())
        self.reactor.shut_down()
        self.place.settle(3)
        self.assertEqual(self.successResultOf(talking), "left")

    def test_removed(self) -> None:
        """What connecting again would not mend ends the loop with its code."""
        program = Program(self.bot())
        running = self.start(program)
        program.bot._connection.fatal = "removed"
        program.bot._connection.changed()
        self.place.settle(1)
        self.assertEqual(self.failureResultOf(running, SecuremsgError).value.code, "removed")


class SendTests(BotCase):
    """Sending."""

    def send(self, *arguments: Any, **options: Any) -> Deferred[Sent]:
        """Send, and stay for a while."""

        async def talk() -> Sent:
            rows: list[Sent] = []
            async with self.bot() as bot:
                rows.append(await bot.send(*arguments, **options))
            return rows[0]

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        return talking

    def test_accepted(self) -> None:
        """By default it waits for the server."""
        sent = self.successResultOf(self.send("ada", "hello"))
        self.assertEqual((sent.status, sent.to, sent.text), ("accepted", "ada", "hello"))

    def test_delivered(self) -> None:
        """On request it waits for the recipient."""
        with self.ada.context.store.writing() as records:
            settings.put(records, UserSettings(receipts=Policy.EVERYBODY))
        self.assertEqual(self.successResultOf(self.send("ada", "hello", wait="delivered")).status, "delivered")

    def test_bad_one_among_many(self) -> None:
        """What fails for one message of a turn, whatever it is, keeps none of the others from being sent."""
        results: list[object] = []
        compose_in = messages.compose_in

        def compose(records: Any, to: Any, text: str, **options: Any) -> bytes:
            if text == "bad":
                raise ZeroDivisionError
            return compose_in(records, to, text, **options)

        self.patch(messages, "compose_in", compose)

        async def talk() -> None:
            async with self.bot() as bot:
                texts = ("good", "bad", "good too")
                sending = [Deferred.fromCoroutine(bot.send("ada", text, wait="none")) for text in texts]
                for each in sending:
                    each.addBoth(results.append)
                await DeferredList(sending)

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(3)
        self.successResultOf(talking)
        self.assertEqual([isinstance(result, Sent) for result in results], [True, False, True])

    def test_same_id(self) -> None:
        """The same id is the same message: it arrives once. Another text under it is refused."""
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.send("ada", "hello", id=ID)).id, ID)
        self.assertEqual([row.id for row in self.answers()], [ID])
        problem = self.failureResultOf(self.send("ada", "other", id=ID), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.REFUSED, "conflict"))

    def send_all(self, *drafts: tuple[str, str], seconds: float = 3, **options: Any) -> list[str]:
        """Send all of these at once; what became of each: its status, or the code of an error."""

        async def send(bot: Bot, to: str, text: str) -> str:
            try:
                return (await bot.send(to, text, **options)).status
            except SecuremsgError as problem:
                return problem.code

        async def talk() -> list[str]:
            results: list[str] = []
            async with self.bot() as bot:
                results += await gatherResults([Deferred.fromCoroutine(send(bot, *draft)) for draft in drafts])
            return results

        talking = Deferred.fromCoroutine(talk())
        self.place.settle(seconds)
        return self.successResultOf(talking)

    def test_at_once(self) -> None:
        """What is sent at once is committed together, and each of them hears of it; they arrive in order."""
        texts = [f"message {number}" for number in range(2 * MAX_TOGETHER)]
        commits = self.count_commits()
        self.assertEqual(self.send_all(*(("ada", text) for text in texts)), ["accepted"] * len(texts))
        self.assertLess(len(commits), len(texts) // 8)
        self.assertEqual([row.text for row in messages.unread(self.ada.context.store, limit=2 * len(texts))], texts)

    def test_some_refused(self) -> None:
        """What is refused among others holds up none of them."""
        cleo = self.place.person("cleo", again=True)
        drafts = (("ada", "one"), ("Ada!", "two"), ("nobody", "three"), ("cleo", "four"), ("ada", "five"))
        results = self.send_all(*drafts)
        self.assertEqual(results, ["accepted", "illegal-name", "no-such-account", "accepted", "accepted"])
        self.assertEqual([row.text for row in self.answers()], ["one", "five"])
        self.assertEqual([row.text for row in messages.unread(cleo.context.store)], ["four"])

    def test_some_held_up(self) -> None:
        """Those who wait for the user hear of it at once, also behind others, and the rest is sent."""
        self.assertEqual(self.send_all(("ada", "zero")), ["accepted"])
        self.place.person("cleo", again=True)
        with self.bix.context.store.writing() as records:
            ada = get_contact(records, "ada")
            assert ada is not None
            put_contact(records, msgspec.structs.replace(ada, changed_to=bytes(32)))
        results = self.send_all(("cleo", "one"), ("ada", "two"), ("ada", "three"), seconds=1)
        self.assertEqual(results, ["accepted", "identity-changed", "identity-changed"])

    def test_all_too_late(self) -> None:
        """All that are not accepted in time hear why, and stay in the outbox."""
        self.place.is_up = False
        results = self.send_all(("ada", "one"), ("ada", "two"), timeout=1)
        self.assertEqual(results, ["not-connected", "not-connected"])
        self.assertEqual(outbox_rows(self.bix.context.store), 2)

    def test_out_of_order(self) -> None:
        """One that is accepted before an earlier one is noticed within a second or so."""

        async def talk() -> None:
            async with self.bot() as bot:
                sending = [Deferred.fromCoroutine(bot.send("ada", text, timeout=None)) for text in ("one", "two")]
                sending[1].addBoth(results.append)
                sending[0].addErrback(lambda failure: None)
                await self.leave

        results: list[object] = []
        self.leave: Deferred[None] = Deferred()
        self.place.is_up = False
        talking = Deferred.fromCoroutine(talk())
        self.place.settle(1)
        store = self.bix.context.store
        with store.writing() as records:
            [_, second] = load_all(records, HistoryRow, HISTORY, direct("ada").bucket)
            save(records, HISTORY, direct("ada").bucket, msgspec.structs.replace(second[1], status=Status.ACCEPTED), second[0])
        self.place.settle(2)
        self.assertEqual([row.text for row in results if isinstance(row, Sent)], ["two"])
        self.leave.callback(None)
        self.place.settle(3)
        self.successResultOf(talking)

    def test_disk_full(self) -> None:
        """If the profile cannot be written, all that is sent at once hears of it, and nothing is sent."""

        def fail() -> None:
            raise StateUnusable("the disk is full")

        assert isinstance(self.bix.context.store, MemoryProfile)
        self.bix.context.store.before_commit = fail
        self.assertEqual(self.send_all(("ada", "one"), ("ada", "two")), ["profile-unreadable"] * 2)

    def test_unknown(self) -> None:
        """Somebody whom the server does not know is an error with a code."""
        problem = self.failureResultOf(self.send("nobody", "hello"), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NO_CONTACT, "no-such-account"))

    def test_too_late(self) -> None:
        """What is not accepted in time stays in the outbox."""
        self.place.is_up = False
        problem = self.failureResultOf(self.send("ada", "hello", timeout=1), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NOT_CONNECTED, "not-connected"))
        self.assertEqual(outbox_rows(self.bix.context.store), 1)

    def test_wrong_wish(self) -> None:
        """There is nothing else to wait for."""
        self.failureResultOf(self.send("ada", "hello", wait="read"), ValueError)
        self.assertEqual(outbox_rows(self.bix.context.store), 0)

    def test_mistakes(self) -> None:
        """A mistake of the program's has a code and says what is wrong; nothing is written."""
        mistakes: list[tuple[tuple[str, str], dict[str, Any], str, str]] = [
            (("bix", "hello"), {}, "own-name", "bix is your own name"),
            (("ada", ""), {}, "no-text", "no text"),
            (("ada", "\udcff"), {}, "not-utf8", "not UTF-8"),
            (("ada", "hello"), {"id": b"short"}, "bad-request", "an id must have 16 bytes"),
            (("ada", "hello"), {"id": "sixteen letters!"}, "bad-request", "an id must have 16 bytes"),
            (("ada", "hello"), {"expires": 60.5}, "bad-request", "60 to 2592000 seconds, not 60.5"),
            (("ada", "hello"), {"expires": 59}, "bad-request", "60 to 2592000 seconds, not 59"),
            (("ada", "hello"), {"expires": 2592001}, "bad-request", "60 to 2592000 seconds"),
            (("Ada!", "hello"), {}, "illegal-name", "Ada!"),
        ]
        for arguments, options, code, text in mistakes:
            problem = self.failureResultOf(self.send(*arguments, **options), SecuremsgError).value
            self.assertEqual((problem.status, problem.code), (Exit.USAGE, code))
            self.assertIn(text, problem.text)
        self.assertEqual(messages.history(self.bix.context.store, "ada"), [])


class OpeningTests(PlaceCase):
    """Opening a folder."""

    def make(self, registered: bool) -> Path:
        """A profile on disk, sealed with a passphrase."""
        folder = self.place.folder / "sealed"
        store = create_store(folder, create_vault(folder, "geheim, größer".encode(), cost=LOWEST_COST))
        profile = create_profile(InviteLink("example", 8443, bytes(32)), "bix", START)
        with store.writing() as records:
            save_profile(records, evolve(profile, registered=registered))
        store.close()
        return folder

    def code(self, folder: Path, passphrase: str | bytes | None) -> str:
        """Why a folder cannot be opened."""
        problem = self.assertRaises(SecuremsgError, open_bot, Reactor(), folder, passphrase)
        assert isinstance(problem, SecuremsgError)
        self.assertEqual(problem.status, Exit.PROFILE)
        return problem.code

    def test_passphrase(self) -> None:
        """A passphrase opens what it has sealed, as text or as bytes; none and another one are errors with codes."""
        folder = self.make(registered=True)
        for passphrase in ("geheim, größer", "geheim, größer".encode()):
            bot = open_bot(Reactor(), folder, passphrase)
            self.assertEqual(bot.name, "bix")
            bot._close()
        self.assertEqual(self.code(folder, None), "passphrase-needed")
        self.assertEqual(self.code(folder, "guess"), "wrong-passphrase")

    def test_not_joined(self) -> None:
        """A profile whose account does not exist yet is an error with a code."""
        self.assertEqual(self.code(self.make(registered=False), "geheim, größer"), "not-joined")

    def test_other_address(self) -> None:
        """The server is where the invite said, unless told otherwise."""
        folder = self.make(registered=True)
        cases: tuple[tuple[dict[str, Any], str], ...] = (({}, "example:8443"), ({"host": "[::1]", "port": 9}, "[::1]:9"))
        for options, where in cases:
            bot = open_bot(Reactor(), folder, "geheim, größer", **options)
            self.assertEqual(bot._connection.where, where)
            bot._close()

    def test_nothing_there(self) -> None:
        """A folder without a profile is an error with a code."""
        problem = self.assertRaises(SecuremsgError, open_bot, Reactor(), self.place.folder)
        assert isinstance(problem, SecuremsgError)
        self.assertEqual((problem.status, problem.code), (Exit.PROFILE, "no-profile"))
