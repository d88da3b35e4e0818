"""Device lists and names."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import Refusal
from securemsg.protocol.devices import (
    MAX_RSA_KEY,
    Device,
    DeviceList,
    check_name,
    decode_device_list,
    encode_device_list,
    is_reserved,
)
from securemsg.protocol.messages import MAX_DEVICES, MAX_LIST_BODY
from tests.protocol.examples import KEY, reencoded, values


def device(number: int, rsa: bytes | None = None) -> Device:
    """A device like no other."""
    mark = bytes([number])
    return Device(mark * 16, mark * 32, mark * 31 + b"x", rsa)


def device_list(*devices: Device) -> DeviceList:
    """A list of these."""
    return DeviceList(KEY, "alice", 2, KEY, 1_800_000_000, list(devices))


class DeviceListTests(SynchronousTestCase):
    """The body that is signed."""

    def refused(self, body: bytes) -> None:
        """This is no list."""
        self.assertEqual(self.assertRaises(Refusal, decode_device_list, body).code, "bad-device-list")

    def test_round_trip(self) -> None:
        """A list comes back as it was."""
        for devices in (device_list(device(1)), device_list(device(1), device(2, b"rsa"))):
            self.assertEqual(decode_device_list(encode_device_list(devices)), devices)

    def test_largest(self) -> None:
        """A list of as many devices as there may be, each with an RSA key, fits into a record."""
        body = encode_device_list(device_list(*[device(number, bytes(MAX_RSA_KEY)) for number in range(MAX_DEVICES)]))
        decode_device_list(body)
        self.assertLessEqual(len(body), MAX_LIST_BODY)

    def test_number_of_devices(self) -> None:
        """A list names at least one device and at most ten."""
        self.refused(encode_device_list(device_list()))
        self.refused(encode_device_list(device_list(*[device(number) for number in range(MAX_DEVICES + 1)])))

    def test_twice(self) -> None:
        """No id and no key stands in a list twice."""
        for column in ("id", "signing_key", "agreement_key"):
            twin = msgspec.structs.replace(device(2), **{column: getattr(device(1), column)})
            self.refused(encode_device_list(device_list(device(1), twin)))

    def test_truncated(self) -> None:
        """A list that lacks anything is none, and so is one with anything more."""
        body = encode_device_list(device_list(device(1)))
        for size in range(len(body)):
            self.refused(body[:size])
        self.refused(body + b"\x00")
        items = msgspec.msgpack.decode(body)
        self.refused(msgspec.msgpack.encode([*items, 1]))
        self.refused(b"\x91" * 50_000)

    def test_one_encoding(self) -> None:
        """Of all the ways in which msgpack can say a list one is accepted: no two bodies are the same list."""
        for other in reencoded(encode_device_list(device_list(device(1), device(2, b"rsa")))):
            self.refused(other)

    def test_version_from_one(self) -> None:
        """Versions count from 1."""
        self.refused(encode_device_list(msgspec.structs.replace(device_list(device(1)), version=0)))

    @given(st.binary(max_size=100) | values.map(msgspec.msgpack.encode))
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever bytes come, there is a list or a refusal."""
        try:
            decode_device_list(body)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "bad-device-list")


class NameTests(SynchronousTestCase):
    """What an account may be called."""

    def test_good(self) -> None:
        """Small letters, digits, dot, underscore and hyphen, up to 32."""
        for name in ("a", "0", "alice", "a.b_c-d", "x" * 32, "server", "key-1"):
            check_name(name)

    def test_bad(self) -> None:
        """Nothing else: no capitals, blanks, control characters, look-alikes, nor a mark in front."""
        for name in ("", "A", "-a", ".a", "_a", "a b", "a\n", "a\x00", "ä", "аlice", "٣", "x" * 33, "a/b", "a@b"):
            self.assertEqual(self.assertRaises(Refusal, check_name, name).code, "illegal-name", repr(name))

    def test_reserved(self) -> None:
        """Some names are kept back."""
        self.assertTrue(all(is_reserved(name) for name in ("server", "admin", "key-", "key-1")))
        self.assertFalse(any(is_reserved(name) for name in ("servers", "admin2", "key", "keys-1", "mykey-1")))
