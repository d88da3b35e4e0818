"""A device list that was not renewed for a month may be one that the server goes on showing."""

from __future__ import annotations

from securemsg.client import messages
from securemsg.client.state.lists import LIST_WARNING
from securemsg.client.state.profile import DAY
from securemsg.protocol import messages as m
from securemsg.protocol.messages import AccountRecord
from tests.client.case import WorldCase


class OldListTests(WorldCase):
    """Alice looks Bob up before she writes to him."""

    def setUp(self) -> None:
        """They know each other."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.old = self.bob.profile()

    def warned(self) -> bool:
        """Whether Alice was told, when she writes."""
        self.alice.connect()
        self.alice.send("bob", "hello")
        return "contact-list-old" in [notice.code for notice in messages.notices(self.alice.store)]

    def test_withheld(self) -> None:
        """Who is shown a list for a month that its owner has renewed is told, and the message goes out all the same."""
        self.world.clock += LIST_WARNING
        self.bob.connect()
        record = AccountRecord("bob", self.old.identity.public, self.old.devices)
        self.alice.connect()
        assert self.alice.wire is not None, "connected"
        self.alice.wire.to_client = lambda message: [
            m.Account(message.request, record) if isinstance(message, m.Account) else message
        ]
        message_id = self.alice.send("bob", "hello")
        self.assertIn("contact-list-old", [notice.code for notice in messages.notices(self.alice.store)])
        self.assertEqual(self.alice.sent(message_id).status, "accepted")

    def test_away(self) -> None:
        """It looks the same when a contact was away for a month."""
        self.part(self.bob)
        self.world.clock += LIST_WARNING
        self.assertTrue(self.warned())

    def test_renewed(self) -> None:
        """A list that is renewed is none to warn of, nor is one that is a little old."""
        self.world.clock += LIST_WARNING
        self.bob.connect()
        self.assertFalse(self.warned())
        self.part(self.bob)
        self.world.clock += LIST_WARNING - DAY
        self.assertFalse(self.warned())
