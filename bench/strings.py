"""Load for the stock relay: strings with a length in front of them."""

from __future__ import annotations

from bench.end import End, connect
from bench.machine import Unmeasurable
from bench.sizes import MESSAGE_SIZE
from bench.tls import Stream, make_context
from bench.yardstick import PAIRED
from securemsg.protocol.framing import encode_frame

_context = make_context()
_MESSAGE = encode_frame(bytes(MESSAGE_SIZE))
_PAIRED = encode_frame(PAIRED)


class StringEnd(End):
    """One end of a pair. Nobody accepts anything, and nobody acknowledges."""

    awaits_answer = False
    __slots__ = ()

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}: there is none but a name for the pair."""
        stream = Stream(_context, connect(port))
        stream.write(encode_frame(b"pair %d" % (self.number // 2)))
        self.is_ready = False
        return stream

    def address(self, number: int, size: str) -> None:
        """See L{End.address}: everything goes to the other end of the pair."""

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        return _MESSAGE * count

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}."""
        data = self.rest + data
        if not self.is_ready and len(data) >= len(_PAIRED):
            if not data.startswith(_PAIRED):
                raise Unmeasurable("the stock relay did not say that a pair is one")
            data, self.is_ready = data[len(_PAIRED) :], True
        count, over = divmod(len(data), len(_MESSAGE)) if self.is_ready else (0, len(data))
        self.rest = data[len(data) - over :]
        self.delivered += count
        return 0, count
