"""The first secret of two devices, one of which is away."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from attrs import evolve, frozen
from Crypto.Hash import SHA256
from Crypto.Protocol import DH, KDF
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys, pqxdh, primitives
from securemsg.crypto.keys import AgreementKey, SigningKey
from securemsg.crypto.pqxdh import Initiation, PrekeyBundle, PublicPrekey
from securemsg.errors import Unauthentic
from tests.crypto.test_primitives import LOW_ORDER


@frozen
class Absent:
    """The device that is away, with everything it keeps."""

    signing: SigningKey
    agreement: AgreementKey
    signed_private: bytes
    kem_seed: bytes
    one_time_private: bytes | None
    bundle: PrekeyBundle

    @classmethod
    def make(cls, *, one_time: bool = True, last_resort: bool = False) -> Absent:
        """Make a device, and the bundle that the server holds for it."""
        signing = SigningKey.generate()
        signed_private, signed = pqxdh.make_signed_prekey(signing, 1)
        make_kem = pqxdh.make_last_resort_prekey if last_resort else pqxdh.make_kem_prekey
        kem_seed, kem = make_kem(signing, 2)
        one_time_private, one_time_public = pqxdh.make_one_time_prekey(signing, 2**64 - 1)
        return cls(
            signing,
            AgreementKey.generate(),
            signed_private,
            kem_seed,
            one_time_private if one_time else None,
            PrekeyBundle(signed, kem, last_resort, one_time_public if one_time else None),
        )

    def respond(self, peer: bytes, initiation: Initiation) -> bytes:
        """Come back, and agree."""
        return pqxdh.respond(
            self.agreement,
            self.signed_private,
            self.kem_seed,
            self.one_time_private,
            peer,
            initiation.ephemeral_public,
            initiation.kem_ciphertext,
        )


class AgreementTests(SynchronousTestCase):
    """Both sides have one secret, or none."""

    def test_all_bundles(self) -> None:
        """Both sides agree with and without a one-time prekey, with either kind of KEM prekey."""
        for one_time in (True, False):
            for last_resort in (True, False):
                absent, own = Absent.make(one_time=one_time, last_resort=last_resort), AgreementKey.generate()
                absent.bundle.verify(absent.signing.public)
                initiation = pqxdh.initiate(own, absent.agreement.public, absent.bundle)
                self.assertEqual(len(initiation.secret), 32)
                self.assertEqual(absent.respond(own.public, initiation), initiation.secret)

    def test_specification(self) -> None:
        """The secret is what PQXDH, sections 2.2 and 3.4, says, computed anew with other libraries."""
        for one_time in (True, False):
            absent, own = Absent.make(one_time=one_time), AgreementKey.generate()
            initiation = pqxdh.initiate(own, absent.agreement.public, absent.bundle)

            def agree(private: bytes, public: bytes) -> bytes:
                """X25519 of the other library."""
                agreed: bytes = DH.key_agreement(
                    static_priv=DH.import_x25519_private_key(private),
                    static_pub=DH.import_x25519_public_key(public),
                    kdf=lambda secret: secret,
                )
                return agreed

            material = b"\xff" * 32
            material += agree(absent.signed_private, own.public)
            material += agree(absent.agreement.private, initiation.ephemeral_public)
            material += agree(absent.signed_private, initiation.ephemeral_public)
            if absent.one_time_private is not None:
                material += agree(absent.one_time_private, initiation.ephemeral_public)
            material += MLKEM768PrivateKey.from_seed_bytes(absent.kem_seed).decapsulate(initiation.kem_ciphertext)
            info = b"securemsg_CURVE25519_SHA-256_ML-KEM-768"
            self.assertEqual(initiation.secret, KDF.HKDF(material, 32, bytes(32), SHA256, 1, info))

    def test_fixed(self) -> None:
        """Fixed keys give a fixed secret: the construction cannot change unnoticed."""
        seeds = [hashlib.sha512(bytes((number,))).digest() for number in range(6)]
        own, signed, one_time, peer, ephemeral = (seed[:32] for seed in seeds[:5])
        ciphertext = hashlib.shake_256(b"ciphertext").digest(1088)
        secret = pqxdh.respond(
            AgreementKey(own),
            signed,
            seeds[5],
            one_time,
            primitives.x25519_public(peer),
            primitives.x25519_public(ephemeral),
            ciphertext,
        )
        self.assertEqual(secret.hex(), "a3bbfe0b21653fd60bf57af4215431701c29d440a70e940b5b0cde43a48f6ba8")

    def test_fresh(self) -> None:
        """Two initiations with one bundle share neither secret nor ephemeral key."""
        absent, own = Absent.make(one_time=False, last_resort=True), AgreementKey.generate()
        one, other = (pqxdh.initiate(own, absent.agreement.public, absent.bundle) for _ in range(2))
        self.assertNotEqual(one.secret, other.secret)
        self.assertNotEqual(one.ephemeral_public, other.ephemeral_public)

    def test_every_input_matters(self) -> None:
        """With any one key or ciphertext replaced, the responder has another secret."""
        absent, own = Absent.make(), AgreementKey.generate()
        initiation = pqxdh.initiate(own, absent.agreement.public, absent.bundle)
        fresh = primitives.x25519_generate()
        _, other_ciphertext = primitives.mlkem768_encapsulate(absent.bundle.kem.key)
        changed = (
            evolve(absent, agreement=AgreementKey(fresh)).respond(own.public, initiation),
            evolve(absent, signed_private=fresh).respond(own.public, initiation),
            evolve(absent, kem_seed=primitives.mlkem768_generate()).respond(own.public, initiation),
            evolve(absent, one_time_private=fresh).respond(own.public, initiation),
            evolve(absent, one_time_private=None).respond(own.public, initiation),
            absent.respond(primitives.x25519_public(fresh), initiation),
            absent.respond(own.public, evolve(initiation, ephemeral_public=primitives.x25519_public(fresh))),
            absent.respond(own.public, evolve(initiation, kem_ciphertext=other_ciphertext)),
        )
        self.assertEqual(len({initiation.secret, *changed}), 9)

    def test_low_order_initiator(self) -> None:
        """An initiator's key of low order is refused, as identity and as ephemeral key."""
        absent, own = Absent.make(), AgreementKey.generate()
        initiation = pqxdh.initiate(own, absent.agreement.public, absent.bundle)
        for point in LOW_ORDER:
            self.assertRaises(Unauthentic, absent.respond, point, initiation)
            self.assertRaises(Unauthentic, absent.respond, own.public, evolve(initiation, ephemeral_public=point))

    def test_low_order_responder(self) -> None:
        """A responder's key of low order is refused, as identity and as prekey, signed or not."""
        absent, own = Absent.make(), AgreementKey.generate()
        assert absent.bundle.one_time is not None
        for point in LOW_ORDER:
            self.assertRaises(Unauthentic, pqxdh.initiate, own, point, absent.bundle)
            for bundle in (
                evolve(absent.bundle, signed=evolve(absent.bundle.signed, key=point)),
                evolve(absent.bundle, one_time=evolve(absent.bundle.one_time, key=point)),
            ):
                self.assertRaises(Unauthentic, pqxdh.initiate, own, absent.agreement.public, bundle)

    def test_wrong_sizes(self) -> None:
        """Keys and ciphertexts of another size are refused on both sides."""
        absent, own = Absent.make(), AgreementKey.generate()
        initiation = pqxdh.initiate(own, absent.agreement.public, absent.bundle)
        for size in (0, 31, 33):
            self.assertRaises(Unauthentic, absent.respond, bytes(size), initiation)
            self.assertRaises(Unauthentic, absent.respond, own.public, evolve(initiation, ephemeral_public=b"\1" * size))
            self.assertRaises(Unauthentic, pqxdh.initiate, own, b"\1" * size, absent.bundle)
        for size in (0, 1087, 1089):
            self.assertRaises(Unauthentic, absent.respond, own.public, evolve(initiation, kem_ciphertext=bytes(size)))

    def test_no_secret_in_representation(self) -> None:
        """The secret does not show in the representation of an initiation."""
        absent = Absent.make()
        initiation = pqxdh.initiate(AgreementKey.generate(), absent.agreement.public, absent.bundle)
        self.assertNotIn(repr(initiation.secret)[2:-1], repr(initiation))


class BundleTests(SynchronousTestCase):
    """A server that changes a bundle is found out."""

    def setUp(self) -> None:
        """One device with a complete bundle, and another one's."""
        self.absent, self.other = Absent.make(), Absent.make()
        self.bundle = self.absent.bundle
        assert self.bundle.one_time is not None
        self.one_time: PublicPrekey = self.bundle.one_time

    def refused(self, bundle: PrekeyBundle) -> None:
        """Check that this bundle does not verify, and has another digest."""
        self.assertRaises(Unauthentic, bundle.verify, self.absent.signing.public)
        self.assertNotEqual(pqxdh.bundle_digest(bundle), pqxdh.bundle_digest(self.bundle))

    def spoilt(self, change: Callable[[PublicPrekey], PublicPrekey]) -> None:
        """Change each of the three prekeys in turn, and see every bundle refused."""
        self.refused(evolve(self.bundle, signed=change(self.bundle.signed)))
        self.refused(evolve(self.bundle, kem=change(self.bundle.kem)))
        self.refused(evolve(self.bundle, one_time=change(self.one_time)))

    def test_other_key(self) -> None:
        """A prekey whose key was changed is refused."""
        self.spoilt(lambda prekey: evolve(prekey, key=prekey.key[:-1] + bytes((prekey.key[-1] ^ 1,))))

    def test_other_id(self) -> None:
        """A prekey under another id is refused, also where the id is no 64-bit number."""
        kinds = {keys.SIGNED_PREKEY: self.bundle.signed, keys.KEM_PREKEY: self.bundle.kem, keys.ONE_TIME_PREKEY: self.one_time}
        for label, prekey in kinds.items():
            prekey.verify(self.absent.signing.public, label)
            for prekey_id in (0, 7, -1, 2**64):
                self.assertRaises(Unauthentic, evolve(prekey, id=prekey_id).verify, self.absent.signing.public, label)
        self.spoilt(lambda prekey: evolve(prekey, id=prekey.id ^ 8))

    def test_other_signature(self) -> None:
        """A prekey with another, a shorter or no signature is refused."""
        self.spoilt(lambda prekey: evolve(prekey, signature=prekey.signature[:-1] + bytes((prekey.signature[-1] ^ 1,))))
        self.spoilt(lambda prekey: evolve(prekey, signature=prekey.signature[:-1]))
        self.spoilt(lambda prekey: evolve(prekey, signature=b""))

    def test_other_size(self) -> None:
        """A key of another size is refused though the device signed it."""

        def shorten(prekey: PublicPrekey) -> PublicPrekey:
            """Sign a key that lacks a byte."""
            key = prekey.key[:-1]
            label = {1: keys.SIGNED_PREKEY, 2: keys.KEM_PREKEY}.get(prekey.id, keys.ONE_TIME_PREKEY)
            return PublicPrekey(prekey.id, key, self.absent.signing.sign(label, prekey.id.to_bytes(8, "big"), key))

        self.spoilt(shorten)

    def test_small_order(self) -> None:
        """A point of small order is no prekey, though the device signed it."""
        zeros = [
            PublicPrekey(1, bytes(32), self.absent.signing.sign(label, (1).to_bytes(8, "big"), bytes(32)))
            for label in (keys.SIGNED_PREKEY, keys.ONE_TIME_PREKEY)
        ]
        self.refused(evolve(self.bundle, signed=zeros[0]))
        self.refused(evolve(self.bundle, one_time=zeros[1]))

    def test_other_device(self) -> None:
        """A prekey of another device is refused."""
        self.refused(evolve(self.bundle, signed=self.other.bundle.signed))
        self.refused(evolve(self.bundle, kem=self.other.bundle.kem))
        self.refused(evolve(self.bundle, one_time=self.other.bundle.one_time))
        self.refused(self.other.bundle)

    def test_swapped(self) -> None:
        """A prekey in the place of one of another kind is refused."""
        self.refused(evolve(self.bundle, signed=self.one_time))
        self.refused(evolve(self.bundle, one_time=self.bundle.signed))
        self.refused(evolve(self.bundle, signed=self.one_time, one_time=self.bundle.signed))

    def test_last_resort_disguised(self) -> None:
        """A last-resort prekey cannot pose as one for a single use, nor the other way round."""
        self.refused(evolve(self.bundle, kem_is_last_resort=True))
        absent = Absent.make(last_resort=True)
        disguised = evolve(absent.bundle, kem_is_last_resort=False)
        self.assertRaises(Unauthentic, disguised.verify, absent.signing.public)

    def test_one_time_withheld(self) -> None:
        """A bundle without its one-time prekey verifies, as it must, but has another digest."""
        withheld = evolve(self.bundle, one_time=None)
        withheld.verify(self.absent.signing.public)
        self.assertNotEqual(pqxdh.bundle_digest(withheld), pqxdh.bundle_digest(self.bundle))

    def test_digest_on_both_sides(self) -> None:
        """The initiator's digest is that of the bundle which the responder puts together from what it keeps."""
        initiation = pqxdh.initiate(AgreementKey.generate(), self.absent.agreement.public, self.bundle)
        kept = [PublicPrekey(key.id, key.key, key.signature) for key in (self.bundle.signed, self.bundle.kem, self.one_time)]
        rebuilt = PrekeyBundle(kept[0], kept[1], False, kept[2])
        self.assertEqual(pqxdh.bundle_digest(rebuilt), initiation.associated)

    def test_kinds(self) -> None:
        """The four kinds of prekeys are signed under four labels, over id and key."""
        device = self.absent.signing
        for make, label in (
            (pqxdh.make_signed_prekey, keys.SIGNED_PREKEY),
            (pqxdh.make_one_time_prekey, keys.ONE_TIME_PREKEY),
            (pqxdh.make_kem_prekey, keys.KEM_PREKEY),
            (pqxdh.make_last_resort_prekey, keys.LAST_RESORT_PREKEY),
        ):
            private, prekey = make(device, 5)
            keys.verify(device.public, prekey.signature, label, b"\0\0\0\0\0\0\0\5", prekey.key)
            derive = primitives.x25519_public if len(private) == 32 else primitives.mlkem768_public
            self.assertTrue(hmac.compare_digest(derive(private), prekey.key))
