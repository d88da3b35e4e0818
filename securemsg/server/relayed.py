"""Deposits that nobody had to write, because all their devices acknowledged them first: how a repetition is recognised."""

from __future__ import annotations

from attrs import define, field

from securemsg.protocol.messages import Deposit

# Deposits in one generation. A client repeats what was not answered before its connection broke, so the last few seconds count:
# at 5,000 a second these are seven.
GENERATION = 32_768
# Bytes at the end of each part that count.
TAG = 32


def fingerprint(deposit: Deposit) -> int:
    """
    A number that a repetition shares: of recipients, expiry, and the ends of the contents, where the tags of ciphertexts are.
    It holds within this process. Other contents have another one, unless their sender wants to mislead itself.
    """
    common, to = deposit.common, deposit.to
    if len(to) == 1 and len(to[0].parts) == 1:
        [part] = to[0].parts
        own = part.own
        return hash((deposit.expiry, len(common), common[-TAG:], to[0].account, part.device, len(own), own[-TAG:]))
    parts = [(one.account, part.device, len(part.own), part.own[-TAG:]) for one in to for part in one.parts]
    return hash((deposit.expiry, len(common), common[-TAG:], *parts))


@define(eq=False)
class RelayedDeposits:
    """
    The last ones, between one and two generations of them.

    What is forgotten, or was lost with the process, is delivered again if it is repeated; its reader recognises the message.
    """

    # By the hash of the key, so that nothing of a message stays in memory.
    _new: dict[int, int] = field(init=False, factory=dict, repr=False)
    _old: dict[int, int] = field(init=False, factory=dict, repr=False)

    def remember(self, key: tuple[int, bytes], deposit: Deposit) -> None:
        """Remember a deposit by its sender's mailbox and its id."""
        if len(self._new) >= GENERATION:
            self._old, self._new = self._new, {}
        self._new[hash(key)] = fingerprint(deposit)

    def find(self, key: tuple[int, bytes]) -> int | None:
        """The fingerprint of a deposit; C{None}: it is not known."""
        number = hash(key)
        return self._new.get(number, self._old.get(number))

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._new) + len(self._old)
