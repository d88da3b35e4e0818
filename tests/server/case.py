"""Two people and a server, for tests to begin with."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.messages import Deposit, DepositRefused, Done, Publish
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.rig import DAY, Client, Rig, User

T = TypeVar("T", bound=msgspec.Struct)


def changed(record: T, **items: object) -> T:
    """The same deposit, or part of one, but for some of its items."""
    return msgspec.structs.replace(record, **items)


class TwoPeople(SynchronousTestCase):
    """
    Alice writes to Bob. The store holds commits back until L{Rig.commit}.

    @cvar features: what everybody announces.
    """

    features: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Both are here."""
        self.rig = Rig(store=MemoryServerStore(manual=True), settings=self.settings(), features=self.features)
        self.alice, self.sender = self.rig.register("alice")
        self.bob, self.reader = self.rig.register("bob")
        self.sender.inbox.clear()
        self.reader.inbox.clear()

    def settings(self) -> Settings:
        """What this class needs."""
        return Settings(registration="open")

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def refused(self, deposit: Deposit, client: Client | None = None) -> str:
        """With which code this deposit is refused."""
        client = client or self.sender
        client.send(deposit)
        self.rig.commit()
        refusal = client.one(DepositRefused)
        self.assertEqual(refusal.deposit_id, deposit.deposit_id)
        return refusal.code

    def two_devices(self) -> tuple[User, Client]:
        """Bob gets a second device, which is connected."""
        second = self.bob.sibling()
        self.bob.version = 2
        self.reader.send(Publish(1, self.bob.device_list()))
        self.rig.commit()
        self.reader.one(Done)
        return second, self.rig.login(second)

    def store(self, wanted: list[bytes], expiry: int = DAY) -> None:
        """Have these deposited and accepted."""
        self.sender.send(*[self.sender.deposit(self.bob, text=text, expiry=expiry) for text in wanted])
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), len(wanted))
