"""Messages as their readers see them."""

from __future__ import annotations

from attrs import field, frozen

from securemsg.client.state.counters import open_gaps
from securemsg.client.state.records import HistoryRow
from securemsg.interfaces import IRecords

# The end of the year 9999: nothing that shows times goes further, and a sender may write anything.
LAST_SECOND = 253_402_300_799


@frozen
class Sent:
    """
    A message of ours, and what became of it.

    @ivar status: C{queued}, C{accepted}, C{delivered}, C{failed} or C{withdrawn}.
    @ivar code: why it waits or failed; empty where there is nothing to say.
    @ivar accepted_at: by the server's clock; 0: not yet. C{delivered_at}: when we heard of it; 0: not yet.
    @ivar devices: ids of the recipient's devices that confirmed it.
    """

    order: int
    id: bytes
    to: str
    status: str
    code: str
    sent_at: int
    accepted_at: int
    delivered_at: int
    devices: tuple[bytes, ...]
    text: str = field(repr=False)
    kind: int
    suite: str


@frozen
class Received:
    """
    A message that came.

    @ivar order: its place in the sequence, for L{mark_read}.
    @ivar sent_at: the sender's clock; C{received_at}: when it was committed here.
    @ivar verified: whether the sender's identity was verified when it came.
    @ivar gap_before: how many messages of this sender, right before this one, have not come.
    @ivar device: of the sender's, the one that it came from; what answers a caller goes there.
    @ivar note: what is odd about it: C{unsupported}, C{late}, C{forked}, C{repeated}; mostly empty.
    """

    order: int
    id: bytes
    sender: str
    to: str
    sent_at: int
    received_at: int
    text: str = field(repr=False)
    kind: int
    verified: bool
    suite: str
    gap_before: int
    note: str
    device: bytes = b""


Line = Sent | Received


def as_sent(name: str, order: int, row: HistoryRow) -> Sent:
    """A row as its reader sees it."""
    content = row.content
    return Sent(
        order=order,
        id=content.message_id,
        to=name,
        status=row.status.value,
        code=row.code,
        sent_at=content.sent_at,
        accepted_at=row.accepted_at,
        delivered_at=row.delivered_at,
        devices=row.devices,
        text=content.body.decode("utf-8", "replace"),
        kind=content.kind,
        suite=row.suite,
    )


def as_received(records: IRecords, own: str, name: str, order: int, row: HistoryRow) -> Received:
    """A row as its reader sees it."""
    content = row.content
    return Received(
        order=order,
        id=content.message_id,
        sender=name,
        to=own,
        sent_at=min(content.sent_at, LAST_SECOND),
        received_at=row.at,
        text=content.body.decode("utf-8", "replace"),
        kind=content.kind,
        verified=row.verified,
        suite=row.suite,
        gap_before=row.lost + open_gaps(records, content, row.gap),
        note=row.note,
        device=content.device,
    )
