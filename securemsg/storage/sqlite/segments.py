"""
Segments: what one commit brings to one mailbox, in few rows, so that a message costs no row of its own.

A segment does not grow. While a part of it is acknowledged it stays as it is, and the row of the mailbox says how far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from securemsg.interfaces import StoreRecord

# A segment ends with the message that reaches one of these. Readers ask for about as much at a time.
SEGMENT_MESSAGES = 32
SEGMENT_SIZE = 32 * 1024


class Body(StoreRecord, array_like=True, frozen=True):
    """
    What is delivered of a message.

    @ivar common: the common part, or the number of one that is kept for several.
    @ivar room: the item of a room; older releases wrote none.
    """

    account: str
    device: bytes
    deposit_id: bytes
    arrived_at: int
    expires_at: int
    common: bytes | int
    own: bytes
    room: bytes = b""


# A message in a mailbox: position, size, body.
Entry = tuple[int, int, Body]
# Last position, messages, size, next expiry, numbers of common parts, positions and sizes, bodies.
Segment = tuple[int, int, int, int, bytes | None, bytes, bytes]

_encode = msgspec.msgpack.Encoder().encode
unpack_heads = msgspec.msgpack.Decoder(tuple[list[int], list[int]]).decode
unpack_bodies = msgspec.msgpack.Decoder(list[Body]).decode
unpack_shared = msgspec.msgpack.Decoder(list[int]).decode


def pack(entries: list[Entry]) -> Segment:
    """One segment of messages, which are in order."""
    positions = [position for position, _, _ in entries]
    sizes = [size for _, size, _ in entries]
    bodies = [body for _, _, body in entries]
    shared = [body.common for body in bodies if type(body.common) is int]
    return (
        positions[-1],
        len(positions),
        sum(sizes),
        min([body.expires_at for body in bodies]),
        _encode(shared) if shared else None,
        _encode((positions, sizes)),
        _encode(bodies),
    )


def split(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Divide what a mailbox gets into segments."""
    begin = total = 0
    for end, (_, size, _) in enumerate(entries, 1):
        total += size
        if end - begin == SEGMENT_MESSAGES or total >= SEGMENT_SIZE or end == len(entries):
            yield entries[begin:end]
            begin, total = end, 0


def unpack(heads: bytes, bodies: bytes) -> list[Entry]:
    """The messages of a segment."""
    return list(zip(*unpack_heads(heads), unpack_bodies(bodies), strict=True))


def count(heads: bytes, after: int, last: int) -> tuple[int, int]:
    """How many messages of a segment, and bytes, come after one position and not after another."""
    positions, sizes = unpack_heads(heads)
    counted = sizes[bisect_right(positions, after) : bisect_right(positions, last)]
    return len(counted), sum(counted)
