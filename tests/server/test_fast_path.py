"""Messages that are delivered before the commit, and are written only if they are not acknowledged soon."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys
from securemsg.interfaces import WriteBatch, WriteOutcome
from securemsg.protocol.messages import (
    Acceptance,
    Accepted,
    AccountRecord,
    Deliver,
    Deposit,
    DepositRefused,
    Destination,
    Missed,
    Part,
    SignedDeviceList,
)
from securemsg.server import relayed
from securemsg.server.accounts import AccountState, DeviceState
from securemsg.server.hold import LONG, SHORT, SLOWEST, Hold
from securemsg.server.limits import Settings
from securemsg.server.relayed import RelayedDeposits, fingerprint
from tests.server.case import TwoPeople, changed


class FastPathTests(TwoPeople):
    """Both are here."""

    def setUp(self) -> None:
        """Keep what is given to the store."""
        super().setUp()
        self.rig.commit()
        self.written: list[WriteBatch] = []
        write = self.rig.store.write

        def note(batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
            self.written.append(batch)
            write(batch, done)

        self.patch(self.rig.store, "write", note)

    def deposit(self, text: bytes = b"text") -> Deposit:
        """Alice deposits something for Bob, which is delivered at once."""
        deposit = self.sender.deposit(self.bob, text=text)
        self.sender.ask(deposit)
        delivery = self.reader.inbox[-1]
        assert isinstance(delivery, Deliver), delivery
        self.assertEqual(delivery.common, text)
        return deposit

    def answers(self) -> list[Acceptance]:
        """What was accepted."""
        return [acceptance for message in self.sender.pop(Accepted) for acceptance in message.deposits]

    def rows(self) -> int:
        """How many deposits were written."""
        return sum(len(batch.deposits) for batch in self.written)

    def test_never_written(self) -> None:
        """What is acknowledged in time is accepted at once, and not written; nothing of it is left."""
        deposit = self.deposit()
        self.assertEqual(self.sender.inbox, [])
        self.reader.acknowledge()
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=False)])
        device = self.reader.wire.peer.device
        self.assertEqual((device.messages, device.size, device.unsettled), (0, 0, {}))
        self.assertEqual((self.rig.server.commits.size, self.rig.server.commits.pending), (0, {}))
        self.rig.commit()
        self.assertEqual(self.rows(), 0)
        self.assertEqual([batch.acknowledged for batch in self.written], [{}])
        self.assertEqual(self.answers(), [])
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), [])

    def test_held(self) -> None:
        """What is not acknowledged is written after one to two ticks, then accepted; a later one is held as long."""
        self.deposit(b"first")
        self.rig.timers.advance(LONG)
        self.deposit(b"second")
        self.assertEqual(self.rig.store.held, 0)
        self.rig.timers.advance(LONG)
        self.assertEqual([row.common for batch in self.written for row in batch.deposits], [b"first"])
        self.assertEqual(self.sender.inbox, [])
        self.rig.store.flush()
        self.rig.run()
        self.assertEqual([answer.stored for answer in self.answers()], [True])
        self.assertEqual(self.reader.delivered(), [b"first", b"second"])
        self.rig.timers.advance(LONG)
        self.assertEqual([row.common for batch in self.written for row in batch.deposits], [b"first", b"second"])
        self.reader.acknowledge(2)
        self.assertEqual([answer.stored for answer in self.answers()], [False])

    def test_long_commit(self) -> None:
        """While a commit takes long, what is acknowledged does not stay in memory, and what is not is written after it."""
        self.deposit(b"first")
        self.rig.begin_commit()
        deposits = [self.deposit(b"%d" % number) for number in range(3)]
        self.reader.acknowledge(3)
        gone = ref(self.rig.server.commits.pending[self.alice_mailbox(), deposits[2].deposit_id])
        for _ in range(3):
            self.rig.timers.advance(LONG)
        self.assertIsNotNone(gone())
        self.reader.acknowledge(4)
        self.rig.timers.advance(LONG)
        self.assertIsNone(gone())
        self.deposit(b"last")
        self.rig.commit()
        self.assertEqual([row.common for batch in self.written for row in batch.deposits], [b"first", b"last"])

    def alice_mailbox(self) -> int:
        """By which the deposits of Alice are known."""
        return self.sender.wire.peer.device.mailbox

    def test_all_in_order(self) -> None:
        """What could not be delivered at once is not overtaken by what comes when it could."""
        self.reader.wire.peer.writable(False)
        self.sender.ask(self.sender.deposit(self.bob, text=b"first"))
        self.reader.wire.peer.writable(True)
        self.sender.ask(self.sender.deposit(self.bob, text=b"second"))
        self.assertEqual(self.reader.delivered(), [])
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), [b"first", b"second"])

    def test_behind_what_is_held(self) -> None:
        """What has to be written at once takes along what is held before it, so that a page never has a gap."""
        self.deposit(b"first")
        self.reader.wire.peer.writable(False)
        self.sender.ask(self.sender.deposit(self.bob, text=b"second"))
        self.assertEqual([row.common for batch in self.written for row in batch.deposits], [b"first", b"second"])

    def test_window(self) -> None:
        """No more is delivered at once than the window has room for."""
        self.rig.settings = Settings(registration="open", window_frames=2)
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(*[self.sender.deposit(self.bob, text=b"%d" % number) for number in range(4)])
        self.assertEqual(self.reader.delivered(), [b"0", b"1"])

    def test_all_acknowledge(self) -> None:
        """With several devices the last acknowledgement counts; what some have is written for the others only."""
        second, other = self.two_devices()
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        self.reader.acknowledge()
        self.assertEqual(self.sender.inbox, [])
        other.acknowledge()
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=False)])
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        self.reader.acknowledge()
        self.rig.commit()
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=True)])
        self.assertEqual([len(row.rows) for batch in self.written for row in batch.deposits], [1])
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), [])
        self.assertEqual(len(self.rig.login(second).delivered()), 1)

    def test_one_is_away(self) -> None:
        """A deposit to somebody who is here and somebody who is not is delivered to the one, and written at once for both."""
        carol, absent = self.rig.register("carol")
        self.rig.commit()
        self.written.clear()
        self.rig.lose(absent)
        self.sender.ask(self.sender.deposit(self.bob, carol))
        self.assertEqual(len(self.reader.pop(Deliver)), 1)
        self.assertEqual([len(row.rows) for batch in self.written for row in batch.deposits], [2])

    def test_reconnect(self) -> None:
        """A device that comes back before that was written gets it again, without waiting for time to pass."""
        self.deposit()
        self.rig.lose(self.reader)
        self.reader = self.rig.greet()
        self.reader.ask(self.rig.proof(self.reader, self.bob))
        while self.rig.store.held:
            self.rig.store.flush()
            self.rig.run()
        self.assertEqual(self.reader.delivered(), [b"text"])
        self.assertEqual(len(self.answers()), 1)

    def test_repeated(self) -> None:
        """A repetition is accepted again, and not delivered again; with other contents it is in conflict."""
        deposit = self.deposit()
        self.reader.acknowledge()
        self.rig.lose(self.sender)
        self.sender = self.rig.login(self.alice)
        for _ in range(2):
            self.sender.ask(deposit)
            self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=False)])
        self.assertEqual(self.reader.inbox, [])
        [to] = deposit.to
        [part] = to.parts
        for other in (
            changed(deposit, common=b"other"),
            changed(deposit, expiry=deposit.expiry + 1),
            changed(deposit, to=[Destination("bob", [Part(part.device, b"other")])]),
            changed(deposit, to=[Destination("bob", [Part(keys.random_id(), part.own)])]),
            changed(deposit, to=[Destination("alice", to.parts)]),
        ):
            self.sender.ask(other)
            self.assertEqual(self.sender.one(DepositRefused).code, "conflict")

    def test_missed(self) -> None:
        """What a full mailbox missed is written though all others have acknowledged it: a repetition is answered alike."""
        self.rig.settings = Settings(registration="open", mailbox_messages=1)
        self.rig.crash()
        carol, absent = self.rig.register("carol")
        self.rig.lose(absent)
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(self.sender.deposit(carol))
        self.rig.commit()
        self.answers()
        deposit = self.sender.deposit(self.bob, carol)
        self.sender.ask(deposit)
        self.reader.acknowledge()
        missed = [Missed("carol", carol.device_id, "mailbox-full")]
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, missed, stored=False)])
        self.rig.commit()
        self.assertEqual(self.answers(), [])
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, missed, stored=True)])

    def test_repeated_after_crash(self) -> None:
        """What was never written is not known to the next process, and delivered again; its reader knows it."""
        deposit = self.deposit()
        self.reader.acknowledge()
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(deposit)
        self.assertEqual(self.reader.delivered(), [b"text"])

    def test_acknowledged_during_commit(self) -> None:
        """What is acknowledged while it is being written is accepted at once, once, and deleted by the next commit."""
        deposit = self.deposit()
        self.rig.begin_commit()
        self.reader.acknowledge()
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=False)])
        # A repetition that comes now is answered, too.
        self.sender.ask(deposit)
        self.assertEqual(self.answers(), [Acceptance(deposit.deposit_id, [], stored=False)])
        self.rig.commit()
        self.assertEqual(self.answers(), [])
        self.assertEqual(self.sender.wire.peer.unanswered, 0)
        device = self.reader.wire.peer.device
        self.assertEqual((device.messages, device.size, device.unsettled), (0, 0, {}))
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), [])

    def test_highest(self) -> None:
        """The highest n of what was never written is written within a second; a crash before loses it."""
        for lost in (True, False):
            self.deposit()
            self.reader.acknowledge()
            before = self.sender.wire.peer.device.highest
            if not lost:
                self.rig.commit()
            self.rig.crash()
            self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
            self.assertEqual(self.sender.wire.peer.device.highest, 0 if lost else before)

    def test_many_unanswered(self) -> None:
        """Who may not have more unanswered does not wait for time to pass."""
        self.rig.settings = Settings(registration="open", max_unanswered=2)
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(*[self.sender.deposit(self.bob) for _ in range(2)])
        self.assertEqual(self.rig.store.held, 1)

    def test_crowd(self) -> None:
        """Nor does the memory that deposits take."""
        self.rig.settings = Settings(registration="open", crowded_size=1000)
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(self.sender.deposit(self.bob, text=bytes(1000)))
        self.assertEqual(self.rig.store.held, 1)
        self.assertTrue(self.sender.wire.paused)
        self.reader.acknowledge()
        self.rig.commit()
        self.assertFalse(self.sender.wire.paused)


class RelayedTests(SynchronousTestCase):
    """What is remembered of deposits that were never written."""

    def test_fingerprint(self) -> None:
        """It tells deposits apart by recipients, expiry, and the ends and lengths of their contents."""
        for count in (1, 2):
            parts = [Part(bytes([number]) * 16, b"own") for number in range(count)]
            deposit = Deposit(bytes(16), 1, 1, b"common", [Destination("bob", parts)])
            others = [
                changed(deposit, expiry=2),
                changed(deposit, common=b"commoN"),
                changed(deposit, common=b"c" * 40 + b"common"),
                changed(deposit, to=[Destination("alice", parts)]),
                changed(deposit, to=[Destination("bob", [changed(parts[0], device=b"x" * 16), *parts[1:]])]),
                changed(deposit, to=[Destination("bob", [changed(parts[0], own=b"owN"), *parts[1:]])]),
                changed(deposit, to=[Destination("bob", [changed(parts[0], own=b"o" * 40 + b"own"), *parts[1:]])]),
                changed(deposit, to=[Destination("bob", parts), Destination("carol", parts)]),
            ]
            self.assertEqual(len({fingerprint(one) for one in (deposit, *others)}), 1 + len(others))
            self.assertEqual(fingerprint(changed(deposit, n=2)), fingerprint(deposit))

    def test_bounded(self) -> None:
        """The last ones are known, and never more than two generations."""
        self.patch(relayed, "GENERATION", 4)
        table = RelayedDeposits()
        deposits = [Deposit(bytes([number]) * 16, 1, 1, b"", []) for number in range(20)]
        for count, deposit in enumerate(deposits, start=1):
            table.remember((1, deposit.deposit_id), deposit)
            self.assertLessEqual(len(table), 8)
            known = [one for one in deposits if table.find((1, one.deposit_id)) is not None]
            self.assertEqual(known, deposits[:count][-len(known) :])
            self.assertGreaterEqual(len(known), min(count, 4))
        self.assertIsNone(table.find((2, deposits[-1].deposit_id)))


class HoldTests(SynchronousTestCase):
    """How long is held."""

    def setUp(self) -> None:
        """Nothing was measured yet."""
        self.hold = Hold()
        record = AccountRecord("bob", bytes(32), SignedDeviceList(b"", bytes(64)))
        account = AccountState("bob", bytes(32), record, version=1, root=1)
        self.device = DeviceState(
            account, bytes(16), bytes(32), 1, highest=0, messages=0, size=0, last_position=0, committed=0, submitted=0
        )
        self.now = 0.0

    def measure(self, seconds: float) -> None:
        """A reader takes so long."""
        self.assertTrue(self.hold.is_due)
        self.hold.start(self.device, 7, self.now)
        self.assertFalse(self.hold.is_due)
        self.now += seconds
        self.hold.acknowledged(6, self.now)
        self.assertIs(self.hold.device, self.device)
        self.hold.acknowledged(8, self.now)
        self.assertIsNone(self.hold.device)
        self.hold.tick(self.now)

    def test_follows(self) -> None:
        """Fast readers are waited for, slow ones are not; either after several measurements."""
        self.assertEqual(self.hold.seconds, LONG)
        for _ in range(50):
            self.measure(0.05)
        self.assertEqual(self.hold.seconds, SHORT)
        self.measure(0.001)
        self.assertEqual(self.hold.seconds, SHORT)
        for _ in range(50):
            self.measure(0.001)
        self.assertEqual(self.hold.seconds, LONG)

    def test_never_acknowledged(self) -> None:
        """A reader that never acknowledges counts as a slow one, and does not keep others from being measured."""
        self.hold.start(self.device, 7, self.now)
        self.hold.tick(SLOWEST / 2)
        self.assertFalse(self.hold.is_due)
        self.hold.tick(SLOWEST * 2)
        self.assertTrue(self.hold.is_due)
        self.assertEqual(self.hold.seconds, SHORT)
