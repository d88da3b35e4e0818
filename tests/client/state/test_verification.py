"""Tests of C{securemsg.client.state.verification}: what the user decides about contacts."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state import contacts, verification
from securemsg.client.state.contacts import Contact, IdentityChanged
from securemsg.client.state.profile import resigned
from securemsg.errors import Refusal
from tests.client.people import NOW, Person, friends, person


class AcceptTests(SynchronousTestCase):
    """The user's word: which identity is taken, and whether its number was compared."""

    def setUp(self) -> None:
        """Alice knows Bob."""
        self.alice, self.bob = friends()

    def accept(self, name: str = "bob") -> Contact:
        """Alice takes new keys."""
        with self.alice.store.writing() as records:
            return verification.accept(records, name, NOW + 1)

    def show(self) -> None:
        """Alice is shown the number."""
        contact = self.alice.contact(self.bob)
        with self.alice.store.writing() as records:
            verification.mark_shown(records, contact)

    def confirm(self, name: str = "bob", digits: str = "") -> Contact:
        """Alice says that she compared the number."""
        with self.alice.store.writing() as records:
            return verification.confirm(records, self.alice.profile, name, digits)

    def assert_refused(self, code: str, digits: str = "") -> None:
        """Nothing is confirmed, and nothing has changed."""
        before = self.alice.dump()
        self.assertEqual(self.assertRaises(Refusal, self.confirm, "bob", digits).code, code)
        self.assertEqual(self.alice.dump(), before)

    def claim(self) -> Person:
        """Somebody else claims Bob's name."""
        other = person("bob")
        with self.alice.store.writing() as records:
            self.assertRaises(
                IdentityChanged, contacts.adopt, records, self.alice.profile, other.record, NOW, contacts.DIRECTORY
            )
        return other

    def add_device(self) -> bytes:
        """Bob has a device more, which Alice learns of."""
        [other] = person("bob").profile.listing.devices
        self.bob.profile = resigned(self.bob.profile, NOW, [*self.bob.profile.listing.devices, other])
        self.alice.meet(self.bob)
        return other.id

    def digits(self) -> str:
        """The number with Bob, as Alice would see it now."""
        return verification.safety(self.alice.profile, self.alice.contact(self.bob)).replace(" ", "")

    def test_verified(self) -> None:
        """A contact whose number was shown and confirmed is verified, and stays so with later lists."""
        self.show()
        self.assertTrue(self.confirm().verified)
        self.bob.profile = resigned(self.bob.profile, NOW)
        self.assertTrue(self.alice.meet(self.bob).verified)
        self.assertTrue(self.confirm().verified)

    def test_known(self) -> None:
        """Who was confirmed is known from then on, also when a new device makes the contact unverified."""
        self.show()
        self.confirm()
        self.add_device()
        contact = self.alice.contact(self.bob)
        self.assertEqual((contact.verified, contact.known), (False, True))

    def test_not_shown(self) -> None:
        """A number that was never shown is not confirmed."""
        self.assert_refused("not-shown")

    def test_digits(self) -> None:
        """The digits that the contact sees confirm as well; others do not."""
        digits = self.digits()
        self.assert_refused("other-number", digits[:-1] + ("1" if digits[-1] == "0" else "0"))
        self.assertTrue(self.confirm("bob", digits).verified)

    def test_new_identity(self) -> None:
        """Accepting takes the identity that claimed the name, unverified, with its list, and looks into the directory again."""
        self.show()
        self.confirm()
        other = self.claim()
        contact = self.accept()
        self.assertEqual(contact.identity, other.profile.identity.public)
        self.assertEqual((contact.devices, contact.version), (other.profile.devices, 1))
        self.assertEqual((contact.has_changed, contact.verified, contact.checked_at), (False, False, 0))
        self.assertEqual(self.alice.meet(other).identity, other.profile.identity.public)
        self.assert_refused("not-shown")

    def test_nothing_to_accept(self) -> None:
        """Where no other identity claims the name accepting makes the contact known, and verifies nobody."""
        before = self.alice.contact(self.bob)
        self.assertFalse(self.accept().verified)
        self.assertEqual(self.alice.contact(self.bob), msgspec.structs.replace(before, known=True))

    def test_confirm_before_accept(self) -> None:
        """A new identity is accepted first; the number that was shown before that is the one to confirm."""
        self.claim()
        self.show()
        self.assert_refused("identity-changed")
        self.assert_refused("identity-changed", self.digits())
        self.accept()
        self.assertTrue(self.confirm().verified)

    def test_not_the_one_shown(self) -> None:
        """An identity that claimed the name after another one's number was shown is not accepted before its own is."""
        self.claim()
        self.show()
        latest = self.claim()
        before = self.alice.dump()
        self.assertEqual(self.assertRaises(Refusal, self.accept).code, "not-shown")
        self.assertEqual(self.alice.dump(), before)
        self.show()
        self.assertEqual(self.accept().identity, latest.profile.identity.public)
        self.assertTrue(self.confirm().verified)
        another = self.claim()
        self.assertEqual(self.accept().identity, another.profile.identity.public)

    def test_new_device(self) -> None:
        """A device that joined after the number was shown has to be shown, even to those who give the digits."""
        self.show()
        self.confirm()
        self.add_device()
        self.assert_refused("not-shown")
        self.assert_refused("not-shown", self.digits())
        self.show()
        contact = self.confirm()
        self.assertEqual((contact.verified, contact.unconfirmed), (True, ()))

    def test_exchanged_keys(self) -> None:
        """Nor is a device confirmed whose keys were exchanged under its id after it was shown."""
        self.show()
        self.confirm()
        device_id = self.add_device()
        self.show()
        [other] = person("bob").profile.listing.devices
        exchanged = [self.bob.device, msgspec.structs.replace(other, id=device_id)]
        self.bob.profile = resigned(self.bob.profile, NOW, exchanged)
        self.alice.meet(self.bob)
        self.assert_refused("not-shown")
        self.assert_refused("not-shown", self.digits())
        self.show()
        self.assertTrue(self.confirm().verified)

    def test_nobody(self) -> None:
        """Who is not known can be neither accepted nor confirmed."""
        for act in (self.accept, self.confirm):
            self.assertEqual(self.assertRaises(Refusal, act, "carol").code, "no-such-account")

    def test_safety_number(self) -> None:
        """Both sides see the same 60 digits; of a contact that changed one sees those of the new identity."""
        number = verification.safety(self.alice.profile, self.alice.contact(self.bob))
        self.assertEqual(number, verification.safety(self.bob.profile, self.bob.contact(self.alice)))
        self.assertEqual(len(number.replace(" ", "")), 60)
        other = self.claim()
        other.meet(self.alice)
        changed = verification.safety(self.alice.profile, self.alice.contact(self.bob))
        self.assertNotEqual(changed, number)
        self.assertEqual(changed, verification.safety(other.profile, other.contact(self.alice)))
