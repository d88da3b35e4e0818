"""
What both ends of a piped stream (C{securemsg pipe}) keep of it: where they are, what was there, and which streams there are.

Neither end keeps more than a window of a stream. Source: C{docs/protocol.md}, section "Piped streams".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, draft, next_seq, save
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import BLOCK, Kind, PipePart, PipeTaken, encode_record
from securemsg.protocol.messages import MAX_EXPIRY

TABLE = "streams"
# Parts that were sent and not taken, at most: with full ones a megabyte, in which the answers of a distant recipient have time.
WINDOW = 32
# Streams of which the profile still knows how they ended, in each direction (of those that come in, for each sender).
MAX_KNOWN = 32
_LABEL = b"securemsg/1 piped stream"


class Chain(Private, frozen=True):
    """
    The digest of a stream up to some offset. It can be saved, and whoever reads the stream again comes to the same, in whatever
    pieces.

    @ivar digest: of the whole blocks; C{rest}: the bytes behind them.
    """

    digest: bytes = b""
    rest: bytes = b""

    def add(self, data: bytes) -> Chain:
        """The digest with more bytes."""
        digest, data = self.digest, self.rest + data
        whole = len(data) - len(data) % BLOCK
        for start in range(0, whole, BLOCK):
            digest = keys.digest(_LABEL, digest, data[start : start + BLOCK])
        return Chain(digest, data[whole:])

    @property
    def value(self) -> bytes:
        """The digest of the stream if it ends here: as if the rest were a block."""
        return keys.digest(_LABEL, self.digest, self.rest)


def say(records: IRecords, profile: Profile, to: str, body: PipePart | PipeTaken, now: int) -> None:
    """Put a part, or how far a stream was taken, into the outbox."""
    kind = Kind.PART if isinstance(body, PipePart) else Kind.TAKEN
    content = msgspec.structs.replace(draft(profile, kind, now), body=encode_record(body))
    row = OutboxRow(direct(to), int(kind), 0, now, MAX_EXPIRY, encode_record(content))
    save(records, OUTBOX, ROWS, row, next_seq(records))


def add_known(records: IRecords, bucket: bytes, stream: bytes) -> None:
    """Add a stream to those of a bucket, in which each has a bucket of its own."""
    records.put(TABLE, bucket, stream, records.last(TABLE, bucket) + 1)


def known(records: IRecords, bucket: bytes) -> list[tuple[int, bytes]]:
    """The streams of a bucket, oldest first, each with what to forget it by."""
    return [(order, stream) for _, order, stream in records.scan(TABLE, bucket)]


def forget(records: IRecords, bucket: bytes, order: int, stream: bytes) -> None:
    """Forget a stream."""
    records.delete(TABLE, bucket, order)
    records.delete(TABLE, bucket + stream)
