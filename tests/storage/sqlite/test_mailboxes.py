"""Deposits and mailboxes, in every server store."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.interfaces import ClockReading, MailboxRow, StoredMessage, StoredRoom, WriteOutcome
from tests.storage.contract import InMemory, OnDisk, StoreContract
from tests.storage.stores import DAY, NOW, batch, deposit, until


class MessageContract(StoreContract):
    """The promises of L{securemsg.interfaces.IMailboxStore}."""

    __test__ = False

    def setUp(self) -> None:
        """Alice with two devices, Bob with one."""
        super().setUp()
        self.phone, self.desk = self.join("alice", b"phone", b"desk")
        (self.bob,) = self.join("bob")

    def size(self, mailbox: int, *positions: int, common: bytes = b"common") -> int:
        """What messages with these positions weigh."""
        return sum(len(common) + len(b"own of %d/%d" % (mailbox, position)) for position in positions)

    def test_delivered(self) -> None:
        """A message comes out as it went in."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1)))
        own = b"own of %d/1" % self.bob
        expected = StoredMessage(1, "alice", b"phone", b"d1", NOW, NOW + 30 * DAY, b"common", own)
        self.assertEqual(self.page(self.bob), [expected])

    def test_of_a_room(self) -> None:
        """The item of a room comes out with the message at each device, also after a restart; of what is none none comes."""
        row = replace(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1)), room=b"item")
        self.write(row, deposit(self.phone, b"d2", 2, (self.bob, 2)))
        for _ in range(2):
            self.assertEqual([message.room for message in self.page(self.bob)], [b"item", b""])
            self.assertEqual([message.room for message in self.page(self.desk)], [b"item"])
            self.reopen()

    def test_steps(self) -> None:
        """A room's row is that of its last step, and no other room's; a step that was stored before does not move it."""
        first, second, third = [StoredRoom(b"room", n, b"list %d" % n, b"next %d" % n) for n in (1, 2, 3)]
        other = StoredRoom(b"other", 2**62, b"list", b"next")
        self.assertIsNone(self.wait(self.store.load_room(b"room")))
        rows = [
            replace(deposit(self.phone, b"d%d" % n, n), step=step) for n, step in enumerate((first, second, other, third), 1)
        ]
        self.write(*rows[:3])
        self.assertEqual(self.write(rows[0], deposit(self.phone, b"d5", 5)), WriteOutcome({0: rows[0].digest}))
        for newest in (second, third):
            self.reopen()
            self.assertEqual([self.wait(self.store.load_room(room)) for room in (b"room", b"other")], [newest, other])
            self.write(rows[3])

    def test_sender_without_mailbox(self) -> None:
        """A sender that has no mailbox, with a number below 0, is recognised like any other, and leaves no n behind."""
        row = replace(deposit(self.phone, b"d1", 0, (self.bob, 1)), sender=-(2**63))
        self.assertEqual(self.write(row), WriteOutcome({}))
        self.assertEqual(self.positions(self.bob), [1])
        again = replace(row, rows=(MailboxRow(self.bob, 2, b"own"),))
        self.assertEqual(self.write(again), WriteOutcome({0: row.digest}))
        self.assertEqual(self.wait(self.store.find_deposit(-(2**63), b"d1")), row.digest)
        self.assertEqual(self.positions(self.bob), [1])

    def test_shared(self) -> None:
        """A deposit to several devices comes out at each, with the same common part and its own own part."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 4), common=b"for both"))
        for mailbox, position in ((self.bob, 1), (self.desk, 4)):
            (message,) = self.page(mailbox)
            own = b"own of %d/%d" % (mailbox, position)
            self.assertEqual((message.position, message.common, message.own), (position, b"for both", own))

    def test_shared_until_the_last(self) -> None:
        """The common part stays until the last device has acknowledged."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1), common=b"for both"))
        self.write(acknowledged={self.bob: 1})
        self.assertEqual(self.page(self.bob), [])
        self.assertEqual([message.common for message in self.page(self.desk)], [b"for both"])
        self.write(acknowledged={self.desk: 1})
        self.assertEqual(self.page(self.desk), [])

    def test_large(self) -> None:
        """Parts of many pages come out whole."""
        common = bytes(range(256)) * 250
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1), common=common))
        self.write(deposit(self.phone, b"d2", 2, (self.bob, 2), (self.desk, 1), common=common))
        for mailbox in (self.bob, self.desk):
            for message in self.page(mailbox):
                self.assertEqual(message.common, common)

    def test_by_position(self) -> None:
        """A mailbox is read by position, in whatever order a batch names it, and only behind the place asked for."""
        self.write(deposit(self.phone, b"d2", 2, (self.bob, 20)), deposit(self.phone, b"d1", 1, (self.bob, 10)))
        self.write(deposit(self.phone, b"d3", 3, (self.bob, 30)))
        self.assertEqual(self.positions(self.bob), [10, 20, 30])
        self.assertEqual([message.position for message in self.page(self.bob, after=10)], [20, 30])
        self.assertEqual(self.page(self.bob, after=30), [])

    def test_limit(self) -> None:
        """A page has at most so many messages."""
        self.write(*(deposit(self.phone, b"d%d" % n, n, (self.bob, n)) for n in range(1, 8)))
        self.assertEqual([message.position for message in self.page(self.bob, after=1, limit=3)], [2, 3, 4])

    def test_size(self) -> None:
        """A page ends with the message that reaches the size, and has one message at least."""
        self.write(*(deposit(self.phone, b"d%d" % n, n, (self.bob, n)) for n in range(1, 8)))
        one = self.size(self.bob, 1)
        for size, messages in ((0, 1), (1, 1), (one, 1), (one + 1, 2), (3 * one, 3), (100 * one, 7)):
            self.assertEqual(len(self.page(self.bob, size=size)), messages, size)

    def test_counted(self) -> None:
        """The directory knows what waits in each mailbox, and the last position."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 5)), deposit(self.phone, b"d2", 2, (self.bob, 9), (self.desk, 2)))
        self.assertEqual(self.counts("bob"), [(2, self.size(self.bob, 5, 9), 9)])
        self.assertEqual(self.counts("alice"), [(0, 0, 0), (1, self.size(self.desk, 2), 2)])
        self.write(acknowledged={self.bob: 5})
        self.assertEqual(self.counts("bob"), [(1, self.size(self.bob, 9), 9)])
        self.write(acknowledged={self.bob: 9})
        self.assertEqual(self.counts("bob"), [(0, 0, 0)])

    def test_acknowledged(self) -> None:
        """An acknowledgement deletes everything up to it, in its mailbox alone; a repeated one nothing more."""
        self.write(*(deposit(self.phone, b"d%d" % n, n, (self.bob, n), (self.desk, n)) for n in range(1, 6)))
        for _ in range(2):
            self.write(acknowledged={self.bob: 3})
            self.assertEqual(self.positions(self.bob), [4, 5])
        self.assertEqual(self.positions(self.desk), [1, 2, 3, 4, 5])
        self.write(acknowledged={self.bob: 2**35})
        self.assertEqual(self.positions(self.bob), [])

    def test_acknowledged_at_once(self) -> None:
        """What is acknowledged in the batch that writes it is gone, and known all the same."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1)), acknowledged={self.bob: 1})
        self.assertEqual(self.counts("bob"), [(0, 0, 0)])
        self.assertEqual(self.positions(self.desk), [1])
        self.assertEqual(self.wait(self.store.find_deposit(self.phone, b"d1")), b"digest of d1")

    def test_found(self) -> None:
        """A deposit is known by sender and id, also when nothing of it is left."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1)))
        self.write(acknowledged={self.bob: 1})
        self.assertEqual(self.wait(self.store.find_deposit(self.phone, b"d1")), b"digest of d1")
        self.assertIsNone(self.wait(self.store.find_deposit(self.desk, b"d1")))
        self.assertIsNone(self.wait(self.store.find_deposit(self.phone, b"d2")))

    def test_known(self) -> None:
        """Of a deposit that is known nothing is written, and the batch says so; the others of the batch are written."""
        self.assertEqual(self.write(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1))), WriteOutcome({}))
        outcome = self.write(
            deposit(self.phone, b"d2", 2, (self.bob, 2)),
            deposit(self.phone, b"d1", 1, (self.bob, 3), (self.desk, 3)),
            deposit(self.bob, b"d1", 1, (self.desk, 4)),
        )
        self.assertEqual(outcome, WriteOutcome({1: b"digest of d1"}))
        self.assertEqual(self.positions(self.bob), [1, 2])
        self.assertEqual(self.positions(self.desk), [1, 4])
        self.assertEqual(self.counts("bob"), [(2, self.size(self.bob, 1, 2), 2)])

    def test_known_within_batch(self) -> None:
        """Twice the same in one batch is written once."""
        first, again = (deposit(self.phone, b"d1", 1, (self.bob, position)) for position in (1, 2))
        self.assertEqual(self.write(first, again), WriteOutcome({1: b"digest of d1"}))
        self.assertEqual(self.positions(self.bob), [1])

    def test_highest(self) -> None:
        """The highest n of a device never goes down; it rises with deposits, known ones too, and without any."""
        self.write(deposit(self.phone, b"d1", 7, (self.bob, 1)))
        self.assertEqual(self.devices()[0].highest, 7)
        self.write(highest={self.phone: 9, self.bob: 3})
        self.write(highest={self.phone: 8})
        self.assertEqual(self.devices()[0].highest, 9)
        self.assertEqual(self.devices("bob")[0].highest, 3)
        self.write(deposit(self.phone, b"d1", 12, (self.bob, 2)), highest={self.phone: 10})
        self.assertEqual(self.devices()[0].highest, 12)

    def test_mailbox_gone(self) -> None:
        """What is meant for a device that was removed meanwhile goes nowhere; the other devices get theirs."""
        self.wait(self.store.publish("alice", 1, 2, b"", b"", ((b"phone", b"key of phone"),)))
        self.write(deposit(self.bob, b"d1", 1, (self.desk, 1)), deposit(self.bob, b"d2", 2, (self.desk, 2), (self.phone, 1)))
        self.assertEqual(self.page(self.desk), [])
        self.assertEqual(self.positions(self.phone), [1])
        self.write(acknowledged={self.desk: 9, self.phone: 1}, highest={self.desk: 4})
        self.assertEqual(self.counts("alice"), [(0, 0, 0)])

    def test_sender_gone(self) -> None:
        """What a device sent before it was removed is delivered."""
        self.write(deposit(self.phone, b"d1", 1, (self.bob, 1)))
        self.wait(self.store.remove_account("alice"))
        self.assertEqual([message.account for message in self.page(self.bob)], ["alice"])

    def test_in_order(self) -> None:
        """Batches are reported in the order they came, and each is seen by what is asked behind it."""
        reported: list[WriteOutcome] = []
        for n in range(1, 4):
            self.store.write(batch(deposit(self.phone, b"d%d" % n, n, (self.bob, n))), reported.append)
            self.store.write(batch(deposit(self.phone, b"d%d" % n, n, (self.bob, 9))), reported.append)
            self.assertEqual(len(self.wait(self.store.page(self.bob, 0, 100, 2**20))), n)
            self.assertEqual(reported[-2:], [WriteOutcome({}), WriteOutcome({0: b"digest of d%d" % n})])

    def test_expired_shown(self) -> None:
        """What has expired is in the mailbox until it is deleted: a reader who passed it over would have it deleted unseen."""
        self.write(until(deposit(self.phone, b"d1", 1, (self.bob, 1)), 0), deposit(self.phone, b"d2", 2, (self.bob, 2)))
        self.assertEqual(self.positions(self.bob), [1, 2])
        self.expire(1)
        self.assertEqual(self.positions(self.bob), [2])

    def test_expired(self) -> None:
        """What has expired is deleted and reported for each mailbox; the rest stays, and expires in its time."""
        self.write(
            until(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1)), NOW + 10),
            until(deposit(self.phone, b"d2", 2, (self.bob, 2)), NOW + 5),
            until(deposit(self.phone, b"d3", 3, (self.bob, 3)), NOW + 20),
        )
        self.assertEqual(self.expire(NOW + 4), {})
        taken = {self.bob: (2, self.size(self.bob, 1, 2)), self.desk: (1, self.size(self.desk, 1))}
        self.assertEqual(self.expire(NOW + 10), taken)
        self.assertEqual(self.counts("bob"), [(1, self.size(self.bob, 3), 3)])
        self.assertEqual(self.counts("alice")[1], (0, 0, 0))
        self.assertEqual(self.expire(NOW + 20), {self.bob: (1, self.size(self.bob, 3))})

    def test_expired_after_drain(self) -> None:
        """A mailbox that was emptied and filled again expires by what is in it now."""
        self.write(until(deposit(self.phone, b"d1", 1, (self.bob, 1)), NOW + 10))
        self.write(acknowledged={self.bob: 1})
        self.write(until(deposit(self.phone, b"d2", 2, (self.bob, 2)), NOW + 20))
        self.assertEqual(self.expire(NOW + 15), {})
        self.assertEqual(len(self.expire(NOW + 20)), 1)

    def test_expired_in_steps(self) -> None:
        """At most so many messages expire in one call, the oldest of a mailbox first; the next call goes on."""
        for n in range(1, 6):
            self.write(until(deposit(self.phone, b"d%d" % n, n, (self.bob, n), (self.desk, n)), NOW + 10))
        left = 10
        while left:
            taken = self.expire(NOW + 10, limit=3)
            step = sum(messages for messages, _ in taken.values())
            self.assertEqual(step, min(3, left))
            left -= step
        self.assertEqual(self.counts("bob"), [(0, 0, 0)])

    def test_expired_shared(self) -> None:
        """What expired for one device, in a call that ended there, is still whole for the other."""
        self.write(until(deposit(self.phone, b"d1", 1, (self.bob, 1), (self.desk, 1), common=b"for both"), NOW + 10))
        self.expire(NOW + 10, limit=1)
        waiting = self.page(self.bob) + self.page(self.desk)
        self.assertEqual([message.common for message in waiting], [b"for both"])

    def test_forgotten(self) -> None:
        """A deposit is forgotten when its time has come on the expiry clock, whenever it arrived by the wall clock."""
        future = NOW + 365 * DAY
        self.write(until(deposit(self.phone, b"old", 1, (self.bob, 1)), NOW + 5, NOW + 10, arrived_at=future))
        self.write(until(deposit(self.phone, b"new", 2, (self.bob, 2)), NOW + 5, NOW + 11, arrived_at=0))
        self.assertEqual(self.forgotten(b"old", b"new"), [False, False])
        self.expire(NOW + 9, future)
        self.assertEqual(self.forgotten(b"old", b"new"), [False, False])
        self.expire(NOW + 10, future)
        self.assertEqual(self.forgotten(b"old", b"new"), [True, False])
        self.assertEqual(self.positions(self.bob), [])

    def forgotten(self, *names: bytes) -> list[bool]:
        """Which deposits are not known any more."""
        return [self.wait(self.store.find_deposit(self.phone, name)) is None for name in names]

    def test_clock_new(self) -> None:
        """The expiry clock of a new store is at 0."""
        self.assertEqual(self.store.last_clock(), ClockReading(0, 0))

    def test_clock_kept(self) -> None:
        """The next process finds the expiry clock as it was kept; it never goes back, the wall clock does."""
        for now, wall, kept in ((100, NOW, 100), (160, NOW - DAY, 160), (150, NOW, 160)):
            self.wait(self.store.expire(ClockReading(now, wall), 0, 0, 100))
            self.reopen()
            self.assertEqual(self.store.last_clock(), ClockReading(kept, wall))


class MessagesOnDiskTests(MessageContract, OnDisk):
    """On SQLite."""

    __test__ = True


class MessagesInMemoryTests(MessageContract, InMemory):
    """In memory."""

    __test__ = True
