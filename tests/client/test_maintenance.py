"""What an agent throws away, and when."""

from __future__ import annotations

import msgspec

from securemsg.client.agent import Agent
from securemsg.client.messages import Sent
from securemsg.client.sessions import prekeys
from securemsg.client.sessions.prekeys import BATCH, KEM, RETIRED_LIFE
from securemsg.client.state.profile import DAY
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
        """
        A server whose clock is off does not keep us from clearing. One that is right is believed no more: what is kept whatever
        a clock says is the newest that rotate.
        """
        self.alice.connect()
        self.alice.die()
        self.alice.agent = Agent(
            self.alice.store,
            self.alice.profile(),
            now=lambda: self.world.clock + 2 * RETIRED_LIFE,
            seconds=self.world.seconds,
            soon=self.world.later,
            notify=self.alice.events.append,
        )
        with self.alice.store.reading() as records:
            rotating = [records.scan(prekeys.TABLE, kind)[0] for kind in prekeys.ROTATING]
        self.alice.connect()
        self.alice.connect()
        self.assertIn("clock", self.alice.codes())
        self.assertFalse(self.has_claimed())
        with self.alice.store.reading() as records:
            for kind, order, _ in rotating:
                self.assertIsNot(prekeys.find(records, kind, order), None)


class UnconfirmedTests(WorldCase):
    """A server that stores no prekeys, or does not say so."""

    def test_told(self) -> None:
        """Prekeys rotate all the same, and after two weeks the user hears of it."""
        wire = self.alice.wire
        assert wire is not None, "connected"
        wire.to_client = lambda message: [
            m.Refused(message.request, "retry-later") if isinstance(message, m.Done) else message
        ]
        for day in range(1, 23):
            self.assertEqual("prekeys-unconfirmed" in self.alice.codes(), day > 21)
            self.world.advance(DAY, ticks=24)
        uploads = decoded(wire, Side.CLIENT, m.Upload)
        self.assertEqual(len({upload.signed.id for upload in uploads if upload.signed is not None}), 1 + 3)


class BundleAgeTests(WorldCase):
    """Alice writes to Bob for the first time, long after he was online."""

    def setUp(self) -> None:
        """He is away."""
        super().setUp()
        self.part(self.bob)

    def write(self, days: int) -> Sent:
        """What becomes of the message so many days after Bob's last visit."""
        self.world.clock += days * DAY
        self.alice.connect()
        return self.alice.sent(self.alice.send("bob", "hi"))

    def test_refused(self) -> None:
        """Keys that are more than a month old are refused: the message waits, and says why, until Bob has renewed them."""
        sent = self.write(31)
        self.assertEqual((sent.status, sent.code), ("queued", "stale-bundle"))
        self.assertIn("stale-bundle", self.alice.codes())
        self.bob.connect()
        self.world.advance(120, ticks=120)
        self.assertEqual(self.alice.sent(sent.id).status, "accepted")
        self.assertEqual(self.bob.read(), ["hi"])

    def test_warned(self) -> None:
        """Keys that are more than two weeks old are used, with a warning."""
        self.assertEqual(self.write(15).status, "accepted")
        self.assertIn("bundle-old", self.alice.codes())

    def test_young(self) -> None:
        """Younger keys are nothing to speak of."""
        self.assertEqual(self.write(13).status, "accepted")
        self.assertNotIn("bundle-old", self.alice.codes())


class LastResortTests(WorldCase):
    """Openings without prekeys for one use."""

    def openings(self, *kinds: str) -> list[bool]:
        """What Alice's first message and the one after Carol's answer say, at both ends; the server withholds these kinds."""
        carol = self.world.user("carol", connect=False)
        wire = carol.connect(settle=False)
        empty: dict[str, list[m.Prekey]] = {kind: [] for kind in kinds}
        wire.to_server = lambda message: [
            msgspec.structs.replace(message, **empty) if isinstance(message, m.Upload) else message
        ]
        self.world.settle()
        self.alice.send("carol", "first")
        carol.send("alice", "answer")
        self.alice.send("carol", "second")
        lines = [*self.alice.lines("carol"), *carol.lines("alice")]
        return [line.lacks_one_time for line in lines if line.text != "answer"]

    def test_marked(self) -> None:
        """A message that opens a session without a one-time KEM prekey says so, sent and received; later ones do not."""
        self.assertEqual(self.openings("kem"), [True, False, True, False])

    def test_one_time(self) -> None:
        """So it does where the X25519 prekey is missing."""
        self.assertEqual(self.openings("one_time"), [True, False, True, False])

    def test_not_marked(self) -> None:
        """With both there is nothing to say."""
        self.assertEqual(self.openings(), [False] * 4)
