"""
Guests: writing to the contact C{server} with a key file, without an account, and without storing anything.

Each connection is a device of its own, with an identity that both ends derive from the file and from the login; what was said
in one connection cannot be moved into another. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from attrs import define, evolve, field

from securemsg.client import login
from securemsg.client.sending import results
from securemsg.client.sessions import pins, suites
from securemsg.client.state import contacts
from securemsg.client.state.lists import forget_lists
from securemsg.client.state.profile import Profile, create_profile, save_profile
from securemsg.client.state.records import COUNTERS, NUMBER, OUTBOX, ROWS, SEEN, SENT, OutboxRow, load_all
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.auth import Binding
from securemsg.protocol.connection import Connection
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import PSK
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Challenge, Hello, Proof

# Before the first login: no server has this identity.
NO_PIN = bytes(32)


def prepare(store: IProfileStore, key: SharedKey, host: str, port: int, now: int) -> Profile:
    """Set up an empty store for a guest with this file. The store must be in memory, because the file's secret goes into it."""
    profile = evolve(create_profile(InviteLink(host, port, NO_PIN), key.name, now), registered=True)
    with store.writing() as records:
        pins.pin_suite(records, profile.conversation(SERVER_NAME), PSK, key.secret)
        save_profile(records, profile)
    return profile


@define
class GuestLogin:
    """The login of a guest: the key file proves the server, and the connection gives the guest an identity. See C{Login}."""

    _hello: Hello | None = field(default=None, init=False)

    def greet(self, profile: Profile, binding: Binding) -> Hello:
        """See C{Login.greet}. It does not name the file: the server has only one."""
        self._hello = login.greeting("key", binding)
        return self._hello

    def answer(
        self, store: IProfileStore, profile: Profile, connection: Connection, challenge: Challenge, binding: Binding
    ) -> tuple[Profile, Proof]:
        """See C{Login.answer}."""
        assert self._hello is not None, "a challenge answers a greeting"
        with store.writing() as records:
            key = key_file(records, profile)
            login.check_key_challenge(key, connection.hello, challenge, binding)
            profile = begin(records, profile, key, self._hello, challenge, binding)
        return profile, login.prove_key(key, challenge.identity, connection.hello, connection.challenge, binding)


def key_file(records: IRecords, profile: Profile) -> SharedKey:
    """The key file of this guest."""
    return pins.pinned_suite(records, profile.conversation(SERVER_NAME)).shared


def begin(
    records: IRecords, profile: Profile, key: SharedKey, hello: Hello, challenge: Challenge, binding: Binding
) -> Profile:
    """
    Become the device of a connection whose server has proved that it holds the file. What was not accepted before is sealed
    anew, under the same message ids; whatever else belonged to the device that we were is forgotten.

    @param hello: what we sent in this connection.
    @return: the guest's profile for this connection, as it is stored.
    """
    nonce = keys.connection_nonce(hello.nonce, challenge.nonce, binding.exporter)
    profile = evolve(
        profile,
        pin=challenge.identity,
        identity=key.guest_identity(nonce),
        device_id=keys.guest_device(nonce),
        connection=nonce,
    )
    save_profile(records, profile)
    # Any server that has the file is ours, so another identity than before is no change of identity.
    records.delete(contacts.TABLE, SERVER_NAME.encode())
    forget_lists(records, SERVER_NAME)
    suites.archive_all(records)
    # What was delivered to another device cannot be delivered to this one, so it need not be remembered.
    for table in (COUNTERS, SENT, SEEN):
        for bucket, seq, _ in records.scan(table):
            # Deposits are numbered across all conversations, so that number goes on.
            if bucket != NUMBER:
                records.delete(table, bucket, seq)
    for seq, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        if row.sealed:
            results.mark_stale(records, seq)
    return profile
