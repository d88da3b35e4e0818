"""Segments of mailboxes: acknowledged in part, expired in part, divided, and made of the rows of an older release."""

from __future__ import annotations

import sqlite3

import msgspec

from securemsg.interfaces import DepositRow, StoredMessage
from securemsg.storage.sqlite.mailboxes import place
from securemsg.storage.sqlite.memory import MemoryServerStore
from securemsg.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS
from securemsg.storage.sqlite.segments import SEGMENT_MESSAGES, SEGMENT_SIZE
from tests.storage.contract import InMemory, OnDisk
from tests.storage.stores import DAY, NOW, account, deposit, until

# The layout in which each message had a row.
WITHOUT_SEGMENTS = 3
# The one whose messages were of no room.
WITHOUT_ROOMS = 4


class SegmentCase(InMemory):
    """Alice writes to Bob, and to her other device."""

    __test__ = False

    def setUp(self) -> None:
        """Register them."""
        super().setUp()
        self.phone, self.desk = self.join("alice", b"phone", b"desk")
        (self.bob,) = self.join("bob")
        self.sent = 0

    def deposits(self, *positions: int, desk: bool = False, common: bytes = b"common") -> list[DepositRow]:
        """A message for Bob at each of these positions, for Alice's desk as well if so wished."""
        rows = [((self.bob, position), *[(self.desk, position)] * desk) for position in positions]
        numbers = range(self.sent + 1, self.sent + len(rows) + 1)
        self.sent += len(rows)
        return [deposit(self.phone, b"d%d" % n, n, *row, common=common) for n, row in zip(numbers, rows, strict=True)]

    def rows(self, table: str = "messages") -> int:
        """How many rows a table has."""
        assert isinstance(self.store, MemoryServerStore)
        ((count,),) = self.store.query(f"SELECT count(*) FROM {table}")  # noqa: S608 -- the name is ours
        return int(count)

    def assert_waiting(self, *positions: int) -> None:
        """This is what waits for Bob, by the pages and by the counts, now and for the next process."""
        for _ in range(2):
            waiting = self.page(self.bob, limit=1000)
            self.assertEqual([message.position for message in waiting], list(positions))
            size = sum(len(message.common) + len(message.own) for message in waiting)
            self.assertEqual(self.counts("bob"), [(len(positions), size, max(positions, default=0))])
            self.reopen()


class AcknowledgementTests(SegmentCase):
    """A segment that is acknowledged in part."""

    __test__ = True

    def test_in_part(self) -> None:
        """What is acknowledged of it does not come again, and is not counted; what was acknowledged before changes nothing."""
        self.write(*self.deposits(1, 2, 3, 4, 6, 7))
        for position, left in ((2, (3, 4, 6, 7)), (1, (3, 4, 6, 7)), (5, (6, 7)), (6, (7,)), (7, ())):
            self.write(acknowledged={self.bob: position})
            self.assertEqual(self.rows(), 1 if left else 0)
            self.assert_waiting(*left)

    def test_into_another(self) -> None:
        """An acknowledgement deletes whole segments, also one that was acknowledged in part, and goes into another."""
        for first in (1, 11, 21, 31):
            self.write(*self.deposits(first, first + 1, first + 2))
        self.write(acknowledged={self.bob: 2})
        self.assert_waiting(3, 11, 12, 13, 21, 22, 23, 31, 32, 33)
        self.write(acknowledged={self.bob: 22})
        self.assert_waiting(23, 31, 32, 33)
        self.write(acknowledged={self.bob: 30})
        self.assert_waiting(31, 32, 33)

    def test_written_with_it(self) -> None:
        """What comes with the acknowledgement is behind it."""
        self.write(*self.deposits(1, 2, 3))
        self.write(*self.deposits(4, 5), acknowledged={self.bob: 2})
        self.assert_waiting(3, 4, 5)
        self.write(*self.deposits(6, 7), acknowledged={self.bob: 6})
        self.assert_waiting(7)

    def test_emptied(self) -> None:
        """In a mailbox that was emptied, positions begin again."""
        self.write(*self.deposits(1, 2, 3))
        self.write(acknowledged={self.bob: 2})
        self.write(acknowledged={self.bob: 3})
        self.write(*self.deposits(1, 2))
        self.assert_waiting(1, 2)

    def test_shared(self) -> None:
        """A common part is there until the segments are gone that need it."""
        self.write(*self.deposits(1, 2, desk=True), *self.deposits(3), *self.deposits(4, desk=True))
        self.write(acknowledged={self.bob: 2})
        self.assert_waiting(3, 4)
        self.write(acknowledged={self.desk: 4})
        self.assertEqual(self.rows("commons"), 3)
        self.assert_waiting(3, 4)
        self.write(acknowledged={self.bob: 4})
        self.assertEqual(self.rows("commons"), 0)

    def test_page_within(self) -> None:
        """A page begins and ends anywhere in a segment."""
        self.write(*self.deposits(1, 2, 3, 4))
        self.write(*self.deposits(5, 6, 7, 8))
        self.write(acknowledged={self.bob: 1})
        for after, limit, expected in ((0, 2, [2, 3]), (3, 1, [4]), (3, 3, [4, 5, 6]), (6, 9, [7, 8]), (8, 9, [])):
            self.assertEqual([message.position for message in self.page(self.bob, after, limit)], expected)

    def test_disorder(self) -> None:
        """What would lie before a message that is there is not written: its reader may have passed that."""
        self.write(*self.deposits(5, 8))
        for positions in ((4,), (6, 7), (7, 9)):
            self.assertRaises(AssertionError, self.write, *self.deposits(*positions))
            self.reopen()
        self.assert_waiting(5, 8)


class DivisionTests(SegmentCase):
    """How long a segment is."""

    __test__ = True

    def test_many(self) -> None:
        """A batch with more messages makes several, and nothing is out of place."""
        positions = range(1, 3 * SEGMENT_MESSAGES + 2)
        self.write(*self.deposits(*positions))
        self.assertEqual(self.rows(), 4)
        self.assert_waiting(*positions)

    def test_large(self) -> None:
        """So does one with large messages, of which each has a segment at least."""
        self.write(*self.deposits(1, 2, 3, common=bytes(SEGMENT_SIZE)))
        self.assertEqual(self.rows(), 3)
        self.assert_waiting(1, 2, 3)

    def test_full(self) -> None:
        """The last message may be the one that fills a segment."""
        self.write(*self.deposits(*range(1, 2 * SEGMENT_MESSAGES + 1)))
        self.assertEqual(self.rows(), 2)


class ExpiryTests(SegmentCase):
    """A segment of which some has expired."""

    __test__ = True

    def store_with(self, *expiries: int, desk: bool = False) -> None:
        """Messages that expire so many seconds from now, in one segment."""
        rows = self.deposits(*range(1, len(expiries) + 1), desk=desk)
        self.write(*(until(row, NOW + seconds) for row, seconds in zip(rows, expiries, strict=True)))

    def sizes(self, *positions: int) -> tuple[int, int]:
        """How many these are, and what they weigh."""
        return len(positions), sum(len(b"common") + len(b"own of %d/%d" % (self.bob, position)) for position in positions)

    def test_some(self) -> None:
        """The others stay, and expire in their time."""
        self.store_with(10, 30, 20, 10)
        for now, gone, left in ((9, (), (1, 2, 3, 4)), (10, (1, 4), (2, 3)), (20, (3,), (2,)), (30, (2,), ())):
            self.assertEqual(self.expire(NOW + now), {self.bob: self.sizes(*gone)} if gone else {})
            self.assert_waiting(*left)
        self.assertEqual(self.rows(), 0)

    def test_limit(self) -> None:
        """One call deletes no more than it may, and the next goes on."""
        self.store_with(10, 10, 90, 10, 10)
        for gone, left in (((1, 2), (3, 4, 5)), ((4, 5), (3,)), ((), (3,))):
            self.assertEqual(self.expire(NOW + 10, limit=2), {self.bob: self.sizes(*gone)} if gone else {})
            self.assert_waiting(*left)

    def test_acknowledged(self) -> None:
        """What is acknowledged does not expire again, and does not come again with what stays."""
        self.store_with(10, 20, 10, 20)
        self.write(acknowledged={self.bob: 2})
        self.assertEqual(self.expire(NOW + 10), {self.bob: self.sizes(3)})
        self.assert_waiting(4)

    def test_only_acknowledged(self) -> None:
        """Where nothing has expired but what is acknowledged, the mailbox is left in peace from then on."""
        self.store_with(10, 20, 20)
        self.write(acknowledged={self.bob: 1})
        self.assertEqual(self.expire(NOW + 10), {})
        self.assert_waiting(2, 3)
        assert isinstance(self.store, MemoryServerStore)
        self.assertIn((self.bob, NOW + 20), self.store.query("SELECT mailbox, next_expiry FROM mailboxes"))

    def test_rest(self) -> None:
        """When the rest of the last segment has expired, positions begin again."""
        self.store_with(10, 10, 10)
        self.write(acknowledged={self.bob: 2})
        self.assertEqual(self.expire(NOW + 10), {self.bob: self.sizes(3)})
        self.write(*self.deposits(1, 2))
        self.assert_waiting(1, 2)

    def test_between(self) -> None:
        """The same, when an acknowledgement had ended between two segments."""
        self.store_with(10, 10, 10)
        self.write(*(until(row, NOW + 10) for row in self.deposits(11, 12)))
        for position in (1, 10):
            self.write(acknowledged={self.bob: position})
        self.assertEqual(self.expire(NOW + 10), {self.bob: self.sizes(11, 12)})
        self.write(*self.deposits(1, 2))
        self.assert_waiting(1, 2)

    def test_shared(self) -> None:
        """The common parts of what is gone are needed by one segment less, those of what stays are not."""
        self.store_with(10, 20, 10, desk=True)
        self.write(acknowledged={self.bob: 1, self.desk: 3})
        self.expire(NOW + 10)
        self.assertEqual(self.rows("commons"), 1)
        self.assert_waiting(2)


class OlderCase(OnDisk):
    """A file of an older layout."""

    __test__ = False
    layout: int

    def setUp(self) -> None:
        """A file of that layout, with two devices."""
        super().setUp()
        self.wait(self.close())
        self.path.unlink()
        self.older = sqlite3.connect(self.path, isolation_level=None)
        for statements in MIGRATIONS[: self.layout]:
            for statement in statements:
                if isinstance(statement, str):
                    self.older.execute(statement)
                else:
                    statement(self.older)
        self.older.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.older.execute(f"PRAGMA user_version = {self.layout}")
        self.older.execute("INSERT INTO accounts VALUES (1, 'bob', x'', 1, 0, x'', x'', x'', NULL)")
        for device in (b"phone", b"desk"):
            mailbox = self.older.execute("INSERT INTO devices VALUES (NULL, 1, ?, x'', x'')", (device,)).lastrowid
            self.older.execute("INSERT INTO mailboxes (mailbox) VALUES (?)", (mailbox,))


class OlderTests(OlderCase):
    """A file in which each message has a row."""

    __test__ = True
    layout = WITHOUT_SEGMENTS

    def add(self, mailbox: int, position: int, common: bytes, expires_at: int, shared: int | None = None) -> StoredMessage:
        """Write a message as it was written then."""
        message = StoredMessage(position, "alice", b"phone", b"%d" % position, NOW, expires_at, common, b"own %d" % position)
        size = len(common) + len(message.own)
        values = (place(mailbox, position), size, expires_at, shared, NOW, "alice", b"phone", message.deposit_id, message.own)
        inline = None if shared else common
        self.older.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, inline))
        self.older.execute(
            "UPDATE mailboxes SET messages = messages + 1, size = size + ?, next_expiry = min(next_expiry, ?)"
            " WHERE mailbox = ?",
            (size, expires_at, mailbox),
        )
        return message

    def test_rows(self) -> None:
        """What waited waits as it did, is acknowledged and expires as ever, and the common parts go with it."""
        count = 2 * SEGMENT_MESSAGES + 3
        phone = [self.add(1, 2 * n, bytes(n), NOW + DAY * (1 + n % 2)) for n in range(1, count)]
        phone += [self.add(1, 1000 + n, bytes(SEGMENT_SIZE - 1), NOW + 3 * DAY) for n in range(3)]
        self.older.execute("INSERT INTO commons VALUES (7, 2, ?)", (b"for both",))
        phone.append(self.add(1, 2000, b"for both", NOW + 3 * DAY, 7))
        desk = [self.add(2, 1, b"for both", NOW + 3 * DAY, 7), self.add(2, 2, b"alone", NOW + 3 * DAY)]
        self.older.close()
        self.store = self.open()
        for _ in range(2):
            self.assertEqual(self.page(1, limit=1000), phone)
            self.assertEqual(self.page(2), desk)
            self.reopen()
        self.assertEqual([last for _, _, last in self.counts("bob")], [2000, 2])
        gone = [message for message in phone if message.expires_at == NOW + DAY]
        size = sum(len(message.common) + len(message.own) for message in gone)
        self.assertEqual(self.expire(NOW + DAY, limit=1000), {1: (len(gone), size)})
        left = [message for message in phone if message.expires_at > NOW + DAY]
        self.assertEqual(self.page(1, limit=1000), left)
        self.write(acknowledged={1: 2000, 2: 1})
        self.assertEqual(self.counts("bob"), [(0, 0, 0), (1, len(desk[1].common) + len(desk[1].own), 2)])
        self.assertEqual(self.page(2), desk[1:])

    def test_empty(self) -> None:
        """A file without messages is brought up to date, and takes some."""
        self.older.close()
        self.store = self.open()
        self.wait(self.store.register(account("alice")))
        self.write(deposit(3, b"d1", 1, (1, 1)))
        self.assertEqual(self.positions(1), [1])


class RoomlessTests(OlderCase):
    """A file from before there were rooms."""

    __test__ = True
    layout = WITHOUT_ROOMS

    def test_no_room(self) -> None:
        """What waited waits as it did, and is of no room; there are no rooms, and no device has announced them."""
        encode = msgspec.msgpack.encode
        body = ("alice", b"phone", b"d1", NOW, NOW + DAY, b"common", b"own")
        segment = (place(1, 3), 1, 9, NOW + DAY, None, encode(([3], [9])), encode([body]))
        self.older.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", segment)
        self.older.execute("UPDATE mailboxes SET messages = 1, size = 9, next_expiry = ? WHERE mailbox = 1", (NOW + DAY,))
        self.older.close()
        self.store = self.open()
        self.assertEqual(self.page(1), [StoredMessage(3, *body, b"")])
        self.assertEqual([device.has_rooms for device in self.devices("bob")], [False, False])
        self.assertIsNone(self.wait(self.store.load_room(bytes(16))))
        self.assertEqual(self.expire(NOW + DAY), {1: (1, 9)})
