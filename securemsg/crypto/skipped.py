"""
Skipped message keys: those of messages that have not come yet, so that a late one can still be read.

The store of these keys of the Double Ratchet specification, revision 4, section 3.1 [MKSKIPPED], with limits:
what does not fit any more is discarded, the oldest first, and its messages can then no longer be read.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

KEY_SIZE = 32
MAX_SKIPPED = 2000  # keys kept for one session: some 80 KiB of state
MAX_CHAINS = 5  # sending chains of the peer that these keys may belong to


Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
Count = Annotated[int, Meta(ge=0)]


class SkippedChain(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """
    What is missing of one sending chain of the peer.

    @ivar public: the ratchet key that the chain belongs to, 32 bytes.
    @ivar keys: message keys by number, ascending; never changed in place.
    """

    public: Key
    keys: Annotated[dict[Count, Key], Meta(min_length=1, max_length=MAX_SKIPPED)]

    def __repr__(self) -> str:
        return f"<SkippedChain: {len(self.keys)}>"


class SkippedKeys(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """
    What is missing of a session.

    @ivar chains: the oldest first; none is empty.
    """

    chains: Annotated[tuple[SkippedChain, ...], Meta(max_length=MAX_CHAINS)] = ()

    def __len__(self) -> int:
        """Count the keys."""
        return sum(len(chain.keys) for chain in self.chains)

    def knows(self, public: bytes) -> bool:
        """Tell whether anything is missing of the chain that this ratchet key began."""
        return any(chain.public == public for chain in self.chains)

    def take(self, public: bytes, number: int) -> tuple[SkippedKeys, bytes] | None:
        """
        Take one key out for good.

        @return: what remains, and the key; nothing if it is not here.
        """
        for index, chain in enumerate(self.chains):
            if chain.public == public and number in chain.keys:
                keys = dict(chain.keys)
                taken = keys.pop(number)
                remains = (SkippedChain(public, keys),) if keys else ()
                return SkippedKeys(self.chains[:index] + remains + self.chains[index + 1 :]), taken
        return None

    def join(self, newer: SkippedKeys) -> SkippedKeys:
        """Keep the keys of newer chains as well, with the same limits."""
        joined = self
        for chain in newer.chains:
            joined = joined.add(chain.public, chain.keys)
        return joined

    def add(self, public: bytes, keys: dict[int, bytes]) -> SkippedKeys:
        """Keep more keys of the peer's newest chain, and discard the oldest chains and keys that no longer fit."""
        chains = list(self.chains)
        if chains and chains[-1].public == public:
            keys = {**chains.pop().keys, **keys}
        chains = [*chains, SkippedChain(public, keys)][-MAX_CHAINS:]
        surplus = sum(len(chain.keys) for chain in chains) - MAX_SKIPPED
        while surplus > 0:
            oldest = chains.pop(0)
            if len(oldest.keys) > surplus:
                chains.insert(0, SkippedChain(public=oldest.public, keys=dict(list(oldest.keys.items())[surplus:])))
            surplus -= len(oldest.keys)
        return SkippedKeys(tuple(chains))
