"""
Whoever takes something from a device, and sends it nothing, says so now and then: a session heals, and stops to repeat how it
began, only when the other side speaks. In a room many only read.

Every function works inside a transaction. Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from securemsg.client.rooms.store import TABLE
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, draft, load, load_all, next_seq, save
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.protocol.messages import MAX_EXPIRY, Counter, Name, Record

# Account: when we last spoke to it. In order: to whom we have to say something.
SPOKE = b"spoke/"
DUE = b"due"

# Once a day at most, and within a random minute, so that not all members of a room speak at once.
PAUSE = DAY
SPREAD = 60


class Spoke(Record, frozen=True):
    """When something was last sealed for an account, or is due to be."""

    at: Counter


class Due(Record, frozen=True):
    """An account that is to hear of us."""

    account: Name
    at: Counter


def note_spoken(records: IRecords, account: str, now: int) -> None:
    """Something is sealed for an account."""
    known = load(records, Spoke, TABLE, SPOKE + account.encode())
    # Once an hour is exact enough.
    if known is None or abs(now - known.at) > PAUSE // 24:
        save(records, TABLE, SPOKE + account.encode(), Spoke(now))


def note_taken(records: IRecords, account: str, is_opening: bool, now: int) -> None:
    """
    Something of an account was taken in a room.

    @param is_opening: it came with what makes a session, because nothing of ours has arrived there.
    """
    known = load(records, Spoke, TABLE, SPOKE + account.encode())
    if known is None and not is_opening:
        save(records, TABLE, SPOKE + account.encode(), Spoke(now))
        return
    if known is not None and 0 <= now - known.at < PAUSE:
        return
    at = now + keys.random_bytes(1)[0] % SPREAD
    save(records, TABLE, SPOKE + account.encode(), Spoke(now))
    save(records, TABLE, DUE, Due(account, at), records.last(TABLE, DUE) + 1)


def say(records: IRecords, profile: Profile, now: int) -> int:
    """
    Put into the outbox what is due.

    @return: how many messages.
    """
    said = 0
    for order, due in load_all(records, Due, TABLE, DUE):
        if now >= due.at or now < due.at - SPREAD:
            records.delete(TABLE, DUE, order)
            content = encode_record(draft(profile, Kind.HEARD, now))
            row = OutboxRow(direct(due.account), int(Kind.HEARD), 0, now, MAX_EXPIRY, content)
            save(records, OUTBOX, ROWS, row, next_seq(records))
            said += 1
    return said


def is_due(records: IRecords) -> bool:
    """Whether somebody is to hear of us."""
    return bool(records.scan(TABLE, DUE, limit=1))
