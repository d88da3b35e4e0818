"""What an agent throws away, and when."""

from __future__ import annotations

from securemsg.client.agent import Agent
from securemsg.client.sessions import prekeys
from securemsg.client.sessions.prekeys import BATCH, KEM, RETIRED_LIFE
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import decoded


class ClearingTests(WorldCase):
    """Bob has claimed a prekey of Alice's, and never used it."""

    def setUp(self) -> None:
        """He asks for nothing but the bundle."""
        super().setUp()
        assert self.bob.agent is not None and self.bob.wire is not None, "connected"
        self.bob.agent.ask(m.Claim(0, "alice", self.alice.profile().device_id, 0), lambda answer: None)
        self.world.settle()
        self.claimed = decoded(self.bob.wire, Side.SERVER, m.Bundle)[0].kem.id

    def has_claimed(self) -> bool:
        """Does Alice still have the private half?"""
        with self.alice.store.reading() as records:
            return prekeys.find(records, KEM, self.claimed) is not None

    def count(self) -> int:
        """How many private halves of that kind Alice has."""
        with self.alice.store.reading() as records:
            return len(records.scan(prekeys.TABLE, KEM))

    def test_claimed_is_cleared(self) -> None:
        """The private half lives until no message can name it any more; the others, which nobody has claimed, live on."""
        self.alice.connect()
        self.world.clock += RETIRED_LIFE - 1
        self.alice.connect()
        self.assertTrue(self.has_claimed())
        self.world.clock += 1
        self.alice.connect()
        self.assertFalse(self.has_claimed())
        self.assertEqual(self.count(), BATCH - 1)

    def test_without_another_login(self) -> None:
        """It goes as well while a connection lasts."""
        self.alice.connect()
        assert self.alice.agent is not None, "connected"
        self.world.clock += RETIRED_LIFE
        self.alice.agent.tick()
        self.world.settle()
        self.world.advance(7 * 3600, ticks=84)
        self.assertFalse(self.has_claimed())

    def test_wrong_clock(self) -> None:
        """A clock that is months ahead for one login clears nothing."""
        self.alice.connect()
        self.alice.die()
        self.alice.agent = Agent(
            self.alice.store,
            self.alice.profile(),
            now=lambda: self.world.clock + 2 * RETIRED_LIFE,
            soon=self.world.later,
            notify=self.alice.events.append,
        )
        self.alice.connect()
        self.assertIn("clock", self.alice.codes())
        self.assertTrue(self.has_claimed())
