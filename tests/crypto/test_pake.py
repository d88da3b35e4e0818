"""SPAKE2 and the keys of short invites: the library against arithmetic of our own, both ends, and what does not fit."""

from __future__ import annotations

import hashlib
import hmac

from Crypto.PublicKey.ECC import EccPoint  # type: ignore[attr-defined]
from Crypto.Signature import eddsa
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import pake, primitives
from securemsg.crypto.keys import length_prefixed
from securemsg.crypto.pake import INVITER, NEWCOMER, Agreed, Exchange
from securemsg.errors import Unauthentic

WORDS = b"abandon-ability-able-about-above-absent"
NUMBER = 7
# The order of the group (RFC 8032 5.1).
ORDER = 2**252 + 27742317777372353535851937790883648493
GENERATOR = EccPoint(
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
    "Ed25519",
)
# The two points of the library that nobody knows the logarithm of: M for side A, N for side B.
M = bytes.fromhex("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312")
N = bytes.fromhex("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3")
# y of the points of small order (RFC 7748 7, on the other curve), and one that is on no curve.
SMALL = (0, 1, 2**255 - 20)
NO_POINT = 2


def point(encoded: bytes) -> EccPoint:
    """A point as it travels."""
    return eddsa.import_public_key(encoded).pointQ


def octets(found: EccPoint) -> bytes:
    """A point, as it travels (RFC 8032 5.1.2)."""
    return (int(found.y) | (int(found.x) & 1) << 255).to_bytes(32, "little")


def hkdf(ikm: bytes, info: bytes, length: int) -> bytes:
    """HKDF with an empty salt, once more."""
    return primitives.hkdf(ikm, salt=b"", info=info, length=length)


class ExchangeTests(SynchronousTestCase):
    """Two ends."""

    def setUp(self) -> None:
        """Both have the same words."""
        self.inviter, self.newcomer = Exchange(WORDS, True), Exchange(WORDS, False)

    def agree(self) -> tuple[Agreed, Agreed]:
        """Exchange the messages."""
        return self.inviter.finish(self.newcomer.message, NUMBER), self.newcomer.finish(self.inviter.message, NUMBER)

    def assert_differ(self, one: Agreed, other: Agreed) -> None:
        """Neither the proof nor the invite of one end passes at the other."""
        self.assertRaises(Unauthentic, one.check, other.proof())
        self.assertRaises(Unauthentic, other.unseal, one.seal(b"invite"))

    def test_agreed(self) -> None:
        """With the same words each end gets what the other end proves and seals."""
        inviter, newcomer = self.agree()
        inviter.check(newcomer.proof())
        self.assertEqual(newcomer.unseal(inviter.seal(b"invite")), b"invite")

    def test_other_words(self) -> None:
        """With other words nothing passes, also if only one letter differs."""
        self.newcomer = Exchange(WORDS[:-1] + b"d", False)
        self.assert_differ(*self.agree())

    def test_other_number(self) -> None:
        """Nor with another number."""
        inviter = self.inviter.finish(self.newcomer.message, NUMBER)
        self.assert_differ(inviter, self.newcomer.finish(self.inviter.message, NUMBER + 1))

    def test_other_exchange(self) -> None:
        """Nor what another exchange with the same words has proved."""
        inviter, _ = self.agree()
        self.newcomer = Exchange(WORDS, False)
        _, newcomer = self.agree()
        self.assert_differ(inviter, newcomer)

    def test_every_change(self) -> None:
        """A proof or an invite with any bit changed is refused."""
        inviter, newcomer = self.agree()
        for made, check in ((newcomer.proof(), inviter.check), (inviter.seal(b"invite"), newcomer.unseal)):
            for bit in range(8 * len(made)):
                changed = bytearray(made)
                changed[bit // 8] ^= 1 << bit % 8
                self.assertRaises(Unauthentic, check, bytes(changed))

    def test_no_message(self) -> None:
        """What is no message of the other end is refused: a wrong side, size or point, and our own message."""
        message = self.newcomer.message
        wrong = [b"", message[:-1], message + b"\0", self.inviter.message, b"A" + message[1:], b"S" + message[1:]]
        wrong += [b"B" + y.to_bytes(32, "little") for y in (*SMALL, NO_POINT)]
        wrong.append(b"B" + self.inviter.message[1:])
        for other in wrong:
            self.assertRaises(Unauthentic, self.inviter.finish, other, NUMBER)

    def test_fresh(self) -> None:
        """No two exchanges are alike."""
        self.assertNotEqual(self.inviter.message, Exchange(WORDS, True).message)

    def test_hidden(self) -> None:
        """Neither words nor keys are in a representation."""
        for shown in (repr(self.inviter), repr(self.agree()[0])):
            self.assertNotIn("abandon", shown)
            self.assertNotIn("key=", shown)


class TranscriptTests(SynchronousTestCase):
    """The library does what the specification says."""

    def test_by_hand(self) -> None:
        """Messages and key come out of the arithmetic of another library."""
        seeds = bytes(range(64)), bytes(range(64, 128))
        x, y = (int.from_bytes(seed, "big") % ORDER for seed in seeds)
        # The password as a scalar: HKDF of magic-wormhole's library, 16 bytes more than a scalar has.
        w = int.from_bytes(hkdf(WORDS, b"SPAKE2 pw", 48), "big") % ORDER
        side_a, side_b = GENERATOR * x + point(M) * w, GENERATOR * y + point(N) * w
        shared = octets(GENERATOR * (x * y % ORDER))
        ends = [Exchange(WORDS, is_inviter, seed) for is_inviter, seed in zip((True, False), seeds, strict=True)]
        self.assertEqual([end.message for end in ends], [b"A" + octets(side_a), b"B" + octets(side_b)])
        hashes = [hashlib.sha256(part).digest() for part in (WORDS, INVITER, NEWCOMER)]
        key = hashlib.sha256(b"".join([*hashes, octets(side_a), octets(side_b), shared])).digest()
        parts = (NUMBER.to_bytes(8, "big"), ends[0].message, ends[1].message)
        confirm = hkdf(key, length_prefixed(b"securemsg/1 code key to confirm"), 64)
        transcript = length_prefixed(b"securemsg/1 code confirmation", *parts)
        agreed = ends[0].finish(ends[1].message, NUMBER)
        self.assertEqual(agreed.proof(), hmac.digest(confirm, transcript, "sha512"))
        seal_key = hkdf(key, length_prefixed(b"securemsg/1 code key to seal"), 64)
        context = length_prefixed(b"securemsg/1 code sealed invite", *parts)
        self.assertEqual(primitives.a256cbc_hs512_decrypt(seal_key, agreed.seal(b"invite"), context), b"invite")

    def test_seed_size(self) -> None:
        """A shorter seed is our own bug."""
        self.assertRaises(ValueError, primitives.spake2_message, bytes(32), WORDS, is_a=True)

    def test_names(self) -> None:
        """Who the two sides are is part of the key."""
        self.assertNotEqual(pake.INVITER, pake.NEWCOMER)
        message = primitives.spake2_message(bytes(64), WORDS, is_a=False)
        found = {
            primitives.spake2_key(bytes(64), WORDS, message, names=names, is_a=True)
            for names in ((INVITER, NEWCOMER), (NEWCOMER, INVITER), (b"", b""))
        }
        self.assertEqual(len(found), 3)
