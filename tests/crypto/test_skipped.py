"""Skipped message keys, and what is discarded when there are too many."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.skipped import MAX_CHAINS, MAX_SKIPPED, SkippedKeys


def key(number: int) -> bytes:
    """A key that shows its number."""
    return number.to_bytes(32, "big")


def public(number: int) -> bytes:
    """A ratchet key that shows its number."""
    return b"\x01" + number.to_bytes(31, "big")


class SkippedKeysTests(SynchronousTestCase):
    """Keeping and taking."""

    def test_take_once(self) -> None:
        """A key can be taken once; the value it was taken from is as it was."""
        kept = SkippedKeys().add(public(1), {4: key(4), 5: key(5)})
        taken = kept.take(public(1), 4)
        assert taken is not None
        rest, message_key = taken
        self.assertEqual(message_key, key(4))
        self.assertIsNone(rest.take(public(1), 4))
        self.assertEqual((len(rest), len(kept)), (1, 2))

    def test_not_here(self) -> None:
        """There is no key for another number or another chain."""
        kept = SkippedKeys().add(public(1), {4: key(4)})
        self.assertIsNone(kept.take(public(1), 3))
        self.assertIsNone(kept.take(public(2), 4))

    def test_empty_chain(self) -> None:
        """A chain of which nothing is missing any more is forgotten."""
        kept = SkippedKeys().add(public(1), {4: key(4)}).add(public(2), {0: key(0)})
        taken = kept.take(public(1), 4)
        assert taken is not None
        self.assertFalse(taken[0].knows(public(1)))
        self.assertTrue(taken[0].knows(public(2)))

    def test_same_chain(self) -> None:
        """Later gaps of the newest chain join the earlier ones."""
        kept = SkippedKeys().add(public(1), {0: key(0)}).add(public(1), {7: key(7)})
        self.assertEqual([(chain.public, dict(chain.keys)) for chain in kept.chains], [(public(1), {0: key(0), 7: key(7)})])

    def test_oldest_chain_discarded(self) -> None:
        """One chain too many discards the oldest, and no other."""
        kept = SkippedKeys()
        for number in range(MAX_CHAINS + 1):
            kept = kept.add(public(number), {0: key(number)})
        self.assertEqual([chain.public for chain in kept.chains], [public(number) for number in range(1, MAX_CHAINS + 1)])

    def test_oldest_keys_discarded(self) -> None:
        """Too many keys discard the oldest, across chains, and no others."""
        kept = SkippedKeys().add(public(1), {number: key(number) for number in range(10)})
        kept = kept.add(public(2), {0: key(0)})
        kept = kept.add(public(3), {number: key(number) for number in range(MAX_SKIPPED - 5)})
        self.assertEqual(len(kept), MAX_SKIPPED)
        self.assertEqual([len(chain.keys) for chain in kept.chains], [4, 1, MAX_SKIPPED - 5])
        self.assertIsNone(kept.take(public(1), 5))
        self.assertIsNotNone(kept.take(public(1), 6))

    def test_oldest_chains_make_room(self) -> None:
        """A gap as large as the limit leaves nothing else."""
        kept = SkippedKeys().add(public(1), {0: key(0)}).add(public(2), {0: key(0)})
        kept = kept.add(public(3), {number: key(number) for number in range(MAX_SKIPPED)})
        self.assertEqual([chain.public for chain in kept.chains], [public(3)])
        self.assertEqual(len(kept), MAX_SKIPPED)

    def test_no_secret_in_representation(self) -> None:
        """Keys do not show in a representation."""
        secret = bytes(range(65, 97))
        self.assertNotIn(secret.decode(), repr(SkippedKeys().add(public(1), {0: secret})))
