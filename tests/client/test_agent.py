"""
Whole conversations: agents, and the real server between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.client import journal, trust
from securemsg.client.agent import Agent
from securemsg.client.events import Changed, Disconnected, Drained, Ready
from securemsg.client.profile import DAY, create_profile, save_profile
from securemsg.client.records import OUTBOX, ROWS, OutboxRow, next_places, save
from securemsg.client.recovery import draft_receipt
from securemsg.client.requests import TIMEOUT
from securemsg.crypto.keys import SigningKey
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IPeer
from securemsg.protocol.envelope import Kind, Receipt, encode_record
from securemsg.protocol.states import Phase, Side
from securemsg.server.limits import Settings
from tests.client.rig import MortalProfile, User, World, decoded


class WorldCase(SynchronousTestCase):
    """
    A world with Alice and Bob in it.
    """

    def setUp(self) -> None:
        """
        Alice and Bob have joined, and are connected.
        """
        self.world = World()
        self.alice, self.bob = self.world.user("alice"), self.world.user("bob")

    def part(self, user: User) -> None:
        """
        Take somebody off the network.
        """
        user.disconnect()
        self.world.settle()


class ConversationTests(WorldCase):
    """
    What one writes the other reads.
    """

    def test_interface(self) -> None:
        """
        An agent is what a channel talks to.
        """
        self.assertTrue(verifyObject(IPeer, self.alice.agent))

    def test_first_message(self) -> None:
        """
        The first message arrives, and is accepted.
        """
        message_id = self.alice.send("bob", "hello")
        self.assertEqual(self.bob.read(), ["hello"])
        sent = self.alice.sent(message_id)
        self.assertEqual((sent.status, sent.accepted_at), ("accepted", self.world.clock))

    def test_back_and_forth(self) -> None:
        """
        A conversation goes on as long as the two like.
        """
        for number in range(20):
            self.alice.send("bob", f"a{number}")
            self.bob.send("alice", f"b{number}")
        self.assertEqual(self.bob.read(), [f"a{number}" for number in range(20)])
        self.assertEqual(self.alice.read(), [f"b{number}" for number in range(20)])
        self.assertEqual({line.note for line in self.bob.given + self.alice.given}, {""})

    def test_recipient_away(self) -> None:
        """
        What is sent to somebody who is away waits on the server, and comes in order.
        """
        self.part(self.bob)
        for number in range(100):
            self.alice.send("bob", f"{number}")
        self.bob.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(100)])

    def test_sender_away(self) -> None:
        """
        What is written without a connection goes out with the next one, in order.
        """
        self.part(self.alice)
        for number in range(50):
            self.alice.send("bob", f"{number}")
        self.assertEqual(journal.pending(self.alice.store), 50)
        self.alice.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(50)])
        self.assertEqual(journal.pending(self.alice.store), 0)

    def test_both_begin(self) -> None:
        """
        Two who write their first messages at the same moment read each other.
        """
        for user, peer in ((self.alice, "bob"), (self.bob, "alice")):
            journal.compose(user.store, peer, f"from {user.name}", now=self.world.clock)
        for user in (self.alice, self.bob):
            assert user.agent is not None, "connected"
            user.agent.pump()
        self.world.settle()
        self.assertEqual((self.alice.read(), self.bob.read()), (["from bob"], ["from alice"]))
        self.alice.send("bob", "again")
        self.bob.send("alice", "again")
        self.assertEqual((self.alice.read(), self.bob.read()), (["again"], ["again"]))

    def test_nobody(self) -> None:
        """
        A message to an account that does not exist has failed.
        """
        sent = self.alice.sent(self.alice.send("nobody", "hello"))
        self.assertEqual((sent.status, sent.code), ("failed", "no-such-account"))
        self.assertEqual(journal.pending(self.alice.store), 0)

    def test_independent(self) -> None:
        """
        A conversation that is held up holds up no other.
        """
        self.part(self.bob)
        wire = self.alice.connect()
        wire.to_server = lambda message: [] if isinstance(message, m.Fetch) and message.account == "bob" else [message]
        carol = self.world.user("carol")
        self.alice.send("bob", "waits")
        self.alice.send("carol", "hello")
        self.assertEqual(carol.read(), ["hello"])

    def test_large(self) -> None:
        """
        The largest text arrives whole.
        """
        text = "x" * m.MAX_TEXT
        self.alice.send("bob", text)
        self.assertEqual(self.bob.read(), [text])

    def test_window(self) -> None:
        """
        No more than sixteen deposits are on their way unanswered.
        """
        self.alice.send("bob", "first")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.SERVER}
        wire.log.clear()
        for number in range(40):
            self.alice.send("bob", f"{number}")
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 16)
        wire.held = set()
        self.world.settle()
        self.assertEqual(len(self.bob.read()), 41)

    def test_committed_before_acknowledged(self) -> None:
        """
        What is acknowledged is committed: nothing is acknowledged that a dying client did not keep.
        """
        self.alice.send("bob", "first")
        wire = self.bob.wire
        assert wire is not None, "connected"
        acknowledged = len(decoded(wire, Side.CLIENT, m.Acknowledge))
        wire.held = {Side.SERVER}
        self.alice.send("bob", "second")
        wire.held = set()
        while not decoded(wire, Side.CLIENT, m.Acknowledge)[acknowledged:]:
            self.assertTrue(self.world.step())
        self.bob.die()
        self.assertEqual(self.bob.texts("alice"), ["first", "second"])

    def test_drained(self) -> None:
        """
        The agent says that all is there once it is committed, not before.
        """
        self.part(self.bob)
        for number in range(70):
            self.alice.send("bob", f"{number}")
        self.bob.events.clear()
        self.bob.connect(settle=False)
        while Drained() not in self.bob.events:
            self.assertTrue(self.world.step())
        self.assertEqual(len(self.bob.texts("alice")), 70)
        assert self.bob.agent is not None, "connected"
        self.assertTrue(self.bob.agent.is_drained)

    def test_changed(self) -> None:
        """
        Whoever composed the agent hears that there is something to look at.
        """
        self.bob.events.clear()
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events, [Changed()])

    def test_list_renewed(self) -> None:
        """
        A device list is signed anew weekly, and contacts go on with it.
        """
        self.alice.send("bob", "before")
        self.world.advance(8 * DAY)
        self.bob.connect()
        self.alice.connect()
        self.assertEqual(self.alice.profile().listing.version, 2)
        self.alice.send("bob", "after")
        self.assertEqual(self.bob.read(), ["before", "after"])
        with self.bob.store.reading() as records:
            contact = trust.get_contact(records, "alice")
        assert contact is not None, "they have met"
        self.assertEqual(contact.version, 2)
        self.assertEqual(journal.notices(self.bob.store), [])

    def test_prekeys_refilled(self) -> None:
        """
        When many have begun sessions new prekeys are uploaded without a new login.
        """
        wire = self.bob.wire
        assert wire is not None, "connected"
        for number in range(35):
            self.world.user(f"user{number}").send("bob", "hello")
        self.assertEqual(len(self.bob.read()), 35)
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Upload)), 2)


class ReceiptTests(WorldCase):
    """
    Who asks for it hears that a message arrived.
    """

    def test_delivered(self) -> None:
        """
        A receipt says on which device the message is.
        """
        sent = self.alice.sent(self.alice.send("bob", "hello", wants_receipt=True))
        self.assertEqual((sent.status, sent.devices), ("delivered", (self.bob.profile().device_id,)))
        self.assertEqual(sent.delivered_at, self.world.clock)

    def test_not_asked(self) -> None:
        """
        Who does not ask is not told.
        """
        wire = self.bob.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "hello")
        self.assertEqual(decoded(wire, Side.CLIENT, m.Deposit), [])

    def test_together(self) -> None:
        """
        What came together is confirmed in one message.
        """
        self.alice.send("bob", "first")
        self.part(self.bob)
        sent = [self.alice.send("bob", f"{number}", wants_receipt=True) for number in range(100)]
        wire = self.bob.connect()
        self.assertEqual({self.alice.sent(message_id).status for message_id in sent}, {"delivered"})
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 1)

    def test_never_for_receipts(self) -> None:
        """
        Nobody answers a receipt.
        """
        self.alice.send("bob", "hello", wants_receipt=True)
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), 1)

    def test_not_shown(self) -> None:
        """
        A receipt is nothing to read, and leaves no gap between messages.
        """
        self.bob.send("alice", "one")
        self.alice.send("bob", "hello", wants_receipt=True)
        self.bob.send("alice", "two")
        self.assertEqual(self.alice.read(), ["one", "two"])
        self.assertEqual([message.gap_before for message in self.alice.given], [0, 0])

    def test_recipient_away(self) -> None:
        """
        As long as nobody fetched the message it is accepted, not delivered.
        """
        self.part(self.bob)
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        self.bob.connect()
        self.assertEqual(self.alice.sent(message_id).status, "delivered")

    def test_only_by_recipient(self) -> None:
        """
        Nobody confirms what was sent to somebody else.
        """
        carol = self.world.user("carol")
        self.part(self.bob)
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        now = int(self.world.clock)
        body = encode_record(Receipt([message_id]))
        draft = OutboxRow("alice", int(Kind.RECEIPT), 0, now, DAY, encode_record(draft_receipt(carol.profile(), body, now)))
        with carol.store.writing() as records:
            save(records, OUTBOX, ROWS, draft, next_places(records))
        carol.pump()
        self.assertEqual(journal.pending(carol.store), 0)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")


class WaitingTests(WorldCase):
    """
    What cannot be sent now.
    """

    def test_mailbox_full(self) -> None:
        """
        A message to a full mailbox waits, and goes out when there is room; those behind it wait for their turn.
        """
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
        """
        What is refused for now is tried again after growing times, at most once a minute.
        """
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
        """
        A repetition is the same deposit, byte for byte.
        """
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
        """
        A deposit whose answer was lost is sent again, and arrives once.
        """
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.to_client = lambda message: [] if isinstance(message, m.Accepted) else [message]
        message_id = self.alice.send("bob", "hello")
        self.assertEqual(self.alice.sent(message_id).status, "queued")
        self.alice.connect()
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        self.assertEqual(self.bob.read(), ["hello"])

    def test_silent_server(self) -> None:
        """
        A server that does not answer a deposit is hung up on.
        """
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        self.alice.send("bob", "one")
        self.world.advance(40, ticks=4)
        self.assertEqual(self.alice.events[-1], Disconnected("timeout"))

    def test_withdrawn_unsent(self) -> None:
        """
        A sealed message that is withdrawn becomes a void: nobody misses it, and nobody reads it.
        """
        self.alice.send("bob", "zero")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "not meant")
        self.assertTrue(journal.withdraw(self.alice.store, message_id, self.world.clock))
        self.alice.connect()
        self.alice.send("bob", "two")
        self.assertEqual(self.alice.sent(message_id).status, "withdrawn")
        self.assertEqual(self.bob.read(), ["zero", "two"])
        self.assertEqual([(line.gap_before, line.note) for line in self.bob.given], [(0, ""), (0, "")])

    def test_withdrawn_then_wanted(self) -> None:
        """
        A message that was withdrawn after it was sealed, and is wanted again, arrives once.
        """
        wire = self.alice.wire
        assert wire is not None, "connected"
        self.alice.send("bob", "zero")
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "meant")
        journal.withdraw(self.alice.store, message_id, self.world.clock)
        self.alice.connect()
        self.alice.send("bob", "meant", message_id=message_id)
        self.assertEqual(self.bob.read(), ["zero", "meant"])
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_refused_for_good(self) -> None:
        """
        A message that the server will never take has failed, and its counter is filled.
        """
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
        self.assertEqual([line.gap_before for line in self.bob.given], [0, 0])

    def test_expired(self) -> None:
        """
        What nobody took for a month is given up.
        """
        self.part(self.alice)
        message_id = self.alice.send("bob", "hello")
        self.world.clock += 31 * DAY
        self.alice.connect()
        sent = self.alice.sent(message_id)
        self.assertEqual((sent.status, sent.code), ("failed", "expired"))
        self.assertEqual(self.bob.read(), [])

    def test_full_transport(self) -> None:
        """
        Nothing more is sent while the network takes nothing.
        """
        wire, agent = self.alice.wire, self.alice.agent
        assert wire is not None and agent is not None, "connected"
        agent.writable(False)
        wire.log.clear()
        self.alice.send("bob", "hello")
        self.assertEqual(wire.log, [])
        agent.writable(True)
        self.world.settle()
        self.assertEqual(self.bob.read(), ["hello"])


class IdentityTests(WorldCase):
    """
    A contact that is somebody else now.
    """

    def setUp(self) -> None:
        """
        Alice has written to Bob; then Bob's account was removed, and made again with new keys.
        """
        super().setUp()
        self.alice.send("bob", "to the first")
        self.world.store.remove_account("bob")
        self.bob.die()
        self.world.restart_server()
        self.other = self.world.user("bob")
        self.alice.connect()

    def test_held(self) -> None:
        """
        Nothing is sent to the new identity before the user has accepted it.
        """
        self.message_id = self.alice.send("bob", "for whom?")
        sent = self.alice.sent(self.message_id)
        self.assertEqual((sent.status, sent.code), ("queued", "identity-changed"))
        self.assertEqual(self.other.read(), [])
        self.assertIn("identity-changed", self.alice.codes())

    def test_accepted(self) -> None:
        """
        Once the user has accepted it, what waited goes out, in a conversation of its own.
        """
        self.test_held()
        self.alice.send("bob", "and this")
        with self.alice.store.writing() as records:
            trust.accept(records, "bob", int(self.world.clock))
        self.world.advance(2, ticks=2)
        self.assertEqual(self.other.read(), ["for whom?", "and this"])
        self.assertEqual([line.gap_before for line in self.other.given], [0, 0])
        self.assertEqual(self.alice.sent(self.message_id).status, "accepted")

    def test_incoming(self) -> None:
        """
        What the new identity writes is kept away, and shown once the user has accepted it.
        """
        self.other.send("alice", "it is me")
        self.assertEqual(self.alice.read(), [])
        self.assertEqual(journal.quarantined(self.alice.store), (1, 0))
        with self.alice.store.writing() as records:
            trust.accept(records, "bob", int(self.world.clock))
        self.world.advance(1)
        self.assertEqual(self.alice.read(), ["it is me"])
        self.assertEqual(journal.quarantined(self.alice.store), (0, 0))
        self.assertEqual([line.verified for line in self.alice.given], [True])

    def test_others_go_on(self) -> None:
        """
        Whoever did not change is written to all the same.
        """
        carol = self.world.user("carol")
        self.alice.send("bob", "for whom?")
        self.alice.send("carol", "hello")
        self.assertEqual(carol.read(), ["hello"])


class SharedStoreTests(WorldCase):
    """
    Several processes with one profile.
    """

    def test_draft_of_another_process(self) -> None:
        """
        What another process wrote is found when the bell rings, or a second later.
        """
        other = MortalProfile(self.alice.store.inner)
        message_id = journal.compose(other, "bob", "from the script", now=self.world.clock)
        self.assertEqual(self.bob.read(), [])
        self.world.advance(1)
        self.assertEqual(self.bob.read(), ["from the script"])
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_withdrawn_by_another_process(self) -> None:
        """
        A draft that another process withdrew before it was sealed is never sent.
        """
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "not meant")
        self.assertFalse(journal.withdraw(MortalProfile(self.alice.store.inner), message_id, self.world.clock))
        wire.held = set()
        self.world.settle()
        self.assertEqual(self.bob.read(), [])
        self.assertEqual(journal.pending(self.alice.store), 0)

    def test_holder_dies(self) -> None:
        """
        When the process with the connection dies another one takes over with what is in the store.
        """
        self.alice.send("bob", "one")
        self.alice.die()
        journal.compose(self.alice.store, "bob", "two", now=self.world.clock)
        self.alice.connect()
        self.alice.send("bob", "three")
        self.assertEqual(self.bob.read(), ["one", "two", "three"])

    def test_read_by_another_process(self) -> None:
        """
        What one process received another gives to its reader, once.
        """
        self.alice.send("bob", "hello")
        other = MortalProfile(self.bob.store.inner)
        fresh = journal.ungiven(other)
        journal.mark_given(other, [message.order for message in fresh])
        self.assertEqual([message.text for message in fresh], ["hello"])
        self.assertEqual(self.bob.read(), [])


class QuestionTests(WorldCase):
    """
    What the user asks of the server.
    """

    def setUp(self) -> None:
        """
        Nothing was answered yet.
        """
        super().setUp()
        self.answers: list[object] = []

    def agent(self) -> Agent:
        """
        Alice's agent.
        """
        assert self.alice.agent is not None, "connected"
        return self.alice.agent

    def test_ping(self) -> None:
        """
        A ping is answered with the server's clock.
        """
        self.agent().ask(m.Ping(0), self.answers.append)
        self.world.settle()
        answer = self.answers[0]
        assert isinstance(answer, m.Pong), "an answer"
        self.assertEqual(answer.now, self.world.clock)

    def test_invite(self) -> None:
        """
        A user may invite.
        """
        self.agent().ask(m.Invite(0, 1, DAY), self.answers.append)
        self.world.settle()
        self.assertIsInstance(self.answers[0], m.Invited)

    def test_refused(self) -> None:
        """
        A refusal comes as such, with its code.
        """
        self.agent().ask(m.Fetch(0, "nobody"), self.answers.append)
        self.world.settle()
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["no-such-account"])

    def test_timeout(self) -> None:
        """
        What is not answered in time is refused.
        """
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.SERVER}
        self.agent().ask(m.Ping(0), self.answers.append)
        self.world.advance(TIMEOUT)
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["timeout"])

    def test_late_answer(self) -> None:
        """
        An answer that comes too late changes nothing.
        """
        self.test_timeout()
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = set()
        self.world.settle()
        self.assertEqual(len(self.answers), 1)
        self.assertIs(self.agent().phase, Phase.READY)

    def test_lost(self) -> None:
        """
        What was not answered before the connection ended is refused.
        """
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.SERVER}
        self.agent().ask(m.Ping(0), self.answers.append)
        self.part(self.alice)
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["lost"])

    def test_not_connected(self) -> None:
        """
        Without a connection nothing can be asked.
        """
        self.part(self.alice)
        self.agent().ask(m.Ping(0), self.answers.append)
        answer = self.answers[0]
        assert isinstance(answer, Refusal), "a refusal"
        self.assertEqual(answer.code, "not-connected")


class FullDisk(MortalProfile):
    """
    A store that cannot write any more.

    @ivar error: what it says.
    """

    error: Exception | None = None

    def writing(self) -> AbstractContextManager[IRecords]:
        """
        See L{IProfileStore.writing}.
        """
        return self._fail()

    @contextmanager
    def _fail(self) -> Iterator[IRecords]:
        """
        A transaction that is undone at its end.
        """
        with self.inner.writing() as records:
            yield records
            if self.error is not None:
                raise self.error


class LocalTroubleTests(WorldCase):
    """
    What goes wrong on this machine is nobody else's matter.
    """

    def setUp(self) -> None:
        """
        Bob's store can be broken.
        """
        super().setUp()
        self.part(self.bob)
        self.bob.agent = None
        self.store = FullDisk(self.bob.store.inner)
        self.bob.store = self.store
        self.bob.connect()

    def test_not_acknowledged(self) -> None:
        """
        What cannot be kept is not acknowledged; the agent hangs up, and it comes again.
        """
        self.store.error = OSError("no space left on device")
        wire = self.bob.wire
        assert wire is not None and self.bob.agent is not None, "connected"
        self.alice.send("bob", "hello")
        self.assertEqual(decoded(wire, Side.CLIENT, m.Acknowledge), [])
        self.assertEqual(self.bob.events[-1], Disconnected("local-trouble"))
        self.assertIs(self.bob.agent.trouble, self.store.error)
        self.store.error = None
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["hello"])

    def test_bug(self) -> None:
        """
        What no store ought to raise is raised on, after hanging up.
        """
        self.store.error = RuntimeError("a bug")
        with self.assertRaises(RuntimeError):
            self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events[-1], Disconnected("local-trouble"))

    def test_cannot_seal(self) -> None:
        """
        What cannot be committed is not sent.
        """
        self.alice.send("bob", "hello")
        journal.compose(self.bob.store, "alice", "answer", now=self.world.clock)
        wire = self.bob.wire
        assert wire is not None, "connected"
        self.store.error = OSError("no space left on device")
        self.bob.pump()
        self.assertEqual(decoded(wire, Side.CLIENT, m.Deposit), [])
        self.store.error = None
        self.bob.connect()
        self.assertEqual(self.alice.read(), ["answer"])


class RestoredTests(WorldCase):
    """
    A profile that was put back from an older copy.
    """

    def setUp(self) -> None:
        """
        Alice's profile is as it was before her last messages.
        """
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        backup = self.alice.store.inner.snapshot()
        self.alice.send("bob", "one")
        self.bob.send("alice", "after the backup")
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.before = self.alice.profile()
        self.wire = self.alice.connect()

    def test_found_out(self) -> None:
        """
        The server's n gives it away, and the user is told.
        """
        self.assertIn("state-restored", [notice.code for notice in journal.notices(self.alice.store)])

    def test_new_life(self) -> None:
        """
        It goes on under a new incarnation, with new prekeys in place of those that may have been used.
        """
        self.assertNotEqual(self.alice.profile().incarnation, self.before.incarnation)
        upload = decoded(self.wire, Side.CLIENT, m.Upload)[0]
        self.assertTrue(upload.replace)
        self.assertEqual((len(upload.one_time), len(upload.kem)), (50, 50))

    def test_conversation(self) -> None:
        """
        Both sides read each other again.
        """
        self.alice.send("bob", "two")
        self.bob.send("alice", "three")
        self.assertEqual(self.bob.read(), ["zero", "one", "two"])
        self.assertEqual(self.alice.texts("bob")[-1], "three")

    def test_lost_is_asked_for(self) -> None:
        """
        What had come after the copy was made is seen to be missing, and sent again.
        """
        self.bob.send("alice", "three")
        self.alice.send("bob", "two")
        self.world.advance(3600 * 3, ticks=20)
        self.assertEqual(self.alice.texts("bob"), ["reply", "after the backup", "three"])

    def test_only_once(self) -> None:
        """
        The next login is an ordinary one.
        """
        incarnation = self.alice.profile().incarnation
        self.alice.connect()
        self.assertEqual(self.alice.profile().incarnation, incarnation)


class ProtocolTests(WorldCase):
    """
    A server that does not keep the protocol.
    """

    def test_wrong_tag(self) -> None:
        """
        Deliveries count from one; a server that skips one is hung up on.
        """
        wire = self.bob.wire
        assert wire is not None, "connected"
        wire.to_client = lambda message: (
            [msgspec.structs.replace(message, tag=7)] if isinstance(message, m.Deliver) else [message]
        )
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events[-1], Disconnected("bad-tag"))

    def test_unasked(self) -> None:
        """
        An answer that nobody asked for ends the connection.
        """
        assert self.alice.agent is not None, "connected"
        with self.assertRaises(RemoteProtocolError):
            self.alice.agent.received(m.Done(99))

    def test_wrong_answer(self) -> None:
        """
        An answer of another kind than was asked for ends the connection, and the question is refused.
        """
        assert self.alice.wire is not None and self.alice.agent is not None, "connected"
        answers: list[object] = []
        self.alice.wire.to_client = lambda message: [m.Done(message.request)] if isinstance(message, m.Pong) else [message]
        self.alice.agent.ask(m.Ping(0), answers.append)
        self.world.settle()
        self.assertEqual(len(answers), 1)
        self.assertIsInstance(answers[0], Refusal)
        self.assertEqual(self.alice.events[-1], Disconnected("out-of-turn"))

    def test_unknown_message(self) -> None:
        """
        A message of a newer server is passed over.
        """
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.inject(Side.SERVER, msgspec.msgpack.encode([99, 1]))
        self.world.settle()
        self.alice.send("bob", "still here")
        self.assertEqual(self.bob.read(), ["still here"])

    def test_reopened(self) -> None:
        """
        An agent survives its connections.
        """
        agent = self.alice.agent
        self.alice.connect()
        self.assertIs(self.alice.agent, agent)
        self.assertEqual(self.alice.events.count(Ready()), 2)

    def test_replaced(self) -> None:
        """
        A second login of the same device ends the first connection.
        """
        first = self.alice.agent
        self.alice.agent = None
        wire, self.alice.wire = self.alice.wire, None
        assert first is not None and wire is not None, "connected"
        self.alice.connect()
        self.assertIn(Disconnected("replaced"), self.alice.events)
        self.assertIs(first.phase, Phase.CLOSED)


class UnknownKindTests(WorldCase):
    """
    Messages of newer versions.
    """

    def test_shown(self) -> None:
        """
        A kind that is not known here is shown as unsupported, never dropped.
        """
        self.alice.send("bob", "something new", kind=99)
        message = journal.ungiven(self.bob.store)[0]
        self.assertEqual((message.kind, message.note), (99, "unsupported"))

    def test_counted(self) -> None:
        """
        It has its place among the others.
        """
        for kind in (Kind.TEXT, 99, Kind.TEXT):
            self.alice.send("bob", "x", kind=kind)
        self.bob.read()
        self.assertEqual([message.gap_before for message in self.bob.given], [0, 0, 0])


class OneDeviceListTests(SynchronousTestCase):
    """
    A profile whose device the server does not know.
    """

    def test_unpublished_list(self) -> None:
        """
        A list that was signed but not published before the process died is published at the next login.
        """
        world = World()
        alice = world.user("alice")
        alice.disconnect()
        world.settle()
        world.clock += 8 * DAY
        wire = alice.connect(settle=False)
        wire.to_server = lambda message: [] if isinstance(message, m.Publish) else [message]
        world.settle()
        self.assertEqual(alice.profile().listing.version, 2)
        wire = alice.connect()
        published = decoded(wire, Side.CLIENT, m.Publish)
        self.assertEqual([message.devices for message in published], [alice.profile().devices])
        self.assertEqual(decoded(alice.connect(), Side.CLIENT, m.Publish), [])

    def test_other_identity(self) -> None:
        """
        A profile of another identity under the same name is not let in.
        """
        world = World()
        alice = world.user("alice")
        alice.die()
        profile = create_profile(world.link, "alice", int(world.clock))
        self.assertNotEqual(profile.identity.public, SigningKey.generate().public)
        with alice.store.inner.writing() as records:
            save_profile(records, profile)
        alice.connect()
        self.assertEqual(alice.events[-1], Disconnected("name-taken"))
