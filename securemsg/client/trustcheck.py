"""Compares the rows that decide whom we trust with the record of them, before a connection is used."""

from __future__ import annotations

import msgspec

from securemsg.client.context import Context
from securemsg.client.sessions import pins
from securemsg.client.state import contacts, integrity
from securemsg.client.state.conversations import account_of
from securemsg.client.state.integrity import Entries
from securemsg.crypto import keys
from securemsg.interfaces import IRecords


def check_trust(context: Context) -> None:
    """Warn of every contact whose row was changed from outside, and count the contact as unverified."""
    if not context.profile.has_trust_record:
        return
    with context.store.reading() as records:
        if integrity.entries(records) == _found(records):
            return
    with context.store.writing() as records:
        known, found = integrity.entries(records), _found(records)
        # The record is made anew below, so what is found next time was done since, though it be the same again.
        event = keys.random_id()
        if known is None:
            context.warn(records, "trust-lost", about=event)
        names = {
            bucket.decode() if table == contacts.TABLE else account_of(bucket)
            for table, bucket in {*found, *(known or {})}
            if known is None or known.get((table, bucket)) != found.get((table, bucket))
        }
        for name in sorted(names):
            contact = contacts.get_contact(records, name)
            if contact is not None:
                contacts.put_contact(records, msgspec.structs.replace(contact, verified=False, shown_comparison=b""))
            if known is not None:
                context.warn(records, "trust-changed", name, about=event)
        integrity.save_entries(records, _found(records))


def _found(records: IRecords) -> Entries:
    """The digests of the rows as they are."""
    rows = {(contacts.TABLE, contact.name.encode()): contact.trust_digest for contact in contacts.all_contacts(records)}
    return rows | {(pins.TABLE, bucket): integrity.row_digest(value) for bucket, _, value in records.scan(pins.TABLE)}
