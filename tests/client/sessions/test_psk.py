"""Session messages under a key file: epochs, counters, and what a server that is malicious cannot do with them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import pins, psk, store, suites
from securemsg.client.sessions.addresses import DeviceAddress
from securemsg.client.sessions.epochs import Epoch
from securemsg.client.sessions.pins import WrongKey
from securemsg.client.state import contacts
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import load
from securemsg.crypto import keys, primitives
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import length_prefixed
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.errors import LocalProtocolError, Refusal
from securemsg.protocol.envelope import PQXDH, PSK, ContentKey, Envelope, Introduction, KeyHeader, decode_record, encode_record
from securemsg.storage.memory import MemoryProfile
from tests.client.people import NOW, Person, Sender, person, seal_part, seal_with_file

KEY = SharedKey(bytes(range(32)))
OTHER = SharedKey(bytes(32))


def keyed(first: Person, second: Person, key: SharedKey = KEY) -> None:
    """Both choose the key file for each other."""
    first.pin_suite(second, PSK, key.secret)
    second.pin_suite(first, PSK, key.secret)


def friends() -> tuple[Person, Person]:
    """Two people with a key file, who looked each other up."""
    alice, bob = person("alice"), person("bob")
    alice.meet(bob)
    bob.meet(alice)
    keyed(alice, bob)
    return alice, bob


def header_of(post: Sender) -> KeyHeader:
    """The clear header of a message."""
    return decode_record(KeyHeader, decode_record(Envelope, post.own).header)


def with_header(post: Sender, **changes: object) -> Sender:
    """A message whose clear header somebody changed."""
    envelope = decode_record(Envelope, post.own)
    header = msgspec.structs.replace(decode_record(KeyHeader, envelope.header), **changes)
    return evolve(post, own=encode_record(Envelope(encode_record(header), envelope.sealed)))


class EpochCase(SynchronousTestCase):
    """Alice and Bob with a key file."""

    def setUp(self) -> None:
        """Nobody has written yet."""
        self.alice, self.bob = friends()

    def assert_refused(self, reader: Person, post: Sender, *codes: str, now: int = NOW) -> Refusal:
        """This message is refused with one of these codes, and nothing has changed."""
        before = reader.dump()
        error = self.assertRaises(Refusal, reader.read, post, now)
        self.assertIn(error.code, codes)
        self.assertEqual(reader.dump(), before)
        assert isinstance(error, Refusal)
        return error

    def epoch(self, of: Person, towards: Person) -> Epoch:
        """How far somebody came."""
        with of.store.reading() as records:
            epoch = load(records, Epoch, store.EPOCHS, store.bucket_of(towards.name, towards.device.id))
        assert epoch is not None
        return epoch


class SealingTests(EpochCase):
    """What is sent."""

    def test_both_ways(self) -> None:
        """Without a session and without prekeys each reads what the other wrote, in any order."""
        self.bob.shelf.sell_out()
        posts = [self.alice.seal(self.bob, b"%d" % number) for number in range(5)]
        self.assertEqual([self.bob.read(post) for post in reversed(posts)], [b"4", b"3", b"2", b"1", b"0"])
        self.assertEqual(self.alice.read(self.bob.seal(self.alice, b"you too")), b"you too")
        self.assertEqual(self.alice.shelf.claims, {})

    def test_header(self) -> None:
        """The header says suite, version, nonce, epoch and counter; the counter rises by one."""
        headers = [header_of(self.alice.seal(self.bob, b"hi")) for _ in range(3)]
        self.assertEqual({(header.suite, header.version, header.epoch) for header in headers}, {("psk", 1, 1)})
        self.assertEqual(len({header.nonce for header in headers}), 1)
        self.assertEqual([header.counter for header in headers], [1, 2, 3])

    def test_each_its_epoch(self) -> None:
        """Each direction, and each device, has a nonce of its own."""
        carol = person("carol")
        self.alice.meet(carol)
        self.alice.pin_suite(carol, PSK, KEY.secret)
        posts = (self.alice.seal(self.bob, b"hi"), self.bob.seal(self.alice, b"hi"), self.alice.seal(carol, b"hi"))
        self.assertEqual(len({header_of(post).nonce for post in posts}), 3)

    def test_introduction(self) -> None:
        """A sender introduces itself until it was answered, and not any more."""
        first = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertEqual(first.introduction, Introduction(self.alice.profile.identity.public, self.alice.profile.devices))
        self.bob.read(self.alice.seal(self.bob, b"hi"))
        self.assertIsNotNone(header_of(self.alice.seal(self.bob, b"hi")).introduction)
        # Bob has heard Alice, so he need not introduce himself at all.
        answer = self.bob.seal(self.alice, b"hi")
        self.assertIsNone(header_of(answer).introduction)
        self.alice.read(answer)
        self.assertIsNone(header_of(self.alice.seal(self.bob, b"hi")).introduction)

    def test_new_epoch_by_count(self) -> None:
        """After 100 messages comes a new nonce under a higher number, whose counter begins at 1."""
        headers = [header_of(self.alice.seal(self.bob, b"hi")) for _ in range(201)]
        self.assertEqual([header.epoch for header in headers], [1] * 100 + [2] * 100 + [3])
        self.assertEqual(headers[100].counter, 1)
        self.assertEqual(len({header.nonce for header in headers}), 3)
        self.assertEqual(len({(header.nonce, header.counter) for header in headers}), 201)

    def test_new_epoch_by_time(self) -> None:
        """So it is after a day, in whichever direction the clock jumped."""
        first = header_of(self.alice.seal(self.bob, b"hi", NOW))
        self.assertEqual(header_of(self.alice.seal(self.bob, b"hi", NOW + DAY - 1)).nonce, first.nonce)
        later = header_of(self.alice.seal(self.bob, b"hi", NOW + DAY))
        earlier = header_of(self.alice.seal(self.bob, b"hi", NOW))
        self.assertEqual((later.epoch, earlier.epoch), (2, 3))
        self.assertEqual(len({first.nonce, later.nonce, earlier.nonce}), 3)

    def test_new_epoch_for_a_reset(self) -> None:
        """A new session is a new epoch, which introduces its sender again."""
        first = header_of(self.alice.seal(self.bob, b"hi"))
        self.alice.read(self.bob.seal(self.alice, b"hi"))
        self.alice.forget(self.bob)
        second = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertEqual((second.epoch, second.counter), (2, 1))
        self.assertNotEqual(second.nonce, first.nonce)
        self.assertIsNotNone(second.introduction)

    def test_new_epoch_for_another_identity(self) -> None:
        """
        A device whose account has another identity now, which the user accepted, has heard nothing of us: a new epoch begins,
        and we introduce ourselves.
        """
        alice, bob = self.alice.profile, self.bob.profile
        own, before = (
            DeviceAddress("alice", alice.device_id, alice.identity.public),
            DeviceAddress("bob", bob.device_id, bob.identity.public),
        )
        introduction = Introduction(alice.identity.public, alice.devices)
        _, content_key = suites.make_common(b"text", psk.KEY_SIZE)
        headers = []
        with self.alice.store.writing() as records:
            for peer in (before, before, evolve(before, identity=person("bob").profile.identity.public)):
                sealed = seal_with_file(records, KEY, own, peer, content_key, introduction=introduction)
                headers.append(decode_record(KeyHeader, decode_record(Envelope, sealed).header))
                if peer is before:
                    psk.OWN_EPOCHS.note_received(records, before, bytes(32), len(headers), NOW)
        first, second, third = headers
        self.assertEqual((second.nonce, second.introduction), (first.nonce, None))
        self.assertNotEqual(third.nonce, second.nonce)
        self.assertEqual((third.epoch, third.counter, third.introduction), (2, 1, introduction))

    def test_restored_state(self) -> None:
        """A state that was restored begins a new epoch: what the other life counted is not counted again."""
        self.alice.seal(self.bob, b"hi")
        backup = self.alice.store.snapshot()
        used = header_of(self.alice.seal(self.bob, b"hi"))
        self.alice.restore(backup)
        with self.alice.store.writing() as records:
            suites.archive_all(records)
        after = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertNotEqual(after.nonce, used.nonce)

    def test_nothing_alike(self) -> None:
        """Equal texts give a common part and an own part that have nothing in common."""
        one, other = self.alice.seal(self.bob, b"same"), self.alice.seal(self.bob, b"same")
        self.assertNotEqual(one.common[:32], other.common[:32])
        sealed = [decode_record(Envelope, post.own).sealed for post in (one, other)]
        self.assertNotEqual(sealed[0][:32], sealed[1][:32])

    def test_other_content_key(self) -> None:
        """To seal a content key of another suite would be our bug."""
        _, content_key = suites.make_common(b"hi")
        contact = self.alice.contact(self.bob)
        with self.alice.store.writing() as records, self.assertRaises(LocalProtocolError):
            seal_part(records, self.alice.profile, contact, self.bob.device.id, content_key)

    def test_blocked(self) -> None:
        """The key opens no way around an identity that changed: nothing is sent before the user has accepted it."""
        stranger = person("bob")
        self.assertRaises(IdentityChanged, self.alice.meet, stranger)
        with self.alice.store.writing() as records:
            changed = contacts.judge(self.alice.profile, None, stranger.record, NOW, contacts.DIRECTORY)
            known = contacts.get_contact(records, "bob")
            assert known is not None
            contacts.put_contact(records, msgspec.structs.replace(known, changed_to=changed.identity))
        self.assertRaises(IdentityChanged, self.alice.seal, self.bob, b"hi")


class OpeningTests(EpochCase):
    """What comes."""

    def test_stranger(self) -> None:
        """Somebody whose key file we have is known by what it introduces itself with, and not verified by that."""
        carol = person("carol")
        carol.meet(self.bob)
        keyed(carol, self.bob)
        opened = self.bob.open(carol.seal(self.bob, b"hi"))
        self.assertEqual((opened.contact.origin, opened.contact.verified), (contacts.MESSAGE, False))
        self.assertEqual((opened.suite, opened.device_id), ("psk", carol.device.id))
        self.assertEqual(self.bob.contact(carol), opened.contact)

    def test_other_identity(self) -> None:
        """Somebody with the key and the name, and another identity than we know, is noted as that."""
        again = person("alice")
        again.meet(self.bob)
        again.pin_suite(self.bob, PSK, KEY.secret)
        error = self.assertRaises(IdentityChanged, self.bob.read, again.seal(self.bob, b"hi"))
        self.assertEqual(error.contact.changed_to, again.profile.identity.public)

    def test_other_identity_without_key(self) -> None:
        """Without the key nobody can even claim that: the message is wrong before its introduction is looked at."""
        again = person("alice")
        again.meet(self.bob)
        again.pin_suite(self.bob, PSK, OTHER.secret)
        self.assert_refused(self.bob, again.seal(self.bob, b"hi"), "wrong-key")

    def test_without_introduction(self) -> None:
        """Who was never heard of and does not say who it is finds nobody."""
        carol = person("carol")
        carol.meet(self.bob)
        keyed(carol, self.bob)
        self.assert_refused(self.bob, with_header(carol.seal(self.bob, b"hi"), introduction=None), "no-session")

    def test_no_key(self) -> None:
        """From somebody whose key file we have not, the suite is unavailable."""
        carol = person("carol")
        carol.meet(self.bob)
        carol.pin_suite(self.bob, PSK, KEY.secret)
        self.assert_refused(self.bob, carol.seal(self.bob, b"hi"), "suite-unavailable")

    def test_replaced(self) -> None:
        """What was sealed under a file that another one replaced since does not open, until it is chosen again."""
        post = self.alice.seal(self.bob, b"hi")
        self.bob.pin_suite(self.alice, PSK, OTHER.secret)
        self.assert_refused(self.bob, post, "wrong-key")
        answer = self.bob.seal(self.alice, b"answer")
        self.assert_refused(self.alice, answer, "wrong-key")
        self.alice.pin_suite(self.bob, PSK, OTHER.secret)
        self.assertEqual(self.alice.read(answer), b"answer")
        self.bob.pin_suite(self.alice, PSK, KEY.secret)
        self.assertEqual(self.bob.read(post), b"hi")

    def test_given_up(self) -> None:
        """Where the user went back to sessions no file is wrong, there is none."""
        post = self.alice.seal(self.bob, b"hi")
        self.bob.pin_suite(self.alice, PQXDH)
        self.assert_refused(self.bob, post, "suite-unavailable")

    def test_chosen_again_and_used_up(self) -> None:
        """Nothing is opened twice because its file was replaced and chosen again."""
        post = self.alice.seal(self.bob, b"hi")
        self.bob.read(post)
        for key in (OTHER, KEY):
            self.bob.pin_suite(self.alice, PSK, key.secret)
        self.assertIsInstance(self.assert_refused(self.bob, post, "unauthentic"), AlreadyUsed)

    def test_pqxdh_still(self) -> None:
        """A key file for a name does not keep out what comes by sessions."""
        self.alice.pin_suite(self.bob, PQXDH)
        opened = self.bob.open(self.alice.send(self.bob, b"hi"))
        self.assertEqual(opened.suite, "pqxdh")

    def test_peer_changes_nothing(self) -> None:
        """What a peer sends with does not change what we send with."""
        self.alice.pin_suite(self.bob, PQXDH)
        self.bob.read(self.alice.send(self.bob, b"hi"))
        self.assertEqual(header_of(self.bob.seal(self.alice, b"hi")).suite, "psk")


class AttackTests(EpochCase):
    """What is refused, and leaves no trace."""

    def setUp(self) -> None:
        """Both have heard each other; there is a message in hand."""
        super().setUp()
        self.bob.read(self.alice.seal(self.bob, b"hi"))
        self.alice.read(self.bob.seal(self.alice, b"hi"))
        self.post = self.alice.seal(self.bob, b"ho")

    def test_wrong_key(self) -> None:
        """Under another key file nothing opens; under the right one it still does."""
        self.bob.pin_suite(self.alice, PSK, OTHER.secret)
        self.assertIsInstance(self.assert_refused(self.bob, self.post, "wrong-key"), WrongKey)
        self.bob.pin_suite(self.alice, PSK, KEY.secret)
        self.assertEqual(self.bob.read(self.post), b"ho")

    def test_replayed(self) -> None:
        """A nonce and counter are accepted once, for ever."""
        self.bob.read(self.post)
        for _ in range(3):
            self.assertIsInstance(self.assert_refused(self.bob, self.post, "unauthentic"), AlreadyUsed)

    def test_counter_twice(self) -> None:
        """So it is for two different messages that their sender gave one nonce and counter."""
        epoch = self.epoch(self.alice, self.bob)
        with self.alice.store.writing() as records:
            back = msgspec.structs.replace(epoch, counter=epoch.counter - 1)
            records.put(store.EPOCHS, store.bucket_of("bob", self.bob.device.id), msgspec.msgpack.encode(back))
        twin = self.alice.seal(self.bob, b"twin")
        self.assertEqual(header_of(twin), header_of(self.post))
        self.bob.read(self.post)
        self.assertIsInstance(self.assert_refused(self.bob, twin, "unauthentic"), AlreadyUsed)

    def test_counters_per_device(self) -> None:
        """What one sender used up is nobody else's: the same nonce and counter of another account open."""
        carol = person("carol")
        carol.meet(self.bob)
        self.bob.meet(carol)
        keyed(carol, self.bob)
        with carol.store.writing() as records:
            stolen = header_of(self.post)
            epoch = Epoch(stolen.nonce, 1, stolen.counter - 1, NOW, self.bob.profile.identity.public, has_replied=True)
            records.put(store.EPOCHS, store.bucket_of("bob", self.bob.device.id), msgspec.msgpack.encode(epoch))
        self.assertEqual(self.bob.read(carol.seal(self.bob, b"mine")), b"mine")
        self.assertEqual(self.bob.read(self.post), b"ho")

    def test_every_bit(self) -> None:
        """A message that differs in any byte of own or common part is refused."""
        for index in range(len(self.post.own)):
            own = bytearray(self.post.own)
            own[index] ^= 1 << index % 8
            codes = ("wrong-key", "bad-envelope", "suite-unavailable", "unauthentic", "no-session")
            self.assert_refused(self.bob, evolve(self.post, own=bytes(own)), *codes)
        for index in range(len(self.post.common)):
            common = bytearray(self.post.common)
            common[index] ^= 1 << index % 8
            self.assert_refused(self.bob, evolve(self.post, common=bytes(common)), "wrong-key")
        self.assertEqual(self.bob.read(self.post), b"ho")

    def test_header_changed(self) -> None:
        """Every item of the header is authenticated."""
        changes: tuple[dict[str, object], ...] = (
            {"nonce": bytes(32)},
            {"epoch": 2},
            {"epoch": 0},
            {"counter": 77},
            {"introduction": Introduction(self.alice.profile.identity.public, self.alice.profile.devices)},
        )
        for change in changes:
            self.assert_refused(self.bob, with_header(self.post, **change), "wrong-key")
        self.assert_refused(self.bob, with_header(self.post, version=2), "suite-unavailable")

    def test_somebody_elses(self) -> None:
        """A message under the name of another account or device is not theirs, though they have the same key file."""
        carol = person("carol")
        self.bob.meet(carol)
        carol.meet(self.bob)
        keyed(carol, self.bob)
        self.assert_refused(self.bob, evolve(self.post, account="carol", device=carol.device.id), "wrong-key")
        self.assert_refused(self.bob, evolve(self.post, device=carol.device.id), "wrong-key", "unknown-device")
        self.assert_refused(carol, self.post, "suite-unavailable", "no-session", "wrong-key")
        keyed(carol, self.alice)
        carol.meet(self.alice)
        self.assert_refused(carol, self.post, "wrong-key")

    def test_reflected(self) -> None:
        """A message sent back to its sender is refused: directions have different keys."""
        self.assert_refused(self.alice, evolve(self.post, account="bob", device=self.bob.device.id), "wrong-key")

    def test_other_common_part(self) -> None:
        """The common part of another message of the same sender does not fit."""
        other = self.alice.seal(self.bob, b"other")
        self.assert_refused(self.bob, evolve(self.post, common=other.common), "wrong-key")

    def test_lying_sender(self) -> None:
        """A sender that seals the digest of another common part, or a key of another size, is refused."""
        for change in (
            lambda key: msgspec.structs.replace(key, common=bytes(32)),
            lambda key: msgspec.structs.replace(key, key=bytes(64)),
            lambda key: msgspec.structs.replace(key, key=bytes(48)),
        ):
            self.assert_refused(self.bob, self.forged(lambda items: items, change), "unauthentic", "bad-envelope")
        self.assertEqual(self.bob.read(self.forged(lambda items: items, lambda key: key)), b"forged")

    def test_counter_zero(self) -> None:
        """Counters begin at 1, also those of a sender that has the key."""
        self.assert_refused(self.bob, self.forged(lambda items: items, lambda key: key, counter=0), "bad-envelope")

    def forged(
        self,
        alter: Callable[[list[bytes]], list[bytes]],
        change: Callable[[ContentKey], ContentKey],
        counter: int = 1,
    ) -> Sender:
        """
        A message made from the specification alone, by whoever holds the key, with something changed in what it is tied to or
        in what it says.
        """
        common, content_key = suites.make_common(b"forged", psk.KEY_SIZE)
        nonce = keys.nonce()
        header = encode_record(KeyHeader("psk", 1, nonce, 9, counter, None))
        number = (9).to_bytes(8, "big")
        alice, bob = self.alice.profile, self.bob.profile
        message_key = KEY.content_key(nonce, b"alice", alice.device_id, b"bob", bob.device_id, number)
        items = [
            *(b"securemsg/1 key message", b"psk", (1).to_bytes(4, "big")),
            *(b"alice", alice.device_id, alice.identity.public),
            *(b"bob", bob.device_id, bob.identity.public),
            header,
            content_key.common,
        ]
        associated = length_prefixed(*alter(items))
        sealed = primitives.a128cbc_hs256_encrypt(message_key, encode_record(change(content_key)), associated)
        return Sender("alice", alice.device_id, encode_record(Envelope(header, sealed)), common)

    def test_no_connection(self) -> None:
        """Between accounts there are no connections: what is sealed without an epoch is refused, key or no key."""
        alice, bob = self.alice.profile, self.bob.profile
        sender, own_end = (DeviceAddress(profile.name, profile.device_id, profile.identity.public) for profile in (alice, bob))
        common, content_key = suites.make_common(b"text", psk.KEY_SIZE)
        with MemoryProfile().writing() as records:
            own = seal_with_file(records, KEY, sender, own_end, content_key, connection=keys.nonce())
        self.assert_refused(self.bob, Sender("alice", alice.device_id, own, common), "wrong-key")

    def test_counters_of_each_device(self) -> None:
        """Two devices of one account, or two accounts, may use one nonce: neither uses up the other's counters."""
        identity, bob = self.alice.profile.identity.public, self.bob.profile
        own = DeviceAddress("bob", bob.device_id, bob.identity.public)
        _, content_key = suites.make_common(b"text", psk.KEY_SIZE)
        nonce = keys.nonce()
        for account, device in (("alice", b"1" * 16), ("alice", b"2" * 16), ("carol", b"1" * 16)):
            sender = DeviceAddress(account, device, identity)
            with MemoryProfile().writing() as records:
                envelope = decode_record(Envelope, seal_with_file(records, KEY, sender, own, content_key, connection=nonce))
            header = decode_record(KeyHeader, envelope.header)
            with self.bob.store.writing() as records:
                opened = psk.decipher(records, KEY, sender, own, header, envelope, content_key.common)
                self.assertEqual(opened, content_key)
                psk.OWN_EPOCHS.note_received(records, sender, header.nonce, header.counter, NOW)
                arguments = (records, KEY, sender, own, header, envelope, content_key.common)
                self.assertRaises(AlreadyUsed, psk.decipher, *arguments)

    def test_each_item(self) -> None:
        """A message is tied to every item of the associated data, each alone, and to nothing else."""
        self.assertEqual(self.bob.read(self.forged(lambda items: items, lambda key: key)), b"forged")
        for index in range(11):

            def alter(items: list[bytes], index: int = index) -> list[bytes]:
                items[index] = bytes([items[index][0] ^ 1]) + items[index][1:]
                return items

            self.assert_refused(self.bob, self.forged(alter, lambda key: key), "wrong-key")

    def test_removed_device(self) -> None:
        """A device that is not on the list of its account any more is refused, key or no key."""
        with self.bob.store.writing() as records:
            known = contacts.get_contact(records, "alice")
            assert known is not None
            contacts.put_contact(records, msgspec.structs.replace(known, devices=person("alice").profile.devices))
        self.assert_refused(self.bob, self.post, "unknown-device")

    def test_no_secret_in_representation(self) -> None:
        """The choice of a key file shows nothing of it in logs."""
        shown = repr(pins.Chosen(PSK, KEY.secret))
        self.assertNotIn(repr(KEY.secret)[2:-1], shown)
        self.assertNotIn(KEY.secret.hex(), shown)
