"""
To call the contact C{server} with a key file: no account, nothing registered, nothing that is kept.

Each connection is a device of its own, with an identity that both ends derive from the file and from the login; what was said
in one connection cannot be moved into another. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from attrs import evolve

from securemsg.client.sending import results
from securemsg.client.sessions import choices, encrypt
from securemsg.client.state import contacts
from securemsg.client.state.profile import LISTS, Profile, create_profile, save_profile
from securemsg.client.state.records import COUNTERS, NUMBER, OUTBOX, ROWS, SEEN, SENT, OutboxRow, load_all
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.auth import Binding
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Challenge, Hello

# Before the first login: no server has this identity.
NO_PIN = bytes(32)


def prepare(store: IProfileStore, key: SharedKey, host: str, port: int, now: int) -> Profile:
    """Make an empty store that of a caller who holds this file. It is to be one in memory: the file's secret goes into it."""
    profile = evolve(create_profile(InviteLink(host, port, NO_PIN), key.name, now), registered=True)
    with store.writing() as records:
        choices.choose(records, SERVER_NAME, choices.PSK, key.secret)
        save_profile(records, profile)
    return profile


def key_of(records: IRecords) -> SharedKey:
    """The file that this caller holds."""
    return choices.chosen(records, SERVER_NAME).shared


def arrive(
    records: IRecords, profile: Profile, key: SharedKey, hello: Hello, challenge: Challenge, binding: Binding
) -> Profile:
    """
    Become the device of a connection whose server has proved that it holds the file. What was not accepted before is sealed
    anew, under the same message ids; whatever else belonged to the device that we were is forgotten.

    @param hello: what we said in this connection.
    @return: who we are now, as it is kept.
    """
    nonce = keys.connection_nonce(hello.nonce, challenge.nonce, binding.exporter)
    profile = evolve(
        profile,
        pin=challenge.identity,
        identity=key.caller_identity(nonce),
        device_id=keys.caller_device(nonce),
        connection=nonce,
    )
    save_profile(records, profile)
    # Whoever holds the file is our server: if it is another than before, that is no change of identity.
    records.delete(contacts.TABLE, SERVER_NAME.encode())
    for bucket, version, _ in records.scan(LISTS, SERVER_NAME.encode()):
        records.delete(LISTS, bucket, version)
    encrypt.forget_all(records)
    # Nothing that came to another device can come to this one, so it need not be known any more.
    for table in (COUNTERS, SENT, SEEN):
        for bucket, order, _ in records.scan(table):
            # The numbers of deposits go on: they belong to nobody's conversation.
            if bucket != NUMBER:
                records.delete(table, bucket, order)
    for order, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        if row.sealed:
            results.mark_stale(records, order)
    return profile
