"""
Streams that come in, for C{securemsg pipe --from}.

The owner of the connection puts their parts here; whoever takes a stream writes the bytes out and then commits, in one
transaction, how far it is taken, and tells the sender. What a sender may make us keep is bounded: so many streams that are not
taken, and a window of each.
"""

from __future__ import annotations

from attrs import frozen
from msgspec.structs import replace

from securemsg.client.state.contacts import Contact
from securemsg.client.state.pipes import MAX_KNOWN, TABLE, WINDOW, Chain, add_known, forget, known, say
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import clear_notices, load, save
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import BLOCK, PipeEnd, PipePart, PipeTaken
from securemsg.protocol.messages import Counter, Record

# Streams of one sender that have not ended.
MAX_STREAMS = 8
# The warning that says that there is a stream.
BEGUN = "stream-begun"
_IN, _PARTS = b"in/", b"parts/"


class Span(Record, frozen=True):
    """Where a part lies in its stream. The end counts as one byte, so that nothing lies behind it."""

    offset: Counter
    size: Counter
    end: Counter = PipeEnd.NONE

    def overlaps(self, other: Span) -> bool:
        """Whether they have a byte in common."""
        return self.offset < other.offset + max(other.size, 1) and other.offset < self.offset + max(self.size, 1)


class InPipe(Private, frozen=True):
    """
    A stream that comes in. Bucket: C{_IN}, its sender and its id.

    @ivar taken: how much of it was taken; C{chain}: the digest of that.
    @ivar parts: those that are here and were not taken.
    @ivar output: the file that it goes to; empty: none.
    @ivar end: how it ended here.
    """

    taken: Counter = 0
    chain: Chain = Chain()
    parts: tuple[Span, ...] = ()
    output: str = ""
    end: Counter = PipeEnd.NONE

    @property
    def next(self) -> Span | None:
        """The part that follows, if it is here."""
        return next((part for part in self.parts if part.offset == self.taken), None)


@frozen
class InPipes:
    """The streams of one sender, within a transaction."""

    _records: IRecords
    _profile: Profile
    _name: str
    _now: int

    def get(self, stream: bytes) -> InPipe | None:
        """A stream by its id."""
        return load(self._records, InPipe, TABLE, self._bucket + stream)

    def receive(self, contact: Contact, part: PipePart) -> bool:
        """
        Keep a part. One that is here already, or was taken, comes again after a kill of its sender. One that does not fit ends
        its stream here; its sender hears of that if some of it was taken.

        @return: whether it is the first of its stream.
        """
        row = self.get(part.stream)
        is_first = row is None
        if row is None:
            if part.offset >= WINDOW * BLOCK:
                # Of a stream that is forgotten.
                return False
            row = self._begin(part.stream, contact)
        if row.end:
            return False
        span = Span(part.offset, len(part.data), part.end)
        if part.is_sound and (span in row.parts or (not part.end and span.offset + span.size <= row.taken)):
            return False
        is_in_window = row.taken <= part.offset <= row.taken + WINDOW * BLOCK and len(row.parts) <= WINDOW
        if not part.is_sound or not is_in_window or any(span.overlaps(other) for other in row.parts):
            self._finish(part.stream, row, PipeEnd.REFUSED, tell=row.taken > 0)
            return False
        # The digest of the end lies where data does.
        self._records.put(TABLE, self._parts(part.stream), part.data or part.digest, part.offset)
        self._put(part.stream, replace(row, parts=(*row.parts, span)))
        return is_first

    def waiting(self) -> list[bytes]:
        """The streams of which something can be taken, the oldest first."""
        rows = [(stream, self.get(stream)) for _, stream in known(self._records, self._bucket)]
        return [stream for stream, row in rows if row is not None and not row.end and row.next is not None]

    def writes_to(self, output: str) -> bool:
        """Whether one of the streams goes to this file."""
        rows = [self.get(stream) for _, stream in known(self._records, self._bucket)]
        return any(row is not None and row.output == output for row in rows)

    def data(self, stream: bytes) -> bytes | None:
        """What can be taken of a stream; empty: its end; C{None}: nothing."""
        row, found = self.get(stream), []
        while row is not None and (part := row.next) is not None and part.size:
            found.append(self._records.get(TABLE, self._parts(stream), part.offset) or b"")
            row = replace(row, taken=part.offset + part.size)
        return b"".join(found) if found or (row is not None and row.next is not None) else None

    def claim(self, stream: bytes, output: str) -> InPipe:
        """
        Say where a stream goes, before anything of it is written.

        @raise Refusal: C{other-output}: some of it went elsewhere.
        """
        row = self.get(stream) or InPipe()
        if row.output == output:
            return row
        if row.taken:
            raise Refusal("other-output")
        return self._put(stream, replace(row, output=output))

    def take(self, stream: bytes, offset: int, data: bytes) -> InPipe:
        """
        Bytes of a stream were written, or its end was reached: tell the sender.

        @param offset: where they begin.
        @param data: see L{data}.
        @raise Refusal: C{second-pipe}: another process has taken something meanwhile.
        """
        row = self.get(stream)
        if row is None or row.end or row.taken != offset:
            raise Refusal("second-pipe")
        if not offset:
            clear_notices(self._records, BEGUN, self._name)
        end = row.next
        if end is not None and end.end:
            digest = self._records.get(TABLE, self._parts(stream), offset)
            is_complete = end.end == PipeEnd.COMPLETE and digest == row.chain.value
            return self._finish(stream, row, PipeEnd.COMPLETE if is_complete else PipeEnd.CUT, tell=True)
        taken = offset + len(data)
        left = tuple(part for part in row.parts if part.offset >= taken)
        for part in row.parts:
            if part not in left:
                self._records.delete(TABLE, self._parts(stream), part.offset)
        self._tell(stream, taken, PipeEnd.NONE)
        return self._put(stream, replace(row, taken=taken, chain=row.chain.add(data), parts=left))

    def cut(self, stream: bytes) -> None:
        """Nobody wants the rest of a stream: tell the sender."""
        row = self.get(stream)
        if row is not None and not row.end:
            self._finish(stream, row, PipeEnd.CUT, tell=True)

    @property
    def _bucket(self) -> bytes:
        return _IN + self._name.encode() + b"/"

    def _parts(self, stream: bytes) -> bytes:
        return _PARTS + self._name.encode() + b"/" + stream

    def _begin(self, stream: bytes, contact: Contact) -> InPipe:
        """Make room for a new stream: of those that nobody takes, the oldest is refused, or else this one."""
        others = [(order, other, self.get(other) or InPipe()) for order, other in known(self._records, self._bucket)]
        is_open = [(other, row) for _, other, row in others if not row.end]
        refused = None
        if len(is_open) >= MAX_STREAMS:
            refused = next(((other, row) for other, row in is_open if not row.taken and not row.output), (stream, InPipe()))
        surplus = len(others) - MAX_KNOWN + 1
        for order, other, _ in [each for each in others if each[2].end][: max(surplus, 0)]:
            forget(self._records, self._bucket, order, other)
        add_known(self._records, self._bucket, stream)
        if refused is not None:
            # A stranger hears nothing of us.
            ended = self._finish(*refused, PipeEnd.REFUSED, tell=contact.known)
            if refused[0] == stream:
                return ended
        return InPipe()

    def _finish(self, stream: bytes, row: InPipe, end: PipeEnd, *, tell: bool = False) -> InPipe:
        """End a stream here; no more of it is kept."""
        for part in row.parts:
            self._records.delete(TABLE, self._parts(stream), part.offset)
        if tell:
            self._tell(stream, row.taken, end)
        return self._put(stream, replace(row, chain=Chain(), parts=(), end=end))

    def _tell(self, stream: bytes, offset: int, end: PipeEnd) -> None:
        say(self._records, self._profile, self._name, PipeTaken(stream, offset, end), self._now)

    def _put(self, stream: bytes, row: InPipe) -> InPipe:
        save(self._records, TABLE, self._bucket + stream, row)
        return row
