"""
What a server has accepted and lost, as after a restore from a backup, is sent again while it is still known here.

Recipients who got it recognise it by its message id. Source: C{docs/protocol.md}, section "Login".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.rooms.store import all_rooms
from securemsg.client.state import contacts
from securemsg.client.state.conversations import Conversation, direct, lobby
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import (
    HISTORY,
    INDEX,
    META,
    OUTBOX,
    ROWS,
    SEQUENCE,
    HistoryRow,
    MessageIndex,
    OutboxRow,
    Status,
    load,
    load_all,
    load_number,
    save,
)
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import MAX_EXPIRY, MIN_EXPIRY, Counter, Record

LOSS = b"loss"

# Messages queued in one transaction, and in a day, at most: a server that reports losses again and again costs no more than a
# busy day does. What is left of a real loss follows the next day.
BATCH = 512
MAX_A_DAY = 2048
# Only so many of the newest messages, sent and received, are searched for lost ones: to unseal them takes seconds.
SEARCH_DEPTH = 50_000


class Loss(Record, frozen=True):
    """
    What the server has lost. Table C{META}, bucket C{LOSS}.

    @ivar above: the highest C{n} that it knew of; C{up_to}: the highest that it had stored; 0: nothing is left to be sent.
    @ivar since: when the day began in which C{count} messages were sent again.
    """

    above: Counter = 0
    up_to: Counter = 0
    since: Counter = 0
    count: Counter = 0


def note_loss(records: IRecords, above: int, up_to: int) -> None:
    """The server has lost deposits above this C{n}, up to this one, which it had stored."""
    loss = _loss(records)
    above = min(above, loss.above) if loss.up_to else above
    save(records, META, LOSS, replace(loss, above=above, up_to=max(up_to, loss.up_to)))


def is_due(records: IRecords, now: int) -> bool:
    """Whether something is to be sent again, and may be."""
    loss = _loss(records)
    return loss.up_to > 0 and (loss.count < MAX_A_DAY or not 0 <= now - loss.since < DAY)


def requeue(records: IRecords, now: int) -> list[tuple[Conversation, int]]:
    """
    Put what was lost into the outbox once more, as it was and where it was, before all that was written since: some of it now,
    the rest the next time.

    @return: conversations and seqs of the outbox rows.
    """
    loss = _loss(records)
    if not 0 <= now - loss.since < DAY:
        loss = replace(loss, since=now, count=0)
    room = min(BATCH, MAX_A_DAY - loss.count)
    lost = _find(records, loss, now)
    for to, seq, row in lost[:room]:
        left = min(row.at + row.expiry - now, MAX_EXPIRY)
        save(records, OUTBOX, ROWS, OutboxRow(to, row.content.kind, seq, now, left, again=True), seq)
        save(records, INDEX, row.content.message_id, MessageIndex(to, seq, seq))
        save(records, HISTORY, to.bucket, replace(row, status=Status.QUEUED), seq)
    loss = replace(loss, count=loss.count + len(lost[:room]))
    save(records, META, LOSS, loss if lost[room:] else replace(loss, above=0, up_to=0))
    return [(to, seq) for to, seq, _ in lost[:room]]


def _find(records: IRecords, loss: Loss, now: int) -> list[tuple[Conversation, int, HistoryRow]]:
    """Conversations, seqs and rows of the messages that were lost, in order."""
    after = max(load_number(records, META, SEQUENCE) - SEARCH_DEPTH, 0)
    found = []
    names = [contact.name for contact in contacts.all_contacts(records)]
    in_rooms = [room.conversation for room in all_rooms(records) if room.is_member]
    for to in (*(of(name) for name in names for of in (direct, lobby)), *in_rooms):
        for seq, row in load_all(records, HistoryRow, HISTORY, to.bucket, after):
            if not (row.sent and row.status is Status.ACCEPTED and loss.above < row.n <= loss.up_to):
                continue
            # An expiry is no longer than the outbox keeps a message.
            if row.at + row.expiry - now >= MIN_EXPIRY:
                found.append((to, seq, row))
    return sorted(found, key=lambda item: item[1])


def _loss(records: IRecords) -> Loss:
    return load(records, Loss, META, LOSS) or Loss()
