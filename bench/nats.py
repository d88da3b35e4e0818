"""nats-server as a peer: core NATS, which keeps nothing, and JetStream, which keeps messages in a file (without fsync)."""

from __future__ import annotations

import json
import os
import socket

from bench.end import End, connect
from bench.machine import Unmeasurable
from bench.sizes import MESSAGE_SIZE
from bench.tls import RECORD, Stream, make_context

PROGRAM = "nats-server"
CONFIGURATION = """\
listen: "127.0.0.1:{port}"
tls {{ cert_file: "{certificate}", key_file: "{key}" }}
jetstream {{ store_dir: "{folder}", max_file: 4G }}
max_connections: 20000
"""
# Of INFO, before TLS.
_GREETING = 4096
_STREAM = "bench"
# It deletes what is older. Deleting what all have acknowledged costs it more for each consumer there is.
_KEPT = 1 << 30
_context = make_context()


def configuration(port: int, key: str, certificate: str, folder: str) -> str:
    """What its file says."""
    return CONFIGURATION.format(port=port, key=key, certificate=certificate, folder=folder)


def _secured(sock: socket.socket) -> Stream:
    """Its protocol begins in clear, with a line."""
    greeting = b""
    while not greeting.endswith(b"\r\n"):
        greeting += sock.recv(_GREETING)
    stream = Stream(_context, sock)
    stream.write(b'CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"headers":true}\r\n')
    return stream


class Core(End):
    """Publish and subscribe: nobody accepts anything, and nobody acknowledges."""

    awaits_answer = False
    __slots__ = ("_message",)

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}."""
        stream = _secured(connect(port))
        self.enter(stream, receives)
        self.is_ready = False
        stream.write(b"PING\r\n")
        return stream

    def enter(self, stream: Stream, receives: bool) -> None:
        """Subscribe."""
        if receives:
            stream.write(b"SUB core.%d 1\r\n" % self.number)

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        body = os.urandom(MESSAGE_SIZE)
        self._message = b"PUB core.%d %d\r\n%b\r\n" % (number, len(body), body)

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        return self._message * count

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}."""
        data = self.rest + data
        start, accepted, delivered, reply = 0, 0, 0, b""
        while (line := data.find(b"\r\n", start)) >= 0:
            if data.startswith(b"MSG ", start):
                words = data[start:line].split(b" ")
                end = line + 2 + int(words[-1]) + 2
                if end > len(data):
                    break
                if words[2] == b"1":
                    delivered += 1
                    reply = words[3]
                else:
                    accepted += self.answered(data[line + 2 : end - 2])
                start = end
                continue
            self._control(data[start:line])
            start = line + 2
        self.rest = data[start:]
        self.delivered += delivered
        if delivered and self.awaits_answer:
            self.stream.write(b"PUB %b 4\r\n+ACK\r\n" % reply)
        return accepted, delivered

    def answered(self, body: bytes) -> int:
        """What came to our own inbox."""
        raise Unmeasurable(f"nats-server sent {body!r:.120}")

    def _control(self, line: bytes) -> None:
        """
        A line that is no message.

        @raise Unmeasurable: an error.
        """
        if line == b"PONG":
            self.is_ready = True
        elif line == b"PING":
            self.stream.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            raise Unmeasurable(f"nats-server said {line!r:.120}")


class JetStream(Core):
    """A stream in a file with a consumer for each recipient, which acknowledges cumulatively."""

    awaits_answer = True
    __slots__ = ()

    def enter(self, stream: Stream, receives: bool) -> None:
        """Subscribe to the answers, make the stream if it is not there, and the consumer of this recipient."""
        inbox = f"inbox.{self.number}"
        stream.write(f"SUB {inbox} 2\r\n".encode())
        settings = {"name": _STREAM, "subjects": ["js.*"], "storage": "file", "max_bytes": _KEPT}
        self._ask(stream, f"STREAM.CREATE.{_STREAM}", settings)
        if receives:
            stream.write(f"SUB push.{self.number} 1\r\n".encode())
            consumer = {
                "deliver_subject": f"push.{self.number}", "filter_subject": f"js.{self.number}", "ack_policy": "all",
                "durable_name": f"c{self.number}", "max_ack_pending": -1, "deliver_policy": "new",
            }  # fmt: skip
            self._ask(stream, f"CONSUMER.DURABLE.CREATE.{_STREAM}.c{self.number}", {"stream_name": _STREAM, "config": consumer})

    def _ask(self, stream: Stream, what: str, body: object) -> None:
        """
        Ask for something to be made.

        @raise Unmeasurable: it was not.
        """
        payload = json.dumps(body)
        stream.write(f"PUB $JS.API.{what} inbox.{self.number} {len(payload)}\r\n{payload}\r\n".encode())
        data = b""
        while not data.endswith(b"}\r\n"):
            data += stream.tls.recv(RECORD)
        if b'"error"' in data:
            raise Unmeasurable(f"nats-server said {data!r:.300}")

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        body = os.urandom(MESSAGE_SIZE)
        self._message = b"PUB js.%d inbox.%d %d\r\n%b\r\n" % (number, self.number, len(body), body)

    def answered(self, body: bytes) -> int:
        """
        One acceptance.

        @raise Unmeasurable: it is none.
        """
        if b'"seq"' not in body:
            raise Unmeasurable(f"nats-server said {body!r:.120}")
        return 1
