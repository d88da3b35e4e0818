"""
Receipts: who asks for them, who gets them, and which are due.

Confirming a stranger's message reveals that this user is online. Source: C{docs/protocol.md}, section "Receiving".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.state import contacts, settings
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    HISTORY,
    RECEIPTS,
    SEEN,
    HistoryRow,
    ReceiptRow,
    Status,
    find_sent,
    load,
    save,
    seen_message,
)
from securemsg.client.state.settings import Policy
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import Kind

# Whoever sends the same message again learns nothing new from it within this time, seconds: it would be a silent probe.
REPEAT_PAUSE = 3600


def policy_of(records: IRecords, profile: Profile) -> Policy:
    """Who gets receipts from this profile; the contact C{server} confirms to everybody who is let in."""
    chosen = settings.get(records).receipts
    if chosen is not None:
        return chosen
    return Policy.EVERYBODY if profile.name == SERVER_NAME else Policy.KNOWN


def asks(records: IRecords, profile: Profile, to: Conversation) -> bool:
    """Whether what our user writes asks for receipts: to people, unless the user wants none."""
    is_person = to.kind is ConversationKind.DIRECT and to.account != SERVER_NAME
    return is_person and policy_of(records, profile) is not Policy.NOBODY


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
    if policy is Policy.NOBODY or (policy is not Policy.EVERYBODY and not is_known):
        return
    _add(records, ReceiptRow(conversation, message_id))


def note_read(records: IRecords, conversation: Conversation, seq: int) -> None:
    """Our user was shown a message: its sender is told so if both want that, and is somebody whom our user knows."""
    if conversation.kind is not ConversationKind.DIRECT or settings.get(records).receipts is not Policy.READ:
        return
    row = load(records, HistoryRow, HISTORY, conversation.bucket, seq)
    contact = contacts.get_contact(records, conversation.account)
    if row is not None and row.content.wants_receipt and contact is not None and contact.known:
        _add(records, ReceiptRow(conversation, row.content.message_id, Kind.READ))


def _add(records: IRecords, row: ReceiptRow) -> None:
    bucket = bucket_of(row)
    first = records.scan(RECEIPTS, bucket, limit=1)
    order = first[0][1] + records.count(RECEIPTS, bucket) if first else 1
    save(records, RECEIPTS, bucket, row, order)


def mark_delivered(records: IRecords, conversation: Conversation, message_id: bytes, device: bytes, now: int) -> bool:
    """
    Mark a message of ours as delivered to a device, if it was sent in this conversation, and to no other. One that was never
    sealed cannot have arrived.

    @return: whether its status has changed.
    """
    found = find_sent(records, message_id)
    if found is None or found[0].conversation != conversation:
        return False
    known, row = found
    if not row.content.counter or device in row.devices:
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


def mark_read(records: IRecords, conversation: Conversation, message_id: bytes, device: bytes, now: int) -> bool:
    """
    Mark a message of ours as shown to its recipient, and so as delivered as well, if it was sent in this conversation.

    @return: whether anything has changed.
    """
    is_new = mark_delivered(records, conversation, message_id, device, now)
    found = find_sent(records, message_id)
    if found is None or found[0].conversation != conversation or found[1].status is not Status.DELIVERED or found[1].read_at:
        return is_new
    known, row = found
    save(records, HISTORY, known.conversation.bucket, replace(row, read_at=now), known.history)
    return True


def bucket_of(row: ReceiptRow) -> bytes:
    """
    The bucket of a conversation's due receipts of one kind. Orders restart at 1 when it is empty, so a scan over all buckets
    serves every conversation in turn.
    """
    return f"{row.kind}/{row.conversation.kind}/{row.conversation.id}".encode()
