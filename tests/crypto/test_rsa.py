"""
RSA-OAEP: published vectors, each library against the other, and what does not open.

The vectors are those of Project Wycheproof (C2SP/wycheproof, C{testvectors_v1/rsa_oaep_2048_sha256_mgf1sha256_test.json}),
by their C{tcId}.
"""

from __future__ import annotations

from collections.abc import Callable

from Crypto.Cipher import PKCS1_OAEP
from Crypto.Hash import SHA256
from Crypto.Protocol import KDF
from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys, primitives, rsa
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Unauthentic
from securemsg.protocol.devices import RSA_BITS
from tests.rsakeys import RSA_KEY

# The key of the vectors; its exponent is 65537.
P = int(
    "dc431050f782e894fb5248247d98cb7d58b8d1e24f3b55d041c56e4de086b0d5bb028bda42eeb5d234d5681e5809d415e6a289ad4cfbf78f978f6c35814f"
    "50eebff1c5b80a69f788e81e6bab5ddaa78369d659d143ec6f17e79813a575cfad9c569156b90113e2e9110ad9e7b48a1c9348a6e653321191290ea36cfb"
    "3a5b18f1",
    16,
)
Q = int(
    "bd1a81e7977f9898122273ae3222b598ea5fb19eb4eabc38308a5e32196603b2e500ffb79f5b886816611debc472fac45544070beb057c941378a6868af3"
    "b7a03d3f9880ec47d5e089b94fbde542aba9ae8d72c57088d7abf5b131f39098f7bc160f90536abc9492fd4e06f3ed7299d4b97bb03677207d95669f140c"
    "fbc20f25",
    16,
)
# tcId 7: a message of 32 bytes.
MESSAGE = bytes(range(0xE0, 0x100))
VALID = (
    "096958786ee7972050d67a9e4b69d6c6af7db7cc674386df725770dd29129b826e39552330104c8d71e6cc3a3014dd2f61b54153af51b0438d447ee939f9"
    "e3c13bb8b00a37dea6a068f6c9d27e848b1be7a1eeeb3ee50b78036fba95ae46948ca5b13f356ea24db10f60dc09e4b8bad8f766b668ef72524432080a0c"
    "e00ed676d6d5e354984b1078520412525848156d06f0652469f95791baa3d9a798ae537094f76f976faecd5c9ce0c930a75910c63dacf63485cb4b5e7bdb"
    "cf4d80e74037eaa1a8fe4b52930bec6be99cf6ac88cf5878dbf6859d456a95dbc34654eec425de84ca2a535d517403a9aada827e7d0093ecfc97ed056a76"
    "52825e9a45cb2dcb"
)
INVALID = {
    12: (  # the first byte of the label's hash
        "287d7108a1c6e7a18acb0045b20c57cdf2ac03456b44942764a7a9e9fdf3db481d7e202e4c8d733b56b9c1e93d71e791af8325c9363df789b252a5ed"
        "0eddc79e76fa41c2cb0a35618398217a390a5e6d99eed905d5554d19c1cf4e30bdf1c2fcc5148b641d71b3f1977b63d232648ddd935ec9499a53ac2f"
        "bcac55f462e91065adaa018a39c453ba759bd68b454074153421e2ce75cf149f748b5b84758df8a423d1c50c880af863f2a6df3cd465ca36aa2152b5"
        "771f3d507f4a4dd9f8006d80eca23537092287976f218a90df1e16d889fe31e79f7309f3224f613e9b52479fe73b7aad915319a3b62a5936649f7d01"
        "5d7b09f7fa9f454f78a7c3dd4bf791e0"
    ),
    23: (  # the first byte is 1, by which Manger's attack tells ciphertexts apart
        "3f92a694661cae336cac7a3c5a6f67e0655d10218a64459739ab9664f2cec58978939512df621e6b92fe3429bb22c08b5103da648a7719e7e95a04e6"
        "b61601546955825d60f4c517619f851780ad17f1b8a955cf8c7f1a5e26ca4a0cc19cca751d0790d56e1140a4705e19274f638b7c16d9d3e423a7f787"
        "d02699235e3e9e4d543a954f9b1bce5411c8ebdcae86a4bb86c66818a0bab51a2b00383b318e53d95508bab1b19e388cd5a03cdceba0f7176c1782e1"
        "9ef62cff69352d444b1ce0e1f339e96d8a65c07aa37f5f2cf33867f6c496e0da6cd79b3e2183b57064ce21a1b92072702e555a82cad75107fdfd8bd5"
        "e7ea5f119cfbbc1770e962fd0b781aff"
    ),
}


def vector_key() -> bytes:
    """The key of the vectors, as we keep keys."""
    exponent = pow(primitives.RSA_EXPONENT, -1, (P - 1) * (Q - 1))
    key = RSA.construct((P * Q, primitives.RSA_EXPONENT, exponent, P, Q))
    return bytes(key.export_key("DER", pkcs=8))


def raw(ciphertext: bytes) -> bytes:
    """RSA without a padding, under the key of the vectors."""
    exponent = pow(primitives.RSA_EXPONENT, -1, (P - 1) * (Q - 1))
    return pow(int.from_bytes(ciphertext, "big"), exponent, P * Q).to_bytes(256, "big")


def theirs(private: bytes) -> RSAPrivateKey:
    """A private key, as the other library has it."""
    key = serialization.load_der_private_key(private, None)
    assert isinstance(key, RSAPrivateKey)
    return key


def oaep() -> padding.OAEP:
    """The padding, as the other library has it."""
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


class VectorTests(SynchronousTestCase):
    """RSAES-OAEP with SHA-256, against Wycheproof."""

    def test_valid(self) -> None:
        """The message of tcId 7 comes out."""
        self.assertEqual(primitives.rsa_oaep_decrypt(vector_key(), bytes.fromhex(VALID)), MESSAGE)

    def test_invalid(self) -> None:
        """
        A padding that is wrong (tcId 12, 23), and 0, 1 and n - 1 (24 to 26), give 32 random bytes, and no error; so do a
        ciphertext above n (27), and one that is empty, longer or shorter (29 to 32).
        """
        valid, n = bytes.fromhex(VALID), P * Q
        self.assertNotEqual(raw(bytes.fromhex(INVALID[12]))[:1], b"\x01")
        self.assertEqual(raw(bytes.fromhex(INVALID[23]))[:1], b"\x01")
        numbers = (0, 1, n - 1, int.from_bytes(valid, "big") + n)
        others = [number.to_bytes(max(256, (number.bit_length() + 7) // 8), "big") for number in numbers]
        others += [bytes.fromhex(text) for text in INVALID.values()]
        others += [b"", b"\x00\x00" + valid, valid + b"\x00\x00", valid[1:]]
        for ciphertext in others:
            first, second = (primitives.rsa_oaep_decrypt(vector_key(), ciphertext) for _ in range(2))
            self.assertEqual((len(first), len(second)), (32, 32))
            self.assertNotEqual(first, second)

    def test_other_length(self) -> None:
        """So does a secret that is not of 32 bytes."""
        cipher = PKCS1_OAEP.new(RSA.import_key(RSA_KEY.public), SHA256)
        for size in (0, 31, 33, 190):
            opened = [primitives.rsa_oaep_decrypt(RSA_KEY.private, cipher.encrypt(bytes(size))) for _ in range(2)]
            self.assertEqual([len(secret) for secret in opened], [32, 32])
            self.assertNotEqual(*opened)


class LibraryTests(SynchronousTestCase):
    """What one library made the other opens."""

    def test_both_ways(self) -> None:
        """Under a key of either library."""
        for private in (RSA_KEY.private, bytes(RSA.generate(2048).export_key("DER", pkcs=8))):
            key = theirs(private)
            public = key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self.assertEqual(key.decrypt(primitives.rsa_oaep_encrypt(public, MESSAGE), oaep()), MESSAGE)
            self.assertEqual(primitives.rsa_oaep_decrypt(private, key.public_key().encrypt(MESSAGE, oaep())), MESSAGE)

    def test_generated(self) -> None:
        """A key of each size is what it says, for both libraries, and no longer than a device list allows."""
        for bits, size in ((2048, 294), (3072, 422), (4096, 550)):
            key = RsaKey.generate(bits)
            self.assertEqual(len(key.public), size)
            parsed = serialization.load_der_public_key(key.public)
            assert isinstance(parsed, RSAPublicKey)
            self.assertEqual((parsed.key_size, parsed.public_numbers().e), (bits, 65537))
            self.assertEqual(theirs(key.private).public_key(), parsed)
            self.assertEqual(RSA.import_key(key.private).public_key(), RSA.import_key(key.public))
            self.assertTrue(keys.is_rsa_key(key.public))

    def test_size(self) -> None:
        """A key of another size is not made, nor stands it in a device list."""
        self.assertEqual(primitives.RSA_SIZES, RSA_BITS)
        for bits in (0, 1024, 2047, 8192):
            self.assertRaises(ValueError, RsaKey.generate, bits)


class PublicKeyTests(SynchronousTestCase):
    """Which public keys are taken."""

    def assert_refused(self, public: bytes) -> None:
        """This is no key, and nothing is encrypted with it."""
        self.assertFalse(keys.is_rsa_key(public))
        self.assertRaises(Unauthentic, rsa.wrap, public)

    def of(self, n: int, e: int = 65537) -> bytes:
        """A public key of these numbers, though they be no good."""
        return bytes(RSA.construct((n, e), consistency_check=False).export_key("DER"))

    def test_numbers(self) -> None:
        """Another size or exponent, or an even modulus, is none."""
        self.assertTrue(keys.is_rsa_key(self.of(P * Q)))
        for n, e in ((P * Q, 3), (P * Q, 65539), *((n, 65537) for n in (P * Q + 1, P, P * Q >> 8 | 1, P * Q << 8 | 1))):
            self.assert_refused(self.of(n, e))

    def test_form(self) -> None:
        """So is anything but a canonical SubjectPublicKeyInfo: another form, a private key, something cut or added."""
        public, key = RSA_KEY.public, RSA.import_key(RSA_KEY.public)
        number = key.n.to_bytes(257, "big")
        forms: list[bytes] = [
            b"",
            b"rsa",
            bytes(600),
            RSA_KEY.private,
            bytes(key.export_key("PEM")),
            bytes(key.export_key("OpenSSH")),
            serialization.load_der_public_key(public).public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.PKCS1
            ),
            public + b"\x00",
            b"\x30\x83\x00" + public[2:],
            public.replace(number, b"\x00" + number),
        ]
        for form in [*forms, *(public[:size] for size in range(0, len(public), 7))]:
            self.assert_refused(form)

    def test_every_byte(self) -> None:
        """A byte that is changed gives another key or none, and no other exception."""
        for index in range(40):
            changed = bytearray(RSA_KEY.public)
            changed[index] ^= 1
            self.assertIn(keys.is_rsa_key(bytes(changed)), (True, False))

    def test_device_keys(self) -> None:
        """A device has such a key or none."""
        pair = keys.SigningKey.generate().public, keys.AgreementKey.generate().public
        self.assertTrue(keys.are_device_keys(*pair, None))
        self.assertTrue(keys.are_device_keys(*pair, RSA_KEY.public))
        self.assertFalse(keys.are_device_keys(*pair, b""))
        self.assertFalse(keys.are_device_keys(*pair, RSA_KEY.public[:-1]))


class TransportTests(SynchronousTestCase):
    """The secret of an epoch."""

    def test_wrapped(self) -> None:
        """It has 32 fresh bytes, and only the holder of the key gets them."""
        (secret, ciphertext), (other, _) = rsa.wrap(RSA_KEY.public), rsa.wrap(RSA_KEY.public)
        self.assertEqual((len(secret), len(ciphertext)), (32, 256))
        self.assertNotEqual(secret, other)
        self.assertEqual(RSA_KEY.unwrap(ciphertext), secret)
        self.assertNotEqual(RsaKey(vector_key(), b"").unwrap(ciphertext), secret)

    def test_message_key(self) -> None:
        """The keys of its messages are HKDF of it under a label, the context and their size."""
        for size in (32, 64):
            info = keys.length_prefixed(b"securemsg/1 rsa epoch", b"a", b"bc", size.to_bytes(4, "big"))
            expected = KDF.HKDF(MESSAGE, size, b"", SHA256, context=info)
            self.assertEqual(rsa.message_key(MESSAGE, size, b"a", b"bc"), expected)

    def test_no_secret_in_representation(self) -> None:
        """A key shows its public half at most."""
        self.assertNotIn("private", repr(RSA_KEY))


class CipherTests(SynchronousTestCase):
    """The size of a key says which cipher it is for."""

    def test_sizes(self) -> None:
        """64 bytes are for A256CBC-HS512, 32 for A128CBC-HS256, and others for none."""
        seals: dict[int, Callable[..., bytes]] = {
            64: primitives.a256cbc_hs512_decrypt,
            32: primitives.a128cbc_hs256_decrypt,
        }
        for size, unseal in seals.items():
            sealed = primitives.cbc_hmac_encrypt(bytes(size), b"text", b"more")
            self.assertEqual(unseal(bytes(size), sealed, b"more"), b"text")
            self.assertEqual(primitives.cbc_hmac_decrypt(bytes(size), sealed, b"more"), b"text")
        self.assertRaises(ValueError, primitives.cbc_hmac_encrypt, bytes(48), b"text", b"")
