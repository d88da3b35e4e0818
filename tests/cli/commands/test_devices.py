"""C{securemsg devices}: what is listed, and which device an id stands for."""

from __future__ import annotations

import click
import msgspec
from twisted.internet.defer import Deferred

from securemsg.account.errors import SecuremsgError
from securemsg.cli.commands.devices import chosen, devices_of, own_devices
from securemsg.cli.rendering import DeviceRow, device_record, device_text
from securemsg.client.state import contacts, ownlist
from securemsg.client.state.profile import create_profile, resigned
from securemsg.protocol.devices import Device
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import AccountRecord
from tests.cli.rig import START, PlaceCase


def device(number: int) -> Device:
    """A device whose id begins with this byte."""
    return Device(bytes([number] * 16), bytes([number] * 32), bytes([number] * 32), None)


class ListTests(PlaceCase):
    """What is listed."""

    def setUp(self) -> None:
        """Ada."""
        super().setUp()
        self.ada = self.place.person("ada")

    def test_own(self) -> None:
        """Our own devices are listed, this one among them, and those that were refused."""
        with self.ada.context.store.writing() as records:
            ownlist.refuse(records, [device(7)], START + 5)
        own, refused = own_devices(self.ada.context.store)
        self.assertEqual((own.device.id, own.since, own.state), (self.ada.context.profile.device_id, START, "this"))
        self.assertEqual((refused.device, refused.since, refused.state), (device(7), START + 5, "refused"))

    def test_contact(self) -> None:
        """Of a contact the devices that were added since are marked until they are confirmed."""
        store, profile = self.ada.context.store, self.ada.context.profile
        ben = create_profile(InviteLink("example", 8443, profile.pin), "ben", START)
        for now, shown in ((START, ben), (START + 9, resigned(ben, 1, [*ben.listing.devices, device(7)]))):
            with store.writing() as records:
                record = AccountRecord("ben", ben.identity.public, shown.devices)
                contacts.adopt(records, profile, record, now, contacts.DIRECTORY)
        states = [(row.since, row.state) for row in devices_of(store, "ben")]
        self.assertEqual(states, [(START, "listed"), (START + 9, "new")])
        self.assertEqual(self.assertRaises(SecuremsgError, devices_of, store, "nobody").code, "no-such-account")

    def test_written(self) -> None:
        """A row, for programs and for people."""
        row = DeviceRow(device(7), START, "new")
        expected = {"account": "ben", "id": "07" * 16, "since": "2027-01-15T08:00:00Z", "state": "new"}
        self.assertEqual({**device_record("ben", row), **expected}, device_record("ben", row))
        self.assertRegex(device_text(row), r"\A(07){16}  ([0-9a-f]{4} ){3}[0-9a-f]{4}  since 2027-01-15T08:00:00Z  NEW\Z")
        self.assertRegex(device_text(row, 80), r"  since 2027-01-1[45] \d\d:00  NEW\Z")

    def test_changed_by_the_owner(self) -> None:
        """The process that has the connection publishes the list; it is asked by the device's id."""
        with self.ada.context.store.writing() as records:
            ownlist.refuse(records, [device(7)], START)
        for kind, count in (("accept-device", 2), ("remove-device", 1)):
            self.successResultOf(self.ask(kind))
            self.assertEqual(len(own_devices(self.ada.context.store)), count)
        problem = self.failureResultOf(self.ask("remove-device"), SecuremsgError).value
        self.assertEqual(problem.code, "unlisted-device")

    def ask(self, kind: str) -> Deferred[dict[str, str]]:
        """Ask the process that has the connection."""
        asked = Deferred.fromCoroutine(self.ada.connection.ask(kind, "07" * 16, timeout=5))
        self.place.settle()
        return asked


class ChoiceTests(PlaceCase):
    """Which device is meant."""

    def setUp(self) -> None:
        """One in use, one besides, and two that were refused."""
        super().setUp()
        own, other = device(0xA0), device(0xA1)
        refused = [device(0xB0), msgspec.structs.replace(device(0xB0), id=bytes([0xB0] * 15 + [1]))]
        self.rows = [
            DeviceRow(own, 0, "this"),
            DeviceRow(other, 0, "listed"),
            *(DeviceRow(each, 0, "refused") for each in refused),
        ]

    def test_beginning(self) -> None:
        """The beginning of an id is enough where it stands for one device, of those that the action is for."""
        self.assertEqual(chosen(self.rows, "A1", "remove"), "a1" * 16)
        self.assertEqual(chosen(self.rows, "b0" * 16, "accept"), "b0" * 16)
        for prefix, action in (("a1", "accept"), ("b0", "remove"), ("c", "remove")):
            self.assertEqual(self.assertRaises(SecuremsgError, chosen, self.rows, prefix, action).code, "unlisted-device")

    def test_several(self) -> None:
        """An id that stands for several is refused."""
        for prefix, action in (("a", "remove"), ("b0", "accept"), ("", "remove")):
            self.assertRaises(click.UsageError, chosen, self.rows, prefix, action)

    def test_this_one(self) -> None:
        """The device in use is not removed, and what to do is said."""
        problem = self.assertRaises(SecuremsgError, chosen, self.rows, "a0", "remove")
        self.assertIn("the device that you are using", problem.text)
        self.assertIn("another device", problem.hint)
