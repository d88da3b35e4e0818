"""Piped streams: what each end keeps, how fast they go, and what the other end may do to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages, renewal
from securemsg.client.state import contacts, outpipes, pipes, preferences, verification
from securemsg.client.state.contacts import Policy
from securemsg.client.state.inpipes import MAX_STREAMS, InPipe, InPipes
from securemsg.client.state.outpipes import OutPipe
from securemsg.client.state.pipes import MAX_KNOWN, TABLE, WINDOW, Chain
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all
from securemsg.errors import Refusal
from securemsg.protocol.envelope import BLOCK, Content, Kind, PipeEnd, PipePart, PipeTaken, decode_record
from tests.client.lobby import MEMORY
from tests.client.rig import Fate, User, World, outbox_rows

T = TypeVar("T")

STREAM = bytes(range(16))
DATA = bytes(range(256)) * (3 * BLOCK // 256) + b"the rest"


def named(number: int) -> bytes:
    """The id of one of several streams."""
    return number.to_bytes(16, "big")


@define(eq=False)
class Ends:
    """Both ends of a stream, each in a process that may die after any commit: what is left is in the stores."""

    world: World
    alice: User
    bob: User
    stream: bytes = STREAM

    @classmethod
    def make(cls) -> Ends:
        """Alice, who sends to Bob; he knows her."""
        world = World()
        ends = cls(world, world.user("alice"), world.user("bob"))
        ends.bob.send("alice", "hello")
        return ends

    @property
    def out(self) -> OutPipe:
        """The stream as Alice has it."""
        with self.alice.store.reading() as records:
            row = outpipes.get(records, self.stream)
        assert row is not None
        return row

    @property
    def into(self) -> InPipe:
        """The stream as Bob has it."""
        return self.ask(lambda streams: streams.get(self.stream)) or InPipe()

    def ask(self, question: Callable[[InPipes], T]) -> T:
        """Look into what Bob has, or change it."""
        profile = self.bob.profile()
        with self.bob.store.writing() as records:
            return question(InPipes(records, profile, "alice", self.now))

    def change(self, call: Callable[..., T], *arguments: Any, who: User | None = None) -> T:
        """Change what Alice has; the call gets the records, her profile, what is given, and the time."""
        user = who or self.alice
        profile = user.profile()
        with user.store.writing() as records:
            return call(records, profile, *arguments, self.now)

    @property
    def now(self) -> int:
        """The time."""
        return int(self.world.now())

    def begin(self) -> None:
        """Begin it."""
        self.change(outpipes.begin, "bob", self.stream)

    def send(self, data: bytes) -> None:
        """Send some."""
        self.change(outpipes.send, self.stream, self.out.offset, data)
        self.alice.pump()

    def end(self, how: PipeEnd = PipeEnd.COMPLETE) -> None:
        """End it."""
        self.change(outpipes.end, self.stream, self.out.offset, how)
        self.alice.pump()

    def say(self, user: User, to: str, *bodies: PipePart | PipeTaken) -> None:
        """Somebody says what no honest client would."""
        for body in bodies:
            self.change(pipes.say, to, body, who=user)
        user.pump()

    def take(self) -> bytes | None:
        """Take what there is."""

        def step(streams: InPipes) -> bytes | None:
            row, data = streams.get(self.stream), streams.data(self.stream)
            if row is not None and data is not None:
                streams.take(self.stream, row.taken, data)
            return data

        data = self.ask(step)
        self.bob.pump()
        return data


class PipeCase(SynchronousTestCase):
    """A test with both ends."""

    def setUp(self) -> None:
        """Make them."""
        self.ends = Ends.make()
        self.ends.begin()


class ChainTests(SynchronousTestCase):
    """The digest of a stream."""

    def test_any_pieces(self) -> None:
        """It does not depend on the pieces in which the stream is read."""
        for size in (1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, len(DATA)):
            chain = Chain()
            for start in range(0, 2 * BLOCK + 7, size):
                chain = chain.add(DATA[start : min(start + size, 2 * BLOCK + 7)])
            self.assertEqual(chain, Chain().add(DATA[: 2 * BLOCK + 7]))
            self.assertEqual(len(chain.rest), 7)

    def test_differs(self) -> None:
        """Each byte counts, and where the stream ends."""
        values = {Chain().add(data).value for data in (b"", b"\0", DATA, DATA[:-1], DATA + b"\0", b"x" + DATA[1:])}
        self.assertEqual(len(values), 6)


class FlowTests(PipeCase):
    """Two honest ends."""

    def test_through(self) -> None:
        """What goes in comes out, in order, and both ends know that it was all."""
        self.ends.send(DATA)
        self.ends.end()
        self.assertEqual(self.ends.take(), DATA)
        self.assertEqual(self.ends.take(), b"")
        self.assertEqual((self.ends.into.end, self.ends.out.outcome), (PipeEnd.COMPLETE, PipeEnd.COMPLETE))
        self.assertEqual(self.ends.out.taken, len(DATA))

    def test_as_it_comes(self) -> None:
        """A few bytes go at once, and parts end where blocks do."""
        for piece in (b"a line\n", b"x" * (BLOCK - 10), b"another\n"):
            self.ends.send(piece)
        ends = [part.offset + part.size for part in self.ends.into.parts]
        self.assertEqual(ends, [7, BLOCK - 3, BLOCK, BLOCK + 5])

    def test_window(self) -> None:
        """While nobody takes anything, no more than the window is sent; what is taken makes room."""
        self.assertEqual(self.ends.out.room, WINDOW * BLOCK)
        self.ends.send(b"x" * (WINDOW * BLOCK))
        self.assertEqual(self.ends.out.room, 0)
        self.ends.take()
        self.assertEqual(self.ends.out.room, WINDOW * BLOCK)

    def test_small_window(self) -> None:
        """Small parts count as much as large ones."""
        for _ in range(WINDOW):
            self.ends.send(b"x")
        self.assertEqual(self.ends.out.room, 0)
        self.ends.end()
        self.assertEqual(self.ends.take(), b"x" * WINDOW)
        self.ends.take()
        self.assertEqual(self.ends.out.outcome, PipeEnd.COMPLETE)

    def test_nothing_stays(self) -> None:
        """What was taken is kept nowhere, at either end: neither the parts nor a history of them."""
        self.ends.send(DATA)
        self.ends.end()
        self.ends.take()
        self.ends.take()
        for user in (self.ends.alice, self.ends.bob):
            self.assertEqual(outbox_rows(user.store), 0)
            with user.store.reading() as records:
                sizes = [len(value) for _, _, value in records.scan(TABLE)]
            self.assertLess(sum(sizes), 200)
        self.assertEqual(self.ends.alice.lines("bob")[1:], [])
        self.assertEqual(self.ends.bob.read(), [])

    def test_cut(self) -> None:
        """The sender gives it up: what was sent comes out, and then that it was cut."""
        self.ends.send(b"half")
        self.ends.end(PipeEnd.CUT)
        self.assertEqual((self.ends.take(), self.ends.take()), (b"half", b""))
        self.assertEqual((self.ends.into.end, self.ends.out.outcome), (PipeEnd.CUT, PipeEnd.CUT))

    def test_unwanted(self) -> None:
        """The recipient gives it up: the sender hears of that, and what still comes is not kept."""
        self.ends.send(b"half")
        self.ends.ask(lambda streams: streams.cut(STREAM))
        self.ends.bob.pump()
        self.assertEqual(self.ends.out.outcome, PipeEnd.CUT)
        self.ends.send(b"more")
        self.assertEqual(self.ends.into.parts, ())

    def test_empty(self) -> None:
        """A stream without a byte is complete, too."""
        self.ends.end()
        self.assertEqual(self.ends.take(), b"")
        self.assertEqual(self.ends.out.outcome, PipeEnd.COMPLETE)

    def test_told_once(self) -> None:
        """The user hears of a stream that has begun; and of the next one, once something of this was taken."""
        self.ends.send(b"some")
        self.ends.send(b"more")
        self.assertEqual(self.ends.bob.codes(), ["stream-begun"])
        self.ends.take()
        self.ends.stream = named(7)
        self.ends.begin()
        self.ends.send(b"other")
        self.assertEqual(self.ends.bob.codes(), ["stream-begun"] * 2)

    def test_oldest_first(self) -> None:
        """The oldest stream is taken of which there is something; one that is waited for holds up no other."""
        self.assertEqual(self.ends.ask(InPipes.waiting), [])
        self.ends.send(b"one")
        self.ends.stream = named(7)
        self.ends.begin()
        self.ends.send(b"two")
        self.assertEqual(self.ends.ask(InPipes.waiting), [STREAM, named(7)])
        self.ends.stream = STREAM
        self.ends.take()
        self.assertEqual(self.ends.ask(InPipes.waiting), [named(7)])

    def test_one_process(self) -> None:
        """Of two processes that go on with one stream, at either end, the second stops."""
        self.ends.send(b"some")
        refused = self.assertRaises(Refusal, self.ends.change, outpipes.send, STREAM, 0, b"other")
        self.assertEqual(refused.code, "second-pipe")
        self.ends.take()
        refused = self.assertRaises(Refusal, self.ends.ask, lambda streams: streams.take(STREAM, 0, b"some"))
        self.assertEqual(refused.code, "second-pipe")

    def test_other_output(self) -> None:
        """A stream of which something was taken goes on where it went."""
        self.ends.send(b"some")
        self.ends.ask(lambda streams: streams.claim(STREAM, "/one"))
        self.ends.ask(lambda streams: streams.claim(STREAM, "/two"))
        self.ends.take()
        self.ends.ask(lambda streams: streams.claim(STREAM, "/two"))
        for other in ("", "/one"):
            refused = self.assertRaises(Refusal, self.ends.ask, lambda streams, other=other: streams.claim(STREAM, other))
            self.assertEqual(refused.code, "other-output")

    def test_other_recipient(self) -> None:
        """An id that was used for a stream to somebody else is refused."""
        refused = self.assertRaises(Refusal, self.ends.change, outpipes.begin, "carol", STREAM)
        self.assertEqual(refused.code, "conflict")

    def test_blocked(self) -> None:
        """Nothing is streamed to whom the user has blocked."""
        with self.ends.alice.store.writing() as records:
            preferences.block(records, "bob", is_blocked=True)
        refused = self.assertRaises(Refusal, self.ends.change, outpipes.begin, "bob", named(7))
        self.assertEqual(refused.code, "contact-blocked")

    def test_no_such_account(self) -> None:
        """What cannot be sent for good ends its stream, and says why."""
        self.ends.stream = named(7)
        self.ends.change(outpipes.begin, "nobody", named(7))
        self.ends.send(b"some")
        self.assertEqual((self.ends.out.outcome, self.ends.out.code), (PipeEnd.CUT, "no-such-account"))

    def test_known(self) -> None:
        """Of many streams that have ended only the newest are known; one that goes on is never given up for others."""
        for number in range(MAX_KNOWN):
            self.ends.stream = named(number)
            self.ends.begin()
            self.ends.end()
            self.ends.take()
        with self.ends.alice.store.reading() as records:
            self.assertIsNone(outpipes.get(records, named(0)))
            self.assertIsNotNone(outpipes.get(records, STREAM))
            self.assertEqual(records.count(TABLE, b"out/"), MAX_KNOWN)
        for number in range(MAX_KNOWN - 1):
            self.ends.stream = named(100 + number)
            self.ends.begin()
        self.ends.stream = named(200)
        self.assertEqual(self.assertRaises(Refusal, self.ends.begin).code, "too-many-pipes")


class MaliciousSenderTests(PipeCase):
    """Alice says what she likes."""

    def part(self, offset: int, data: bytes, end: PipeEnd = PipeEnd.NONE, digest: bytes = b"") -> None:
        """She says a part."""
        self.ends.say(self.ends.alice, "bob", PipePart(self.ends.stream, offset, data, end, digest))

    def check_refused(self) -> None:
        """The stream has ended, nothing of it is kept, and nobody else notices."""
        self.assertEqual((self.ends.into.end, self.ends.into.parts), (PipeEnd.REFUSED, ()))
        with self.ends.bob.store.reading() as records:
            self.assertEqual(records.count(TABLE, b"parts/alice/" + self.ends.stream), 0)
        self.assertEqual(messages.quarantined(self.ends.bob.store), (0, 0))
        self.ends.alice.send("bob", "still here")
        self.assertEqual(self.ends.bob.read(), ["still here"])

    def test_unsound(self) -> None:
        """Parts whose fields do not go together."""
        unsound: list[tuple[int, bytes, PipeEnd, bytes]] = [
            (5, b"", PipeEnd.NONE, b""),
            (5, b"x" * BLOCK, PipeEnd.NONE, b""),
            (5, b"x", PipeEnd.NONE, b"d" * 32),
            (5, b"x", PipeEnd.CUT, b""),
            (5, b"", PipeEnd.COMPLETE, b""),
            (5, b"", PipeEnd.CUT, b"d" * 32),
        ]
        for number, (offset, data, end, digest) in enumerate(unsound):
            self.ends.stream = named(number)
            self.part(0, b"begun")
            self.part(offset, data, end, digest)
            self.check_refused()

    def test_overlap(self) -> None:
        """Bytes that were there already, or behind the end."""
        for number, (offset, data) in enumerate([(0, b"begin"[:4]), (4, b"x"), (2, b"x"), (9, b"xx"), (10, b"x")]):
            self.ends.stream = named(number)
            self.part(0, b"begun")
            self.part(10, b"", PipeEnd.CUT)
            self.part(offset, data)
            self.check_refused()

    def test_taken_again(self) -> None:
        """Bytes of which some were taken: the stream has ended, and its sender hears of that."""
        self.ends.send(b"begun")
        self.ends.take()
        self.part(4, b"xx")
        self.check_refused()
        self.assertEqual(self.ends.out.outcome, PipeEnd.REFUSED)

    def test_beyond_window(self) -> None:
        """Bytes that no honest sender sends before others were taken."""
        self.part(0, b"begun")
        self.part((WINDOW + 1) * BLOCK, b"x")
        self.check_refused()

    def test_many_parts(self) -> None:
        """More parts than the window has."""
        self.ends.say(self.ends.alice, "bob", *(PipePart(STREAM, number, b"x") for number in range(WINDOW + 2)))
        self.check_refused()

    def test_unknown(self) -> None:
        """A part far into a stream that is not known begins none."""
        self.part(WINDOW * BLOCK, b"x")
        self.assertEqual(self.ends.into, InPipe())

    def test_out_of_order(self) -> None:
        """Parts of one window may come in any order: the server may have refused one of them for a while."""
        self.part(5, b" world")
        self.assertIsNone(self.ends.take())
        self.part(0, b"hello")
        self.assertEqual(self.ends.take(), b"hello world")

    def test_other_digest(self) -> None:
        """A stream that does not fit its digest was cut, however it ends."""
        self.part(0, b"begun")
        self.part(5, b"", PipeEnd.COMPLETE, b"d" * 32)
        self.ends.take()
        self.ends.take()
        self.assertEqual(self.ends.into.end, PipeEnd.CUT)

    def test_many_streams(self) -> None:
        """Of more open streams than may be, the oldest that nobody takes is refused, and its sender told."""
        self.ends.send(b"begun")
        for number in range(MAX_STREAMS):
            self.ends.stream = named(number)
            self.part(0, b"x")
        self.ends.stream = STREAM
        self.check_refused()
        self.assertEqual(self.ends.out.outcome, PipeEnd.REFUSED)
        self.ends.stream = named(0)
        self.assertEqual(self.ends.into.end, PipeEnd.NONE)

    def test_all_taken(self) -> None:
        """Where something of all open streams was taken, the new one is refused."""
        for number in range(MAX_STREAMS):
            self.ends.stream = named(number)
            self.part(0, b"x")
            self.ends.take()
        self.ends.stream = STREAM
        self.ends.send(b"begun")
        self.check_refused()
        self.assertEqual(self.ends.out.outcome, PipeEnd.REFUSED)

    def test_strangers(self) -> None:
        """A stranger is told nothing, not even that there are too many."""
        with self.ends.bob.store.writing() as records:
            contact = contacts.get_contact(records, "alice")
            assert contact is not None
            contacts.put_contact(records, msgspec.structs.replace(contact, known=False))
        self.ends.send(b"begun")
        for number in range(MAX_STREAMS):
            self.ends.stream = named(number)
            self.part(0, b"x")
        self.ends.stream = STREAM
        self.assertEqual((self.ends.into.end, self.ends.out.outcome), (PipeEnd.REFUSED, PipeEnd.NONE))

    def test_endless(self) -> None:
        """However many streams are begun, what is kept of them is bounded."""
        for number in range(3 * MAX_KNOWN):
            self.ends.say(self.ends.alice, "bob", PipePart(named(number), 0, b"x" * 1000))
        with self.ends.bob.store.reading() as records:
            self.assertLessEqual(records.count(TABLE, b"in/alice/"), MAX_KNOWN)
            self.assertLess(sum(len(value) for _, _, value in records.scan(TABLE)), MAX_KNOWN * 100 + MAX_STREAMS * 1000)

    def test_server(self) -> None:
        """The contact `server` takes no streams."""
        hosted = self.ends.world.user("server", connect=False)
        hosted.binding = MEMORY
        hosted.connect()
        self.ends.say(self.ends.alice, "server", PipePart(STREAM, 0, b"x"))
        with hosted.store.reading() as records:
            self.assertEqual(records.scan(TABLE), [])


class MaliciousRecipientTests(PipeCase):
    """Bob says what he likes."""

    def say(self, offset: int, end: PipeEnd = PipeEnd.NONE) -> OutPipe:
        """He says how far he has taken it."""
        self.ends.say(self.ends.bob, "alice", PipeTaken(self.ends.stream, offset, end))
        return self.ends.out

    def test_impossible(self) -> None:
        """More than was sent, less than before, or all before there is an end: ignored."""
        self.ends.send(b"begun")
        self.assertEqual(self.say(6).taken, 0)
        self.assertEqual(self.say(5, PipeEnd.COMPLETE).outcome, PipeEnd.NONE)
        self.assertEqual(self.say(5).taken, 5)
        self.assertEqual(self.say(4, PipeEnd.CUT).outcome, PipeEnd.NONE)
        self.ends.end()
        self.assertEqual(self.say(5, PipeEnd.COMPLETE).outcome, PipeEnd.COMPLETE)
        self.assertEqual(self.say(5, PipeEnd.CUT).outcome, PipeEnd.COMPLETE)

    def test_not_all(self) -> None:
        """It is not complete before all of it was taken."""
        self.ends.send(b"begun")
        self.ends.end()
        self.assertEqual(self.say(4, PipeEnd.COMPLETE).outcome, PipeEnd.NONE)

    def test_somebody_else(self) -> None:
        """Nobody but the recipient says so."""
        self.ends.send(b"begun")
        carol = self.ends.world.user("carol")
        self.ends.say(carol, "alice", PipeTaken(STREAM, 5, PipeEnd.CUT))
        self.assertEqual((self.ends.out.taken, self.ends.out.outcome), (0, PipeEnd.NONE))

    def test_other_device(self) -> None:
        """One device of the recipient takes it: what another says of it does not count."""
        self.ends.send(b"begun")
        self.ends.take()
        with self.ends.alice.store.writing() as records:
            bob = contacts.get_contact(records, "bob")
            assert bob is not None
            outpipes.note_taken(records, bob, b"another device..", PipeTaken(STREAM, 5, PipeEnd.REFUSED))
        self.assertEqual(self.ends.out.outcome, PipeEnd.NONE)

    def test_new_keys(self) -> None:
        """A recipient that has renewed its keys, and so is another device, goes on."""
        with self.ends.alice.store.writing() as records:
            verification.set_policy(records, "bob", Policy.SIGNED, self.ends.now)
        self.ends.send(DATA[:1000])
        self.ends.take()
        self.ends.bob.die()
        self.ends.world.settle()
        profile = self.ends.bob.profile()
        with self.ends.bob.store.writing() as records:
            renewal.begin(records, profile, None, self.ends.now)
        self.ends.bob.connect()
        self.ends.send(DATA[1000:2000])
        self.ends.world.advance(3, 3)
        self.assertEqual(self.ends.take(), DATA[1000:2000])
        self.assertEqual(self.ends.out.taken, 2000)


def take_some(offset: int, data: bytes, streams: InPipes) -> None:
    """Commit that something was written."""
    streams.take(STREAM, offset, data)


class KillTests(SynchronousTestCase):
    """Either end dies before and after every commit, and goes on with what is there."""

    def through(self, who: str, deadline: int) -> int:
        """Send a stream while somebody dies once; the number of moments there were."""
        ends = Ends.make()
        user = ends.world.users[who]
        user.store.fate = Fate(deadline=deadline)
        taken: list[tuple[int, bytes]] = []

        def send() -> None:
            ends.begin()
            while (row := ends.out).offset < len(DATA):
                ends.send(DATA[row.offset : row.offset + 40_000])
            if not row.end:
                ends.end()

        def take() -> None:
            while not ends.into.end:
                offset, data = ends.into.taken, ends.ask(lambda streams: streams.data(STREAM))
                assert data is not None
                taken.append((offset, data))
                ends.ask(partial(take_some, offset, data))
            ends.bob.pump()

        for work in (send, take):
            ends.world.survive(work)
        ends.world.advance(120, 3)
        user.store.fate.deadline = 0
        output = bytearray()
        for offset, data in taken:
            # As a file is cut back.
            output[offset:] = data
        self.assertEqual(bytes(output), DATA)
        self.assertEqual((ends.into.end, ends.out.outcome), (PipeEnd.COMPLETE, PipeEnd.COMPLETE))
        return user.store.fate.moments

    def test_sender(self) -> None:
        """The sender."""
        for deadline in range(1, self.through("alice", 0) + 1):
            self.through("alice", deadline)

    def test_recipient(self) -> None:
        """The recipient."""
        for deadline in range(1, self.through("bob", 0) + 1):
            self.through("bob", deadline)


class OutboxTests(PipeCase):
    """What goes out."""

    def test_together(self) -> None:
        """A part and the place behind it are committed together, in one transaction."""
        self.ends.alice.disconnect()
        before = self.ends.alice.store.fate.moments
        self.ends.send(b"some")
        # Before its commit, and behind it.
        self.assertEqual(self.ends.alice.store.fate.moments - before, 2)
        with self.ends.alice.store.reading() as records:
            [(_, row)] = load_all(records, OutboxRow, OUTBOX, ROWS)
        self.assertEqual(row.kind, Kind.PART)
        self.assertEqual(decode_record(PipePart, decode_record(Content, row.content).body).data, b"some")

    def test_not_lost(self) -> None:
        """What is still in the outbox is not put there again, however often a sender goes on while the server is away."""
        self.ends.alice.disconnect()
        data = DATA[: 2 * BLOCK]
        self.ends.send(data)
        self.ends.end()
        for _ in range(3):
            self.ends.change(outpipes.repeat, STREAM, 0, data)
        with self.ends.alice.store.reading() as records:
            self.assertEqual(records.count(OUTBOX, ROWS), 3)

    def test_overtaken(self) -> None:
        """Whoever goes on with a stream that another process has gone on with meanwhile changes nothing."""
        self.ends.send(b"some")
        refused = self.assertRaises(Refusal, self.ends.change, outpipes.repeat, STREAM, 0, b"so")
        self.assertEqual(refused.code, "second-pipe")
