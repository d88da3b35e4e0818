"""Somebody sets the clock, forward or back: what lasts goes on as long as it should, and no longer."""

from __future__ import annotations

from collections.abc import Iterator

from securemsg.client.agent import KEEP_ALIVE
from securemsg.client.events import Disconnected
from securemsg.client.maintenance import PERIOD
from securemsg.client.owndevices import CHECK_PAUSE
from securemsg.client.requests import TIMEOUT
from securemsg.client.sending.queues import MAX_PAUSE
from securemsg.client.sending.receipts import ROUND
from securemsg.client.sending.sender import ANSWER_TIME, LIST_PAUSE
from securemsg.client.sessions import resets
from securemsg.client.sessions.resets import GAP_DELAY
from securemsg.client.state.settings import Policy
from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import Wire, decoded

HOUR = 3600


class SetClockTests(WorldCase):
    """Alice and Bob are connected when it happens, and know each other."""

    def setUp(self) -> None:
        """They have written."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "zero")
        self.world.advance(2 * ROUND)

    @property
    def wire(self) -> Wire:
        """Alice's."""
        assert self.alice.wire is not None, "connected"
        return self.alice.wire

    def steps(self) -> Iterator[float]:
        """By how much the clock is set, one after the other; each test begins anew for each."""
        for step in (-6 * HOUR, 12 * HOUR, -HOUR, HOUR):
            yield step
            self.alice.connect()
            self.world.advance(10 * MAX_PAUSE, ticks=20)

    def count(self, kind: type[m.Message]) -> int:
        """How often Alice's client has said that."""
        return len(decoded(self.wire, Side.CLIENT, kind))

    def test_unanswered(self) -> None:
        """A deposit that is not answered ends the connection when its time is over."""
        for step in self.steps():
            self.wire.held = {Side.CLIENT}
            self.alice.send("bob", "one")
            self.world.advance(0)
            self.world.set_clocks(step)
            self.world.advance(ANSWER_TIME)
            self.assertTrue(self.alice.is_connected)
            # A few for the bytes that are on their way.
            self.world.advance(9)
            self.assertEqual(self.alice.events[-1], Disconnected("timeout"))

    def test_question(self) -> None:
        """A question that is not answered is given up when its time is over."""
        for step in self.steps():
            answers: list[object] = []
            self.wire.held = {Side.SERVER}
            assert self.alice.agent is not None, "connected"
            self.alice.agent.ask(m.Ping(0), answers.append)
            self.world.advance(0)
            self.world.set_clocks(step)
            self.world.advance(TIMEOUT - 1)
            self.assertEqual(answers, [])
            self.world.advance(1)
            [refusal] = answers
            assert isinstance(refusal, Refusal)
            self.assertEqual(refusal.code, "timeout")

    def test_keep_alive(self) -> None:
        """A connection that says nothing is kept as it always is."""
        for step in self.steps():
            self.world.advance(KEEP_ALIVE)
            before = self.count(m.Ping)
            self.world.set_clocks(step)
            self.world.advance(KEEP_ALIVE - 1)
            self.assertEqual(self.count(m.Ping), before)
            self.world.advance(1)
            self.assertEqual(self.count(m.Ping), before + 1)

    def test_refused_for_now(self) -> None:
        """What the server refuses for now is tried again after a pause, neither at once nor much later."""
        for step in self.steps():
            wire = self.wire
            wire.to_client = lambda message: (
                [m.DepositRefused(item.deposit_id, "retry-later", []) for item in message.deposits]
                if isinstance(message, m.Accepted)
                else [message]
            )
            message_id = self.alice.send("bob", "one")
            before = self.count(m.Deposit)
            self.world.set_clocks(step)
            self.world.advance(0)
            self.assertEqual(self.count(m.Deposit), before)
            wire.to_client = lambda message: [message]
            self.world.advance(MAX_PAUSE)
            self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_receipts(self) -> None:
        """Receipts go out in the next second."""
        self.alice.confirm_to(Policy.EVERYBODY)
        for step in self.steps():
            self.bob.send("alice", "one", wants_receipt=True)
            self.world.set_clocks(step)
            message_id = self.bob.send("alice", "two", wants_receipt=True)
            self.assertEqual(self.bob.sent(message_id).status, "accepted")
            self.world.advance(ROUND)
            self.assertEqual(self.bob.sent(message_id).status, "delivered")

    def test_reset(self) -> None:
        """What did not arrive is asked for a minute later, not once a clock that was set back has caught up."""
        for step in self.steps():
            profile, device = self.alice.profile(), self.bob.profile().device_id
            with self.alice.store.inner.writing() as records:
                resets.request_reset(records, profile, "bob", device, int(self.world.now()), gaps=True)
            self.world.set_clocks(step)
            self.world.advance(2 * GAP_DELAY, ticks=20)
            with self.alice.store.reading() as records:
                self.assertEqual(resets._dues(records), ())

    def test_maintenance(self) -> None:
        """A long connection looks after its list every hour."""
        for step in self.steps():
            self.world.advance(PERIOD)
            before = self.count(m.Fetch)
            self.world.set_clocks(step)
            self.world.advance(PERIOD - 1)
            self.assertEqual(self.count(m.Fetch), before)
            self.world.advance(1)
            self.assertEqual(self.count(m.Fetch), before + 1)

    def test_own_list(self) -> None:
        """A contact that names false lists of ours has us ask once an hour."""
        assert self.alice.agent is not None, "connected"
        devices = self.alice.agent._own_devices
        assert devices is not None, "an account"
        for step in self.steps():
            before = self.count(m.Fetch)
            devices.check_own_list()
            self.world.set_clocks(step)
            devices.check_own_list()
            self.assertEqual(self.count(m.Fetch), before + 1)
            self.world.clock += CHECK_PAUSE
            devices.check_own_list()
            self.assertEqual(self.count(m.Fetch), before + 2)
            self.world.clock += CHECK_PAUSE

    def test_named_list(self) -> None:
        """A contact that names false lists of its own has us ask once an hour."""
        assert self.alice.agent is not None, "connected"
        sender = self.alice.agent._sender
        for step in self.steps():
            before = self.count(m.Fetch)
            sender.fetch_list("bob")
            self.world.set_clocks(step)
            sender.fetch_list("bob")
            self.assertEqual(self.count(m.Fetch), before + 1)
            self.world.clock += LIST_PAUSE
            sender.fetch_list("bob")
            self.assertEqual(self.count(m.Fetch), before + 2)
            self.world.clock += LIST_PAUSE
