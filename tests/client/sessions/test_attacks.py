"""
What a malicious server cannot do with session messages and bundles. Each attempt is refused, and nothing has changed after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import suites
from securemsg.client.sessions.prekeys import ID_SHIFT
from securemsg.client.state import contacts
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.profile import create_profile, resigned
from securemsg.crypto import pqxdh
from securemsg.crypto.keys import SIGNED_PREKEY, AgreementKey, SigningKey
from securemsg.crypto.pqxdh import PublicPrekey
from securemsg.crypto.ratchet import MAX_JUMP, AlreadyUsed
from securemsg.errors import Refusal, Unauthentic
from securemsg.protocol.devices import DEVICE_LIST_LABEL, encode_device_list
from securemsg.protocol.envelope import Envelope, EnvelopeHeader, PrekeyHeader, decode_record, encode_record
from securemsg.protocol.messages import Bundle, Prekey, SignedDeviceList
from securemsg.storage.memory import MemoryProfile
from tests.client.people import LINK, NOW, Person, Sender, friends, person, seal_part


def with_header(post: Sender, change: Callable[[EnvelopeHeader], EnvelopeHeader]) -> Sender:
    """A message whose clear header somebody changed."""
    envelope = decode_record(Envelope, post.own)
    header = encode_record(change(decode_record(EnvelopeHeader, envelope.header)))
    return evolve(post, own=encode_record(Envelope(header, envelope.sealed)))


def with_step(post: Sender, **changes: object) -> Sender:
    """A message with other fields in its clear header."""
    return with_header(post, lambda header: msgspec.structs.replace(header, **changes))


def with_opening(post: Sender, change: Callable[[PrekeyHeader], PrekeyHeader]) -> Sender:
    """A message whose prekey header somebody changed."""

    def changed(header: EnvelopeHeader) -> EnvelopeHeader:
        assert header.prekey is not None
        return msgspec.structs.replace(header, prekey=change(header.prekey))

    return with_header(post, changed)


def with_other_prekeys(post: Sender, change: Mapping[str, int | None]) -> Sender:
    """A message that names other prekeys than it was made with."""
    return with_opening(post, lambda opening: msgspec.structs.replace(opening, **change))


def on_the_wire(public: PublicPrekey) -> Prekey:
    """A prekey as bundles carry it."""
    return Prekey(public.id, public.key, public.signature)


class AttackTests(SynchronousTestCase):
    """What every attack has in common."""

    def setUp(self) -> None:
        """Alice has written to Bob, who has not read it; and has another message in hand."""
        self.alice, self.bob = friends()
        self.first = self.alice.send(self.bob, b"hi")
        self.second = self.alice.send(self.bob, b"ho")

    def assert_refused(self, reader: Person, post: Sender, *codes: str) -> Refusal:
        """This message is refused with one of these codes, and nothing has changed."""
        before = reader.dump()
        error = self.assertRaises(Refusal, reader.read, post)
        self.assertIn(error.code, codes)
        self.assertEqual(reader.dump(), before)
        assert isinstance(error, Refusal)
        return error

    def converse(self) -> None:
        """Bring the session to where nobody repeats the opening."""
        self.bob.read(self.first)
        self.bob.read(self.second)
        self.alice.read(self.bob.send(self.alice, b"hi"))
        self.bob.read(self.alice.send(self.bob, b"ha"))


class EnvelopeTests(AttackTests):
    """Bytes of a session message."""

    def test_replayed(self) -> None:
        """A message cannot be delivered twice, be it the first or a later one."""
        self.converse()
        later = self.alice.send(self.bob, b"later")
        self.bob.read(later)
        for post in (self.first, self.second):
            self.assert_refused(self.bob, post, "unauthentic")
        self.assertIsInstance(self.assert_refused(self.bob, later, "unauthentic"), AlreadyUsed)

    def test_reflected(self) -> None:
        """A message cannot be sent back to its author as if from its recipient."""
        self.assert_refused(self.alice, evolve(self.first, account="bob", device=self.bob.device.id), "bad-device-list")
        self.converse()
        post = self.alice.send(self.bob, b"later")
        self.assert_refused(self.alice, evolve(post, account="bob", device=self.bob.device.id), "unauthentic")
        answer = self.bob.send(self.alice, b"answer")
        self.assert_refused(self.bob, evolve(answer, account="alice", device=self.alice.device.id), "unauthentic")

    def test_back_as_our_own(self) -> None:
        """A message cannot be sent back to its author as if from the author."""
        self.assert_refused(self.alice, self.first, "own-account")
        self.converse()
        self.assert_refused(self.alice, self.alice.send(self.bob, b"later"), "no-session")

    def test_to_another_account(self) -> None:
        """A message cannot be redirected to somebody else."""
        carol = person("carol")
        carol.meet(self.alice)
        self.assert_refused(carol, self.first, "unauthentic", "unknown-prekey")
        carol.read(self.alice_to(carol))
        self.converse()
        self.assert_refused(carol, self.alice.send(self.bob, b"later"), "unauthentic")

    def alice_to(self, other: Person) -> Sender:
        """A message from Alice to somebody she did not know."""
        self.alice.meet(other)
        return self.alice.send(other, b"hi")

    def test_from_another_account(self) -> None:
        """A message cannot be passed off as another account's."""
        carol = person("carol")
        self.bob.meet(carol)
        carol.meet(self.bob)
        forged = evolve(self.first, account="carol", device=carol.device.id)
        self.assert_refused(self.bob, forged, "identity-changed", "bad-device-list")
        self.bob.read(carol.send(self.bob, b"hi"))
        self.converse()
        later = self.alice.send(self.bob, b"later")
        self.assert_refused(self.bob, evolve(later, account="carol", device=carol.device.id), "unauthentic")

    def test_from_another_device(self) -> None:
        """A message cannot be passed off as another device's, on the list or not."""
        self.assert_refused(self.bob, evolve(self.first, device=bytes(16)), "unknown-device")
        self.converse()
        later = self.alice.send(self.bob, b"later")
        self.assert_refused(self.bob, evolve(later, device=bytes(16)), "unknown-device")

    def test_from_another_device_on_the_list(self) -> None:
        """A message cannot be passed off as that of another device of the same account."""
        alice = self.alice.profile
        other = msgspec.structs.replace(
            self.alice.device,
            id=b"d" * 16,
            signing_key=SigningKey.generate().public,
            agreement_key=AgreementKey.generate().public,
        )
        listing = msgspec.structs.replace(alice.listing, devices=[*alice.listing.devices, other])
        body = encode_device_list(listing)
        devices = SignedDeviceList(body, alice.identity.sign(DEVICE_LIST_LABEL, body))
        two = Person(evolve(alice, devices=devices), self.alice.store)
        bob = person("bob")
        two.store = MemoryProfile()
        two.meet(bob)
        post = two.send(bob, b"hi")
        self.assert_refused(bob, evolve(post, device=other.id), "unauthentic")
        self.assertEqual(bob.read(post), b"hi")

    def test_with_another_common_part(self) -> None:
        """An own part opens beside no other common part than its own."""
        self.assert_refused(self.bob, evolve(self.second, common=self.first.common), "unauthentic")
        self.converse()
        one, other = self.alice.send(self.bob, b"1"), self.alice.send(self.bob, b"2")
        self.assert_refused(self.bob, evolve(one, common=other.common), "unauthentic")
        self.assertEqual(self.bob.read(one), b"1")

    def test_recipients_cannot_swap(self) -> None:
        """Who holds the key of a common part cannot put another one under the own part of somebody else."""
        common, content_key = suites.make_common(b"real")
        contact = self.alice.contact(self.bob)
        with self.alice.store.writing() as records:
            own = seal_part(records, self.alice.profile, contact, self.bob.device.id, content_key)
        other, _ = suites.make_common(b"forged")
        post = Sender("alice", self.alice.device.id, own, other)
        self.assert_refused(self.bob, post, "unauthentic")
        lying = msgspec.structs.replace(content_key, common=suites.make_common(b"other")[1].common)
        with self.alice.store.writing() as records:
            own = seal_part(records, self.alice.profile, contact, self.bob.device.id, lying)
        self.assert_refused(self.bob, evolve(post, own=own, common=common), "unauthentic")

    def test_truncated(self) -> None:
        """A message that is cut anywhere, or has more behind it, is refused."""
        self.converse()
        post = self.alice.send(self.bob, b"later")
        for cut in range(len(post.own)):
            self.assert_refused(self.bob, evolve(post, own=post.own[:cut]), "bad-envelope", "unauthentic")
        self.assert_refused(self.bob, evolve(post, own=post.own + b"\x00"), "bad-envelope")
        for cut in range(0, len(self.first.own), 11):
            self.assert_refused(self.bob, evolve(self.first, own=self.first.own[:cut]), "bad-envelope", "unauthentic")
        self.assertEqual(self.bob.read(post), b"later")

    def test_sealed_cut(self) -> None:
        """A message whose ciphertext is cut within a whole envelope is refused."""
        envelope = decode_record(Envelope, self.first.own)
        for cut in range(len(envelope.sealed)):
            own = encode_record(Envelope(envelope.header, envelope.sealed[:cut]))
            self.assert_refused(self.bob, evolve(self.first, own=own), "unauthentic")

    def test_every_bit_of_a_first_message(self) -> None:
        """A first message with any byte changed is refused, and opens afterwards as it was."""
        for place in range(len(self.first.own)):
            own = bytearray(self.first.own)
            own[place] ^= 1 << place % 8
            before = self.bob.dump()
            self.assertRaises(Refusal, self.bob.read, evolve(self.first, own=bytes(own)))
            self.assertEqual(self.bob.dump(), before)
        self.assertEqual(self.bob.read(self.first), b"hi")

    def test_every_bit_of_a_later_message(self) -> None:
        """A later message with any byte changed is refused, and opens afterwards as it was."""
        self.converse()
        post = self.alice.send(self.bob, b"later")
        for place in range(8 * len(post.own)):
            own = bytearray(post.own)
            own[place // 8] ^= 1 << place % 8
            self.assert_refused(self.bob, evolve(post, own=bytes(own)), "bad-envelope", "unauthentic", "suite-unavailable")
        self.assertEqual(self.bob.read(post), b"later")

    def test_far_jump(self) -> None:
        """A header that would make us derive thousands of keys is refused."""
        self.converse()
        post = self.alice.send(self.bob, b"later")
        for number in (MAX_JUMP + 2, 2**32 - 1):
            self.assert_refused(self.bob, with_step(post, number=number), "unauthentic")
        self.assert_refused(
            self.bob, with_step(post, ratchet_key=AgreementKey.generate().public, number=MAX_JUMP), "unauthentic"
        )

    def test_zero_keys(self) -> None:
        """Keys of low order, in ratchet or opening, are refused."""
        self.assert_refused(
            self.bob,
            with_opening(self.first, lambda opening: msgspec.structs.replace(opening, ephemeral=bytes(32))),
            "unauthentic",
        )
        self.assert_refused(
            self.bob,
            with_step(self.first, ratchet_key=bytes(32)),
            "unauthentic",
        )
        self.converse()
        later = self.alice.send(self.bob, b"later")
        self.assert_refused(self.bob, with_step(later, ratchet_key=bytes(32)), "unauthentic")

    def test_other_suite(self) -> None:
        """A suite or version that we do not speak is refused, not guessed at."""
        for suite, version in (("rsa", 2), ("psk", 2), ("pqxdh", 2), ("pqxdh", 0)):
            self.assert_refused(self.bob, with_step(self.first, suite=suite, version=version), "suite-unavailable")
        self.assert_refused(self.bob, with_step(self.first, suite="psk"), "bad-envelope")

    def test_other_content_key(self) -> None:
        """
        A key for the common part that is not as long as the suite wants it is refused: nobody is talked into another cipher.
        """
        self.converse()
        contact = self.alice.contact(self.bob)
        common, content_key = suites.make_common(b"hi", 32)
        with self.alice.store.writing() as records:
            own = seal_part(records, self.alice.profile, contact, self.bob.device.id, content_key)
        post = Sender(self.alice.name, self.alice.profile.device_id, own, common)
        self.assert_refused(self.bob, post, "bad-envelope")

    def test_stripped_opening(self) -> None:
        """A first message without its opening finds no session, and an added one finds no way in."""
        stripped = with_step(self.first, prekey=None)
        self.assert_refused(self.bob, stripped, "no-session")
        opening = decode_record(EnvelopeHeader, decode_record(Envelope, self.second.own).header).prekey
        self.converse()
        later = self.alice.send(self.bob, b"later")
        self.assert_refused(self.bob, with_step(later, prekey=opening), "unauthentic")


class OpeningTests(AttackTests):
    """Who a first message says it is from, and which prekeys it names."""

    def test_substituted_identity(self) -> None:
        """A first message under another identity than the known one is refused; what may be noted comes with the refusal."""
        mallory = person("alice")
        mallory.meet(self.bob)
        error = self.assert_refused(self.bob, mallory.send(self.bob, b"it is me"), "identity-changed")
        assert isinstance(error, IdentityChanged)
        self.assertEqual(error.contact.changed_to, mallory.profile.identity.public)
        self.assertEqual(error.contact.identity, self.alice.profile.identity.public)

    def test_swapped_identity(self) -> None:
        """The identity beside a first message cannot be exchanged for another."""
        mallory = person("alice")
        bob = Person(self.bob.profile, self.bob.store.snapshot())
        with bob.store.writing() as records:
            records.delete(contacts.TABLE, b"alice")
            records.delete("lists", b"alice", 1)
        identity, devices = mallory.profile.identity.public, mallory.profile.devices
        swapped = with_opening(self.first, lambda opening: msgspec.structs.replace(opening, identity=identity))
        self.assert_refused(bob, swapped, "unauthentic")
        both = with_opening(self.first, lambda opening: msgspec.structs.replace(opening, identity=identity, devices=devices))
        self.assert_refused(bob, evolve(both, device=mallory.device.id), "unauthentic")

    def test_list_of_another_server(self) -> None:
        """A first message that introduces itself with a list for another server is refused."""
        elsewhere = create_profile(evolve(LINK, pin=bytes(32)), "carol", NOW)
        carol = Person(elsewhere, MemoryProfile())
        here = Person(evolve(self.bob.profile, pin=bytes(32)), self.bob.store)
        with carol.store.writing() as records:
            listing = msgspec.structs.replace(self.bob.profile.listing, server=bytes(32))
            body = encode_device_list(listing)
            record = msgspec.structs.replace(
                here.record,
                devices=SignedDeviceList(body, self.bob.profile.identity.sign(DEVICE_LIST_LABEL, body)),
            )
            contacts.adopt(records, elsewhere, record, NOW, contacts.DIRECTORY)
        post = carol.send(self.bob, b"hi")
        self.assert_refused(self.bob, post, "bad-device-list")

    def test_forked_list(self) -> None:
        """A first message with another list than we know under the same or an older version is refused."""
        listing = msgspec.structs.replace(self.alice.profile.listing, issued_at=NOW + 1)
        body = encode_device_list(listing)
        forked = SignedDeviceList(body, self.alice.profile.identity.sign(DEVICE_LIST_LABEL, body))
        post = with_opening(self.first, lambda opening: msgspec.structs.replace(opening, devices=forked))
        self.assert_refused(self.bob, post, "list-forked")
        self.alice.renew(resigned(self.alice.profile, NOW))
        self.bob.meet(self.alice)
        self.assert_refused(self.bob, post, "list-forked")

    def test_removed_device(self) -> None:
        """An old list does not bring back a device that a newer one leaves out."""
        listing = self.alice.profile.listing
        other = msgspec.structs.replace(self.alice.device, id=bytes(16))
        following = msgspec.structs.replace(listing, version=2, previous=self.alice.profile.mark.digest, devices=[other])
        body = encode_device_list(following)
        newer = SignedDeviceList(body, self.alice.profile.identity.sign(DEVICE_LIST_LABEL, body))
        moved = Person(evolve(self.alice.profile, devices=newer), MemoryProfile())
        self.bob.meet(moved)
        self.assert_refused(self.bob, self.first, "unknown-device")

    def test_unknown_prekeys(self) -> None:
        """A first message that names prekeys we do not have is refused."""
        for change in ({"signed_id": 1}, {"kem_id": 1}, {"one_time_id": 1}, {"kem_id": 1, "kem_is_last_resort": True}):
            self.assert_refused(self.bob, with_other_prekeys(self.first, change), "unknown-prekey")

    def test_no_prekey_id(self) -> None:
        """The id 0 names no prekey, whoever has one under it."""
        for change in ({"signed_id": 0}, {"kem_id": 0}, {"one_time_id": 0}):
            self.assert_refused(self.bob, with_other_prekeys(self.first, change), "bad-envelope")

    def test_other_prekeys(self) -> None:
        """A first message that names other prekeys of ours than it was made with is refused, and those prekeys stay."""
        last_resort = self.bob.shelf.last_resort
        assert last_resort is not None
        for change in (
            {"kem_id": min(self.bob.shelf.kem)},
            {"one_time_id": min(self.bob.shelf.one_time)},
            {"one_time_id": None},
            {"kem_id": last_resort.id, "kem_is_last_resort": True},
        ):
            self.assert_refused(self.bob, with_other_prekeys(self.first, change), "unauthentic")


class BundleTests(SynchronousTestCase):
    """What a directory can put into a bundle."""

    def setUp(self) -> None:
        """Alice knows Bob, and has an honest bundle of his."""
        self.alice, self.bob = friends()
        self.bundle = self.bob.shelf.claim("alice")

    def assert_refused(self, bundle: Bundle) -> None:
        """Alice begins nothing with this bundle."""
        before = self.alice.dump()
        self.assertRaises(Unauthentic, self.alice.begin, self.bob, bundle)
        self.assertEqual(self.alice.dump(), before)

    def test_of_another_device(self) -> None:
        """No prekey of another device passes, neither all of them nor one."""
        mallory = person("mallory").shelf.claim("alice")
        self.assert_refused(mallory)
        for part in ("signed", "kem", "one_time"):
            self.assert_refused(msgspec.structs.replace(self.bundle, **{part: getattr(mallory, part)}))

    def test_of_another_kind(self) -> None:
        """A prekey that the device signed for one use passes for no other."""
        assert self.bundle.one_time is not None
        swapped = msgspec.structs.replace(self.bundle, signed=self.bundle.one_time, one_time=self.bundle.signed)
        self.assert_refused(swapped)
        self.assert_refused(msgspec.structs.replace(self.bundle, one_time=self.bundle.signed))
        self.assert_refused(msgspec.structs.replace(self.bundle, signed=self.bundle.one_time))
        self.assert_refused(msgspec.structs.replace(self.bundle, kem=self.bundle.signed))

    def test_last_resort_posing(self) -> None:
        """The last resort does not pass for a prekey for one use, nor the other way round."""
        self.assert_refused(msgspec.structs.replace(self.bundle, kem_is_last_resort=True))
        last_resort = self.bob.shelf.last_resort
        assert last_resort is not None
        self.assert_refused(msgspec.structs.replace(self.bundle, kem=last_resort))

    def test_signed_under_another_label(self) -> None:
        """A key that Bob's device signed under the label of another kind is refused in each place."""
        device = self.bob.profile.device_key
        number = NOW << ID_SHIFT
        x25519 = [on_the_wire(make(device, number)[1]) for make in (pqxdh.make_signed_prekey, pqxdh.make_one_time_prekey)]
        kem = [on_the_wire(make(device, number)[1]) for make in (pqxdh.make_kem_prekey, pqxdh.make_last_resort_prekey)]
        honest = Bundle(0, x25519[0], kem[0], False, x25519[1])
        self.assert_refused(msgspec.structs.replace(honest, signed=x25519[1]))
        self.assert_refused(msgspec.structs.replace(honest, one_time=x25519[0]))
        self.assert_refused(msgspec.structs.replace(honest, kem=kem[1]))
        self.alice.begin(self.bob, honest)

    def test_no_id(self) -> None:
        """A prekey that the device signed under the id 0 is refused."""
        signed = on_the_wire(evolve(pqxdh.make_signed_prekey(self.bob.profile.device_key, 1)[1], id=0))
        key = self.bob.profile.device_key.sign(SIGNED_PREKEY, bytes(8), signed.key)
        self.assert_refused(msgspec.structs.replace(self.bundle, signed=msgspec.structs.replace(signed, signature=key)))

    def test_other_id(self) -> None:
        """A prekey under another id than it was signed with is refused."""
        assert self.bundle.one_time is not None
        for part in ("signed", "kem", "one_time"):
            prekey = msgspec.structs.replace(getattr(self.bundle, part), id=5)
            self.assert_refused(msgspec.structs.replace(self.bundle, **{part: prekey}))

    def test_without_one_time(self) -> None:
        """A directory may hold the one-time prekey back: the session begins without, and the responder knows it."""
        self.alice.begin(self.bob, msgspec.structs.replace(self.bundle, one_time=None))
        self.assertEqual(self.bob.read(self.alice.seal(self.bob, b"hi")), b"hi")

    def test_handed_to_two(self) -> None:
        """
        A bundle for one use that is handed to two people serves one of them; the other's message is refused, nothing changes.
        """
        carol = person("carol")
        carol.meet(self.bob)
        self.alice.begin(self.bob, self.bundle)
        carol.begin(self.bob, self.bundle)
        self.assertEqual(self.bob.read(self.alice.seal(self.bob, b"hi")), b"hi")
        before = self.bob.dump()
        error = self.assertRaises(Refusal, self.bob.read, carol.seal(self.bob, b"hi"))
        self.assertEqual(error.code, "unknown-prekey")
        self.assertEqual(self.bob.dump(), before)
