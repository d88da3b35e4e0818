"""The ratchets of a profile that was put back from an older copy: what its other life has used is used no more."""

from __future__ import annotations

from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Envelope, EnvelopeHeader, decode_record
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, Wire, decoded


def headers(wire: Wire) -> list[EnvelopeHeader]:
    """The clear headers of all that was deposited over a wire, in order."""
    return [
        decode_record(EnvelopeHeader, decode_record(Envelope, part.own).header)
        for deposit in decoded(wire, Side.CLIENT, m.Deposit)
        for to in deposit.to
        for part in to.parts
    ]


class KeyTests(WorldCase):
    """Alice is in the midst of a chain of sending when her profile is copied; she goes on with it, and then with the copy."""

    def setUp(self) -> None:
        """Both lives of Alice begin at the same message."""
        super().setUp()
        self.carol = self.world.user("carol")
        assert self.alice.wire is not None, "connected"
        wire = self.alice.wire
        for friend in (self.bob, self.carol):
            self.alice.send(friend.name, "hello")
            friend.send("alice", "reply")
            self.alice.send(friend.name, "zero")
        backup = self.alice.backup()
        for friend in (self.bob, self.carol):
            self.alice.send(friend.name, "one")
            self.alice.send(friend.name, "two")
        self.before = headers(wire)
        self.assertIsNone(self.before[-1].prekey)
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.wire = self.alice.connect()

    def test_new_sessions(self) -> None:
        """
        The first message to each contact after the restore opens a session: it carries a prekey header, another than before.
        """
        known = {header.prekey.ephemeral for header in self.before if header.prekey is not None}
        for friend in (self.bob, self.carol):
            self.wire.log.clear()
            self.alice.send(friend.name, "three")
            (first, *_) = headers(self.wire)
            assert first.prekey is not None, "a session that another life has used"
            self.assertNotIn(first.prekey.ephemeral, known)
            self.assertEqual(friend.read()[-1], "three")

    def test_no_key_twice(self) -> None:
        """No place in any chain of keys is taken twice, whatever is said before and after the restore."""
        for number in range(4):
            for friend in (self.bob, self.carol):
                self.alice.send(friend.name, f"again {number}")
                friend.send("alice", f"answer {number}")
        capacity = [(header.ratchet_key, header.number) for header in self.before + headers(self.wire)]
        self.assertGreaterEqual(len(capacity), 16)
        self.assertEqual(len(set(capacity)), len(capacity))

    def test_not_without_a_reply(self) -> None:
        """Until it is answered every message repeats the opening, and all in the same new session."""
        self.part(self.bob)
        self.wire.log.clear()
        for text in ("three", "four", "five"):
            self.alice.send("bob", text)
        openings = [header.prekey for header in headers(self.wire)]
        self.assertNotIn(None, openings)
        self.assertEqual(len({opening.ephemeral for opening in openings if opening is not None}), 1)
        self.bob.connect()
        self.assertEqual(self.bob.read()[-3:], ["three", "four", "five"])

    def test_what_comes_meanwhile(self) -> None:
        """A message that comes in an old session first does not bring that back for sending."""
        self.bob.send("alice", "in the old session")
        self.wire.log.clear()
        self.alice.send("bob", "three")
        self.assertIsNotNone(headers(self.wire)[0].prekey)
