"""
The shortest path that a Python program can offer with the same conversation, as a yardstick: deposit, deliver, acknowledge,
accept.

One epoll on the TLS that the load uses, too, without Twisted; no login, no limits, no store. Accepted says that the recipient
has acknowledged, and is sent once for each turn. C{python -m bench.barepath PORT}
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque

import msgspec
from OpenSSL import SSL, crypto

from bench.machine import Unmeasurable, allow_files
from bench.served import HOST
from bench.tls import Stream, make_context
from securemsg.crypto.keys import tls_key_pair
from securemsg.protocol.framing import encode_frame

MOST = 12_000
_EVENTS = 512


class Name(msgspec.Struct, tag=1, array_like=True, gc=False):
    """Client: this is who we are."""

    device: bytes


class Send(msgspec.Struct, tag=2, array_like=True, gc=False):
    """Client: pass this on."""

    id: bytes
    to: list[bytes]
    body: bytes


class Acknowledge(msgspec.Struct, tag=3, array_like=True, gc=False):
    """Client: so many were taken, in all."""

    count: int


class Ready(msgspec.Struct, tag=16, array_like=True, gc=False):
    """Server: now you are known."""


class Deliver(msgspec.Struct, tag=17, array_like=True, gc=False):
    """Server: somebody sends this."""

    sender: bytes
    id: bytes
    time: int
    body: bytes


class Accepted(msgspec.Struct, tag=18, array_like=True, gc=False):
    """Server: these were acknowledged by everybody."""

    ids: list[bytes]


_read = msgspec.msgpack.Decoder(Name | Send | Acknowledge).decode
_write = msgspec.msgpack.Encoder().encode


class Client:
    """The server's end of one connection."""

    def __init__(self, relay: Relay, stream: Stream) -> None:
        self.stream = stream
        self.accepted: list[bytes] = []
        self.unsent: list[bytes] = []
        self._relay = relay
        self._device = self._rest = b""
        self._pending: deque[tuple[Client, bytes]] = deque()
        self._acknowledged = 0

    def take(self, data: bytes) -> None:
        """Do what came."""
        data = self._rest + data
        start, size = 0, len(data)
        while size - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > size:
                break
            message = _read(data[start + 4 : end])
            start = end
            if type(message) is Send:
                self._pass_on(message)
            elif type(message) is Acknowledge:
                self._settle(message.count)
            elif type(message) is Name:
                self._device = message.device
                self._relay.known[message.device] = self
                self._relay.send(self, Ready())
        self._rest = data[start:]

    def _pass_on(self, message: Send) -> None:
        for device in message.to:
            other = self._relay.known.get(device)
            if other is not None:
                other._pending.append((self, message.id))
                self._relay.send(other, Deliver(self._device, message.id, int(time.time()), message.body))

    def _settle(self, count: int) -> None:
        for _ in range(count - self._acknowledged):
            sender, deposit = self._pending.popleft()
            if not sender.accepted:
                self._relay.answering.append(sender)
            sender.accepted.append(deposit)
        self._acknowledged = count


class Relay:
    """
    All of them.

    @ivar answering: whoever is to be told at the end of the turn what was accepted.
    @ivar writing: whoever is written to then.
    """

    def __init__(self, context: SSL.Context, port: int) -> None:
        self.known: dict[bytes, Client] = {}
        self.answering: list[Client] = []
        self.writing: list[Client] = []
        self._context = context
        self._listener = socket.create_server((HOST, port), backlog=1024)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._clients: dict[int, Client] = {}

    def turn(self) -> None:
        """Wait for something, and do it."""
        for descriptor, events in self._epoll.poll(-1, _EVENTS):
            client = self._clients.get(descriptor)
            if client is None:
                stream = Stream(self._context, self._listener.accept()[0], is_server=True)
                stream.watch(self._epoll)
                self._clients[stream.descriptor] = Client(self, stream)
                continue
            if events & select.EPOLLOUT:
                client.stream.go_on_writing()
            data = client.stream.read()
            if data:
                client.take(data)
            elif data is not None:
                self._lose(client)
        for client in self.answering:
            self.send(client, Accepted(client.accepted))
            client.accepted = []
        self.answering.clear()
        for client in self.writing:
            data, client.unsent = b"".join(client.unsent), []
            try:
                client.stream.write(data)
            except Unmeasurable:
                self._lose(client)
        self.writing.clear()

    def send(self, client: Client, message: msgspec.Struct) -> None:
        """Write at the end of the turn, everything for one client at once."""
        if not client.unsent:
            self.writing.append(client)
        client.unsent.append(encode_frame(_write(message)))

    def _lose(self, client: Client) -> None:
        """It has hung up."""
        if self._clients.pop(client.stream.descriptor, None) is not None:
            client.stream.close()


def main() -> None:
    """Listen on the port that is named on the command line."""
    allow_files(MOST)
    key, certificate = tls_key_pair(["localhost"], days=2)
    context = make_context()
    context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, key))
    context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, certificate))
    relay = Relay(context, int(sys.argv[1]))
    while True:
        relay.turn()


if __name__ == "__main__":
    main()
