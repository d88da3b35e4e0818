"""Each primitive against the other library, and against bytes that somebody changed."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator

from Crypto.Cipher import AES
from Crypto.Hash import HMAC, SHA256, SHA512
from Crypto.Protocol import DH, KDF
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from Crypto.Util.Padding import pad, unpad
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import primitives
from securemsg.errors import Unauthentic

KEY = bytes(range(32))
LONG_KEY = bytes(range(64))

# Points of order 1, 2, 4 and 8 on Curve25519 and its twist, and encodings of them that are not reduced
# (https://cr.yp.to/ecdh.html#validate)
# Of Ed25519, each also with the sign of x: orders 1, 2, 4, 8, 8.
SMALL_ORDER = tuple(
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
# Of X25519: RFC 7748, section 7; the last two are not canonical either.
LOW_ORDER = tuple(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def damaged(data: bytes, step: int = 1) -> Iterator[bytes]:
    """Spoil C{data} in every way that leaves most of it: a bit of each C{step}th byte flipped, cut at either end, extended."""
    for index in range(0, len(data), step):
        yield data[:index] + bytes((data[index] ^ (1 << index % 8),)) + data[index + 1 :]
    for cut in range(0, len(data), step):
        yield data[:cut]
    yield data[1:]
    yield data + b"\x00"
    yield b"\x00" + data


class OtherLibraryTests(SynchronousTestCase):
    """Two libraries that share no code agree, in both directions."""

    @given(data=st.binary(max_size=300), iv=st.binary(min_size=16, max_size=16))
    def test_aes256_cbc(self, data: bytes, iv: bytes) -> None:
        """AES-256-CBC with padding is the same as both libraries make it, and each opens ours."""
        sealed = primitives.aes256_cbc_encrypt(KEY, iv, data)
        self.assertEqual(sealed, AES.new(KEY, AES.MODE_CBC, iv=iv).encrypt(pad(data, 16)))
        encryptor = Cipher(algorithms.AES(KEY), modes.CBC(iv)).encryptor()
        theirs = encryptor.update(pad(data, 16)) + encryptor.finalize()
        self.assertEqual(sealed, theirs)
        decryptor = Cipher(algorithms.AES(KEY), modes.CBC(iv)).decryptor()
        self.assertEqual(unpad(decryptor.update(sealed) + decryptor.finalize(), 16), data)
        self.assertEqual(primitives.aes256_cbc_decrypt(KEY, iv, theirs), data)

    @given(key=st.binary(max_size=200), data=st.binary(max_size=300))
    def test_hmac_and_hashes(self, key: bytes, data: bytes) -> None:
        """HMAC-SHA-256, SHA-256 and SHA-512 are as pycryptodome makes them."""
        self.assertEqual(primitives.hmac_sha256(key, data), HMAC.new(key, data, SHA256).digest())
        self.assertEqual(primitives.sha256(data), SHA256.new(data).digest())
        self.assertEqual(primitives.sha512(data), SHA512.new(data).digest())

    @given(
        ikm=st.binary(max_size=100),
        salt=st.binary(max_size=100),
        info=st.binary(max_size=100),
        length=st.integers(min_value=1, max_value=200),
    )
    def test_hkdf(self, ikm: bytes, salt: bytes, info: bytes, length: int) -> None:
        """HKDF is as pycryptodome and C{cryptography} make it."""
        derived = primitives.hkdf(ikm, salt=salt, info=info, length=length)
        self.assertEqual(derived, KDF.HKDF(ikm, length, salt, SHA256, 1, info))
        self.assertEqual(derived, HKDF(hashes.SHA256(), length, salt, info).derive(ikm))

    def test_scrypt(self) -> None:
        """scrypt is as pycryptodome makes it."""
        theirs = KDF.scrypt("passphrase", "salt", 32, 2**10, 8, 1)
        self.assertEqual(primitives.scrypt(b"passphrase", b"salt", n=2**10), theirs)

    def test_x25519(self) -> None:
        """Public keys and agreements are as pycryptodome makes them, with fresh keys of either."""
        for _ in range(10):
            ours = primitives.x25519_generate()
            theirs = ECC.generate(curve="Curve25519")
            imported = DH.import_x25519_private_key(ours)
            self.assertEqual(primitives.x25519_public(ours), imported.public_key().export_key(format="raw"))
            agreed = DH.key_agreement(
                static_priv=theirs,
                static_pub=DH.import_x25519_public_key(primitives.x25519_public(ours)),
                kdf=lambda secret: secret,
            )
            self.assertEqual(primitives.x25519(ours, theirs.public_key().export_key(format="raw")), agreed)

    def test_ed25519(self) -> None:
        """Each library verifies what the other signed, and both sign alike."""
        for message in (b"", b"x", bytes(1000)):
            private = primitives.ed25519_generate()
            public = primitives.ed25519_public(private)
            signature = primitives.ed25519_sign(private, message)
            self.assertEqual(eddsa.new(eddsa.import_private_key(private), "rfc8032").sign(message), signature)
            eddsa.new(eddsa.import_public_key(public), "rfc8032").verify(message, signature)
            theirs = ECC.generate(curve="Ed25519")
            primitives.ed25519_verify(
                theirs.public_key().export_key(format="raw"), message, eddsa.new(theirs, "rfc8032").sign(message)
            )

    @given(data=st.binary(max_size=300), associated_data=st.binary(max_size=50))
    def test_a256cbc_hs512(self, data: bytes, associated_data: bytes) -> None:
        """A256CBC-HS512 is what RFC 7518 5.2.2.1 says, built anew from pycryptodome's parts."""
        iv = bytes(range(16))
        ciphertext = AES.new(LONG_KEY[32:], AES.MODE_CBC, iv=iv).encrypt(pad(data, 16))
        bits = (len(associated_data) * 8).to_bytes(8, "big")
        tag = HMAC.new(LONG_KEY[:32], associated_data + iv + ciphertext + bits, SHA512).digest()[:32]
        self.assertEqual(primitives.a256cbc_hs512_encrypt(LONG_KEY, data, associated_data, iv), iv + ciphertext + tag)
        self.assertEqual(primitives.a256cbc_hs512_decrypt(LONG_KEY, iv + ciphertext + tag, associated_data), data)

    @given(data=st.binary(max_size=300), associated_data=st.binary(max_size=50))
    def test_a128cbc_hs256(self, data: bytes, associated_data: bytes) -> None:
        """A128CBC-HS256 is what RFC 7518 5.2.2.1 says with 5.2.3's sizes, built anew from the parts of C{cryptography}."""
        iv = bytes(range(16))
        encryptor = Cipher(algorithms.AES128(KEY[16:]), modes.CBC(iv)).encryptor()
        ciphertext = encryptor.update(pad(data, 16)) + encryptor.finalize()
        mac = hmac.HMAC(KEY[:16], hashes.SHA256())
        mac.update(associated_data + iv + ciphertext + (len(associated_data) * 8).to_bytes(8, "big"))
        sealed = iv + ciphertext + mac.finalize()[:16]
        self.assertEqual(primitives.a128cbc_hs256_encrypt(KEY, data, associated_data, iv), sealed)
        self.assertEqual(primitives.a128cbc_hs256_decrypt(KEY, sealed, associated_data), data)

    @given(key=st.binary(max_size=200), data=st.binary(max_size=300))
    def test_hmac_sha512(self, key: bytes, data: bytes) -> None:
        """HMAC-SHA-512 is pycryptodome's."""
        self.assertEqual(primitives.hmac_sha512(key, data), HMAC.new(key, data, SHA512).digest())


class AgreementTests(SynchronousTestCase):
    """X25519 and ML-KEM-768 on the keys of a peer."""

    def test_low_order(self) -> None:
        """A public key of low order is refused, also where the unused top bit is set."""
        private = primitives.x25519_generate()
        for point in LOW_ORDER:
            self.assertRaises(Unauthentic, primitives.x25519, private, point)
            self.assertRaises(Unauthentic, primitives.x25519, private, point[:31] + bytes((point[31] | 0x80,)))

    def test_not_canonical(self) -> None:
        """So is one that stands for another: RFC 7748, section 5, would clear its top bit, or subtract the field's prime."""
        private = primitives.x25519_generate()
        base = (9).to_bytes(32, "little")
        for point in (base[:31] + b"\x80", (primitives.FIELD + 9).to_bytes(32, "little"), b"\xff" * 31 + b"\x7f"):
            self.assertRaises(Unauthentic, primitives.x25519, private, point)
        primitives.x25519(private, base)

    def test_x25519_keys(self) -> None:
        """What is refused in an agreement is known for no key before it; what we make is a key."""
        self.assertFalse(any(primitives.is_x25519_key(point) for point in (*LOW_ORDER, b"", bytes(31), b"\xff" * 32)))
        self.assertTrue(primitives.is_x25519_key(primitives.x25519_public(primitives.x25519_generate())))

    def test_wrong_size(self) -> None:
        """A public key of another size is refused; a private key of another size is our bug."""
        private = primitives.x25519_generate()
        for size in (0, 31, 33, 64):
            # The base point's, cut or filled up: as a number it is a good one.
            self.assertRaises(Unauthentic, primitives.x25519, private, b"\x09".ljust(size, b"\x00")[:size])
            self.assertRaises(ValueError, primitives.x25519, bytes(size), primitives.x25519_public(private))

    def test_kem(self) -> None:
        """What was encapsulated comes out again, and sizes are those of FIPS 203, table 3."""
        seed = primitives.mlkem768_generate()
        public = primitives.mlkem768_public(seed)
        secret, ciphertext = primitives.mlkem768_encapsulate(public)
        self.assertEqual((len(seed), len(public), len(secret), len(ciphertext)), (64, 1184, 32, 1088))
        self.assertEqual(primitives.mlkem768_decapsulate(seed, ciphertext), secret)

    def test_kem_is_fresh(self) -> None:
        """Two encapsulations under one key share nothing."""
        public = primitives.mlkem768_public(primitives.mlkem768_generate())
        (one, one_ciphertext), (other, other_ciphertext) = (primitives.mlkem768_encapsulate(public) for _ in range(2))
        self.assertNotEqual(one, other)
        self.assertNotEqual(one_ciphertext, other_ciphertext)

    def test_kem_implicit_rejection(self) -> None:
        """A ciphertext that was tampered with gives another secret, always the same one (FIPS 203, algorithm 18)."""
        seed = primitives.mlkem768_generate()
        secret, ciphertext = primitives.mlkem768_encapsulate(primitives.mlkem768_public(seed))
        for index in range(0, len(ciphertext), 97):
            spoilt = ciphertext[:index] + bytes((ciphertext[index] ^ 1,)) + ciphertext[index + 1 :]
            rejected = primitives.mlkem768_decapsulate(seed, spoilt)
            self.assertNotEqual(rejected, secret)
            self.assertEqual(primitives.mlkem768_decapsulate(seed, spoilt), rejected)

    def test_kem_wrong_size(self) -> None:
        """Keys and ciphertexts of another size are refused."""
        seed = primitives.mlkem768_generate()
        for size in (0, 1087, 1089, 1184):
            self.assertRaises(Unauthentic, primitives.mlkem768_decapsulate, seed, bytes(size))
        for size in (0, 1088, 1183, 1185):
            self.assertRaises(Unauthentic, primitives.mlkem768_encapsulate, bytes(size))

    def test_kem_modulus(self) -> None:
        """An encapsulation key with a coefficient beyond the modulus is refused (FIPS 203, section 7.2)."""
        public = primitives.mlkem768_public(primitives.mlkem768_generate())
        self.assertRaises(Unauthentic, primitives.mlkem768_encapsulate, b"\xff\xff" + public[2:])


class SignatureTests(SynchronousTestCase):
    """Ed25519 on what a peer sent."""

    def test_every_change(self) -> None:
        """A signature, message or key that differs in any byte, or in length, does not verify."""
        private = primitives.ed25519_generate()
        public, message = primitives.ed25519_public(private), b"a message of some length"
        signature = primitives.ed25519_sign(private, message)
        for spoilt in damaged(signature):
            self.assertRaises(Unauthentic, primitives.ed25519_verify, public, message, spoilt)
        for spoilt in damaged(message):
            self.assertRaises(Unauthentic, primitives.ed25519_verify, public, spoilt, signature)
        for spoilt in damaged(public):
            self.assertRaises(Unauthentic, primitives.ed25519_verify, spoilt, message, signature)

    def test_small_order(self) -> None:
        """A key of small order verifies nothing: under the neutral point one signature would fit every message."""
        neutral = (1).to_bytes(32, "little")
        self.assertRaises(Unauthentic, primitives.ed25519_verify, neutral, b"any message", neutral + bytes(32))
        for point in SMALL_ORDER:
            for shown in (point, point[:31] + bytes([point[31] | 0x80])):
                self.assertFalse(primitives.is_ed25519_key(shown), shown.hex())

    def test_not_canonical(self) -> None:
        """Nor does one whose y is not below the field's prime (RFC 8032, section 5.1.3)."""
        for more in range(2**255 - primitives.FIELD):
            point = (primitives.FIELD + more).to_bytes(32, "little")
            for shown in (point, point[:31] + b"\xff"):
                self.assertFalse(primitives.is_ed25519_key(shown), shown.hex())
        self.assertTrue(primitives.is_ed25519_key(primitives.ed25519_public(primitives.ed25519_generate())))

    def test_malleability(self) -> None:
        """A signature whose second half was raised by the group order does not verify (RFC 8032, section 5.1.7)."""
        private = primitives.ed25519_generate()
        signature = primitives.ed25519_sign(private, b"message")
        order = 2**252 + 27742317777372353535851937790883648493
        raised = int.from_bytes(signature[32:], "little") + order
        spoilt = signature[:32] + raised.to_bytes(32, "little")
        self.assertRaises(Unauthentic, primitives.ed25519_verify, primitives.ed25519_public(private), b"message", spoilt)


class EncryptionTests(SynchronousTestCase):
    """Authenticated encryption, and AES-CBC below it."""

    def test_every_change(self) -> None:
        """A sealed text that differs in any byte, or in length, does not open; nor under other associated data or keys."""
        sealed = primitives.a256cbc_hs512_encrypt(LONG_KEY, b"plaintext", b"associated")
        for spoilt in damaged(sealed):
            self.assertRaises(Unauthentic, primitives.a256cbc_hs512_decrypt, LONG_KEY, spoilt, b"associated")
        for spoilt in damaged(b"associated"):
            self.assertRaises(Unauthentic, primitives.a256cbc_hs512_decrypt, LONG_KEY, sealed, spoilt)
        self.assertRaises(Unauthentic, primitives.a256cbc_hs512_decrypt, LONG_KEY[::-1], sealed, b"associated")

    def test_every_change_of_the_shorter(self) -> None:
        """The same holds for A128CBC-HS256, whose tag is half as long."""
        sealed = primitives.a128cbc_hs256_encrypt(KEY, b"plaintext", b"associated")
        for spoilt in damaged(sealed):
            self.assertRaises(Unauthentic, primitives.a128cbc_hs256_decrypt, KEY, spoilt, b"associated")
        for spoilt in damaged(b"associated"):
            self.assertRaises(Unauthentic, primitives.a128cbc_hs256_decrypt, KEY, sealed, spoilt)
        self.assertRaises(Unauthentic, primitives.a128cbc_hs256_decrypt, KEY[::-1], sealed, b"associated")

    def test_shifted_boundary(self) -> None:
        """Bytes cannot be moved from the associated data into the text: its length is authenticated."""
        sealed = primitives.a256cbc_hs512_encrypt(LONG_KEY, b"plaintext", bytes(16))
        self.assertRaises(Unauthentic, primitives.a256cbc_hs512_decrypt, LONG_KEY, bytes(16) + sealed, b"")
        shorter = primitives.a128cbc_hs256_encrypt(KEY, b"plaintext", bytes(16))
        self.assertRaises(Unauthentic, primitives.a128cbc_hs256_decrypt, KEY, bytes(16) + shorter, b"")

    def test_equal_texts(self) -> None:
        """The same text is never sealed the same twice: no IV is fixed."""
        for encrypt, key in ((primitives.a256cbc_hs512_encrypt, LONG_KEY), (primitives.a128cbc_hs256_encrypt, KEY)):
            sealed = {encrypt(key, b"same") for _ in range(100)}
            self.assertEqual(len({text[:16] for text in sealed}), 100)
            self.assertEqual(len({text[16:32] for text in sealed}), 100)
        self.assertEqual(len({primitives.seal(KEY, b"same", b"")[:12] for _ in range(100)}), 100)

    def test_composite_key_size(self) -> None:
        """A key that is not 64 bytes, or not 32 for AES-128, is our bug."""
        for size in (0, 32, 63, 65):
            self.assertRaises(ValueError, primitives.a256cbc_hs512_encrypt, bytes(size), b"")
            self.assertRaises(ValueError, primitives.a256cbc_hs512_decrypt, bytes(size), bytes(64))
        for size in (0, 16, 31, 33, 64):
            self.assertRaises(ValueError, primitives.a128cbc_hs256_encrypt, bytes(size), b"")
            self.assertRaises(ValueError, primitives.a128cbc_hs256_decrypt, bytes(size), bytes(64))

    def test_cbc_key_size(self) -> None:
        """AES-128 and AES-192 keys are refused where AES-256 is promised."""
        for size in (16, 24):
            self.assertRaises(ValueError, primitives.aes256_cbc_encrypt, bytes(size), bytes(16), b"")
            self.assertRaises(ValueError, primitives.aes256_cbc_decrypt, bytes(size), bytes(16), bytes(16))

    def test_cbc_padding(self) -> None:
        """Every wrong padding and every length that is no whole number of blocks is refused."""
        iv = bytes(16)
        for end in (b"\x00", b"\x11", b"\xff", b"\x02", b"\x01\x02", b"\x02\x02\x03", b"\x00" * 15 + b"\x10", b"\x11" * 32):
            block = AES.new(KEY, AES.MODE_CBC, iv=iv).encrypt(end.rjust(16, b"a"))
            self.assertRaises(Unauthentic, primitives.aes256_cbc_decrypt, KEY, iv, block)
        for size in (0, 1, 15, 17, 31):
            self.assertRaises(Unauthentic, primitives.aes256_cbc_decrypt, KEY, iv, bytes(size))

    @given(data=st.binary(max_size=300), associated_data=st.binary(max_size=50))
    def test_seal(self, data: bytes, associated_data: bytes) -> None:
        """What is sealed for rest opens again, and is 28 bytes longer."""
        sealed = primitives.seal(KEY, data, associated_data)
        self.assertEqual(len(sealed), len(data) + 28)
        self.assertEqual(primitives.unseal(KEY, sealed, associated_data), data)

    def test_seal_every_change(self) -> None:
        """Sealed data that differs in any byte, or in length, does not open; nor in another place or under another key."""
        sealed = primitives.seal(KEY, b"plaintext", b"table/row/column")
        for spoilt in damaged(sealed):
            self.assertRaises(Unauthentic, primitives.unseal, KEY, spoilt, b"table/row/column")
        self.assertRaises(Unauthentic, primitives.unseal, KEY, sealed, b"table/other row/column")
        self.assertRaises(Unauthentic, primitives.unseal, KEY[::-1], sealed, b"table/row/column")

    def test_seal_key_size(self) -> None:
        """A store key of another size is our bug."""
        for size in (0, 16, 31, 33):
            self.assertRaises(ValueError, primitives.seal, bytes(size), b"", b"")

    def test_equal(self) -> None:
        """Only equal secrets are equal."""
        self.assertTrue(primitives.equal(b"secret", b"secret"))
        self.assertFalse(primitives.equal(b"secret", b"secreT"))
        self.assertFalse(primitives.equal(b"secret", b"secret "))

    def test_hkdf_limit(self) -> None:
        """HKDF gives 8160 bytes and not one more (RFC 5869, section 2.3)."""
        self.assertEqual(len(primitives.hkdf(b"", salt=b"", info=b"", length=8160)), 8160)
        self.assertRaises(ValueError, primitives.hkdf, b"", salt=b"", info=b"", length=8161)

    def test_scrypt_default(self) -> None:
        """The default cost, 128 MiB, is not refused by the limit of the library, and is N = 2**17, r = 8, p = 1."""
        self.assertEqual(
            primitives.scrypt(b"passphrase", b"salt"), primitives.scrypt(b"passphrase", b"salt", n=2**17, r=8, p=1)
        )


class CertificateTests(SynchronousTestCase):
    """The TLS key that a daemon makes for itself."""

    def test_certificate(self) -> None:
        """Key and certificate fit, on P-256, under all names, for the days asked for."""
        key_pem, certificate_pem = primitives.tls_key_pair(["localhost", "127.0.0.1", "::1"], days=30)
        key = serialization.load_pem_private_key(key_pem, None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.assertIsInstance(key.curve, ec.SECP256R1)
        self.assertEqual(key.public_key(), certificate.public_key())
        certificate.verify_directly_issued_by(certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost"])
        addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
        self.assertEqual(names.get_values_for_type(x509.IPAddress), addresses)
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        self.assertTrue(datetime.timedelta(days=29) < left <= datetime.timedelta(days=30))
        self.assertTrue(certificate.not_valid_before_utc < datetime.datetime.now(datetime.UTC))

    def test_spki(self) -> None:
        """The same public key comes out of the DER and the PEM form of a certificate."""
        key_pem, certificate_pem = primitives.tls_key_pair(["localhost"], days=1)
        der = x509.load_pem_x509_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)
        public = serialization.load_pem_private_key(key_pem, None).public_key()
        spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(primitives.spki_of_certificate(certificate_pem), spki)
        self.assertEqual(primitives.spki_of_certificate(der), spki)

    def test_no_certificate(self) -> None:
        """What is no certificate is refused."""
        _, certificate_pem = primitives.tls_key_pair(["localhost"], days=1)
        der = x509.load_pem_x509_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)
        for spoilt in (b"", b"x", der[:-1], der[1:], certificate_pem[:100], b"-----BEGIN CERTIFICATE-----"):
            self.assertRaises(Unauthentic, primitives.spki_of_certificate, spoilt)
