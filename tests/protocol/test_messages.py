"""Every message, and what is none."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import RemoteProtocolError
from securemsg.protocol import messages as m
from securemsg.protocol.framing import MAX_FRAME, MAX_GREETING_FRAME, MAX_REGISTRATION_FRAME
from securemsg.protocol.messages import KNOWN_TAGS, Message, Unknown, decode_message, encode_message
from tests.protocol.examples import EXAMPLES, ID, KEY, KINDS, LIST, PAKE, PREKEY, RECORD, ROOM, SIGNATURE, reencoded, values

# Newer peers may say more in these two.
OPEN = (m.Hello, m.Challenge)


def items_of(message: Message) -> list[Any]:
    """A message as the array that it is on the wire."""
    items: list[Any] = msgspec.msgpack.decode(encode_message(message))
    return items


class MessageTests(SynchronousTestCase):
    """Structs to bytes, and back."""

    def refused(self, payload: bytes, why: object = None) -> None:
        """This is no message."""
        error = self.assertRaises(RemoteProtocolError, decode_message, payload)
        self.assertEqual(error.code, "malformed", why)

    def refused_items(self, *items: object) -> None:
        """Nor is this array."""
        self.refused(msgspec.msgpack.encode(items), items)

    def test_examples_complete(self) -> None:
        """There is an example of each kind, and each tag belongs to one kind."""
        self.assertEqual(set(EXAMPLES), set(KINDS))
        tags = {kind.__struct_config__.tag for kind in KINDS}  # type: ignore[attr-defined]
        self.assertEqual(tags, KNOWN_TAGS)
        self.assertEqual(len(tags), len(KINDS))

    def test_round_trip(self) -> None:
        """Each message comes back as it was, under its tag."""
        for kind, message in EXAMPLES.items():
            self.assertEqual(decode_message(encode_message(message)), message)
            self.assertEqual(items_of(message)[0], kind.__struct_config__.tag)  # type: ignore[attr-defined]

    def test_every_truncation(self) -> None:
        """A message that lacks its last bytes, however many, is malformed."""
        for message in EXAMPLES.values():
            payload = encode_message(message)
            for size in range(len(payload)):
                self.refused(payload[:size], (message, size))

    def test_trailing_bytes(self) -> None:
        """So is one with bytes behind it."""
        for message in EXAMPLES.values():
            self.refused(encode_message(message) + b"\x00", message)

    def test_missing_item(self) -> None:
        """So is one with items missing; but the last of some belongs to a feature."""
        for message in EXAMPLES.values():
            items = items_of(message)
            least = len(items) - isinstance(message, (m.Deposit, m.DepositRefused, m.Deliver, m.Failed))
            for count in range(1, least):
                self.refused_items(*items[:count])

    def test_without_a_room(self) -> None:
        """What is of no room looks as it does to peers that know none: the item is left out, and never nil."""
        for kind in (m.Deposit, m.DepositRefused, m.Deliver):
            message = msgspec.structs.replace(EXAMPLES[kind], room=None)
            items = items_of(EXAMPLES[kind])[:-1]
            self.assertEqual(encode_message(message), msgspec.msgpack.encode(items))
            self.assertEqual(decode_message(encode_message(message)), message)
            self.refused_items(*items, None)

    def test_without_a_time(self) -> None:
        """A last message without a time looks as it does to peers that know none, and the time is bounded."""
        self.assertEqual(encode_message(m.Failed("stopping")), msgspec.msgpack.encode([6, "stopping"]))
        self.assertEqual(decode_message(msgspec.msgpack.encode([6, "stopping"])), m.Failed("stopping"))
        for time in (None, 0, m.MAX_RETRY_AFTER + 1):
            self.refused_items(6, "stopping", time)

    def test_extra_item(self) -> None:
        """So is one with an item more; but the two greetings ignore what they do not know."""
        for kind, message in EXAMPLES.items():
            items = [*items_of(message), "later"]
            if kind in OPEN:
                self.assertEqual(decode_message(msgspec.msgpack.encode(items)), message)
            else:
                self.refused_items(*items)

    def test_extra_item_inside(self) -> None:
        """So is one whose parts have an item more."""
        items = items_of(EXAMPLES[m.Publish])
        items[2].append(1)
        self.refused_items(*items)

    def test_wrong_types(self) -> None:
        """So is one with an item of another type, whichever."""
        wrongs: list[object] = [None, {}, 1.5, {"a": 1}, [[[]]], -1, 2**63]
        for message in EXAMPLES.values():
            items = items_of(message)
            for place in range(1, len(items)):
                for wrong in wrongs:
                    if wrong is None and isinstance(message, (m.Upload, m.Bundle, m.Deposit, m.DepositRefused, m.Deliver)):
                        continue  # there a prekey, or what belongs to a room, may be absent
                    changed = [*items[:place], wrong, *items[place + 1 :]]
                    self.refused_items(*changed)

    def test_one_encoding(self) -> None:
        """Of all the ways in which msgpack can say a message one is accepted; but the greetings are signed as they came."""
        for kind, message in EXAMPLES.items():
            payload = encode_message(message)
            for other in reencoded(payload):
                self.assertEqual(msgspec.msgpack.decode(other), msgspec.msgpack.decode(payload))
                if kind in OPEN:
                    self.assertEqual(decode_message(other), message)
                else:
                    self.refused(other, (message, other))

    def test_one_encoding_of_a_size(self) -> None:
        """That holds for encodings of one length, too: a number of two bytes with a sign, and one with a fraction."""
        self.assertEqual(encode_message(m.Ping(1000)), b"\x92\x1c\xcd\x03\xe8")
        self.refused(b"\x92\x1c\xd1\x03\xe8")
        self.assertEqual(encode_message(m.Ping(2**16)), b"\x92\x1c\xce\x00\x01\x00\x00")
        self.refused(b"\x92\x1c\xca\x47\x80\x00\x00")

    def test_text_is_not_bytes(self) -> None:
        """Texts and bytes are two things."""
        self.refused_items(20, 1, b"bob")
        self.refused_items(6, b"stopping")
        self.refused_items(3, "alice", ID, 1, "x" * 64)

    def test_text_is_utf8(self) -> None:
        """A text that is no UTF-8 is malformed."""
        self.refused(b"\x93\x14\x01\xa2\xff\xfe")

    def test_sizes(self) -> None:
        """Ids, keys, signatures and lists have the sizes they have."""
        part, prekeys = [ID, b""], [msgspec.msgpack.decode(msgspec.msgpack.encode(PREKEY))] * 51
        cases: list[tuple[object, ...]] = [
            (10, ID[:-1], 1, 1, b"", [["bob", [part]]]),
            (10, ID + b"x", 1, 1, b"", [["bob", [part]]]),
            (10, ID, 1, 1, b"", []),
            (10, ID, 1, 1, b"", [["bob", [part] * 11]]),
            (10, ID, 1, 1, b"", [["bob", [part]]] * 65),
            (10, ID, 1, 1, bytes(m.MAX_COMMON + 1), [["bob", [part]]]),
            (10, ID, 1, 1, b"", [["bob", [[ID, bytes(m.MAX_OWN + 1)]]]]),
            (10, ID, 1, 1, b"", [["b" * 33, [part]]]),
            (1, [1, -1], [], "device", "tcp", KEY),
            (1, [2**32], [], "device", "tcp", KEY),
            (2, 2**32, [], KEY, KEY, SIGNATURE),
            (24, 1, [1, KEY[:-1], SIGNATURE], None, [], [], False),
            (24, 1, [1, bytes(1185), SIGNATURE], None, [], [], False),
            (3, "alice", ID, 1, SIGNATURE + b"x"),
            (3, "alice", ID + b"x", 1, SIGNATURE),
            (3, "a" * 33, ID, 1, SIGNATURE),
            (4, "alice", ID[:-1], b"", KEY, [b"", SIGNATURE], SIGNATURE, SIGNATURE),
            (4, "alice", ID, b"", KEY[:-1], [b"", SIGNATURE], SIGNATURE, SIGNATURE),
            (4, "alice", ID, b"", KEY + b"x", [b"", SIGNATURE], SIGNATURE, SIGNATURE),
            (4, "alice", ID, b"", KEY, [b"", SIGNATURE], SIGNATURE[:-1], SIGNATURE),
            (4, "alice", ID, b"", KEY, [b"", SIGNATURE], SIGNATURE, SIGNATURE + b"x"),
            (20, 2**31, "bob"),
            (24, 1, None, None, prekeys, [], False),
            (24, 1, None, None, [], prekeys, False),
            (25, 1, [bytes(m.MAX_LIST_BODY + 1), SIGNATURE]),
            (26, 1, 0, 3600),
            (26, 1, 10_001, 3600),
            (26, 1, 1, 59),
            (44, 1, "host", 0, KEY, b""),
            (50, 1, PAKE[:-1]),
            (50, 1, PAKE + b"x"),
            (51, 1, 0),
            (51, 1, 10_000),
            (52, 7, PAKE, SIGNATURE[:-1]),
            (53, 1, 7, bytes(2113)),
            (56, PAKE, SIGNATURE + b"x"),
            (57, b""),
            (57, bytes(2113)),
            (1, [], [], "device", "tcp", "a", ID, KEY),
            (1, [1], [], "root", "tcp", "a", ID, KEY),
            (1, [1], [], "device", "pigeon", "a", ID, KEY),
        ]
        for case in cases:
            self.refused_items(*case)

    def test_deep_nesting(self) -> None:
        """Nesting, however deep, is malformed and nothing worse."""
        for depth in (100, 5_000, 90_000):
            self.refused(b"\x91" * depth + b"\x01")
            self.refused(b"\x92\x63" + b"\x91" * depth)
            self.refused(b"\x93\x0a" + b"\x91" * depth + b"\x01\x01")

    def test_announced_sizes(self) -> None:
        """An array or text that announces more than is there costs nothing."""
        for payload in (b"\xdd\xff\xff\xff\xff", b"\x92\x0e\xc6\xff\xff\xff\xff", b"\x92\xdb\xff\xff\xff\xff"):
            self.refused(payload)

    def test_no_array(self) -> None:
        """What is no array with a number in front is no message."""
        for items in (None, 1, "text", b"bytes", {"a": 1}, {}, [], ["10"], [None], [True], [1.0], [[10]], [b"\n"]):
            self.refused(msgspec.msgpack.encode(items), items)
        self.refused(b"")
        self.refused(b"\xc1")

    def test_unknown(self) -> None:
        """An array with an unknown number in front is a message of later times; its request number is found, if it has one."""
        for items, expected in (
            ([99], Unknown(99, 0)),
            ([-5, 3], Unknown(-5, 3)),
            ([99, 2**31 - 1, {"any": "thing"}], Unknown(99, 2**31 - 1)),
            ([99, 2**31], Unknown(99, 0)),
            ([99, -1], Unknown(99, 0)),
            ([99, True], Unknown(99, 0)),
            ([99, "1"], Unknown(99, 0)),
        ):
            self.assertEqual(decode_message(msgspec.msgpack.encode(items)), expected)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        """Whatever bytes come, there is a message, an unknown one, or a clean refusal."""
        self.attempt(payload)

    @given(st.one_of(st.sampled_from(sorted(KNOWN_TAGS)), values), st.lists(values, max_size=8))
    def test_any_array(self, tag: object, items: list[object]) -> None:
        """So it is for any array."""
        self.attempt(msgspec.msgpack.encode([tag, *items]))

    @given(st.sampled_from(list(EXAMPLES.values())), st.data())
    def test_any_change(self, message: Message, data: st.DataObject) -> None:
        """So it is for a message in which some bytes were changed."""
        payload = bytearray(encode_message(message))
        for place in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
            payload[place] = data.draw(st.integers(0, 255))
        self.attempt(bytes(payload))

    def attempt(self, payload: bytes) -> None:
        """Decode; what is accepted is what encoding it again gives."""
        try:
            message = decode_message(payload)
        except RemoteProtocolError as error:
            self.assertEqual(error.code, "malformed")
            return
        if type(message) in OPEN:
            assert not isinstance(message, Unknown)
            self.assertEqual(decode_message(encode_message(message)), message)
        elif not isinstance(message, Unknown):
            self.assertEqual(encode_message(message), payload)

    def test_frames_have_room(self) -> None:
        """The largest messages that our own ends send fit into the frame of their phase."""
        hello = m.Hello([2**31] * 16, ["f" * 32] * 16, "register", "memory", KEY)
        self.assertLessEqual(len(encode_message(hello)), MAX_GREETING_FRAME)
        largest_list = m.SignedDeviceList(bytes(m.MAX_LIST_BODY), SIGNATURE)
        register = m.Register("x" * 32, ID, bytes(64), KEY, largest_list, SIGNATURE, SIGNATURE)
        self.assertLessEqual(len(encode_message(register)), MAX_REGISTRATION_FRAME)
        self.assertLessEqual(len(encode_message(m.CodeAnswer(bytes(m.MAX_SEALED_INVITE)))), MAX_GREETING_FRAME)
        kem = m.Prekey(2**63 - 1, bytes(1184), SIGNATURE)
        small = m.Prekey(2**63 - 1, KEY, SIGNATURE)
        upload = m.Upload(2**31 - 1, small, kem, [small] * m.MAX_PREKEYS_A_PAGE, [kem] * m.MAX_PREKEYS_A_PAGE, True)
        self.assertLessEqual(len(encode_message(upload)), MAX_FRAME)
        parts = [m.Part(ID, bytes(m.MAX_OWN)) for _ in range(m.MAX_DEVICES)]
        deposit = m.Deposit(ID, 2**63 - 1, 30 * 86400, bytes(m.MAX_COMMON), [m.Destination("x" * 32, parts)])
        self.assertLessEqual(len(encode_message(deposit)), MAX_FRAME)
        deliver = m.Deliver(2**63 - 1, "x" * 32, ID, ID, 2**40, bytes(m.MAX_COMMON), bytes(m.MAX_OWN), ROOM)
        self.assertLessEqual(len(encode_message(deliver)), MAX_FRAME)

    def test_no_secret_needed(self) -> None:
        """Records that travel inside messages are checked as strictly."""
        for record, wrong in ((RECORD, "name"), (LIST, "signature")):
            items = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
            place = record.__struct_fields__.index(wrong)
            items[place] = 5
            tag = 21 if record is RECORD else 25
            self.refused_items(tag, 1, items)
