"""The bounds of the quarantine."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.state import quarantine
from securemsg.client.state.quarantine import MAX_PEER_ROWS, MAX_ROWS, MAX_SIZE
from securemsg.protocol.messages import Deliver
from securemsg.storage.memory import MemoryProfile
from tests.client.people import NOW

OWN = bytes(100)


class QuarantineCase(SynchronousTestCase):
    """A quarantine."""

    def setUp(self) -> None:
        """It is empty."""
        self.store = MemoryProfile()

    def put(self, name: str, size: int, code: str = "unauthentic") -> bool:
        """Keep something of this size, parts and all."""
        delivery = Deliver(1, name, bytes(16), bytes(16), NOW, bytes(size - len(OWN)), OWN)
        with self.store.writing() as records:
            return quarantine.add(records, delivery, code, b"", NOW)

    def release(self, name: str) -> None:
        """Let the first row of a peer go."""
        with self.store.writing() as records:
            order, row = quarantine.rows_of(records, name)[0]
            quarantine.release(records, name, order, row)


class BoundTests(QuarantineCase):
    """A quarantine that fills up."""

    def test_bytes(self) -> None:
        """It holds so many bytes over all peers, both parts counted, and not one more; what finds no room is counted."""
        for name in ("alice", "bob", "carol"):
            self.assertTrue(self.put(name, MAX_SIZE // 4))
        self.assertFalse(self.put("dave", MAX_SIZE // 4 + 1))
        self.assertTrue(self.put("dave", MAX_SIZE // 4))
        self.assertFalse(self.put("erin", len(OWN)))
        self.assertEqual(messages.quarantined(self.store), (4, 2))

    def test_room_again(self) -> None:
        """What leaves makes room for exactly as many bytes."""
        self.assertTrue(self.put("alice", 1000))
        self.assertTrue(self.put("bob", MAX_SIZE - 1000))
        self.assertFalse(self.put("carol", 1000))
        self.release("alice")
        self.assertFalse(self.put("carol", 1001))
        self.assertTrue(self.put("carol", 1000))
        self.assertEqual(messages.quarantined(self.store), (2, 2))

    def test_rows(self) -> None:
        """It holds so many rows over all peers, however small."""
        for number in range(MAX_ROWS):
            self.assertTrue(self.put(f"peer{number // MAX_PEER_ROWS}", len(OWN)))
        self.assertFalse(self.put("carol", len(OWN)))
        self.release("peer0")
        self.assertTrue(self.put("carol", len(OWN)))
        self.assertEqual(messages.quarantined(self.store), (MAX_ROWS, 1))


class LockedTests(QuarantineCase):
    """What waits for a key file."""

    def locked(self) -> dict[str, int]:
        """Of whom, and how many."""
        return {peer.name: peer.locked for peer in messages.held_back(self.store)}

    def set_code(self, name: str, code: str) -> None:
        """The first row of a peer is tried, in vain."""
        with self.store.writing() as records:
            order, row = quarantine.rows_of(records, name)[0]
            quarantine.set_code(records, name, order, row, code)

    def test_counted(self) -> None:
        """What waits for a key file, whether there is none or another, is counted for each peer while it is there."""
        ann = [("ann", code) for code in ("suite-unavailable", "suite-unavailable", "no-session")]
        for name, code in (*ann, ("ben", "wrong-key")):
            self.assertTrue(self.put(name, 1000, code))
        self.assertEqual(self.locked(), {"ann": 2, "ben": 1})
        self.set_code("ann", "wrong-key")
        self.set_code("ben", "unauthentic")
        self.assertEqual(self.locked(), {"ann": 2, "ben": 0})
        for _ in range(3):
            self.release("ann")
        self.assertEqual(self.locked(), {"ben": 0})
        self.assertEqual(messages.quarantined(self.store), (1, 0))

    def test_about_to_be_tried(self) -> None:
        """Whether a key that was just given opens them is not known before they were tried."""
        self.put("ann", 1000, "suite-unavailable")
        for mark, again in ((quarantine.mark_for_retry, True), (quarantine.mark_tried, False)):
            with self.store.writing() as records:
                mark(records, "ann")
            self.assertEqual([peer.again for peer in messages.held_back(self.store)], [again])
