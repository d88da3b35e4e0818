"""Before a command ends: let what else is in the outbox go out, as long as it goes."""

from __future__ import annotations

from functools import partial
from typing import Any

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.records import HISTORY, OUTBOX, RECEIPTS, ROWS, HistoryRow, OutboxRow, load, load_all
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.storage.errors import StorageError

# A command that is done stays for what else is in the outbox: this long at most, and not if nothing moves.
SEEING_OFF = 10
STANDSTILL = 2


async def flush(clock: Any, store: IProfileStore, connection: AccountConnection) -> None:
    """Let what else is in the outbox go out; what becomes of it changes nothing for whoever leaves."""
    end = clock.seconds() + SEEING_OFF

    def moved(before: int) -> int | None:
        now = unsent(store)
        return now if now != before else None

    try:
        left: int | None = unsent(store)
        while left and connection.is_ready and clock.seconds() < end:
            left = await connection.until(partial(moved, left), STANDSTILL)
    except (SecuremsgError, StorageError):
        # What whoever leaves was told stays true.
        return


def unsent(store: IProfileStore) -> int:
    """
    How many rows wait that nothing is known to hold up: drafts, sealed messages, receipts. Those to an identity that the
    user has accepted meanwhile are among them.
    """
    with store.reading() as records:
        receipts = records.count(RECEIPTS, ROWS)
        if not records.count(OUTBOX, ROWS):
            return receipts
        rows = [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)]
        held_up = {row.to for row in rows if _waits_for_something(records, row)}
        return sum(1 for row in rows if row.to not in held_up) + receipts


def _waits_for_something(records: IRecords, row: OutboxRow) -> bool:
    """Whether its contact or its history says why this row waits."""
    contact = get_contact(records, row.to.account)
    if contact is not None and contact.is_blocked:
        return True
    said = load(records, HistoryRow, HISTORY, row.to.bucket, row.history) if row.history else None
    return said is not None and said.code not in ("", "identity-changed")
