"""Signatures under labels, digests, names for people."""

from __future__ import annotations

import hashlib
import hmac
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys
from securemsg.crypto.keys import AgreementKey, SigningKey
from securemsg.errors import Unauthentic

PRIVATE = bytes(range(32))
PARTS = st.lists(st.binary(max_size=20), max_size=5)


class LengthPrefixedTests(SynchronousTestCase):
    """How parts are joined."""

    def test_bytes(self) -> None:
        """Each part follows its length in 4 bytes, big-endian."""
        self.assertEqual(keys.length_prefixed(b"ab", b"", b"c" * 256), b"\0\0\0\2ab\0\0\0\0\0\0\1\0" + b"c" * 256)
        self.assertEqual(keys.length_prefixed(), b"")

    @given(one=PARTS, other=PARTS)
    def test_unambiguous(self, one: list[bytes], other: list[bytes]) -> None:
        """Two lists of parts are joined alike only if they are the same list."""
        self.assertEqual(keys.length_prefixed(*one) == keys.length_prefixed(*other), one == other)


class SignatureTests(SynchronousTestCase):
    """What a signature covers."""

    def test_verify(self) -> None:
        """A signature verifies for its key, label and parts."""
        key = SigningKey.generate()
        keys.verify(key.public, key.sign(keys.SIGNED_PREKEY, b"one", b"two"), keys.SIGNED_PREKEY, b"one", b"two")

    def test_relabelled(self) -> None:
        """A signature made for one purpose proves nothing for another."""
        key = SigningKey(PRIVATE)
        signature = key.sign(keys.SIGNED_PREKEY, b"part")
        self.assertRaises(Unauthentic, keys.verify, key.public, signature, keys.ONE_TIME_PREKEY, b"part")

    def test_moved_boundary(self) -> None:
        """Bytes cannot move from one part to the next."""
        key = SigningKey(PRIVATE)
        signature = key.sign(keys.SIGNED_PREKEY, b"ab", b"c")
        for parts in ((b"a", b"bc"), (b"abc",), (b"ab", b"c", b""), (b"abc", b"")):
            self.assertRaises(Unauthentic, keys.verify, key.public, signature, keys.SIGNED_PREKEY, *parts)

    def test_other_key(self) -> None:
        """A signature of somebody else, and an invalid key, are refused."""
        signature = SigningKey(PRIVATE).sign(keys.SIGNED_PREKEY)
        self.assertRaises(Unauthentic, keys.verify, SigningKey.generate().public, signature, keys.SIGNED_PREKEY)
        self.assertRaises(Unauthentic, keys.verify, b"short", signature, keys.SIGNED_PREKEY)


class KeyPairTests(SynchronousTestCase):
    """Key pairs as values."""

    def test_no_secret_in_representation(self) -> None:
        """No private key shows in a representation, in no notation."""
        for key in (SigningKey(PRIVATE), AgreementKey(PRIVATE)):
            for notation in (repr(PRIVATE), repr(PRIVATE)[2:-1], PRIVATE.hex()):
                self.assertNotIn(notation, repr(key))
                self.assertNotIn(notation, str(key))

    def test_fresh(self) -> None:
        """No two generated keys are the same."""
        self.assertEqual(len({SigningKey.generate().public for _ in range(20)}), 20)
        self.assertEqual(len({AgreementKey.generate().public for _ in range(20)}), 20)

    def test_wrong_size(self) -> None:
        """A private key of another size is our bug."""
        for size in (0, 31, 33):
            self.assertRaises(ValueError, SigningKey, bytes(size))
            self.assertRaises(ValueError, AgreementKey, bytes(size))

    def test_comparison(self) -> None:
        """Key pairs are the same if their public halves are: no private bytes are compared."""
        self.assertEqual(SigningKey(PRIVATE), SigningKey(PRIVATE))
        self.assertNotEqual(SigningKey(PRIVATE), SigningKey(PRIVATE[::-1]))


class NameTests(SynchronousTestCase):
    """Ids, digests, fingerprints and safety numbers."""

    def test_random(self) -> None:
        """Ids have 16 bytes, nonces 32, and none comes twice."""
        self.assertEqual({len(keys.random_id()) for _ in range(20)}, {16})
        self.assertEqual({len(keys.nonce()) for _ in range(20)}, {32})
        self.assertEqual(len({keys.random_id() for _ in range(1000)}), 1000)

    def test_digest(self) -> None:
        """A digest is SHA-256 of the parts with their lengths."""
        self.assertEqual(keys.digest(b"ab", b"c"), hashlib.sha256(b"\0\0\0\2ab\0\0\0\1c").digest())
        self.assertNotEqual(keys.digest(b"ab", b"c"), keys.digest(b"a", b"bc"))

    def test_same(self) -> None:
        """Only equal secrets are the same."""
        self.assertTrue(keys.same(b"token", b"token"))
        self.assertFalse(keys.same(b"token", b"tokem"))

    def test_mac(self) -> None:
        """A MAC is HMAC-SHA-512 over label and parts, each with its length, and as long as a signature."""
        expected = hmac.digest(PRIVATE, b"\0\0\0\5label\0\0\0\3one\0\0\0\0", "sha512")
        self.assertEqual(keys.mac(PRIVATE, b"label", b"one", b""), expected)
        self.assertEqual(len(expected), 64)
        self.assertNotEqual(keys.mac(PRIVATE, b"label", b"on", b"e"), keys.mac(PRIVATE, b"label", b"one", b""))

    def test_connection_nonce(self) -> None:
        """The nonce of a connection depends on the nonces of both ends, on which is whose, and on the TLS session."""
        one, other, exporter = b"1" * 32, b"2" * 32, b"3" * 32
        nonces = {
            keys.connection_nonce(one, other, exporter),
            keys.connection_nonce(other, one, exporter),
            keys.connection_nonce(one, one, exporter),
            keys.connection_nonce(one, other, b"4" * 32),
            keys.connection_nonce(one, other, b""),
        }
        self.assertEqual(len(nonces), 5)
        self.assertEqual({len(nonce) for nonce in nonces}, {32})

    def test_caller_device(self) -> None:
        """Each connection is a device of its own, whose id says nothing about the connection's nonce."""
        device = keys.guest_device(PRIVATE)
        self.assertEqual(device, keys.digest(keys.KEY_DEVICE, PRIVATE)[:16])
        self.assertNotEqual(device, keys.guest_device(PRIVATE[::-1]))

    def test_fingerprint(self) -> None:
        """A fingerprint is 16 hex digits in fours, of the key's SHA-256."""
        self.assertEqual(keys.fingerprint(b"abc"), "ba78 16bf 8f01 cfea")

    def test_safety_number(self) -> None:
        """A safety number has 60 digits in twelve groups, the same for both who compare."""
        alice, bob = SigningKey.generate().public, SigningKey.generate().public
        number = keys.safety_number("alice", alice, "bob", bob)
        self.assertTrue(re.fullmatch(r"\d{5}( \d{5}){11}", number))
        self.assertEqual(keys.safety_number("bob", bob, "alice", alice), number)

    def test_safety_number_depends(self) -> None:
        """Another key or another name on either side gives another number."""
        one, other, third = (bytes((number,)) * 32 for number in (1, 2, 3))
        numbers = {
            keys.safety_number("alice", one, "bob", other),
            keys.safety_number("alice", one, "bob", third),
            keys.safety_number("alice", third, "bob", other),
            keys.safety_number("alice", other, "bob", one),
            keys.safety_number("carol", one, "bob", other),
        }
        self.assertEqual(len(numbers), 5)

    def test_safety_number_again(self) -> None:
        """A safety number is what its description says, computed anew from it."""
        halves = []
        for name, identity in ((b"alice", b"\1" * 32), (b"bob", b"\2" * 32)):
            state = keys.length_prefixed(b"securemsg/1 safety number", identity, name)
            for _ in range(5200):
                state = hashlib.sha512(state + identity).digest()
            groups = [int.from_bytes(state[start : start + 5], "big") % 100000 for start in (0, 5, 10, 15, 20, 25)]
            halves.append(" ".join(f"{group:05}" for group in groups))
        self.assertEqual(keys.safety_number("alice", b"\1" * 32, "bob", b"\2" * 32), " ".join(sorted(halves)))
