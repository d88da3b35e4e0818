"""
The sessions that initiations have made, so that a repeated initiation finds its session and never makes another.

An initiation is remembered as long as a reusable prekey of it is kept; a one-time prekey was deleted with its use.
Source: C{docs/protocol.md}, section "Sessions".
"""

from __future__ import annotations

from securemsg.client.sessions import prekeys
from securemsg.client.sessions.prekeys import LAST_RESORT, SIGNED
from securemsg.client.state.records import load, load_all, save
from securemsg.crypto.keys import digest
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PrekeyHeader
from securemsg.protocol.messages import Record

TABLE = "ephemerals"  # bucket = of whose device, order = number of the session
# A bucket beside those of devices: where all initiations lie, in the order in which they were made.
QUEUE = b"queue"
# Of one device so many are remembered, more than there are sessions with it. A repetition from before is known by its bytes,
# and without its session there is nothing to find by it.
MAX_INITIATIONS = 80
# What is looked at in one reading.
PAGE = 64


class Initiation(Record, frozen=True):
    """
    An initiation of a peer, whose session may be gone by now.

    @ivar last_resort_id: 0 where the KEM prekey was for one use.
    @ivar seq: its number in the queue.
    """

    ephemeral: bytes
    signed_id: int
    last_resort_id: int
    seq: int


class Queued(Record, frozen=True):
    """Where an initiation lies."""

    bucket: bytes
    session: int


def session_of(records: IRecords, account: str, device: bytes, header: PrekeyHeader) -> int | None:
    """The number of the session that this initiation made, if it did."""
    for session, made in load_all(records, Initiation, TABLE, _bucket(account, device)):
        if made.ephemeral == header.ephemeral:
            return session
    return None


def remember(records: IRecords, account: str, device: bytes, header: PrekeyHeader, session: int) -> None:
    """Remember which session an initiation made."""
    bucket = _bucket(account, device)
    seq = records.last(TABLE, QUEUE) + 1
    last_resort_id = header.kem_id if header.kem_is_last_resort else 0
    save(records, TABLE, bucket, Initiation(header.ephemeral, header.signed_id, last_resort_id, seq), session)
    save(records, TABLE, QUEUE, Queued(bucket, session), seq)
    known = load_all(records, Initiation, TABLE, bucket)
    for number, made in known[: max(len(known) - MAX_INITIATIONS, 0)]:
        _forget(records, Queued(bucket, number), made.seq)


def prune(records: IRecords) -> None:
    """Forget the initiations whose prekeys are gone."""
    # Prekeys retire in order, and so do initiations: those after the first one to keep need no look.
    while queue := load_all(records, Queued, TABLE, QUEUE, limit=PAGE):
        for seq, queued in queue:
            made = load(records, Initiation, TABLE, queued.bucket, queued.session)
            if made is not None and _is_alive(records, made):
                return
            _forget(records, queued, seq)


def forget(records: IRecords, account: str, device: bytes) -> None:
    """Forget the initiations of a device."""
    bucket = _bucket(account, device)
    for number, made in load_all(records, Initiation, TABLE, bucket):
        _forget(records, Queued(bucket, number), made.seq)


def _is_alive(records: IRecords, made: Initiation) -> bool:
    """Whether we still have a reusable prekey of this initiation."""
    if prekeys.find(records, SIGNED, made.signed_id) is not None:
        return True
    return bool(made.last_resort_id) and prekeys.find(records, LAST_RESORT, made.last_resort_id) is not None


def _forget(records: IRecords, queued: Queued, seq: int) -> None:
    records.delete(TABLE, queued.bucket, queued.session)
    records.delete(TABLE, QUEUE, seq)


def _bucket(account: str, device: bytes) -> bytes:
    """The bucket of a device's initiations: ephemeral keys of one device do not meet those of others."""
    return digest(account.encode(), device)
