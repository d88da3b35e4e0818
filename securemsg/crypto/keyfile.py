"""
The secret of a key file, and what is derived from it: suite C{psk}.

Whoever holds the 32 bytes is whoever holds them: it has no other identity than the file, and no forward secrecy. Every use
derives its own key, so that none of them says anything about another. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.crypto import primitives
from securemsg.crypto.keys import SigningKey, digest, length_prefixed

SECRET_SIZE = 32
LOGIN_SIZE = 64
# An account that is called so is whoever holds a file with this fingerprint; nobody can register such a name.
NAME_PREFIX = "key-"
NAME_DIGITS = 8

FILE_FINGERPRINT = b"securemsg/1 key file fingerprint"
FILE_LOGIN = b"securemsg/1 key file login"
FILE_CONTENT = b"securemsg/1 key file content"
FILE_GUEST = b"securemsg/1 key file caller"


@frozen
class SharedKey:
    """
    A key file in memory.

    @ivar secret: 32 bytes; not part of the representation, nor of comparisons.
    @ivar fingerprint: 32 bytes that tell files apart and give nothing away.
    @ivar login: 64 bytes that prove at login, from either side, that one has the file; nothing that was encrypted with the
        file can be read with them, so that the server core can be given them.
    """

    secret: bytes = field(repr=False, eq=False)
    fingerprint: bytes = field(init=False)
    login: bytes = field(init=False, repr=False, eq=False)

    @secret.validator
    def _check(self, attribute: object, value: bytes) -> None:
        """A shorter secret would be a weaker one."""
        del attribute
        if len(value) != SECRET_SIZE:
            raise ValueError("the secret of a key file has 32 bytes")

    @fingerprint.default
    def _name(self) -> bytes:
        return digest(FILE_FINGERPRINT, self.secret)

    @login.default
    def _prove(self) -> bytes:
        return primitives.hkdf(self.secret, salt=b"", info=length_prefixed(FILE_LOGIN), length=LOGIN_SIZE)

    @classmethod
    def generate(cls) -> SharedKey:
        """Make a fresh secret."""
        return cls(primitives.random_bytes(SECRET_SIZE))

    @property
    def name(self) -> str:
        """The account that the holder of the file appears as."""
        return NAME_PREFIX + self.fingerprint.hex()[:NAME_DIGITS]

    def content_key(self, nonce: bytes, *parts: bytes) -> bytes:
        """
        The key of session messages, for A128CBC-HS256: 32 bytes.

        @param nonce: the sender's, of the epoch or of the connection: the salt.
        @param parts: who sends to whom, and when: each list of parts has a key of its own.
        """
        info = length_prefixed(FILE_CONTENT, *parts)
        return primitives.hkdf(self.secret, salt=nonce, info=info, length=primitives.KEY_SIZE)

    def guest_identity(self, nonce: bytes) -> SigningKey:
        """
        The identity of whoever logged in with the file, for as long as this connection lives.

        @param nonce: from L{securemsg.crypto.keys.connection_nonce}.
        """
        info = length_prefixed(FILE_GUEST)
        return SigningKey(primitives.hkdf(self.secret, salt=nonce, info=info, length=primitives.KEY_SIZE))
