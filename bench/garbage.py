"""
What garbage costs a client after the worst that a peer can prepare.

A peer opens session after session with one last-resort bundle, each with a message that is as far ahead as one may be. Then
garbage comes in the peer's name, as the server can make it, too: well-formed messages of sessions that do not exist.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from attrs import define, field

from bench.report import Figure, figure
from securemsg.client.receiving import inbox
from securemsg.client.sessions import pqxdh, prekeys, store, suites
from securemsg.client.sessions.addresses import Recipient
from securemsg.client.sessions.pins import pinned_suite
from securemsg.client.state import contacts
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.profile import Profile, create_profile, save_profile
from securemsg.client.state.records import draft
from securemsg.client.state.vault import create_vault
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.keys import SigningKey, random_id
from securemsg.crypto.ratchet import MAX_JUMP
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import PQXDH, Envelope, EnvelopeHeader, Kind, decode_record, encode_record
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import AccountRecord, Bundle, Deliver, PrekeyStock
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.profile import create_profile as create_profile_store

OPENINGS = 40
MESSAGES = 100
NOW = 1_800_000_000
# A common part of the smallest size, and an own part that is an envelope: 418 bytes.
COMMON_SIZE = 320
SEALED_SIZE = 32
MICRO = 1e6


@define
class Client:
    """One end: a profile and where it is kept."""

    profile: Profile
    store: IProfileStore

    @classmethod
    def make(cls, name: str, link: InviteLink, kept: IProfileStore) -> Client:
        """Somebody new."""
        client = cls(create_profile(link, name, NOW), kept)
        with kept.writing() as records:
            save_profile(records, client.profile)
        return client

    def meet(self, other: Client) -> contacts.Contact:
        """Look the other one up."""
        profile = other.profile
        record = AccountRecord(profile.name, profile.identity.public, profile.devices)
        with self.store.writing() as records:
            return contacts.adopt(records, self.profile, record, NOW, contacts.DIRECTORY)


@define
class Attack:
    """A victim with its profile on a disk, and a peer."""

    victim: Client
    peer: Client
    sent: int = 0
    known: bytes = b""
    _tag: int = field(default=0, init=False)

    def deliver(self, common: bytes, own: bytes) -> float:
        """
        Let the victim take something in.

        @return: processor time that this took, seconds.
        """
        self.sent += len(common) + len(own)
        self._tag += 1
        peer = self.peer.profile
        delivery = Deliver(self._tag, peer.name, peer.device_id, random_id(), NOW, common, own)
        began = time.process_time()
        with self.victim.store.writing() as records:
            inbox.receive(records, self.victim.profile, delivery, NOW)
        return time.process_time() - began

    def open_sessions(self) -> None:
        """Begin sessions with the last resort; what is sent in each is as far ahead as may be."""
        with self.victim.store.writing() as records:
            upload = prekeys.replenish(records, self.victim.profile, PrekeyStock(0, 0, 0, 0), NOW)
        assert upload is not None and upload.signed is not None and upload.last_resort is not None
        bundle = Bundle(0, upload.signed, upload.last_resort, True, None)
        contact = self.peer.meet(self.victim)
        device, profile = self.victim.profile.device_id, self.peer.profile
        bucket = store.bucket_of(contact.name, device)
        conversation = conversation_of(profile.identity.public, contact.identity)
        for counter in range(1, OPENINGS + 1):
            content = msgspec.structs.replace(draft(profile, Kind.TEXT, NOW), conversation=conversation, counter=counter)
            common, key = suites.make_common(encode_record(content))
            with self.peer.store.writing() as records:
                suites.archive(records, contact.name, device)
                pqxdh.begin(records, profile, contact, device, bundle, NOW)
                number, session = max(store.all_sessions(records, bucket).items())
                ratchet = load_ratchet(session.ratchet)
                for _ in range(MAX_JUMP):
                    ratchet = ratchet.next_sending()[0]
                ahead = msgspec.structs.replace(session, ratchet=dump_ratchet(ratchet))
                store.save_session(records, bucket, number, ahead)
                recipient, choice = Recipient(contact, (device,)), pinned_suite(records, direct(contact.name))
                own = suites.plan(records, profile, choice, recipient, NOW)[device].seal(records, key)
            self.deliver(common, own)
            self.known = self.known or decode_record(EnvelopeHeader, decode_record(Envelope, own).header).ratchet_key

    def garbage(self, number: int, ratchet_key: bytes = b"") -> float:
        """
        Let garbage come.

        @param number: which message of its chain each of them says it is.
        @param ratchet_key: of that chain; empty: a new one each time.
        @return: processor time for each, seconds.
        """
        spent = 0.0
        for _ in range(MESSAGES):
            header = encode_record(EnvelopeHeader(PQXDH, 1, ratchet_key or os.urandom(32), 0, number, None))
            spent += self.deliver(os.urandom(COMMON_SIZE), encode_record(Envelope(header, os.urandom(SEALED_SIZE))))
        return spent / MESSAGES


def measure(folder: Path) -> list[Figure]:
    """
    Prepare and attack.

    @param folder: for the victim's profile.
    """
    kept = create_profile_store(folder, create_vault(folder, None))
    link = InviteLink("example.net", 8443, SigningKey.generate().public, b"")
    attack = Attack(Client.make("victim", link, kept), Client.make("peer", link, MemoryProfile()))
    attack.victim.meet(attack.peer)
    before = _size(folder)
    attack.open_sessions()
    grown = (_size(folder) - before) / attack.sent
    cost = max(attack.garbage(0), attack.garbage(MAX_JUMP), attack.garbage(2 * MAX_JUMP - 1, attack.known))
    kept.close()
    return [
        figure("garbage", "client CPU for each garbage message after the worst attack", "us", cost * MICRO),
        figure("garbage_kept", "bytes that a profile keeps for each byte of that attack", "x", grown),
    ]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
