"""The Double Ratchet against an independent implementation: the package C{DoubleRatchet}, with its recommended algorithms."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import doubleratchet
from attrs import define, field
from doubleratchet.recommended import (
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import primitives, ratchet
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import RATCHET_MESSAGE, RATCHET_ROOT, AgreementKey, length_prefixed
from securemsg.crypto.ratchet import Header, Ratchet

SECRET = bytes(range(32))
ASSOCIATED = b"associated"
Message = tuple[Header, bytes]
T = TypeVar("T")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    results: list[T] = []
    Deferred.fromCoroutine(coroutine).addCallback(results.append)
    return results[0]


def associated_with(header: Header) -> bytes:
    """Associated data as a caller composes it: its own, and the header."""
    return length_prefixed(
        ASSOCIATED, header.public, header.previous_length.to_bytes(8, "big"), header.number.to_bytes(8, "big")
    )


class RootKdf(kdf_hkdf.KDF):
    """Their KDF_RK with our label."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return RATCHET_ROOT


class ChainKdf(kdf_separate_hmacs.KDF):
    """Their KDF_CK."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class Aead(aead_aes_hmac.AEAD):
    """Their encryption with our label."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return RATCHET_MESSAGE


class Session(doubleratchet.DoubleRatchet):
    """Their session with our associated data."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        return associated_with(Header(*header))


def curve_with(fresh: Iterator[bytes]) -> type[doubleratchet.DiffieHellmanRatchet]:
    """Their Diffie-Hellman ratchet, which takes its private keys from C{fresh}."""

    class Curve(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
        """X25519 with keys that are handed in."""

        @staticmethod
        def _generate_priv() -> bytes:
            return next(fresh)

    return Curve


class Talker(Protocol):
    """One side of a session, ours or theirs."""

    def send(self, text: bytes) -> Message:
        """Seal a message."""

    def receive(self, message: Message) -> bytes:
        """Open a message."""


@define
class Ours:
    """Our side."""

    ratchet: Ratchet
    fresh: Iterator[bytes]

    def send(self, text: bytes) -> Message:
        """Seal a message; a new ratchet key, where one is due, comes from C{fresh}."""
        due = self.ratchet.sending is None
        self.ratchet, header, message_key = self.ratchet.next_sending(next(self.fresh) if due else None)
        return header, ratchet.seal_message(message_key, text, associated_with(header))

    def receive(self, message: Message) -> bytes:
        """Open a message."""
        header, sealed = message
        following, message_key = self.ratchet.next_receiving(header)
        text = ratchet.open_message(message_key, sealed, associated_with(header))
        self.ratchet = load_ratchet(dump_ratchet(following))
        return text


@define
class Theirs:
    """Their side, which begins its session with the first message."""

    prekey: AgreementKey
    fresh: Iterator[bytes]
    session: Session | None = None
    parameters: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Say which algorithms a session takes, and which limits."""
        self.parameters = {
            "diffie_hellman_ratchet_class": curve_with(self.fresh),
            "root_chain_kdf": RootKdf,
            "message_chain_kdf": ChainKdf,
            "message_chain_constant": b"\x02\x01",
            "dos_protection_threshold": 100,
            "max_num_skipped_message_keys": 1000,
            "aead": Aead,
            "shared_secret": SECRET,
            "associated_data": ASSOCIATED,
        }

    def send(self, text: bytes) -> Message:
        """Seal a message."""
        if self.session is None:
            beginning = Session.encrypt_initial_message(
                recipient_ratchet_pub=self.prekey.public, message=text, **self.parameters
            )
            self.session, encrypted = at_once(beginning)
        else:
            encrypted = at_once(self.session.encrypt_message(text, ASSOCIATED))
        return Header(*encrypted.header), encrypted.ciphertext

    def receive(self, message: Message) -> bytes:
        """Open a message."""
        header, ciphertext = message
        theirs = doubleratchet.EncryptedMessage(
            doubleratchet.Header(header.public, header.previous_length, header.number), ciphertext
        )
        if self.session is None:
            beginning = Session.decrypt_initial_message(own_ratchet_priv=self.prekey.private, message=theirs, **self.parameters)
            self.session, text = at_once(beginning)
            return text
        return at_once(self.session.decrypt_message(theirs, ASSOCIATED))


def keys_of(name: bytes) -> Iterator[bytes]:
    """Private keys without end, the same for the same name."""
    number = 0
    while True:
        yield primitives.sha256(length_prefixed(name, number.to_bytes(4, "big")))
        number += 1


PREKEY = AgreementKey(primitives.sha256(b"prekey"))


def initiators() -> tuple[Ours, Theirs]:
    """The side that begins, ours and theirs, with the same keys."""
    return (
        Ours(Ratchet.initiator(SECRET, PREKEY.public), keys_of(b"initiator")),
        Theirs(PREKEY, keys_of(b"initiator")),
    )


def responders() -> tuple[Ours, Theirs]:
    """The side that answers, ours and theirs, with the same keys."""
    return (
        Ours(Ratchet.responder(SECRET, PREKEY.private), keys_of(b"responder")),
        Theirs(PREKEY, keys_of(b"responder")),
    )


def converse(initiator: Talker, responder: Talker, turns: int) -> list[Message]:
    """
    Hold a conversation: in each turn one side sends, the other reads backwards but for one message, that comes a turn late.

    @return: all messages.
    """
    wire: list[Message] = []
    late: list[tuple[Talker, Message, bytes]] = []
    for turn in range(turns):
        sender, receiver = ((initiator, responder), (responder, initiator))[turn % 2]
        texts = [bytes((turn,)) * (number * 7 + turn) for number in range(turn % 4 + 2)]
        messages = [sender.send(text) for text in texts]
        wire += messages
        arriving = list(zip(messages, texts, strict=True))
        for message, text in arriving[:0:-1]:
            assert receiver.receive(message) == text
        waiting, late = late, [(receiver, *arriving[0])]
        for reader, message, text in waiting:
            assert reader.receive(message) == text
    return wire


class PeerTests(SynchronousTestCase):
    """Ours and theirs talk to each other, and say the same."""

    def test_byte_for_byte(self) -> None:
        """With the same keys, headers and ciphertexts are the same, whichever implementation is on either side."""
        expected = converse(initiators()[1], responders()[1], 12)
        for initiator in (0, 1):
            for responder in (0, 1):
                self.assertEqual(converse(initiators()[initiator], responders()[responder], 12), expected)

    def test_ours_begins(self) -> None:
        """Theirs reads what ours begins, and ours reads the answers, out of order and with random keys."""
        prekey = AgreementKey.generate()
        random = iter(primitives.x25519_generate, b"")
        converse(Ours(Ratchet.initiator(SECRET, prekey.public), random), Theirs(prekey, random), 20)

    def test_theirs_begins(self) -> None:
        """Ours reads what theirs begins, and theirs reads the answers, out of order and with random keys."""
        prekey = AgreementKey.generate()
        random = iter(primitives.x25519_generate, b"")
        converse(Theirs(prekey, random), Ours(Ratchet.responder(SECRET, prekey.private), random), 20)

    @given(plan=st.lists(st.tuples(st.booleans(), st.binary(max_size=40), st.booleans()), min_size=5, max_size=40))
    def test_any_conversation(self, plan: list[tuple[bool, bytes, bool]]) -> None:
        """Whoever sends what, and whatever gets lost, ours makes every message as theirs does, and each reads the other's."""
        initiator, responder = initiators(), responders()
        for from_initiator, text, lost in [(True, b"first", False), *plan]:
            senders, receivers = (initiator, responder) if from_initiator else (responder, initiator)
            message = senders[0].send(text)
            self.assertEqual(senders[1].send(text), message)
            if not lost:
                self.assertEqual([receiver.receive(message) for receiver in receivers], [text, text])
