"""Whole conversations: agents, and the real server between them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.client import messages
from securemsg.client.agent import Agent
from securemsg.client.events import Changed, Disconnected, Drained, Ready
from securemsg.client.messages import Sent
from securemsg.client.requests import MAX_OPEN, TIMEOUT, Requests
from securemsg.client.sending.queues import WINDOW
from securemsg.client.state import contacts
from securemsg.client.state.profile import DAY, create_profile, save_profile
from securemsg.client.state.settings import Policy
from securemsg.client.state.vault import create_vault
from securemsg.crypto.keys import SigningKey
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IPeer
from securemsg.protocol.envelope import Kind
from securemsg.protocol.states import Phase, Side
from securemsg.storage.profile import create_profile as create_store
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, User, World, decoded, outbox_rows


class ConversationTests(WorldCase):
    """What one writes the other reads."""

    def test_interface(self) -> None:
        """An agent is what a channel talks to."""
        self.assertTrue(verifyObject(IPeer, self.alice.agent))

    def test_first_message(self) -> None:
        """The first message arrives, and is accepted."""
        message_id = self.alice.send("bob", "hello")
        self.assertEqual(self.bob.read(), ["hello"])
        sent = self.alice.sent(message_id)
        self.assertEqual((sent.status, sent.accepted_at), ("accepted", self.world.clock))

    def test_back_and_forth(self) -> None:
        """A conversation goes on as long as the two like."""
        for number in range(20):
            self.alice.send("bob", f"a{number}")
            self.bob.send("alice", f"b{number}")
        self.assertEqual(self.bob.read(), [f"a{number}" for number in range(20)])
        self.assertEqual(self.alice.read(), [f"b{number}" for number in range(20)])
        self.assertEqual({line.note for line in self.bob.has_read + self.alice.has_read}, {""})

    def test_recipient_away(self) -> None:
        """What is sent to somebody who is away waits on the server, and comes in order."""
        self.part(self.bob)
        for number in range(100):
            self.alice.send("bob", f"{number}")
        self.bob.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(100)])

    def test_sender_away(self) -> None:
        """What is written without a connection goes out with the next one, in order."""
        self.part(self.alice)
        for number in range(50):
            self.alice.send("bob", f"{number}")
        self.assertEqual(outbox_rows(self.alice.store), 50)
        self.alice.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(50)])
        self.assertEqual(outbox_rows(self.alice.store), 0)

    def test_both_begin(self) -> None:
        """Two who write their first messages at the same moment read each other."""
        for user, peer in ((self.alice, "bob"), (self.bob, "alice")):
            messages.compose(user.store, peer, f"from {user.name}", now=self.world.clock)
        for user in (self.alice, self.bob):
            assert user.agent is not None, "connected"
            user.agent.pump()
        self.world.settle()
        self.assertEqual((self.alice.read(), self.bob.read()), (["from bob"], ["from alice"]))
        self.alice.send("bob", "again")
        self.bob.send("alice", "again")
        self.assertEqual((self.alice.read(), self.bob.read()), (["again"], ["again"]))

    def test_nobody(self) -> None:
        """A message to an account that does not exist has failed."""
        sent = self.alice.sent(self.alice.send("nobody", "hello"))
        self.assertEqual((sent.status, sent.code), ("failed", "no-such-account"))
        self.assertEqual(outbox_rows(self.alice.store), 0)

    def test_independent(self) -> None:
        """A conversation that is held up holds up no other."""
        self.part(self.bob)
        wire = self.alice.connect()
        wire.to_server = lambda message: [] if isinstance(message, m.Fetch) and message.account == "bob" else [message]
        carol = self.world.user("carol")
        self.alice.send("bob", "waits")
        self.alice.send("carol", "hello")
        self.assertEqual(carol.read(), ["hello"])

    def test_large(self) -> None:
        """The largest text arrives whole."""
        text = "x" * m.MAX_TEXT
        self.alice.send("bob", text)
        self.assertEqual(self.bob.read(), [text])

    def test_window(self) -> None:
        """No more than 128 deposits are on their way unanswered."""
        self.alice.send("bob", "first")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.SERVER}
        wire.log.clear()
        for number in range(200):
            self.alice.send("bob", f"{number}")
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Deposit)), WINDOW)
        wire.held = set()
        self.world.settle()
        self.assertEqual(len(self.bob.read()), 201)

    def test_accepted_amid_full_window(self) -> None:
        """An answer that comes while the window is full is noted with others, at a tick, or when the connection ends."""
        self.alice.send("bob", "first")
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.log.clear()
        wire.to_server = lambda message: [] if isinstance(message, m.Deposit) else [message]
        for number in range(WINDOW + 1):
            self.alice.send("bob", f"{number}")
        answered = [m.Acceptance(deposit.deposit_id, [], True) for deposit in decoded(wire, Side.CLIENT, m.Deposit)]
        wire.inject(Side.SERVER, m.Accepted(int(self.world.clock), answered[:3]))
        self.world.settle()
        self.assertEqual([line.status for line in self.sent(WINDOW)], ["queued"] * WINDOW)
        self.world.advance(1)
        self.assertEqual([line.status for line in self.sent(WINDOW)], ["accepted"] * 3 + ["queued"] * (WINDOW - 3))
        wire.inject(Side.SERVER, m.Accepted(int(self.world.clock), answered[3:4]))
        self.world.settle()
        wire.cut()
        self.world.settle()
        self.assertEqual([line.status for line in self.sent(WINDOW)], ["accepted"] * 4 + ["queued"] * (WINDOW - 4))

    def sent(self, count: int) -> list[Sent]:
        """So many messages that Alice sent after the first."""
        lines = messages.history(self.alice.store, "bob", count + 2)
        return [line for line in lines if isinstance(line, Sent)][1 : count + 1]

    def test_committed_before_acknowledged(self) -> None:
        """What is acknowledged is committed: nothing is acknowledged that a dying client did not keep."""
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
        """The agent says that all is there once it is committed, not before."""
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
        """Whoever composed the agent hears that there is something to look at."""
        self.bob.events.clear()
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events, [Changed()])

    def test_list_renewed(self) -> None:
        """A device list is signed anew weekly, and contacts go on with it."""
        self.alice.send("bob", "before")
        self.world.advance(8 * DAY)
        self.bob.connect()
        self.alice.connect()
        self.assertEqual(self.alice.profile().listing.version, 2)
        self.alice.send("bob", "after")
        self.assertEqual(self.bob.read(), ["before", "after"])
        with self.bob.store.reading() as records:
            contact = contacts.get_contact(records, "alice")
        assert contact is not None, "they have met"
        self.assertEqual(contact.version, 2)
        self.assertEqual(messages.notices(self.bob.store), [])

    def test_prekeys_refilled(self) -> None:
        """
        When many have claimed prekeys, also such as never write, the server says so, and new ones are uploaded without a
        new login.
        """
        wire = self.bob.wire
        assert wire is not None, "connected"
        for number in range(32):
            self.world.advance(3600)
            claims: list[object] = []
            agent = self.world.user(f"user{number}").agent
            assert agent is not None, "connected"
            agent.ask(m.Claim(0, "bob", self.bob.profile().device_id, 0), claims.append)
            self.world.settle()
            self.assertIsInstance(claims[0], m.Bundle)
        self.assertEqual(len(decoded(wire, Side.SERVER, m.Stock)), 1)
        self.assertEqual(len(decoded(wire, Side.CLIENT, m.Upload)), 2)


class SharedStoreTests(WorldCase):
    """Several processes with one profile."""

    def test_draft_of_another_process(self) -> None:
        """What another process wrote is found when the bell rings, or a second later."""
        other = MortalProfile(self.alice.store.inner)
        message_id = messages.compose(other, "bob", "from the script", now=self.world.clock)
        self.assertEqual(self.bob.read(), [])
        self.world.advance(1)
        self.assertEqual(self.bob.read(), ["from the script"])
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_withdrawn_by_another_process(self) -> None:
        """A draft that another process withdrew before it was sealed is never sent."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.held = {Side.CLIENT}
        message_id = self.alice.send("bob", "not meant")
        self.assertFalse(messages.withdraw(MortalProfile(self.alice.store.inner), message_id))
        wire.held = set()
        self.world.settle()
        self.assertEqual(self.bob.read(), [])
        self.assertEqual(outbox_rows(self.alice.store), 0)

    def test_holder_dies(self) -> None:
        """When the process with the connection dies another one takes over with what is in the store."""
        self.alice.send("bob", "one")
        self.alice.die()
        messages.compose(self.alice.store, "bob", "two", now=self.world.clock)
        self.alice.connect()
        self.alice.send("bob", "three")
        self.assertEqual(self.bob.read(), ["one", "two", "three"])

    def test_read_by_another_process(self) -> None:
        """What one process received another gives to its reader, once."""
        self.alice.send("bob", "hello")
        other = MortalProfile(self.bob.store.inner)
        fresh = messages.unread(other)
        messages.mark_read(other, [message.seq for message in fresh], now=self.world.clock)
        self.assertEqual([message.text for message in fresh], ["hello"])
        self.assertEqual(self.bob.read(), [])


class QuestionTests(WorldCase):
    """What the user asks of the server."""

    def setUp(self) -> None:
        """Nothing was answered yet."""
        super().setUp()
        self.answers: list[object] = []

    def agent(self) -> Agent:
        """Alice's agent."""
        assert self.alice.agent is not None, "connected"
        return self.alice.agent

    def test_ping(self) -> None:
        """A ping is answered with the server's clock."""
        self.agent().ask(m.Ping(0), self.answers.append)
        self.world.settle()
        answer = self.answers[0]
        assert isinstance(answer, m.Pong), "an answer"
        self.assertEqual(answer.now, self.world.clock)

    def test_invite(self) -> None:
        """A user may invite."""
        self.agent().ask(m.Invite(0, 1, DAY), self.answers.append)
        self.world.settle()
        self.assertIsInstance(self.answers[0], m.Invited)

    def test_refused(self) -> None:
        """A refusal comes as such, with its code."""
        self.agent().ask(m.Fetch(0, "nobody"), self.answers.append)
        self.world.settle()
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["no-such-account"])

    def test_timeout(self) -> None:
        """What is not answered in time is refused."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.SERVER}
        self.world.advance(0)
        self.agent().ask(m.Ping(0), self.answers.append)
        self.world.advance(TIMEOUT)
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["timeout"])

    def test_late_answer(self) -> None:
        """An answer that comes too late changes nothing."""
        self.test_timeout()
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = set()
        self.world.settle()
        self.assertEqual(len(self.answers), 1)
        self.assertIs(self.agent().phase, Phase.READY)

    def test_lost(self) -> None:
        """What was not answered before the connection ended is refused."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.held = {Side.SERVER}
        self.agent().ask(m.Ping(0), self.answers.append)
        self.part(self.alice)
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["lost"])

    def test_too_many(self) -> None:
        """With so many open nothing more is asked."""
        requests = Requests()
        for _ in range(MAX_OPEN):
            self.assertIsNotNone(requests.number(m.Ping(0), self.answers.append, 0.0))
        self.assertIsNone(requests.number(m.Ping(0), self.answers.append, 0.0))
        self.assertEqual([getattr(answer, "code", "") for answer in self.answers], ["busy"])

    def test_not_connected(self) -> None:
        """Without a connection nothing can be asked."""
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
        """See L{IProfileStore.writing}."""
        return self._fail()

    @contextmanager
    def _fail(self) -> Iterator[IRecords]:
        """A transaction that is undone at its end."""
        with self.inner.writing() as records:
            yield records
            if self.error is not None:
                raise self.error


class LocalErrorTests(WorldCase):
    """What goes wrong on this machine is nobody else's matter."""

    def setUp(self) -> None:
        """Bob's store can be broken."""
        super().setUp()
        self.part(self.bob)
        self.bob.agent = None
        self.store = FullDisk(self.bob.store.inner)
        self.bob.store = self.store
        self.bob.connect()

    def test_not_acknowledged(self) -> None:
        """What cannot be kept is not acknowledged; the agent hangs up, and it comes again."""
        self.store.error = OSError("no space left on device")
        wire = self.bob.wire
        assert wire is not None and self.bob.agent is not None, "connected"
        self.alice.send("bob", "hello")
        self.assertEqual(decoded(wire, Side.CLIENT, m.Acknowledge), [])
        self.assertEqual(self.bob.events[-1], Disconnected("local-error"))
        self.assertIs(self.bob.agent.local_error, self.store.error)
        self.store.error = None
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["hello"])

    def test_bug(self) -> None:
        """What no store ought to raise is raised on, after hanging up."""
        self.store.error = RuntimeError("a bug")
        with self.assertRaises(RuntimeError):
            self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events[-1], Disconnected("local-error"))

    def test_cannot_seal(self) -> None:
        """What cannot be committed is not sent."""
        self.alice.send("bob", "hello")
        messages.compose(self.bob.store, "alice", "answer", now=self.world.clock)
        wire = self.bob.wire
        assert wire is not None, "connected"
        self.store.error = OSError("no space left on device")
        self.bob.pump()
        self.assertEqual(decoded(wire, Side.CLIENT, m.Deposit), [])
        self.store.error = None
        self.bob.connect()
        self.assertEqual(self.alice.read(), ["answer"])


class ProtocolTests(WorldCase):
    """A server that does not keep the protocol."""

    def test_wrong_tag(self) -> None:
        """Deliveries count from one; a server that skips one is hung up on."""
        wire = self.bob.wire
        assert wire is not None, "connected"
        wire.to_client = lambda message: (
            [msgspec.structs.replace(message, tag=7)] if isinstance(message, m.Deliver) else [message]
        )
        self.alice.send("bob", "hello")
        self.assertEqual(self.bob.events[-1], Disconnected("bad-tag"))

    def test_unasked(self) -> None:
        """An answer that nobody asked for ends the connection."""
        assert self.alice.agent is not None, "connected"
        with self.assertRaises(RemoteProtocolError):
            self.alice.agent.received(m.Done(99))

    def test_wrong_answer(self) -> None:
        """An answer of another kind than was asked for ends the connection, and the question is refused."""
        assert self.alice.wire is not None and self.alice.agent is not None, "connected"
        answers: list[object] = []
        self.alice.wire.to_client = lambda message: [m.Done(message.request)] if isinstance(message, m.Pong) else [message]
        self.alice.agent.ask(m.Ping(0), answers.append)
        self.world.settle()
        self.assertEqual(len(answers), 1)
        self.assertIsInstance(answers[0], Refusal)
        self.assertEqual(self.alice.events[-1], Disconnected("out-of-turn"))

    def test_unknown_message(self) -> None:
        """A message of a newer server is passed over."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.inject(Side.SERVER, msgspec.msgpack.encode([99, 1]))
        self.world.settle()
        self.alice.send("bob", "still here")
        self.assertEqual(self.bob.read(), ["still here"])

    def test_reopened(self) -> None:
        """An agent survives its connections."""
        agent = self.alice.agent
        self.alice.connect()
        self.assertIs(self.alice.agent, agent)
        self.assertEqual(self.alice.events.count(Ready()), 2)

    def test_replaced(self) -> None:
        """A second login of the same device ends the first connection."""
        first = self.alice.agent
        self.alice.agent = None
        wire, self.alice.wire = self.alice.wire, None
        assert first is not None and wire is not None, "connected"
        self.alice.connect()
        self.assertIn(Disconnected("replaced"), self.alice.events)
        self.assertIs(first.phase, Phase.CLOSED)


class UnknownKindTests(WorldCase):
    """Messages of newer versions."""

    def test_shown(self) -> None:
        """A kind that is not known here is shown as unsupported, never dropped."""
        self.alice.send("bob", "something new", kind=99)
        message = messages.unread(self.bob.store)[0]
        self.assertEqual((message.kind, message.note), (99, "unsupported"))

    def test_counted(self) -> None:
        """It has its place among the others."""
        for kind in (Kind.TEXT, 99, Kind.TEXT):
            self.alice.send("bob", "x", kind=kind)
        self.bob.read()
        self.assertEqual([message.gap_before for message in self.bob.has_read], [0, 0, 0])


class OneDeviceListTests(SynchronousTestCase):
    """A profile whose device the server does not know."""

    def test_unpublished_list(self) -> None:
        """A list that was signed but not published before the process died is published at the next login."""
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
        """A profile of another identity under the same name is not let in."""
        world = World()
        alice = world.user("alice")
        alice.die()
        profile = create_profile(world.link, "alice", int(world.clock))
        self.assertNotEqual(profile.identity.public, SigningKey.generate().public)
        with alice.store.inner.writing() as records:
            save_profile(records, profile)
        alice.connect()
        self.assertEqual(alice.events[-1], Disconnected("name-taken"))


class OnDiskTests(SynchronousTestCase):
    """The same with profiles in files."""

    def user(self, world: World, name: str) -> User:
        """Somebody whose profile lies on the disk."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        store = create_store(folder, create_vault(folder, None))
        self.addCleanup(store.close)
        with store.writing() as records:
            save_profile(records, create_profile(world.link, name, int(world.clock)))
        user = world.users[name] = User(world, name, MortalProfile(store))
        user.connect()
        return user

    def test_conversation(self) -> None:
        """What is true in memory is true on the disk."""
        world = World()
        alice, bob = self.user(world, "alice"), self.user(world, "bob")
        bob.confirm_to(Policy.EVERYBODY)
        message_id = alice.send("bob", "hello", wants_receipt=True)
        self.assertEqual(alice.sent(message_id).status, "delivered")
        bob.die()
        for number in range(5):
            alice.send("bob", f"{number}")
        bob.connect()
        bob.send("alice", "reply")
        self.assertEqual((bob.read(), alice.read()), (["hello", "0", "1", "2", "3", "4"], ["reply"]))
        self.assertEqual(bob.texts("alice"), ["hello", "0", "1", "2", "3", "4"])
