"""
Accounts, their devices and mailboxes in memory: a bounded cache in front of the directory.

An account stays in memory while anything depends on it (a connection, a deposit in a batch, a pending acknowledgement), so
there is only ever one copy of its positions and counts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from attrs import Factory, define, field

from securemsg.interfaces import IDirectoryStore, StoredAccount, StoredDevice, StoredStock
from securemsg.protocol.messages import ID_SIZE, AccountRecord, SignedDeviceList
from securemsg.server.reader import IReader

# How many pinned accounts are skipped at most when one is evicted.
EVICTION_TRIES = 8


@define(eq=False)
class DeviceState:
    """
    A device and its mailbox.

    @ivar mailbox: its number in the store; a guest has no mailbox, and a number below 0, which identifies it as a sender.
    @ivar highest: the highest C{n} seen in deposits of this device.
    @ivar is_highest_queued: whether the next batch writes that; always set for a guest, whose C{n} is never written.
    @ivar messages: messages in the mailbox or on their way there; like C{size} for quotas, and exact when the mailbox is empty.
    @ivar last_position: the newest position that was assigned.
    @ivar committed: the newest position that was committed.
    @ivar submitted: the newest position that was handed to the store, committed or not.
    @ivar acknowledged: everything up to this position is, or is about to be, deleted, or was never written.
    @ivar unsettled: by position, the deposits that are neither committed nor acknowledged by this device, each a
        L{securemsg.server.deposits.PendingDeposit}.
    @ivar pins: how many deposits of its own, batches and pending acknowledgements refer to this device.
    @ivar reader: the connection that is logged in as this device.
    @ivar low_stock_sent: Stock was sent to the reader, which has uploaded no prekeys since.
    @ivar logins: its last ones, the newest last, as Welcome names them.
    @ivar has_rooms: whether it announced rooms at its last login; never of a guest, nor of the contact in this process.
    @ivar last_seen: when it was last known to be logged in; the store learns it with the next commit.
    @ivar rate_key: what its rates are counted under: its account, so that a new device does not begin them anew; a guest's
        connection.
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
    submitted: int
    acknowledged: int = 0
    unsettled: dict[int, Any] = field(factory=dict, repr=False)
    is_highest_queued: bool = False
    pins: int = 0
    reader: IReader | None = field(default=None, repr=False)
    low_stock_sent: bool = False
    logins: tuple[bytes, ...] = ()
    has_rooms: bool = False
    last_seen: int = 0
    rate_key: str | int = field(default=Factory(lambda device: device.account.name, takes_self=True))


@define(eq=False)
class AccountState:
    """
    An account.

    @ivar record: its directory entry.
    @ivar root: the account at the root of its inviters' tree; 0: a guest's, who is in none.
    @ivar suspended: whether the operator keeps it from logging in.
    @ivar quota: how many messages each of its mailboxes may hold; 0: as many as any.
    @ivar depth: how many inviters there are up to C{root}.
    @ivar pins: how many commands in progress refer to it.
    @ivar removed: whether it was deleted; a command that still refers to it must not use it.
    @ivar is_renewing: its identity and devices are being exchanged: nothing is taken for it.
    """

    name: str
    identity: bytes
    record: AccountRecord = field(repr=False)
    version: int
    root: int
    suspended: bool = False
    quota: int = 0
    depth: int = 0
    devices: dict[bytes, DeviceState] = field(factory=dict, repr=False)
    pins: int = 0
    removed: bool = False
    is_renewing: bool = False

    @property
    def logged_in(self) -> int:
        """How many of its devices are logged in."""
        return sum(device.reader is not None for device in self.devices.values())

    @property
    def last_seen(self) -> int:
        """When the latest of its devices was last known to be logged in; 0: none was ever."""
        return max((device.last_seen for device in self.devices.values()), default=0)

    def end(self, code: str) -> None:
        """End its connections with this code."""
        for device in self.devices.values():
            if device.reader is not None:
                device.reader.end(code)

    def is_pinned(self) -> bool:
        """Whether the account must stay in memory."""
        return bool(self.pins or self.logged_in or any(device.pins or device.unsettled for device in self.devices.values()))


def _record_of(stored: StoredAccount) -> AccountRecord:
    return AccountRecord(stored.name, stored.identity, SignedDeviceList(stored.body, stored.signature))


def _device_of(account: AccountState, stored: StoredDevice) -> DeviceState:
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
        submitted=stored.last_position,
        logins=tuple(stored.logins[at : at + ID_SIZE] for at in range(0, len(stored.logins), ID_SIZE)),
        has_rooms=stored.has_rooms,
        last_seen=stored.last_seen,
    )


@define(eq=False)
class AccountCache:
    """The cache. It relies on the store to return results in the order in which they were requested."""

    _store: IDirectoryStore
    _capacity: int
    _by_name: OrderedDict[str, AccountState] = field(init=False, factory=OrderedDict)
    _by_mailbox: dict[int, DeviceState] = field(init=False, factory=dict)

    def __len__(self) -> int:
        """The number of accounts in memory."""
        return len(self._by_name)

    def get(self, name: str) -> AccountState | None:
        """The account with this name, if it is in memory."""
        return self._by_name.get(name)

    def mailbox(self, number: int) -> DeviceState | None:
        """The device with this mailbox, if it is in memory."""
        return self._by_mailbox.get(number)

    async def load(self, name: str) -> AccountState | None:
        """The account with this name, from memory or else from the store."""
        return self.get(name) or self.adopt(await self._store.load_account(name))

    async def read(self, name: str) -> AccountState | None:
        """The same, always through the store, which may have a newer device list."""
        return self.adopt(await self._store.load_account(name))

    async def load_login(self, name: str, device: bytes) -> tuple[DeviceState, StoredStock] | None:
        """A device and what prekeys are left for it, through the store as well; C{None}: there is none."""
        stored = await self._store.load_login(name, device)
        account = None if stored is None else self.adopt(stored.account)
        if stored is None or account is None or device not in account.devices:
            return None
        return account.devices[device], stored.stock

    async def find_device(self, name: str, device: bytes) -> bytes | None:
        """The signing key of a device, always from the store, so that nobody sees what is in memory or exists."""
        return await self._store.find_device(name, device)

    def adopt(self, stored: StoredAccount | None) -> AccountState | None:
        """Bring what the store returned into memory. What is already in memory is newer, except for the device list."""
        if stored is None:
            return None
        account = self.get(stored.name)
        if account is None:
            account = AccountState(
                stored.name, stored.identity, _record_of(stored), stored.version, stored.root, stored.suspended, stored.quota,
                stored.depth,
            )  # fmt: skip
            self._by_name[stored.name] = account
            self._add_devices(account, stored)
            self._evict(account)
        elif stored.version > account.version:
            account.identity = stored.identity
            account.record = _record_of(stored)
            account.version = stored.version
            self._drop_devices(account, keep={device.device for device in stored.devices})
            self._add_devices(account, stored)
        return account

    def forget(self, name: str) -> None:
        """Drop an account that is being removed, and end its connections."""
        account = self._by_name.pop(name, None)
        if account is not None:
            account.removed = True
            self._drop_devices(account, keep=set())

    def _add_devices(self, account: AccountState, stored: StoredAccount) -> None:
        for device in stored.devices:
            if device.device not in account.devices:
                account.devices[device.device] = self._by_mailbox[device.mailbox] = _device_of(account, device)

    def _drop_devices(self, account: AccountState, keep: set[bytes]) -> None:
        """Drop all devices but these, and end the connections that are logged in as them."""
        for device in [device for device in account.devices.values() if device.id not in keep]:
            del account.devices[device.id]
            del self._by_mailbox[device.mailbox]
            if device.reader is not None:
                device.reader.end("removed" if account.removed else "device-removed")

    def _evict(self, fresh: AccountState) -> None:
        """Drop the accounts that were loaded longest ago and are not pinned, until the rest fits."""
        for _ in range(EVICTION_TRIES):
            if len(self._by_name) <= self._capacity:
                return
            name, account = next(iter(self._by_name.items()))
            if account is fresh or account.is_pinned():
                self._by_name.move_to_end(name)
                continue
            del self._by_name[name]
            for device in account.devices.values():
                del self._by_mailbox[device.mailbox]
