"""The dialer: connects a client to its server, once or again and again with growing delays."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from securemsg.net.control import observe_daemon
from securemsg.net.link import LinkInfo, Wire
from securemsg.net.stream import ConnectionOptions, StreamFactory, StreamProtocol
from securemsg.net.tls import ClientTrust, SecureFactory, Spki, is_tls_failure
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IPeer
from securemsg.protocol.states import Side

# How long a TCP connection, or the search for an address, may take.
CONNECT_TIME = 10
# The wait before another attempt: it doubles up to a minute, and half of it more or less keeps a fleet from coming at once.
FIRST_DELAY = 0.5
MAX_DELAY = 60
# A full server has room as soon as somebody leaves, so the longest wait for it is shorter.
FULL_CODE = "server-full"
MAX_FULL_DELAY = 4


@define(eq=False)
class Dialer:
    """
    Keeps one peer connected, or tries to once.

    Twisted's C{ClientService} does not fit: its delay depends on the number of attempts alone (a full server is asked again
    sooner), it does not report why an attempt failed, and it logs the address of every attempt.

    @ivar failed: called with the code of a failed attempt: C{not-connected}, C{tls} or C{timeout}. The end of an established
        connection is reported to its peer only.
    @ivar again: whether to connect again after an end or a failure; L{stop} ends that.
    """

    _endpoint: IStreamClientEndpoint
    _observe: Callable[[Wire], LinkInfo | None]
    _trust: ClientTrust | None
    _peer: IPeer
    _clock: IReactorTime
    _turn: Turn
    _failed: Callable[[str], None]
    _again: bool = False
    _jitter: Callable[[], float] = random.random
    _attempts: int = field(default=0, init=False)
    _connecting: Deferred[IProtocol] | None = field(default=None, init=False)
    _waiting: IDelayedCall | None = field(default=None, init=False)
    _stream: StreamProtocol | None = field(default=None, init=False)
    _active: bool = field(default=False, init=False)
    _stopped: list[Deferred[None]] = field(factory=list, init=False)

    def start(self) -> None:
        """Connect now."""
        self._active = True
        self._connect()

    def stop(self, code: str = "") -> Deferred[None]:
        """
        Do not connect again, and end the connection if there is one.

        @return: fires when nothing is left.
        """
        self._active = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._stream is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        self._stream.close(code)
        return done

    def _connect(self) -> None:
        self._waiting = None
        options = ConnectionOptions(
            Side.CLIENT,
            lambda: self._peer,
            self._observe,
            self._clock,
            self._turn,
            handshake=self._trust is not None,
            on_end=self._lost,
        )
        factory: IProtocolFactory = StreamFactory(options)
        if self._trust is not None:
            factory = SecureFactory(self._trust, True, factory, self._clock)
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._refused)

    def _connected(self, protocol: IProtocol) -> None:
        self._connecting = None
        stream = getattr(protocol, "wrappedProtocol", protocol)
        # The other end may have hung up within the same turn.
        if isinstance(stream, StreamProtocol) and stream.connected:
            self._stream = stream
            stream.when_ready(self._ready)

    def _ready(self) -> None:
        """Logged in: the next delay is a short one again."""
        self._attempts = 0

    def _refused(self, reason: Failure) -> None:
        self._connecting = None
        if self._active:
            self._failed("timeout" if reason.check(ConnectTimeout) else "not-connected")
            self._try_again(MAX_DELAY)

    def _lost(self, stream: StreamProtocol, reason: Failure) -> None:
        """A connection ended, whether it was ever established or not."""
        self._stream = None
        if stream.link is None and self._active:
            code = stream.code or "lost"
            self._failed("tls" if is_tls_failure(reason) else "not-connected" if code == "lost" else code)
        waiting, self._stopped = self._stopped, []
        for done in waiting:
            done.callback(None)
        self._try_again(MAX_FULL_DELAY if stream.code == FULL_CODE else MAX_DELAY)

    def _try_again(self, longest: float) -> None:
        """Wait a while, then connect."""
        if self._active and self._again and self._waiting is None:
            delay = min(longest, FIRST_DELAY * 2 ** min(self._attempts, 10)) * (0.5 + self._jitter())
            self._attempts += 1
            self._waiting = self._clock.callLater(delay, self._connect)


def dial_tcp(
    reactor: IReactorTime,
    host: str,
    port: int,
    peer: IPeer,
    *,
    turn: Turn,
    spki: Spki,
    failed: Callable[[str], None],
    again: bool = False,
    authorities: Path | None = None,
) -> Dialer:
    """
    A dialer for a server over TCP and TLS; it must be started.

    @param authorities: see L{ClientTrust}.
    """
    trust = ClientTrust(host, spki, authorities)
    endpoint = HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIME)
    return Dialer(endpoint, trust.observe, trust, peer, reactor, turn, failed, again)


def dial_unix(reactor: IReactorTime, path: Path, peer: IPeer, *, turn: Turn, failed: Callable[[str], None]) -> Dialer:
    """A dialer for the control socket of a daemon; it must be started."""
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=CONNECT_TIME)
    return Dialer(endpoint, observe_daemon, None, peer, reactor, turn, failed)
