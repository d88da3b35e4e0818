"""What is logged of accounts: refusals, and who writes to whom."""

from __future__ import annotations

from securemsg.crypto import keys
from securemsg.protocol.messages import Fetch
from securemsg.server.limits import Rate, Settings
from tests.server.case import TwoPeople, changed


class RefusalTests(TwoPeople):
    """Alice and Bob, and what is refused to them."""

    def test_logins(self) -> None:
        """A login that fails is logged with its name and code; one that works is not."""
        self.rig.login(self.bob)
        self.bob.device = keys.SigningKey.generate()
        self.rig.try_login(self.bob)
        self.assertEqual(self.rig.refusals, [("login", "bob", "login-failed")])

    def test_full(self) -> None:
        """So is one for which there is no room."""
        self.rig.settings = Settings(registration="open", max_clients=1)
        self.rig.crash()
        self.rig.login(self.alice)
        self.rig.try_login(self.bob)
        self.assertEqual(self.rig.refusals, [("login", "bob", "server-full")])

    def test_registrations(self) -> None:
        """A registration that fails is logged; what cannot be a name is not repeated."""
        for name in ("alice", "Not\na name"):
            self.rig.try_register(self.rig.user(name))
        expected = [("registration", "alice", "name-taken"), ("registration", "", "illegal-name")]
        self.assertEqual(self.rig.refusals, expected)

    def test_limits(self) -> None:
        """Who reaches a limit is logged; other refusals are not, nor who was asked about."""
        self.rig.settings = Settings(registration="open", requests=Rate(1, 10))
        self.rig.crash()
        client = self.rig.login(self.alice)
        client.ask(Fetch(1, "nobody"), Fetch(2, "bob"))
        self.assertEqual(self.rig.refusals, [("request", "alice", "rate-limited")])

    def test_peers(self) -> None:
        """Who writes to whom is logged only where the operator wants it; what cannot be a name never is."""
        for is_wanted in (False, True):
            self.rig.logs_peers = is_wanted
            self.rig.crash()
            client = self.rig.login(self.alice)
            client.send(client.deposit(self.bob, text=b"123", own=b"45"))
            deposit = client.deposit(self.bob, text=b"123", own=b"45")
            client.send(changed(deposit, to=[changed(deposit.to[0], account="a\nb")]))
            self.rig.commit()
        self.assertEqual(self.rig.peers, [("alice", "bob", 5), ("alice", 5)])
