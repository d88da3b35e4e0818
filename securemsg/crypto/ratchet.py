"""
The Double Ratchet: a fresh key for every message, healing with every answer.

After Signal's Double Ratchet specification, revision 4: section 3 with the algorithms of section 5.2 (X25519, HKDF and
HMAC with SHA-256, AES-256-CBC with HMAC). Names in brackets are the specification's.

One liberty, section 6.5 (deferred key generation): a side makes its next ratchet key when it next sends, not when it
receives. The bytes on the wire are the same; a received step costs one agreement instead of two and leaves no ratchet
private key behind.

A L{Ratchet} is a value. Asking it for a key gives the next value along with it; the caller adopts that value only after
L{seal_message} or L{open_message} succeeded and it is stored (L{securemsg.crypto.dump}). Until then nothing has changed.
"""

from __future__ import annotations

from attrs import frozen
from msgspec import Struct
from msgspec.structs import replace

from securemsg.crypto import primitives
from securemsg.crypto.keys import RATCHET_MESSAGE, RATCHET_ROOT
from securemsg.crypto.skipped import KEY_SIZE, Count, Key, SkippedKeys
from securemsg.errors import LocalProtocolError, Unauthentic

MAX_JUMP = 2000  # message keys that one header may make us derive: some milliseconds of work
TAG_SIZE = 32
MESSAGE_KEY_INPUT = b"\x01"  # section 5.2, KDF_CK
CHAIN_KEY_INPUT = b"\x02"


class AlreadyUsed(Unauthentic):
    """The message key was used before, or was discarded: a repetition, or a message that comes too late."""


class TooFar(Unauthentic):
    """The header would make us derive more than L{MAX_JUMP} keys."""


@frozen
class Header:
    """
    What travels in the clear with every message [HEADER].

    @ivar public: the sender's ratchet key [DHs], 32 bytes.
    @ivar previous_length: how many messages its previous sending chain had [PN].
    @ivar number: which message of this chain it is, from 0 [N].
    """

    public: bytes
    previous_length: int
    number: int


class Ratchet(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """
    One side of a session, at one moment.

    @ivar root: root key [RK].
    @ivar own_private: the ratchet key of our current sending chain [DHs]; none between a received step and the next
        sending. C{own_public} is its public half, known while there is a sending chain.
    @ivar peer_public: the peer's current ratchet key [DHr].
    @ivar sending: chain key [CKs]; none until we send under a new ratchet key.
    @ivar receiving: chain key [CKr]; none until the peer has sent.
    @ivar sent: messages of the current or, where there is none, the last sending chain [Ns].
    @ivar received: messages of the current receiving chain, skipped ones included [Nr].
    @ivar previous_length: messages of the sending chain before the current one [PN].
    @ivar skipped: the skipped message keys [MKSKIPPED].
    """

    root: Key
    own_private: Key | None = None
    own_public: Key | None = None
    peer_public: Key | None = None
    sending: Key | None = None
    receiving: Key | None = None
    sent: Count = 0
    received: Count = 0
    previous_length: Count = 0
    skipped: SkippedKeys = SkippedKeys()

    def __repr__(self) -> str:
        return f"<Ratchet: {self.sent} sent, {self.received} received>"

    @classmethod
    def initiator(cls, secret: bytes, peer_ratchet_public: bytes) -> Ratchet:
        """
        Begin as the side that sends first (section 3.3, RatchetInitAlice).

        @param secret: 32 bytes from PQXDH.
        @param peer_ratchet_public: the peer's signed prekey.
        @raise Unauthentic: the peer's key has the wrong length.
        """
        if len(peer_ratchet_public) != KEY_SIZE:
            raise Unauthentic("ratchet key")
        return cls(_exactly(secret), peer_public=peer_ratchet_public)

    @classmethod
    def responder(cls, secret: bytes, own_ratchet_private: bytes) -> Ratchet:
        """
        Begin as the side that receives first (section 3.3, RatchetInitBob).

        @param secret: 32 bytes from PQXDH.
        @param own_ratchet_private: the private half of the signed prekey that the initiator used.
        """
        return cls(_exactly(secret), own_private=_exactly(own_ratchet_private))

    def next_sending(self, fresh_private: bytes | None = None) -> tuple[Ratchet, Header, bytes]:
        """
        Take the key for the next message to send (section 3.4, RatchetEncrypt).

        @param fresh_private: the next ratchet private key, for vectors alone; random otherwise.
        @return: the next ratchet, the header to send, the message key (32 bytes).
        @raise LocalProtocolError: we are the responder, and have not received yet.
        @raise Unauthentic: the peer's ratchet key is malformed or of low order.
        """
        current = self if self.sending is not None else self._begin_sending(fresh_private)
        if current.sending is None or current.own_public is None:
            raise LocalProtocolError("a ratchet without a sending chain")
        chain, message_key = _step_chain(current.sending)
        header = Header(current.own_public, current.previous_length, current.sent)
        return replace(current, sending=chain, sent=current.sent + 1), header, message_key

    def next_receiving(self, header: Header) -> tuple[Ratchet, bytes]:
        """
        Take the key for a message that came (section 3.5, RatchetDecrypt without the decryption).

        @return: the ratchet to adopt once the message has opened, and the message key (32 bytes).
        @raise AlreadyUsed: the key of this message is gone.
        @raise TooFar: more than L{MAX_JUMP} messages before this one are missing.
        @raise Unauthentic: the header cannot be the peer's.
        """
        late = self.skipped.take(header.public, header.number)
        if late is not None:
            skipped, message_key = late
            return replace(self, skipped=skipped), message_key
        if header.public == self.peer_public:
            return self._next_in_chain(header.number)
        if self.skipped.knows(header.public):
            raise AlreadyUsed("a message key of an earlier chain")
        if not self.may_step:  # before any key is derived: this is all that a stranger's header costs
            raise Unauthentic("a ratchet key in answer to none of ours")
        if self.jump(header) > MAX_JUMP:
            raise TooFar("too many messages missing")
        return self._skip_to(self._end(header))._begin_receiving(header.public)._next_in_chain(header.number)

    @property
    def may_step(self) -> bool:
        """Whether the peer may answer with a new ratchet key: it has not answered our present one."""
        return self.own_private is not None

    def jump(self, header: Header) -> int:
        """How many keys a header that is not late makes us derive beside its own."""
        if header.public == self.peer_public:
            return max(0, header.number - self.received)
        return self._end(header) - self.received + header.number

    def is_ahead(self, header: Header) -> bool:
        """Whether a message is of the peer's current chain, and not one that was skipped."""
        return header.public == self.peer_public and header.number >= self.received

    def knows(self, header: Header) -> bool:
        """Tell cheaply whether the peer has used this ratchet key in this session before."""
        if header.public == self.peer_public:
            return self.receiving is not None
        return self.skipped.knows(header.public)

    def _end(self, header: Header) -> int:
        """Where the current receiving chain ends, as the header of another one says."""
        return self.received if self.receiving is None else max(self.received, header.previous_length)

    def _begin_sending(self, fresh_private: bytes | None) -> Ratchet:
        """Make a ratchet key and, from it, a sending chain: the second half of section 3.5's DHRatchet."""
        if self.peer_public is None:
            raise LocalProtocolError("a responder must receive before it sends")
        private = primitives.x25519_generate() if fresh_private is None else fresh_private
        root, chain = _step_root(self.root, primitives.x25519(private, self.peer_public))
        return replace(
            self,
            root=root,
            own_private=private,
            own_public=primitives.x25519_public(private),
            sending=chain,
            previous_length=self.sent,
            sent=0,
        )

    def _begin_receiving(self, public: bytes) -> Ratchet:
        """
        Answer a new ratchet key of the peer with a receiving chain: the first half of section 3.5's DHRatchet.

        Our own ratchet key has then done all it can, and goes.
        """
        root, chain = _step_root(self.root, primitives.x25519(_exactly(self.own_private), public))
        return replace(
            self,
            root=root,
            own_private=None,
            own_public=None,
            sending=None,
            peer_public=public,
            receiving=chain,
            received=0,
        )

    def _next_in_chain(self, number: int) -> tuple[Ratchet, bytes]:
        """Take a key of the current receiving chain."""
        if self.receiving is None:
            raise Unauthentic("a chain that never began")
        if number < self.received:
            raise AlreadyUsed("a message key of this chain")
        if number - self.received > MAX_JUMP:
            raise TooFar("too many messages missing")
        skipped = self._skip_to(number)
        chain, message_key = _step_chain(_exactly(skipped.receiving))
        return replace(skipped, receiving=chain, received=number + 1), message_key

    def _skip_to(self, number: int) -> Ratchet:
        """Derive and keep the keys of the current receiving chain before C{number} (section 3.5, SkipMessageKeys)."""
        if number <= self.received or self.peer_public is None:
            return self
        chain_key = _exactly(self.receiving)
        keys: dict[int, bytes] = {}
        for missing in range(self.received, number):
            chain_key, keys[missing] = _step_chain(chain_key)
        return replace(self, receiving=chain_key, received=number, skipped=self.skipped.add(self.peer_public, keys))


def seal_message(message_key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """
    Encrypt, then authenticate (section 5.2, ENCRYPT). A message key serves once.

    @param associated_data: the caller joins its parts with C{keys.length_prefixed}, so that its end is unmistakable.
    @return: ciphertext, then tag (32).
    """
    encryption_key, authentication_key, iv = _message_keys(message_key)
    ciphertext = primitives.aes256_cbc_encrypt(encryption_key, iv, plaintext)
    return ciphertext + primitives.hmac_sha256(authentication_key, associated_data + ciphertext)


def open_message(message_key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """
    Check, then decrypt (section 5.2, DECRYPT).

    @raise Unauthentic: key, bytes or associated data are not those it was sealed with.
    """
    encryption_key, authentication_key, iv = _message_keys(message_key)
    ciphertext, tag = sealed[:-TAG_SIZE], sealed[-TAG_SIZE:]
    if not primitives.equal(tag, primitives.hmac_sha256(authentication_key, associated_data + ciphertext)):
        raise Unauthentic("tag")
    return primitives.aes256_cbc_decrypt(encryption_key, iv, ciphertext)


def _step_root(root: bytes, agreed: bytes) -> tuple[bytes, bytes]:
    """Next root key and a new chain key (section 5.2, KDF_RK)."""
    derived = primitives.hkdf(agreed, salt=root, info=RATCHET_ROOT, length=2 * KEY_SIZE)
    return derived[:KEY_SIZE], derived[KEY_SIZE:]


def _step_chain(chain_key: bytes) -> tuple[bytes, bytes]:
    """Next chain key and a message key (section 5.2, KDF_CK)."""
    return (
        primitives.hmac_sha256(chain_key, CHAIN_KEY_INPUT),
        primitives.hmac_sha256(chain_key, MESSAGE_KEY_INPUT),
    )


def _message_keys(message_key: bytes) -> tuple[bytes, bytes, bytes]:
    """AES key (32), HMAC key (32) and IV (16) of one message (section 5.2)."""
    derived = primitives.hkdf(message_key, salt=bytes(KEY_SIZE), info=RATCHET_MESSAGE, length=80)
    return derived[:32], derived[32:64], derived[64:]


def _exactly(key: bytes | None) -> bytes:
    """Insist on a key of 32 bytes where the state says that there is one."""
    if key is None or len(key) != KEY_SIZE:
        raise LocalProtocolError("an invalid ratchet key of our own")
    return key
