"""
The stored sessions with each device, and which of them are dropped; C{selection} says which one sends.

Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.profile import Private
from securemsg.client.state.records import load, load_all, save
from securemsg.crypto.keys import length_prefixed
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import Record

TABLE = "sessions"  # bucket = device of an account, order = number of the session
EPOCHS = "epochs"  # bucket = likewise; of suite C{psk}
SESSION_INDEX = 0  # no session has this number: the index has

# Bounds for one device: a few megabytes at most, and enough for years of honest use.
MAX_SESSIONS = 40


class PrekeyInfo(Record, frozen=True):
    """What an initiator tells the responder about the bundle it used, until it has an answer."""

    signed_id: int
    kem_id: int
    kem_is_last_resort: bool
    kem_ciphertext: bytes
    one_time_id: int | None


class Session(Private, frozen=True):
    """
    A session with one device of a contact, bound to both identities.

    @ivar peer_agreement: X25519 identity agreement key of the peer's device.
    @ivar ephemeral: of the initiator; names the session on both sides.
    @ivar bundle: digest of the bundle it began with.
    @ivar initiated: by us.
    @ivar confirmed: the peer is known to have this session: as initiators we have decrypted a reply; as responders we have
        decrypted a message that does not repeat the opening any more.
    @ivar opening: repeated until the session is confirmed; only with the initiator.
    @ivar ratchet: a dumped L{securemsg.crypto.ratchet.Ratchet}.
    """

    suite: str
    own_identity: bytes
    peer_identity: bytes
    peer_agreement: bytes
    ephemeral: bytes
    bundle: bytes
    initiated: bool
    confirmed: bool
    opening: PrekeyInfo | None
    made_at: int
    ratchet: bytes


class SessionIndex(Record, frozen=True):
    """
    What we remember of a device beyond its sessions.

    @ivar current: the session that last decrypted something; 0: none.
    @ivar forgotten: sessions up to this number may still receive, but send no more.
    @ivar spent: id of the one-time KEM prekey of the last bundle that we used; 0: none.
    """

    current: int = 0
    forgotten: int = 0
    spent: int = 0


def bucket_of(account: str, device: bytes) -> bytes:
    """The bucket of a device."""
    return length_prefixed(account.encode(), device)


def load_index(records: IRecords, bucket: bytes) -> SessionIndex:
    """The index of a device; an empty one for an unknown device."""
    return load(records, SessionIndex, TABLE, bucket, SESSION_INDEX) or SessionIndex()


def save_index(records: IRecords, bucket: bytes, index: SessionIndex) -> None:
    """Save the index of a device."""
    save(records, TABLE, bucket, index, SESSION_INDEX)


def load_session(records: IRecords, bucket: bytes, number: int) -> Session | None:
    """One session, if it is still there."""
    return load(records, Session, TABLE, bucket, number) if number != SESSION_INDEX else None


def save_session(records: IRecords, bucket: bytes, number: int, session: Session) -> None:
    """Keep the next state of a session."""
    save(records, TABLE, bucket, session, number)


def all_sessions(records: IRecords, bucket: bytes) -> dict[int, Session]:
    """All sessions with a device by number, the newest first."""
    return dict(reversed(load_all(records, Session, TABLE, bucket, after=SESSION_INDEX)))


def add_session(records: IRecords, bucket: bytes, session: Session) -> int:
    """
    Keep a new session; the oldest goes where there are too many.

    @return: its number.
    """
    number = records.last(TABLE, bucket) + 1
    current = load_index(records, bucket).current
    older = [number for _, number, _ in records.scan(TABLE, bucket, after=SESSION_INDEX) if number != current]
    room = MAX_SESSIONS - 1 - (1 if current else 0)
    for surplus in older[: max(0, len(older) - room)]:
        records.delete(TABLE, bucket, surplus)
    save_session(records, bucket, number, session)
    return number


def forget(records: IRecords, bucket: bytes) -> None:
    """Send in none of the existing sessions; they may still receive."""
    index = load_index(records, bucket)
    forgotten = max([index.forgotten, *all_sessions(records, bucket)])
    save_index(records, bucket, msgspec.structs.replace(index, current=0, forgotten=forgotten))
