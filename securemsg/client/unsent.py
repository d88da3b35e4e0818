"""What is not sent: what waits in the outbox, what has failed, and how it is tried again."""

from __future__ import annotations

from collections import Counter

import msgspec
from attrs import evolve, frozen

from securemsg.client import histories
from securemsg.client.messages import Sent, as_sent, repeat, sent_in
from securemsg.client.state.records import (
    HISTORY,
    OUTBOX,
    RECEIPTS,
    ROWS,
    HistoryRow,
    OutboxRow,
    Status,
    find_sent,
    load,
    load_all,
    save,
)
from securemsg.crypto.keys import ID_SIZE
from securemsg.interfaces import IProfileStore, IRecords, Step, no_step
from securemsg.protocol.envelope import Kind

# Messages of the outbox that are listed; how many rows there are is counted up to the second number.
MAX_LISTED = 1000
MAX_COUNTED = 100_000
# Failed messages that are listed: the newest.
MAX_FAILED = 100
# Digits of a message id that are enough, if there is only one such message.
SHORTEST_ID = 4


@frozen
class Waiting:
    """
    What waits in the outbox.

    @ivar messages: in the order in which they were written, up to a limit; C{count}: of all of them.
    @ivar receipts: delivery receipts; C{lists}: changes of rooms; C{others}: what clients say to each other by themselves.
    """

    messages: list[Sent]
    count: int
    receipts: int
    lists: int
    others: int


def waiting(store: IProfileStore, limit: int = MAX_LISTED) -> Waiting:
    """What waits in the outbox, and the first messages of it."""
    found: list[Sent] = []
    count = lists = others = 0
    with store.reading() as records:
        receipts = len(records.scan(RECEIPTS, limit=MAX_COUNTED))
        for _, row in _rows(records):
            message = _message_of(records, row)
            if message is not None and message.status == Status.QUEUED:
                count += 1
                if len(found) < limit:
                    found.append(message)
            elif row.kind == Kind.RECEIPT:
                receipts += 1
            elif row.kind == Kind.LIST:
                lists += 1
            else:
                others += 1
    return Waiting(found, count, receipts, lists, others)


def count(store: IProfileStore, now: float, limit: int = MAX_COUNTED) -> int:
    """How many messages wait among so many rows of the outbox, but for those whose time has not come."""
    with store.reading() as records:
        rows = load_all(records, OutboxRow, OUTBOX, ROWS, limit=limit)
        return sum(1 for _, row in rows if row.history and not row.withdrawn and row.at <= now)


def counts(store: IProfileStore, now: float) -> Counter[str]:
    """As L{count}, for each account and room, by its name."""
    with store.reading() as records:
        rows = load_all(records, OutboxRow, OUTBOX, ROWS, limit=MAX_COUNTED)
        return Counter(row.to.name for _, row in rows if row.history and not row.withdrawn and row.at <= now)


def waiting_ids(store: IProfileStore, now: float) -> list[bytes]:
    """The ids of the messages that wait in the outbox and whose time has come, in the order in which they were written."""
    with store.reading() as records:
        found = (_message_of(records, row) for _, row in _rows(records) if row.at <= now)
        return [message.id for message in found if message is not None and message.status == Status.QUEUED]


def failed(store: IProfileStore, since: int, step: Step = no_step) -> list[Sent]:
    """The newest messages that were written at C{since} or later and have failed for good, in order."""
    found: list[Sent] = []
    for conversation in histories.conversations(store):
        for page in histories.backward(store, conversation, since):
            step(len(page))
            rows = [(seq, row) for seq, row in page if row.sent and row.status is Status.FAILED and row.at >= since]
            found += [as_sent(conversation, seq, row) for seq, row in rows]
        found = sorted(found, key=lambda message: message.seq)[-MAX_FAILED:]
    return found


def find(store: IProfileStore, prefix: str, since: int, step: Step = no_step) -> list[Sent]:
    """
    Our messages whose ids begin like this: those that wait, and those that were written at C{since} or later. With the whole
    id, any is found.

    @param prefix: hex digits.
    """
    if len(prefix) == 2 * ID_SIZE:
        with store.reading() as records:
            message = sent_in(records, bytes.fromhex(prefix))
        return [] if message is None else [message]
    with store.reading() as records:
        waiting_now = (_message_of(records, row) for _, row in _rows(records))
        found = {message.id: message for message in waiting_now if message and message.id.hex().startswith(prefix)}
    for conversation in histories.conversations(store):
        for page in histories.backward(store, conversation, since):
            step(len(page))
            for seq, row in page:
                message_id = row.content.message_id
                if row.sent and row.at >= since and message_id.hex().startswith(prefix):
                    found[message_id] = as_sent(conversation, seq, row)
    return list(found.values())


def retry(store: IProfileStore, message_id: bytes, now: float) -> None:
    """
    Queue a message again that has failed or was withdrawn, under its own id; one that waits for its time waits no more. Nothing
    happens to others.

    @raise Refusal: C{not-in-room}.
    """
    with store.writing() as records:
        found = find_sent(records, message_id)
        if found is not None:
            known, row = found
            repeat(records, known, known.conversation, row.content.kind, row.content.body, int(now))


def clear_codes(store: IProfileStore, kept: frozenset[str]) -> None:
    """
    Forget why messages wait, so that what holds them up next is not mistaken for what did before.

    @param kept: codes that stay: no attempt changes anything about them.
    """
    with store.writing() as records:
        for _, row in _rows(records):
            history = load(records, HistoryRow, HISTORY, row.bucket, row.history) if row.history else None
            if history is not None and history.status is Status.QUEUED and history.code and history.code not in kept:
                save(records, HISTORY, row.bucket, msgspec.structs.replace(history, code=""), row.history)


def _rows(records: IRecords) -> list[tuple[int, OutboxRow]]:
    return load_all(records, OutboxRow, OUTBOX, ROWS, limit=MAX_COUNTED)


def _message_of(records: IRecords, row: OutboxRow) -> Sent | None:
    """The message that a row of the outbox is; C{None}: it is none."""
    if not row.history:
        return None
    history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
    return None if history is None else evolve(as_sent(row.home or row.to, row.history, history), at=row.at)
