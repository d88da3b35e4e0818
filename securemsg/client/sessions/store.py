"""
The stored sessions with each device, and which of them are dropped; C{selection} says which one sends.

Source: C{docs/protocol.md}, section "Sessions".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.profile import Private
from securemsg.client.state.records import load, load_all, save
from securemsg.crypto import dump
from securemsg.crypto.keys import length_prefixed
from securemsg.crypto.skipped import SkippedKeys
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Place
from securemsg.protocol.messages import Record

TABLE = "sessions"  # bucket = device of an account, order = number of the session
SKIPPED = "skipped"  # likewise; its skipped message keys, which only the few messages that need them read
EPOCHS = "epochs"  # bucket = likewise; of the suites C{psk} and C{rsa}
SESSION_INDEX = 0  # no session has this number: the index has

# Kept for one device: the one that sends, the one before it, and a few more that may receive: those that we began weekly for a
# device that is away, or a peer hourly because something failed.
MAX_SESSIONS = 8


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
    @ivar chains: the ratchet keys of the peer's earlier and present chains of which messages are missing.
    @ivar skipped: how many are missing.
    @ivar left_at: when it was first seen neither to send nor to be the one before; 0: it is one of these.
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
    chains: tuple[bytes, ...] = ()
    skipped: int = 0
    left_at: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether the peer is known to have this session: it began or answered it."""
        return self.confirmed or not self.initiated


class SessionIndex(Record, frozen=True):
    """
    What we remember of a device beyond its sessions.

    @ivar current: the session that sends; 0: none.
    @ivar archived: sessions up to this number may still receive, but send no more.
    @ivar spent: id of the one-time KEM prekey of the last bundle that we used; 0: none.
    @ivar sealed: the session of the last message that we sealed; 0: none since the last L{archive}.
    @ivar generation: of that message.
    @ivar seen: the highest place of all messages opened from this device.
    @ivar before: the last session that sent before C{current} and that the peer is known to have; 0: none. Until the peer
        answers in another one, it is the one in which it sends.
    @ivar prekey: the newest of our signed prekeys, in their sequence, when a message last counted for which session sends.
    """

    current: int = 0
    archived: int = 0
    spent: int = 0
    sealed: int = 0
    generation: int = 0
    seen: Place = (0, 0)
    before: int = 0
    prekey: int = 0


def bucket_of(account: str, device: bytes) -> bytes:
    """The bucket of a device."""
    return length_prefixed(account.encode(), device)


def device_of(bucket: bytes) -> tuple[str, bytes]:
    """The account and the device of a bucket."""
    size = int.from_bytes(bucket[:4], "big")
    return bucket[4 : 4 + size].decode(), bucket[8 + size :]


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


def load_skipped(records: IRecords, bucket: bytes, number: int) -> SkippedKeys:
    """The skipped message keys of a session."""
    data = records.get(SKIPPED, bucket, number)
    return SkippedKeys() if data is None else dump.load_skipped(data)


def save_skipped(records: IRecords, bucket: bytes, number: int, skipped: SkippedKeys) -> None:
    """Keep the skipped message keys of a session."""
    if skipped.chains:
        records.put(SKIPPED, bucket, dump.dump_skipped(skipped), number)
    else:
        records.delete(SKIPPED, bucket, number)


def drop_session(records: IRecords, bucket: bytes, number: int) -> None:
    """Delete a session and its keys."""
    records.delete(TABLE, bucket, number)
    records.delete(SKIPPED, bucket, number)


def all_sessions(records: IRecords, bucket: bytes) -> dict[int, Session]:
    """All sessions with a device by number, the newest first."""
    return dict(reversed(load_all(records, Session, TABLE, bucket, after=SESSION_INDEX)))


def add_session(records: IRecords, bucket: bytes, session: Session) -> int:
    """
    Keep a new session; the oldest goes where there are too many.

    @return: its number.
    """
    number = records.last(TABLE, bucket) + 1
    index = load_index(records, bucket)
    kept = {index.current, index.before}
    numbers = [number for _, number, _ in records.scan(TABLE, bucket, after=SESSION_INDEX)]
    surplus = max(0, len(numbers) + 1 - MAX_SESSIONS)
    for older in [number for number in numbers if number not in kept][:surplus]:
        drop_session(records, bucket, older)
    save_session(records, bucket, number, session)
    return number


def send_in(records: IRecords, bucket: bytes, index: SessionIndex, number: int) -> None:
    """Save an index with another session that sends; 0: none."""
    left = load_session(records, bucket, index.current)
    before = index.current if left is not None and left.is_shared else index.before
    save_index(records, bucket, msgspec.structs.replace(index, current=number, before=before))


def archive(records: IRecords, bucket: bytes) -> None:
    """Send in none of the existing sessions; they may still receive."""
    index = load_index(records, bucket)
    archived = max(index.archived, records.last(TABLE, bucket))
    # The generation rises here, too: what follows is then no first session, to whoever has begun one.
    anew = msgspec.structs.replace(index, archived=archived, sealed=0, generation=index.generation + 1)
    send_in(records, bucket, anew, 0)
