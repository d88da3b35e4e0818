"""
Records for programs.
"""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.rendering import contact_record, line_record, safety_record
from securemsg.client import journal
from securemsg.client.trust import Contact
from tests.cli.rig import PlaceCase

CONTACT = Contact("ben", bytes(32), True, None, 0, b"", 0, 0, b"", None, "invite")


class ContactTests(SynchronousTestCase):
    """
    What C{contacts} and C{verify} say of somebody.
    """

    def test_agreed(self) -> None:
        """
        Both say the same: whoever's identity has changed is not verified.
        """
        for changed_to, expected in ((b"", (True, False)), (bytes(range(32)), (False, True))):
            contact = msgspec.structs.replace(CONTACT, changed_to=changed_to)
            for record in (contact_record(contact, 0), safety_record(contact, "12345")):
                self.assertEqual((record["verified"], record["changed"]), expected)


class LineTests(PlaceCase):
    """
    A line of history.
    """

    def test_own(self) -> None:
        """
        Whether we are ourselves was not compared with anybody.
        """
        ada = self.place.person("ada")
        journal.compose(ada.desk.store, "ben", "hello", now=self.place.now())
        [line] = journal.history(ada.desk.store, "ben", 1)
        self.assertIsNone(line_record(line, "ada")["verified"])
