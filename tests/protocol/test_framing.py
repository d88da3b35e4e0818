"""Frames, wherever the network cuts them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.protocol.framing import LENGTH_SIZE, MAX_FRAME, FrameDecoder, encode_frame


def feed(decoder: FrameDecoder, data: bytes) -> Iterator[bytes]:
    """Feed a decoder, and iterate over what is complete."""
    decoder.feed(data)
    return iter(decoder.next, None)


def decode(*pieces: bytes, max_size: int = 64) -> list[bytes]:
    """All payloads that these pieces complete."""
    decoder = FrameDecoder(max_size)
    return [payload for piece in pieces for payload in feed(decoder, piece)]


class FramingTests(SynchronousTestCase):
    """Payloads in, bytes out, and back."""

    def test_layout(self) -> None:
        """A frame is its length in four bytes, big-endian, then its payload."""
        self.assertEqual(encode_frame(b"abc"), b"\x00\x00\x00\x03abc")

    def test_any_split(self) -> None:
        """Frames come out whole wherever the network cuts the stream once or twice."""
        payloads = [b"one", b"", b"three"]
        wire = b"".join(map(encode_frame, payloads))
        for first in range(len(wire) + 1):
            for second in range(first, len(wire) + 1):
                self.assertEqual(decode(wire[:first], wire[first:second], wire[second:]), payloads)

    def test_byte_by_byte(self) -> None:
        """So they do from single bytes."""
        payloads = [b"one", b"", b"three" * 10]
        wire = b"".join(map(encode_frame, payloads))
        self.assertEqual(decode(*[wire[at : at + 1] for at in range(len(wire))]), payloads)

    @given(st.lists(st.binary(max_size=64), max_size=8), st.randoms(use_true_random=False))
    def test_random_splits(self, payloads: list[bytes], random: Random) -> None:
        """And from pieces of any sizes."""
        wire = b"".join(map(encode_frame, payloads))
        pieces = []
        while wire:
            cut = random.randint(1, len(wire))
            pieces.append(wire[:cut])
            wire = wire[cut:]
        self.assertEqual(decode(*pieces), payloads)

    def test_truncated(self) -> None:
        """A frame that lacks a byte is not there yet."""
        wire = encode_frame(b"whole")
        for size in range(len(wire)):
            self.assertEqual(decode(wire[:size]), [])

    def test_largest(self) -> None:
        """The limit itself is allowed, one more is not, and that is told from the announcement alone."""
        self.assertEqual(decode(encode_frame(bytes(64))), [bytes(64)])
        decoder = FrameDecoder(64)
        error = self.assertRaises(RemoteProtocolError, list, feed(decoder, (65).to_bytes(LENGTH_SIZE, "big")))
        self.assertEqual(error.code, "frame-too-large")

    def test_before_the_large_one(self) -> None:
        """What came before a frame that is too large was given."""
        decoder = FrameDecoder(64)
        payloads = feed(decoder, encode_frame(b"fine") + b"\xff\xff\xff\xff")
        self.assertEqual(next(payloads), b"fine")
        self.assertRaises(RemoteProtocolError, next, payloads)

    def test_limit_raised_between(self) -> None:
        """A limit that is raised by one frame holds for the next, even if both came together."""
        decoder = FrameDecoder(4)
        payloads = feed(decoder, encode_frame(b"in") + encode_frame(bytes(100)))
        self.assertEqual(next(payloads), b"in")
        decoder.max_size = 100
        self.assertEqual(next(payloads), bytes(100))

    def test_one_at_a_time(self) -> None:
        """What was not asked for stays in the decoder, whatever is fed meanwhile."""
        decoder = FrameDecoder(64)
        decoder.feed(encode_frame(b"one") + encode_frame(b"two")[:-1])
        self.assertEqual(next(iter(decoder.next, None)), b"one")
        payloads = feed(decoder, encode_frame(b"two")[-1:] + encode_frame(b"three"))
        self.assertEqual(next(payloads), b"two")
        decoder.feed(encode_frame(b"four"))
        self.assertEqual([*payloads, *iter(decoder.next, None)], [b"three", b"four"])
        self.assertEqual(decoder.size, 0)

    def test_full(self) -> None:
        """A decoder with a whole frame of the largest size is not full, and with a byte more it is."""
        decoder = FrameDecoder(64)
        decoder.feed(encode_frame(bytes(64)))
        self.assertFalse(decoder.is_full)
        decoder.feed(b"\x00")
        self.assertTrue(decoder.is_full)
        self.assertEqual(list(iter(decoder.next, None)), [bytes(64)])
        self.assertFalse(decoder.is_full)

    def test_memory_bounded(self) -> None:
        """No more than one frame is ever kept."""
        decoder = FrameDecoder(64)
        for _ in range(100):
            self.assertEqual(list(feed(decoder, encode_frame(bytes(64)) + encode_frame(bytes(64))[:-1])), [bytes(64)])
            self.assertLessEqual(decoder.size, 64 + LENGTH_SIZE)
            self.assertEqual(list(feed(decoder, b"\x00")), [bytes(64)])

    def test_own_frame_too_large(self) -> None:
        """We send nothing that no peer accepts."""
        encode_frame(bytes(MAX_FRAME))
        self.assertRaises(LocalProtocolError, encode_frame, bytes(MAX_FRAME + 1))
