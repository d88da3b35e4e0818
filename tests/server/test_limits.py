"""Buckets, the disk, and the cache of accounts."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys
from securemsg.protocol.messages import (
    Bundle,
    Claim,
    Deposit,
    DepositRefused,
    Fetch,
    Hello,
    Message,
    Publish,
    Refused,
    Upload,
    Welcome,
    decode_message,
)
from securemsg.server.limits import DAY, MIB, Buckets, DiskGuard, Rate, Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.rig import Rig, upload


class BucketTests(SynchronousTestCase):
    """A token for everything."""

    def setUp(self) -> None:
        """Two at once, then one in ten seconds, for two keys."""
        self.time = 1000.0
        self.buckets = Buckets(Rate(2, 10), lambda: self.time, 2)

    def test_burst(self) -> None:
        """A burst is let through, and no more; each key has its own."""
        self.assertEqual([self.buckets.consume(1) for _ in range(3)], [True, True, False])
        self.assertTrue(self.buckets.consume(2))

    def test_refilled(self) -> None:
        """Time refills, up to the burst."""
        for _ in range(3):
            self.buckets.consume(1)
        self.time += 9
        self.assertFalse(self.buckets.consume(1))
        self.time += 1
        self.assertEqual([self.buckets.consume(1) for _ in range(2)], [True, False])
        self.time += 1000
        self.assertEqual([self.buckets.consume(1) for _ in range(3)], [True, True, False])

    def test_has_room(self) -> None:
        """To ask takes nothing."""
        self.assertEqual([self.buckets.has_room(1) for _ in range(3)], [True] * 3)
        self.buckets.consume(1, 2)
        self.assertFalse(self.buckets.has_room(1))
        self.time += 10
        self.assertEqual([self.buckets.has_room(1), self.buckets.consume(1), self.buckets.has_room(1)], [True, True, False])

    def test_bounded(self) -> None:
        """The table drops the key that was not used for longest."""
        for key in (1, 2, 1, 3):
            self.buckets.consume(key)
        self.assertEqual(len(self.buckets), 2)
        self.assertFalse(self.buckets.consume(1))
        self.assertTrue(self.buckets.consume(2))


class AccountRateTests(SynchronousTestCase):
    """Rates are those of an account: a device that comes with a new list does not begin them anew."""

    def refused(self, message: Message, **rates: Rate) -> None:
        """What one device may say once is refused to the next."""
        rig = Rig(Settings(registration="open", **rates))  # type: ignore[arg-type]
        alice, client = rig.register("alice")
        bob, other = rig.register("bob")
        other.ask(upload(bob))
        if isinstance(message, Deposit):
            message = client.deposit(bob)
        elif isinstance(message, Claim):
            message = replace(message, device=bob.device_id)
        client.ask(message)
        self.assertEqual(client.pop(Refused) + client.pop(DepositRefused), [])
        second = alice.sibling()
        alice.version = 2
        client.ask(Publish(1, alice.device_list()))
        late = rig.login(second)
        late.ask(replace(message, deposit_id=keys.random_id()) if isinstance(message, Deposit) else message)
        if isinstance(message, Claim):
            self.assertTrue(late.one(Bundle).kem_is_last_resort)
        else:
            refusals: list[Refused | DepositRefused] = [*late.pop(Refused), *late.pop(DepositRefused)]
            self.assertEqual([one.code for one in refusals], ["rate-limited"])
        self.assertEqual(rig.failures, [])

    def test_requests(self) -> None:
        """Questions to the directory."""
        self.refused(Fetch(1, "bob"), requests=Rate(2, 1000))

    def test_deposits(self) -> None:
        """Deposits."""
        self.refused(Deposit(bytes(16), 1, 1, b"", []), deposits=Rate(1, 10_000))

    def test_uploads(self) -> None:
        """Uploads."""
        self.refused(Upload(1, None, None, [], [], False), uploads=Rate(1, 10_000))

    def test_claims(self) -> None:
        """Claims, beyond which the last resort is left."""
        self.refused(Claim(1, "bob", bytes(16), 0), claims_between=Rate(1, 10_000))

    def test_clock_set(self) -> None:
        """Rates follow monotonic time: a clock that is set, forward or back, gives nothing and takes nothing."""
        rig = Rig(Settings(registration="open", requests=Rate(1, 60)))
        _, client = rig.register("alice")
        refusals = []
        for step, passed in ((0, 0), (DAY, 0), (-2 * DAY, 59), (0, 1)):
            rig.time += step + passed
            rig.leaps += step
            client.ask(Fetch(1, "alice"))
            refusals.append([one.code for one in client.pop(Refused)])
        self.assertEqual(refusals, [[], ["rate-limited"], ["rate-limited"], []])


class DiskTests(SynchronousTestCase):
    """Room on the disk."""

    def test_log_counts(self) -> None:
        """A long log needs room of its own."""
        time, log = [0.0], [0]
        guard = DiskGuard(lambda: 100 * MIB, lambda: log[0], lambda: time[0])
        self.assertTrue(guard.has_room())
        log[0] = 26 * MIB
        self.assertTrue(guard.has_room())
        time[0] = 1
        self.assertFalse(guard.has_room())

    def test_asked_seldom(self) -> None:
        """The disk is asked once a second."""
        asked: list[float] = []
        time = [100.0]

        def free() -> int:
            asked.append(time[0])
            return 100 * MIB

        guard = DiskGuard(free, lambda: 0, lambda: time[0])
        for moment in (100.0, 100.5, 101.0, 101.9):
            time[0] = moment
            guard.has_room()
        self.assertEqual(asked, [100.0, 101.0])


class CacheTests(SynchronousTestCase):
    """Accounts in memory."""

    def test_bounded(self) -> None:
        """There are never more than the limit, besides those that are connected."""
        rig = Rig(Settings(registration="open", cached_accounts=3))
        people = [rig.register(f"user{number}") for number in range(8)]
        self.assertEqual(len(rig.server.accounts), 8)
        for _, client in people[1:]:
            rig.lose(client)
        sender = people[0][1]
        for user, _ in people:
            if user.name != "user0":
                sender.ask(sender.deposit(user))
        for number in range(8, 12):
            rig.lose(rig.register(f"user{number}")[1])
            rig.server.tick()
        self.assertLessEqual(len(rig.server.accounts), 3)
        self.assertEqual(len(sender.accepted()), 7)
        self.assertIsNotNone(rig.server.accounts.get("user0"))
        for user, _ in people[1:]:
            self.assertEqual(len(rig.login(user).delivered()), 1)
        self.assertEqual(rig.failures, [])

    def test_logins_kept(self) -> None:
        """An account stays until its login is written, and not longer."""
        rig = Rig(Settings(registration="open", cached_accounts=3))
        people = [rig.register(f"user{number}") for number in range(8)]
        for _, client in people:
            rig.lose(client)
        rig.lose(rig.register("last")[1])
        self.assertEqual(len(rig.server.accounts), 9)
        rig.server.tick()
        for number in range(8, 12):
            rig.lose(rig.register(f"user{number}")[1])
            rig.server.tick()
        self.assertLessEqual(len(rig.server.accounts), 4)
        hello = decode_message(people[0][1].connection.hello)
        assert isinstance(hello, Hello)
        self.assertEqual(rig.try_login(people[0][0]).one(Welcome).logins, [hello.login])

    def test_many_destinations(self) -> None:
        """A deposit to more accounts than fit in memory is accepted."""
        rig = Rig(Settings(registration="open", cached_accounts=2))
        people = [rig.register(f"user{number}") for number in range(6)]
        for _, client in people[1:]:
            rig.lose(client)
        sender = people[0][1]
        sender.ask(sender.deposit(*[user for user, _ in people[1:]]))
        self.assertEqual(len(sender.accepted()), 1)
        self.assertEqual(rig.failures, [])

    def test_on_its_way(self) -> None:
        """An account to which something is on its way stays, so that no position is given twice."""
        rig = Rig(Settings(registration="open", cached_accounts=1), store=MemoryServerStore(manual=True))
        people = [rig.register(name) for name in ("alice", "bob", "carol")]
        for _, client in people[1:]:
            rig.lose(client)
        sender = people[0][1]
        for _ in range(3):
            for user, _ in people[1:]:
                sender.send(sender.deposit(user))
                rig.turn()
        rig.commit()
        self.assertEqual(len(sender.accepted()), 6)
        for user, _ in people[1:]:
            self.assertEqual(len(rig.login(user).delivered()), 3)
        self.assertEqual(rig.failures, [])

    def test_mailboxes_with_accounts(self) -> None:
        """What is dropped leaves nothing behind."""
        rig = Rig(Settings(registration="open", cached_accounts=2))
        for number in range(20):
            rig.lose(rig.register(f"user{number}")[1])
        accounts = rig.server.accounts
        found = [number for number in range(100) if accounts.mailbox(number) is not None]
        self.assertEqual(len(found), len(accounts))
