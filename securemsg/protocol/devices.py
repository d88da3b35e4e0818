"""
The device list of an account: what the account's identity key signs.

Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from securemsg.errors import Refusal
from securemsg.protocol.messages import MAX_DEVICES, Counter, Id, Key, Name, Record, Signature

DEVICE_LIST_LABEL = b"securemsg/1 device list"
SUCCESSION_LABEL = b"securemsg/1 identity succession"
# The name of the built-in contact, which the operator's own agent registers, and nobody else.
SERVER_NAME = "server"
# How names of rooms begin, and those of accounts cannot; and what people call the lobby of that contact.
ROOM_MARK = "#"
LOBBY_NAME = "#lobby"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
RESERVED_NAMES = frozenset({SERVER_NAME, "admin"})
RESERVED_PREFIX = "key-"
MAX_VERSION = 2**62
# Earlier identities that a list names; who has missed more renewals has to decide as if nothing were signed.
MAX_SUCCESSIONS = 8
# Lists that were read, which each message to or from a contact asks for again; of 2 KiB, as a rule.
LISTS_KEPT = 256
# Of an RSA key, bits; and the longest of them, bytes.
RSA_BITS = (2048, 3072, 4096)
MAX_RSA_KEY = 550


class Device(Record, frozen=True):
    """
    One device of an account.

    @ivar signing_key: Ed25519, proves logins and signs prekeys.
    @ivar agreement_key: X25519, the identity agreement key of PQXDH.
    @ivar rsa_key: SubjectPublicKeyInfo, DER, where the device has one.
    """

    id: Id
    signing_key: Key
    agreement_key: Key
    rsa_key: Annotated[bytes, Meta(max_length=MAX_RSA_KEY)] | None

    @property
    def keys(self) -> tuple[bytes, bytes, bytes]:
        """What makes it this device and no other; an RSA key may be added later."""
        return self.id, self.signing_key, self.agreement_key


class Succession(Record, frozen=True):
    """
    An earlier identity of an account, and its signature of the one that came after it.

    @ivar signature: with L{SUCCESSION_LABEL}, of what L{succession_parts} gives.
    """

    identity: Key
    signature: Signature


class DeviceList(Record, frozen=True):
    """
    All devices of an account at one time.

    @ivar server: the identity key of the server the account lives on.
    @ivar version: counts from 1; never goes back.
    @ivar previous: SHA-256 of the body of the list before, or empty for the first.
    @ivar successions: the identities before the one that signs this list, the oldest first; none, which is never on the wire:
        it is the first.
    """

    server: Key
    account: Name
    version: Annotated[int, Meta(ge=1, le=MAX_VERSION)]
    previous: Annotated[bytes, Meta(max_length=32)]
    issued_at: Counter
    devices: Annotated[list[Device], Meta(min_length=1, max_length=MAX_DEVICES)]
    successions: Annotated[tuple[Succession, ...], Meta(max_length=MAX_SUCCESSIONS)] = ()


# The first byte of an array of six items.
_WITHOUT_SUCCESSIONS = b"\x96"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeviceList).decode


def encode_device_list(devices: DeviceList) -> bytes:
    """The body that is signed."""
    body = _encode(devices)
    return body if devices.successions else _WITHOUT_SUCCESSIONS + body[1:-1]


def succession_parts(server: bytes, account: str, successor: bytes) -> tuple[bytes, ...]:
    """What an identity signs to hand its account on to another."""
    return server, account.encode(), successor


@lru_cache(LISTS_KEPT)
def decode_device_list(body: bytes) -> DeviceList:
    """
    Read a body. Check the signature first: this says only that it is well formed. It is not to be changed: others get it, too.

    @raise Refusal: C{bad-device-list}: malformed, not in its canonical encoding, or the same device or key stands in it twice.
    """
    try:
        devices = _decode(body)
        if encode_device_list(devices) != body:
            raise Refusal("bad-device-list", "not the canonical encoding")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal("bad-device-list") from error
    for column in ("id", "signing_key", "agreement_key"):
        if len({getattr(device, column) for device in devices.devices}) != len(devices.devices):
            raise Refusal("bad-device-list", f"a device's {column} stands twice")
    return devices


def check_name(name: str) -> None:
    """
    May an account be called this?

    @raise Refusal: C{illegal-name}.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise Refusal("illegal-name")


def is_reserved(name: str) -> bool:
    """Is this a name that nobody may register over the network?"""
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIX)
