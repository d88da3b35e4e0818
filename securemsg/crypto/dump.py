"""
The form in which a ratchet is kept: field by field, behind the number of the form.

It holds every secret of the session: whoever stores it seals it first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from securemsg.crypto.ratchet import Ratchet
from securemsg.crypto.skipped import SkippedKeys

FORMAT = 1

_encoder = msgspec.msgpack.Encoder()
_skipped_decoder = msgspec.msgpack.Decoder(SkippedKeys)
_decoder = msgspec.msgpack.Decoder(tuple[Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)], Ratchet])


def dump_ratchet(ratchet: Ratchet) -> bytes:
    """Write everything down, secrets included: to be sealed before it is stored."""
    return _encoder.encode((FORMAT, ratchet))


def dump_skipped(skipped: SkippedKeys) -> bytes:
    """Write the skipped keys of a ratchet down, where they are kept apart from the rest."""
    return _encoder.encode(skipped)


def load_skipped(data: bytes) -> SkippedKeys:
    """
    Read what L{dump_skipped} wrote.

    @raise ValueError: it is damaged.
    """
    try:
        return _skipped_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError("damaged keys") from error


def load_ratchet(data: bytes) -> Ratchet:
    """
    Read what L{dump_ratchet} wrote.

    @raise ValueError: it is damaged, or of another format.
    """
    try:
        _, ratchet = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError("a damaged ratchet") from error
    if ratchet.sending is not None and None in (ratchet.own_private, ratchet.own_public, ratchet.peer_public):
        raise ValueError("a damaged ratchet")
    return ratchet
