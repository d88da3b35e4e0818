"""
Bytes on one side, messages on the other: the one Twisted protocol of both ends and of every stream transport.

How long anything may take is in L{securemsg.net.timeouts}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attrs import field, frozen
from twisted.internet.interfaces import IAddress, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.counters import ConnectionCounters
from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.net.link import LinkInfo, Wire, is_post_quantum, tune
from securemsg.net.timeouts import Timeouts
from securemsg.net.turn import Turn
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import Failed, Message, Unknown, encode_message
from securemsg.protocol.states import TRANSITIONS, Phase, Side

# The form of a code. A peer's code goes into logs and onto terminals, so nothing else is accepted.
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}")
UNREADABLE_CODE = "failed"


@frozen
class ConnectionOptions:
    """
    What all connections of one kind have in common.

    @ivar side: which end they are.
    @ivar make_peer: makes the peer that gets the messages; called once the handshake is done.
    @ivar observe: says what protects a transport once it is established; C{None}: drop it without a message.
    @ivar handshake: whether a TLS handshake comes first.
    @ivar on_hangup: is called with the code whenever we hang up on a peer.
    @ivar on_end: is called at every end, after the peer, whether the connection was ever established or not.
    @ivar counters: counts connections and handshakes.
    @ivar post_quantum: whether a connection whose key exchange is not post-quantum is refused.
    @ivar idle_time: how long a peer that is logged in may be silent; 0: forever.
    """

    side: Side
    make_peer: Callable[[], IPeer]
    observe: Callable[[Wire], LinkInfo | None]
    clock: IReactorTime
    turn: Turn
    handshake: bool = True
    on_hangup: Callable[[str], None] = lambda code: None
    on_end: Callable[[StreamProtocol, Failure], None] = lambda stream, reason: None
    idle_time: float = 0
    post_quantum: bool = False
    counters: ConnectionCounters = field(factory=ConnectionCounters, eq=False)


class StreamFactory(Factory):
    """Makes streams with the same options."""

    noisy = False

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol:
        """Make a stream."""
        return StreamProtocol(self._options)


@implementer(IChannel, IHandshakeListener, IPushProducer)
class StreamProtocol(Protocol):
    """
    One connection. Its transport tells it, as a producer, when the buffer is full, and it tells its peer.

    @ivar link: how the connection is protected, once it is established.
    @ivar source: see L{IChannel}; set by whoever accepts connections.
    @ivar retry_after: when the server wants us to connect again, seconds after its last message; C{None}: it did not say.
    """

    _log = Logger()

    transport: Wire  # type: ignore[assignment]  # Twisted's interface is wider in names, narrower in methods
    link: LinkInfo | None = None
    source = b""
    retry_after: float | None = None
    _peer: IPeer | None = None
    # Why it ended; None while it lives.
    _code: str | None = None
    _queued = False
    # Whether the peer wants no messages for now.
    _wants_pause = False
    _ready: Callable[[], None] | None = None

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self.connection = Connection(options.side)
        self._timeouts = Timeouts(self, options.clock, options.idle_time)

    # --- the transport's side -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The transport is connected; TLS may come next."""
        self._options.counters.opened += 1
        self.transport.registerProducer(self, True)
        if self._options.handshake:
            self._timeouts.await_handshake()
        else:
            self._open()

    def handshakeCompleted(self) -> None:
        """TLS is established."""
        if self._code is None:
            self._open()

    def dataReceived(self, data: bytes) -> None:
        """Hand complete messages to the peer. Bytes after the end are dropped."""
        if self._code is not None or self._peer is None:
            return
        self._timeouts.last_received = self._options.clock.seconds()
        messages = self.connection.receive(data)
        if not self._wants_pause:
            self._hand_over(messages)
        if self._wants_pause:
            self._bound_reading()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone; this is the one place that tells the peer."""
        self._timeouts.cancel()
        self.connected = 0
        self.connection.close()
        if self._code is None:
            self._code = "lost"
        self._options.counters.closed += 1
        if self.link is None:
            self._options.counters.failures[self._code] += 1
        peer, self._peer = self._peer, None
        try:
            if peer is not None:
                peer.closed(self._code)
        except Exception:  # noqa: BLE001 - a bug, and no connection is left
            self._log.failure("a peer failed at the end of its connection")
        self._options.on_end(self, reason)

    def pauseProducing(self) -> None:
        """The buffer is full."""
        if self._code is None and not self._timeouts.is_full:
            self._timeouts.await_reader()
            self._notify_writable(False)

    def resumeProducing(self) -> None:
        """The buffer has drained."""
        if self._code is None and self._timeouts.is_full:
            self._timeouts.is_full = False
            self._notify_writable(True)

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
        """Queue a message for the end of this turn. A message that is out of turn is our bug, and ends this connection only."""
        if self._code is not None:
            return
        try:
            self.connection.send(message)
        except LocalProtocolError:
            self._break()
            return
        if not self._queued:
            self._queued = True
            self._options.turn.later(self._flush)

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """Say why, and hang up; see L{IChannel.close}."""
        if self._code is None:
            if code:
                self._options.on_hangup(code)
            self._finish(code, code, self.connection.phase, retry_after if self.connection.has_retry_after else None)

    def pause(self, wanted: bool) -> None:
        """See L{IChannel.pause}."""
        if self._code is None and wanted is not self._wants_pause:
            self._wants_pause = wanted
            if not wanted:
                self._options.turn.later(self._resume)

    def moved_at(self) -> float:
        """See L{IChannel.moved_at}."""
        return self._timeouts.moved_at()

    def when_ready(self, call: Callable[[], None]) -> None:
        """Make this call once the login is done; never, if it does not come to that."""
        self._ready = call

    # --- time -----------------------------------------------------------------------------------------------------

    def expire(self, say: bool) -> None:
        """Hang up because a time limit was reached; C{say}: with a last message."""
        if say:
            self._hang_up("timeout", self.connection.phase)
        else:
            self._abandon()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Check what protects the connection, and hand it to a peer."""
        try:
            self.link = self._options.observe(self.transport)
            if self.link is None:
                self._abandon("tls" if self._options.handshake else "forbidden")
                return
            if self._options.post_quantum and not is_post_quantum(self.link.group):
                self.link = None
                self._abandon("not-post-quantum")
                return
            self._options.counters.handshakes[self.link.group] += 1
            tune(self.transport)
            self._timeouts.await_login()
            self._peer = self._options.make_peer()
            self._peer.opened(self)
        except Exception:  # noqa: BLE001 - a bug, as above
            self._break()

    def _resume(self) -> None:
        """Go on after a pause, unless there is another one."""
        if self._code is None and not self._wants_pause:
            self._hand_over(self.connection.messages())
            self._bound_reading()

    def _bound_reading(self) -> None:
        """Read from the network unless the peer has paused and enough waits for it."""
        wanted = self._wants_pause and self.connection.is_full
        if self._code is None and wanted is not self._timeouts.is_paused:
            if wanted:
                self._timeouts.is_paused = True
                self.transport.pauseProducing()
            else:
                self._timeouts.resume()
                self.transport.resumeProducing()

    def _hand_over(self, messages: Iterator[Message | Unknown]) -> None:
        """Give the peer its messages until it pauses."""
        assert self._peer is not None, "nothing is received before the peer is there"
        received = self._peer.received
        phase = self.connection.phase
        try:
            for message in messages:
                if type(message) is Failed:
                    if message.retry_after is not None:
                        self.retry_after = message.retry_after / 1000
                    self._finish(message.code if _CODE.fullmatch(message.code) else UNREADABLE_CODE)
                    return
                received(message)
                if self._wants_pause:
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
            self.transport.write(self.connection.data_to_send())

    def _notify_writable(self, yes: bool) -> None:
        if self._peer is None:
            return
        try:
            self._peer.writable(yes)
        except Exception:  # noqa: BLE001 - a bug, as above
            self._break()

    def _hang_up(self, code: str, phase: Phase) -> None:
        """The peer broke the protocol."""
        if self._code is None:
            self._options.on_hangup(code)
            self._finish(code, code, phase)

    def _break(self) -> None:
        """End the connection after a bug of ours; to be called in an exception handler."""
        self._log.failure("an internal error ended a connection")
        if self._code is None:
            self._finish("internal", "internal", self.connection.phase)

    def _finish(self, code: str, say: str = "", phase: Phase = Phase.CLOSED, retry_after: int | None = None) -> None:
        """Write what is queued and the last message, where this phase has room for them, and hang up within bounded time."""
        self._code = code
        out = self.connection.data_to_send()
        if say and (self._options.side, Failed) in TRANSITIONS[phase]:
            out += encode_frame(encode_message(Failed(say, retry_after)))
        self.connection.close()
        self.transport.unregisterProducer()
        # A peer that does not read does not see the other end hang up either.
        if self._timeouts.is_paused:
            self.transport.resumeProducing()
        if out:
            self.transport.write(out)
        self._timeouts.await_end()
        self.transport.loseConnection()

    def _abandon(self, code: str = "timeout") -> None:
        """Hang up at once, with nothing said."""
        self._options.on_hangup(code)
        self._code = code
        self.connection.close()
        self._timeouts.cancel()
        self.transport.abortConnection()
