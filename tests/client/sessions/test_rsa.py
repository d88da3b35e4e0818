"""Session messages under RSA keys: epochs, their transports, and what a server that is malicious cannot do with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from attrs import evolve

from securemsg.client.sessions import budgets, pins, rsa, store, suites
from securemsg.client.sessions.addresses import DeviceAddress
from securemsg.client.sessions.epochs import RSA_OPENED, Epoch
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.conversations import direct, lobby
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import META, load, save
from securemsg.crypto import primitives
from securemsg.crypto.keys import length_prefixed, sha256
from securemsg.crypto.ratchet import AlreadyUsed
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import LocalProtocolError, Refusal, Unauthentic
from securemsg.protocol.envelope import (
    PQXDH,
    PSK,
    RSA,
    ContentKey,
    Envelope,
    Introduction,
    RsaHeader,
    Transport,
    decode_record,
    encode_record,
)
from tests.client.people import NOW, Person, Sender, person, seal_part
from tests.client.sessions.test_psk import EpochCase
from tests.rsakeys import OTHER_KEY, RSA_KEY

SIZES = {"a256": 64, "a128": 32}


def header_of(post: Sender) -> RsaHeader:
    """The clear header of a message."""
    return decode_record(RsaHeader, decode_record(Envelope, post.own).header)


def with_header(post: Sender, **changes: object) -> Sender:
    """A message whose clear header somebody changed."""
    envelope = decode_record(Envelope, post.own)
    header = msgspec.structs.replace(decode_record(RsaHeader, envelope.header), **changes)
    return evolve(post, own=encode_record(Envelope(encode_record(header), envelope.sealed)))


def friends() -> tuple[Person, Person]:
    """Two people with RSA keys, who looked each other up and chose the suite."""
    alice, bob = person("alice"), person("bob")
    alice.have_rsa_key(OTHER_KEY)
    bob.have_rsa_key(RSA_KEY)
    alice.meet(bob)
    bob.meet(alice)
    alice.pin_suite(bob, RSA)
    bob.pin_suite(alice, RSA)
    return alice, bob


class RsaCase(EpochCase):
    """Alice and Bob with RSA keys."""

    def setUp(self) -> None:
        """Nobody has written yet."""
        self.alice, self.bob = friends()

    def unwrapped(self, charged: bytes = b"alice") -> int:
        """How many secrets of epochs Bob has decrypted for somebody within the hour."""
        with self.bob.store.reading() as records:
            budget = load(records, budgets.Budget, META, budgets.BUDGETS + charged)
        return 0 if budget is None else budget.unwrapped

    def refused(self, post: Sender) -> Refusal:
        """Bob refuses a message, and commits what that has changed: the budget at most."""
        before = self.bob.dump()
        with self.bob.store.writing() as records:
            arguments = (records, self.bob.profile, post.account, post.device, post.own, sha256(post.common), NOW)
            error = self.assertRaises(Refusal, suites.open_envelope, *arguments)
        self.assertEqual(self.bob.dump(), before)
        assert isinstance(error, Refusal)
        return error


class SealingTests(RsaCase):
    """What is sent."""

    def test_both_ways(self) -> None:
        """Without a session and without prekeys each reads what the other wrote, in any order, with either cipher."""
        self.bob.shelf.sell_out()
        for cipher in SIZES:
            self.alice.pin_suite(self.bob, RSA, cipher=cipher)
            posts = [self.alice.seal(self.bob, b"%d" % number) for number in range(5)]
            self.assertEqual({header_of(post).key_size for post in posts}, {SIZES[cipher]})
            self.assertEqual([self.bob.read(post) for post in reversed(posts)], [b"4", b"3", b"2", b"1", b"0"])
            self.assertEqual(self.alice.read(self.bob.seal(self.alice, b"you too")), b"you too")
        self.assertEqual(self.alice.shelf.claims, {})

    def test_header(self) -> None:
        """The header says suite, version, epoch and counter; the transport of the epoch stands in each."""
        headers = [header_of(self.alice.seal(self.bob, b"hi")) for _ in range(3)]
        said = {(header.suite, header.version, header.epoch, header.key_size) for header in headers}
        self.assertEqual(said, {("rsa", 1, NOW, 64)})
        self.assertEqual([header.counter for header in headers], [1, 2, 3])
        self.assertEqual(len({header.transport.ciphertext for header in headers}), 1)

    def test_introduction(self) -> None:
        """A sender introduces itself until it was answered, and not any more."""
        first = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertEqual(first.introduction, Introduction(self.alice.profile.identity.public, self.alice.profile.devices))
        self.bob.read(self.alice.seal(self.bob, b"hi"))
        answer = self.bob.seal(self.alice, b"hi")
        self.assertIsNone(header_of(answer).introduction)
        self.alice.read(answer)
        self.assertIsNone(header_of(self.alice.seal(self.bob, b"hi")).introduction)

    def test_new_epoch_by_count(self) -> None:
        """After 100 messages comes a new secret under a higher number, whose counter begins at 1."""
        posts = [self.alice.seal(self.bob, b"hi") for _ in range(201)]
        headers = [header_of(post) for post in posts]
        self.assertEqual([header.epoch - NOW for header in headers], [0] * 100 + [1] * 100 + [2])
        self.assertEqual(headers[100].counter, 1)
        self.assertEqual(len({header.transport.ciphertext for header in headers}), 3)
        for post in posts:
            self.assertEqual(self.bob.read(post), b"hi")
        self.assertEqual(self.unwrapped(), 3)

    def test_new_epoch_by_time(self) -> None:
        """So it is after a day, in whichever direction the clock jumped, and the numbers rise."""
        first = header_of(self.alice.seal(self.bob, b"hi", NOW))
        self.assertEqual(header_of(self.alice.seal(self.bob, b"hi", NOW + DAY - 1)).transport, first.transport)
        later = header_of(self.alice.seal(self.bob, b"hi", NOW + DAY))
        earlier = header_of(self.alice.seal(self.bob, b"hi", NOW))
        self.assertEqual((later.epoch, earlier.epoch), (NOW + DAY, NOW + DAY + 1))

    def test_new_epoch_for_a_reset(self) -> None:
        """A new session is a new epoch, which introduces its sender again."""
        first = header_of(self.alice.seal(self.bob, b"hi"))
        self.alice.read(self.bob.seal(self.alice, b"hi"))
        self.alice.forget(self.bob)
        second = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertEqual((second.epoch, second.counter), (first.epoch + 1, 1))
        self.assertIsNotNone(second.introduction)

    def test_new_epoch_for_another_key(self) -> None:
        """Where the device has another RSA key a new epoch begins, under that."""
        first = header_of(self.alice.seal(self.bob, b"hi"))
        listing = self.bob.profile.listing.devices
        with self.bob.store.writing() as records:
            records.delete("profile", b"rsa")
        self.bob.have_rsa_key(OTHER_KEY)
        self.assertNotEqual(self.bob.profile.listing.devices, listing)
        self.alice.meet(self.bob)
        second = self.alice.seal(self.bob, b"hi")
        self.assertGreater(header_of(second).epoch, first.epoch)
        self.assertEqual(self.bob.read(second), b"hi")

    def test_restored_state(self) -> None:
        """
        A state that was put back goes on in an epoch above those that it used meanwhile, though nobody tells it of them: they
        are numbered by the clock.
        """
        backup = self.alice.store.snapshot()
        for _ in range(150):
            self.bob.read(self.alice.seal(self.bob, b"hi"))
        self.alice.restore(backup)
        self.assertEqual(self.bob.read(self.alice.seal(self.bob, b"ho", NOW + 60), NOW + 60), b"ho")

    def test_restored_and_told(self) -> None:
        """Once it knows, it begins an epoch also where one was going on."""
        self.alice.seal(self.bob, b"hi")
        backup = self.alice.store.snapshot()
        used = header_of(self.alice.seal(self.bob, b"hi"))
        self.alice.restore(backup)
        with self.alice.store.writing() as records:
            suites.archive_all(records)
        after = header_of(self.alice.seal(self.bob, b"hi"))
        self.assertNotEqual(after.transport.ciphertext, used.transport.ciphertext)

    def test_other_content_key(self) -> None:
        """To seal a content key of another cipher would be our bug."""
        _, content_key = suites.make_common(b"hi", 32)
        contact = self.alice.contact(self.bob)
        with self.alice.store.writing() as records, self.assertRaises(LocalProtocolError):
            seal_part(records, self.alice.profile, contact, self.bob.device.id, content_key)

    def test_no_rsa_key(self) -> None:
        """For somebody without an RSA key the suite is unavailable; once there is one, the message goes out."""
        carol = person("carol")
        self.alice.meet(carol)
        self.alice.pin_suite(carol, RSA)
        error = self.assertRaises(Refusal, self.alice.seal, carol, b"hi")
        self.assertEqual((type(error), error.code), (Refusal, "suite-unavailable"))
        carol.have_rsa_key(RSA_KEY)
        self.alice.meet(carol)
        self.assertEqual(carol.read(self.alice.seal(carol, b"hi")), b"hi")

    def test_no_other_suite(self) -> None:
        """Nothing is sent in another suite meanwhile, though there is a session."""
        carol = person("carol")
        self.alice.meet(carol)
        self.alice.send(carol, b"hi")
        self.alice.pin_suite(carol, RSA)
        self.assertEqual(self.assertRaises(Refusal, self.alice.send, carol, b"hi").code, "suite-unavailable")

    def test_large_keys(self) -> None:
        """A device may have a key of 4096 bits."""
        carol = person("carol")
        carol.have_rsa_key(RsaKey.generate(4096))
        self.alice.meet(carol)
        self.alice.pin_suite(carol, RSA)
        post = self.alice.seal(carol, b"hi")
        self.assertEqual(len(header_of(post).transport.ciphertext), 512)
        self.assertEqual(carol.read(post), b"hi")


class OpeningTests(RsaCase):
    """What comes."""

    def test_any_first(self) -> None:
        """Whichever message of an epoch comes first opens, without the one before it, and the secret is decrypted once."""
        posts = [self.alice.seal(self.bob, b"%d" % number) for number in range(5)]
        for number in (3, 4, 0, 2):
            self.assertEqual(self.bob.read(posts[number]), b"%d" % number)
        self.assertEqual(self.unwrapped(), 1)

    def test_late(self) -> None:
        """What belongs to the epoch before the last, and was opened in it before, may come late."""
        first, second = self.alice.seal(self.bob, b"one"), self.alice.seal(self.bob, b"two")
        self.bob.read(first)
        self.alice.forget(self.bob)
        self.bob.read(self.alice.seal(self.bob, b"three"))
        self.assertEqual(self.bob.read(second), b"two")

    def test_stranger(self) -> None:
        """Somebody whom we do not know is known by what it introduces itself with, and not verified by that."""
        carol = person("carol")
        carol.meet(self.bob)
        carol.pin_suite(self.bob, RSA)
        opened = self.bob.open(carol.seal(self.bob, b"hi"))
        self.assertEqual((opened.contact.origin, opened.contact.verified, opened.suite), ("message", False, "rsa"))
        self.assertEqual(self.bob.contact(carol), opened.contact)

    def test_without_introduction(self) -> None:
        """Who was never heard of and does not say who it is finds nobody."""
        carol = person("carol")
        carol.meet(self.bob)
        carol.pin_suite(self.bob, RSA)
        self.assert_refused(self.bob, with_header(carol.seal(self.bob, b"hi"), introduction=None), "no-session")

    def test_other_identity(self) -> None:
        """Somebody with the name and another identity than we know is noted as that."""
        again = person("alice")
        again.meet(self.bob)
        again.pin_suite(self.bob, RSA)
        error = self.assertRaises(IdentityChanged, self.bob.read, again.seal(self.bob, b"hi"))
        self.assertEqual(error.contact.changed_to, again.profile.identity.public)

    def test_only_direct(self) -> None:
        """It is a suite of conversations between two accounts: a guest, or the lobby, has no RSA key."""
        post = self.alice.seal(self.bob, b"hi")
        envelope, address = decode_record(Envelope, post.own), DeviceAddress(post.account, post.device, b"")
        rest = (address, envelope, header_of(post), sha256(post.common), NOW)
        with self.bob.store.writing() as records:
            self.assertRaises(Unauthentic, rsa.open_part, records, self.bob.profile, lobby("alice"), *rest)
            rsa.open_part(records, self.bob.profile, direct("alice"), *rest)

    def test_epochs_of_another(self) -> None:
        """Epochs that were opened of somebody who had the name before do not stand above those of the one who has it now."""
        epoch = rsa.OpenedEpoch(bytes(32), NOW + 1000, bytes(32))
        bucket = store.bucket_of("alice", self.alice.device.id)
        with self.bob.store.writing() as records:
            save(records, store.EPOCHS, bucket, rsa.OpenedEpochs(bytes(32), (epoch,)), RSA_OPENED)
        self.assertEqual(self.bob.read(self.alice.seal(self.bob, b"hi")), b"hi")

    def test_whatever_is_pinned(self) -> None:
        """It opens whatever we have chosen, and what we send stays in that."""
        for suite, key in ((PQXDH, b""), (PSK, bytes(32))):
            self.bob.pin_suite(self.alice, suite, key)
            self.assertEqual(self.bob.open(self.alice.seal(self.bob, b"hi")).suite, "rsa")
            with self.bob.store.reading() as records:
                self.assertEqual(pins.pinned_suite(records, self.bob.profile.conversation("alice")).suite, suite)

    def test_restored_recipient(self) -> None:
        """A recipient whose state was put back opens what comes then, because it has the key."""
        backup = self.bob.store.snapshot()
        self.bob.read(self.alice.seal(self.bob, b"one"))
        self.bob.restore(backup)
        self.assertEqual(self.bob.read(self.alice.seal(self.bob, b"two")), b"two")

    def test_no_key_any_more(self) -> None:
        """Without our RSA key nothing opens, and a reset asks for it in another way."""
        post = self.alice.seal(self.bob, b"hi")
        with self.bob.store.writing() as records:
            records.delete("profile", b"rsa")
        self.assert_refused(self.bob, post, "unauthentic")


class AttackTests(RsaCase):
    """What is refused, and leaves no trace."""

    def setUp(self) -> None:
        """Both have heard each other; there is a message in hand."""
        super().setUp()
        self.bob.read(self.alice.seal(self.bob, b"hi"))
        self.alice.read(self.bob.seal(self.alice, b"hi"))
        self.post = self.alice.seal(self.bob, b"ho")

    def anew(self, text: bytes = b"anew") -> Sender:
        """A message of Alice's in a new epoch."""
        self.alice.forget(self.bob)
        return self.alice.seal(self.bob, text)

    def test_replayed(self) -> None:
        """An epoch and counter are accepted once, for ever."""
        self.bob.read(self.post)
        for _ in range(3):
            self.assertIsInstance(self.assert_refused(self.bob, self.post, "unauthentic"), AlreadyUsed)

    def test_counter_twice(self) -> None:
        """So it is for two different messages that their sender gave one epoch and counter."""
        bucket = store.bucket_of("bob", self.bob.device.id)
        with self.alice.store.writing() as records:
            epoch = rsa.OWN_EPOCHS.last(records, bucket)
            assert epoch is not None
            rsa.OWN_EPOCHS.keep(records, bucket, msgspec.structs.replace(epoch, counter=epoch.counter - 1))
        twin = self.alice.seal(self.bob, b"twin")
        self.assertEqual(header_of(twin), header_of(self.post))
        self.bob.read(self.post)
        self.assertIsInstance(self.assert_refused(self.bob, twin, "unauthentic"), AlreadyUsed)

    def test_lower_epoch(self) -> None:
        """An epoch in which nothing was opened is refused once a later one was: its transport came too late."""
        late = self.anew(b"late")
        self.bob.read(self.anew(b"later"))
        self.assert_refused(self.bob, late, "unauthentic")

    def test_replayed_transport(self) -> None:
        """So is one that was forgotten since: its transport begins nothing again."""
        old = self.alice.seal(self.bob, b"old")
        for _ in range(rsa.KEPT):
            self.bob.read(self.anew())
        self.assert_refused(self.bob, old, "unauthentic")
        self.assert_refused(self.bob, self.post, "unauthentic")

    def test_same_number(self) -> None:
        """And so is another transport under the number of the last epoch."""
        last = header_of(self.post).epoch
        self.assert_refused(self.bob, self.forged(epoch=last), "unauthentic")
        self.assertEqual(self.bob.read(self.forged(epoch=last + 1)), b"forged")

    def test_every_bit(self) -> None:
        """A message that differs in any byte of own or common part is refused, in a known epoch and in a new one."""
        for post, step in ((self.post, 1), (self.anew(), 5)):
            for index in range(0, len(post.own), step):
                own = bytearray(post.own)
                own[index] ^= 1 << index % 8
                codes = ("bad-envelope", "suite-unavailable", "unauthentic", "no-session")
                self.assert_refused(self.bob, evolve(post, own=bytes(own)), *codes)
            for index in range(0, len(post.common), step):
                common = bytearray(post.common)
                common[index] ^= 1 << index % 8
                self.assert_refused(self.bob, evolve(post, common=bytes(common)), "unauthentic")
            self.assertIn(self.bob.read(post), (b"ho", b"anew"))

    def test_header_changed(self) -> None:
        """Every item of the header is authenticated."""
        transport = header_of(self.post).transport
        changes: tuple[dict[str, object], ...] = (
            {"epoch": header_of(self.post).epoch + 1},
            {"counter": 77},
            {"key_size": 32},
            {"transport": msgspec.structs.replace(transport, signature=bytes(64))},
            {"transport": msgspec.structs.replace(transport, ciphertext=bytes(256))},
            {"introduction": Introduction(self.alice.profile.identity.public, self.alice.profile.devices)},
        )
        for change in changes:
            self.assert_refused(self.bob, with_header(self.post, **change), "unauthentic")
        self.assert_refused(self.bob, with_header(self.post, version=2), "suite-unavailable")
        self.assert_refused(self.bob, with_header(self.post, key_size=48), "bad-envelope")
        self.assert_refused(self.bob, with_header(self.post, counter=0), "bad-envelope")

    def test_somebody_elses(self) -> None:
        """A message under the name of another account or device is not theirs, nor is one to somebody with the same key."""
        carol = person("carol")
        carol.have_rsa_key(RSA_KEY)
        for one, other in ((self.bob, carol), (carol, self.bob), (carol, self.alice)):
            one.meet(other)
        self.alice.read(self.bob.seal(self.alice, b"hi"))
        post = self.alice.seal(self.bob, b"hi")
        self.assertIsNone(header_of(post).introduction)
        self.assert_refused(self.bob, evolve(post, account="carol", device=carol.device.id), "unauthentic")
        self.assert_refused(self.bob, evolve(post, device=carol.device.id), "unknown-device")
        self.assert_refused(carol, post, "unauthentic")

    def test_reflected(self) -> None:
        """A message sent back to its sender is refused, though both have one RSA key."""
        post = evolve(self.post, account="bob", device=self.bob.device.id)
        self.assert_refused(self.alice, post, "unauthentic")

    def test_unsigned(self) -> None:
        """Whoever has no key of the sender's device makes no epoch for it, and the RSA key is not used at all."""
        self.assertEqual(self.refused(self.forged(signer=person("mallory"))).code, "unauthentic")
        self.assertEqual(self.unwrapped(), 1)
        self.refused(self.forged(sealed=bytes(144)))
        self.assertEqual(self.unwrapped(), 2)

    def test_each_item(self) -> None:
        """Signature, key and message are each tied to every item of what they are for, alone, and to nothing else."""
        self.assertEqual(self.bob.read(self.forged(epoch=NOW + 9)), b"forged")

        def alter(items: list[bytes], index: int) -> list[bytes]:
            items = list(items)
            items[index] = bytes([items[index][0] ^ 1]) + items[index][1:]
            return items

        for index in range(11):
            change = partial(alter, index=index)
            for post in (self.forged(signed=change), self.forged(derived=change), self.forged(associated=change)):
                self.assertEqual(self.refused(post).code, "unauthentic")

    def test_lying_sender(self) -> None:
        """A sender that seals the digest of another common part, or a key of another size, is refused."""
        for change in (
            lambda key: msgspec.structs.replace(key, common=bytes(32)),
            lambda key: msgspec.structs.replace(key, key=bytes(32)),
            lambda key: msgspec.structs.replace(key, key=bytes(48)),
        ):
            self.assertIn(self.refused(self.forged(change=change)).code, ("unauthentic", "bad-envelope"))

    def test_no_secret_inside(self) -> None:
        """
        A ciphertext that holds no secret, or one of another size, is refused like a message whose MAC is wrong: with the same
        code and the same words, after the same work, and it leaves as little.
        """
        cases = {
            "padding": self.forged(ciphertext=bytes(255) + b"\x01"),
            "size": self.forged(secret=bytes(31)),
            "mac": self.forged(sealed=bytes(48 + 96)),
        }
        found = set()
        for post in cases.values():
            before = self.unwrapped()
            error = self.refused(post)
            found.add((type(error), error.code, str(error), self.unwrapped() - before))
        self.assertEqual([(code, more) for _, code, _, more in found], [("unauthentic", 1)])

    def test_budget(self) -> None:
        """
        An account may have so many secrets decrypted in an hour, whether anything came of it or not. Then it waits, also with
        what would open, and what belongs to an epoch that is known does not.
        """
        with self.bob.store.writing() as records:
            full = budgets.Budget(unwrapping_hour=NOW, unwrapped=budgets.MAX_UNWRAPPED)
            records.put(META, budgets.BUDGETS + b"alice", msgspec.msgpack.encode(full))
        self.assertEqual(self.bob.read(self.post), b"ho")
        post = self.anew()
        self.assert_refused(self.bob, post, "too-many-sessions")
        self.assertEqual(self.bob.read(post, NOW + budgets.HOUR), b"anew")

    def test_budget_of_strangers(self) -> None:
        """All strangers together have one: a server can make up as many as it likes."""
        for name in ("carol", "dave"):
            stranger = person(name)
            stranger.meet(self.bob)
            stranger.pin_suite(self.bob, RSA)
            post = stranger.seal(self.bob, b"hi")
            self.refused(evolve(post, common=bytes(len(post.common))))
        self.assertEqual((self.unwrapped(b""), self.unwrapped(b"carol")), (2, 0))

    def test_no_secret_in_representation(self) -> None:
        """An epoch shows nothing of its secret in logs."""
        with self.alice.store.reading() as records:
            epoch = rsa.OWN_EPOCHS.last(records, store.bucket_of("bob", self.bob.device.id))
        assert isinstance(epoch, Epoch)
        self.assertEqual(repr(epoch), "<Epoch>")
        self.assertEqual(repr(rsa.OpenedEpoch(bytes(32), 1, bytes(32))), "<OpenedEpoch>")

    def forged(
        self,
        *,
        epoch: int = NOW + 10,
        signer: Person | None = None,
        secret: bytes = bytes(range(32)),
        ciphertext: bytes = b"",
        sealed: bytes = b"",
        signed: Callable[[list[bytes]], list[bytes]] = lambda items: items,
        derived: Callable[[list[bytes]], list[bytes]] = lambda items: items,
        associated: Callable[[list[bytes]], list[bytes]] = lambda items: items,
        change: Callable[[ContentKey], ContentKey] = lambda key: key,
    ) -> Sender:
        """
        A message made from the specification alone, by whoever has Alice's device, with something changed in what its parts are
        tied to or in what it says.
        """
        alice, bob = self.alice.profile, self.bob.profile
        ciphertext = ciphertext or primitives.rsa_oaep_encrypt(RSA_KEY.public, secret)
        ends = [b"alice", alice.device_id, alice.identity.public, b"bob", bob.device_id, bob.identity.public]
        items = [b"rsa", (1).to_bytes(4, "big"), *ends, sha256(RSA_KEY.public), epoch.to_bytes(8, "big"), ciphertext]
        signature = (signer or self.alice).profile.device_key.sign(b"securemsg/1 rsa transport", *signed(items))
        header = encode_record(RsaHeader("rsa", 1, epoch, 1, 64, Transport(ciphertext, signature), None))
        info = length_prefixed(b"securemsg/1 rsa epoch", *derived(items), (64).to_bytes(4, "big"))
        key = primitives.hkdf(secret, salt=b"", info=info, length=64)
        common, content_key = suites.make_common(b"forged")
        tied = [b"securemsg/1 rsa message", b"rsa", (1).to_bytes(4, "big"), *ends, header, content_key.common]
        sealed = sealed or primitives.a256cbc_hs512_encrypt(
            key, encode_record(change(content_key)), length_prefixed(*associated(tied))
        )
        return Sender("alice", alice.device_id, encode_record(Envelope(header, sealed)), common)
