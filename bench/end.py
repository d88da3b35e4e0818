"""One connection of the load, whatever it speaks; and the way from one to another."""

from __future__ import annotations

import socket
from collections import deque

from attrs import define, field

from bench.served import HOST
from bench.tls import Stream


def connect(port: int) -> socket.socket:
    """Connect to a server on loopback."""
    return socket.create_connection((HOST, port))


@define(eq=False)
class Flow:
    """
    One direction of one pair.

    A message is in flight until it has been delivered I{and} accepted, where somebody accepts.

    @ivar awaits_delivery: whether the recipient is there.
    @ivar window: keep so many in flight; 0: the pace decides.
    @ivar limit: send no more than so many in all; negative: no limit.
    """

    sender: End
    awaits_delivery: bool = True
    window: int = 0
    limit: int = -1
    sent: int = 0
    delivered: int = 0
    accepted: int = 0
    stamps: deque[float] = field(factory=deque, repr=False)

    @property
    def done(self) -> int:
        """How many are not in flight any more."""
        if not self.sender.awaits_answer:
            return self.delivered
        return min(self.accepted, self.delivered) if self.awaits_delivery else self.accepted

    def push(self, count: int, stamp: float) -> None:
        """Send so many now; C{stamp} is when they should have gone out."""
        self.sent += count
        if self.awaits_delivery:
            self.stamps.extend([stamp] * count)
        self.sender.stream.write(self.sender.frames(count))

    def room(self) -> int:
        """How many more the window has room for."""
        room = self.window - (self.sent - self.done)
        return room if self.limit < 0 else min(room, self.limit - self.sent)


class End:
    """
    One connection. A class for each thing to be spoken; all of them receive in C{take}, which is called once for each read.

    @cvar awaits_answer: whether the server tells the sender that it has taken a message.
    @ivar is_ready: whether what is delivered from now on is new.
    @ivar outgoing: the way from here; C{incoming}: the one that leads here.
    """

    awaits_answer = True
    __slots__ = ("delivered", "incoming", "is_ready", "number", "outgoing", "rest", "stream")

    def __init__(self, port: int, number: int, receives: bool = True) -> None:
        """
        Connect and log in.

        @param number: who this is, of all accounts. Even ones send to the next.
        @param receives: whether messages are to be delivered here.
        @raise Unmeasurable: the server does not want us.
        """
        self.number = number
        self.rest = b""
        self.is_ready = True
        self.delivered = 0
        self.outgoing: Flow | None = None
        self.incoming: Flow | None = None
        self.stream = self.log_in(port, receives)

    def log_in(self, port: int, receives: bool) -> Stream:
        """Connect, up to the moment at which one could send."""
        raise NotImplementedError

    def address(self, number: int, size: str) -> None:
        """Prepare messages of this size to somebody."""
        raise NotImplementedError

    def frames(self, count: int) -> bytes:
        """So many new messages."""
        raise NotImplementedError

    def take(self, data: bytes) -> tuple[int, int]:
        """
        Take what came, acknowledge what was delivered, and keep what is not complete in C{rest}.

        @return: how many messages were accepted of those sent, and how many were delivered.
        @raise Unmeasurable: something came that should not.
        """
        raise NotImplementedError
