"""
One device that makes load for the daemon: it registers, logs in, deposits, acknowledges; it does not encrypt.

What it sends are opaque parts of the size that real ones have, for the server sees nothing else of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from attrs import define, field, frozen
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from zope.interface import implementer

from bench.flows import Flow
from securemsg.crypto.keys import AgreementKey, SigningKey, nonce
from securemsg.crypto.primitives import a256cbc_hs512_encrypt
from securemsg.crypto.ratchet import seal_message
from securemsg.protocol import messages as m
from securemsg.protocol.auth import (
    FEATURES,
    PROOF_LABEL,
    REGISTER_DEVICE_LABEL,
    REGISTER_IDENTITY_LABEL,
    VERSION,
    proof_parts,
    register_parts,
)
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.devices import DEVICE_LIST_LABEL, Device, DeviceList, encode_device_list
from securemsg.protocol.envelope import Content, ContentKey, Envelope, EnvelopeHeader, Kind, ListMark, encode_record, pad

EXPIRY = 86400
# A deposit id ends in the number of the deposit, bytes.
NUMBER_SIZE = 8


@frozen
class Parts:
    """Common and own part of a deposit."""

    common: bytes
    own: bytes


def text_parts(size: int) -> Parts:
    """The parts of a text of so many bytes, in a session that is under way: the real formats, with keys that nobody has."""
    mark = ListMark(1, bytes(32))
    ids, body = bytes(16), bytes(size)
    content = Content(ids, Kind.TEXT, ids, ids, 2**62, 1000, bytes(32), (), mark, mark, 2**31, True, body)
    common = a256cbc_hs512_encrypt(os.urandom(64), pad(encode_record(content)))
    header = encode_record(EnvelopeHeader("pqxdh", 1, bytes(32), 1, 1000, None))
    sealed = seal_message(bytes(32), encode_record(ContentKey(bytes(64), bytes(32), None, (0, 0))), b"")
    return Parts(common, encode_record(Envelope(header, sealed)))


def total_parts(size: int) -> Parts:
    """Parts that are so many bytes together, to compare with a relay of bare strings."""
    return Parts(os.urandom(size // 2), os.urandom(size - size // 2))


def _number(deposit_id: bytes) -> int:
    """Which deposit of its device that is."""
    return int.from_bytes(deposit_id[-NUMBER_SIZE:], "big")


@frozen
class Credentials:
    """A device and the account that it is the only device of."""

    account: str
    device: bytes
    identity: SigningKey = field(factory=SigningKey.generate)
    key: SigningKey = field(factory=SigningKey.generate)


@implementer(IPeer)
@define(eq=False)
class LoadDevice:
    """
    One connection of one device. It is written to by one other at most, and sees to it that nothing of that is missing, comes
    twice or out of order.

    @ivar flow: the way from here to the other end.
    @ivar source: the way that leads here.
    @ivar ready: fires at Welcome.
    @ivar gone: fires with the code when the connection has ended.
    @ivar report: called with what should not happen.
    """

    credentials: Credentials
    _later: Callable[[Callable[[], None]], None]
    _trouble: Callable[[str], None]
    _registering: bool = False
    flow: Flow | None = None
    source: Flow | None = None
    parts: Parts = Parts(b"", b"")
    to: Credentials | None = None
    ready: Deferred[None] = field(factory=Deferred)
    gone: Deferred[str] = field(factory=Deferred)
    received_count: int = 0
    drained: bool = False
    pongs: int = 0
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
            m.Drained: self._emptied,
            m.Pong: self._ponged,
        }

    # --- commands -------------------------------------------------------------------------------------------------

    def submit(self, count: int) -> None:
        """Deposit so many messages."""
        assert self.to is not None
        parts, send = self.parts, self._channel.send
        to = [m.Destination(self.to.account, [m.Part(self.to.device, parts.own)])]
        for _ in range(count):
            self._n += 1
            send(m.Deposit(self._prefix + self._n.to_bytes(NUMBER_SIZE, "big"), self._n, EXPIRY, parts.common, to))

    def ping(self) -> None:
        """Ask for a sign of life, which comes after everything asked before."""
        self._channel.send(m.Ping(1))

    def deafen(self) -> None:
        """Read no more."""
        self._channel.pause(True)

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
        role = "register" if self._registering else "device"
        transport = channel.binding.transport
        channel.send(m.Hello([VERSION], list(FEATURES), role, transport, nonce()))  # type: ignore[arg-type]

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
        """Log in or register. The server's signature is not checked: it is ours, and its work is what is measured."""
        own, connection, binding = self.credentials, self._channel.connection, self._channel.binding
        if not self._registering:
            parts = proof_parts(
                connection.hello, connection.challenge, challenge.identity, own.account, own.device, self._n, binding
            )
            self._channel.send(m.Proof(own.account, own.device, self._n, own.key.sign(PROOF_LABEL, *parts)))
            return
        device = Device(own.device, own.key.public, AgreementKey.generate().public, None)
        body = encode_device_list(DeviceList(challenge.identity, own.account, 1, b"", int(time.time()), [device]))
        devices = m.SignedDeviceList(body, own.identity.sign(DEVICE_LIST_LABEL, body))
        unsigned = m.Register(own.account, own.device, b"", own.identity.public, devices, bytes(64), bytes(64))
        parts = register_parts(connection.hello, connection.challenge, challenge.identity, unsigned, binding)
        identity_signature = own.identity.sign(REGISTER_IDENTITY_LABEL, *parts)
        device_signature = own.key.sign(REGISTER_DEVICE_LABEL, *parts)
        self._channel.send(replace(unsigned, identity_signature=identity_signature, device_signature=device_signature))

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
        self.received_count += 1
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

    def _emptied(self, drained: m.Drained) -> None:
        """What was stored has come."""
        self.drained = True

    def _ponged(self, pong: m.Pong) -> None:
        """There it is."""
        self.pongs += 1
