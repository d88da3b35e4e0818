"""What is logged of refusals."""

from __future__ import annotations

from securemsg.crypto import keys
from securemsg.protocol.messages import Fetch
from securemsg.server.limits import Rate, Settings
from tests.server.case import TwoPeople


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
