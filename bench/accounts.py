"""Accounts for the load: made from their numbers, and written into the database before the daemon starts."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from pathlib import Path

from attrs import field, frozen

from securemsg.crypto.keys import AgreementKey, SigningKey
from securemsg.daemon.folder import DATABASE
from securemsg.interfaces import NewAccount
from securemsg.protocol.devices import DEVICE_LIST_LABEL, Device, DeviceList, encode_device_list
from securemsg.storage.sqlite import directory

ID_SIZE = 16


def _seed(number: int, what: str) -> bytes:
    return hashlib.sha256(f"{number} {what}".encode()).digest()


def name_of(number: int) -> str:
    """The name of an account."""
    return f"load-{number}"


def device_of(number: int) -> bytes:
    """The id of its only device."""
    return _seed(number, "device")[:ID_SIZE]


def key_of(number: int) -> SigningKey:
    """The key of that device."""
    return SigningKey(_seed(number, "key"))


@frozen
class Credentials:
    """A device and the account that it is the only device of."""

    number: int
    account: str = field(init=False)
    device: bytes = field(init=False)
    key: SigningKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        """All of it follows from the number."""
        for name, of in (("account", name_of), ("device", device_of), ("key", key_of)):
            object.__setattr__(self, name, of(self.number))


def write_accounts(state: Path, count: int) -> None:
    """
    Register so many accounts with a daemon that has been started once, and does not run.

    It takes a twentieth of the time that registering them through the daemon would take, and no bucket of its limits.
    """
    now = int(time.time())
    connection = sqlite3.connect(state / DATABASE, isolation_level=None)
    connection.execute("BEGIN")
    for number in range(count):
        key, identity = key_of(number), SigningKey(_seed(number, "identity"))
        agreement = AgreementKey(_seed(number, "agreement")).public
        devices = [Device(device_of(number), key.public, agreement, None)]
        body = encode_device_list(DeviceList(bytes(32), name_of(number), 1, b"", now, devices))
        signature = identity.sign(DEVICE_LIST_LABEL, body)
        pairs = ((device_of(number), key.public),)
        new = NewAccount(name_of(number), identity.public, body, signature, 1, pairs, b"", now)
        directory.register(connection, new)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
