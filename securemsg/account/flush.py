"""Before a command ends: send the rest of the outbox, as long as there is progress."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError
from securemsg.client.rooms import steps
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.records import HISTORY, OUTBOX, RECEIPTS, ROWS, HistoryRow, OutboxRow, load, load_all
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.storage.errors import StorageError

# How long a finished command waits for the rest of the outbox, and how long without progress, seconds.
FLUSH_TIME = 10
STALL_TIME = 2
# Receipts that are counted.
PAGE = 1024


async def flush(clock: Any, store: IProfileStore, connection: AccountConnection, now: Callable[[], float]) -> None:
    """
    Send the rest of the outbox; this does not change the result of the command.

    @param now: the wall clock.
    """
    end = clock.seconds() + FLUSH_TIME

    def moved(before: int) -> int | None:
        left = unsent(store, now())
        return left if left != before else None

    try:
        left: int | None = unsent(store, now())
        while left and connection.is_ready and clock.seconds() < end:
            left = await connection.until(partial(moved, left), STALL_TIME)
    except (SecuremsgError, StorageError):
        # The result of the command stands.
        return


def unsent(store: IProfileStore, now: float) -> int:
    """
    Count the rows that could be sent now: drafts, sealed messages, receipts. This includes messages to an identity that the
    user has accepted meanwhile, and what others have asked of our rooms.
    """
    with store.reading() as records:
        others = len(records.scan(RECEIPTS, limit=PAGE)) + steps.count_pending(records)
        if not records.count(OUTBOX, ROWS):
            return others
        rows = [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS) if row.at <= now]
        held_up = {row.to for row in rows if _waits_for_something(records, row)}
        return sum(1 for row in rows if row.to not in held_up) + others


def _waits_for_something(records: IRecords, row: OutboxRow) -> bool:
    """Whether its contact or its history says why this row waits."""
    contact = get_contact(records, row.to.account)
    if contact is not None and contact.has_changed:
        return True
    message = load(records, HistoryRow, HISTORY, row.bucket, row.history) if row.history else None
    return message is not None and message.code not in ("", "identity-changed")
