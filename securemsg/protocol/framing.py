"""
Frames on a stream: a 4-byte big-endian length, then that many bytes.

Source: C{docs/protocol.md}, section "Frames".
"""

from __future__ import annotations

from struct import Struct

from attrs import define, field

from securemsg.errors import LocalProtocolError, RemoteProtocolError

LENGTH_SIZE = 4
_LENGTH = Struct(">I")
# Before login nobody is known, so nobody may make us remember more than this.
MAX_GREETING_FRAME = 4 * 1024
# A registration carries two signatures, a device list and a token.
MAX_REGISTRATION_FRAME = 16 * 1024
# After login: the largest common part (56 KiB) and ten own parts of 8 KiB, each of which may repeat a list of ten devices with
# RSA keys of 4096 bits.
MAX_FRAME = 144 * 1024
# After the login of a device that announced rooms, what it may send: the largest common part and a hundred own parts of 8 KiB.
MAX_ROOM_FRAME = 1024 * 1024


def encode_frame(payload: bytes, max_size: int = MAX_FRAME) -> bytes:
    """
    Put the length in front of a payload.

    @param max_size: the largest payload that the peer accepts, bytes.
    @raise LocalProtocolError: this one is larger.
    """
    size = len(payload)
    if size > max_size:
        raise LocalProtocolError(f"a frame of {size} bytes")
    return _LENGTH.pack(size) + payload


@define(eq=False)
class FrameDecoder:
    """
    Cuts a stream of bytes into payloads, wherever the network cut it before.

    Bytes stay in the decoder until their payload is asked for. When all payloads were, at most C{max_size} bytes and the length
    before them are left.

    @ivar max_size: the largest payload in bytes that may be announced from now on.
    """

    max_size: int
    # Grows in place, so that a large frame costs no more in many small pieces.
    _data: bytearray = field(init=False, factory=bytearray, repr=False)

    def feed(self, data: bytes) -> None:
        """Add bytes from the network."""
        self._data += data

    def next(self) -> bytes | None:
        """
        The next payload; C{None}: it is not complete yet. What is not asked for stays in the decoder.

        @raise RemoteProtocolError: C{frame-too-large}: the peer has I{announced} too much.
        """
        data = self._data
        available = len(data)
        if available >= LENGTH_SIZE:
            (size,) = _LENGTH.unpack_from(data)
            if size > self.max_size:
                raise RemoteProtocolError("frame-too-large")
            end = LENGTH_SIZE + size
            if end <= available:
                payload = bytes(data[LENGTH_SIZE:end])
                del data[:end]
                return payload
        return None

    @property
    def size(self) -> int:
        """The number of bytes in the decoder."""
        return len(self._data)

    @property
    def is_full(self) -> bool:
        """Whether the decoder has more bytes than any one frame: enough to go on with, so that no more need to be read."""
        return self.size > self.max_size + LENGTH_SIZE
