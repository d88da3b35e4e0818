"""
The quarantine: deliveries that could not be opened, kept for a while in case that changes.

It is bounded in rows, in bytes and for each peer; deliveries beyond that are dropped and counted. Source:
C{docs/protocol.md}, section "Receiving".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.profile import DAY, Private
from securemsg.client.state.records import (
    META,
    QUARANTINE,
    TOTALS,
    QuarantinedPeer,
    QuarantineTotals,
    load_all,
    load_totals,
    next_seq,
    save,
)
from securemsg.interfaces import IRecords
from securemsg.protocol.codes import HELD, NO_RESET
from securemsg.protocol.messages import Code, Counter, Deliver, Id, Name, RoomItem

MAX_ROWS = 1000
MAX_SIZE = 16 * 1024 * 1024
MAX_PEER_ROWS = 200
# Codes of rows that wait for a key file, or for another one than is pinned.
LOCKED = frozenset({"suite-unavailable", "wrong-key"})
# What waits for the user is kept for as long as the prekeys that it may need.
AGE = 60 * DAY
# All else was asked for again long ago, and came by another way or will not come.
SETTLED_AGE = 7 * DAY
# Codes of rows that may open once their device has begun a session. What failed in all sessions that there were is of no new
# one: until a session is answered each of its messages brings what makes it.
MENDABLE = frozenset({"no-session", "unknown-device", "too-many-sessions"})
# Rows that are looked at in one turn: the worst cost milliseconds each, and deliveries wait meanwhile.
PAGE = 8


class QuarantinedRow(Private, frozen=True):
    """A delivery that could not be opened. Bucket: the account that the server named; order: its seq."""

    account: Name
    device: Id
    common: bytes
    own: bytes
    code: Code
    at: Counter
    time: Counter
    room: RoomItem | None = None


def add(records: IRecords, delivery: Deliver, code: str, identity: bytes, now: int) -> bool:
    """
    Keep a delivery that could not be opened.

    @param identity: which we know of a contact that has another one now: once the user accepts that it is tried again.
    @return: whether there was room.
    """
    totals = load_totals(records)
    size = len(delivery.common) + len(delivery.own)
    peer = _peer(totals, delivery.account)
    if totals.rows >= MAX_ROWS or totals.size + size > MAX_SIZE or peer.rows >= MAX_PEER_ROWS:
        _save(records, msgspec.structs.replace(totals, overflow=totals.overflow + 1))
        return False
    row = QuarantinedRow(
        delivery.account, delivery.device, delivery.common, delivery.own, code, now, delivery.time, delivery.room
    )
    save(records, QUARANTINE, delivery.account.encode(), row, next_seq(records))
    if code not in NO_RESET:
        peer = msgspec.structs.replace(peer, unreported=peer.unreported + 1, why=code)
    peer = msgspec.structs.replace(_with(peer, code, 1), rows=peer.rows + 1, identity=identity or peer.identity)
    _change(records, totals, peer, 1, size)
    return True


def rows_of(records: IRecords, name: str, after: int = -1) -> list[tuple[int, QuarantinedRow]]:
    """The next rows of a peer."""
    return load_all(records, QuarantinedRow, QUARANTINE, name.encode(), after, PAGE)


def may_open(row: QuarantinedRow, device: bytes) -> bool:
    """Whether a row may open because this device has begun a session; empty: for some other reason."""
    return not device or (row.device == device and row.code in MENDABLE)


def is_old(row: QuarantinedRow, now: int) -> bool:
    """Whether a row is too old to be opened any more."""
    return now - row.at > (AGE if row.code in HELD else SETTLED_AGE)


def release(records: IRecords, name: str, seq: int, row: QuarantinedRow) -> None:
    """Delete a row that was opened or is too old."""
    records.delete(QUARANTINE, name.encode(), seq)
    totals = load_totals(records)
    peer = _with(_peer(totals, name), row.code, -1)
    peer = msgspec.structs.replace(peer, rows=peer.rows - 1, unreported=min(peer.unreported, peer.rows - 1))
    _change(records, totals, peer, -1, -len(row.common) - len(row.own))


def set_code(records: IRecords, name: str, seq: int, row: QuarantinedRow, code: str) -> None:
    """Note that a row cannot be opened for another reason than before."""
    save(records, QUARANTINE, name.encode(), msgspec.structs.replace(row, code=code), seq)
    totals = load_totals(records)
    peer = _peer(totals, name)
    anew = _with(_with(peer, row.code, -1), code, 1)
    if anew != peer:
        _change(records, totals, anew, 0, 0)


def forget_identity(records: IRecords, name: str) -> None:
    """Note that the rows of a peer were tried under its current identity."""
    totals = load_totals(records)
    peer = _peer(totals, name)
    if peer.identity:
        _change(records, totals, msgspec.structs.replace(peer, identity=b""), 0, 0)


def pop_unreported(records: IRecords, name: str) -> list[QuarantinedPeer]:
    """
    Take the peers of whose rows the user does not know yet; from now on the user does.

    @param name: only of this one; empty: all.
    """
    totals = load_totals(records)
    unreported = [peer for peer in totals.peers if peer.unreported and name in ("", peer.name)]
    if unreported:
        told = tuple(msgspec.structs.replace(peer, unreported=0) if peer in unreported else peer for peer in totals.peers)
        _save(records, msgspec.structs.replace(totals, peers=told))
    return unreported


def mark_for_retry(records: IRecords, name: str) -> None:
    """Have the rows of a peer tried again: something has changed that may open them."""
    _mark(records, name, True)


def mark_tried(records: IRecords, name: str) -> None:
    """Note that the rows of a peer are being tried."""
    _mark(records, name, False)


def _mark(records: IRecords, name: str, again: bool) -> None:
    """Note whether the rows of a peer are to be tried, if there are any."""
    totals = load_totals(records)
    peer = _peer(totals, name)
    if peer.rows and peer.again != again:
        _change(records, totals, msgspec.structs.replace(peer, again=again), 0, 0)


def _peer(totals: QuarantineTotals, name: str) -> QuarantinedPeer:
    return next((peer for peer in totals.peers if peer.name == name), QuarantinedPeer(name))


def _with(peer: QuarantinedPeer, code: str, change: int) -> QuarantinedPeer:
    """A peer of which a row came, or went, that could not be opened for this reason."""
    return msgspec.structs.replace(peer, locked=max(peer.locked + change, 0)) if code in LOCKED else peer


def _change(records: IRecords, totals: QuarantineTotals, peer: QuarantinedPeer, rows: int, size: int) -> None:
    others = tuple(other for other in totals.peers if other.name != peer.name)
    peers = (*others, peer) if peer.rows > 0 else others
    _save(records, msgspec.structs.replace(totals, rows=totals.rows + rows, size=totals.size + size, peers=peers))


def _save(records: IRecords, totals: QuarantineTotals) -> None:
    save(records, META, TOTALS, totals)
