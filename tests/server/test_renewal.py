"""Accounts that get another identity, which the one before has signed."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import SigningKey
from securemsg.protocol.devices import SUCCESSION_LABEL, Succession, succession_parts
from securemsg.protocol.messages import Account, DepositRefused, Fetch, SetSuspended, Welcome
from securemsg.server.limits import Rate, Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.rig import Client, Rig, User


class RenewalTests(SynchronousTestCase):
    """Bob has an account, and makes new keys."""

    def setUp(self) -> None:
        """He has hung up."""
        self.rig = Rig(store=MemoryServerStore(manual=True))
        self.old, client = self.rig.register("bob")
        self.alice, self.writer = self.rig.register("alice")
        self.writer.inbox.clear()
        self.rig.lose(client)
        self.rig.commit()
        self.new = self.successor(self.old)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def successor(self, user: User) -> User:
        """Bob with other keys."""
        return User("bob", user.server, version=user.version + 1, body=user.body)

    def signed(self, by: SigningKey, of: User) -> tuple[Succession, ...]:
        """What one identity says of another."""
        parts = succession_parts(of.server, of.name, of.identity.public)
        return (Succession(by.public, by.sign(SUCCESSION_LABEL, *parts)),)

    def renew(self, new: User, **changes: Any) -> Client:
        """Register as the next identity."""
        return self.rig.try_register(new, **{"successions": self.signed(self.old.identity, new), **changes})

    def test_suspended(self) -> None:
        """A suspended account is not renewed."""
        operator = self.rig.operator()
        operator.ask(SetSuspended(1, "bob", True))
        self.assertEqual(self.renew(self.new).failed(), "suspended")
        operator.ask(SetSuspended(2, "bob", False))
        self.rig.lose(self.rig.login(self.old))
        self.renew(self.new).one(Welcome)

    def test_renewed(self) -> None:
        """The account has the new identity, list and device; the old device is gone."""
        self.assertEqual(self.renew(self.new).one(Welcome).highest, 0)
        self.writer.ask(Fetch(1, "bob"))
        record = self.writer.one(Account).record
        self.assertEqual(record.identity, self.new.identity.public)
        self.assertEqual(self.rig.try_login(self.old).failed(), "login-failed")
        self.rig.login(self.new)
        self.assertEqual(self.rig.notes[-1], ("renewed", "bob"))

    def test_lost_reply(self) -> None:
        """The same again, after a lost answer, succeeds, also after a restart."""
        self.renew(self.new).one(Welcome)
        self.renew(self.new).one(Welcome)
        self.rig.crash()
        self.renew(self.new).one(Welcome)

    def test_closed(self) -> None:
        """No token is needed, and whether newcomers may register makes no difference."""
        self.rig.settings = Settings(registration="closed")
        self.rig.crash()
        self.renew(self.new).one(Welcome)

    def test_refused(self) -> None:
        """Whoever the present identity has not signed, in a list that follows, gets nothing."""
        thief = SigningKey.generate()
        cases: dict[str, tuple[dict[str, Any], str]] = {
            "signed by another": ({"successions": self.signed(thief, self.new)}, "login-failed"),
            "for another": ({"successions": self.signed(self.old.identity, self.alice)}, "unauthentic"),
            "a forged signature": (
                {"successions": (Succession(self.old.identity.public, thief.sign(SUCCESSION_LABEL, b"")),)},
                "unauthentic",
            ),
            "another version": ({"version": 3}, "bad-device-list"),
            "after another list": ({"previous": bytes(32)}, "bad-device-list"),
            "with the old device": ({"devices": [self.old.own, self.new.own]}, "bad-device-list"),
        }
        for what, (changes, code) in cases.items():
            self.assertEqual(self.renew(self.new, **changes).failed(), code, what)
        self.rig.login(self.old)

    def test_too_many(self) -> None:
        """One account renews its keys at a limited rate."""
        self.rig.settings = Settings(registration="open", registrations=Rate(1, 10))
        self.rig.crash()
        self.rig.lose(self.renew(self.new))
        self.rig.commit()
        self.new.body = self.new.device_list(successions=self.signed(self.old.identity, self.new)).body
        next_ = self.successor(self.new)
        signed = self.signed(self.new.identity, next_)
        self.assertEqual(self.rig.try_register(next_, successions=signed).failed(), "rate-limited")
        self.rig.time += 10
        self.rig.try_register(next_, successions=signed).one(Welcome)

    def test_unknown(self) -> None:
        """Nobody learns from this which names there are."""
        nobody = evolve(self.new, name="nobody")
        self.assertEqual(self.renew(nobody).failed(), "login-failed")

    def test_not_empty(self) -> None:
        """Nothing that waits is dropped: the device has to fetch it first."""
        self.writer.ask(self.writer.deposit(self.old))
        self.assertEqual(self.renew(self.new).failed(), "mailbox-not-empty")
        self.rig.commit()
        self.assertEqual(self.renew(self.new).failed(), "mailbox-not-empty")
        reader = self.rig.login(self.old)
        self.assertEqual(self.renew(self.new).failed(), "mailbox-not-empty")
        reader.acknowledge()
        self.rig.commit()
        self.assertEqual(self.renew(self.new).failed(), "mailbox-not-empty", "somebody is logged in")
        self.rig.lose(reader)
        self.renew(self.new).one(Welcome)

    def test_in_between(self) -> None:
        """What comes while the store is being changed is refused for now, and goes to the new device then."""
        away, client = self.rig.register("carol")
        self.rig.lose(client)
        self.rig.run()
        # A commit that is on its way holds up what is asked of the store after it.
        self.writer.ask(self.writer.deposit(away))
        self.renewing = self.renew(self.new)
        self.assertEqual(self.renew(self.successor(self.old)).failed(), "mailbox-not-empty", "one at a time")
        deposit = self.writer.deposit(self.old, text=b"in between")
        self.writer.ask(deposit)
        self.assertEqual(self.writer.one(DepositRefused).code, "retry-later")
        self.rig.commit()
        self.renewing.one(Welcome)
        self.writer.ask(self.writer.deposit(self.old, text=b"to the old device"))
        refused = self.writer.one(DepositRefused)
        self.assertEqual((refused.code, refused.accounts[0].identity), ("stale-devices", self.new.identity.public))
        self.writer.ask(self.writer.deposit(self.new, text=b"to the new one"))
        self.rig.commit()
        self.assertEqual(self.renewing.delivered(), [b"to the new one"])


__all__ = ["RenewalTests"]
