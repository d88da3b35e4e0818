"""A contact who asks for more than is its own."""

from __future__ import annotations

import msgspec

from securemsg.client import messages
from securemsg.client.receiving import inbox
from securemsg.client.sending.receipts import draft_receipt
from securemsg.client.sessions import suites
from securemsg.client.state import contacts
from securemsg.client.state.counters import conversation_of
from securemsg.crypto import keys
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Kind, Missing, Reset, encode_record
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.people import seal_part
from tests.client.rig import User, decoded


class GreedTests(WorldCase):
    """Bob has written to Carol; Alice, who writes to him too, would like to read that."""

    def setUp(self) -> None:
        """Everybody has talked with Bob."""
        super().setUp()
        self.carol = self.world.user("carol")
        self.alice.send("bob", "from alice")
        self.bob.send("alice", "for alice")
        for number in range(3):
            self.bob.send("carol", f"for carol {number}")
        self.carol.read()
        assert self.bob.wire is not None, "connected"
        self.wire = self.bob.wire
        self.wire.log.clear()

    def between(self, one: User, other: User) -> bytes:
        """The conversation of two."""
        return conversation_of(one.profile().identity.public, other.profile().identity.public)

    def ask(self, wanted: bytes, conversation: bytes) -> None:
        """
        Alice asks Bob for the first messages of a conversation.

        @param conversation: what she says that her request belongs to.
        """
        alice, bob, now = self.alice.profile(), self.bob.profile(), int(self.world.clock)
        reset = Reset([Missing(wanted, bob.incarnation, [1, 2, 3], 1)])
        content = msgspec.structs.replace(
            draft_receipt(alice, encode_record(reset), now),
            kind=int(Kind.RESET),
            conversation=conversation,
        )
        with self.alice.store.inner.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they have met"
            common, key = suites.make_common(encode_record(content))
            own = seal_part(records, alice, contact, bob.device_id, key, now)
        delivery = m.Deliver(1, "alice", alice.device_id, keys.random_id(), now, common, own)
        with self.bob.store.inner.writing() as records:
            inbox.receive(records, bob, delivery, now)
        self.bob.pump()

    def sent(self) -> list[str]:
        """To whom Bob has sent anything since."""
        return [to.account for deposit in decoded(self.wire, Side.CLIENT, m.Deposit) for to in deposit.to]

    def test_own(self) -> None:
        """Who asks for messages of the own conversation gets them."""
        ours = self.between(self.alice, self.bob)
        self.ask(ours, ours)
        self.assertEqual(self.sent(), ["alice"])

    def test_other_conversation(self) -> None:
        """Who asks for messages to somebody else gets what was sent to himself, and nothing of theirs."""
        self.ask(self.between(self.bob, self.carol), self.between(self.alice, self.bob))
        self.assertEqual(set(self.sent()), {"alice"})
        self.assertEqual(self.alice.texts("bob"), ["for alice"])
        self.assertEqual(self.alice.codes(), [])

    def test_as_the_other(self) -> None:
        """Who pretends that the request belongs to the other conversation is not heard."""
        theirs = self.between(self.bob, self.carol)
        self.ask(theirs, theirs)
        self.assertEqual(self.sent(), [])
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
