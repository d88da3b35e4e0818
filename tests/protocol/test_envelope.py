"""Envelopes: padding, and the records inside."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import LocalProtocolError, Refusal
from securemsg.protocol import envelope as e
from securemsg.protocol.devices import MAX_RSA_KEY, MAX_VERSION, Device, DeviceList, encode_device_list
from securemsg.protocol.messages import MAX_COMMON, MAX_DEVICES, MAX_OWN, MAX_TEXT, ListMark
from tests.protocol.examples import ID, KEY, LIST, reencoded, values

CONTENT = e.Content(
    ID, e.Kind.TEXT, ID, ID, 1, 2, KEY, (), ListMark(1, KEY), ListMark(2, KEY), 1_800_000_000, True, b"hello"
)
PREKEY = e.PrekeyHeader(KEY, LIST, KEY, 1, 2, False, bytes(1088), None)
RECORDS: list[Any] = [
    CONTENT,
    msgspec.structs.replace(CONTENT, continues=(e.StreamEnd(3, 9, KEY), e.StreamEnd(1, 2, b""))),
    msgspec.structs.replace(CONTENT, keep=e.MAX_KEEP),
    e.Receipt([ID, ID]),
    e.Reset([e.Missing(ID, 1, [1, 5], 7)]),
    e.RelayedLine("alice", ID, 1_800_000_000, e.Kind.ANSWER, b"hello"),
    e.Person("alice"),
    e.Members("no-lobby", ["alice", "bob"]),
    e.RefusedLine("lobby-busy", ID),
    e.ConfirmedLine(ID),
    e.ContentKey(bytes(64), KEY, None, (0, 0)),
    e.ContentKey(bytes(64), KEY, e.Share(1, 5), (7, 2)),
    e.ContentKey(bytes(32), KEY, None, (0, 0)),
    e.RoomContentKey(bytes(64), KEY, None, (7, 2), ListMark(3, KEY)),
    e.EnvelopeHeader("pqxdh", 1, KEY, 0, 0, PREKEY),
    e.EnvelopeHeader("pqxdh", 1, KEY, 3, 2**32 - 1, None),
    e.KeyHeader("psk", 1, KEY, 2**63 - 1, 1, None),
    e.KeyHeader("psk", 1, KEY, 0, 2**63 - 1, e.Introduction(KEY, LIST)),
    e.RsaHeader("rsa", 1, 2**63 - 1, 1, 64, e.Transport(bytes(512), bytes(64)), None),
    e.RsaHeader("rsa", 1, 1, 2**63 - 1, 32, e.Transport(bytes(256), bytes(64)), e.Introduction(KEY, LIST)),
    e.Introduction(KEY, LIST),
    e.Envelope(b"header", b"sealed"),
]
HEADERS: list[e.Header] = [record for record in RECORDS if isinstance(record, e.EnvelopeHeader | e.KeyHeader | e.RsaHeader)]
# IV and tag of the common part.
SEALED_MORE = 16 + 32


class PaddingTests(SynchronousTestCase):
    """Lengths that say little."""

    def test_every_class(self) -> None:
        """Around every size class: what is padded comes back, and has the size of its class."""
        classes = [*e.SMALL_BUCKETS, *range(2 * e.BUCKET_STEP, e.MAX_CONTENT + 1, e.BUCKET_STEP)]
        for size in {near for edge in classes for near in (edge - 2, edge - 1, edge, edge + 1)} | {0, 1, e.MAX_CONTENT}:
            if size > e.MAX_CONTENT:
                continue
            for data in (bytes(size), b"\x80" * size, b"x" * size):
                padded = e.pad(data)
                self.assertGreater(len(padded), size)
                self.assertTrue(len(padded) in e.SMALL_BUCKETS or len(padded) % e.BUCKET_STEP == 0)
                self.assertEqual(e.unpad(padded), data)

    @given(st.binary(max_size=5000))
    def test_any(self, data: bytes) -> None:
        """So it is for anything."""
        self.assertEqual(e.unpad(e.pad(data)), data)

    def test_same_class_same_length(self) -> None:
        """Short texts all look alike."""
        self.assertEqual({len(e.pad(bytes(size))) for size in range(256)}, {256})

    def test_own_parts(self) -> None:
        """An own part does not show whether its content is counted: what it seals fills as many blocks of AES."""
        for size, place in ((64, (2**63 - 1, 1)), (32, (0, 0))):
            for base in (e.Share(0, 0), e.Share(9, 2**32 - 1)):
                lengths = {len(e.encode_record(e.ContentKey(bytes(size), KEY, said, place))) // 16 for said in (None, base)}
                self.assertEqual(len(lengths), 1)

    def test_own_parts_in_a_room(self) -> None:
        """So it is in a room, where an own part has one item more, and is read by itself."""
        keys = [
            e.RoomContentKey(bytes(64), KEY, base, (2**63 - 1, 1), ListMark(3, KEY))
            for base in (None, e.Share(0, 0), e.Share(9, 2**32 - 1))
        ]
        self.assertEqual(len({len(e.encode_record(key)) // 16 for key in keys}), 1)
        for key in (*keys, e.ContentKey(bytes(64), KEY, None, (7, 2))):
            self.assertEqual(e.decode_content_key(e.encode_record(key)), key)

    def test_classes(self) -> None:
        """The classes are those of the specification."""
        edges = [len(e.pad(bytes(size))) for size in (255, 256, 511, 512, 1023, 1024, 2047, 2048, 4095, 4096, 8191, 8192)]
        self.assertEqual(edges, [256, 512, 512, 1024, 1024, 2048, 2048, 4096, 4096, 8192, 8192, 12288])

    def test_too_large(self) -> None:
        """We pad nothing that does not fit."""
        self.assertRaises(LocalProtocolError, e.pad, bytes(e.MAX_CONTENT + 1))

    def test_bad(self) -> None:
        """Without a mark, with another size than the class's, or with anything behind the mark it is no padding."""
        good = e.pad(b"text")
        for bad in (b"", bytes(256), b"\x80", good[:-1], good + b"\x00", good[:-1] + b"\x01", e.pad(bytes(300))[:256]):
            self.assertEqual(self.assertRaises(Refusal, e.unpad, bad).code, "bad-envelope")
        # One class up, with as little in it, says more than it should need to.
        self.assertRaises(Refusal, e.unpad, b"text\x80".ljust(512, b"\x00"))

    def test_longest_text_fits(self) -> None:
        """The longest text with all that stands around it fits, padded and sealed, into a common part."""
        longest = msgspec.structs.replace(
            CONTENT, body=bytes(MAX_TEXT), incarnation=2**63 - 1, counter=2**63 - 1, sent_at=2**63 - 1
        )
        encoded = e.encode_record(longest)
        self.assertLessEqual(len(encoded), e.MAX_CONTENT)
        self.assertLessEqual(len(e.pad(bytes(e.MAX_CONTENT))) + SEALED_MORE, MAX_COMMON)

    def test_lobby_fits(self) -> None:
        """So do the longest line of the lobby, with the longest name, and the list of who is in a full one."""
        line = e.RelayedLine("x" * 32, ID, 2**63 - 1, e.Kind.ANSWER, bytes(e.MAX_LOBBY_TEXT))
        self.assertLessEqual(len(e.encode_record(line)), MAX_TEXT)
        everybody = e.Members("", ["x" * 32] * e.MAX_LOBBY_MEMBERS)
        self.assertLessEqual(len(e.encode_record(everybody)), MAX_TEXT)

    def test_largest_first_message_fits(self) -> None:
        """The own part of a first message, with a list of ten devices that all have an RSA key of 4096 bits, fits."""
        devices = [Device(bytes([n]) * 16, bytes([n]) * 32, bytes([n]) * 32, bytes(MAX_RSA_KEY)) for n in range(MAX_DEVICES)]
        body = encode_device_list(DeviceList(KEY, "x" * 32, MAX_VERSION, KEY, 2**40, devices))
        prekey = msgspec.structs.replace(PREKEY, devices=msgspec.structs.replace(LIST, body=body))
        header = e.encode_record(e.EnvelopeHeader("pqxdh", 1, KEY, 2**32 - 1, 2**32 - 1, prekey))
        introduction = e.Introduction(KEY, prekey.devices)
        shorter = e.encode_record(e.KeyHeader("psk", 1, KEY, 2**63 - 1, 2**63 - 1, introduction))
        transport = e.Transport(bytes(512), bytes(64))
        longer = e.encode_record(e.RsaHeader("rsa", 1, 2**63 - 1, 2**63 - 1, 64, transport, introduction))
        for each in (header, shorter, longer):
            own = e.encode_record(e.Envelope(each, bytes(256)))
            self.assertLessEqual(len(own), MAX_OWN)


class RecordTests(SynchronousTestCase):
    """What travels inside."""

    def refused(self, kind: type[Any], data: bytes) -> None:
        """This is no such record."""
        self.assertEqual(self.assertRaises(Refusal, e.decode_record, kind, data).code, "bad-envelope")

    def test_round_trip(self) -> None:
        """Each record comes back as it was."""
        for record in RECORDS:
            self.assertEqual(e.decode_record(type(record), e.encode_record(record)), record)

    def test_every_truncation(self) -> None:
        """A record that lacks anything is refused, and one with anything more."""
        for record in RECORDS:
            data = e.encode_record(record)
            cuts = range(len(data)) if len(data) < 300 else [*range(0, len(data), 37), len(data) - 1]
            for size in cuts:
                self.refused(type(record), data[:size])
            self.refused(type(record), data + b"\x00")
            self.refused(type(record), msgspec.msgpack.encode([*msgspec.msgpack.decode(data), None]))

    def test_one_encoding(self) -> None:
        """Of all the ways in which msgpack can say a record one is accepted."""
        for record in RECORDS:
            for other in reencoded(e.encode_record(record)):
                self.refused(type(record), other)

    def test_without_keep(self) -> None:
        """A content that is kept as long as each likes has no last item; one that says so is another encoding."""
        items = msgspec.msgpack.decode(e.encode_record(CONTENT))
        self.assertEqual(len(items), 13)
        self.assertEqual(e.encode_record(msgspec.structs.replace(CONTENT, keep=7)), msgspec.msgpack.encode([*items, 7]))
        self.refused(e.Content, msgspec.msgpack.encode([*items, 0]))

    def test_limits(self) -> None:
        """Lists and numbers are bounded."""
        for record in (
            e.Receipt([ID] * (e.MAX_RECEIPT_IDS + 1)),
            e.Reset([e.Missing(ID, 1, [], 1)] * (e.MAX_RESET_ENTRIES + 1)),
            e.RelayedLine("a" * 33, ID, 1, 1, b""),
            e.RelayedLine("a", ID, 1, e.Kind.RECEIPT, b""),
            e.RelayedLine("a", ID, 1, 1, bytes(e.MAX_LOBBY_TEXT + 1)),
            e.Members("", ["a"] * (e.MAX_LOBBY_MEMBERS + 1)),
            e.Reset([e.Missing(ID, 1, [1] * (e.MAX_RESET_COUNTERS + 1), 1)]),
            e.EnvelopeHeader("pqxdh", 1, KEY, 0, 2**32, None),
            e.EnvelopeHeader("pqxdh", -1, KEY, 0, 0, None),
            msgspec.structs.replace(CONTENT, kind=-1),
            e.KeyHeader("psk", 1, KEY, -1, 1, None),
            e.KeyHeader("psk", 1, KEY, 1, 2**63, None),
            e.KeyHeader("psk", 1, bytes(31), 1, 1, None),
            e.ContentKey(bytes(31), KEY, None, (0, 0)),
            e.ContentKey(bytes(65), KEY, None, (0, 0)),
            msgspec.structs.replace(CONTENT, body=bytes(MAX_TEXT + 1)),
            msgspec.structs.replace(CONTENT, keep=e.MAX_KEEP + 1),
            msgspec.structs.replace(CONTENT, keep=-1),
            msgspec.structs.replace(CONTENT, continues=(e.StreamEnd(1, 1, b""),) * (e.MAX_CONTINUED + 1)),
            msgspec.structs.replace(PREKEY, kem_ciphertext=bytes(1087)),
            msgspec.structs.replace(PREKEY, kem_ciphertext=bytes(1089)),
        ):
            self.refused(type(record), e.encode_record(record))

    def test_unknown_kind(self) -> None:
        """A kind of later times is kept as its number."""
        data = e.encode_record(msgspec.structs.replace(CONTENT, kind=77))
        self.assertEqual(e.decode_record(e.Content, data).kind, 77)

    @given(st.sampled_from([type(record) for record in RECORDS]), st.binary(max_size=100) | values.map(msgspec.msgpack.encode))
    def test_any_bytes(self, kind: type[Any], data: bytes) -> None:
        """Whatever bytes come, there is a record or a refusal."""
        try:
            e.decode_record(kind, data)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "bad-envelope")

    def test_deep_nesting(self) -> None:
        """Nesting, however deep, is refused and nothing worse."""
        for record in RECORDS:
            self.refused(type(record), b"\x91" * 50_000)


class HeaderTests(SynchronousTestCase):
    """A header's first item says what the rest means."""

    def code(self, data: bytes) -> str:
        """The code with which a header is refused."""
        error = self.assertRaises(Refusal, e.decode_header, data)
        assert isinstance(error, Refusal)
        return error.code

    def test_by_suite(self) -> None:
        """Each suite has a header of its own."""
        for header in HEADERS:
            self.assertEqual(e.decode_header(e.encode_record(header)), header)

    def test_unknown_suite(self) -> None:
        """Another suite or version is unavailable, whatever stands behind."""
        for data in (["rsb", 1], ["rsa", 2, KEY, {}], ["psk", 2, 3], ["pqxdh", 0], ["", 1], ["psk", 2**32 - 1]):
            self.assertEqual(self.code(msgspec.msgpack.encode(data)), "suite-unavailable")

    def test_other_shape(self) -> None:
        """What introduces a sender in one suite is malformed in another, and so is anything cut short or longer."""
        for header in HEADERS:
            items = msgspec.msgpack.decode(e.encode_record(header))
            other = "psk" if items[0] == "pqxdh" else "pqxdh"
            if items[-1] is not None:
                self.assertEqual(self.code(msgspec.msgpack.encode([other, *items[1:]])), "bad-envelope")
            for count in range(len(items)):
                self.assertEqual(self.code(msgspec.msgpack.encode(items[:count])), "bad-envelope")
            self.assertEqual(self.code(msgspec.msgpack.encode([*items, None])), "bad-envelope")

    def test_one_encoding(self) -> None:
        """A header in another encoding is refused, though its suite can be read."""
        for header in HEADERS:
            for other in reencoded(e.encode_record(header)):
                self.assertEqual((e.suite_of(other), self.code(other)), (header.suite, "bad-envelope"))

    @given(st.binary(max_size=100) | values.map(msgspec.msgpack.encode))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever bytes come, there is a header or a refusal."""
        try:
            e.decode_header(data)
        except Refusal as refusal:
            self.assertIn(refusal.code, ("bad-envelope", "suite-unavailable"))

    def test_suites(self) -> None:
        """Every suite has its version, its header and the size of its content keys."""
        self.assertEqual(set(e.SUITES), {"pqxdh", "psk", "rsa"})
        self.assertEqual(set(e.KEY_SIZES), set(e.SUITES))
