"""
The directory: what accounts there are, and which devices they say they have.

A device list is the account's own word, signed by its identity. The server checks it, keeps it, and can neither make nor
change one.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define

from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IDirectoryStore
from securemsg.protocol.devices import DEVICE_LIST_LABEL, SERVER_NAME, DeviceList, decode_device_list
from securemsg.protocol.messages import Account, Done, Fetch, Publish, SignedDeviceList
from securemsg.server.accounts import AccountCache
from securemsg.server.connection import ClientConnection
from securemsg.server.limits import Buckets


def check_list(signed: SignedDeviceList, identity: bytes, server: bytes, account: str) -> DeviceList:
    """
    Read a device list that this identity signed for this account on this server.

    @raise Unauthentic: it did not.
    @raise Refusal: C{bad-device-list}: malformed, or for another account or server.
    """
    keys.verify(identity, signed.signature, DEVICE_LIST_LABEL, signed.body)
    devices = decode_device_list(signed.body)
    if devices.server != server or devices.account != account:
        raise Refusal("bad-device-list", "of another account")
    return devices


def device_keys(devices: DeviceList) -> tuple[tuple[bytes, bytes], ...]:
    """Ids and signing keys, as the store wants them."""
    return tuple((device.id, device.signing_key) for device in devices.devices)


@define(eq=False)
class Directory:
    """
    Answers questions about accounts, and takes new device lists.

    @ivar _identity: the server's.
    """

    _accounts: AccountCache
    _store: IDirectoryStore
    _requests: Buckets
    _identity: bytes

    async def fetch(self, caller: ClientConnection, message: Fetch) -> Account:
        """
        What is known of an account.

        @raise Refusal: C{no-such-account}, C{rate-limited}.
        """
        self.count(caller)
        account = await self._accounts.load(message.account)
        if account is None:
            raise Refusal("no-such-account")
        return Account(message.request, account.record)

    def fetch_contact(self, caller: ClientConnection, message: Fetch) -> Coroutine[Any, Any, Account]:
        """
        L{fetch} for a visitor, who reaches the contact C{server} alone and learns of nobody else.

        @raise Refusal: C{forbidden}.
        """
        if message.account != SERVER_NAME:
            raise Refusal("forbidden")
        return self.fetch(caller, message)

    async def publish(self, caller: ClientConnection, message: Publish) -> Done:
        """
        Take the next list of the caller's own account.

        @raise Refusal: C{unauthentic}, C{bad-device-list}, C{stale-list}, C{rate-limited}.
        """
        self.count(caller)
        account = caller.device.account
        devices = check_list(message.devices, account.identity, self._identity, account.name)
        current = account.record.devices.body
        if message.devices.body == current:
            return Done(message.request)
        if devices.version != account.version + 1 or devices.previous != keys.sha256(current):
            raise Refusal("stale-list")
        for device in devices.devices:
            known = account.devices.get(device.id)
            if known is not None and known.signing_key != device.signing_key:
                raise Refusal("bad-device-list", "a device with another key")
        await self._store.publish(
            account.name, devices.version, message.devices.body, message.devices.signature, device_keys(devices)
        )
        await self._accounts.read(account.name)
        return Done(message.request)

    def count(self, caller: ClientConnection) -> None:
        """
        One more question of this caller.

        @raise Refusal: C{rate-limited}: they come too fast.
        """
        if not self._requests.take(caller.device.rated):
            raise Refusal("rate-limited")
