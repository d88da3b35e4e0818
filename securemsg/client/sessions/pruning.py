"""
What goes because nothing can come under it any more: old sessions, and what is kept of devices that left a contact's list.

Source: C{docs/protocol.md}, section "Sessions".
"""

from __future__ import annotations

import msgspec

from securemsg.client.sessions import initiations, store
from securemsg.client.sessions.store import EPOCHS, SESSION_INDEX, SKIPPED, TABLE, Session
from securemsg.client.state import contacts
from securemsg.client.state.conversations import is_guest
from securemsg.client.state.counters import conversations_with, forget_devices
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import load_all
from securemsg.interfaces import IRecords

# A session that sends no more may still receive for as long: what was sealed before its peer left it may have waited in an
# outbox for 30 days, and in a mailbox for 30.
RECEIVE_LIFE = 60 * DAY


def prune(records: IRecords, profile: Profile, now: int) -> None:
    """Delete what is of no more use. To be called now and then."""
    left: set[tuple[bytes, bytes]] = set()
    for bucket in {bucket for table in (TABLE, EPOCHS) for bucket, _, _ in records.scan(table)}:
        account, device = store.device_of(bucket)
        if is_guest(account):
            # Those have no list; what belongs to a connection goes with it.
            continue
        if _has_left(records, account, device):
            _drop_device(records, bucket)
            initiations.forget(records, account, device)
            contact = contacts.get_contact(records, account)
            if contact is not None:
                left.update((device, conversation) for conversation in conversations_with(profile, account, contact.identity))
        else:
            _prune_sessions(records, bucket, now)
    if left:
        forget_devices(records, left)


def _has_left(records: IRecords, account: str, device: bytes) -> bool:
    """Whether a device is on nobody's list: its messages are refused."""
    contact = contacts.get_contact(records, account)
    return contact is None or (contact.devices is not None and contacts.device(contact, device) is None)


def _drop_device(records: IRecords, bucket: bytes) -> None:
    for table in (TABLE, SKIPPED, EPOCHS):
        for _, order, _ in records.scan(table, bucket):
            records.delete(table, bucket, order)


def _prune_sessions(records: IRecords, bucket: bytes, now: int) -> None:
    """Note which sessions have ceased to send, and delete those that did long ago."""
    index = store.load_index(records, bucket)
    for number, session in load_all(records, Session, TABLE, bucket, after=SESSION_INDEX):
        left_at = 0 if number in (index.current, index.before) else session.left_at or now
        if left_at and now - left_at >= RECEIVE_LIFE:
            store.drop_session(records, bucket, number)
        elif left_at != session.left_at:
            store.save_session(records, bucket, number, msgspec.structs.replace(session, left_at=left_at))
