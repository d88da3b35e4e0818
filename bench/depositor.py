"""The load for the daemon: real logins, deposits cut from a template, one acknowledgement for each read."""

from __future__ import annotations

import os

import msgspec

from bench.accounts import device_of, key_of, name_of
from bench.end import End, connect
from bench.machine import Unmeasurable
from bench.sizes import PARTS
from bench.tls import RECORD, Stream, make_context
from securemsg.crypto.keys import nonce
from securemsg.protocol import messages as m
from securemsg.protocol.auth import ALPN, EXPORTER_LABEL, EXPORTER_SIZE, FEATURES, PROOF_LABEL, VERSION, Binding, proof_parts
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.states import Side

EXPIRY = 86400
# Where numbers of deposits begin: all of them then take nine bytes, so that a template serves.
FIRST = 2**32
NUMBER_SIZE = 8
# Where a frame has its tag, after its length and the head of an array.
_TAG = 5
_ACCEPTED, _DELIVER, _DRAINED, _PONG = 11, 13, 15, 29
# Unasked for, and of no interest here.
_IGNORED = (16,)

_context = make_context(ALPN)
_spki: dict[int, bytes] = {}
_read_accepted = msgspec.msgpack.Decoder(m.Accepted).decode
_read_deliver = msgspec.msgpack.Decoder(m.Deliver).decode


class Depositor(End):
    """
    One connection of one device. If one sender writes to it, it checks that nothing is missing, comes twice or out of order.

    @cvar is_ordered: whether one sender does.
    """

    is_ordered = True
    __slots__ = ("_head", "_last", "_n", "_prefix", "_tail", "pongs")

    def __init__(self, port: int, number: int, receives: bool = True) -> None:
        """See L{End.__init__}."""
        self._prefix, self._n, self._last, self.pongs = os.urandom(8), FIRST, 0, 0
        super().__init__(port, number, receives)

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}: TLS, challenge, proof, welcome. The server's signature is not checked: its work is what counts."""
        stream = Stream(_context, connect(port))
        if port not in _spki:
            _spki[port] = stream.spki()
        exporter = stream.tls.export_keying_material(EXPORTER_LABEL, EXPORTER_SIZE, b"")
        binding = Binding("tcp", "tls-exporter", exporter, _spki[port])
        connection = Connection(Side.CLIENT)
        connection.send(m.Hello([VERSION], list(FEATURES), "device", "tcp", nonce()))
        stream.write(connection.data_to_send())
        welcomed, self.is_ready = False, not receives
        data = b""
        while not welcomed:
            data = stream.tls.recv(RECORD)
            for message in connection.receive(data):
                if isinstance(message, m.Challenge):
                    connection.send(self._proof(connection, message.identity, binding))
                    stream.write(connection.data_to_send())
                elif isinstance(message, m.Welcome):
                    welcomed, self._n = True, max(message.highest, FIRST)
                    # Whatever follows is ours to read.
                    break
                else:
                    raise Unmeasurable(f"the daemon answered the login of {name_of(self.number)} with {message!r:.120}")
        self.rest = data[len(data) - connection.unread :]
        return stream

    def _proof(self, connection: Connection, identity: bytes, binding: Binding) -> m.Proof:
        account, device = name_of(self.number), device_of(self.number)
        parts = proof_parts(connection.hello, connection.challenge, identity, account, device, 0, binding)
        return m.Proof(account, device, 0, key_of(self.number).sign(PROOF_LABEL, *parts))

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        mark = os.urandom(m.ID_SIZE)
        to = [m.Destination(name_of(number), [m.Part(device_of(number), PARTS[size].own)])]
        frame = encode_frame(m.encode_message(m.Deposit(mark, FIRST, EXPIRY, PARTS[size].common, to)))
        head, _, tail = frame.partition(mark + b"\xcf" + FIRST.to_bytes(NUMBER_SIZE, "big"))
        self._head, self._tail = head + self._prefix, tail

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        first, head, tail = self._n + 1, self._head, self._tail
        self._n += count
        numbers = [number.to_bytes(NUMBER_SIZE, "big") for number in range(first, first + count)]
        return b"".join([head + number + b"\xcf" + number + tail for number in numbers])

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}."""
        if self.rest:
            data = self.rest + data
        start, size = 0, len(data)
        accepted = delivered = 0
        last_at = 0, 0
        while size - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > size:
                break
            tag = data[start + _TAG]
            if tag == _DELIVER:
                delivered += 1
                last_at = start + 4, end
            elif tag == _ACCEPTED:
                accepted += self._count(data[start + 4 : end])
            else:
                self._rare(tag, data[start + 4 : end])
            start = end
        self.rest = data[start:]
        if delivered:
            self._acknowledge(delivered, data[last_at[0] : last_at[1]])
        return accepted, delivered

    def ping(self) -> None:
        """Ask for a sign of life, which comes after everything asked before."""
        self.stream.write(encode_frame(m.encode_message(m.Ping(1))))

    def _count(self, payload: bytes) -> int:
        """
        How many deposits the server answers for.

        @raise Unmeasurable: not for all recipients.
        """
        deposits = _read_accepted(payload).deposits
        for acceptance in deposits:
            if acceptance.missed:
                raise Unmeasurable("a mailbox is full")
        return len(deposits)

    def _acknowledge(self, count: int, last: bytes) -> None:
        """
        Acknowledge everything of this read.

        @param last: the last of so many deliveries. Looking at that one is enough: what came is counted.
        @raise Unmeasurable: something is missing, or out of order.
        """
        self.delivered += count
        number = int.from_bytes(_read_deliver(last).deposit_id[-NUMBER_SIZE:], "big")
        if self.is_ordered and self._last and number != self._last + count:
            raise Unmeasurable(f"{name_of(self.number)} got message {number} as number {count} after {self._last}")
        self._last = number
        self.stream.write(encode_frame(m.encode_message(m.Acknowledge(self.delivered))))

    def _rare(self, tag: int, payload: bytes) -> None:
        """Anything else."""
        if tag == _DRAINED:
            self.is_ready = True
        elif tag == _PONG:
            self.pongs += 1
        elif tag not in _IGNORED:
            raise Unmeasurable(f"{name_of(self.number)} was sent {m.decode_message(payload)!r:.120}")
