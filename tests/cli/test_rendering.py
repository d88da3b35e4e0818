"""Records for programs."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.rendering import contact_record, line_record, mark_of, runs, safety_record, wire_record, wire_text
from securemsg.client import messages
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state.contacts import new_contact
from securemsg.client.wiredump import WireDump
from tests.cli.rig import PlaceCase

CONTACT = new_contact("ben", bytes(32), "invite", 0, verified=True)
NUMBER = bytes(range(16))


class ContactTests(SynchronousTestCase):
    """Records of C{contacts} and C{verify}."""

    def test_agreed(self) -> None:
        """In both, a contact with changed keys is not verified."""
        for changed_to, expected in ((b"", (True, False)), (bytes(range(32)), (False, True))):
            contact = msgspec.structs.replace(CONTACT, changed_to=changed_to)
            for record in (contact_record(contact, 0, Chosen()), safety_record(contact, "12345", Chosen())):
                self.assertEqual((record["verified"], record["changed"]), expected)


class LineTests(PlaceCase):
    """A line of history."""

    def test_runs(self) -> None:
        """Messages are put out in one go up to the next one that needs a remark; for programs, all of them."""
        ada, ben = self.place.person("ada", again=True), self.place.person("ben", again=True)
        for number in range(4):
            messages.compose(ada.context.store, "ben", f"{number}", now=self.place.now())
        self.place.settle(5)
        page = messages.unread(ben.context.store)
        page[2] = evolve(page[2], gap_before=1)
        self.assertEqual([len(run) for run in runs(page, False)], [2, 2])
        self.assertEqual([len(run) for run in runs(page, True)], [4])
        self.assertEqual(runs([], False), [])

    def test_own(self) -> None:
        """Own messages have no C{verified} value."""
        ada = self.place.person("ada")
        messages.compose(ada.context.store, "ben", "hello", now=self.place.now())
        [line] = messages.history(ada.context.store, "ben", 1)
        self.assertIsNone(line_record(line, "ada")["verified"])


class WireTests(SynchronousTestCase):
    """Output of C{--show-wire}."""

    def test_line(self) -> None:
        """One line shows direction, sizes, suite and the first bytes of the encrypted content."""
        self.assertEqual(
            wire_text(WireDump(True, "bob", NUMBER, 1243, "pqxdh", bytes(range(256)) + bytes(48))),
            "-> deposit 00010203 to bob, 1,243 bytes in the frame, suite pqxdh, encrypted content 304 bytes:"
            " 0001 0203 0405 0607 0809 0a0b 0c0d 0e0f 1011 1213 1415 1617 1819 1a1b 1c1d 1e1f ...",
        )
        self.assertEqual(
            wire_text(WireDump(False, "bob", NUMBER, 90, "", b"\x5f\x3a\x9c")),
            "<- delivery 00010203 from bob, 90 bytes in the frame, no readable suite, encrypted content 3 bytes: 5f3a 9c",
        )

    def test_odd_suite(self) -> None:
        """Text of others is escaped."""
        self.assertNotIn("\x1b", wire_text(WireDump(False, "bob", NUMBER, 90, "\x1b[2J", b"")))

    def test_record(self) -> None:
        """A record holds the same."""
        expected = {
            "wire": "delivery",
            "name": "bob",
            "id": NUMBER.hex(),
            "frame": 1243,
            "suite": "psk",
            "encrypted": 304,
            "hex": 64 * "0",
        }
        self.assertEqual(wire_record(WireDump(False, "bob", NUMBER, 1243, "psk", bytes(304))), expected)


class MarkTests(SynchronousTestCase):
    """The mark beside a name."""

    def test_marks(self) -> None:
        """Changed keys are marked first of all; a verified contact has no mark."""
        contact = new_contact("bob", bytes(32), "invite", 0, verified=True)
        marks = [
            mark_of(msgspec.structs.replace(contact, verified=verified, unconfirmed=added, changed_to=changed))
            for verified, added, changed in (
                (True, (), b""),
                (False, (), b""),
                (False, (bytes(16),), b""),
                (False, (bytes(16),), bytes(32)),
                (True, (), bytes(32)),
            )
        ]
        self.assertEqual(marks, ["", "unverified", "NEW DEVICE", "CHANGED", "CHANGED"])
