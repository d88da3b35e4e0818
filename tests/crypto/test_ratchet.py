"""The Double Ratchet, step by step, within its limits, and under attack."""

from __future__ import annotations

from attrs import define, evolve
from Crypto.Cipher import AES
from Crypto.Hash import HMAC, SHA256
from Crypto.Protocol import KDF
from Crypto.Util.Padding import pad
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import primitives, ratchet
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import AgreementKey
from securemsg.crypto.ratchet import AlreadyUsed, Header, Ratchet, TooFar
from securemsg.crypto.skipped import MAX_CHAINS, MAX_SKIPPED
from securemsg.errors import LocalProtocolError, Unauthentic
from tests.crypto.test_primitives import LOW_ORDER, damaged

SECRET = bytes(range(32))


@define
class Side:
    """One side of a session that adopts a ratchet only when it should."""

    ratchet: Ratchet

    def send(self, text: bytes = b"text") -> tuple[Header, bytes]:
        """Seal a message."""
        following, header, message_key = self.ratchet.next_sending()
        self.ratchet = following
        return header, ratchet.seal_message(message_key, text, b"associated")

    def receive(self, message: tuple[Header, bytes]) -> bytes:
        """Open a message; where that fails, nothing changes."""
        header, sealed = message
        following, message_key = self.ratchet.next_receiving(header)
        text = ratchet.open_message(message_key, sealed, b"associated")
        self.ratchet = following
        return text


def pair() -> tuple[Side, Side]:
    """A fresh session: the side that sends first, and the other."""
    prekey = AgreementKey.generate()
    return Side(Ratchet.initiator(SECRET, prekey.public)), Side(Ratchet.responder(SECRET, prekey.private))


def talking() -> tuple[Side, Side]:
    """A session in which each side has heard of the other."""
    alice, bob = pair()
    bob.receive(alice.send())
    alice.receive(bob.send())
    return alice, bob


class ConversationTests(SynchronousTestCase):
    """Messages that come as they should, late, or never."""

    def test_turns(self) -> None:
        """Several messages in each of several turns arrive."""
        alice, bob = pair()
        for turn in range(6):
            sender, receiver = ((alice, bob), (bob, alice))[turn % 2]
            for number in range(3):
                text = b"%d in turn %d" % (number, turn)
                self.assertEqual(receiver.receive(sender.send(text)), text)

    def test_initiator_sends_first(self) -> None:
        """The initiator can send any number of messages before it hears anything."""
        alice, bob = pair()
        messages = [alice.send(b"%d" % number) for number in range(50)]
        self.assertEqual([bob.receive(message) for message in messages], [b"%d" % number for number in range(50)])

    def test_responder_must_receive_first(self) -> None:
        """The responder cannot send before it has received: that is our own bug."""
        _, bob = pair()
        self.assertRaises(LocalProtocolError, bob.ratchet.next_sending)

    def test_headers(self) -> None:
        """Headers count messages within a chain, and name the length of the chain before."""
        alice, bob = pair()
        first = [alice.send() for _ in range(3)]
        for message in first:
            bob.receive(message)
        alice.receive(bob.send())
        header, _ = alice.send()
        self.assertEqual([(header.previous_length, header.number) for header, _ in first], [(0, 0), (0, 1), (0, 2)])
        self.assertEqual((header.previous_length, header.number), (3, 0))
        self.assertNotEqual(header.public, first[0][0].public)

    def test_ratchet_key_changes_with_turns(self) -> None:
        """A side keeps its ratchet key while it goes on sending, and takes a fresh one after it has heard a new one."""
        alice, bob = talking()
        first, second = (alice.send() for _ in range(2))
        self.assertEqual(first[0].public, second[0].public)
        bob.receive(first)
        alice.receive(bob.send())
        self.assertNotEqual(alice.send()[0].public, first[0].public)

    def test_reordered(self) -> None:
        """Messages of one turn can be read in any order."""
        alice, bob = pair()
        messages = [alice.send(b"%d" % number) for number in range(6)]
        self.assertEqual([bob.receive(messages[number]) for number in (5, 0, 3, 1, 4, 2)], [b"5", b"0", b"3", b"1", b"4", b"2"])
        self.assertEqual(len(bob.ratchet.skipped), 0)

    def test_late_across_turns(self) -> None:
        """A message that was overtaken by later turns can be read when it comes."""
        alice, bob = talking()
        late = [alice.send(b"late"), alice.send(b"later")]
        for _ in range(3):
            bob.receive(alice.send())
            alice.receive(bob.send())
        self.assertEqual([bob.receive(message) for message in late], [b"late", b"later"])

    def test_lost(self) -> None:
        """Messages that never come do not stop those that do."""
        alice, bob = talking()
        for _ in range(10):
            alice.send()
            bob.send()
            alice.receive(bob.send())
            bob.receive(alice.send())

    def test_message_keys_differ(self) -> None:
        """No two messages have the same key, within a turn and across turns."""
        alice, bob = pair()
        message_keys = set()
        for _ in range(10):
            for sender, receiver in ((alice, bob), (bob, alice)):
                for _ in range(3):
                    _, _, message_key = sender.ratchet.next_sending(SECRET)
                    message_keys.add(message_key)
                    receiver.receive(sender.send())
        self.assertEqual(len(message_keys), 60)

    def test_asking_changes_nothing(self) -> None:
        """A value that was asked for its next keys still gives the same, and leaves no trace."""
        alice, bob = talking()
        header, _ = alice.send()
        before = dump_ratchet(bob.ratchet)
        self.assertEqual(bob.ratchet.next_receiving(header), bob.ratchet.next_receiving(header))
        bob.ratchet.next_receiving(evolve(header, number=100))
        bob.ratchet.next_sending()
        self.assertEqual(dump_ratchet(bob.ratchet), before)

    def test_knows(self) -> None:
        """A session knows the ratchet keys of its current and its incomplete chains, and no others."""
        alice, bob = pair()
        first, missing = alice.send(), alice.send()
        self.assertFalse(bob.ratchet.knows(first[0]))
        bob.receive(first)
        self.assertTrue(bob.ratchet.knows(missing[0]))
        alice.receive(bob.send())
        bob.receive(alice.send())
        self.assertTrue(bob.ratchet.knows(missing[0]))
        bob.receive(missing)
        self.assertFalse(bob.ratchet.knows(missing[0]))
        self.assertFalse(bob.ratchet.knows(Header(AgreementKey.generate().public, 0, 0)))

    def test_knows_no_prekey(self) -> None:
        """An initiator does not take the peer's signed prekey for a chain of the peer."""
        prekey = AgreementKey.generate()
        alice = Ratchet.initiator(SECRET, prekey.public)
        header = Header(prekey.public, 0, 0)
        for state in (alice, alice.next_sending()[0]):
            self.assertFalse(state.knows(header))
            self.assertRaises(Unauthentic, state.next_receiving, header)


class SpecificationTests(SynchronousTestCase):
    """The algorithms of section 5.2, computed anew with the other library."""

    def test_first_message(self) -> None:
        """The first message is sealed as the specification says, from the shared secret on."""
        prekey, own = AgreementKey.generate(), AgreementKey.generate()
        _, header, message_key = Ratchet.initiator(SECRET, prekey.public).next_sending(own.private)
        self.assertEqual(header, Header(own.public, 0, 0))
        agreed = primitives.x25519(prekey.private, own.public)
        chain_key = KDF.HKDF(agreed, 64, SECRET, SHA256, 1, b"securemsg/1 ratchet root")[32:]
        self.assertEqual(message_key, HMAC.new(chain_key, b"\x01", SHA256).digest())
        derived = KDF.HKDF(message_key, 80, bytes(32), SHA256, 1, b"securemsg/1 ratchet message")
        ciphertext = AES.new(derived[:32], AES.MODE_CBC, iv=derived[64:]).encrypt(pad(b"text", 16))
        tag = HMAC.new(derived[32:64], b"associated" + ciphertext, SHA256).digest()
        self.assertEqual(ratchet.seal_message(message_key, b"text", b"associated"), ciphertext + tag)

    def test_second_message(self) -> None:
        """The second message key comes from the chain key's HMAC over 0x02."""
        chain_key = bytes(range(32))
        state = Ratchet(SECRET, SECRET, SECRET, SECRET, chain_key)
        following, _, _ = state.next_sending()
        _, header, message_key = following.next_sending()
        second = HMAC.new(chain_key, b"\x02", SHA256).digest()
        self.assertEqual(message_key, HMAC.new(second, b"\x01", SHA256).digest())
        self.assertEqual(header.number, 1)


class AttackTests(SynchronousTestCase):
    """Whatever the network does: refused, and the state is as it was."""

    def refused(self, side: Side, message: tuple[Header, bytes], error: type[Unauthentic] = Unauthentic) -> None:
        """Check that C{side} refuses a message and stays what it is."""
        before = side.ratchet
        self.assertRaises(error, side.receive, message)
        self.assertIs(side.ratchet, before)

    def test_every_change(self) -> None:
        """A sealed message that differs in any byte, or in length, is refused, and the true one still opens."""
        for sessions in (pair, talking):
            alice, bob = sessions()
            header, sealed = alice.send()
            for spoilt in damaged(sealed):
                self.refused(bob, (header, spoilt))
            self.assertEqual(bob.receive((header, sealed)), b"text")

    def test_other_header(self) -> None:
        """A message under another number or ratchet key is refused, and the true one still opens."""
        for sessions in (pair, talking):
            alice, bob = sessions()
            alice.send()
            header, sealed = alice.send()
            for number in (0, 2, 3, -1):
                self.refused(bob, (evolve(header, number=number), sealed))
            self.refused(bob, (evolve(header, public=AgreementKey.generate().public), sealed))
            for spoilt in damaged(header.public, 5):
                self.refused(bob, (evolve(header, public=spoilt), sealed))
            self.assertEqual(bob.receive((header, sealed)), b"text")

    def test_other_associated_data(self) -> None:
        """A message does not open under other associated data."""
        alice, bob = pair()
        header, sealed = alice.send()
        _, message_key = bob.ratchet.next_receiving(header)
        for spoilt in damaged(b"associated"):
            self.assertRaises(Unauthentic, ratchet.open_message, message_key, sealed, spoilt)

    def test_low_order(self) -> None:
        """A ratchet key of low order is refused, in a header and as a first prekey."""
        alice, bob = pair()
        header, sealed = alice.send()
        for point in LOW_ORDER:
            self.refused(bob, (evolve(header, public=point), sealed))
            self.assertRaises(Unauthentic, Ratchet.initiator(SECRET, point).next_sending)

    def test_replayed(self) -> None:
        """A message that came before is refused: the last one, an earlier one, a late one, and one of an earlier turn."""
        alice, bob = talking()
        late, first, second = (alice.send() for _ in range(3))
        for message in (first, second, late):
            bob.receive(message)
        for message in (first, second, late):
            self.refused(bob, message, AlreadyUsed)
        alice.receive(bob.send())
        bob.receive(alice.send())
        for message in (first, second, late):
            self.refused(bob, message)

    def test_replayed_of_incomplete_chain(self) -> None:
        """A repeated message of an earlier turn, of which another is still missing, is refused as a repetition."""
        alice, bob = talking()
        missing, came = alice.send(b"missing"), alice.send()
        bob.receive(came)
        alice.receive(bob.send())
        bob.receive(alice.send())
        self.refused(bob, came, AlreadyUsed)
        self.assertEqual(bob.receive(missing), b"missing")

    def test_reflected(self) -> None:
        """A message that comes back to its sender is refused."""
        alice, bob = talking()
        for side in (alice, bob):
            self.refused(side, side.send())

    def test_answer_to_nothing(self) -> None:
        """A new ratchet key of the peer is refused while it cannot know one of ours that is newer than its last."""
        alice, bob = pair()
        bob.receive(alice.send())
        header, sealed = alice.send()
        self.refused(bob, (evolve(header, public=AgreementKey.generate().public), sealed))

    def test_other_session(self) -> None:
        """A message of another session is refused."""
        alice, _ = talking()
        _, bob = talking()
        self.refused(bob, alice.send())

    def test_forward_secrecy(self) -> None:
        """Nothing in a state opens what was received before it, but for messages that are still missing."""
        alice, bob = pair()
        missing, came = alice.send(b"missing"), alice.send(b"came")
        bob.receive(came)
        thief = Side(load_ratchet(dump_ratchet(bob.ratchet)))
        self.refused(thief, came, AlreadyUsed)
        self.assertEqual(thief.receive(missing), b"missing")

    def test_no_ratchet_key_is_left(self) -> None:
        """Once a ratchet key has agreed on a receiving chain it is gone, not kept until we answer."""
        alice, bob = pair()
        private = bob.ratchet.own_private
        bob.receive(alice.send())
        self.assertIsNone(bob.ratchet.own_private)
        assert private is not None
        self.assertNotIn(private, dump_ratchet(bob.ratchet))

    def test_healing(self) -> None:
        """Whoever copied a state cannot read what is sent after both sides have answered each other."""
        alice, bob = talking()
        thief = Side(bob.ratchet)
        bob.receive(alice.send())
        alice.receive(bob.send())
        self.refused(thief, alice.send())

    def test_no_secret_in_representation(self) -> None:
        """No key of a ratchet shows in its representation."""
        alice, bob = talking()
        late, message = alice.send(), alice.send()
        bob.receive(message)
        late_key = bob.ratchet.next_receiving(late[0])[1]
        for side in (alice, bob):
            state = side.ratchet
            for secret in (state.root, state.own_private, state.sending, state.receiving, late_key):
                if secret is not None:
                    self.assertNotIn(repr(secret)[2:-1], repr(state))
                    self.assertNotIn(secret.hex(), repr(state))


class LimitTests(SynchronousTestCase):
    """What one message may cost, and what a session may keep."""

    def test_jump(self) -> None:
        """2000 missing messages of one chain are bridged, one more is refused."""
        alice, bob = talking()
        message = alice.send()
        bob.receive(message)
        public = message[0].public
        bob.ratchet.next_receiving(Header(public, 1, 2001))
        self.assertRaises(TooFar, bob.ratchet.next_receiving, Header(public, 1, 2002))
        self.assertRaises(TooFar, bob.ratchet.next_receiving, Header(public, 1, 2**63))

    def test_jump_in_new_chain(self) -> None:
        """2000 missing messages at the start of a chain are bridged, one more is refused."""
        _, bob = talking()
        public = AgreementKey.generate().public
        bob.ratchet.next_receiving(Header(public, 1, 2000))
        self.assertRaises(TooFar, bob.ratchet.next_receiving, Header(public, 1, 2001))
        self.assertRaises(TooFar, bob.ratchet.next_receiving, Header(public, 1, 2**63))

    def test_jump_over_two_chains(self) -> None:
        """The rest of the last chain and the start of the next count together."""
        alice, bob = talking()
        bob.receive(alice.send())
        bob.send()
        state = bob.ratchet
        public = AgreementKey.generate().public
        state.next_receiving(Header(public, state.received + 1500, 500))
        self.assertRaises(TooFar, state.next_receiving, Header(public, state.received + 1500, 501))
        self.assertRaises(TooFar, state.next_receiving, Header(public, 2**63, 0))

    def test_refused_jump_costs_nothing(self) -> None:
        """After a refused jump the messages before it can still be read."""
        alice, bob = pair()
        messages = [alice.send(b"%d" % number) for number in range(2002)]
        self.assertRaises(TooFar, bob.receive, messages[2001])
        self.assertEqual(bob.receive(messages[2000]), b"2000")
        self.assertEqual(bob.receive(messages[2001]), b"2001")
        self.assertEqual(bob.receive(messages[0]), b"0")

    def test_kept_keys(self) -> None:
        """A session keeps 2000 keys: with more missing, the oldest messages can no longer be read."""
        alice, bob = pair()
        messages = [alice.send() for _ in range(2011)]
        bob.receive(messages[2000])
        bob.receive(messages[2010])
        self.assertEqual(len(bob.ratchet.skipped), MAX_SKIPPED)
        self.assertRaises(AlreadyUsed, bob.receive, messages[8])
        self.assertEqual(bob.receive(messages[9]), b"text")

    def test_kept_chains(self) -> None:
        """A session keeps what is missing of 5 turns: of the sixth last, nothing can be read any more."""
        alice, bob = talking()
        missing = []
        for number in range(MAX_CHAINS + 1):
            missing.append(alice.send(b"%d" % number))
            bob.receive(alice.send())
            alice.receive(bob.send())
        self.assertEqual(len(bob.ratchet.skipped.chains), MAX_CHAINS)
        self.assertRaises(Unauthentic, bob.receive, missing[0])
        self.assertEqual([bob.receive(message) for message in missing[1:]], [b"1", b"2", b"3", b"4", b"5"])

    def test_own_keys_checked(self) -> None:
        """A session cannot begin with a secret or key of our own that has another size."""
        for size in (0, 31, 33):
            self.assertRaises(LocalProtocolError, Ratchet.initiator, bytes(size), SECRET)
            self.assertRaises(LocalProtocolError, Ratchet.responder, bytes(size), SECRET)
            self.assertRaises(LocalProtocolError, Ratchet.responder, SECRET, bytes(size))
            self.assertRaises(Unauthentic, Ratchet.initiator, SECRET, bytes(size))
