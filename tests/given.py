"""What vectors are given: values of JSON, read as the program has them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from securemsg.crypto import keys
from securemsg.protocol import devices, messages

Given = dict[str, Any]


def octets(given: Given, name: str) -> bytes:
    """One value in hex."""
    return bytes.fromhex(given[name])


def value_of(item: Any) -> Any:
    """An item of a record: strings that begin with C{0x} are bytes."""
    if isinstance(item, str) and item.startswith("0x"):
        return bytes.fromhex(item[2:])
    if isinstance(item, list):
        return [value_of(each) for each in item]
    return item


def message_of(given: Given) -> messages.Message:
    """A message from its class name and items."""
    tag = getattr(messages, given["message"]).__struct_config__.tag
    made: messages.Message
    made = msgspec.convert([tag, *value_of(given["items"])], type=messages.Message)
    return made


def signed_list(given: Given) -> messages.SignedDeviceList:
    """A signed device list, from the private keys on it."""
    identity = keys.SigningKey(octets(given, "identity_private"))
    rows = [
        devices.Device(
            octets(row, "id"),
            keys.SigningKey(octets(row, "signing_private")).public,
            keys.AgreementKey(octets(row, "agreement_private")).public,
            octets(row, "rsa_key") if "rsa_key" in row else None,
        )
        for row in given["devices"]
    ]
    earlier = [keys.SigningKey(bytes.fromhex(each)) for each in given.get("earlier_private", [])]
    successions = tuple(
        devices.Succession(
            each.public,
            each.sign(
                devices.SUCCESSION_LABEL,
                *devices.succession_parts(octets(given, "server"), given["account"], successor.public),
            ),
        )
        for each, successor in pairwise([*earlier, identity])
    )
    body = devices.encode_device_list(
        devices.DeviceList(
            octets(given, "server"),
            given["account"],
            given["version"],
            octets(given, "previous"),
            given["issued_at"],
            rows,
            successions,
        )
    )
    return messages.SignedDeviceList(body, identity.sign(devices.DEVICE_LIST_LABEL, body))
