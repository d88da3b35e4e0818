"""
The form in which a ratchet is kept.

It holds every secret of the session: whoever stores it seals it first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from securemsg.crypto.ratchet import KEY_SIZE, Ratchet
from securemsg.crypto.skipped import MAX_CHAINS, MAX_SKIPPED, SkippedChain, SkippedKeys

FORMAT = 1

_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Chain = tuple[_Key, Annotated[list[tuple[_Count, _Key]], msgspec.Meta(min_length=1, max_length=MAX_SKIPPED)]]


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A ratchet field by field, in the order of L{Ratchet}."""

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)]
    root: _Key
    own_private: _Key | None
    own_public: _Key | None
    peer_public: _Key | None
    sending: _Key | None
    receiving: _Key | None
    sent: _Count
    received: _Count
    previous_length: _Count
    skipped: Annotated[list[_Chain], msgspec.Meta(max_length=MAX_CHAINS)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def dump_ratchet(ratchet: Ratchet) -> bytes:
    """Write everything down, secrets included: to be sealed before it is stored."""
    chains = [(chain.public, list(chain.keys.items())) for chain in ratchet.skipped.chains]
    return _encoder.encode(
        _Stored(
            FORMAT,
            ratchet.root,
            ratchet.own_private,
            ratchet.own_public,
            ratchet.peer_public,
            ratchet.sending,
            ratchet.receiving,
            ratchet.sent,
            ratchet.received,
            ratchet.previous_length,
            chains,
        )
    )


def load_ratchet(data: bytes) -> Ratchet:
    """
    Read what L{dump_ratchet} wrote.

    @raise ValueError: it is damaged, or of another format.
    """
    try:
        stored = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError("a damaged ratchet") from error
    if stored.sending is not None and None in (stored.own_private, stored.own_public, stored.peer_public):
        raise ValueError("a damaged ratchet")
    return Ratchet(
        stored.root,
        stored.own_private,
        stored.own_public,
        stored.peer_public,
        stored.sending,
        stored.receiving,
        stored.sent,
        stored.received,
        stored.previous_length,
        SkippedKeys(tuple(SkippedChain(public, dict(keys)) for public, keys in stored.skipped)),
    )
