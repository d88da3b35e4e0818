"""An agent keeps its connection, and finds out when there is nobody at its other end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.agent import KEEP_ALIVE
from securemsg.client.requests import TIMEOUT
from securemsg.net.timeouts import IDLE_TIME
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.rig import Wire, World, decoded


class KeepAliveTests(SynchronousTestCase):
    """A client that is connected and has nothing to say."""

    def setUp(self) -> None:
        """Alice is connected, and all is quiet."""
        self.world = World()
        self.alice = self.world.user("alice")
        self.world.settle()
        assert self.alice.wire is not None
        self.wire: Wire = self.alice.wire
        self.wire.log.clear()

    def pings(self) -> int:
        """How often Alice's client asked whether anybody is there."""
        return len(decoded(self.wire, Side.CLIENT, m.Ping))

    def test_ping(self) -> None:
        """After five minutes in which it said nothing, and every five after that, the agent sends a ping."""
        self.world.advance(KEEP_ALIVE - 1)
        self.assertEqual(self.pings(), 0)
        self.world.advance(1)
        self.assertEqual(self.pings(), 1)
        self.world.advance(2 * KEEP_ALIVE, 2 * KEEP_ALIVE)
        self.assertEqual(self.pings(), 3)
        self.assertTrue(self.alice.agent is not None and self.alice.agent.is_ready)

    def test_often_enough(self) -> None:
        """That is so often that two may be lost before the server hangs up."""
        self.assertLessEqual(3 * KEEP_ALIVE, IDLE_TIME)

    def test_busy(self) -> None:
        """Who says something anyway sends no ping."""
        for _ in range(4):
            self.world.advance(KEEP_ALIVE - 1)
            self.alice.send("server", "hello")
            self.world.settle()
        self.assertEqual(self.pings(), 0)

    def test_nobody_there(self) -> None:
        """A server that does not answer a ping is left, so that another connection can be tried."""
        self.wire.held.add(Side.SERVER)
        self.world.advance(KEEP_ALIVE, ticks=2)
        self.world.advance(TIMEOUT - 1)
        self.assertIsNone(self.wire.client.code)
        self.world.advance(1)
        self.assertEqual(self.wire.client.code, "timeout")

    def test_slow_link(self) -> None:
        """A ping behind a long text on a slow link is given the time that the text takes."""
        self.wire.held.add(Side.SERVER)
        self.world.advance(KEEP_ALIVE, ticks=2)
        for _ in range(4):
            self.world.advance(TIMEOUT - 1)
            self.wire.trickle()
        self.assertIsNone(self.wire.client.code)
