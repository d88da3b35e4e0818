"""What is signed at login and registration."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol import auth
from securemsg.protocol.auth import MEMORY, UNIX, Binding, challenge_parts, proof_parts, register_parts
from securemsg.protocol.messages import Register, SignedDeviceList
from tests.protocol.examples import KEY, SIGNATURE

TLS = Binding("tcp", "tls-exporter", bytes(32), KEY)
REGISTER = Register("alice", bytes(16), b"token", KEY, SignedDeviceList(b"body", SIGNATURE), SIGNATURE, SIGNATURE)
OTHER = b"\xff" * 32


def other_bindings() -> Iterator[Binding]:
    """Every binding that differs from L{TLS} in one part."""
    yield evolve(TLS, transport="unix")
    yield evolve(TLS, kind="none")
    yield evolve(TLS, exporter=OTHER)
    yield evolve(TLS, spki=OTHER)


class TranscriptTests(SynchronousTestCase):
    """Two transcripts that differ in anything differ in what is signed."""

    def all_differ(self, transcripts: list[tuple[bytes, ...]]) -> None:
        """No two are the same, and all have the same number of parts, so that each part keeps its place."""
        self.assertEqual(len(set(transcripts)), len(transcripts))
        self.assertEqual(len({len(transcript) for transcript in transcripts}), 1)

    def test_challenge(self) -> None:
        """Hello, version, features, nonce, identity and every part of the binding are signed."""
        self.all_differ(
            [
                challenge_parts(b"hello", 1, [], KEY, KEY, TLS),
                challenge_parts(b"other", 1, [], KEY, KEY, TLS),
                challenge_parts(b"hello", 2, [], KEY, KEY, TLS),
                challenge_parts(b"hello", 1, ["a"], KEY, KEY, TLS),
                challenge_parts(b"hello", 1, ["a", "b"], KEY, KEY, TLS),
                challenge_parts(b"hello", 1, [], OTHER, KEY, TLS),
                challenge_parts(b"hello", 1, [], KEY, OTHER, TLS),
                *[challenge_parts(b"hello", 1, [], KEY, KEY, binding) for binding in other_bindings()],
            ]
        )

    def test_proof(self) -> None:
        """Both greetings, identity, names, highest n and every part of the binding are signed."""
        self.all_differ(
            [
                proof_parts(b"hello", b"challenge", KEY, "alice", b"id", 1, TLS),
                proof_parts(b"other", b"challenge", KEY, "alice", b"id", 1, TLS),
                proof_parts(b"hello", b"other", KEY, "alice", b"id", 1, TLS),
                proof_parts(b"hello", b"challenge", OTHER, "alice", b"id", 1, TLS),
                proof_parts(b"hello", b"challenge", KEY, "bob", b"id", 1, TLS),
                proof_parts(b"hello", b"challenge", KEY, "alice", b"other", 1, TLS),
                proof_parts(b"hello", b"challenge", KEY, "alice", b"id", 2, TLS),
                *[proof_parts(b"hello", b"challenge", KEY, "alice", b"id", 1, binding) for binding in other_bindings()],
            ]
        )

    def test_registration(self) -> None:
        """Both greetings, server identity, names, token, identity, list, its signature and all of the binding are signed."""
        changes: list[dict[str, object]] = [
            {"account": "bob"},
            {"device": OTHER},
            {"token": b"other"},
            {"identity": OTHER},
            {"devices": SignedDeviceList(b"other", SIGNATURE)},
            {"devices": SignedDeviceList(b"body", bytes(63) + b"\x01")},
        ]
        self.all_differ(
            [
                register_parts(b"hello", b"challenge", KEY, REGISTER, TLS),
                register_parts(b"other", b"challenge", KEY, REGISTER, TLS),
                register_parts(b"hello", b"other", KEY, REGISTER, TLS),
                register_parts(b"hello", b"challenge", OTHER, REGISTER, TLS),
                *[
                    register_parts(b"hello", b"challenge", KEY, msgspec.structs.replace(REGISTER, **change), TLS)
                    for change in changes
                ],
                *[register_parts(b"hello", b"challenge", KEY, REGISTER, binding) for binding in other_bindings()],
            ]
        )

    def test_own_signatures_left_out(self) -> None:
        """The proofs of a registration are not part of what they sign."""
        other = bytes(63) + b"\x01"
        changed = msgspec.structs.replace(REGISTER, identity_signature=other, device_signature=other)
        transcripts = {register_parts(b"hello", b"challenge", KEY, one, TLS) for one in (REGISTER, changed)}
        self.assertEqual(len(transcripts), 1)

    def test_labels(self) -> None:
        """Each signature has a label of its own."""
        labels = {
            auth.CHALLENGE_LABEL, auth.PROOF_LABEL, auth.REGISTER_IDENTITY_LABEL, auth.REGISTER_DEVICE_LABEL,
            auth.KEY_CHALLENGE_LABEL, auth.KEY_PROOF_LABEL,
        }  # fmt: skip
        self.assertEqual(len(labels), 6)

    def test_bindings_inside(self) -> None:
        """Inside one machine nothing is exported, and the transports differ."""
        for binding in (MEMORY, UNIX):
            self.assertEqual((binding.kind, binding.exporter, binding.spki), ("none", b"", b""))
        self.assertNotEqual(MEMORY.parts(), UNIX.parts())
