"""
Whether a record can be read by this release, for a check of all of them.

A record that opens is what some release wrote. So those alone are decoded whose loss a user would notice first: account,
contacts, rooms, messages, and what is waiting.
"""

from __future__ import annotations

import msgspec

from securemsg.client.rooms.store import ROOMS, Room
from securemsg.client.sessions.store import SESSION_INDEX, Session, SessionIndex
from securemsg.client.sessions.store import TABLE as SESSIONS
from securemsg.client.state.contacts import TABLE as CONTACTS
from securemsg.client.state.contacts import Contact
from securemsg.client.state.lists import LISTS, SeenList
from securemsg.client.state.preferences import TABLE as PREFERENCES
from securemsg.client.state.preferences import Preferences
from securemsg.client.state.profile import TABLE as PROFILE
from securemsg.client.state.profile import StoredProfile
from securemsg.client.state.records import (
    HISTORY,
    INBOUND,
    INDEX,
    OUTBOX,
    ROWS,
    SEALED,
    SENT,
    HistoryRow,
    MessageIndex,
    OutboxRow,
    SealedDeposit,
    SentRow,
    UnreadRow,
)

# By table: in all its buckets, or in one.
_TABLES: dict[str, type] = {
    CONTACTS: Contact,
    HISTORY: HistoryRow,
    INDEX: MessageIndex,
    LISTS: SeenList,
    PREFERENCES: Preferences,
    ROOMS: Room,
    SENT: SentRow,
}
_BUCKETS: dict[tuple[str, bytes], type] = {
    (INBOUND, ROWS): UnreadRow,
    (OUTBOX, ROWS): OutboxRow,
    (OUTBOX, SEALED): SealedDeposit,
    (PROFILE, b""): StoredProfile,
}


def is_readable(table: str, bucket: bytes, order: int, value: bytes) -> bool:
    """Whether this release reads what a record holds."""
    kind = _TABLES.get(table) or _BUCKETS.get((table, bucket))
    if table == SESSIONS:
        kind = SessionIndex if order == SESSION_INDEX else Session
    if kind is None:
        return True
    try:
        msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
