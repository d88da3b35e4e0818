"""A profile that was put back from an older copy."""

from __future__ import annotations

from securemsg.client import messages
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, decoded


class RestoredTests(WorldCase):
    """A profile that was put back from an older copy."""

    def setUp(self) -> None:
        """Alice's profile is as it was before her last messages."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        backup = self.alice.backup()
        self.alice.send("bob", "one")
        self.bob.send("alice", "after the backup")
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.before = self.alice.profile()
        self.wire = self.alice.connect()

    def test_found_out(self) -> None:
        """The server's n gives it away, and the user is told."""
        self.assertIn("state-restored", [notice.code for notice in messages.notices(self.alice.store)])

    def test_new_life(self) -> None:
        """It goes on under a new incarnation, with new prekeys in place of those that may have been used."""
        self.assertNotEqual(self.alice.profile().incarnation, self.before.incarnation)
        upload = decoded(self.wire, Side.CLIENT, m.Upload)[0]
        self.assertTrue(upload.replace)
        self.assertEqual((len(upload.one_time), len(upload.kem)), (50, 50))

    def test_conversation(self) -> None:
        """Both sides read each other again."""
        self.alice.send("bob", "two")
        self.bob.send("alice", "three")
        self.assertEqual(self.bob.read(), ["zero", "one", "two"])
        self.assertEqual(self.alice.texts("bob")[-1], "three")

    def test_lost_is_asked_for(self) -> None:
        """What had come after the copy was made is seen to be missing, and sent again."""
        self.bob.send("alice", "three")
        self.alice.send("bob", "two")
        self.world.advance(3600 * 3, ticks=20)
        self.assertEqual(self.alice.texts("bob"), ["reply", "after the backup", "three"])

    def test_only_once(self) -> None:
        """The next login is an ordinary one."""
        incarnation = self.alice.profile().incarnation
        self.alice.connect()
        self.assertEqual(self.alice.profile().incarnation, incarnation)
