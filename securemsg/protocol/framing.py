"""
Frames on a stream: a 4-byte big-endian length, then that many bytes.

Source: C{docs/protocol.md}, section "Frames".
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from securemsg.errors import LocalProtocolError, RemoteProtocolError

LENGTH_SIZE = 4
# Before login nobody is known, so nobody may make us remember more than this.
MAX_GREETING_FRAME = 4 * 1024
# A registration carries two signatures, a device list and a token.
MAX_REGISTRATION_FRAME = 16 * 1024
# After login: the largest content (48 KiB), its padding, and an own part for each device.
MAX_FRAME = 96 * 1024


def encode_frame(payload: bytes) -> bytes:
    """
    Put the length in front of a payload.

    @raise LocalProtocolError: the payload is larger than any peer accepts.
    """
    if len(payload) > MAX_FRAME:
        raise LocalProtocolError(f"a frame of {len(payload)} bytes")
    return len(payload).to_bytes(LENGTH_SIZE, "big") + payload


@define
class FrameDecoder:
    """
    Cuts a stream of bytes into payloads, wherever the network cut it before.

    At most C{max_size} bytes and the length in front of them are ever kept besides the piece that was just fed.

    @ivar max_size: the largest payload in bytes that may be announced from now on.
    """

    max_size: int
    _kept: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take whatever the network gave us, and give the payloads that it completed, in order.

        Run the iterator to its end: what was not reached is kept only then.

        @raise RemoteProtocolError: C{frame-too-large}: the peer I{announced} too much; nothing of it was kept.
        """
        if self._kept:
            data = self._kept + data
            self._kept = b""
        start = 0
        end = len(data)
        while end - start >= LENGTH_SIZE:
            body = start + LENGTH_SIZE
            size = int.from_bytes(data[start:body], "big")
            if size > self.max_size:
                raise RemoteProtocolError("frame-too-large")
            if end - body < size:
                break
            start = body + size
            yield data[body:start]
        self._kept = data[start:]
