"""Tests of C{securemsg.client.state.profile}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state.lists import LIST_AGE, seen_list
from securemsg.client.state.profile import (
    create_profile,
    is_due,
    load_profile,
    next_incarnation,
    resigned,
    save_profile,
)
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.protocol.devices import DEVICE_LIST_LABEL
from securemsg.protocol.messages import MAX_N
from securemsg.storage.memory import MemoryProfile
from tests.client.people import LINK, NOW, SERVER


class ProfileTests(SynchronousTestCase):
    """An account's keys and its list."""

    def test_first_list(self) -> None:
        """The first list names server, account and device, follows none, and is signed by the identity."""
        profile = create_profile(LINK, "alice", NOW)
        keys.verify(profile.identity.public, profile.devices.signature, DEVICE_LIST_LABEL, profile.devices.body)
        listing = profile.listing
        self.assertEqual((listing.server, listing.account, listing.version), (SERVER.public, "alice", 1))
        self.assertEqual((listing.previous, listing.issued_at), (b"", NOW))
        device = listing.devices[0]
        self.assertEqual(
            (device.id, device.signing_key, device.agreement_key),
            (profile.device_id, profile.device_key.public, profile.agreement.public),
        )

    def test_illegal_name(self) -> None:
        """A name that no server takes makes no keys."""
        error = self.assertRaises(Refusal, create_profile, LINK, "Alice!", NOW)
        self.assertEqual(error.code, "illegal-name")

    def test_kept(self) -> None:
        """A profile comes back as it was kept, private keys included."""
        profile = create_profile(LINK, "alice", NOW)
        store = MemoryProfile()
        with store.writing() as records:
            self.assertIs(load_profile(records), None)
            save_profile(records, profile)
        with store.reading() as records:
            loaded = load_profile(records)
        assert loaded is not None
        self.assertEqual(loaded, profile)
        self.assertEqual(loaded.identity.private, profile.identity.private)
        self.assertEqual(loaded.device_key.private, profile.device_key.private)
        self.assertEqual(loaded.agreement.private, profile.agreement.private)

    def test_resigned(self) -> None:
        """The next list has the same devices and names the one before by its hash; both are remembered."""
        profile = create_profile(LINK, "alice", NOW)
        renewed = resigned(profile, NOW + 5)
        self.assertEqual(renewed.listing.version, 2)
        self.assertEqual(renewed.listing.previous, keys.sha256(profile.devices.body))
        self.assertEqual(renewed.listing.devices, profile.listing.devices)
        keys.verify(profile.identity.public, renewed.devices.signature, DEVICE_LIST_LABEL, renewed.devices.body)
        store = MemoryProfile()
        with store.writing() as records:
            save_profile(records, profile)
            save_profile(records, renewed)
            for version, body in ((1, profile.devices.body), (2, renewed.devices.body)):
                seen = seen_list(records, "alice", version)
                assert seen is not None
                self.assertEqual(seen.digest, keys.sha256(body))

    def test_due(self) -> None:
        """A list is due for renewal when it is a week old."""
        profile = create_profile(LINK, "alice", NOW)
        self.assertFalse(is_due(profile, NOW + LIST_AGE - 1))
        self.assertTrue(is_due(profile, NOW + LIST_AGE))

    def test_next_incarnation(self) -> None:
        """A new incarnation has another incarnation and the same keys."""
        profile = create_profile(LINK, "alice", NOW)
        other = next_incarnation(profile, 7)
        self.assertEqual(other.identity, profile.identity)
        self.assertTrue(0 < profile.incarnation < other.incarnation < next_incarnation(other, MAX_N).incarnation < 2**63)

    def test_later_incarnation(self) -> None:
        """A later incarnation has a greater number, also where it begins at the same n as the one before."""
        profile = create_profile(LINK, "alice", NOW)
        for highest in (0, 0, 0, 5, 5, 5, 6):
            later = next_incarnation(profile, highest)
            self.assertGreater(later.incarnation, profile.incarnation)
            profile = later

    def test_shows_no_secret(self) -> None:
        """The representation of a profile holds neither token nor private keys."""
        profile = create_profile(LINK, "alice", NOW)
        shown = repr(profile)
        for secret in (
            profile.token,
            profile.identity.private,
            profile.device_key.private,
            profile.agreement.private,
        ):
            self.assertNotIn(repr(secret), shown)
