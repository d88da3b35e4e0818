"""
One device that makes load for the comparison of UDP with TCP, on Twisted, because QUIC is there: it logs in, deposits,
acknowledges; it does not encrypt.

Over TCP alone the load is that of L{bench.load}, which takes far less of its core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from bench.accounts import Credentials
from bench.flows import Everybody, Flow
from bench.sizes import Parts
from securemsg.crypto.keys import nonce
from securemsg.protocol import messages as m
from securemsg.protocol.auth import FEATURES, PROOF_LABEL, VERSION, proof_parts
from securemsg.protocol.channel import IChannel, IPeer

EXPIRY = 86400
# A deposit id ends in the number of the deposit, bytes.
NUMBER_SIZE = 8


def _number(deposit_id: bytes) -> int:
    """Which deposit of its device that is."""
    return int.from_bytes(deposit_id[-NUMBER_SIZE:], "big")


@implementer(IPeer)
@define(eq=False)
class LoadDevice:
    """
    One connection of one device. It is written to by one other at most, and sees to it that nothing of that is missing, comes
    twice or out of order.

    @ivar flow: the way from here to the other end.
    @ivar source: the way that leads here.
    @ivar members: whom its deposits are for besides C{to}; C{room}: what they carry of a room, of which these are the members.
    @ivar ready: fires at Welcome.
    @ivar gone: fires with the code when the connection has ended.
    @ivar report: called with what should not happen.
    """

    credentials: Credentials
    _later: Callable[[Callable[[], None]], None]
    _trouble: Callable[[str], None]
    flow: Flow | None = None
    source: Flow | Everybody | None = None
    parts: Parts = Parts(b"", b"")
    to: Credentials | None = None
    members: Sequence[Credentials] = ()
    room: m.RoomItem | None = None
    ready: Deferred[None] = field(factory=Deferred)
    gone: Deferred[str] = field(factory=Deferred)
    _channel: IChannel = field(init=False)
    _n: int = 0
    _prefix: bytes = field(init=False, factory=lambda: os.urandom(8))
    _tag: int = 0
    _last: bytes = b""
    _acknowledging: bool = False
    _leaving: bool = False
    _answers: dict[type, Callable[..., None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """What to do with what comes."""
        self._answers = {
            m.Challenge: self._prove,
            m.Welcome: self._welcomed,
            m.Accepted: self._accepted,
            m.Deliver: self._delivered,
            m.Drained: lambda _: None,
        }

    # --- commands -------------------------------------------------------------------------------------------------

    def submit(self, count: int) -> None:
        """Deposit so many messages."""
        parts, send = self.parts, self._channel.send
        whom = self.members if self.to is None else (self.to,)
        to = [m.Destination(each.account, [m.Part(each.device, parts.own)]) for each in whom]
        if self.room is not None:
            to.append(m.Destination(self.credentials.account, []))
        for _ in range(count):
            self._n += 1
            deposit_id = self._prefix + self._n.to_bytes(NUMBER_SIZE, "big")
            send(m.Deposit(deposit_id, self._n, EXPIRY, parts.common, to, self.room))

    def leave(self) -> Deferred[str]:
        """Hang up. What was taken in this turn is acknowledged first, else it would come again."""
        if self._acknowledging:
            self._acknowledge()
        self._leaving = True
        self._channel.close()
        return self.gone

    # --- the channel's side ---------------------------------------------------------------------------------------

    def opened(self, channel: IChannel) -> None:
        """Say who we are."""
        self._channel = channel
        transport = channel.binding.transport
        channel.send(m.Hello([VERSION], list(FEATURES), "device", transport, nonce()))

    def received(self, message: m.Message | m.Unknown) -> None:
        """A message of the server."""
        answer = self._answers.get(type(message))
        if answer is None:
            self._trouble(f"{self.credentials.account} was sent {message!r:.120}")
        else:
            answer(message)

    def writable(self, yes: bool) -> None:
        """What is in flight is bounded anyway."""

    def closed(self, code: str) -> None:
        """The connection is gone."""
        if not self._leaving:
            self._trouble(f"the daemon disconnected {self.credentials.account}: {code}")
        self.gone.callback(code)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _prove(self, challenge: m.Challenge) -> None:
        """Log in. The server's signature is not checked: it is ours, and its work is what is measured."""
        own, at, binding = self.credentials, self._channel.connection, self._channel.binding
        parts = proof_parts(at.hello, at.challenge, challenge.identity, own.account, own.device, self._n, binding)
        self._channel.send(m.Proof(own.account, own.device, self._n, own.key.sign(PROOF_LABEL, *parts)))

    def _welcomed(self, welcome: m.Welcome) -> None:
        """Logged in. We keep no state, so we go on where the server says we were."""
        self._n = welcome.highest
        self.ready.callback(None)

    def _accepted(self, accepted: m.Accepted) -> None:
        """The server answers for some of our deposits."""
        assert self.flow is not None
        if any(acceptance.missed for acceptance in accepted.deposits):
            self._trouble("a mailbox is full")
        self.flow.answered(len(accepted.deposits))

    def _delivered(self, deliver: m.Deliver) -> None:
        """Take it; everything of this turn is acknowledged at once."""
        self._tag = deliver.tag
        last, self._last = self._last, deliver.deposit_id
        # Whoever writes to us writes to nobody else, so that its numbers rise by one.
        if last and _number(self._last) != _number(last) + 1:
            self._trouble(f"{self.credentials.account} got message {_number(self._last)} after {_number(last)}")
        if not self._acknowledging:
            self._acknowledging = True
            self._later(self._acknowledge)
        if self.source is not None:
            self.source.arrived()

    def _acknowledge(self) -> None:
        """The end of a turn."""
        self._acknowledging = False
        self._channel.send(m.Acknowledge(self._tag))
