"""
What a session message is tied to. Each item of the associated data is altered alone, and by the sender itself, who holds all
keys: nothing else in the message gives the change away.
"""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import store, suites
from securemsg.client.sessions.store import Session
from securemsg.crypto.dump import load_ratchet
from securemsg.crypto.keys import length_prefixed
from securemsg.crypto.ratchet import seal_message
from securemsg.errors import Unauthentic
from securemsg.protocol.envelope import ContentKey, Envelope, EnvelopeHeader, encode_record
from tests.client.people import Person, Sender, friends

# The items in their order, as the specification has them.
ITEMS = (
    "label",
    "suite",
    "version",
    "initiator's name",
    "initiator's device",
    "initiator's identity",
    "responder's name",
    "responder's device",
    "responder's identity",
    "direction",
    "header",
    "common part",
    "bundle",
)


class AssociatedTests(SynchronousTestCase):
    """Alice began a session with Bob, and both have spoken in it."""

    def setUp(self) -> None:
        """Nobody repeats the opening any more."""
        self.alice, self.bob = friends()
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.read(self.alice.send(self.bob, b"ho"))

    def session(self, sender: Person, reader: Person) -> Session:
        """What the sender keeps of the only session."""
        with sender.store.reading() as records:
            (session,) = store.all_sessions(records, store.bucket_of(reader.name, reader.device.id)).values()
        return session

    def items(self, sender: Person, reader: Person, header: bytes, common: bytes) -> dict[str, bytes]:
        """The associated data as the specification has it, made from what the two people are."""
        session = self.session(sender, reader)
        values = (
            b"securemsg/1 session data",
            b"pqxdh",
            (1).to_bytes(4, "big"),
            *(self.alice.name.encode(), self.alice.profile.device_id, self.alice.profile.identity.public),
            *(self.bob.name.encode(), self.bob.profile.device_id, self.bob.profile.identity.public),
            b"initiator" if sender is self.alice else b"responder",
            header,
            common,
            session.bundle,
        )
        return dict(zip(ITEMS, values, strict=True))

    def sealed(self, sender: Person, reader: Person, item: str = "") -> Sender:
        """A message by a sender that alters one item and nothing else; its session stays as it was."""
        common, content_key = suites.make_common(b"text")
        _, step, key = load_ratchet(self.session(sender, reader).ratchet).next_sending()
        header = encode_record(EnvelopeHeader("pqxdh", 1, step.public, step.previous_length, step.number, None))
        items = self.items(sender, reader, header, content_key.common)
        if item:
            items[item] = bytes([items[item][0] ^ 1]) + items[item][1:]
        sealed = seal_message(key, encode_record(content_key), length_prefixed(*items.values()))
        return Sender(sender.name, sender.profile.device_id, encode_record(Envelope(header, sealed)), common)

    def test_each_item(self) -> None:
        """With any item altered a message is refused, in both directions, and nothing changes; unaltered it is read."""
        for item in ITEMS:
            self.setUp()
            for sender, reader in ((self.alice, self.bob), (self.bob, self.alice)):
                with self.subTest(item=item, sender=sender.name):
                    before = reader.dump()
                    self.assertRaises(Unauthentic, reader.read, self.sealed(sender, reader, item))
                    self.assertEqual(reader.dump(), before)
                    self.assertEqual(reader.read(self.sealed(sender, reader)), b"text")

    def test_bundle_of_the_reader(self) -> None:
        """Who remembers another bundle reads nothing: both sides have it from their own records."""
        post = self.alice.send(self.bob, b"later")
        bucket = store.bucket_of("alice", self.alice.device.id)
        session = self.session(self.bob, self.alice)
        with self.bob.store.writing() as records:
            store.save_session(records, bucket, 1, msgspec.structs.replace(session, bundle=bytes(32)))
        self.assertRaises(Unauthentic, self.bob.read, post)
        with self.bob.store.writing() as records:
            store.save_session(records, bucket, 1, session)
        self.assertEqual(self.bob.read(post), b"later")

    def test_common_part_inside(self) -> None:
        """
        What a message says inside of its common part counts, too: a sender that ties it to one and names another is refused.
        """
        post = self.alice.send(self.bob, b"text")
        other = self.alice.send(self.bob, b"text")
        self.assertRaises(Unauthentic, self.bob.read, evolve(post, common=other.common))
        common, content_key = suites.make_common(b"text")
        session = self.session(self.alice, self.bob)
        _, step, key = load_ratchet(session.ratchet).next_sending()
        header = encode_record(EnvelopeHeader("pqxdh", 1, step.public, step.previous_length, step.number, None))
        associated = length_prefixed(*self.items(self.alice, self.bob, header, content_key.common).values())
        lying = ContentKey(content_key.key, bytes(32), None, content_key.place)
        own = encode_record(Envelope(header, seal_message(key, encode_record(lying), associated)))
        self.assertRaises(Unauthentic, self.bob.open, evolve(post, own=own, common=common))
