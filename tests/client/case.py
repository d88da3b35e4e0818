"""What many tests of the agent begin with."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client.rig import User, World


class WorldCase(SynchronousTestCase):
    """A world with Alice and Bob in it."""

    def setUp(self) -> None:
        """Alice and Bob have joined, and are connected."""
        self.world = World()
        self.alice, self.bob = self.world.user("alice"), self.world.user("bob")

    def part(self, user: User) -> None:
        """Take somebody off the network."""
        user.disconnect()
        self.world.settle()
