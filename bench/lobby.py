"""
How much the lobby relays: the contact C{server}, with its profile on disk, and fifty members in it.

Lines come in from one member. Each is opened, written to all others, and confirmed; all of that is sealed, and its rows
removed, as many at once as the sender has. No server is needed for that.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from attrs import define, field

from bench.garbage import NOW, Client
from bench.report import Figure, figure
from securemsg.client import lobby, messages
from securemsg.client.receiving import inbox
from securemsg.client.relay import Relay
from securemsg.client.sending import outbox, results
from securemsg.client.sending.queues import WINDOW
from securemsg.client.sessions import pqxdh, prekeys
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all
from securemsg.client.state.vault import create_vault
from securemsg.crypto.keys import SigningKey
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Bundle, Deliver, Deposit, PrekeyStock
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.profile import create_profile as create_profile_store

MEMBERS = 50
LINES = 10
TEXT = "x" * 200


@define
class Lobby:
    """The contact, and those who write to it. Its clock runs so fast that no rate is ever used up."""

    contact: Client
    relay: Relay
    _tags: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def deliver(self, member: Client) -> None:
        """Let the contact take in, and relay, what a member has written."""
        for deposit in _deposits(member):
            part = deposit.to[0].parts[0]
            name, device = member.profile.name, member.profile.device_id
            delivery = Deliver(next(self._tags), name, device, deposit.deposit_id, NOW, deposit.common, part.own)
            with self.contact.store.writing() as records:
                inbox.receive(records, self.contact.profile, delivery, NOW)
        for message in messages.unread(self.contact.store):
            self.relay.handle(self.contact.store, message)

    def send(self) -> int:
        """
        Seal everything that waits.

        @return: how many messages that were.
        """
        return len(_deposits(self.contact))


def _deposits(client: Client) -> list[Deposit]:
    """What a client has to send, as if the server accepted it at once."""
    deposits: list[Deposit] = []
    while True:
        with client.store.writing() as records:
            seqs = [seq for seq, _ in load_all(records, OutboxRow, OUTBOX, ROWS, limit=WINDOW)]
            made = [outbox.prepare(records, client.profile, seq, NOW) for seq in seqs]
        if not seqs:
            return deposits
        with client.store.writing() as records:
            for seq in seqs:
                results.accepted(records, client.profile, seq, 1, NOW, [], NOW)
        deposits += [deposit for deposit in made if deposit is not None]


def measure(folder: Path) -> list[Figure]:
    """
    Have everybody enter, and one of them talk.

    @param folder: for the contact's profile.
    """
    kept = create_profile_store(folder, create_vault(folder, None))
    link = InviteLink("example.net", 8443, SigningKey.generate().public, b"")
    seconds = itertools.count(0, 3600)
    there = Lobby(Client.make(SERVER_NAME, link, kept), Relay(True, lambda: NOW, lambda: next(seconds)))
    contact = there.contact
    with kept.writing() as records:
        upload = prekeys.replenish(records, contact.profile, PrekeyStock(0, 0, 0, 0), NOW)
    assert upload is not None and upload.signed is not None and upload.last_resort is not None
    bundle = Bundle(0, upload.signed, upload.last_resort, True, None)
    members = [Client.make(f"member{number}", link, MemoryProfile()) for number in range(MEMBERS)]
    for number, member in enumerate(members):
        contact.meet(member)
        known = member.meet(contact)
        with member.store.writing() as records:
            pqxdh.begin(records, member.profile, known, contact.profile.device_id, bundle, NOW)
        lobby.enter(member.store, NOW)
        there.deliver(member)
        if number % 16 == 0:
            there.send()
    there.send()
    began, copies = time.process_time(), 0
    for _ in range(LINES):
        messages.compose(members[0].store, LOBBY_NAME, TEXT, now=NOW)
        there.deliver(members[0])
        copies += there.send()
    spent = time.process_time() - began
    kept.close()
    assert copies == LINES * MEMBERS, "everybody else gets every line, and its author the confirmation"
    return [figure("lobby", f"copies for the lobby of {MEMBERS}, a second of CPU", "1/s", copies / spent)]
