"""Processes die between any two durable steps: what was accepted is not lost, nothing appears twice, order is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.crypto.keys import sha256
from tests.client.rig import Fate, User, World, outbox_rows

SERVER = "server"


def named(sender: str, to: str, number: int) -> bytes:
    """A message id that is the same in every run."""
    return sha256(f"{sender} {to} {number}".encode())[:16]


@define(eq=False)
class Story:
    """
    A world in which everything that was written is remembered.

    @ivar written: sender and recipient to the texts, in order.
    """

    world: World = field(factory=World)
    written: dict[tuple[str, str], list[str]] = field(factory=dict)

    def fate(self, who: str) -> Fate:
        """When somebody dies."""
        return self.world.store.fate if who == SERVER else self.user(who).store.fate

    def user(self, name: str) -> User:
        """Somebody."""
        return self.world.users[name]

    def join(self, name: str) -> None:
        """Somebody comes."""
        self.world.user(name, connect=False)

    def connect(self, name: str) -> None:
        """Somebody connects."""
        self.world.survive(lambda: self.user(name).connect(settle=False))

    def send(self, sender: str, to: str, wants_receipt: bool = False) -> None:
        """Somebody writes; if that is interrupted, the same again."""
        texts = self.written.setdefault((sender, to), [])
        text = f"{sender} {to} {len(texts)}"
        message_id = named(sender, to, len(texts))
        texts.append(text)
        user = self.user(sender)

        def write() -> None:
            messages.compose(user.store, to, text, now=self.world.clock, message_id=message_id, wants_receipt=wants_receipt)
            if user.agent is not None:
                user.agent.pump()

        self.world.survive(write)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.clock += seconds

        def tick() -> None:
            for user in self.world.users.values():
                if user.agent is not None:
                    user.agent.tick()

        self.world.survive(tick)

    def finish(self, test: SynchronousTestCase) -> None:
        """Let everybody live and connect, and check the promises."""
        for name in self.world.users:
            self.connect(name)
        for _ in range(3):
            self.wait(40)
            for user in self.world.users.values():
                if not user.is_connected:
                    self.connect(user.name)
        for who in (SERVER, *self.world.users):
            self.fate(who).deadline = 0
        for (sender, to), texts in self.written.items():
            test.assertEqual(self.user(to).texts(sender), texts)
            for number in range(len(texts)):
                status = self.user(sender).sent(named(sender, to, number)).status
                test.assertIn(status, ("accepted", "delivered"))
        for user in self.world.users.values():
            test.assertEqual(outbox_rows(user.store), 0)
            test.assertEqual(messages.quarantined(user.store), (0, 0))
            test.assertEqual(messages.notices(user.store), [])
            fresh = user.read()
            received = [texts for (_, to), texts in self.written.items() if to == user.name]
            test.assertEqual(sorted(fresh), sorted(text for texts in received for text in texts))
            test.assertEqual({(line.gap_before, line.note) for line in user.has_read}, {(0, "")} if fresh else set())


def conversation(story: Story) -> None:
    """Two join, write at once and one after the other, and go away in between."""
    story.connect("alice")
    story.connect("bob")
    story.send("alice", "bob", wants_receipt=True)
    story.send("bob", "alice")
    story.send("alice", "bob")
    story.user("bob").disconnect()
    story.world.survive()
    for _ in range(3):
        story.send("alice", "bob", wants_receipt=True)
    story.send("bob", "alice")
    story.connect("bob")
    story.send("alice", "bob")


class EveryMomentTests(SynchronousTestCase):
    """One conversation, again and again; each time somebody dies at another moment."""

    @pytest.fixture(autouse=True)
    def _take_every(self, every: int) -> None:
        """At every how many moments somebody dies."""
        self.every = every

    def tell(self, prepare: Callable[[Story], None]) -> Story:
        """Run the conversation, and check the promises."""
        story = Story()
        story.join("alice")
        story.join("bob")
        prepare(story)
        conversation(story)
        story.finish(self)
        return story

    def every_moment(self, who: str) -> None:
        """Let somebody die at their moments."""
        moments = self.tell(lambda story: None).fate(who).moments
        self.assertGreater(moments, 10)
        for deadline in range(1, moments + 1, self.every):
            for loses in (False, True):

                def prepare(story: Story, deadline: int = deadline, loses: bool = loses) -> None:
                    story.fate(who).deadline = deadline
                    story.world.loses_last_words = loses

                self.tell(prepare)

    def test_sender(self) -> None:
        """Who writes first may die before and after every commit."""
        self.every_moment("alice")

    def test_recipient(self) -> None:
        """Who reads first may die before and after every commit."""
        self.every_moment("bob")

    def test_server(self) -> None:
        """The server may die before and after every batch."""
        self.every_moment(SERVER)

    def test_all_at_odd_moments(self) -> None:
        """All three may die in one conversation."""
        for stride in range(2, 9):

            def prepare(story: Story, stride: int = stride) -> None:
                for place, who in enumerate(("alice", "bob", SERVER)):
                    story.fate(who).deadline = 3 * stride + place

            self.tell(prepare)


class AnsweringTests(SynchronousTestCase):
    """A machine that dies while it answers."""

    def test_every_moment(self) -> None:
        """Every question gets one answer, whenever the machine dies."""
        deadline, done = 0, False
        while not done:
            deadline += 1
            world = World()
            alice, bot = world.user("alice"), world.user("bot")
            source = Immediate(lambda question: f"re: {question.text}")
            answerer = Autoresponder(bot.store, source, partial(getattr, world, "clock"))
            for number in range(3):
                alice.send("bot", f"{number}")
            bot.store.fate = Fate(deadline=deadline)

            def answer(answerer: Autoresponder = answerer, bot: User = bot) -> None:
                answerer.run()
                if bot.agent is not None:
                    bot.agent.pump()

            world.survive(answer)
            self.assertEqual(alice.read(), ["re: 0", "re: 1", "re: 2"])
            done = bot.store.fate.deadline == deadline


class Lives(RuleBasedStateMachine):
    """Three people write, come and go, and die together with the server, in any order."""

    people = st.sampled_from(["alice", "bob", "carol"])

    def __init__(self) -> None:
        """An empty world."""
        super().__init__()
        self.story = Story()

    @initialize(loses=st.booleans())
    def join(self, loses: bool) -> None:
        """All join."""
        self.story.world.loses_last_words = loses
        for name in ("alice", "bob", "carol"):
            self.story.join(name)
            self.story.connect(name)

    @rule(sender=people, to=people, wants_receipt=st.booleans())
    def write(self, sender: str, to: str, wants_receipt: bool) -> None:
        """Somebody writes."""
        if sender != to:
            self.story.send(sender, to, wants_receipt)

    @rule(who=people)
    def leave(self, who: str) -> None:
        """Somebody loses the connection."""
        self.story.user(who).disconnect()
        self.story.world.survive()

    @rule(who=people)
    def come(self, who: str) -> None:
        """Somebody connects."""
        self.story.connect(who)

    @rule(seconds=st.sampled_from([1, 5, 70]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.story.wait(seconds)

    @rule(who=st.one_of(people, st.just(SERVER)), moments=st.integers(1, 12))
    def doom(self, who: str, moments: int) -> None:
        """Somebody will die soon."""
        fate = self.story.fate(who)
        fate.deadline = fate.moments + moments

    def teardown(self) -> None:
        """In the end all promises are kept."""
        if self.story.world.users:
            self.story.finish(SynchronousTestCase())


class AnyOrderTests(SynchronousTestCase):
    """Histories that nobody thought of."""

    def test_lives(self) -> None:
        """Whatever order things happen in, the promises are kept."""
        run_state_machine_as_test(
            Lives,
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
