"""
The one place that touches crypto libraries: bytes in, bytes out.

AES-CBC and RSA-OAEP come from pycryptodome; X25519, Ed25519, ML-KEM-768, AES-256-GCM-SIV, X.509 and the making of RSA keys,
which takes pycryptodome several times as long, from C{cryptography}; SPAKE2 from C{spake2}; SHA-256, HMAC, HKDF and scrypt from
the standard library. Nothing here knows of messages, sessions or accounts. Sizes are bytes.

What takes long to load is imported by the functions that need it, because most commands call none of them: pycryptodome takes
40 ms, X.509 30 ms.

Bytes of a peer that do not fit (length, tag, signature, low-order point) raise L{Unauthentic}; a private key of our own
that has the wrong length is our bug and raises C{ValueError}.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from securemsg.errors import Unauthentic

if TYPE_CHECKING:
    from Crypto.PublicKey.RSA import RsaKey
    from cryptography.x509 import GeneralName

KEY_SIZE = 32  # X25519 and Ed25519 keys, symmetric keys, SHA-256
BLOCK_SIZE = 16  # AES
KEM_SEED_SIZE = 64  # FIPS 203: d and z
KEM_PUBLIC_SIZE = 1184  # FIPS 203, table 3, ML-KEM-768
KEM_CIPHERTEXT_SIZE = 1088
NONCE_SIZE = 12  # RFC 8452: 96 bits
RSA_SIZES = (2048, 3072, 4096)  # bits; NIST SP 800-56B, revision 2, 6.2: at least 2048
RSA_EXPONENT = 65537
RSA_PREFIX = b"\x30\x82"  # DER: a sequence whose length takes two bytes, as that of each of our keys does
RSA_KEYS_KEPT = 256  # parsed public keys: a new epoch for each device of some contacts; a process has one private key or two
VERIFIERS_KEPT = 4096  # parsed public keys: logins and deposits of the same devices come again and again
SEALERS_KEPT = 8  # a process works with one or two store keys
SPAKE2_SEED_SIZE = 64  # twice the size of a scalar, so that reducing it leaves no bias
SPAKE2_MESSAGE_SIZE = 33  # the letter of the side, and a point of Ed25519's curve
SIGNERS_KEPT = 8  # likewise: identity and device of one or two accounts, or the identity of a server
FIELD = 2**255 - 19  # RFC 7748 4.1: of Curve25519, and of Ed25519
# All points of small order: u on Curve25519 and its twist (RFC 7748, section 7), y on Ed25519 (where x is left out).
SMALL_U = frozenset({
    0,
    1,
    FIELD - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
})
SMALL_Y = frozenset({
    0,
    1,
    FIELD - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
})
BACKDATED = datetime.timedelta(days=1)  # a certificate must hold for clients whose clock is a little behind


def random_bytes(size: int) -> bytes:
    """Take C{size} bytes from the operating system's generator."""
    return os.urandom(size)


def equal(one: bytes, other: bytes) -> bool:
    """Compare two secrets in a time that depends on their lengths alone."""
    return hmac.compare_digest(one, other)


def sha256(data: bytes) -> bytes:
    """
    Hash with SHA-256.

    @return: 32 bytes.
    """
    return hashlib.sha256(data).digest()


def sha256_stream() -> hashlib._Hash:
    """A SHA-256 that takes what it hashes in pieces, with C{update}, and gives its 32 bytes with C{digest}."""
    return hashlib.sha256()


def sha512(data: bytes) -> bytes:
    """
    Hash with SHA-512.

    @return: 64 bytes.
    """
    return hashlib.sha512(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """
    Authenticate C{data} with HMAC-SHA-256 (RFC 2104).

    @return: 32 bytes.
    """
    return hmac.digest(key, data, "sha256")


def hmac_sha512(key: bytes, data: bytes) -> bytes:
    """
    Authenticate C{data} with HMAC-SHA-512 (RFC 2104).

    @return: 64 bytes.
    """
    return hmac.digest(key, data, "sha512")


def hkdf(ikm: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """
    Extract and expand key material: HKDF with SHA-256 (RFC 5869, section 2).

    @param length: how many bytes, at most 255 * 32.
    """
    if length > 255 * KEY_SIZE:
        raise ValueError("HKDF yields at most 8160 bytes")
    extracted = hmac.digest(salt or bytes(KEY_SIZE), ikm, "sha256")
    block, output = b"", b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(extracted, block + info + bytes((counter,)), "sha256")
        output += block
        counter += 1
    return output[:length]


def scrypt(passphrase: bytes, salt: bytes, *, n: int = 2**17, r: int = 8, p: int = 1) -> bytes:
    """
    Make a key from a passphrase with scrypt (RFC 7914); the defaults take 128 MiB and some tenths of a second.

    @return: 32 bytes.
    """
    memory = 128 * r * (n + p + 2) + 2**20  # OpenSSL wants to hear it, and refuses at 32 MiB otherwise
    return hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=KEY_SIZE)


# Agreement and signatures


def x25519_generate() -> bytes:
    """Make an X25519 private key (RFC 7748): 32 bytes."""
    return random_bytes(KEY_SIZE)


def x25519_public(private: bytes) -> bytes:
    """Derive the public key, 32 bytes, of an X25519 private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def is_x25519_key(public: bytes) -> bool:
    """
    Whether these bytes may be a public key of X25519: 32, canonical (RFC 7748, section 5, would reduce others), and of large
    order (section 7).
    """
    u = int.from_bytes(public, "little")
    return len(public) == KEY_SIZE and u < FIELD and u not in SMALL_U


def x25519(private: bytes, public: bytes) -> bytes:
    """
    Agree on 32 bytes (RFC 7748, section 6.1).

    @raise Unauthentic: the peer's key is invalid, as L{is_x25519_key} says.
    """
    own = X25519PrivateKey.from_private_bytes(private)
    if not is_x25519_key(public):
        raise Unauthentic("key agreement")
    return own.exchange(X25519PublicKey.from_public_bytes(public))


def ed25519_generate() -> bytes:
    """Make an Ed25519 private key (RFC 8032): 32 bytes."""
    return random_bytes(KEY_SIZE)


@lru_cache(maxsize=SIGNERS_KEPT)
def _signer(private: bytes) -> Ed25519PrivateKey:
    """Derive the rest of a private key once, however often it signs: that takes as long as a signature."""
    return Ed25519PrivateKey.from_private_bytes(private)


def ed25519_public(private: bytes) -> bytes:
    """Derive the public key, 32 bytes, of an Ed25519 private key."""
    return _signer(private).public_key().public_bytes_raw()


def ed25519_sign(private: bytes, message: bytes) -> bytes:
    """Sign a message (RFC 8032, section 5.1.6): 64 bytes, always the same for the same key and message."""
    return _signer(private).sign(message)


def is_ed25519_key(public: bytes) -> bool:
    """
    Whether these bytes may be a public key of Ed25519: 32, canonical (RFC 8032, section 5.1.3), and of large order: under one
    of small order a signature fits many messages (section 5.1.7).
    """
    y = int.from_bytes(public, "little") % 2**255
    return len(public) == KEY_SIZE and y < FIELD and y not in SMALL_Y


@lru_cache(maxsize=VERIFIERS_KEPT)
def _verifier(public: bytes) -> Ed25519PublicKey:
    """
    Parse a public key once, however often it comes.

    @raise ValueError: it is invalid.
    """
    if not is_ed25519_key(public):
        raise ValueError("an invalid key")
    return Ed25519PublicKey.from_public_bytes(public)


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """
    Check a signature.

    @raise Unauthentic: it is not the signature of this message by this key, a length is wrong, or the key is invalid, as
        L{is_ed25519_key} says.
    """
    try:
        _verifier(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Unauthentic("signature") from None


def mlkem768_generate() -> bytes:
    """Make an ML-KEM-768 private key (FIPS 203) in its short form, the seed: 64 bytes."""
    return random_bytes(KEM_SEED_SIZE)


def mlkem768_public(seed: bytes) -> bytes:
    """Derive the encapsulation key, 1184 bytes, of a seed."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def mlkem768_encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """
    Make a secret that only the holder of the seed can take out again.

    @return: the secret, 32 bytes, and the ciphertext, 1088 bytes.
    @raise Unauthentic: the key has the wrong length, or is invalid (FIPS 203, section 7.2).
    """
    try:
        return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except ValueError:
        raise Unauthentic("encapsulation key") from None


def mlkem768_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """
    Take the secret, 32 bytes, out of a ciphertext.

    A ciphertext of the right length that was tampered with yields another secret, not an error (FIPS 203, section 6.3).

    @raise Unauthentic: the ciphertext has the wrong length.
    """
    if len(ciphertext) != KEM_CIPHERTEXT_SIZE:
        raise Unauthentic("encapsulated key")
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


def spake2_message(seed: bytes, password: bytes, *, is_a: bool) -> bytes:
    """
    Make what one side of SPAKE2 sends (Abdalla and Pointcheval, CT-RSA 2005), over the curve of Ed25519.

    @param seed: 64 random bytes, for this exchange alone.
    @param is_a: which of the two sides it is.
    @return: 33 bytes.
    """
    return bytes(_spake2(seed, password, b"", b"", is_a).start())


def spake2_key(seed: bytes, password: bytes, message: bytes, *, names: tuple[bytes, bytes], is_a: bool) -> bytes:
    """
    Agree on 32 bytes with whoever has the same password. Whoever has another gets another key, and learns no more than that.

    @param seed: which L{spake2_message} was called with, as C{password} and C{is_a}.
    @param message: what the other side has sent.
    @param names: of side A and side B: who they are.
    @raise Unauthentic: it is no message of the other side.
    """
    end = _spake2(seed, password, *names, is_a)
    end.start()
    try:
        # The library looks at the first bytes alone.
        if len(message) == SPAKE2_MESSAGE_SIZE:
            return bytes(end.finish(message))
    except Exception:  # noqa: BLE001, S110 - of several kinds: the same side, or a point outside the curve or its large group
        pass
    raise Unauthentic("SPAKE2")


def _spake2(seed: bytes, password: bytes, name_a: bytes, name_b: bytes, is_a: bool) -> Any:
    """One side, as the library has it."""
    # Only here: it computes its parameters then, and nearly nobody needs it.
    from spake2 import SPAKE2_A, SPAKE2_B

    if len(seed) != SPAKE2_SEED_SIZE:
        raise ValueError("a seed of SPAKE2 has 64 bytes")
    return (SPAKE2_A if is_a else SPAKE2_B)(password, idA=name_a, idB=name_b, entropy_f=lambda size: seed[:size])


@lru_cache(maxsize=RSA_KEYS_KEPT)
def _rsa_key(der: bytes) -> RsaKey:
    """
    Parse a key once: parsing a private key checks its numbers, which takes longer than using it.

    @raise ValueError: this is none.
    """
    from Crypto.PublicKey import RSA

    try:
        return RSA.import_key(der)
    except (IndexError, TypeError) as error:
        raise ValueError("not an RSA key") from error


def rsa_generate(bits: int) -> tuple[bytes, bytes]:
    """
    Make an RSA key pair (RFC 8017) with exponent 65537.

    @param bits: one of C{RSA_SIZES}.
    @return: the private key, PKCS #8, and the public one, SubjectPublicKeyInfo: 294, 422 or 550 bytes; both DER.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    if bits not in RSA_SIZES:
        raise ValueError("no size of ours")
    key = rsa.generate_private_key(RSA_EXPONENT, bits)
    der = serialization.Encoding.DER
    return (
        key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        key.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def is_rsa_key(public: bytes) -> bool:
    """
    Whether these bytes may be a public key of RSA: a canonical SubjectPublicKeyInfo with a modulus that is odd and of one of
    C{RSA_SIZES}, and the exponent 65537.
    """
    if not public.startswith(RSA_PREFIX):
        return False
    try:
        key = _rsa_key(public)
    except ValueError:
        return False
    # The parser takes no even modulus.
    is_ours = not key.has_private() and key.e == RSA_EXPONENT and key.size_in_bits() in RSA_SIZES
    return is_ours and key.export_key("DER") == public


def rsa_oaep_encrypt(public: bytes, secret: bytes) -> bytes:
    """
    Encrypt a short secret with RSAES-OAEP (RFC 8017 7.1): SHA-256 as hash and in MGF1, an empty label.

    @return: as many bytes as the modulus has.
    @raise Unauthentic: the key is invalid, as L{is_rsa_key} says.
    """
    from Crypto.Cipher import PKCS1_OAEP
    from Crypto.Hash import SHA256

    if not is_rsa_key(public):
        raise Unauthentic("RSA key")
    return bytes(PKCS1_OAEP.new(_rsa_key(public), SHA256).encrypt(secret))


def rsa_oaep_decrypt(private: bytes, ciphertext: bytes) -> bytes:
    """
    Decrypt a secret of 32 bytes, or yield 32 random ones where there is none: whoever made the ciphertext cannot see in what
    follows why it does not open, which would let him decrypt others (Manger's attack, CRYPTO 2001).
    """
    from Crypto.Cipher import PKCS1_OAEP
    from Crypto.Hash import SHA256

    secret = random_bytes(KEY_SIZE)
    try:
        opened = PKCS1_OAEP.new(_rsa_key(private), SHA256).decrypt(ciphertext)
    except ValueError:
        return secret
    return bytes(opened) if len(opened) == KEY_SIZE else secret


# Encryption


def aes256_cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """
    Encrypt with AES-256-CBC and PKCS #7 padding (NIST SP 800-38A 6.2, RFC 5652 6.3). Never to be used without a MAC.

    @return: a multiple of 16 bytes, at least one byte longer than C{data}.
    """
    _check_key(key)
    return _cbc_encrypt(key, iv, data)


def aes256_cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """
    Decrypt AES-256-CBC and take the padding off. Only for data whose MAC was found right: else the padding tells tales.

    @raise Unauthentic: the length is no multiple of 16, or the padding is wrong.
    """
    _check_key(key)
    return _cbc_decrypt(key, iv, data)


def a256cbc_hs512_encrypt(key: bytes, plaintext: bytes, associated_data: bytes = b"", iv: bytes | None = None) -> bytes:
    """
    Encrypt, then authenticate: AEAD_AES_256_CBC_HMAC_SHA_512, the C{A256CBC-HS512} of RFC 7518, section 5.2.5.

    @param key: 64 bytes: the first half authenticates, the second encrypts.
    @param iv: for the vectors alone; 16 fresh random bytes otherwise.
    @return: IV (16), ciphertext, tag (32).
    """
    return _encrypt_then_mac(32, "sha512", key, plaintext, associated_data, iv)


def a256cbc_hs512_decrypt(key: bytes, sealed: bytes, associated_data: bytes = b"") -> bytes:
    """
    Check, then decrypt, what L{a256cbc_hs512_encrypt} made.

    @raise Unauthentic: key, bytes or associated data are not those it was made with.
    """
    return _check_then_decrypt(32, "sha512", key, sealed, associated_data)


def a128cbc_hs256_encrypt(key: bytes, plaintext: bytes, associated_data: bytes = b"", iv: bytes | None = None) -> bytes:
    """
    Encrypt, then authenticate: AEAD_AES_128_CBC_HMAC_SHA_256, the C{A128CBC-HS256} of RFC 7518, section 5.2.3.

    @param key: 32 bytes: the first half authenticates, the second encrypts.
    @param iv: for the vectors alone; 16 fresh random bytes otherwise.
    @return: IV (16), ciphertext, tag (16).
    """
    return _encrypt_then_mac(16, "sha256", key, plaintext, associated_data, iv)


def a128cbc_hs256_decrypt(key: bytes, sealed: bytes, associated_data: bytes = b"") -> bytes:
    """
    Check, then decrypt, what L{a128cbc_hs256_encrypt} made.

    @raise Unauthentic: key, bytes or associated data are not those it was made with.
    """
    return _check_then_decrypt(16, "sha256", key, sealed, associated_data)


def cbc_hmac_encrypt(key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """
    Encrypt with the cipher that the size of the key names: A256CBC-HS512 for 64 bytes, A128CBC-HS256 for 32.

    @return: as these have it.
    """
    encrypt = a128cbc_hs256_encrypt if len(key) == KEY_SIZE else a256cbc_hs512_encrypt
    return encrypt(key, plaintext, associated_data)


def cbc_hmac_decrypt(key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """
    Check, then decrypt, what L{cbc_hmac_encrypt} made.

    @raise Unauthentic: key, bytes or associated data are not those it was made with.
    """
    decrypt = a128cbc_hs256_decrypt if len(key) == KEY_SIZE else a256cbc_hs512_decrypt
    return decrypt(key, sealed, associated_data)


def _encrypt_then_mac(
    size: int, digest: str, key: bytes, plaintext: bytes, associated_data: bytes, iv: bytes | None
) -> bytes:
    """Both suites are one construction (RFC 7518 5.2.2.1), in which MAC key, AES key and tag are of one size."""
    authentication_key, encryption_key = _halves(key, size)
    chosen = random_bytes(BLOCK_SIZE) if iv is None else iv
    body = chosen + _cbc_encrypt(encryption_key, chosen, plaintext)
    return body + _tag(authentication_key, digest, body, associated_data)


def _check_then_decrypt(size: int, digest: str, key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """The reverse (RFC 7518 5.2.2.2)."""
    authentication_key, encryption_key = _halves(key, size)
    if len(sealed) < 2 * BLOCK_SIZE + size:
        raise Unauthentic("truncated")
    body, tag = sealed[:-size], sealed[-size:]
    if not equal(tag, _tag(authentication_key, digest, body, associated_data)):
        raise Unauthentic("tag")
    return _cbc_decrypt(encryption_key, body[:BLOCK_SIZE], body[BLOCK_SIZE:])


def _cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Pad and encrypt, with AES of the key's size."""
    from Crypto.Cipher import AES

    fill = BLOCK_SIZE - len(data) % BLOCK_SIZE
    return AES.new(key, AES.MODE_CBC, iv=iv).encrypt(data + bytes((fill,)) * fill)


def _cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Decrypt and take the padding off."""
    from Crypto.Cipher import AES

    if not data or len(data) % BLOCK_SIZE or len(iv) != BLOCK_SIZE:
        raise Unauthentic("ciphertext")
    padded = AES.new(key, AES.MODE_CBC, iv=iv).decrypt(data)
    fill = padded[-1]
    if not 1 <= fill <= BLOCK_SIZE or padded[-fill:] != padded[-1:] * fill:
        raise Unauthentic("padding")
    return padded[:-fill]


def _check_key(key: bytes) -> None:
    """Refuse AES-128 and AES-192 where AES-256 is promised."""
    if len(key) != KEY_SIZE:
        raise ValueError("an AES-256 key has 32 bytes")


def _halves(key: bytes, size: int) -> tuple[bytes, bytes]:
    """Split a composite key into the authenticating and the encrypting half (RFC 7518 5.2.2.1)."""
    if len(key) != 2 * size:
        raise ValueError(f"a composite key for AES-{8 * size} has {2 * size} bytes")
    return key[:size], key[size:]


def _tag(key: bytes, digest: str, body: bytes, associated_data: bytes) -> bytes:
    """
    Authenticate associated data, IV, ciphertext and the length of the first in bits (RFC 7518 5.2.2.1): half of the HMAC, as
    many bytes as the key has.
    """
    bits = (8 * len(associated_data)).to_bytes(8, "big")
    return hmac.digest(key, associated_data + body + bits, digest)[: len(key)]


@lru_cache(maxsize=SEALERS_KEPT)
def _sealer(key: bytes) -> AESGCMSIV:
    """Set a key up once: a store seals every row with the same."""
    _check_key(key)
    return AESGCMSIV(key)


def seal(key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """
    Seal data at rest with AES-256-GCM-SIV (RFC 8452), which forgives a nonce that a restored machine draws twice.

    @param key: 32 bytes.
    @return: nonce (12, random), ciphertext, tag (16).
    """
    nonce = random_bytes(NONCE_SIZE)
    return nonce + _sealer(key).encrypt(nonce, plaintext, associated_data)


def unseal(key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """
    Open what L{seal} made.

    @raise Unauthentic: key, bytes or associated data are not those it was made with.
    """
    try:
        return _sealer(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], associated_data)
    except (InvalidTag, ValueError):
        raise Unauthentic("sealed data") from None


# Certificates


def tls_key_pair(names: Sequence[str], *, days: int) -> tuple[bytes, bytes]:
    """
    Make a TLS key (ECDSA on P-256) and a certificate that it signs itself.

    @param names: host names and IP addresses, each as a subject alternative name; the first is the common name.
    @param days: how long the certificate holds.
    @return: private key (PKCS #8, unencrypted) and certificate, both PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> GeneralName:
    """Say what kind of name this is: an IP address or a DNS name."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def spki_of_certificate(certificate: bytes) -> bytes:
    """
    Take the SubjectPublicKeyInfo (DER) out of a certificate, DER or PEM.

    @raise Unauthentic: this is no certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        if certificate.lstrip().startswith(b"-----BEGIN"):
            parsed = x509.load_pem_x509_certificate(certificate)
        else:
            parsed = x509.load_der_x509_certificate(certificate)
        return parsed.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise Unauthentic("certificate") from None
