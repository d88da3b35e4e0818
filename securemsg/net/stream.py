"""
Bytes on one side, messages on the other: the one Twisted protocol of both ends and of every stream transport.

How long anything may take is in L{securemsg.net.timeouts}.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IAddress, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.net.link import LinkInfo, Wire, tune
from securemsg.net.timeouts import Timeouts
from securemsg.net.turn import Turn
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import Failed, Message, Unknown, encode_message
from securemsg.protocol.states import TRANSITIONS, Phase, Side

# What a code looks like; the peer's last word goes into logs and onto terminals, so it is nothing else.
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}")
UNREADABLE_CODE = "failed"


@frozen
class ConnectionOptions:
    """
    What all connections of one kind have in common.

    @ivar side: which end they are.
    @ivar make_peer: whom a connection talks to; asked once the handshake stands.
    @ivar observe: takes the transport once it stands, and says what protects it; C{None}: drop it, with nothing said.
    @ivar handshake: whether a TLS handshake comes first.
    @ivar hung_up: is told the code whenever we hang up on somebody.
    @ivar ended: is told of every end, after the peer was, whether the connection ever stood or not.
    @ivar idle_time: how long a peer that is logged in may be silent; 0: for ever.
    """

    side: Side
    make_peer: Callable[[], IPeer]
    observe: Callable[[Wire], LinkInfo | None]
    clock: IReactorTime
    turn: Turn
    handshake: bool = True
    hung_up: Callable[[str], None] = lambda code: None
    ended: Callable[[StreamProtocol, Failure], None] = lambda stream, reason: None
    idle_time: float = 0


class StreamFactory(Factory):
    """Makes streams on the same terms."""

    noisy = False

    def __init__(self, terms: ConnectionOptions) -> None:
        """Keep the terms."""
        self._terms = terms

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol:
        """One stream."""
        return StreamProtocol(self._terms)


@implementer(IChannel, IHandshakeListener, IPushProducer)
class StreamProtocol(Protocol):
    """
    One connection. As a producer it is told of a full buffer by its transport, and passes that on to its peer.

    @ivar link: how the connection is protected, once it stands.
    """

    _log = Logger()

    transport: Wire  # type: ignore[assignment]  # Twisted's interface is wider in names, narrower in methods
    link: LinkInfo | None = None
    _peer: IPeer | None = None
    # Why it ended; None while it lives.
    _code: str | None = None
    _queued = False
    # Whether the peer wants no messages for now.
    _is_paused = False
    _ready: Callable[[], None] | None = None

    def __init__(self, terms: ConnectionOptions) -> None:
        """Wait for a transport."""
        self._terms = terms
        self.connection = Connection(terms.side)
        self._timeouts = Timeouts(self, terms.clock, terms.idle_time)

    # --- the transport's side -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The transport stands, but TLS does not yet."""
        self.transport.registerProducer(self, True)
        if self._terms.handshake:
            self._timeouts.await_handshake()
        else:
            self._open()

    def handshakeCompleted(self) -> None:
        """TLS stands."""
        if self._code is None:
            self._open()

    def dataReceived(self, data: bytes) -> None:
        """Hand the messages that are complete to the peer. Late bytes are dropped."""
        if self._code is not None or self._peer is None:
            return
        self._timeouts.heard = self._terms.clock.seconds()
        self.connection.receive(data)
        self._pull()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone; the peer hears of it here and nowhere else."""
        self._timeouts.cancel()
        self.connected = 0
        self.connection.close()
        if self._code is None:
            self._code = "lost"
        peer, self._peer = self._peer, None
        try:
            if peer is not None:
                peer.closed(self._code)
        except Exception:  # noqa: BLE001 - a bug, and there is nobody left to tell
            self._log.failure("a peer failed while it was told of the end")
        self._terms.ended(self, reason)

    def pauseProducing(self) -> None:
        """The buffer is full."""
        if self._code is None and not self._timeouts.is_full:
            self._timeouts.await_reader()
            self._tell_writable(False)

    def resumeProducing(self) -> None:
        """The buffer has drained."""
        if self._code is None and self._timeouts.is_full:
            self._timeouts.is_full = False
            self._tell_writable(True)

    def stopProducing(self) -> None:
        """The transport is gone; C{connectionLost} says so too."""

    # --- the peer's side ------------------------------------------------------------------------------------------

    @property
    def code(self) -> str | None:
        """Why the connection ended, as the peer is told; C{None} while it lives."""
        return self._code

    @property
    def binding(self) -> Binding:
        """What a signature is tied to."""
        assert self.link is not None, "no peer before the link stands"
        return self.link.binding

    def send(self, message: Message) -> None:
        """Queue a message for the end of this turn. To send out of turn is a bug of ours, which ends this connection alone."""
        if self._code is not None:
            return
        try:
            self.connection.send(message)
        except LocalProtocolError:
            self._break()
            return
        if not self._queued:
            self._queued = True
            self._terms.turn.later(self._flush)

    def close(self, code: str = "") -> None:
        """Say why, and hang up."""
        if self._code is None:
            self._finish(code, code, self.connection.phase)

    def pause(self, wanted: bool) -> None:
        """See L{IChannel.pause}."""
        if self._code is None and wanted is not self._is_paused:
            self._is_paused = wanted
            if not wanted:
                self._terms.turn.later(self._pull)

    def when_ready(self, call: Callable[[], None]) -> None:
        """Make this call once the login is done; never, if it does not come to that."""
        self._ready = call

    # --- time -----------------------------------------------------------------------------------------------------

    def expire(self, say: bool) -> None:
        """Time is up: hang up, with a last word or without."""
        if say:
            self._hang_up("timeout", self.connection.phase)
        else:
            self._abandon()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Look at what protects the connection, and introduce the two sides."""
        try:
            self.link = self._terms.observe(self.transport)
            if self.link is None:
                self._abandon("tls" if self._terms.handshake else "forbidden")
                return
            tune(self.transport)
            self._timeouts.await_login()
            self._peer = self._terms.make_peer()
            self._peer.opened(self)
        except Exception:  # noqa: BLE001 - a bug, as above
            self._break()

    def _pull(self) -> None:
        """Hand complete messages to the peer until it asks for a pause. Read from the network unless many wait."""
        if self._code is not None or self._peer is None:
            return
        if not self._is_paused:
            self._hand_over(self._peer.received)
        wanted = self._is_paused and self.connection.is_full
        if self._code is None and wanted is not self._timeouts.is_paused:
            if wanted:
                self._timeouts.is_paused = True
                self.transport.pauseProducing()
            else:
                self._timeouts.hear_again()
                self.transport.resumeProducing()

    def _hand_over(self, received: Callable[[Message | Unknown], None]) -> None:
        phase = self.connection.phase
        try:
            for message in self.connection.messages():
                if type(message) is Failed:
                    self._finish(message.code if _CODE.fullmatch(message.code) else UNREADABLE_CODE)
                    return
                received(message)
                if self._is_paused:
                    break
        except RemoteProtocolError as error:
            self._hang_up(error.code, phase)
        except Exception:  # noqa: BLE001 - a bug: logged in full, and this connection alone pays for it
            self._break()
        if self._ready is not None and self.connection.phase is Phase.READY:
            ready, self._ready = self._ready, None
            ready()

    def _flush(self) -> None:
        """Write what was queued in this turn."""
        self._queued = False
        if self._code is None:
            self.transport.write(self.connection.take())

    def _tell_writable(self, yes: bool) -> None:
        """Pass on what the transport says of its buffer."""
        if self._peer is None:
            return
        try:
            self._peer.writable(yes)
        except Exception:  # noqa: BLE001 - a bug, as above
            self._break()

    def _hang_up(self, code: str, phase: Phase) -> None:
        """The peer broke the protocol."""
        if self._code is None:
            self._terms.hung_up(code)
            self._finish(code, code, phase)

    def _break(self) -> None:
        """We have a bug: to be called where an exception is being dealt with."""
        self._log.failure("a connection ends, for it met an error of ours")
        if self._code is None:
            self._finish("internal", "internal", self.connection.phase)

    def _finish(self, code: str, say: str = "", phase: Phase = Phase.CLOSED) -> None:
        """Write what is queued and the last words, where this phase has room for them, and hang up within bounded time."""
        self._code = code
        out = self.connection.take()
        if say and (self._terms.side, Failed) in TRANSITIONS[phase]:
            out += encode_frame(encode_message(Failed(say)))
        self.connection.close()
        self.transport.unregisterProducer()
        # Whoever does not read does not see the other end hang up either.
        if self._timeouts.is_paused:
            self.transport.resumeProducing()
        if out:
            self.transport.write(out)
        self._timeouts.await_end()
        self.transport.loseConnection()

    def _abandon(self, code: str = "timeout") -> None:
        """Hang up at once, with nothing said."""
        self._terms.hung_up(code)
        self._code = code
        self.connection.close()
        self._timeouts.cancel()
        self.transport.abortConnection()
