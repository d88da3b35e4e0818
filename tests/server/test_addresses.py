"""Tests of L{securemsg.server.addresses}: what comes from one address, and what is refused of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.protocol.messages import Welcome
from securemsg.server.addresses import Addresses, source_of
from securemsg.server.limits import Rate, Settings
from tests.server.rig import Client, Rig, User

HERE, ELSEWHERE = source_of("192.0.2.1"), source_of("192.0.2.2")


class SourceTests(SynchronousTestCase):
    """As what an address is counted."""

    def test_families(self) -> None:
        """IPv4 by address, also where it is written as IPv6; IPv6 by its first 64 bits."""
        self.assertEqual(source_of("192.0.2.1"), source_of("::ffff:192.0.2.1"))
        self.assertNotEqual(source_of("192.0.2.1"), source_of("192.0.2.2"))
        self.assertEqual(source_of("2001:db8::1"), source_of("2001:db8::ffff:ffff:ffff:ffff"))
        self.assertNotEqual(source_of("2001:db8::1"), source_of("2001:db8:0:1::1"))
        self.assertEqual(source_of("fe80::1%lo"), source_of("fe80::2%lo"))

    def test_here(self) -> None:
        """Who comes from this machine is not counted, and neither is what is no address."""
        for host in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "", "/run/socket"):
            self.assertEqual(source_of(host), b"")


class CountTests(SynchronousTestCase):
    """How many connections an address has."""

    def test_tables_bounded(self) -> None:
        """A thousand networks leave no more behind than the table holds."""
        addresses = Addresses(Settings(rate_keys=10), Clock().seconds)
        for number in range(1000):
            source = addresses.enter(f"2001:db8:0:{number:x}::1")
            assert source is not None
            addresses.leave(source)
        assert addresses._connections is not None
        self.assertEqual((len(addresses.open), len(addresses._connections)), (0, 10))

    def test_whole_network(self) -> None:
        """A customer's many addresses are one."""
        addresses = Addresses(Settings(max_address_connections=2), Clock().seconds)
        found = [addresses.enter(f"2001:db8::{number:x}") is not None for number in range(1, 4)]
        self.assertEqual(found, [True, True, False])
        self.assertIsNotNone(addresses.enter("2001:db8:1::1"))

    def test_off(self) -> None:
        """Without limits nobody is refused; neither is anybody from this machine with them."""
        free = Settings(
            max_address_connections=0, address_connections=None, address_failed_logins=None, address_registrations=None
        )
        strict = Settings(max_address_connections=1, address_connections=Rate(1, 1000))
        for settings, host in ((free, "192.0.2.1"), (strict, "127.0.0.1"), (strict, "::ffff:127.0.0.1")):
            addresses = Addresses(settings, Clock().seconds)
            self.assertNotIn(None, [addresses.enter(host) for _ in range(5000)])
            source = source_of(host)
            for _ in range(5000):
                addresses.count_failed_login(source)
                self.assertTrue(addresses.may_log_in(source) and addresses.count_registration(source))

    def test_office(self) -> None:
        """By default a thousand people behind one address connect at once."""
        addresses = Addresses(Settings(), Clock().seconds)
        self.assertNotIn(None, [addresses.enter("192.0.2.1") for _ in range(1000)])


class LoginTests(SynchronousTestCase):
    """Logins and registrations from one address."""

    def setUp(self) -> None:
        """Alice has an account."""
        self.checks = 0
        settings = Settings(
            registration="open", address_failed_logins=Rate(3, 60), address_registrations=Rate(2, 60), logins=Rate(4, 60)
        )
        self.rig = Rig(settings, verify=self.verify)
        self.alice, client = self.rig.register("alice")
        self.rig.lose(client)

    def verify(self, *arguments: Any) -> None:
        """Count the checks of logins."""
        self.checks += 1
        keys.verify(*arguments)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def code(self, user: User, source: bytes) -> str:
        """What a login from an address comes to."""
        self.rig.source = source
        return self.end_of(self.rig.try_login(user))

    def register(self, name: str, source: bytes) -> str:
        """What a registration comes to."""
        self.rig.source = source
        return self.end_of(self.rig.try_register(self.rig.user(name)))

    def end_of(self, client: Client) -> str:
        """What a connection that tried something was told."""
        if client.wire.code is not None:
            return client.failed()
        client.one(Welcome)
        self.rig.lose(client)
        return "welcome"

    def test_failed_logins(self) -> None:
        """
        After too many logins that fail none from this address is checked, right or wrong, until time has passed; others log
        in.
        """
        wrong = User("alice", self.alice.server, device_id=self.alice.device_id)
        self.assertEqual([self.code(wrong, HERE) for _ in range(5)], ["login-failed"] * 3 + ["rate-limited"] * 2)
        checks = self.checks
        self.assertEqual(self.code(self.alice, HERE), "rate-limited")
        self.assertEqual(self.checks, checks)
        self.assertEqual(self.code(self.alice, ELSEWHERE), "welcome")
        self.rig.time += 60
        self.assertEqual(self.code(self.alice, HERE), "welcome")

    def test_guests(self) -> None:
        """Who guesses at a key file is counted alike."""
        rig = Rig(self.rig.settings, key=SharedKey(bytes(32)), source=HERE)
        wrong = SharedKey(bytes([1]) * 32)
        self.assertEqual([rig.try_guest(wrong).failed() for _ in range(4)], ["login-failed"] * 3 + ["rate-limited"])

    def test_good_logins(self) -> None:
        """Logins that succeed count as no failure."""
        self.rig.settings = Settings(registration="open", address_failed_logins=Rate(1, 60))
        self.rig.crash()
        self.assertEqual([self.code(self.alice, HERE) for _ in range(5)], ["welcome"] * 5)

    def test_logins_of_an_account(self) -> None:
        """An account logs in so often and no more, from wherever; others who use its name use up nothing."""
        wrong = User("alice", self.alice.server, device_id=self.alice.device_id)
        self.assertEqual([self.code(wrong, b"") for _ in range(9)], ["login-failed"] * 9)
        self.assertEqual([self.code(self.alice, b"") for _ in range(5)], ["welcome"] * 4 + ["rate-limited"])
        self.rig.time += 60
        self.assertEqual([self.code(self.alice, b"") for _ in range(2)], ["welcome", "rate-limited"])

    def test_other_refusals(self) -> None:
        """Who is refused for another reason has not failed to log in."""
        self.assertEqual([self.code(self.alice, HERE) for _ in range(9)], ["welcome"] * 4 + ["rate-limited"] * 5)
        self.assertTrue(self.rig.server.addresses.may_log_in(HERE))

    def test_registrations(self) -> None:
        """So many accounts are registered from one address; others register."""
        found = [self.register(f"user{number}", HERE) for number in range(4)]
        self.assertEqual(found, ["welcome"] * 2 + ["rate-limited"] * 2)
        self.assertEqual(self.register("late", ELSEWHERE), "welcome")
        self.rig.time += 60
        self.assertEqual(self.register("user3", HERE), "welcome")
