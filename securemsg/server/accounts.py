"""
What is known in memory of accounts, their devices and mailboxes: a bounded cache in front of the directory.

While anything of an account is on its way (a connection, a row in a batch, an acknowledgement, somebody who waits for one) the
account stays, so there is never a second opinion on positions and counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from attrs import Factory, define, field
from zope.interface import Interface

from securemsg.interfaces import DepositRow, IDirectoryStore, MailboxRow, StoredAccount, StoredDevice
from securemsg.protocol.messages import AccountRecord, Message, SignedDeviceList

# How many accounts that must stay are passed over at most when one is to go.
EVICTION_TRIES = 8


class IReader(Interface):
    """What a device needs of the connection that is logged in as it."""

    def committed(deposit: DepositRow, row: MailboxRow) -> None:
        """This was committed. To be called before C{device.committed} knows."""

    def run(work: Coroutine[Any, Any, Message | None]) -> None:
        """Run something that ends with the connection, and send the message that it returns, if any."""

    def end(code: str) -> None:
        """Hang up, and say why."""


@define(eq=False)
class DeviceState:
    """
    A device, and what its mailbox holds.

    @ivar mailbox: the store's number.
    @ivar highest: the highest C{n} seen in deposits of this device.
    @ivar messages: in the mailbox, on the way there included; like C{size} a measure for quotas, exact when it is empty.
    @ivar last_position: the newest that was assigned.
    @ivar committed: the newest that was committed.
    @ivar acknowledged: everything up to here is, or is about to be, deleted.
    @ivar uses: what batches on their way and pending acknowledgements say of this device.
    @ivar reader: of the connection that is logged in as this device.
    @ivar low_stock_sent: its reader was told that prekeys run low, and none were uploaded since.
    @ivar visiting: it is no account's, has no mailbox, and ends with its connection; C{mailbox} is a number below 0, which
        stands for it where it is the sender.
    @ivar rated: what its rates are counted by.
    """

    account: AccountState = field(repr=False)
    id: bytes
    signing_key: bytes
    mailbox: int
    highest: int
    messages: int
    size: int
    last_position: int
    committed: int
    acknowledged: int = 0
    uses: int = 0
    reader: IReader | None = field(default=None, repr=False)
    low_stock_sent: bool = False
    visiting: bool = False
    rated: int = field(default=Factory(lambda device: device.mailbox, takes_self=True))


@define(eq=False)
class AccountState:
    """
    An account.

    @ivar record: what the directory says of it.
    @ivar holds: who is about to use it.
    @ivar removed: it is gone; whoever holds this still must not use it.
    """

    name: str
    identity: bytes
    record: AccountRecord = field(repr=False)
    version: int
    devices: dict[bytes, DeviceState] = field(factory=dict, repr=False)
    holds: int = 0
    removed: bool = False

    def busy(self) -> bool:
        """Must this stay in memory?"""
        if self.holds:
            return True
        return any(device.uses or device.reader is not None for device in self.devices.values())


def _record_of(stored: StoredAccount) -> AccountRecord:
    """The directory's word on an account."""
    return AccountRecord(stored.name, stored.identity, SignedDeviceList(stored.body, stored.signature))


def _device_of(account: AccountState, stored: StoredDevice) -> DeviceState:
    """A device as the store has it."""
    return DeviceState(
        account=account,
        id=stored.device,
        signing_key=stored.signing_key,
        mailbox=stored.mailbox,
        highest=stored.highest,
        messages=stored.messages,
        size=stored.size,
        last_position=stored.last_position,
        committed=stored.last_position,
    )


@define(eq=False)
class AccountCache:
    """The cache. Results of the store come back in the order of the questions; adopting them relies on it."""

    _store: IDirectoryStore
    _capacity: int
    _by_name: OrderedDict[str, AccountState] = field(init=False, factory=OrderedDict)
    _by_mailbox: dict[int, DeviceState] = field(init=False, factory=dict)

    def __len__(self) -> int:
        """How many accounts are in memory."""
        return len(self._by_name)

    def get(self, name: str) -> AccountState | None:
        """An account, if it is in memory."""
        account = self._by_name.get(name)
        if account is not None:
            self._by_name.move_to_end(name)
        return account

    def mailbox(self, number: int) -> DeviceState | None:
        """The device with this mailbox, if it is in memory."""
        return self._by_mailbox.get(number)

    async def load(self, name: str) -> AccountState | None:
        """An account, from memory or else from the store."""
        return self.get(name) or self.adopt(await self._store.load_account(name))

    async def read(self, name: str) -> AccountState | None:
        """An account, with a question to the store in any case: how long it takes says nothing about who was here lately."""
        return self.adopt(await self._store.load_account(name))

    def adopt(self, stored: StoredAccount | None) -> AccountState | None:
        """Take what the store says into memory. What is in memory already is newer, but for its list."""
        if stored is None:
            return None
        account = self.get(stored.name)
        if account is None:
            account = AccountState(stored.name, stored.identity, _record_of(stored), stored.version)
            self._by_name[stored.name] = account
            self._add_devices(account, stored)
            self._evict(account)
        elif stored.version > account.version:
            account.record = _record_of(stored)
            account.version = stored.version
            self._drop_devices(account, keep={device.device for device in stored.devices})
            self._add_devices(account, stored)
        return account

    def forget(self, name: str) -> None:
        """The account is removed, or about to be: its connections end, and nobody finds it here any more."""
        account = self._by_name.pop(name, None)
        if account is not None:
            account.removed = True
            self._drop_devices(account, keep=set())

    def _add_devices(self, account: AccountState, stored: StoredAccount) -> None:
        """Know the devices that were not known."""
        for device in stored.devices:
            if device.device not in account.devices:
                account.devices[device.device] = self._by_mailbox[device.mailbox] = _device_of(account, device)

    def _drop_devices(self, account: AccountState, keep: set[bytes]) -> None:
        """Let go of all devices but these, and of whoever is logged in as one of them."""
        for device in [device for device in account.devices.values() if device.id not in keep]:
            del account.devices[device.id]
            del self._by_mailbox[device.mailbox]
            if device.reader is not None:
                device.reader.end("removed")

    def _evict(self, fresh: AccountState) -> None:
        """Make room, oldest first, of those that have nothing on its way."""
        for _ in range(EVICTION_TRIES):
            if len(self._by_name) <= self._capacity:
                return
            name, account = next(iter(self._by_name.items()))
            if account is fresh or account.busy():
                self._by_name.move_to_end(name)
                continue
            del self._by_name[name]
            for device in account.devices.values():
                del self._by_mailbox[device.mailbox]
