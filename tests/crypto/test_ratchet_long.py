"""
Long conversations over a network that loses, repeats, reorders and spoils what it carries.
"""

from __future__ import annotations

from attrs import define, evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import ratchet
from securemsg.crypto.keys import AgreementKey
from securemsg.crypto.ratchet import Header, Ratchet
from securemsg.crypto.skipped import MAX_CHAINS
from securemsg.errors import LocalProtocolError, Unauthentic

ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(("send", "send", "deliver", "deliver", "deliver", "lose", "repeat", "spoil")),
        st.integers(0, 1000),
    ),
    max_size=120,
)


@frozen
class Message:
    """
    A message on its way, and what must come out of it.
    """

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
        """
        Open a message, and go on from a ratchet that was written down and read again.
        """
        following, message_key = self.ratchet.next_receiving(message.header)
        text = ratchet.open_message(message_key, message.sealed, b"")
        self.ratchet = Ratchet.load(following.dump())
        self.overflowed = self.overflowed or len(following.skipped.chains) == MAX_CHAINS
        return text


class NetworkTests(SynchronousTestCase):
    """
    What arrives is read once and right; what is spoilt or repeated changes nothing.
    """

    @given(actions=ACTIONS)
    def test_any_network(self, actions: list[tuple[int, str, int]]) -> None:
        """
        Every message that arrives is read, unless it is of a turn long past; no other is; no key is used twice.
        """
        prekey = AgreementKey.generate()
        sides = (Side(Ratchet.initiator(bytes(32), prekey.public)), Side(Ratchet.responder(bytes(32), prekey.private)))
        used: set[bytes] = set()
        for index, (who, action, choice) in enumerate(actions):
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

    def _send(self, side: Side, peer: Side, text: bytes, used: set[bytes]) -> None:
        """
        Send, if this side can.
        """
        if side.ratchet.peer_public is None:
            self.assertRaises(LocalProtocolError, side.ratchet.next_sending)
            return
        following, header, message_key = side.ratchet.next_sending()
        side.ratchet = Ratchet.load(following.dump())
        self.assertNotIn(message_key, used)
        used.add(message_key)
        peer.coming.append(Message(header, ratchet.seal_message(message_key, text, b""), text))

    def _deliver(self, side: Side, message: Message) -> None:
        """
        Read a message for the first time.
        """
        try:
            text = side.take(message)
        except Unauthentic:
            self.assertTrue(side.overflowed)
            return
        self.assertEqual(text, message.text)
        side.read.append(message)

    def _refused(self, side: Side, message: Message) -> None:
        """
        See a message refused, and nothing changed.
        """
        before = side.ratchet.dump()
        self.assertRaises(Unauthentic, side.take, message)
        self.assertEqual(side.ratchet.dump(), before)

    def _spoil(self, side: Side, message: Message, choice: int) -> None:
        """
        Change the ciphertext, the number or the ratchet key of a message that has not come yet.
        """
        at = choice % len(message.sealed)
        sealed = message.sealed[:at] + bytes((message.sealed[at] ^ 1,)) + message.sealed[at + 1 :]
        self._refused(side, evolve(message, sealed=sealed))
        self._refused(side, evolve(message, header=evolve(message.header, number=message.header.number + 1 + choice)))
        self._refused(side, evolve(message, header=evolve(message.header, public=AgreementKey.generate().public)))
