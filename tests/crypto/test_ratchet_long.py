"""Long conversations over a network that loses, repeats, reorders and spoils what it carries."""

from __future__ import annotations

import random

from attrs import define, evolve, field, frozen
from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import ratchet
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import AgreementKey
from securemsg.crypto.ratchet import Header, Ratchet
from securemsg.crypto.skipped import MAX_CHAINS
from securemsg.errors import LocalProtocolError, Unauthentic

ACTION_NAMES = ("send", "deliver", "lose", "repeat", "spoil")
Action = tuple[int, str, int]
ACTIONS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(ACTION_NAMES), st.integers(0, 1000)), min_size=30, max_size=150)


BEGINNING: list[Action] = [(0, "send", 0), (0, "send", 0), (1, "deliver", 1)]  # until then only one side can act


@frozen
class Message:
    """A message on its way, and what must come out of it."""

    header: Header
    sealed: bytes
    text: bytes


@define
class Side:
    """
    One side: its ratchet, what is on the way to it, what it has read.

    @ivar overflowed: whether it had to give up a chain at any time.
    """

    ratchet: Ratchet
    coming: list[Message] = field(factory=list)
    read: list[Message] = field(factory=list)
    overflowed: bool = False

    def take(self, message: Message) -> bytes:
        """Open a message, and go on from a ratchet that was written down and read again."""
        following, message_key = self.ratchet.next_receiving(message.header)
        text = ratchet.open_message(message_key, message.sealed, b"")
        self.ratchet = load_ratchet(dump_ratchet(following))
        self.overflowed = self.overflowed or len(following.skipped.chains) == MAX_CHAINS
        return text


class NetworkTests(SynchronousTestCase):
    """What arrives is read once and right; what is spoilt or repeated changes nothing."""

    @settings(deadline=None)
    @given(actions=ACTIONS)
    def test_any_network(self, actions: list[Action]) -> None:
        """Every message that arrives is read, unless it is of a turn long past; no other is; no key is used twice."""
        self._converse(actions)

    @settings(deadline=None, max_examples=20)
    @given(
        seed=st.integers(0, 2**32),
        weights=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)),
    )
    def test_long(self, seed: int, weights: tuple[int, ...]) -> None:
        """The same holds over a thousand steps, on networks of any kind."""
        chance = random.Random(seed)
        names = chance.choices(ACTION_NAMES, weights, k=1000)
        sides = self._converse([(chance.randrange(2), name, chance.randrange(1000)) for name in names])
        event(f"{sum(len(side.read) for side in sides) // 100 * 100} or more read")

    def _converse(self, actions: list[Action]) -> tuple[Side, Side]:
        """Begin a session, do what C{actions} say, and see each of them end as it must."""
        prekey = AgreementKey.generate()
        sides = (Side(Ratchet.initiator(bytes(32), prekey.public)), Side(Ratchet.responder(bytes(32), prekey.private)))
        used: set[bytes] = set()
        for index, (who, action, choice) in enumerate([*BEGINNING, *actions]):
            side, peer = sides[who], sides[1 - who]
            if action == "send":
                self._send(side, peer, b"%d" % index, used)
            elif action == "repeat" and side.read:
                self._refused(side, side.read[choice % len(side.read)])
            elif action == "spoil" and side.coming:
                self._spoil(side, side.coming[choice % len(side.coming)], choice)
            elif action == "lose" and side.coming:
                side.coming.pop(choice % len(side.coming))
            elif action == "deliver" and side.coming:
                self._deliver(side, side.coming.pop(choice % len(side.coming)))
        return sides

    def _send(self, side: Side, peer: Side, text: bytes, used: set[bytes]) -> None:
        """Send, if this side can."""
        if side.ratchet.peer_public is None:
            self.assertRaises(LocalProtocolError, side.ratchet.next_sending)
            return
        following, header, message_key = side.ratchet.next_sending()
        side.ratchet = load_ratchet(dump_ratchet(following))
        self.assertNotIn(message_key, used)
        used.add(message_key)
        peer.coming.append(Message(header, ratchet.seal_message(message_key, text, b""), text))

    def _deliver(self, side: Side, message: Message) -> None:
        """Read a message for the first time."""
        try:
            text = side.take(message)
        except Unauthentic:
            self.assertTrue(side.overflowed)
            return
        self.assertEqual(text, message.text)
        side.read.append(message)

    def _refused(self, side: Side, message: Message) -> None:
        """See a message refused, and nothing changed."""
        before = dump_ratchet(side.ratchet)
        self.assertRaises(Unauthentic, side.take, message)
        self.assertEqual(dump_ratchet(side.ratchet), before)

    def _spoil(self, side: Side, message: Message, choice: int) -> None:
        """Change the ciphertext, the number or the ratchet key of a message that has not come yet."""
        at = choice % len(message.sealed)
        sealed = message.sealed[:at] + bytes((message.sealed[at] ^ 1,)) + message.sealed[at + 1 :]
        self._refused(side, evolve(message, sealed=sealed))
        self._refused(side, evolve(message, header=evolve(message.header, number=message.header.number + 1 + choice)))
        self._refused(side, evolve(message, header=evolve(message.header, public=AgreementKey.generate().public)))
