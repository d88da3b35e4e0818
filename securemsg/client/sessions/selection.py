"""
Which session sends: of the sessions with a device, any may receive, and one seals the next message.

Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from collections.abc import Callable

from securemsg.client.sessions.store import Session, all_sessions, load_index, load_session
from securemsg.interfaces import IRecords


def sending_session(records: IRecords, bucket: bytes, fits: Callable[[Session], bool]) -> tuple[int, Session] | None:
    """
    The session to send in: the one that last decrypted a message. If both sides have begun one and neither is confirmed, the
    lower ephemeral key wins, which is the same on both sides.

    @param fits: whether a session is with the right peer.
    """
    index = load_index(records, bucket)
    current = load_session(records, bucket, index.current)
    if current is not None and current.confirmed and fits(current):
        return index.current, current
    alive = {
        number: session
        for number, session in all_sessions(records, bucket).items()
        if number > index.forgotten and fits(session)
    }
    open_ones = [
        number for number, session in alive.items() if not session.confirmed and (session.initiated or number == index.current)
    ]
    if open_ones:
        number = min(open_ones, key=lambda candidate: alive[candidate].ephemeral)
    elif alive:
        number = next(iter(alive))
    else:
        return None
    return number, alive[number]
