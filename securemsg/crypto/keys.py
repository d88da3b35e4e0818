"""
Keys, signatures, identifiers and digests: all of crypto that the server may import.

Everything that is signed or hashed is first told apart: a label says what it is for, and every part carries its length,
so that no two different lists of parts ever give the same bytes. Nothing here can decrypt.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from securemsg.crypto import primitives
from securemsg.crypto.primitives import (
    hmac_sha256,
    is_ed25519_key,
    is_rsa_key,
    is_x25519_key,
    random_bytes,
    sha256,
    sha256_stream,
    tls_key_pair,
)

__all__ = [
    "AgreementKey",
    "SigningKey",
    "are_device_keys",
    "connection_nonce",
    "digest",
    "digits_in",
    "fingerprint",
    "guest_device",
    "hmac_sha256",
    "is_ed25519_key",
    "is_rsa_key",
    "is_x25519_key",
    "length_prefixed",
    "mac",
    "nonce",
    "random_bytes",
    "random_id",
    "safety_number",
    "same",
    "sha256",
    "sha256_stream",
    "spki_digest",
    "tls_key_pair",
    "verify",
]

# What a signature or digest is for. A label is never used for two things, and never reused with another list of parts.
# Those of logins and device lists stand beside the parts that they sign, in L{securemsg.protocol}.
SIGNED_PREKEY = b"securemsg/1 signed prekey"
ONE_TIME_PREKEY = b"securemsg/1 one-time prekey"
KEM_PREKEY = b"securemsg/1 kem prekey"
LAST_RESORT_PREKEY = b"securemsg/1 last-resort kem prekey"
PREKEY_BUNDLE = b"securemsg/1 prekey bundle"
RATCHET_ROOT = b"securemsg/1 ratchet root"
RATCHET_MESSAGE = b"securemsg/1 ratchet message"
SESSION_DATA = b"securemsg/1 session data"
COMMON_PART = b"securemsg/1 common part"
CONVERSATION = b"securemsg/1 conversation"
LOBBY_CONVERSATION = b"securemsg/1 lobby conversation"
LOBBY_COPY = b"securemsg/1 lobby copy"
DEPOSIT = b"securemsg/1 deposit"
SAFETY_NUMBER = b"securemsg/1 safety number"
INVITE_PROOF = b"securemsg/1 invite proof"
KEY_CONNECTION = b"securemsg/1 key connection"
KEY_DEVICE = b"securemsg/1 key device"
KEY_MESSAGE = b"securemsg/1 key message"
STATELESS_RESET = b"securemsg/1 stateless reset"
RSA_TRANSPORT = b"securemsg/1 rsa transport"
RSA_EPOCH = b"securemsg/1 rsa epoch"
RSA_MESSAGE = b"securemsg/1 rsa message"

ID_SIZE = 16  # random ids of messages, deposits and devices
NONCE_SIZE = 32  # what each side adds to a login
SAFETY_DIGITS = 60
SAFETY_ROUNDS = 5200  # makes a search for a key with a look-alike number 5200 times dearer
FINGERPRINT_SIZE = 8  # enough to tell devices apart in a log, too short to trust


def length_prefixed(*parts: bytes) -> bytes:
    """Join parts so that they can be told apart again: each after its length, 4 bytes, big-endian."""
    return b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "big"), part)])


def digest(*parts: bytes) -> bytes:
    """Hash a list of parts, the first of them usually a label: SHA-256 of L{length_prefixed}, 32 bytes."""
    return sha256(length_prefixed(*parts))


def random_id() -> bytes:
    """Make an id that nobody else has: 16 random bytes."""
    return random_bytes(ID_SIZE)


def nonce() -> bytes:
    """Make 32 random bytes that make a transcript the only one of its kind."""
    return random_bytes(NONCE_SIZE)


def same(one: bytes, other: bytes) -> bool:
    """Compare secrets in a time that depends on their lengths alone."""
    return primitives.equal(one, other)


def mac(key: bytes, label: bytes, *parts: bytes) -> bytes:
    """Prove a label and parts to whoever has the same key, with HMAC-SHA-512: 64 bytes, as long as a signature."""
    return primitives.hmac_sha512(key, length_prefixed(label, *parts))


def connection_nonce(client_nonce: bytes, server_nonce: bytes, exporter: bytes) -> bytes:
    """Name a connection that was logged in with a key file: 32 bytes, which depend on both ends and on the TLS session."""
    return digest(KEY_CONNECTION, client_nonce, server_nonce, exporter)


def guest_device(connection: bytes) -> bytes:
    """
    The device id of whoever logged in with a key file: each connection is a device of its own.

    @param connection: from L{connection_nonce}.
    """
    return digest(KEY_DEVICE, connection)[:ID_SIZE]


def verify(public: bytes, signature: bytes, label: bytes, *parts: bytes) -> None:
    """
    Check what L{SigningKey.sign} made.

    @raise Unauthentic: another key, label or list of parts was signed, or key or signature are malformed.
    """
    primitives.ed25519_verify(public, length_prefixed(label, *parts), signature)


@frozen
class SigningKey:
    """
    An Ed25519 key pair (RFC 8032): an account's identity, a device's or a server's.

    @ivar private: 32 bytes; not part of the representation, nor of comparisons.
    @ivar public: 32 bytes, derived.
    """

    private: bytes = field(repr=False, eq=False)
    public: bytes = field(init=False)

    @public.default
    def _derive(self) -> bytes:
        return primitives.ed25519_public(self.private)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a fresh key pair."""
        return cls(primitives.ed25519_generate())

    def sign(self, label: bytes, *parts: bytes) -> bytes:
        """Sign a label and parts, each with its length: 64 bytes."""
        return primitives.ed25519_sign(self.private, length_prefixed(label, *parts))


@frozen
class AgreementKey:
    """
    An X25519 key pair (RFC 7748): a device's identity in PQXDH, a prekey, or a step of the ratchet.

    @ivar private: 32 bytes; not part of the representation, nor of comparisons.
    @ivar public: 32 bytes, derived.
    """

    private: bytes = field(repr=False, eq=False)
    public: bytes = field(init=False)

    @public.default
    def _derive(self) -> bytes:
        return primitives.x25519_public(self.private)

    @classmethod
    def generate(cls) -> AgreementKey:
        """Make a fresh key pair."""
        return cls(primitives.x25519_generate())


def spki_digest(certificate: bytes) -> bytes:
    """
    Name the key in a certificate, DER or PEM, as logins do: SHA-256 of its SubjectPublicKeyInfo, 32 bytes.

    @raise Unauthentic: this is no certificate.
    """
    return sha256(primitives.spki_of_certificate(certificate))


def are_device_keys(signing_key: bytes, agreement_key: bytes, rsa_key: bytes | None) -> bool:
    """
    Whether these are public keys that a device may have: of Ed25519 and X25519, canonical and not of small order, and of RSA,
    if it has one, as L{is_rsa_key} says.
    """
    return is_ed25519_key(signing_key) and is_x25519_key(agreement_key) and (rsa_key is None or is_rsa_key(rsa_key))


def fingerprint(public: bytes) -> str:
    """
    Name a public key shortly, for logs and lists: the first 8 bytes of its SHA-256 in hex, in groups of four.

    It tells keys apart; to prove a key it is too short: that is what L{safety_number} is for.
    """
    digits = sha256(public)[:FINGERPRINT_SIZE].hex()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def safety_number(own_name: str, own_identity: bytes, peer_name: str, peer_identity: bytes) -> str:
    """
    Make the number that two people compare: equal on both sides only if each has the identity key of the other.

    After the manner of Signal's numeric fingerprints. For either side: begin with label, identity key and name, joined
    by L{length_prefixed}; 5200 times append the identity key and take the SHA-512; of the last hash, each of the first
    six runs of 5 bytes, big-endian, modulo 100000, gives 5 digits. The two halves of 30 digits stand in ascending
    order, so that it does not matter who asks.

    @return: 60 digits in 12 groups of 5, separated by spaces.
    """
    halves = sorted((_half_of_number(own_name, own_identity), _half_of_number(peer_name, peer_identity)))
    return " ".join(halves)


def digits_in(words: Iterable[str]) -> str:
    """The digits of a safety number, however they are grouped; empty: this is none."""
    digits = "".join("".join(words).split())
    return digits if len(digits) == SAFETY_DIGITS and digits.isascii() and digits.isdigit() else ""


def _half_of_number(name: str, identity: bytes) -> str:
    """Stretch one identity into 6 groups of 5 digits."""
    state = length_prefixed(SAFETY_NUMBER, identity, name.encode("utf-8"))
    for _ in range(SAFETY_ROUNDS):
        state = primitives.sha512(state + identity)
    return " ".join(f"{int.from_bytes(state[start : start + 5], 'big') % 100000:05d}" for start in range(0, 30, 5))
