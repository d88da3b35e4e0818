"""
Streams that this profile sends with C{securemsg pipe}.

A part and the place in the stream behind it are committed together: whoever goes on with the stream after a kill skips what was
committed.
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.state import contacts, preferences
from securemsg.client.state.contacts import Contact
from securemsg.client.state.pipes import MAX_KNOWN, TABLE, WINDOW, Chain, add_known, forget, known, say
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load, load_all, save
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import BLOCK, Content, Kind, PipeEnd, PipePart, PipeTaken, decode_record
from securemsg.protocol.messages import Code, Counter, Name

_OUT = b"out/"


class OutPipe(Private, frozen=True):
    """
    A stream that goes out. Bucket: C{_OUT} and its id.

    @ivar offset: how much of it is in parts; C{chain}: the digest of that.
    @ivar ends: where the parts end that were not taken.
    @ivar taken: how much of it was taken, by C{device}; that is empty before.
    @ivar end: how we have ended it; C{outcome}: how it ended, as far as its recipient, or a refusal, says.
    @ivar code: why it could not be sent.
    """

    to: Name
    offset: Counter = 0
    chain: Chain = Chain()
    ends: tuple[Counter, ...] = ()
    taken: Counter = 0
    device: bytes = b""
    end: Counter = PipeEnd.NONE
    outcome: Counter = PipeEnd.NONE
    code: Code = ""

    @property
    def room(self) -> int:
        """How many bytes may be sent, at the most."""
        return (WINDOW - len(self.ends)) * BLOCK - self.offset % BLOCK if len(self.ends) < WINDOW else 0


def get(records: IRecords, stream: bytes) -> OutPipe | None:
    """A stream by its id."""
    return load(records, OutPipe, TABLE, _OUT + stream)


def begin(records: IRecords, profile: Profile, to: str, stream: bytes, now: int) -> OutPipe:
    """
    Begin a stream, or go on with it.

    @raise Refusal: C{conflict}: it goes to somebody else. C{contact-blocked}. C{too-many-pipes}: so many have not ended.
    """
    row = get(records, stream)
    if row is not None:
        if row.to != to:
            raise Refusal("conflict")
        return row
    if preferences.get(records, to).is_blocked:
        raise Refusal("contact-blocked")
    others = known(records, _OUT)
    surplus = max(len(others) - MAX_KNOWN + 1, 0)
    ended = [(order, other) for order, other in others if (row := get(records, other)) is None or row.outcome]
    if len(ended) < surplus:
        raise Refusal("too-many-pipes")
    for order, oldest in ended[:surplus]:
        forget(records, _OUT, order, oldest)
    add_known(records, _OUT, stream)
    return _put(records, stream, OutPipe(to))


def send(records: IRecords, profile: Profile, stream: bytes, offset: int, data: bytes, now: int) -> OutPipe:
    """
    Send bytes that follow in a stream, no more than C{OutPipe.room}.

    @param offset: where they begin.
    @raise Refusal: C{second-pipe}: another process has sent something meanwhile.
    """
    row = _at(records, stream, offset)
    chain, ends, at = row.chain.add(data), list(row.ends), 0
    while at < len(data):
        part = data[at : at + BLOCK - (offset + at) % BLOCK]
        say(records, profile, row.to, PipePart(stream, offset + at, part), now)
        at += len(part)
        ends.append(offset + at)
    return _put(records, stream, replace(row, offset=offset + at, chain=chain, ends=tuple(ends)))


def end(records: IRecords, profile: Profile, stream: bytes, offset: int, how: PipeEnd, now: int) -> OutPipe:
    """
    End a stream.

    @raise Refusal: as L{send}.
    """
    row = _at(records, stream, offset)
    say(records, profile, row.to, _last_part(stream, row, how), now)
    return _put(records, stream, replace(row, end=how))


def repeat(records: IRecords, profile: Profile, stream: bytes, begin: int, data: bytes, now: int) -> None:
    """
    Send again what was not taken and is not on its way: the server may have lost it, or the recipient could not open it.

    @param data: all that was sent and not taken; C{begin}: where that begins.
    @raise Refusal: C{second-pipe}: another process has sent something meanwhile.
    """
    row = get(records, stream)
    if row is None or row.offset != begin + len(data):
        raise Refusal("second-pipe")
    waiting, at = _waiting(records, stream), row.taken
    for behind in row.ends:
        if at not in waiting:
            say(records, profile, row.to, PipePart(stream, at, data[at - begin : behind - begin]), now)
        at = behind
    if row.end and row.offset not in waiting:
        say(records, profile, row.to, _last_part(stream, row, PipeEnd(row.end)), now)


def _last_part(stream: bytes, row: OutPipe, how: PipeEnd) -> PipePart:
    return PipePart(stream, row.offset, b"", how, row.chain.value if how is PipeEnd.COMPLETE else b"")


def _waiting(records: IRecords, stream: bytes) -> set[int]:
    """The offsets of the parts of a stream that are in the outbox."""
    offsets = set()
    for _, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        if row.kind == Kind.PART:
            part = decode_record(PipePart, decode_record(Content, row.content).body)
            if part.stream == stream:
                offsets.add(part.offset)
    return offsets


def note_taken(records: IRecords, contact: Contact, device: bytes, said: PipeTaken) -> None:
    """
    The recipient says how far a stream was taken. What cannot be true is ignored; one of its devices takes it, or another if
    that one is gone from its list.
    """
    row = get(records, said.stream)
    if row is None or row.to != contact.name or row.outcome:
        return
    if row.device != device and contacts.device(contact, row.device) is not None:
        return
    if not row.taken <= said.offset <= row.offset:
        return
    if said.end == PipeEnd.COMPLETE and (row.end != PipeEnd.COMPLETE or said.offset != row.offset):
        return
    ends = tuple(each for each in row.ends if each > said.offset)
    taken = replace(row, taken=said.offset, ends=ends, outcome=said.end, device=device)
    # Of a stream that was taken it stays known what it was.
    digest = row.chain.value if said.end == PipeEnd.COMPLETE else b""
    _put(records, said.stream, replace(taken, chain=Chain(digest)) if said.end else taken)


def note_lost(records: IRecords, body: bytes, code: str) -> None:
    """A part is not sent, for good: that ends its stream."""
    stream = decode_record(PipePart, body).stream
    row = get(records, stream)
    if row is not None and not row.outcome:
        _put(records, stream, replace(row, outcome=PipeEnd.CUT, code=code))


def _at(records: IRecords, stream: bytes, offset: int) -> OutPipe:
    row = get(records, stream)
    if row is None or row.end or row.offset != offset:
        raise Refusal("second-pipe")
    return row


def _put(records: IRecords, stream: bytes, row: OutPipe) -> OutPipe:
    save(records, TABLE, _OUT + stream, row)
    return row
