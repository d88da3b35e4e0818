"""
Proxies between the reactor's thread and the contact's: each side has one for the object on the other.

Whatever the reactor does to the peer is done in the worker's thread, in the same order; whatever the peer does to its channel
is done in the reactor's. Neither waits for the other.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from securemsg.daemon.worker import Call, Worker
from securemsg.errors import RemoteProtocolError
from securemsg.net.link import LinkInfo
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Unknown
from securemsg.protocol.states import Phase


@define
class ConnectionState:
    """The connection as it was when the peer's current message came; the connection itself may be ahead."""

    phase: Phase
    hello: bytes = b""
    challenge: bytes = b""


@implementer(IChannel)
class ChannelProxy:
    """The channel as the peer in its thread sees it."""

    def __init__(self, reactor: IReactorFromThreads, channel: IChannel) -> None:
        self._reactor = reactor
        self._channel = channel
        self.binding: Binding = channel.binding
        self.source: bytes = channel.source
        self.link: LinkInfo | None = getattr(channel, "link", None)
        self.connection = ConnectionState(channel.connection.phase)

    def send(self, message: Message) -> None:
        """See L{IChannel.send}."""
        self._reactor.callFromThread(self._channel.send, message)

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """See L{IChannel.close}."""
        self.connection.phase = Phase.CLOSED
        self._reactor.callFromThread(self._channel.close, code, retry_after)

    def moved_at(self) -> float:
        """See L{IChannel.moved_at}. In memory, whatever is slow is not the link."""
        return 0.0

    def pause(self, wanted: bool) -> None:
        """See L{IChannel.pause}."""
        self._reactor.callFromThread(self._channel.pause, wanted)


@implementer(IPeer)
class PeerProxy:
    """The peer as the reactor's thread sees it."""

    def __init__(self, reactor: IReactorFromThreads, worker: Worker, peer: IPeer) -> None:
        self._reactor = reactor
        self._worker = worker
        self._peer = peer
        self._channel: IChannel | None = None
        self._proxy: ChannelProxy | None = None

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self._channel = channel
        self._proxy = proxy = ChannelProxy(self._reactor, channel)
        self._do(proxy, lambda: self._peer.opened(proxy))

    def received(self, message: Message | Unknown) -> None:
        """See L{IPeer.received}."""
        assert self._channel is not None
        assert self._proxy is not None
        proxy, connection = self._proxy, self._channel.connection
        state = ConnectionState(connection.phase, connection.hello, connection.challenge)

        def receive() -> None:
            """In the thread: drop it if the peer has hung up meanwhile."""
            if proxy.connection.phase is not Phase.CLOSED:
                proxy.connection = state
                self._peer.received(message)

        self._do(proxy, receive)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""
        if self._proxy is not None:
            self._do(self._proxy, lambda: self._peer.writable(yes))

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        proxy, self._channel, self._proxy = self._proxy, None, None
        if proxy is None:
            return

        def close() -> None:
            """In the thread."""
            proxy.connection.phase = Phase.CLOSED
            self._peer.closed(code)

        self._worker.do(close)

    def _do(self, proxy: ChannelProxy, call: Call) -> None:
        """Make a call in the thread; an exception ends the connection, as in the reactor's thread."""

        def attempt() -> None:
            """In the thread."""
            try:
                call()
            except RemoteProtocolError as error:
                proxy.close(error.code)
            except Exception:
                # A bug, which the worker logs.
                proxy.close("internal")
                raise

        self._worker.do(attempt)
