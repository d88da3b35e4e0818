"""
The directory: accounts and their device lists.

A device list is signed by the account's identity. The server checks and keeps it, and can neither make nor change one.
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

# After a restore the server's list may be many versions behind the owner's, at most one for each second. Whoever has a copy of
# the owner's keys cannot use up all versions in one go.
MAX_LEAP = 2**31


def check_list(signed: SignedDeviceList, identity: bytes, server: bytes, account: str) -> DeviceList:
    """
    Check and decode a device list.

    @raise Unauthentic: it is not signed by this identity.
    @raise Refusal: C{bad-device-list}: it is malformed, for another account or server, or with an invalid key.
    """
    keys.verify(identity, signed.signature, DEVICE_LIST_LABEL, signed.body)
    devices = decode_device_list(signed.body)
    if devices.server != server or devices.account != account:
        raise Refusal("bad-device-list", "of another account")
    if not all(keys.are_device_keys(row.signing_key, row.agreement_key, row.rsa_key) for row in devices.devices):
        raise Refusal("bad-device-list", "an invalid key")
    return devices


def device_keys(devices: DeviceList) -> tuple[tuple[bytes, bytes], ...]:
    """Ids and signing keys of all devices in a list, for the store."""
    return tuple((device.id, device.signing_key) for device in devices.devices)


@define(eq=False)
class Directory:
    """
    Looks up accounts, and publishes device lists.

    @ivar _identity: the server's identity.
    """

    _accounts: AccountCache
    _store: IDirectoryStore
    _requests: Buckets
    _identity: bytes

    async def fetch(self, connection: ClientConnection, message: Fetch) -> Account:
        """
        Look up an account.

        @raise Refusal: C{no-such-account}, C{rate-limited}.
        """
        self.count(connection)
        account = await self._accounts.load(message.account)
        if account is None:
            raise Refusal("no-such-account")
        return Account(message.request, account.record)

    def fetch_contact(self, connection: ClientConnection, message: Fetch) -> Coroutine[Any, Any, Account]:
        """
        L{fetch} for a guest, who may look up the contact C{server} only.

        @raise Refusal: C{forbidden}.
        """
        if message.account != SERVER_NAME:
            raise Refusal("forbidden")
        return self.fetch(connection, message)

    async def publish(self, connection: ClientConnection, message: Publish) -> Done:
        """
        Publish a newer device list of the connection's own account.

        @raise Refusal: C{unauthentic}, C{bad-device-list}, C{stale-list}, C{rate-limited}.
        """
        self.count(connection)
        account = connection.device.account
        devices = check_list(message.devices, account.identity, self._identity, account.name)
        current = account.record.devices.body
        if message.devices.body == current:
            return Done(message.request)
        replaced = account.version
        if devices.version <= replaced:
            raise Refusal("stale-list")
        if devices.version == replaced + 1 and devices.previous != keys.sha256(current):
            raise Refusal("stale-list")
        if devices.version > replaced + MAX_LEAP:
            raise Refusal("bad-device-list", "a version too far ahead")
        _check_same_keys(decode_device_list(current), devices, connection.device.id)
        body, signature = message.devices.body, message.devices.signature
        await self._store.publish(account.name, replaced, devices.version, body, signature, device_keys(devices))
        await self._accounts.read(account.name)
        return Done(message.request)

    def count(self, connection: ClientConnection) -> None:
        """
        Count one more lookup of this connection.

        @raise Refusal: C{rate-limited}.
        """
        if not self._requests.consume(connection.device.rate_key):
            raise Refusal("rate-limited")


def _check_same_keys(before: DeviceList, after: DeviceList, publisher: bytes) -> None:
    """
    Check that each device that stays has the keys that it had.

    @param publisher: the device that publishes, which may put its own X25519 key right: somebody with a copy of the account's
        keys may have exchanged it, by taking the device off the list in between.
    @raise Refusal: C{bad-device-list}.
    """
    known = {device.id: device for device in before.devices}
    for device in after.devices:
        other = known.get(device.id, device)
        if device.signing_key != other.signing_key or (device.keys != other.keys and device.id != publisher):
            raise Refusal("bad-device-list", "a device with another key")
