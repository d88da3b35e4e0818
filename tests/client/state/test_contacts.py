"""Tests of C{securemsg.client.state.contacts}: what a lying directory cannot make us believe."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.receiving.listchecks import LIST_GRACE, check_lists
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact, IdentityChanged
from securemsg.client.state.lists import LIST_WARNING, first_seen
from securemsg.client.state.profile import resigned
from securemsg.crypto.keys import SigningKey, sha256
from securemsg.errors import Refusal
from securemsg.protocol.devices import DEVICE_LIST_LABEL, DeviceList, encode_device_list
from securemsg.protocol.envelope import Content, Kind
from securemsg.protocol.messages import AccountRecord, ListMark, SignedDeviceList
from tests.client.people import NOW, friends, person
from tests.rsakeys import OTHER_KEY, RSA_KEY


def signed(identity: SigningKey, listing: DeviceList, label: bytes = DEVICE_LIST_LABEL) -> SignedDeviceList:
    """A list, encoded and signed."""
    body = encode_device_list(listing)
    return SignedDeviceList(body, identity.sign(label, body))


class AdoptTests(SynchronousTestCase):
    """What the directory may and may not change."""

    def setUp(self) -> None:
        """Alice knows Bob."""
        self.alice, self.bob = friends()
        self.listing = self.bob.profile.listing

    def adopt(self, record: AccountRecord, origin: str = contacts.DIRECTORY, now: int = NOW) -> Contact:
        """Give Alice a record, as the agent does: what is noted on the way of a refusal is committed."""
        with self.alice.store.writing() as records:
            try:
                return contacts.adopt(records, self.alice.profile, record, now, origin)
            except IdentityChanged as error:
                refused = error
        raise refused

    def assert_refused(self, record: AccountRecord, code: str) -> None:
        """This record is refused with this code, and nothing has changed."""
        before = self.alice.dump()
        error = self.assertRaises(Refusal, self.adopt, record)
        self.assertEqual(error.code, code)
        self.assertEqual(self.alice.dump(), before)

    def bobs(self, listing: DeviceList, label: bytes = DEVICE_LIST_LABEL) -> AccountRecord:
        """A record of Bob's with this list, signed by Bob."""
        identity = self.bob.profile.identity
        return AccountRecord("bob", identity.public, signed(identity, listing, label))

    def test_first_use(self) -> None:
        """A first contact is trusted, and is not verified."""
        contact = self.alice.contact(self.bob)
        self.assertEqual(contact.identity, self.bob.profile.identity.public)
        self.assertFalse(contact.verified)
        self.assertEqual((contact.version, contact.digest), (1, sha256(self.bob.profile.devices.body)))
        self.assertEqual((contact.first_seen, contact.checked_at, contact.origin), (NOW, NOW, contacts.DIRECTORY))
        self.assertEqual(contacts.devices(contact), [self.bob.device])
        self.assertEqual(contacts.device(contact, self.bob.device.id), self.bob.device)
        self.assertIs(contacts.device(contact, bytes(16)), None)

    def test_same_again(self) -> None:
        """The same record again is nothing new but that it was checked."""
        before = self.alice.contact(self.bob)
        after = self.adopt(self.bob.record, now=NOW + 9)
        self.assertEqual(after, msgspec.structs.replace(before, checked_at=NOW + 9))

    def test_next_version(self) -> None:
        """A list that follows the known one is taken over."""
        self.bob.profile = resigned(self.bob.profile, NOW + 7)
        contact = self.adopt(self.bob.record)
        self.assertEqual((contact.version, contact.devices), (2, self.bob.profile.devices))

    def test_later_version(self) -> None:
        """Versions may be skipped: we need not have seen every one."""
        self.bob.profile = resigned(resigned(self.bob.profile, NOW + 7), NOW + 8)
        self.assertEqual(self.adopt(self.bob.record).version, 3)

    def test_new_device(self) -> None:
        """A device that was added makes the contact unverified; it is remembered for as long as it is on the list."""
        before = self.alice.contact(self.bob)
        with self.alice.store.writing() as records:
            contacts.put_contact(records, msgspec.structs.replace(before, verified=True))
        [other] = person("bob").profile.listing.devices
        self.bob.profile = resigned(self.bob.profile, NOW + 7, [self.bob.device, other])
        contact = self.adopt(self.bob.record)
        self.assertEqual((contact.verified, contact.unconfirmed, contact.unannounced), (False, (other.id,), True))
        self.bob.profile = resigned(self.bob.profile, NOW + 8)
        self.assertEqual(self.adopt(self.bob.record).unconfirmed, (other.id,))
        self.bob.profile = resigned(self.bob.profile, NOW + 9, [self.bob.device])
        self.assertEqual(self.adopt(self.bob.record).unconfirmed, ())

    def test_other_keys(self) -> None:
        """A known id with another key is another device; an RSA key that was added does not make one."""
        with_rsa = msgspec.structs.replace(self.bob.device, rsa_key=RSA_KEY.public)
        self.bob.profile = resigned(self.bob.profile, NOW + 7, [with_rsa])
        self.assertEqual(self.adopt(self.bob.record).unconfirmed, ())
        other = person("bob").device
        for name in ("signing_key", "agreement_key"):
            changed = msgspec.structs.replace(with_rsa, **{name: getattr(other, name)})
            self.bob.profile = resigned(self.bob.profile, NOW + 8, [changed])
            self.assertEqual(self.adopt(self.bob.record).unconfirmed, (self.bob.device.id,))

    def test_other_rsa_key(self) -> None:
        """
        Once a device has an RSA key, another one makes it another device, and so does its absence: else it could be exchanged
        in two steps. There is something else to compare then, and to be trusted.
        """
        seen = []
        for key in (None, RSA_KEY.public, OTHER_KEY.public, None):
            device = msgspec.structs.replace(self.bob.device, rsa_key=key)
            self.bob.profile = resigned(self.bob.profile, NOW + 7, [device])
            contact = self.adopt(self.bob.record)
            seen.append((contact.unconfirmed == (device.id,), contact.comparison, contact.trust_digest))
        self.assertEqual([changed for changed, _, _ in seen], [False, False, True, True])
        self.assertNotEqual(seen[2][1], seen[3][1])
        self.assertNotEqual(seen[0][2], seen[1][2])

    def test_several_at_first(self) -> None:
        """A first contact with several devices has added none."""
        carol = person("carol")
        carol.profile = resigned(carol.profile, NOW, [carol.device, *person("carol").profile.listing.devices])
        contact = self.adopt(carol.record)
        self.assertEqual((len(contacts.devices(contact)), contact.unconfirmed, contact.unannounced), (2, (), False))

    def test_since(self) -> None:
        """A device is known since we first saw a list with it, however often we see that, whenever it says it was issued."""
        [other] = person("bob").profile.listing.devices
        for number in (1, 2, 3):
            devices = [self.bob.device] if number == 1 else [self.bob.device, other]
            self.bob.profile = resigned(self.bob.profile, 1, devices)
            for later in (0, 1000):
                self.adopt(self.bob.record, now=NOW + number + later)
        with self.alice.store.reading() as records:
            since = [first_seen(records, "bob", device) for device in (self.bob.device, other, self.alice.device)]
        self.assertEqual(since, [NOW, NOW + 2, 0])

    def test_rolled_back(self) -> None:
        """An older list than the known one is refused, though Bob did sign it."""
        older = self.bob.record
        self.bob.profile = resigned(self.bob.profile, NOW + 7)
        self.adopt(self.bob.record)
        self.assert_refused(older, "list-rolled-back")

    def test_forked(self) -> None:
        """Another list under the known version is refused, though Bob did sign it."""
        self.assert_refused(self.bobs(msgspec.structs.replace(self.listing, issued_at=NOW + 1)), "list-forked")

    def test_follows_another(self) -> None:
        """The next version that names another predecessor is refused."""
        listing = msgspec.structs.replace(self.listing, version=2, previous=sha256(b"another"))
        self.assert_refused(self.bobs(listing), "list-forked")

    def test_follows_none(self) -> None:
        """A later version without a predecessor, and a first with one, are no lists."""
        for version, previous in ((2, b""), (1, bytes(32)), (2, b"short")):
            listing = msgspec.structs.replace(self.listing, version=version, previous=previous)
            self.assert_refused(self.bobs(listing), "bad-device-list")

    def test_other_account(self) -> None:
        """A list that Bob signed for another of his accounts does not serve for this one."""
        self.assert_refused(self.bobs(msgspec.structs.replace(self.listing, account="robert")), "bad-device-list")

    def test_other_server(self) -> None:
        """A list that Bob signed for another server does not serve for this one."""
        self.assert_refused(self.bobs(msgspec.structs.replace(self.listing, server=bytes(32))), "bad-device-list")

    def test_other_label(self) -> None:
        """A signature that Bob made for another purpose is no signature of a list."""
        listing = msgspec.structs.replace(self.listing, version=2, previous=sha256(self.bob.profile.devices.body))
        self.assert_refused(self.bobs(listing, b"securemsg/1 something else"), "unauthentic")

    def test_resigned_by_another(self) -> None:
        """A list that somebody else signed is refused beside Bob's identity."""
        forged = signed(SigningKey.generate(), self.listing)
        self.assert_refused(AccountRecord("bob", self.bob.profile.identity.public, forged), "unauthentic")

    def test_every_bit(self) -> None:
        """A list with any byte changed is refused."""
        body = self.bob.profile.devices.body
        for place in range(len(body)):
            changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            devices = msgspec.structs.replace(self.bob.profile.devices, body=changed)
            self.assert_refused(msgspec.structs.replace(self.bob.record, devices=devices), "unauthentic")

    def test_no_keys(self) -> None:
        """A list with an invalid key, such as zeros, is refused, though Bob did sign it."""
        for field in ("signing_key", "agreement_key"):
            for key in (bytes(32), b"\xff" * 32):
                device = msgspec.structs.replace(self.listing.devices[0], **{field: key})
                renewed = resigned(self.bob.profile, NOW).listing
                self.assert_refused(self.bobs(msgspec.structs.replace(renewed, devices=[device])), "bad-device-list")

    def test_device_twice(self) -> None:
        """A list on which a device stands twice is refused."""
        listing = msgspec.structs.replace(self.listing, version=3, previous=bytes(32), devices=self.listing.devices * 2)
        self.assert_refused(self.bobs(listing), "bad-device-list")

    def test_own_account(self) -> None:
        """Nobody tells us who we are."""
        self.assert_refused(self.alice.record, "own-account")

    def test_illegal_name(self) -> None:
        """A name that nobody may have is no contact's."""
        self.assert_refused(msgspec.structs.replace(self.bob.record, name="Bob\x1b"), "illegal-name")

    def test_substituted_identity(self) -> None:
        """Another identity is noted and blocks, and changes nothing else."""
        before = self.alice.contact(self.bob)
        mallory = person("bob")
        error = self.assertRaises(IdentityChanged, self.adopt, mallory.record)
        self.assertEqual(error.code, "identity-changed")
        after = self.alice.contact(self.bob)
        self.assertTrue(after.has_changed)
        changed_to = mallory.profile.identity.public
        self.assertEqual(after, msgspec.structs.replace(before, changed_to=changed_to, changed_devices=mallory.profile.devices))

    def test_claim_taken_back(self) -> None:
        """Where the directory shows the known identity again, nothing is left to accept; a message cannot do that."""
        self.assertRaises(IdentityChanged, self.adopt, person("bob").record)
        self.assertTrue(self.adopt(self.bob.record, contacts.MESSAGE).has_changed)
        self.assertFalse(self.adopt(self.bob.record).has_changed)

    def test_claim_not_rolled_back(self) -> None:
        """Of two lists of the claiming identity the newer one stays."""
        mallory = person("bob")
        older = mallory.record
        mallory.profile = resigned(mallory.profile, NOW + 1)
        self.assertRaises(IdentityChanged, self.adopt, mallory.record)
        self.assertRaises(IdentityChanged, self.adopt, older)
        self.assertEqual(self.alice.contact(self.bob).changed_devices, mallory.profile.devices)

    def test_message_is_no_check(self) -> None:
        """What a message says of its sender does not count as a look into the directory."""
        carol = person("carol")
        contact = self.adopt(carol.record, contacts.MESSAGE)
        self.assertEqual((contact.checked_at, contact.origin), (0, contacts.MESSAGE))

    def test_all_contacts(self) -> None:
        """Contacts are listed by name."""
        self.adopt(person("aaron").record)
        with self.alice.store.reading() as records:
            self.assertEqual([contact.name for contact in contacts.all_contacts(records)], ["aaron", "bob"])


class MarkTests(SynchronousTestCase):
    """A server that shows different lists to different people is found out."""

    def setUp(self) -> None:
        """Alice knows Bob."""
        self.alice, self.bob = friends()

    def warnings(self, change: Callable[[Content], Content] = lambda content: content) -> list[str]:
        """What Alice notices about a message of Bob's."""
        content = Content(
            bytes(16),
            Kind.TEXT,
            bytes(16),
            self.bob.device.id,
            1,
            1,
            b"",
            (),
            self.bob.profile.mark,
            self.bob.contact(self.alice).mark,
            NOW,
            False,
            b"hi",
        )
        contact = self.alice.contact(self.bob)
        with self.alice.store.reading() as records:
            return check_lists(records, self.alice.profile, contact, change(content))

    def test_all_fits(self) -> None:
        """Where everybody was shown the same there is nothing to warn of."""
        self.assertEqual(self.warnings(), [])

    def test_behind(self) -> None:
        """We are told that Bob has a newer list than we were shown."""
        self.bob.profile = resigned(self.bob.profile, NOW)
        self.assertEqual(self.warnings(), ["contact-list-behind"])

    def test_contact_forked(self) -> None:
        """We were shown another list of Bob's than he has, now or earlier."""
        mark = ListMark(1, bytes(32))
        self.assertEqual(
            self.warnings(lambda content: msgspec.structs.replace(content, own_list=mark)), ["contact-list-forked"]
        )
        self.bob.profile = resigned(self.bob.profile, NOW)
        self.alice.meet(self.bob)
        self.assertEqual(
            self.warnings(lambda content: msgspec.structs.replace(content, own_list=mark)), ["contact-list-forked"]
        )

    def test_older_message(self) -> None:
        """A message that was written under an older list of Bob's is nothing to warn of."""
        older = self.bob.profile.mark
        self.bob.profile = resigned(self.bob.profile, NOW)
        self.alice.meet(self.bob)
        self.assertEqual(self.warnings(lambda content: msgspec.structs.replace(content, own_list=older)), [])

    def test_own_unknown(self) -> None:
        """Bob was shown a list of ours that we never made."""
        mark = ListMark(2, bytes(32))
        self.assertEqual(self.warnings(lambda content: msgspec.structs.replace(content, peer_list=mark)), ["own-list-unknown"])

    def test_own_forked(self) -> None:
        """Bob was shown another list of ours than we made, even of an older version."""
        mark = ListMark(1, bytes(32))
        self.alice.renew(resigned(self.alice.profile, NOW))
        self.assertEqual(self.warnings(lambda content: msgspec.structs.replace(content, peer_list=mark)), ["own-list-forked"])

    def test_own_old(self) -> None:
        """Bob was shown an old list of ours long after we renewed it; a little late is nothing to warn of."""
        self.alice.renew(resigned(self.alice.profile, NOW))
        soon, late = NOW + LIST_GRACE, NOW + LIST_GRACE + 1
        self.assertEqual(self.warnings(lambda content: msgspec.structs.replace(content, sent_at=soon)), [])
        self.assertEqual(self.warnings(lambda content: msgspec.structs.replace(content, sent_at=late)), ["own-list-old"])

    def test_old_list(self) -> None:
        """A list that was not renewed for a month is remarkable."""
        contact = self.alice.contact(self.bob)
        self.assertFalse(contacts.is_list_old(contact, NOW + LIST_WARNING - 1))
        self.assertTrue(contacts.is_list_old(contact, NOW + LIST_WARNING))
        self.assertFalse(contacts.is_list_old(msgspec.structs.replace(contact, devices=None), NOW + LIST_WARNING))
