"""
RSA keys, and the secrets that are encrypted to them: suite C{rsa}.

The sender of an epoch makes a secret, encrypts it for a device with RSA-OAEP-SHA-256, and signs that. There is no forward
secrecy: whoever gets the private key reads all that ever came under it. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.crypto import primitives
from securemsg.crypto.keys import RSA_EPOCH, length_prefixed

DEFAULT_BITS = primitives.RSA_SIZES[0]
SECRET_SIZE = primitives.KEY_SIZE


@frozen
class RsaKey:
    """
    The RSA key pair of a device.

    @ivar private: PKCS #8, DER; not part of the representation, nor of comparisons.
    @ivar public: SubjectPublicKeyInfo, DER: 294 bytes (2048 bits), 422 (3072) or 550 (4096). Given with the private one: to
        derive it takes tens of milliseconds, and it is looked at with each login.
    """

    private: bytes = field(repr=False, eq=False)
    public: bytes

    @property
    def bits(self) -> int:
        """Its size: what surrounds the modulus takes 38 bytes, whatever the size."""
        return (len(self.public) - 38) * 8

    @classmethod
    def generate(cls, bits: int = DEFAULT_BITS) -> RsaKey:
        """Make a fresh key pair, which takes tenths of a second or, of 4096 bits, some seconds."""
        return cls(*primitives.rsa_generate(bits))

    def unwrap(self, ciphertext: bytes) -> bytes:
        """The secret of an epoch, 32 bytes; random ones where the ciphertext holds none."""
        return primitives.rsa_oaep_decrypt(self.private, ciphertext)


def wrap(public: bytes) -> tuple[bytes, bytes]:
    """
    Make the secret of an epoch for the holder of an RSA key.

    @return: the secret, 32 bytes, and the ciphertext, as long as the modulus.
    @raise Unauthentic: the key is invalid.
    """
    secret = primitives.random_bytes(SECRET_SIZE)
    return secret, primitives.rsa_oaep_encrypt(public, secret)


def message_key(secret: bytes, size: int, *context: bytes) -> bytes:
    """
    The key of the messages of an epoch.

    @param size: 64 for A256CBC-HS512, 32 for A128CBC-HS256; each has a key of its own.
    @param context: the signed context.
    """
    info = length_prefixed(RSA_EPOCH, *context, size.to_bytes(4, "big"))
    return primitives.hkdf(secret, salt=b"", info=info, length=size)
