"""
The streams that come in, and the counters that are missing in them.

For each stream we keep how far it came and a record for each counter that is missing, with a seq in history reserved for it,
and with the hashes that its content must have and must name.
"""

from __future__ import annotations

import msgspec
from attrs import frozen

from securemsg.client.state.counters import (
    GAPS,
    OPEN,
    STREAM_IN,
    STREAMS,
    chain_digest,
    incarnation_of,
    left_out,
    stream_name,
    stream_of,
)
from securemsg.client.state.records import COUNTERS, load, load_all, load_number, next_seq, save, save_number
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import MAX_RESET_COUNTERS, MAX_RESET_STREAMS, Content, Share, StreamEnd
from securemsg.protocol.messages import Counter, Record

# Missing counters that are kept and asked for in one stream; what is missing besides is counted as lost.
MAX_GAPS = MAX_RESET_COUNTERS
# The same in one conversation: its peer may begin as many streams as it likes, with as many devices, one after the other.
MAX_CONVERSATION_GAPS = 4 * MAX_GAPS


class InStream(Record, frozen=True):
    """
    The state of a device's stream in a conversation. Bucket: C{STREAM_IN} and the stream.

    @ivar highest: the highest counter that came, or that a later stream says there was.
    @ivar digest: of the content with this counter; empty where it is not known.
    @ivar linked: what it continues was taken into account.
    @ivar ended: the device has sent something in a later incarnation, so that what still comes of this one is late.
    """

    highest: Counter = 0
    digest: bytes = b""
    linked: bool = False
    ended: bool = False


class Gap(Record, frozen=True):
    """
    A counter that did not come. Bucket: C{GAPS} and the stream; order: the counter.

    @ivar seq: reserved for it in history.
    @ivar since: when it was found missing.
    @ivar digest: which its content must have, as the content after it says; empty while that is not known.
    @ivar before: of the content before it, which it must name; empty while that is not known.
    @ivar asked: how often it was asked for.
    """

    seq: Counter
    since: Counter
    digest: bytes = b""
    before: bytes = b""
    asked: Counter = 0


@frozen
class Arrival:
    """
    What the counter of a received content shows.

    @ivar seq: where it belongs in history; 0: after everything else.
    @ivar gap: how many counters right before it are missing, and may still come; also of the streams that its own continues.
    @ivar lost: how many before those are given up.
    @ivar note: C{late}, C{repeated}, C{forked}, or nothing.
    """

    seq: int = 0
    gap: int = 0
    lost: int = 0
    note: str = ""


def _stream(content: Content, incarnation: int) -> bytes:
    """The name of a stream of the same device and conversation."""
    return stream_name(content.device, incarnation, content.conversation)


def load_gaps(records: IRecords, stream: bytes) -> list[tuple[int, Gap]]:
    """The counters of a stream that are missing."""
    return load_all(records, Gap, COUNTERS, GAPS + stream)


def open_gaps(records: IRecords, content: Content, gap: int) -> int:
    """How many counters right before a content, C{gap} at most, are missing still, also of streams that its own continues."""
    count = 0
    ends = [(end.incarnation, end.counter) for end in content.continues]
    for incarnation, last in ((content.incarnation, content.counter - 1), *ends):
        missing = _missing_before(records, _stream(content, incarnation), last + 1, gap - count)
        count += missing
        if missing < last:
            break
    return count


def _missing_before(records: IRecords, stream: bytes, counter: int, most: int) -> int:
    """How many counters right before one, C{most} at most, are missing."""
    if not most:
        return 0
    rows = records.scan(COUNTERS, GAPS + stream, max(counter - most - 1, 0), most)
    missing = {counter for _, counter, _ in rows}
    count = 0
    while count < most and counter - count - 1 in missing:
        count += 1
    return count


def receive(records: IRecords, content: Content, base: Share | None, now: int) -> Arrival:
    """
    Take the counter of an authentic content into account.

    @param base: where the share of this device begins, as the sender says; C{None}: with the first of all.
    """
    stream = stream_of(content)
    digest = chain_digest(content)
    known = load(records, InStream, COUNTERS, STREAM_IN + stream)
    # Only its first content can say where a stream begins.
    start = known or InStream(left_out(base, 0, content.counter - 1))
    if known is None:
        start = msgspec.structs.replace(start, ended=_begin(records, content.conversation, stream))
    gap, lost, is_forked = 0, 0 if known else start.highest, False
    if not start.linked:
        start = msgspec.structs.replace(start, linked=True)
        for back, end in reversed([*enumerate(content.continues, 1)]):
            opened, skipped, differs = _link(records, content, end, left_out(base, back, end.counter), now)
            gap, lost, is_forked = gap + opened, lost + skipped, is_forked or differs
        save(records, COUNTERS, STREAM_IN + stream, start)
    if content.counter <= start.highest:
        return _late(records, stream, content, digest)
    if content.counter == start.highest + 1:
        is_forked = is_forked or _differ(start.digest, content.previous)
    else:
        opened, skipped = _open(records, stream, start, content.counter - 1, content.previous, now)
        gap, lost = gap + opened, lost + skipped
    highest = msgspec.structs.replace(start, highest=content.counter, digest=digest)
    save(records, COUNTERS, STREAM_IN + stream, highest)
    return Arrival(gap=gap, lost=lost, note="forked" if is_forked else "late" if start.ended else "")


def _link(records: IRecords, content: Content, end: StreamEnd, before_us: int, now: int) -> tuple[int, int, bool]:
    """
    Take into account how far a stream had come that this content's stream continues.

    @param before_us: how many of its counters came before the share of this device.
    @return: how many of its counters are waited for, how many are not, and whether it contradicts what we know.
    """
    if before_us == end.counter:
        return 0, 0, False
    stream = _stream(content, end.incarnation)
    before = load(records, InStream, COUNTERS, STREAM_IN + stream)
    if before is None:
        before = InStream(before_us, ended=_begin(records, content.conversation, stream))
    gap, lost = 0, 0
    if end.counter > before.highest:
        gap, lost = _open(records, stream, before, end.counter, end.digest, now)
        known = msgspec.structs.replace(before, highest=end.counter, digest=end.digest)
        save(records, COUNTERS, STREAM_IN + stream, known)
    return gap, lost, end.counter == before.highest and _differ(end.digest, before.digest)


def streams_in(records: IRecords, conversation: bytes) -> list[bytes]:
    """The newest incoming streams of a conversation, oldest first."""
    return [name for _, _, name in records.scan(COUNTERS, STREAMS + conversation)]


def in_stream(records: IRecords, stream: bytes) -> InStream:
    """The state of a stream that we receive."""
    return load(records, InStream, COUNTERS, STREAM_IN + stream) or InStream()


def note_asked(records: IRecords, stream: bytes, counter: int, gap: Gap) -> None:
    """This counter was asked for once more."""
    save(records, COUNTERS, GAPS + stream, msgspec.structs.replace(gap, asked=gap.asked + 1), counter)


def _begin(records: IRecords, conversation: bytes, stream: bytes) -> bool:
    """
    Remember a new stream; if there are many, only the newest are asked about. Those of earlier incarnations of its device end.

    @return: whether it is of an earlier incarnation itself.
    """
    is_late = False
    for other in streams_in(records, conversation):
        if other[: keys.ID_SIZE] != stream[: keys.ID_SIZE]:
            continue
        if incarnation_of(other) > incarnation_of(stream):
            is_late = True
        else:
            ended = msgspec.structs.replace(in_stream(records, other), ended=True)
            save(records, COUNTERS, STREAM_IN + other, ended)
    bucket = STREAMS + conversation
    seq = records.last(COUNTERS, bucket) + 1
    records.put(COUNTERS, bucket, stream, seq)
    records.delete(COUNTERS, bucket, seq - MAX_RESET_STREAMS)
    return is_late


def _open(records: IRecords, stream: bytes, start: InStream, last: int, digest: bytes, now: int) -> tuple[int, int]:
    """
    Note what is missing behind the highest counter, up to C{last}, whose content has this digest.

    @return: how many are waited for, and how many are not.
    """
    budget = OPEN + stream[-keys.ID_SIZE :]
    taken = load_number(records, COUNTERS, budget)
    room = min(MAX_GAPS - len(records.scan(COUNTERS, GAPS + stream)), MAX_CONVERSATION_GAPS - taken)
    missing = last - start.highest
    gap = max(min(missing, room), 0)
    if gap:
        save_number(records, COUNTERS, budget, taken + gap)
        seq = next_seq(records, gap)
        first = last - gap + 1
        for index in range(gap):
            before = start.digest if first + index == start.highest + 1 else b""
            following = digest if index == gap - 1 else b""
            save(records, COUNTERS, GAPS + stream, Gap(seq + index, now, following, before), first + index)
    return gap, missing - gap


def _late(records: IRecords, stream: bytes, content: Content, digest: bytes) -> Arrival:
    """A counter that we are past already: it fills a gap, or came before with another content."""
    gap = load(records, Gap, COUNTERS, GAPS + stream, content.counter)
    if gap is None:
        return Arrival(note="repeated")
    forked = _differ(gap.digest, digest) or _differ(gap.before, content.previous)
    records.delete(COUNTERS, GAPS + stream, content.counter)
    budget = OPEN + content.conversation
    save_number(records, COUNTERS, budget, load_number(records, COUNTERS, budget) - 1)
    for neighbour, side in ((content.counter - 1, "digest"), (content.counter + 1, "before")):
        other = load(records, Gap, COUNTERS, GAPS + stream, neighbour)
        known = content.previous if side == "digest" else digest
        if other is not None and known:
            save(records, COUNTERS, GAPS + stream, msgspec.structs.replace(other, **{side: known}), neighbour)
    left = open_gaps(records, content, MAX_GAPS)
    return Arrival(seq=gap.seq, gap=left, note="forked" if forked else "late")


def _differ(one: bytes, other: bytes) -> bool:
    """Whether both digests are known and differ."""
    return bool(one and other) and one != other
