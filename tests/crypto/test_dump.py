"""Tests of L{securemsg.crypto.dump}."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.dump import dump_ratchet, dump_skipped, load_ratchet, load_skipped
from securemsg.crypto.skipped import MAX_CHAINS, MAX_SKIPPED, SkippedKeys
from tests.crypto.test_primitives import damaged
from tests.crypto.test_ratchet import pair, talking


class DumpTests(SynchronousTestCase):
    """A ratchet written down and read again."""

    def test_every_state(self) -> None:
        """In whatever state it is dumped, the loaded ratchet is the same and goes on."""
        alice, bob = pair()
        for _ in range(4):
            for sender, receiver in ((alice, bob), (bob, alice)):
                sender.send()
                for message in (sender.send(), sender.send()):
                    for side in (alice, bob):
                        loaded = load_ratchet(dump_ratchet(side.ratchet))
                        self.assertEqual(loaded, side.ratchet)
                        side.ratchet = loaded
                    receiver.receive(message)

    def test_truncated(self) -> None:
        """No part of a dump loads."""
        alice, bob = talking()
        alice.send()
        bob.receive(alice.send())
        dump = dump_ratchet(bob.ratchet)
        for cut in range(len(dump)):
            self.assertRaises(ValueError, load_ratchet, dump[:cut])
        self.assertRaises(ValueError, load_ratchet, dump + b"\x00")

    def test_damaged(self) -> None:
        """A dump with a changed byte is refused, or loads as another ratchet: never another error, never the same."""
        alice, bob = talking()
        alice.send()
        bob.receive(alice.send())
        dump = dump_ratchet(bob.ratchet)
        for spoilt in damaged(dump):
            try:
                loaded = load_ratchet(spoilt)
            except ValueError:
                continue
            self.assertNotEqual(loaded, bob.ratchet)

    def test_impossible(self) -> None:
        """What is well formed and no ratchet is refused: another format, wrong sizes, negative counts, a chain of nobody."""
        key = bytes(32)
        fields = [key, key, key, key, key, key, 0, 0, 0, [[]]]
        self.assertEqual(load_ratchet(msgspec.msgpack.encode([1, fields])).root, key)
        for index, value in (
            (0, None),
            (0, bytes(31)),
            (1, None),
            (1, bytes(33)),
            (2, None),
            (3, None),
            (4, "x"),
            (6, -1),
            (7, 0.5),
            (9, None),
            (9, [[[key, {}]]]),
            (9, [[[key, {0: bytes(5)}]]]),
            (9, [[[key, {-1: key}]]]),
            (9, [[[key, {0: key}]] * (MAX_CHAINS + 1)]),
            (9, [[[key, dict.fromkeys(range(MAX_SKIPPED + 1), key)]]]),
        ):
            spoilt = [*fields[:index], value, *fields[index + 1 :]]
            self.assertRaises(ValueError, load_ratchet, msgspec.msgpack.encode([1, spoilt]))
        for other in ([2, fields], ["1", fields], [1, [*fields, 0]], [1, fields, 0], fields):
            self.assertRaises(ValueError, load_ratchet, msgspec.msgpack.encode(other))


class SkippedTests(SynchronousTestCase):
    """Skipped keys that are kept apart."""

    def test_round_trip(self) -> None:
        """They come back as they were, and nothing else loads."""
        skipped = SkippedKeys().add(bytes(32), {3: bytes(32), 5: bytes(32)}).add(b"x" * 32, {0: bytes(32)})
        data = dump_skipped(skipped)
        self.assertEqual(load_skipped(data), skipped)
        for cut in range(len(data)):
            self.assertRaises(ValueError, load_skipped, data[:cut])
