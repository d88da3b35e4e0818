"""
Receipts that are due, and who gets any.

Confirming a stranger's message reveals that this user is online. Source: C{docs/protocol.md}, section "Receiving".
"""

from __future__ import annotations

import enum

from msgspec.structs import replace

from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    HISTORY,
    META,
    RECEIPTS,
    SEEN,
    ReceiptRow,
    Status,
    find_sent,
    load,
    save,
    seen_message,
)
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.messages import Record

POLICY = b"receipts"
# Whoever sends the same message again learns nothing new from it within this time, seconds: it would be a silent probe.
REPEAT_PAUSE = 3600


class Policy(enum.StrEnum):
    """Who gets receipts."""

    EVERYBODY = "everybody"
    KNOWN = "known"     # see L{securemsg.client.state.contacts.Contact.known}
    NOBODY = "nobody"


class StoredPolicy(Record, frozen=True):
    """What the user has chosen. Table C{META}, bucket C{POLICY}."""

    policy: Policy


def policy_of(records: IRecords, profile: Profile) -> Policy:
    """Who gets receipts from this profile; the contact C{server} confirms to everybody who is let in."""
    stored = load(records, StoredPolicy, META, POLICY)
    if stored is not None:
        return stored.policy
    return Policy.EVERYBODY if profile.name == SERVER_NAME else Policy.KNOWN


def set_policy(records: IRecords, policy: Policy) -> None:
    """Save the user's choice."""
    save(records, META, POLICY, StoredPolicy(policy))


def note_receipt(
    records: IRecords, profile: Profile, contact: Contact, conversation: Conversation, message_id: bytes, now: int
) -> None:
    """A message asks for a receipt: note it, unless its sender gets none, or got one for this message lately."""
    seen = seen_message(contact.name, message_id)
    if abs(now - int.from_bytes(records.get(SEEN, seen) or b"", "big")) < REPEAT_PAUSE:
        return
    records.put(SEEN, seen, now.to_bytes(8, "big"))
    policy = policy_of(records, profile)
    # A guest has written to `server` before anything comes from there.
    is_known = contact.known or conversation.kind is ConversationKind.HOST
    if policy is Policy.NOBODY or (policy is Policy.KNOWN and not is_known):
        return
    bucket = bucket_of(conversation)
    first = records.scan(RECEIPTS, bucket, limit=1)
    order = first[0][1] + records.count(RECEIPTS, bucket) if first else 1
    save(records, RECEIPTS, bucket, ReceiptRow(conversation, message_id), order)


def mark_delivered(records: IRecords, conversation: Conversation, message_id: bytes, device: bytes, now: int) -> bool:
    """
    Mark a message of ours as delivered to a device, if it was sent in this conversation, and to no other.

    @return: whether its status has changed.
    """
    found = find_sent(records, message_id)
    if found is None or found[0].conversation != conversation:
        return False
    known, row = found
    if row.status is Status.QUEUED and not row.content.counter or device in row.devices:
        return False
    marked = replace(
        row,
        status=Status.DELIVERED,
        code="",
        delivered_at=row.delivered_at or now,
        devices=(*row.devices, device),
    )
    save(records, HISTORY, known.conversation.bucket, marked, known.history)
    return True


def bucket_of(conversation: Conversation) -> bytes:
    """
    The bucket of a conversation's due receipts. Orders restart at 1 when it is empty, so a scan over all buckets serves every
    conversation in turn.
    """
    return f"{conversation.kind}/{conversation.id}".encode()
