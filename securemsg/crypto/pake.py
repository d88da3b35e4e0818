"""
The key that two people get out of a few words: SPAKE2, and what is derived from its key for a short invite.

Whoever does not have the words can try one guess with each exchange, and cannot try others on what was exchanged. Source:
C{docs/protocol.md}, section "Short invites".
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.crypto import primitives
from securemsg.crypto.keys import length_prefixed, mac, same
from securemsg.errors import Unauthentic

INVITER = b"securemsg/1 code from inviter"
NEWCOMER = b"securemsg/1 code from newcomer"
CONFIRM_KEY = b"securemsg/1 code key to confirm"
SEAL_KEY = b"securemsg/1 code key to seal"
CONFIRMATION = b"securemsg/1 code confirmation"
SEALED_INVITE = b"securemsg/1 code sealed invite"

# As long as C{mac} and A256CBC-HS512 want it.
_KEY_SIZE = 64


@frozen
class Agreed:
    """
    What both ends have after the exchange, if both had the same words.

    @ivar key: of SPAKE2.
    @ivar parts: the number of the short invite and both messages.
    """

    _key: bytes = field(repr=False, eq=False)
    _parts: tuple[bytes, ...]

    def proof(self) -> bytes:
        """What shows the inviter that the newcomer has the words: 64 bytes."""
        return mac(self._derive(CONFIRM_KEY), CONFIRMATION, *self._parts)

    def check(self, proof: bytes) -> None:
        """
        Check what L{proof} made.

        @raise Unauthentic: the other end had other words.
        """
        if not same(proof, self.proof()):
            raise Unauthentic("words")

    def seal(self, invite: bytes) -> bytes:
        """Encrypt the invite: A256CBC-HS512, at most 64 bytes longer."""
        return primitives.a256cbc_hs512_encrypt(self._derive(SEAL_KEY), invite, length_prefixed(SEALED_INVITE, *self._parts))

    def unseal(self, sealed: bytes) -> bytes:
        """
        Decrypt what L{seal} made.

        @raise Unauthentic: the other end had other words, or somebody has changed it.
        """
        return primitives.a256cbc_hs512_decrypt(self._derive(SEAL_KEY), sealed, length_prefixed(SEALED_INVITE, *self._parts))

    def _derive(self, label: bytes) -> bytes:
        return primitives.hkdf(self._key, salt=b"", info=length_prefixed(label), length=_KEY_SIZE)


@frozen
class Exchange:
    """
    One end of an exchange.

    @ivar words: the password of both ends.
    @ivar is_inviter: side A, who speaks first.
    @ivar seed: random, for this exchange alone.
    @ivar message: what the other end is sent.
    """

    _words: bytes = field(repr=False, eq=False)
    _is_inviter: bool
    _seed: bytes = field(repr=False, eq=False, factory=lambda: primitives.random_bytes(primitives.SPAKE2_SEED_SIZE))
    message: bytes = field(init=False)

    @message.default
    def _start(self) -> bytes:
        return primitives.spake2_message(self._seed, self._words, is_a=self._is_inviter)

    def finish(self, message: bytes, number: int) -> Agreed:
        """
        Agree with the other end.

        @param message: what the other end has sent.
        @param number: of the short invite.
        @raise Unauthentic: that is no message of the other end.
        """
        names = (INVITER, NEWCOMER)
        key = primitives.spake2_key(self._seed, self._words, message, names=names, is_a=self._is_inviter)
        both = (self.message, message) if self._is_inviter else (message, self.message)
        return Agreed(key, (number.to_bytes(8, "big"), *both))
