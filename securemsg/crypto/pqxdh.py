"""
PQXDH: how two devices agree on a first secret though one of them is away.

After Signal's PQXDH specification, revision 3, with these parameters: C{info} securemsg, curve Curve25519, hash
SHA-256, KEM ML-KEM-768. The identity key that takes part in the agreement is the device's X25519 key, which the device
list certifies; prekeys are signed by the device's Ed25519 key. Names in brackets are the specification's.

The specification's associated data is left to the caller, who adds L{bundle_digest} to what else names both sides: it
covers every prekey with its id, kind and signature, so the KEM key as well.
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.crypto import primitives
from securemsg.crypto.keys import (
    KEM_PREKEY,
    LAST_RESORT_PREKEY,
    ONE_TIME_PREKEY,
    PREKEY_BUNDLE,
    SIGNED_PREKEY,
    AgreementKey,
    SigningKey,
    digest,
    verify,
)
from securemsg.errors import Unauthentic

INFO = b"securemsg_CURVE25519_SHA-256_ML-KEM-768"  # PQXDH 2.2: info, curve, hash and pqkem
PADDING = b"\xff" * 32  # [F]: never begins an encoded scalar or point
SALT = bytes(32)  # as long as the hash
SECRET_SIZE = 32
PREKEY_ID_SIZE = 8  # bytes, big-endian, in what is signed


@frozen
class PublicPrekey:
    """
    The public half of a prekey, as it lies on the server.

    @ivar id: a number that the device never gives twice, above 0 and below 2**64.
    @ivar key: an X25519 key (32 bytes) or an ML-KEM-768 encapsulation key (1184 bytes).
    @ivar signature: by the device, over id and key, under the label of its kind (64 bytes).
    """

    id: int
    key: bytes
    signature: bytes

    def verify(self, device: bytes, label: bytes) -> None:
        """
        Check that the device made this prekey, for this use, under this id.

        @param device: the Ed25519 key from the device list.
        @raise Unauthentic: it did not, or the prekey is malformed.
        """
        if len(self.key) != _KEY_SIZES[label] or not 0 < self.id < 2 ** (8 * PREKEY_ID_SIZE):
            raise Unauthentic("prekey")
        if len(self.key) == primitives.KEY_SIZE and not primitives.is_x25519_key(self.key):
            raise Unauthentic("prekey")
        verify(device, self.signature, label, _encode_id(self.id), self.key)


@frozen
class PrekeyBundle:
    """
    What the server hands out so that a session with an absent device can begin.

    @ivar signed: the X25519 prekey that rotates [SPKB].
    @ivar kem: the ML-KEM-768 prekey [PQPKB], for one use or the last resort.
    @ivar kem_is_last_resort: which of the two it is.
    @ivar one_time: the X25519 prekey for one use [OPKB], if there was one left.
    """

    signed: PublicPrekey
    kem: PublicPrekey
    kem_is_last_resort: bool
    one_time: PublicPrekey | None = None

    def verify(self, device: bytes) -> None:
        """
        Check every prekey. To be called before L{initiate}, which cannot know the device's signing key.

        @param device: the Ed25519 key from the device list.
        @raise Unauthentic: a prekey is not the device's, or poses as one of another kind.
        """
        self.signed.verify(device, SIGNED_PREKEY)
        self.kem.verify(device, LAST_RESORT_PREKEY if self.kem_is_last_resort else KEM_PREKEY)
        if self.one_time is not None:
            self.one_time.verify(device, ONE_TIME_PREKEY)


@frozen
class Initiation:
    """
    What the initiator knows in the end.

    @ivar secret: the first root key [SK], 32 bytes.
    @ivar ephemeral_public: for the peer [EKA], 32 bytes.
    @ivar kem_ciphertext: for the peer [CT], 1088 bytes.
    @ivar associated: the L{bundle_digest}, for the associated data of the session.
    """

    secret: bytes = field(repr=False)
    ephemeral_public: bytes
    kem_ciphertext: bytes = field(repr=False)
    associated: bytes


def make_signed_prekey(device: SigningKey, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """
    Make the X25519 prekey that rotates.

    @return: private key (32 bytes) and public prekey.
    """
    return _make_x25519_prekey(device, SIGNED_PREKEY, prekey_id)


def make_one_time_prekey(device: SigningKey, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """
    Make an X25519 prekey for one use.

    @return: private key (32 bytes) and public prekey.
    """
    return _make_x25519_prekey(device, ONE_TIME_PREKEY, prekey_id)


def make_kem_prekey(device: SigningKey, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """
    Make an ML-KEM-768 prekey for one use.

    @return: seed (64 bytes) and public prekey.
    """
    return _make_kem_prekey(device, KEM_PREKEY, prekey_id)


def make_last_resort_prekey(device: SigningKey, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """
    Make the ML-KEM-768 prekey that is handed out again and again when those for one use are gone.

    @return: seed (64 bytes) and public prekey.
    """
    return _make_kem_prekey(device, LAST_RESORT_PREKEY, prekey_id)


def bundle_digest(bundle: PrekeyBundle) -> bytes:
    """Hash a whole bundle, 32 bytes: both sides have it, the responder from its own stored public prekeys."""
    parts = [PREKEY_BUNDLE]
    kem_label = LAST_RESORT_PREKEY if bundle.kem_is_last_resort else KEM_PREKEY
    for label, prekey in ((SIGNED_PREKEY, bundle.signed), (kem_label, bundle.kem), (ONE_TIME_PREKEY, bundle.one_time)):
        if prekey is not None:
            parts += [label, _encode_id(prekey.id), prekey.key, prekey.signature]
    return digest(*parts)


def initiate(own: AgreementKey, peer_agreement: bytes, bundle: PrekeyBundle) -> Initiation:
    """
    Begin a session with a device that is away (PQXDH 3.3).

    @param own: this device's identity agreement key [IKA].
    @param peer_agreement: the peer's, from its device list [IKB].
    @param bundle: verified by its own C{verify}.
    @raise Unauthentic: a key of the peer is malformed or of low order.
    """
    ephemeral = AgreementKey.generate()
    agreed = [
        primitives.x25519(own.private, bundle.signed.key),
        primitives.x25519(ephemeral.private, peer_agreement),
        primitives.x25519(ephemeral.private, bundle.signed.key),
    ]
    if bundle.one_time is not None:
        agreed.append(primitives.x25519(ephemeral.private, bundle.one_time.key))
    encapsulated, ciphertext = primitives.mlkem768_encapsulate(bundle.kem.key)
    return Initiation(_derive([*agreed, encapsulated]), ephemeral.public, ciphertext, bundle_digest(bundle))


def respond(
    own: AgreementKey,
    signed_private: bytes,
    kem_seed: bytes,
    one_time_private: bytes | None,
    peer_agreement: bytes,
    ephemeral_public: bytes,
    kem_ciphertext: bytes,
) -> bytes:
    """
    Agree with somebody who began while we were away (PQXDH 3.4).

    Whoever sent it has proved nothing yet: that comes with the first message that opens under this secret.

    @param own: this device's identity agreement key [IKB].
    @param signed_private: the private half of the signed prekey that the message names; likewise the seed of the KEM
        prekey and, where one is named, the private half of the one-time prekey.
    @param peer_agreement: the initiator's identity agreement key, from its device list [IKA].
    @return: the first root key [SK], 32 bytes.
    @raise Unauthentic: a key of the peer is malformed or of low order, or the ciphertext has the wrong length.
    """
    agreed = [
        primitives.x25519(signed_private, peer_agreement),
        primitives.x25519(own.private, ephemeral_public),
        primitives.x25519(signed_private, ephemeral_public),
    ]
    if one_time_private is not None:
        agreed.append(primitives.x25519(one_time_private, ephemeral_public))
    return _derive([*agreed, primitives.mlkem768_decapsulate(kem_seed, kem_ciphertext)])


_KEY_SIZES = {
    SIGNED_PREKEY: primitives.KEY_SIZE,
    ONE_TIME_PREKEY: primitives.KEY_SIZE,
    KEM_PREKEY: primitives.KEM_PUBLIC_SIZE,
    LAST_RESORT_PREKEY: primitives.KEM_PUBLIC_SIZE,
}


def _derive(agreed: list[bytes]) -> bytes:
    """The specification's KDF over the concatenated results (PQXDH 2.2); each has 32 bytes, so they need no lengths."""
    return primitives.hkdf(PADDING + b"".join(agreed), salt=SALT, info=INFO, length=SECRET_SIZE)


def _encode_id(prekey_id: int) -> bytes:
    return prekey_id.to_bytes(PREKEY_ID_SIZE, "big")


def _make_x25519_prekey(device: SigningKey, label: bytes, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """Make and sign an X25519 prekey of the kind that C{label} names."""
    private = primitives.x25519_generate()
    return private, _sign_prekey(device, label, prekey_id, primitives.x25519_public(private))


def _make_kem_prekey(device: SigningKey, label: bytes, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """Make and sign an ML-KEM-768 prekey of the kind that C{label} names."""
    seed = primitives.mlkem768_generate()
    return seed, _sign_prekey(device, label, prekey_id, primitives.mlkem768_public(seed))


def _sign_prekey(device: SigningKey, label: bytes, prekey_id: int, key: bytes) -> PublicPrekey:
    return PublicPrekey(prekey_id, key, device.sign(label, _encode_id(prekey_id), key))
