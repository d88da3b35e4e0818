"""The dialer: connects a client to its server, once or again and again with growing delays."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.net.control import observe_daemon
from securemsg.net.link import LinkInfo, Wire
from securemsg.net.stream import ConnectionOptions, StreamFactory, StreamProtocol
from securemsg.net.tls import ClientTrust, SecureFactory, Spki, is_tls_failure
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Unknown
from securemsg.protocol.states import Side

# How long a TCP connection, or the search for an address, may take.
CONNECT_TIME = 10
# The wait before another attempt: it doubles up to a minute, and half of it more or less keeps a fleet from coming at once.
FIRST_DELAY = 0.5
MAX_DELAY = 60
# Seconds within which a connection has to log in, if there is another route to the server.
LOGIN_LEAD = 3
# A full server has room as soon as somebody leaves, so the longest wait for it is shorter.
FULL_CODE = "server-full"
MAX_FULL_DELAY = 4


@frozen
class Route:
    """
    One route to the server.

    @ivar observe: says what protects a connection that came this way.
    @ivar trust: what TLS is to trust that is put under the stream; C{None}: the endpoint brings its own protection.
    @ivar handshake: whether its protection has a handshake.
    @ivar delay: seconds after the other routes before this one is tried.
    @ivar post_quantum: see L{ConnectionOptions}.
    """

    endpoint: IStreamClientEndpoint
    observe: Callable[[Wire], LinkInfo | None]
    trust: ClientTrust | None = None
    handshake: bool = True
    delay: float = 0
    post_quantum: bool = False


@implementer(IPeer)
@define(eq=False)
class _Candidate:
    """
    The peer, as long as it is not sure that it has the right connection.

    @ivar closed: takes the code of its end.
    """

    _peer: IPeer
    closed: Callable[[str], None]

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self._peer.opened(channel)

    def received(self, message: Message | Unknown) -> None:
        """See L{IPeer.received}."""
        self._peer.received(message)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""
        self._peer.writable(yes)


@define(eq=False)
class _Attempt:
    """An attempt at one route: it waits for its start, or for its transport, or has a stream."""

    route: Route
    start: IDelayedCall | None = None
    connecting: Deferred[IProtocol] | None = None
    stream: StreamProtocol | None = None


@define(eq=False)
class Dialer:
    """
    Keeps one peer connected, or tries to once. Where there are several routes to the server they are tried together. The first
    whose handshake is done may log in; if it has not done so within L{LOGIN_LEAD} seconds, or ends before that, the others are
    tried. They do not log in at the same time: of two connections of a device the newer replaces the older.

    Twisted's C{ClientService} does not fit: its delay depends on the number of attempts alone (a full server is asked again
    sooner), it does not report why an attempt failed, and it logs the address of every attempt.

    @ivar failed: called with the code of a failed attempt: C{not-connected}, C{tls} or C{timeout}. The end of an established
        connection is reported to its peer only.
    @ivar again: whether to connect again after an end or a failure; L{stop} ends that.
    """

    _routes: Sequence[Route]
    _peer: IPeer
    _clock: IReactorTime
    _turn: Turn
    _failed: Callable[[str], None]
    _again: bool = False
    _jitter: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)
    _attempts: list[_Attempt] = field(factory=list, init=False)
    _codes: list[str] = field(factory=list, init=False)
    # Routes that are tried if the one that may log in does not; and how it ended then.
    _spare: list[Route] = field(factory=list, init=False)
    _first_code: str | None = field(default=None, init=False)
    _deciding: IDelayedCall | None = field(default=None, init=False)
    _waiting: IDelayedCall | None = field(default=None, init=False)
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
        self._decide()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        streams = [attempt.stream for attempt in self._attempts if attempt.stream is not None]
        # A cancelled attempt removes itself.
        for attempt in list(self._attempts):
            self._cancel(attempt)
        if not streams:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        for stream in streams:
            stream.close(code)
        return done

    def _connect(self) -> None:
        self._waiting = None
        self._codes, self._first_code = [], None
        self._try([_Attempt(route) for route in self._routes])

    def _try(self, attempts: list[_Attempt]) -> None:
        self._attempts = list(attempts)
        for attempt in attempts:
            if attempt.route.delay:
                attempt.start = self._clock.callLater(attempt.route.delay, self._begin, attempt)
            else:
                self._begin(attempt)

    def _begin(self, attempt: _Attempt) -> None:
        attempt.start = None
        route = attempt.route
        options = ConnectionOptions(
            Side.CLIENT,
            partial(self._won, attempt),
            route.observe,
            self._clock,
            self._turn,
            handshake=route.handshake,
            on_end=partial(self._lost, attempt),
            post_quantum=route.post_quantum,
        )
        factory: IProtocolFactory = StreamFactory(options)
        if route.trust is not None:
            factory = SecureFactory(route.trust, True, factory, self._clock)
        attempt.connecting = route.endpoint.connect(factory)
        attempt.connecting.addCallbacks(partial(self._connected, attempt), partial(self._refused, attempt))

    def _connected(self, attempt: _Attempt, protocol: IProtocol) -> None:
        attempt.connecting = None
        stream = getattr(protocol, "wrappedProtocol", protocol)
        # The other end may have hung up within the same turn.
        if isinstance(stream, StreamProtocol) and stream.connected:
            attempt.stream = stream
            stream.when_ready(partial(self._ready, attempt))

    def _won(self, winner: _Attempt) -> IPeer:
        """A handshake is done: the others are not needed, unless this one does not come to a login."""
        others, self._attempts = [attempt for attempt in self._attempts if attempt is not winner], [winner]
        for attempt in others:
            self._cancel(attempt)
            if attempt.stream is not None:
                attempt.stream.expire(False)
        if not others:
            return self._peer
        self._spare = [evolve(attempt.route, delay=0) for attempt in others]
        self._deciding = self._clock.callLater(LOGIN_LEAD, self._give_way, winner)
        return _Candidate(self._peer, partial(self._ended, winner))

    def _give_way(self, winner: _Attempt) -> None:
        """Time is up for a login, with other routes left."""
        self._deciding = None
        if winner.stream is not None:
            winner.stream.expire(False)

    def _decide(self) -> None:
        """No other route is needed any more."""
        self._spare = []
        if self._deciding is not None:
            self._deciding.cancel()
            self._deciding = None

    def _ended(self, winner: _Attempt, code: str) -> None:
        """The end of a connection: the peer is not told if it never logged in and there are other routes."""
        if self._spare and self._active:
            self._first_code = code
        else:
            self._peer.closed(code)

    def _cancel(self, attempt: _Attempt) -> None:
        """Drop what has no stream yet."""
        if attempt.start is not None:
            attempt.start.cancel()
            attempt.start = None
        if attempt.connecting is not None:
            attempt.connecting.cancel()

    def _ready(self, attempt: _Attempt) -> None:
        """Logged in: the next delay is a short one again."""
        self._decide()
        self._failures, self._first_code = 0, None

    def _refused(self, attempt: _Attempt, reason: Failure) -> None:
        attempt.connecting = None
        self._give_up(attempt, "timeout" if reason.check(ConnectTimeout) else "not-connected", MAX_DELAY)

    def _lost(self, attempt: _Attempt, stream: StreamProtocol, reason: Failure) -> None:
        """A connection ended, whether it was ever established or not."""
        attempt.stream = None
        if attempt in self._attempts and self._spare and self._active and stream.link is not None:
            spare = [_Attempt(route) for route in self._spare]
            self._decide()
            self._try(spare)
            return
        code = ""
        if stream.link is None:
            code = stream.code or "lost"
            code = "tls" if is_tls_failure(reason) else "not-connected" if code == "lost" else code
        self._give_up(attempt, code, MAX_FULL_DELAY if stream.code == FULL_CODE else MAX_DELAY, stream.retry_after)
        if not any(attempt.stream for attempt in self._attempts):
            waiting, self._stopped = self._stopped, []
            for done in waiting:
                done.callback(None)

    def _give_up(self, attempt: _Attempt, code: str, longest: float, retry_after: float | None = None) -> None:
        """An attempt is over; the last of them says why."""
        if attempt not in self._attempts:
            return
        self._attempts.remove(attempt)
        self._codes.append(code)
        if self._attempts and self._active:
            # The others need not wait any longer.
            for other in [other for other in self._attempts if other.start is not None]:
                self._cancel(other)
                self._begin(other)
        if not self._attempts and self._active:
            if code and self._first_code is not None:
                self._peer.closed(self._first_code)
            elif code:
                # That nobody answered says least.
                self._failed(min(self._codes, key=lambda one: one in ("timeout", "not-connected")))
            self._try_again(longest, retry_after)

    def _try_again(self, longest: float, retry_after: float | None) -> None:
        """
        Wait a while, then connect.

        @param retry_after: how long the server wants us to wait, seconds; after a failure since the last login the usual delays
            count.
        """
        if self._active and self._again and self._waiting is None:
            delay = min(longest, FIRST_DELAY * 2 ** min(self._failures, 10)) * (0.5 + self._jitter())
            if retry_after is not None and not self._failures:
                delay = retry_after
            self._failures += 1
            self._waiting = self._clock.callLater(delay, self._connect)


def tcp_route(reactor: IReactorTime, host: str, port: int, spki: Spki, authorities: Path | None = None) -> Route:
    """
    TCP and TLS.

    @param authorities: see L{ClientTrust}.
    """
    trust = ClientTrust(host, spki, authorities)
    return Route(HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIME), trust.observe, trust)


@implementer(IStreamClientEndpoint)
@frozen
class _LaterEndpoint:
    """The endpoint of a route that is not made yet."""

    _make: Callable[[], Route]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Make it, and connect; where it cannot be made, that fails."""
        return maybeDeferred(lambda: self._make().endpoint.connect(protocolFactory))


def later_route(make: Callable[[], Route], delay: float) -> Route:
    """
    A route that is made when it is tried, because it takes long to import. It brings its own protection.

    @param delay: seconds after the other routes before this one is tried.
    """
    make = cache(make)
    return Route(_LaterEndpoint(make), lambda wire: make().observe(wire), delay=delay)


def dial_unix(reactor: IReactorTime, path: Path, peer: IPeer, *, turn: Turn, failed: Callable[[str], None]) -> Dialer:
    """A dialer for the control socket of a daemon; it must be started."""
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=CONNECT_TIME)
    return Dialer([Route(endpoint, observe_daemon, handshake=False)], peer, reactor, turn, failed)
