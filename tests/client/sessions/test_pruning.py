"""What is kept of sessions when nothing can come under them any more."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import initiations, pruning, store
from securemsg.client.sessions.epochs import Epoch
from securemsg.client.sessions.pruning import RECEIVE_LIFE
from securemsg.client.state import contacts, gaps
from securemsg.client.state.counters import BASES, STREAM_IN, Begin, conversation_of
from securemsg.client.state.profile import DAY, Profile, resigned
from securemsg.client.state.records import COUNTERS, draft, save
from securemsg.protocol.devices import DEVICE_LIST_LABEL, encode_device_list
from securemsg.protocol.envelope import Content, Kind, StreamEnd
from securemsg.protocol.messages import SignedDeviceList
from tests.client.case import WorldCase
from tests.client.people import NOW, Person, friends, person, sessions_of


class PruningTests(SynchronousTestCase):
    """Alice and Bob have talked."""

    def setUp(self) -> None:
        """Both use one session, in which a message of Bob's is missing."""
        self.alice, self.bob = friends()
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.bob.send(self.alice, b"missing")
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bucket = store.bucket_of("bob", self.bob.device.id)

    def prune(self, now: int) -> None:
        """Time passes for Alice."""
        with self.alice.store.writing() as records:
            pruning.prune(records, self.alice.profile, now)

    def replace_device(self) -> None:
        """Bob signs a list with another device, and Alice has it."""
        device = msgspec.structs.replace(self.bob.device, id=b"x" * 16)
        listing = msgspec.structs.replace(resigned(self.bob.profile, NOW).listing, devices=[device])
        body = encode_device_list(listing)
        devices = SignedDeviceList(body, self.bob.profile.identity.sign(DEVICE_LIST_LABEL, body))
        self.bob.renew(evolve(self.bob.profile, device_id=device.id, devices=devices))
        self.alice.meet(self.bob)

    def rows(self, one: Person) -> int:
        """How many records somebody keeps of sessions with others."""
        with one.store.reading() as records:
            tables = (store.TABLE, store.SKIPPED, store.EPOCHS, initiations.TABLE)
            return sum(len(records.scan(table)) for table in tables)

    def test_device_left(self) -> None:
        """What is kept of a device goes when it has left its contact's list; what is kept of others stays."""
        carol = person("carol")
        carol.meet(self.alice)
        self.alice.read(carol.send(self.alice, b"hi"))
        with self.alice.store.writing() as records:
            save(records, store.EPOCHS, self.bucket, Epoch(bytes(32), 1, 1, NOW, self.bob.profile.identity.public))
        before = self.rows(self.alice)
        self.prune(NOW)
        self.assertEqual(self.rows(self.alice), before)
        self.replace_device()
        self.prune(NOW)
        self.assertEqual(self.rows(self.alice), 4)  # of Carol: index, session, initiation, its place in the queue
        self.assertEqual(self.alice.read(carol.send(self.alice, b"more")), b"more")

    def test_other_device_for_ever(self) -> None:
        """A peer that takes another device again and again does not make the profile grow."""
        self.replace_device()
        self.prune(NOW)
        sizes = set()
        for number in range(5):
            listing = resigned(self.bob.profile, NOW).listing
            device = msgspec.structs.replace(self.bob.device, id=bytes([number + 1]) * 16)
            body = encode_device_list(msgspec.structs.replace(listing, devices=[device]))
            devices = SignedDeviceList(body, self.bob.profile.identity.sign(DEVICE_LIST_LABEL, body))
            self.bob.renew(evolve(self.bob.profile, device_id=device.id, devices=devices))
            self.bob.forget(self.alice)
            self.alice.read(self.bob.send(self.alice, b"hi"))
            self.prune(NOW)
            sizes.add(self.rows(self.alice))
        self.assertEqual(len(sizes), 1)

    def test_streams(self) -> None:
        """
        How far the streams from and to a device have come goes with it, and not with another's device of the same id. What is
        missing stays missing, and history goes on to show it.
        """
        peer, stranger = self.bob.profile, person("carol").profile
        left, other = (self.stream(sender) for sender in (peer, evolve(stranger, device_id=peer.device_id)))
        self.replace_device()
        self.prune(NOW)
        with self.alice.store.reading() as records:
            places = [bucket[-16:] for bucket, _, _ in records.scan(COUNTERS) if bucket.startswith((STREAM_IN, BASES))]
            self.assertEqual(places, [other.conversation] * 3)
            self.assertEqual([len(gaps.streams_in(records, one.conversation)) for one in (left, other)], [0, 2])
            self.assertEqual([gaps.open_gaps(records, one, 5) for one in (left, other)], [4, 4])

    def stream(self, sender: Profile) -> Content:
        """Alice has a message of somebody, before which four are missing, and has sent something to the same device."""
        conversation = conversation_of(self.alice.profile.identity.public, sender.identity.public)
        ends = (StreamEnd(sender.incarnation - 1, 2, b""),)
        content = msgspec.structs.replace(draft(sender, Kind.TEXT, NOW), conversation=conversation, counter=3, continues=ends)
        with self.alice.store.writing() as records:
            gaps.receive(records, content, None, NOW)
            save(records, COUNTERS, BASES + content.device + conversation, Begin(1, 0))
        return content

    def test_guests(self) -> None:
        """What belongs to a guest's connection is not judged by a list that there is not."""
        with self.alice.store.writing() as records:
            bucket = store.bucket_of("key-abc", bytes(16))
            save(records, store.EPOCHS, bucket, Epoch(bytes(32), 0, 1, NOW, bytes(32)))
            pruning.prune(records, self.alice.profile, NOW)
            self.assertEqual(len(records.scan(store.EPOCHS, bucket)), 1)

    def test_list_not_known(self) -> None:
        """Of a contact whose list is not known nothing goes."""
        before = self.rows(self.alice)
        with self.alice.store.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they have met"
            contacts.put_contact(records, msgspec.structs.replace(contact, devices=None))
        self.prune(NOW)
        self.assertEqual(self.rows(self.alice), before)

    def test_receive_only(self) -> None:
        """
        A session that is neither the one that sends nor the one before it receives for as long as something may come, and goes
        with its keys; the two others stay.
        """
        for _ in range(2):
            self.bob.forget(self.alice)
            self.alice.read(self.bob.send(self.alice, b"anew"))
        self.prune(NOW + DAY)
        self.prune(NOW + DAY + RECEIVE_LIFE - 1)
        self.assertEqual(sorted(sessions_of(self.alice, self.bob)), [1, 2, 3])
        self.prune(NOW + DAY + RECEIVE_LIFE)
        self.assertEqual(sorted(sessions_of(self.alice, self.bob)), [2, 3])
        with self.alice.store.reading() as records:
            self.assertEqual(records.scan(store.SKIPPED), [])
        self.prune(NOW + 10 * RECEIVE_LIFE)
        self.assertEqual(sorted(sessions_of(self.alice, self.bob)), [2, 3])

    def test_sends_again(self) -> None:
        """One that was left and sends again begins anew with its time."""
        with self.alice.store.writing() as records:
            session = store.load_session(records, self.bucket, 1)
            assert session is not None, "it is there"
            store.save_session(records, self.bucket, 1, msgspec.structs.replace(session, left_at=NOW - RECEIVE_LIFE))
        self.prune(NOW)
        self.assertEqual(sessions_of(self.alice, self.bob)[1].left_at, 0)


class MaintenanceTests(WorldCase):
    """A client that connects."""

    def test_at_login(self) -> None:
        """It deletes by itself what is of no more use, but looks for that once a day only."""
        self.alice.send("bob", "hi")
        self.bob.send("alice", "hi")
        bucket = store.bucket_of("alice", b"x" * 16)
        with self.bob.store.inner.writing() as records:
            (known,) = {bucket for bucket, _, _ in records.scan(store.TABLE)}
            store.save_index(records, bucket, store.load_index(records, known))
        self.bob.connect()
        self.assertEqual(self.buckets(), {known, bucket})
        self.world.clock += DAY
        self.bob.connect()
        self.assertEqual(self.buckets(), {known})

    def buckets(self) -> set[bytes]:
        """Of which devices Bob keeps sessions."""
        with self.bob.store.inner.reading() as records:
            return {bucket for bucket, _, _ in records.scan(store.TABLE)}
