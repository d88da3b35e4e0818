"""mosquitto as a peer: MQTT 3.1.1 (OASIS), with QoS 0 and QoS 1, in memory."""

from __future__ import annotations

import getpass
import os

from bench.end import End, connect
from bench.machine import Unmeasurable
from bench.sizes import MESSAGE_SIZE
from bench.tls import RECORD, Stream, make_context

PROGRAM = "mosquitto"
CONFIGURATION = """\
listener {port} 127.0.0.1
certfile {certificate}
keyfile {key}
tls_version tlsv1.3
allow_anonymous true
set_tcp_nodelay true
persistence false
max_queued_messages 0
log_type error
user {user}
"""
_PUBLISH, _PUBACK, _SUBACK = 3, 4, 9
_MAX_ID = 65535
_context = make_context()


def configuration(port: int, key: str, certificate: str, folder: str) -> str:
    """What its file says. Started by root, it would become somebody who cannot read our key."""
    return CONFIGURATION.format(port=port, key=key, certificate=certificate, user=getpass.getuser())


def _string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    """A fixed header (2.2), and what follows it: less than 16 KiB."""
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([kind]) + length + body


class _MqttEnd(End):
    """
    A connection of a clean session; each recipient has a topic of its own.

    @cvar qos: 0 or 1.
    """

    qos = 0
    __slots__ = ("_head", "_n", "_tail")

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}."""
        stream = Stream(_context, connect(port))
        stream.write(_packet(0x10, _string("MQTT") + b"\x04\x02\0\0" + _string(f"bench{self.number}")))
        self._n = 0
        if stream.tls.recv(RECORD)[:4] != b"\x20\x02\0\0":
            raise Unmeasurable("mosquitto refused a connection")
        self.is_ready = not receives
        if receives:
            stream.write(_packet(0x82, b"\0\x01" + _string(f"to/{self.number}") + bytes([self.qos])))
        return stream

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        body = os.urandom(MESSAGE_SIZE)
        whole = _packet(0x30 | self.qos << 1, _string(f"to/{number}") + bytes(2 * self.qos) + body)
        self._head, self._tail = whole[: -MESSAGE_SIZE - 2 * self.qos], body

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        head, tail = self._head, self._tail
        if not self.qos:
            return (head + tail) * count
        first = self._n
        self._n += count
        numbers = range(first, first + count)
        return b"".join([head + (number % _MAX_ID + 1).to_bytes(2, "big") + tail for number in numbers])

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}. MQTT acknowledges each message by itself."""
        data = self.rest + data
        start, size = 0, len(data)
        accepted = delivered = 0
        answers = []
        while size - start >= 2:
            length, body = data[start + 1], start + 2
            if length & 128:
                if size - start < 3:
                    break
                length, body = length & 127 | data[start + 2] << 7, start + 3
            if size - body < length:
                break
            kind = data[start] >> 4
            if kind == _PUBLISH:
                delivered += 1
                if self.qos:
                    at = body + 2 + int.from_bytes(data[body : body + 2], "big")
                    answers.append(b"\x40\x02" + data[at : at + 2])
            elif kind == _PUBACK:
                accepted += 1
            else:
                self.is_ready = self.is_ready or kind == _SUBACK
            start = body + length
        self.rest = data[start:]
        self.delivered += delivered
        if answers:
            self.stream.write(b"".join(answers))
        return accepted, delivered


class Unanswered(_MqttEnd):
    """QoS 0: at most once."""

    awaits_answer = False
    __slots__ = ()


class Answered(_MqttEnd):
    """QoS 1: at least once, acknowledged by both."""

    qos = 1
    __slots__ = ()
