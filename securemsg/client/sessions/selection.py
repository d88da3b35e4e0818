"""
Which session sends: of the sessions with a device any may receive, and one seals the next message.

Messages come late, twice and out of order, as a server likes it. So what moves sending is the place that a message itself
states, not its arrival: whoever holds an older state of the peer could read what is sent in a session that was left. Source:
C{docs/protocol.md}, section "Sessions".
"""

from __future__ import annotations

import enum

import msgspec

from securemsg.client.sessions.prekeys import newest_serial
from securemsg.client.sessions.store import Session, SessionIndex, load_index, load_session, save_index, send_in
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Place


class Novelty(enum.Enum):
    """How a message compares with everything opened from its device before."""

    OLD = "not above all places seen"
    FRESH = "likewise, but it begins a session with a prekey that we made after a message last counted here"
    ARCHIVED = "in a session that was archived"
    FIRST = "the first we see, in the first session in which the peer sends"
    NEWER = "above all places seen"


class Current(enum.Enum):
    """The session in which we send when it comes."""

    NONE = "there is none"
    FIRST = "the first that we began; not answered"
    LATER = "a later one that we began; not answered"
    SHARED = "one that the peer is known to have"


class Choice(enum.Enum):
    """What follows."""

    STAY = "send as before"
    MOVE = "send in the session of the message"
    LOWER = "send in that of the two with the lower ephemeral key, as the peer does"


# A place may be false: whoever has a copy of the peer's profile can state any, and a server can have the peer state too low a
# one after a restore that it hides. What cannot be false is that an opening came after the prekey that it uses.
# Where both have begun a first one, each must take the same without asking. A peer whose first one meets a later one of ours
# will move to that, because its place is above. In all else the peer knows more than we: it has moved, and we follow.
CHOICES: dict[tuple[Novelty, Current], Choice] = {
    **{(Novelty.OLD, current): Choice.STAY for current in Current},
    **{(Novelty.FRESH, current): Choice.MOVE for current in Current},
    **{(Novelty.ARCHIVED, current): Choice.STAY for current in Current},
    (Novelty.FIRST, Current.NONE): Choice.MOVE,
    (Novelty.FIRST, Current.FIRST): Choice.LOWER,
    (Novelty.FIRST, Current.LATER): Choice.STAY,
    (Novelty.FIRST, Current.SHARED): Choice.MOVE,
    **{(Novelty.NEWER, current): Choice.MOVE for current in Current},
}


def opened(records: IRecords, bucket: bytes, number: int, session: Session, place: Place, prekey: int) -> None:
    """
    Take a message into account that was opened in this session.

    @param place: as it states.
    @param prekey: where it began the session: which of our signed prekeys it did that with, in their sequence; else 0.
    """
    index = load_index(records, bucket)
    if place <= index.seen and prekey <= index.prekey:
        return
    current = session if number == index.current else load_session(records, bucket, index.current)
    chosen = choose(index, current, number, session, place, prekey)
    index = msgspec.structs.replace(index, seen=max(index.seen, place), prekey=newest_serial(records))
    if chosen == index.current:
        save_index(records, bucket, index)
    else:
        send_in(records, bucket, index, chosen)


def choose(index: SessionIndex, current: Session | None, number: int, session: Session, place: Place, prekey: int) -> int:
    """
    The number of the session that sends after a message.

    @param current: the one that sends now.
    @param number: of the session of the message, which is C{session}.
    """
    choice = CHOICES[_novelty(index, number, place, prekey), _current(index, current)]
    if choice is Choice.LOWER and current is not None:
        choice = Choice.MOVE if session.ephemeral < current.ephemeral else Choice.STAY
    return number if choice is Choice.MOVE else index.current


def _novelty(index: SessionIndex, number: int, place: Place, prekey: int) -> Novelty:
    if place <= index.seen:
        return Novelty.FRESH if prekey > index.prekey else Novelty.OLD
    if number <= index.archived:
        return Novelty.ARCHIVED
    return Novelty.FIRST if (index.seen, place[1]) == ((0, 0), 1) else Novelty.NEWER


def _current(index: SessionIndex, current: Session | None) -> Current:
    if current is None:
        return Current.NONE
    if current.is_shared:
        return Current.SHARED
    return Current.FIRST if index.generation <= 1 else Current.LATER
