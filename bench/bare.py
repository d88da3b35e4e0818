"""Load for the bare path (L{bench.barepath})."""

from __future__ import annotations

import os

import msgspec

from bench.accounts import device_of
from bench.barepath import Accepted, Acknowledge, Name, Send
from bench.end import End, connect
from bench.sizes import PARTS
from bench.tls import Stream, make_context
from securemsg.protocol.framing import encode_frame

_DELIVER, _ACCEPTED = 17, 18
ID_SIZE = 16
# Where a frame has its tag, after its length and the head of an array.
_TAG = 5

_context = make_context()
_write = msgspec.msgpack.Encoder().encode
_read_accepted = msgspec.msgpack.Decoder(Accepted).decode


class BareEnd(End):
    """As the load for the daemon, without a login."""

    __slots__ = ("_head", "_n", "_tail")

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}."""
        stream = Stream(_context, connect(port))
        self._n, self.is_ready = 0, False
        stream.write(encode_frame(_write(Name(device_of(self.number)))))
        return stream

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        mark, parts = os.urandom(ID_SIZE), PARTS[size]
        frame = encode_frame(_write(Send(mark, [device_of(number)], parts.common + parts.own)))
        self._head, _, self._tail = frame.partition(mark)

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        first, head, tail = self._n + 1, self._head, self._tail
        self._n += count
        return b"".join([head + number.to_bytes(ID_SIZE, "big") + tail for number in range(first, first + count)])

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}."""
        data = self.rest + data
        start, size = 0, len(data)
        accepted = delivered = 0
        while size - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > size:
                break
            tag = data[start + _TAG]
            if tag == _DELIVER:
                delivered += 1
            elif tag == _ACCEPTED:
                accepted += len(_read_accepted(data[start + 4 : end]).ids)
            else:
                self.is_ready = True
            start = end
        self.rest = data[start:]
        if delivered:
            self.delivered += delivered
            self.stream.write(encode_frame(_write(Acknowledge(self.delivered))))
        return accepted, delivered
