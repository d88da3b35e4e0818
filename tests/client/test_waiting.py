"""What cannot be sent now, and whom nothing is sent to."""

from __future__ import annotations

from securemsg.client import messages, unsent
from securemsg.client.events import Disconnected, Drained
from securemsg.client.sending.sender import ANSWER_TIME, MIN_RATE
from securemsg.client.state import verification
from securemsg.client.state.profile import DAY
from securemsg.client.times import MAX_DELAY
from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from securemsg.server.limits import Settings
from tests.client.case import WorldCase
from tests.client.rig import START, World, decoded


class WaitingTests(WorldCase):
    """What cannot be sent now."""

    def test_mailbox_full(self) -> None:
        """A message to a full mailbox waits, and goes out when there is room; those behind it wait for their turn."""
        world = World(settings=Settings(registration="open", mailbox_messages=2))
        alice, bob = world.user("alice"), world.user("bob")
        alice.send("bob", "zero")
        bob.disconnect()
        world.settle()
        sent = [alice.send("bob", f"{number}") for number in range(4)]
        self.assertEqual(alice.sent(sent[2]).code, "mailbox-full")
        self.assertEqual([alice.sent(message_id).status for message_id in sent], ["accepted"] * 2 + ["queued"] * 2)
        bob.connect()
        world.advance(5, ticks=5)
        self.assertEqual(bob.read(), ["zero", "0", "1", "2", "3"])

    def test_backoff(self) -> None:
        """What is refused for now is tried again after growing times, at most once a minute."""
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        wire.log.clear()
        times: list[float] = []

        def refuse() -> None:
            for deposit in decoded(wire, Side.CLIENT, m.Deposit)[len(times) :]:
                times.append(self.world.clock)
                wire.inject(Side.SERVER, m.DepositRefused(deposit.deposit_id, "retry-later", []))
            self.world.settle()

        self.alice.send("bob", "one")
        for _ in range(400):
            refuse()
            self.world.advance(1)
        pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        self.assertEqual(pauses[:4], [1, 2, 3, 6])
        self.assertEqual(max(pauses), 45)

    def test_same_bytes(self) -> None:
        """A repetition is the same deposit, byte for byte."""
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.CLIENT}
        self.alice.send("bob", "one")
        first = decoded(wire, Side.CLIENT, m.Deposit)[-1]
        self.part(self.alice)
        again = decoded(self.alice.connect(), Side.CLIENT, m.Deposit)
        self.assertEqual(again, [first])
        self.assertEqual(self.bob.read(), ["zero", "one"])

    def test_lost_answer(self) -> None:
        """A deposit whose answer was lost is sent again, and arrives once."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.to_client = lambda message: [] if isinstance(message, m.Accepted) else [message]
        message_id = self.alice.send("bob", "hello")
        self.assertEqual(self.alice.sent(message_id).status, "queued")
        self.alice.connect()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        self.assertEqual(self.bob.read(), ["hello"])

    def test_silent_server(self) -> None:
        """A server that does not answer a deposit is hung up on."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        self.alice.send("bob", "one")
        self.world.advance(40, ticks=40)
        self.assertEqual(self.alice.events[-1], Disconnected("timeout"))

    def test_slow_link(self) -> None:
        """While bytes move, however few, an answer may take as long as it takes; from then on the time counts again."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "a long text")
        for _ in range(10):
            self.world.advance(ANSWER_TIME - 1, ticks=5)
            wire.trickle()
        self.assertTrue(self.alice.is_connected)
        self.world.advance(ANSWER_TIME - 1)
        self.assertTrue(self.alice.is_connected)
        wire.held = set()
        self.world.settle()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        wire.held = {Side.CLIENT}
        self.alice.send("bob", "another")
        self.world.advance(ANSWER_TIME + 9, ticks=ANSWER_TIME + 9)
        self.assertEqual(self.alice.events[-1], Disconnected("timeout"))

    def test_hidden_by_a_buffer(self) -> None:
        """Where something on the way takes everything at once, a long text has the time that it takes on a slow link."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "x" * 40_000)
        self.world.advance(0)
        self.world.advance(ANSWER_TIME + 40_000 // MIN_RATE, ticks=20)
        self.assertTrue(self.alice.is_connected)
        self.world.advance(ANSWER_TIME, ticks=20)
        self.assertEqual(self.alice.events[-1], Disconnected("timeout"))
        self.alice.connect()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_question_behind_it(self) -> None:
        """A question that is sent behind a long text has as much time."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        self.alice.send("bob", "x" * 40_000)
        answers: list[object] = []
        assert self.alice.agent is not None, "connected"
        self.alice.agent.ask(m.Ping(0), answers.append)
        self.world.advance(0)
        self.world.advance(ANSWER_TIME + 40_000 // MIN_RATE, ticks=20)
        wire.held = set()
        self.world.settle()
        self.assertIsInstance(answers[0], m.Pong)

    def test_withdrawn_unsent(self) -> None:
        """A sealed message that is withdrawn becomes a void: nobody misses or reads it, and what follows fits behind it."""
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "not meant")
        self.alice.send("bob", "one")
        self.assertTrue(messages.withdraw(self.alice.store, message_id))
        self.alice.connect()
        self.alice.send("bob", "two")
        self.assertEqual(self.alice.sent(message_id).status, "withdrawn")
        self.assertEqual(self.bob.read(), ["zero", "one", "two"])
        self.assertEqual([(line.gap_before, line.note) for line in self.bob.has_read], [(0, "")] * 3)

    def test_withdrawn_then_wanted(self) -> None:
        """A message that was withdrawn after it was sealed, and is wanted again, arrives once."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "meant")
        messages.withdraw(self.alice.store, message_id)
        self.alice.connect()
        self.alice.send("bob", "meant", message_id=message_id)
        self.assertEqual(self.bob.read(), ["zero", "meant"])
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_refused_for_good(self) -> None:
        """A message that the server will never take has failed, and its counter is filled."""
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        dropped: list[m.Deposit] = []

        def tap(message: m.Message) -> list[m.Message]:
            if isinstance(message, m.Deposit) and not dropped:
                dropped.append(message)
                wire.inject(Side.SERVER, m.DepositRefused(message.deposit_id, "forbidden", []))
                return []
            return [message]

        wire.to_server = tap
        sent = self.alice.sent(self.alice.send("bob", "one"))
        self.assertEqual((sent.status, sent.code), ("failed", "forbidden"))
        self.alice.send("bob", "two")
        self.assertEqual(self.bob.read(), ["zero", "two"])
        self.assertEqual([line.gap_before for line in self.bob.has_read], [0, 0])

    def test_expired(self) -> None:
        """What nobody took for a month is given up."""
        self.part(self.alice)
        message_id = self.alice.send("bob", "hello")
        self.world.clock += 31 * DAY
        self.alice.connect()
        sent = self.alice.sent(message_id)
        self.assertEqual((sent.status, sent.code), ("failed", "expired"))
        self.assertEqual(self.bob.read(), [])

    def test_full_transport(self) -> None:
        """Nothing more is sent while the network takes nothing."""
        wire, agent = self.alice.wire, self.alice.agent
        assert wire is not None and agent is not None, "connected"
        agent.writable(False)
        wire.log.clear()
        self.alice.send("bob", "hello")
        self.assertEqual(wire.log, [])
        agent.writable(True)
        self.world.settle()
        self.assertEqual(self.bob.read(), ["hello"])


class ScheduledTests(WorldCase):
    """What is to be sent at a time."""

    def later(self, text: str, after: int = 100) -> bytes:
        """Write a message that is to be sent later."""
        alice = self.alice.profile().conversation("bob", b"")
        return self.alice.send(alice, text, at=int(self.world.clock) + after)

    def test_sent_then(self) -> None:
        """It goes out at its time, says so as its time, and holds nothing up."""
        self.later("later")
        self.alice.send("bob", "now")
        self.world.advance(99)
        self.assertEqual(self.bob.read(), ["now"])
        self.world.advance(2)
        [received] = messages.unread(self.bob.store)
        self.assertEqual((received.text, received.sent_at), ("later", int(START) + 100))

    def test_while_away(self) -> None:
        """Where nobody is connected at its time, it goes out with the next connection; a new process waits for it, too."""
        self.later("first")
        self.later("second", 200)
        self.alice.die()
        self.world.advance(150)
        self.alice.connect()
        self.assertEqual(self.bob.read(), ["first"])
        self.world.advance(51)
        self.assertEqual(self.bob.read(), ["second"])

    def test_at_once(self) -> None:
        """Whoever asks for it has it sent at once, with the time that it is now."""
        wanted, other = self.later("wanted"), self.later("other")
        self.world.advance(10)
        unsent.retry(self.alice.store, wanted, self.world.clock)
        self.alice.pump()
        [received] = messages.unread(self.bob.store)
        self.assertEqual((received.text, received.sent_at), ("wanted", int(START) + 10))
        self.assertEqual(self.alice.sent(other).status, "queued")

    def test_again(self) -> None:
        """The same id again gives it another time, or none: then it goes out at once. It is sent once."""
        message_id = self.later("one")
        to = self.alice.profile().conversation("bob", b"")
        self.alice.send(to, "one", message_id=message_id, at=int(self.world.clock) + 300)
        self.world.advance(150)
        self.assertEqual(self.bob.read(), [])
        self.alice.send(to, "one", message_id=message_id)
        [received] = messages.unread(self.bob.store)
        self.assertEqual((received.text, received.sent_at), ("one", int(START) + 150))
        self.world.advance(300)
        self.assertEqual(self.bob.read(), ["one"])

    def test_withdrawn_and_wanted(self) -> None:
        """What was withdrawn and is sent after all is of the time when it is sent."""
        message_id = self.later("one")
        messages.withdraw(self.alice.store, message_id)
        self.world.advance(10)
        self.alice.send("bob", "one", message_id=message_id)
        [received] = messages.unread(self.bob.store)
        self.assertEqual(received.sent_at, int(START) + 10)

    def test_withdrawn(self) -> None:
        """It can be withdrawn until then, and leaves no gap."""
        gone = self.later("gone")
        self.assertFalse(messages.withdraw(self.alice.store, gone))
        self.world.advance(101)
        self.alice.send("bob", "now")
        self.assertEqual([(each.text, each.gap_before) for each in messages.unread(self.bob.store)], [("now", 0)])

    def test_horizon(self) -> None:
        """What is written far ahead is not given up for its age."""
        message_id = self.later("later", 40 * DAY)
        self.alice.die()
        self.world.advance(40 * DAY + 10)
        self.alice.connect()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_too_late(self) -> None:
        """More than a year ahead is refused."""
        self.assertRaises(Refusal, self.later, "never", MAX_DELAY + 1)


class IdentityTests(WorldCase):
    """A contact that is somebody else now."""

    def setUp(self) -> None:
        """Alice has written to Bob; then Bob's account was removed, and made again with new keys."""
        super().setUp()
        self.alice.send("bob", "to the first")
        self.world.store.remove_account("bob")
        self.bob.die()
        self.world.restart_server()
        self.other = self.world.user("bob")
        self.alice.connect()

    def test_held(self) -> None:
        """Nothing is sent to the new identity before the user has accepted it."""
        self.message_id = self.alice.send("bob", "for whom?")
        sent = self.alice.sent(self.message_id)
        self.assertEqual((sent.status, sent.code), ("queued", "identity-changed"))
        self.assertEqual(self.other.read(), [])
        self.assertIn("identity-changed", self.alice.codes())

    def test_accepted(self) -> None:
        """Once the user has accepted it, what waited goes out, in a conversation of its own."""
        self.test_held()
        self.alice.send("bob", "and this")
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.world.advance(2, ticks=2)
        self.assertEqual(self.other.read(), ["for whom?", "and this"])
        self.assertEqual([line.gap_before for line in self.other.has_read], [0, 0])
        self.assertEqual(self.alice.sent(self.message_id).status, "accepted")

    def test_incoming(self) -> None:
        """What the new identity writes is kept away, and shown once the user has accepted it."""
        self.other.send("alice", "it is me")
        self.assertEqual(self.alice.read(), [])
        self.assertEqual(messages.quarantined(self.alice.store), (1, 0))
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.world.advance(1)
        self.assertEqual(self.alice.read(), ["it is me"])
        self.assertEqual(messages.quarantined(self.alice.store), (0, 0))
        self.assertEqual([line.verified for line in self.alice.has_read], [False])

    def test_accepted_later(self) -> None:
        """What is kept away waits for the user's word over any number of logins."""
        self.other.send("alice", "it is me")
        self.alice.connect()
        self.alice.connect()
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.world.advance(1)
        self.assertEqual(self.alice.read(), ["it is me"])

    def test_accepted_before_login(self) -> None:
        """What was let in is there once the login has drained, though others wait in quarantine before it."""
        carol = self.world.user("carol")
        self.alice.send("carol", "hello")
        self.world.store.remove_account("carol")
        carol.die()
        self.world.restart_server()
        self.world.user("carol").send("alice", "not accepted")
        self.alice.connect()
        self.other.connect()
        self.other.send("alice", "it is me")
        self.assertEqual([peer.name for peer in messages.held_back(self.alice.store)], ["carol", "bob"])
        self.alice.die()
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.alice.events.clear()
        self.alice.connect(settle=False)
        assert self.alice.agent is not None, "connected"
        while not self.alice.agent.is_ready:
            self.assertTrue(self.world.step())
        # Nothing is tried again so far.
        self.alice.agent.received(m.Drained())
        while Drained() not in self.alice.events:
            self.assertTrue(self.world.step())
        self.assertEqual(self.alice.read(), ["it is me"])

    def told(self) -> int:
        """How many warnings of a changed identity there are."""
        return [notice.code for notice in messages.notices(self.alice.store)].count("identity-changed")

    def test_told_of_each_identity(self) -> None:
        """A second identity within a day is told as well; the same one is not told twice."""
        self.other.send("alice", "it is me")
        self.other.send("alice", "I said")
        self.assertEqual(self.told(), 1)
        self.world.store.remove_account("bob")
        self.other.die()
        self.world.restart_server()
        third = self.world.user("bob")
        self.alice.connect()
        third.send("alice", "no, me")
        self.assertEqual(self.told(), 2)

    def test_settled(self) -> None:
        """What the user has accepted is told no more, and does not keep the next change quiet."""
        self.other.send("alice", "it is me")
        with self.alice.store.writing() as records:
            verification.accept(records, "bob", int(self.world.clock))
        self.assertEqual(self.told(), 0)

    def test_others_go_on(self) -> None:
        """Whoever did not change is written to all the same."""
        carol = self.world.user("carol")
        self.alice.send("bob", "for whom?")
        self.alice.send("carol", "hello")
        self.assertEqual(carol.read(), ["hello"])
