"""Who is blocked: what they send is acknowledged, counted and dropped, and they are told nothing."""

from __future__ import annotations

from securemsg.client import messages, unsent
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.state import preferences
from securemsg.client.state.preferences import Preferences
from securemsg.client.state.settings import Policy
from securemsg.errors import Refusal
from securemsg.protocol.messages import Deliver, Deposit
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import User, decoded
from tests.client.rooms.case import RoomCase
from tests.client.rooms.test_malice import spoil
from tests.client.test_malice import replacing


def block(user: User, name: str, is_blocked: bool = True) -> None:
    """Somebody blocks somebody."""
    with user.store.inner.writing() as records:
        preferences.block(records, name, is_blocked=is_blocked)


def wanted(user: User, name: str) -> Preferences:
    """What somebody wants of somebody."""
    with user.store.inner.reading() as records:
        return preferences.get(records, name)


class BlockedTests(WorldCase):
    """Bob has blocked Alice."""

    def setUp(self) -> None:
        """They have talked before."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.assertEqual(self.bob.read(), ["zero"])
        block(self.bob, "alice")

    def sent_by(self, user: User) -> int:
        """How many deposits somebody has made on this connection."""
        assert user.wire is not None, "connected"
        return len(list(decoded(user.wire, Side.CLIENT, Deposit)))

    def test_dropped(self) -> None:
        """Nothing is shown or confirmed; what is said later shows no gap, and what was dropped is not asked for."""
        first = self.alice.send("bob", "one", wants_receipt=True)
        self.alice.send("bob", "two")
        self.world.advance(90, ticks=30)
        self.assertEqual((self.bob.read(), wanted(self.bob, "alice").dropped), ([], 2))
        self.assertEqual(self.alice.sent(first).status, "accepted")
        block(self.bob, "alice", False)
        self.alice.send("bob", "three")
        [line] = messages.unread(self.bob.store)
        self.assertEqual((line.text, line.gap_before), ("three", 0))
        self.world.advance(90, ticks=30)
        self.assertEqual(self.sent_by(self.alice), 4)

    def test_waiting(self) -> None:
        """What waits for them when they are blocked is not sent, nor is what is tried again later."""
        self.part(self.bob)
        block(self.bob, "alice", False)
        waiting, withdrawn = self.bob.send("alice", "one"), self.bob.send("alice", "two")
        messages.withdraw(self.bob.store, withdrawn)
        block(self.bob, "alice")
        unsent.retry(self.bob.store, withdrawn, self.world.clock)
        self.bob.connect()
        for each in (waiting, withdrawn):
            sent = self.bob.sent(each)
            self.assertEqual((sent.status, sent.code), ("failed", "contact-blocked"))
        self.assertEqual(self.alice.read(), [])

    def test_not_told_of_reading(self) -> None:
        """What came before is not confirmed any more, however and whenever it is read."""
        self.bob.confirm_to(Policy.READ)
        block(self.bob, "alice", False)
        self.bob.send("alice", "hi")
        sent = self.alice.send("bob", "one", wants_receipt=True)
        self.world.advance(5, 5)
        self.assertEqual(self.alice.sent(sent).status, "delivered")
        block(self.bob, "alice")
        before = self.sent_by(self.bob)
        self.assertEqual(self.bob.read(), ["one"])
        self.world.advance(10, 10)
        self.assertEqual((self.alice.sent(sent).read_at, self.sent_by(self.bob)), (0, before))

    def test_nothing_asked(self) -> None:
        """What cannot be opened is dropped as well, and nothing is said about that."""
        before = self.sent_by(self.bob)
        assert self.bob.wire is not None, "connected"
        self.bob.wire.to_client = replacing(Deliver, spoil)
        self.alice.send("bob", "one")
        self.world.advance(90, ticks=30)
        self.assertEqual((self.sent_by(self.bob), messages.quarantined(self.bob.store)), (before, (0, 0)))
        self.assertEqual(wanted(self.bob, "alice").dropped, 1)

    def test_no_gap_asked(self) -> None:
        """Nor is anything asked for that is missing."""
        assert self.bob.wire is not None, "connected"
        block(self.bob, "alice", False)
        self.bob.wire.to_client = replacing(Deliver, spoil)
        before = self.sent_by(self.bob)
        block(self.bob, "alice")
        self.alice.send("bob", "lost")
        self.bob.wire.to_client = None
        self.alice.send("bob", "one")
        self.world.advance(90, ticks=30)
        self.assertEqual(self.sent_by(self.bob), before)

    def test_not_written_to(self) -> None:
        """Nobody writes by mistake to somebody whose answer would be dropped."""
        with self.assertRaises(Refusal) as caught:
            self.bob.send("alice", "hello?")
        self.assertEqual(caught.exception.code, "contact-blocked")

    def test_receipt(self) -> None:
        """What was sent before is marked as delivered when that is confirmed."""
        block(self.bob, "alice", False)
        self.alice.disconnect()
        number = self.bob.send("alice", "before", wants_receipt=True)
        block(self.bob, "alice")
        self.alice.connect()
        self.world.advance(10, ticks=10)
        self.assertEqual(self.bob.sent(number).status, "delivered")


class RoomTests(RoomCase):
    """In a room."""

    def test_room(self) -> None:
        """What a blocked member says is not shown; what it decides counts."""
        ada, ben = self.room_of("ada", "ben")
        block(ben, "ada")
        ada.send("#team", "hello")
        self.decide(ada, ChangeKind.TITLE, text="New")
        block(ben, "ada", False)
        ada.send("#team", "and again")
        self.pass_time()
        self.assertEqual((self.said(ben), self.room(ben).title), (["and again"], "New"))
