"""What a message costs its two clients in each suite: to seal it, and to open it; and what a new epoch of suite C{rsa} adds."""

from __future__ import annotations

import statistics
import time

from bench.garbage import MICRO, NOW, Client
from bench.report import Figure, figure
from securemsg.client.sessions import pins, pqxdh, prekeys, rsa, suites
from securemsg.client.sessions.addresses import Recipient
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import resigned, save_profile
from securemsg.client.state.rsakeys import save_rsa_key, with_rsa_key
from securemsg.crypto.keys import SigningKey, sha256
from securemsg.crypto.rsa import RsaKey
from securemsg.protocol.envelope import PQXDH, RSA, Introduction
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Bundle, PrekeyStock
from securemsg.storage.memory import MemoryProfile

# A 200-byte text as it is padded.
CONTENT = bytes(400)
# Messages of a round, and rounds in turn of each suite: less than an epoch, and enough to tell other load apart.
MESSAGES, ROUNDS = 50, 20


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """Let one client write to another, in memory: nothing is stored on a disk."""
    link = InviteLink("example.net", 8443, SigningKey.generate().public, b"")
    alice, bob = (Client.make(name, link, MemoryProfile()) for name in ("alice", "bob"))
    with bob.store.writing() as records:
        save_rsa_key(records, RsaKey.generate())
        bob.profile = resigned(bob.profile, NOW, with_rsa_key(records, bob.profile))
        save_profile(records, bob.profile)
        upload = prekeys.replenish(records, bob.profile, PrekeyStock(0, 0, 0, 0), NOW)
    assert upload is not None and upload.signed is not None and upload.last_resort is not None
    contact = alice.meet(bob)
    bob.meet(alice)
    with alice.store.writing() as records:
        bundle = Bundle(0, upload.signed, upload.last_resort, True, None)
        pqxdh.begin(records, alice.profile, contact, bob.profile.device_id, bundle, NOW)
    times: dict[str, list[float]] = {PQXDH: [], RSA: [], "epoch": []}
    for suite in (PQXDH, RSA):
        send(alice, bob, contact, suite)
    for _ in range(rounds):
        for suite in (PQXDH, RSA):
            times[suite].append(sum(send(alice, bob, contact, suite) for _ in range(MESSAGES)) / MESSAGES)
        anew = 0.0
        for _ in range(MESSAGES):
            with alice.store.writing() as records:
                rsa.archive(records, contact.name, bob.profile.device_id)
            anew += send(alice, bob, contact, RSA)
        times["epoch"].append(anew / MESSAGES - times[RSA][-1])
    cost = {name: statistics.median(each) * MICRO for name, each in times.items()}
    return [
        figure("suite_pqxdh", "clients' CPU a message, sealed and opened, suite pqxdh", "µs", cost[PQXDH]),
        figure("suite_rsa", "clients' CPU a message, sealed and opened, suite rsa", "µs", cost[RSA]),
        figure("suite_rsa_epoch", "clients' CPU that a new epoch adds, RSA-2048", "µs", cost["epoch"]),
    ]


def send(alice: Client, bob: Client, contact: Contact, suite: str) -> float:
    """
    Seal a message, and open it.

    @return: processor time that this took, seconds.
    """
    own, device = alice.profile, bob.profile.device_id
    with alice.store.writing() as records:
        pins.pin_suite(records, direct(contact.name), suite)
        choice = pins.pinned_suite(records, direct(contact.name))
    recipient = Recipient(contact, (device,), introduction=Introduction(own.identity.public, own.devices))
    began = time.process_time()
    with alice.store.writing() as records:
        common, key = suites.make_common(CONTENT, choice.key_size)
        part = suites.plan(records, own, choice, recipient, NOW)[device].seal(records, key)
    with bob.store.writing() as records:
        opened = suites.open_envelope(records, bob.profile, own.name, own.device_id, part, sha256(common), NOW)
        suites.open_common(common, opened.content_key)
    return time.process_time() - began
