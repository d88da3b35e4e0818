"""
A model of what must stay true between two people and a malicious server, whatever happens in whatever order: profiles are put
back and copied, a thief adds a device with the keys in a copy, the server lies about what it has seen, holds deliveries back,
drops, repeats and reorders them, and shows lists and bundles of any age.

A short search is part of every run of the tests; C{make model} searches much longer.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import msgspec
import pytest
from attrs import define, field
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.messages import Received, Sent
from securemsg.client.sessions import store, suites
from securemsg.client.state import contacts
from securemsg.client.state.profile import Profile, resigned
from securemsg.client.state.settings import Policy
from securemsg.crypto.keys import AgreementKey, SigningKey, random_id, sha256
from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.protocol.devices import Device, decode_device_list
from securemsg.protocol.envelope import Kind
from securemsg.protocol.states import Side
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import MortalProfile, User, Wire, World
from tests.conftest import DEFAULT_EXAMPLES

ALICE, BOB = "alice", "bob"
PEER = {ALICE: BOB, BOB: ALICE}
# What a server may say about n, beside the truth: how much more, or that it has seen nothing.
HONEST, MORE, NOTHING = "honest", "more", "nothing"
MAX_COPIES = 4
HOUR = 3600
DAY = 24 * HOUR
# Whoever is connected to an honest server must mend whatever can be mended: gaps within minutes, a conversation with a stranger
# within a day or two, a list that two have signed when its owner signs the next, within a week.
MENDING = (70, HOUR + 60, DAY + 60, DAY + 60, 7 * DAY, 70, HOUR + 60)


@define(eq=False)
class Copy:
    """
    A copy of a profile, as a thief or a backup has it.

    @ivar ephemerals: of the sessions that it holds, by which both ends know them.
    @ivar was_left: the peer has opened something in a session that the owner began after the copy was made.
    """

    owner: str
    profile: Profile
    store: MemoryProfile
    ephemerals: frozenset[bytes]
    was_left: bool = False

    def opens(self, account: str, device: bytes, deposit: m.Deposit, own: bytes) -> bool:
        """Whether this state can read a deposit that somebody made for its owner."""
        with self.store.snapshot().writing() as records:
            try:
                suites.open_envelope(records, self.profile, account, device, own, sha256(deposit.common), 0)
            except Refusal:
                return False
            return True


@define(eq=False)
class Server:
    """
    The malicious half of the server: the real one stands behind it, and hands everything over to it at once.

    @ivar mail: for each account, what was handed over and not delivered yet; C{past}: all of it.
    @ivar lie: what it says about n in the next Welcome.
    @ivar answers: the lists and bundles that it has shown, and may show again.
    """

    mail: dict[str, list[m.Deliver]] = field(factory=lambda: {ALICE: [], BOB: []})
    past: dict[str, list[m.Deliver]] = field(factory=lambda: {ALICE: [], BOB: []})
    lie: str = HONEST
    old_answer: int | None = None
    answers: dict[type, list[Any]] = field(factory=dict)
    _tags: dict[Wire, int] = field(factory=dict)

    @property
    def has_mail(self) -> bool:
        """Whether there is something to deliver."""
        return any(self.mail.values())

    def stand_between(self, name: str, wire: Wire) -> None:
        """Take a connection over."""
        wire.to_client = lambda message: self._to_client(name, wire, message)
        wire.to_server = lambda message: [] if isinstance(message, m.Acknowledge) else [message]

    def deliver(self, name: str, wire: Wire, delivery: m.Deliver) -> None:
        """Deliver something, under the next tag."""
        self._tags[wire] = self._tags.get(wire, 0) + 1
        wire.inject(Side.SERVER, msgspec.structs.replace(delivery, tag=self._tags[wire]))

    def _to_client(self, name: str, wire: Wire, message: m.Message) -> list[m.Message]:
        if isinstance(message, m.Deliver):
            wire.inject(Side.CLIENT, m.Acknowledge(message.tag))
            self.mail[name].append(message)
            self.past[name].append(message)
            return []
        if isinstance(message, m.Welcome):
            if self.lie == MORE:
                return [msgspec.structs.replace(message, highest=message.highest + 3)]
            if self.lie == NOTHING:
                return [msgspec.structs.replace(message, highest=0, logins=[])]
        if isinstance(message, m.Account | m.Bundle):
            known = self.answers.setdefault(type(message), [])
            known.append(message)
            if self.old_answer is not None:
                old = known[self.old_answer % len(known)]
                return [msgspec.structs.replace(old, request=message.request)]
        return [message]


class TwoAndAServer(RuleBasedStateMachine):
    """Alice, Bob, and the server between them."""

    people = st.sampled_from([ALICE, BOB])
    lies = st.sampled_from([HONEST, MORE, MORE, NOTHING])
    places = st.integers(0, 7)

    def __init__(self) -> None:
        """Nobody is there yet."""
        super().__init__()
        self.world = World()
        self.server = Server()
        self.users: dict[str, User] = {}
        self.order: dict[str, int] = {}
        self.copies: list[Copy] = []
        self.ghosts: dict[str, set[tuple[bytes, bytes, bytes]]] = {ALICE: set(), BOB: set()}
        # Those that were on the list before a state first met its owner: they are trusted on first use.
        self.met: dict[str, set[tuple[bytes, bytes, bytes]]] = {ALICE: set(), BOB: set()}
        self.parts: set[bytes] = set()
        # Texts of copies in use elsewhere: between two lives there is no order.
        self.elsewhere: set[str] = set()
        self.bots: set[str] = set()
        self.speakers = [ALICE, BOB]
        self.restored = False
        # Whose copy went on in the incarnation of the profile: the server named less, and the counters of both are the same.
        self.hidden: set[str] = set()
        self.check = SynchronousTestCase()

    @initialize(
        policies=st.tuples(*[st.sampled_from(Policy)] * 2),
        bots=st.sets(people),
        copied=st.sets(people),
        speakers=st.permutations([ALICE, BOB]),
        restored=st.booleans(),
    )
    def meet(
        self, policies: tuple[Policy, Policy], bots: set[str], copied: set[str], speakers: list[str], restored: bool
    ) -> None:
        """
        Both have talked; perhaps there are copies from before. Bots only answer, and so never know whoever asks.

        @param speakers: who writes in the end, in this order.
        @param restored: before that, the second of them is put back.
        """
        self.bots, self.speakers, self.restored = bots, speakers, restored
        for name, policy in zip((ALICE, BOB), policies, strict=True):
            self.users[name] = self.world.user(name, connect=False)
            self.users[name].confirm_to(policy)
            self.connect(name, HONEST)
        for name in sorted(copied):
            self.back_up(name)
        self.exchange()
        self.exchange()

    # --- what people do -------------------------------------------------------------------------------------------

    @rule(name=people)
    def write(self, name: str) -> None:
        """Somebody writes; no copy that was left reads it."""
        user = self.users[name]
        text = f"{name} {len(self.order)}"
        self.order[text] = len(self.order)
        before = len(user.wire.log) if user.wire else 0
        user.send(PEER[name], text, kind=Kind.ANSWER if name in self.bots else Kind.TEXT)
        for side, message in user.wire.log[before:] if user.wire else []:
            if side is Side.CLIENT and isinstance(message, m.Deposit):
                self.sealed(name, message)
        self.nobody_unseen(name)

    @precondition(lambda self: len(self.copies) < MAX_COPIES)
    @rule(name=people)
    def back_up(self, name: str) -> None:
        """Somebody's profile is copied."""
        user = self.users[name]
        ephemerals = frozenset(session.ephemeral for session in self.sessions(name).values())
        self.copies.append(Copy(name, user.profile(), user.backup(), ephemerals))

    @rule(
        name=people,
        writes=st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)),
        goes_back=st.sampled_from([True, True, False]),
        lie=lies,
        order=st.permutations(range(6)),
        dropped=st.sets(st.integers(0, 5), max_size=2),
    )
    def begin_anew(
        self, name: str, writes: tuple[int, int, int], goes_back: bool, lie: str, order: list[int], dropped: set[int]
    ) -> None:
        """
        Somebody writes, is copied, writes, begins anew, perhaps from the copy, and writes again, while the server holds
        everything back. Then some of it comes in some order, and the other writes whenever something came.
        """
        self.write_often(name, writes[0])
        if has_room := len(self.copies) < MAX_COPIES:
            self.back_up(name)
        self.write_often(name, writes[1])
        if goes_back and has_room:
            # Of what was written since, the copy does not know, and so what continues its streams does not say.
            self.put_back(len(self.copies) - 1, lie)
        else:
            self.connect(name, lie)
        self.write_often(name, writes[2])
        mail = self.server.mail[PEER[name]]
        held = [mail[place] for place in order if place < len(mail) and place not in dropped]
        mail.clear()
        for delivery in held:
            self.hand_over(PEER[name], delivery)
            self.write(PEER[name])

    def write_often(self, name: str, times: int) -> None:
        """Write so many messages."""
        for _ in range(times):
            self.write(name)

    @precondition(lambda self: self.copies)
    @rule(number=places, lie=lies)
    def put_back(self, number: int, lie: str) -> None:
        """A copy takes the place of the profile that it was made of."""
        copy = self.copies[number % len(self.copies)]
        user = self.users[copy.owner]
        user.die()
        user.store = MortalProfile(copy.store.snapshot())
        self.connect(copy.owner, lie)
        self.note_hidden(copy)

    @precondition(lambda self: self.copies)
    @rule(number=places, writes=st.booleans(), lie=lies)
    def use_copy(self, number: int, writes: bool, lie: str) -> None:
        """A copy is used elsewhere, in turn with the profile."""
        copy = self.copies[number % len(self.copies)]
        theirs = self.users[copy.owner]
        theirs.disconnect()
        self.world.settle()
        self.users[copy.owner] = User(self.world, copy.owner, MortalProfile(copy.store.snapshot()))
        self.connect(copy.owner, lie)
        self.note_hidden(copy)
        if writes:
            self.write(copy.owner)
            self.elsewhere.add([*self.order][-1])
        self.users[copy.owner].disconnect()
        self.world.settle()
        self.users[copy.owner] = theirs
        self.connect(copy.owner, lie)

    def note_hidden(self, copy: Copy) -> None:
        """Note whether the server has hidden from a copy that it is one."""
        if self.users[copy.owner].profile().incarnation == copy.profile.incarnation:
            self.hidden.add(copy.owner)

    @precondition(lambda self: self.copies)
    @rule(number=places, writes=st.booleans())
    def steal(self, number: int, writes: bool) -> None:
        """A thief signs a list with a device more, with the keys in a copy, and the server stores it; a contact may use it."""
        copy = self.copies[number % len(self.copies)]
        name, ghost = copy.owner, Device(random_id(), SigningKey.generate().public, AgreementKey.generate().public, None)
        published = self.users[name].profile().devices
        devices = [*decode_device_list(published.body).devices, ghost]
        stolen = resigned(copy.profile, int(self.world.clock), devices, after=published)
        agent = self.users[name].agent
        if agent is not None and len(devices) <= m.MAX_DEVICES:
            # Over a connection of the owner's, and behind the owner's back: the server asks for no more than the signature.
            agent.ask(m.Publish(0, stolen.devices), lambda answer: None)
            self.world.settle()
            self.ghosts[name].add(ghost.keys)
        self.nobody_unseen(PEER[name])
        if writes:
            self.write(PEER[name])

    @rule(seconds=st.sampled_from([70, HOUR + 60, DAY + 60]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.world.clock += seconds
        for user in self.users.values():
            if user.agent is not None:
                user.agent.tick()
        self.world.settle()

    # --- what the server does -------------------------------------------------------------------------------------

    @rule(name=people, lie=lies, swallow=st.booleans())
    def lie(self, name: str, lie: str, swallow: bool) -> None:
        """Somebody connects anew, and the server may have swallowed everything since the last delivery."""
        if swallow:
            self.server.mail[PEER[name]].clear()
        self.connect(name, lie)

    def connect(self, name: str, lie: str) -> None:
        """Somebody connects anew, and the server may lie about what it has seen of that device."""
        self.server.lie = lie
        self.world.clock += 1
        user = self.users[name]
        self.nobody_unseen(name)
        wire = user.connect(settle=False)
        self.server.stand_between(name, wire)
        self.world.settle()

    @precondition(lambda self: self.server.has_mail)
    @rule(name=people, place=places)
    def deliver(self, name: str, place: int) -> None:
        """Something is delivered, in whatever order."""
        mail = self.server.mail[name] or self.server.mail[name := PEER[name]]
        self.hand_over(name, mail.pop(place % len(mail)))

    @rule()
    def exchange(self) -> None:
        """Each writes, and everything is delivered, in order."""
        for name in (ALICE, BOB):
            self.write(name)
            self.deliver_all(PEER[name])

    def deliver_all(self, name: str) -> None:
        """Everything is delivered, in order."""
        while self.server.mail[name]:
            self.hand_over(name, self.server.mail[name].pop(0))

    @precondition(lambda self: self.server.has_mail)
    @rule(name=people, place=places)
    def drop(self, name: str, place: int) -> None:
        """Something that was accepted is swallowed."""
        mail = self.server.mail[name] or self.server.mail[PEER[name]]
        mail.pop(place % len(mail))

    @rule(name=people, place=places)
    def repeat(self, name: str, place: int) -> None:
        """Something is delivered once more."""
        past = self.server.past[name]
        self.hand_over(name, past[-1 - place % len(past)])

    @rule(number=st.one_of(st.none(), places))
    def show_old(self, number: int | None) -> None:
        """From here on the server shows an old list and an old bundle, or, with C{None}, what is true."""
        self.server.old_answer = number

    # --- what must be true ----------------------------------------------------------------------------------------

    def sessions(self, name: str) -> dict[int, store.Session]:
        """Somebody's sessions with the other."""
        bucket = store.bucket_of(PEER[name], self.users[PEER[name]].profile().device_id)
        with self.users[name].store.inner.reading() as records:
            return store.all_sessions(records, bucket)

    def hand_over(self, name: str, delivery: m.Deliver) -> None:
        """Deliver something; if it shows the recipient that the sender has left its old sessions, copies of it are left."""
        wire = self.users[name].wire
        assert wire is not None, "connected"
        before = self.index(name).current
        self.server.deliver(name, wire, delivery)
        self.world.settle()
        sending, (incarnation, _) = self.sending(name), self.index(name).seen
        if sending is not None and not sending.initiated and self.index(name).current != before:
            for copy in self.copies:
                if copy.owner == PEER[name] and incarnation >= copy.profile.incarnation:
                    copy.was_left = copy.was_left or sending.ephemeral not in copy.ephemerals
        self.in_order(name)
        self.nobody_unseen(name)

    def sealed(self, name: str, deposit: m.Deposit) -> None:
        """Nothing is sealed in a session that a copy of its taker reads, once the taker has begun another and was heard."""
        device = self.users[name].profile().device_id
        for copy in self.copies:
            if copy.owner == PEER[name] and copy.was_left:
                for part in deposit.to[0].parts:
                    # What was sealed before goes out again as it is.
                    if part.own not in self.parts and copy.opens(name, device, deposit, part.own):
                        sending = self.sending(name)
                        # What one begins from prekeys every copy reads that holds them, until it is answered.
                        self.check.assertTrue(sending is None or sending.initiated, "a copy reads what is sent")
        self.parts.update(part.own for part in deposit.to[0].parts)

    def sending(self, name: str) -> store.Session | None:
        """The session in which somebody sends now."""
        return self.sessions(name).get(self.index(name).current)

    def index(self, name: str) -> store.SessionIndex:
        """What somebody remembers of the other's device."""
        bucket = store.bucket_of(PEER[name], self.users[PEER[name]].profile().device_id)
        with self.users[name].store.inner.reading() as records:
            return store.load_index(records, bucket)

    def in_order(self, name: str) -> None:
        """What is not marked stands in the order in which it was written, up to where two lives part, and that is marked."""
        lines = takewhile(lambda line: line.note not in ("forked", "repeated"), self.received(name))
        shown = [self.order[line.text] for line in lines if not line.note and line.text not in self.elsewhere]
        self.check.assertEqual(shown, sorted(shown), "out of order, and not marked")

    def nobody_unseen(self, name: str) -> None:
        """No device that a thief added is on somebody's own list, or on that of a contact without the user being told."""
        own = {device.keys for device in self.users[name].profile().listing.devices}
        self.check.assertEqual(own & self.ghosts[name], set(), "a device of a thief was adopted")
        with self.users[name].store.inner.reading() as records:
            contact = contacts.get_contact(records, PEER[name])
        if contact is None:
            self.met[PEER[name]] |= self.ghosts[PEER[name]]
        listed = contacts.devices(contact) if contact else []
        ghosts = {device.keys for device in listed} & self.ghosts[PEER[name]] - self.met[PEER[name]]
        told = {notice.code for notice in messages.notices(self.users[name].store)}
        if contact is not None and ghosts:
            self.check.assertIn("contact-device-added", told)
            self.check.assertLessEqual(ghosts, {device.keys for device in listed if device.id in contact.unconfirmed})
            self.check.assertFalse(contact.verified)

    def received(self, name: str) -> list[Received]:
        """What somebody has received."""
        return [line for line in self.users[name].lines(PEER[name]) if isinstance(line, Received)]

    def nothing_lost(self, name: str) -> None:
        """
        Once the last message of somebody has come, nothing is missing unseen of all that the server accepted from that profile;
        unless a copy of it went on under its counters, which nobody can tell who never got both.
        """
        if name in self.hidden:
            return
        peer = PEER[name]
        missing = self.accepted(name) - self.arrived(name)
        gaps = sum(line.gap_before for line in self.received(peer))
        if not any(messages.quarantined(self.users[peer].store)):
            self.check.assertLessEqual(len(missing), gaps, f"lost without a trace: {missing}")

    def accepted(self, name: str) -> set[str]:
        """What somebody has sent, as far as the profile knows, and the server has accepted."""
        sent = [line for line in self.users[name].lines(PEER[name]) if isinstance(line, Sent)]
        return {line.text for line in sent if line.status in ("accepted", "delivered")}

    def arrived(self, name: str) -> set[str]:
        """What the other has received of somebody."""
        return {line.text for line in self.received(PEER[name])}

    def teardown(self) -> None:
        """
        In the end the server is honest, and first the one writes once more, then the other, who may be put back to the first
        copy before: whatever is missing shows, and both read what is written.
        """
        if not self.users:
            return
        self.server.old_answer = None
        for name in self.users:
            self.connect(name, HONEST)
        copies = [number for number, copy in enumerate(self.copies) if copy.owner == self.speakers[1]]
        if self.restored and copies:
            self.put_back(copies[0], HONEST)
        for name in self.speakers:
            self.write(name)
            self.mend(name)
        for name in self.users:
            # What came by another way is not kept any longer.
            self.connect(name, HONEST)
            self.check.assertEqual(messages.quarantined(self.users[name].store), (0, 0))
            self.nothing_lost(name)
            self.nobody_unseen(name)

    def mend(self, name: str) -> None:
        """Everything is delivered, for some days; the other only listens, and must read what somebody has written last."""
        last = next(text for text in reversed(self.order) if text.startswith(name))
        for seconds in (0, *MENDING):
            self.wait(seconds)
            for recipient in self.users:
                self.deliver_all(recipient)
            if not seconds and last in self.arrived(name):
                self.nothing_lost(name)
        self.check.assertIn(last, self.accepted(name) & self.arrived(name), "never read")


class ModelTests(SynchronousTestCase):
    """Histories that nobody thought of."""

    @pytest.fixture(autouse=True)
    def _take_examples(self, examples: int) -> None:
        """How many to look at."""
        self.examples = examples

    def test_any_history(self) -> None:
        """Nothing is lost or added unseen, reordered unmarked, or sent in a session that a copy reads after it was left."""
        run_state_machine_as_test(
            TwoAndAServer,
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=12,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate, Phase.shrink] if self.examples > DEFAULT_EXAMPLES else [Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
