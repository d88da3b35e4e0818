"""Rows of the outbox that are about rooms and have no place in history: lists, statements, invitations, questions, answers."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, draft, load_all, next_seq, save
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.protocol.messages import MAX_EXPIRY, Record


def write(
    records: IRecords, profile: Profile, to: Conversation, kind: Kind, body: Record, now: int, *, again: bool = False
) -> int:
    """
    Put something about a room into the outbox that has no place in history.

    @return: its seq.
    """
    content = replace(draft(profile, kind, now), body=encode_record(body))
    seq = next_seq(records)
    row = OutboxRow(to, int(kind), 0, now, MAX_EXPIRY, encode_record(content), again=again)
    save(records, OUTBOX, ROWS, row, seq)
    return seq


def is_waiting(records: IRecords, to: Conversation, kind: Kind) -> bool:
    """Whether something of this kind is still in the outbox."""
    return any(row.to == to and row.kind == kind for _, row in load_all(records, OutboxRow, OUTBOX, ROWS))
