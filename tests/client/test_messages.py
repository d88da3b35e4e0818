"""What user interfaces ask of a store: to write, to follow, to read, with nobody connected."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.folder import load_any
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.client.state.profile import create_profile, save_profile
from securemsg.client.state.records import INBOUND, ROWS
from securemsg.errors import Refusal
from securemsg.protocol.envelope import Kind
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import START, World, outbox_rows

LINK = InviteLink("example.net", 8443, bytes(range(32)))
NAMED = bytes(range(16))


class WritingTests(SynchronousTestCase):
    """Messages that are written, and what becomes of them while nobody is connected."""

    def setUp(self) -> None:
        """Make a store with a profile in it."""
        self.store = MemoryProfile()
        with self.store.writing() as records:
            save_profile(records, create_profile(LINK, "alice", START))

    def compose(self, text: str = "hello", to: str = "bob", message_id: bytes | None = None) -> bytes:
        """Write a message."""
        return messages.compose(self.store, to, text, now=START, message_id=message_id)

    def sent(self, message_id: bytes) -> Sent:
        """What became of it."""
        found = messages.sent(self.store, message_id)
        assert found is not None, "it was written"
        return found

    def refused(self, code: str, text: str = "hello", to: str = "bob", message_id: bytes | None = None) -> None:
        """Check that a message is refused, and that nothing has changed."""
        before = outbox_rows(self.store)
        with self.assertRaises(Refusal) as caught:
            self.compose(text, to, message_id)
        self.assertEqual(caught.exception.code, code)
        self.assertEqual(outbox_rows(self.store), before)

    def test_queued(self) -> None:
        """A message that was written waits in the outbox, and stands in history."""
        found = self.sent(self.compose())
        self.assertEqual((found.status, found.to, found.text, found.sent_at), ("queued", "bob", "hello", START))
        self.assertEqual(outbox_rows(self.store), 1)
        self.assertEqual(messages.history(self.store, "bob"), [found])

    def test_same_again(self) -> None:
        """The same id, recipient and text again are the same message."""
        self.compose(message_id=NAMED)
        self.assertEqual(self.compose(message_id=NAMED), NAMED)
        self.assertEqual(outbox_rows(self.store), 1)

    def test_other_text(self) -> None:
        """An id that stands for another text is refused."""
        self.compose(message_id=NAMED)
        self.refused("conflict", "another", message_id=NAMED)

    def test_other_recipient(self) -> None:
        """An id that stands for a message to somebody else is refused."""
        self.compose(message_id=NAMED)
        self.refused("conflict", to="carol", message_id=NAMED)

    def test_largest(self) -> None:
        """A text of exactly the largest size is taken, by its bytes in UTF-8."""
        self.compose("\u00e9" * (MAX_TEXT // 2))
        self.refused("too-large", "\u00e9" * (MAX_TEXT // 2) + "e")

    def test_no_text(self) -> None:
        """What cannot be written in UTF-8 is refused."""
        self.refused("bad-request", "\ud800")

    def test_to_ourselves(self) -> None:
        """Nobody writes to themselves."""
        self.refused("bad-request", to="alice")

    def test_illegal_name(self) -> None:
        """What cannot be a name is refused at once."""
        self.refused("illegal-name", to="Bob Smith")

    def test_short_id(self) -> None:
        """A message id has 16 bytes."""
        self.refused("bad-request", message_id=b"short")

    def test_bad_expiry(self) -> None:
        """Nothing is kept for longer than the protocol says."""
        with self.assertRaises(Refusal):
            messages.compose(self.store, "bob", "hello", now=START, expiry=MAX_EXPIRY + 1)

    def test_no_profile(self) -> None:
        """A store without a profile takes no messages."""
        with self.assertRaises(Refusal) as caught:
            messages.compose(MemoryProfile(), "bob", "hello", now=START)
        self.assertEqual(caught.exception.code, "no-profile")

    def test_withdrawn(self) -> None:
        """A draft that is withdrawn was never sent, and leaves the outbox."""
        message_id = self.compose()
        self.assertFalse(messages.withdraw(self.store, message_id))
        self.assertEqual(self.sent(message_id).status, "withdrawn")
        self.assertEqual(outbox_rows(self.store), 0)

    def test_withdrawn_then_wanted(self) -> None:
        """The same message again after it was withdrawn is to be sent after all."""
        self.compose(message_id=NAMED)
        messages.withdraw(self.store, NAMED)
        self.compose(message_id=NAMED)
        self.assertEqual(self.sent(NAMED).status, "queued")
        self.assertEqual(outbox_rows(self.store), 1)
        self.assertEqual(len(messages.history(self.store, "bob")), 1)

    def test_withdraw_unknown(self) -> None:
        """To withdraw what does not exist changes nothing."""
        self.assertFalse(messages.withdraw(self.store, NAMED))

    def test_unknown(self) -> None:
        """An id that stands for nothing is nobody's message."""
        self.assertIsNone(messages.sent(self.store, NAMED))

    def test_history_limit(self) -> None:
        """The last messages of a contact are found among those of many."""
        for number in range(50):
            self.compose(f"to bob {number}")
            for other in ("carol", "dave", "eve"):
                self.compose("noise", other)
        said = [line.text for line in messages.history(self.store, "bob", 3)]
        self.assertEqual(said, ["to bob 47", "to bob 48", "to bob 49"])
        self.assertEqual(len(messages.history(self.store, "bob", 1000)), 50)

    def test_no_secrets(self) -> None:
        """A text is not part of what a line looks like in a log."""
        self.assertNotIn("hello", repr(self.sent(self.compose())))


class ReadingTests(SynchronousTestCase):
    """Messages that came."""

    def setUp(self) -> None:
        """Alice and Carol have written to Bob."""
        self.world = World()
        self.alice, self.bob, self.carol = (self.world.user(name) for name in ("alice", "bob", "carol"))
        for number in range(3):
            self.alice.send("bob", f"a{number}")
            self.carol.send("bob", f"c{number}", kind=Kind.ANSWER)

    def test_in_order(self) -> None:
        """What came is read in the order in which it came."""
        self.assertEqual(self.bob.read(), ["a0", "c0", "a1", "c1", "a2", "c2"])

    def test_once(self) -> None:
        """What was given is not given again."""
        self.bob.read()
        self.assertEqual(self.bob.read(), [])

    def test_not_marked(self) -> None:
        """What was not marked is given again: only its reader knows that it got there."""
        first = messages.unread(self.bob.store)
        self.assertEqual(messages.unread(self.bob.store), first)

    def test_of_one_sender(self) -> None:
        """The messages of one sender can be read alone."""
        found = messages.unread(self.bob.store, "carol", 2)
        self.assertEqual([message.text for message in found], ["c0", "c1"])
        self.assertEqual({message.kind for message in found}, {Kind.ANSWER})

    def test_unread(self) -> None:
        """What was not given is counted by sender."""
        self.assertEqual(messages.unread_counts(self.bob.store), {"alice": 3, "carol": 3})
        self.bob.read()
        self.assertEqual(messages.unread_counts(self.bob.store), {})

    def test_history_keeps(self) -> None:
        """What was given stays in history, and history gives nothing."""
        self.assertEqual(self.bob.texts("alice"), ["a0", "a1", "a2"])
        self.assertEqual(len(self.bob.read()), 6)
        self.assertEqual(self.bob.texts("alice"), ["a0", "a1", "a2"])

    def test_first_use(self) -> None:
        """A sender whose identity nobody compared is shown as unverified."""
        self.assertFalse(messages.unread(self.bob.store)[0].verified)

    def test_both_directions(self) -> None:
        """A conversation's history holds what was sent and what came, as it happened."""
        self.bob.send("alice", "b0")
        self.alice.send("bob", "a3")
        self.assertEqual([line.text for line in self.bob.lines("alice")], ["a0", "a1", "a2", "b0", "a3"])


class UnreadTests(SynchronousTestCase):
    """What is unread."""

    def test_made_before(self) -> None:
        """A profile that was made before there were buckets by conversation gets them when it is opened, once."""
        world = World()
        alice, bob = world.user("alice"), world.user("bob")
        bob.send("alice", "hello")
        with alice.store.inner.writing() as records:
            for bucket in records.buckets(INBOUND):
                for _, seq, _ in records.scan(INBOUND, bucket):
                    if bucket != ROWS:
                        records.delete(INBOUND, bucket, seq)
        self.assertEqual(messages.unread_counts(alice.store), {})
        for _ in range(2):
            load_any(alice.store)
            self.assertEqual(messages.unread_counts(alice.store), {"bob": 1})
            self.assertEqual([each.text for each in messages.unread(alice.store, "bob")], ["hello"])
