"""A peer and its channel on two sides of a thread's border: each side has somebody who stands for the other."""

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
class Seen:
    """How far a conversation has come, as the peer in its thread has seen it: the connection itself may be ahead."""

    phase: Phase
    hello: bytes = b""
    challenge: bytes = b""


@implementer(IChannel)
class ChannelProxy:
    """The channel as the peer in its thread sees it."""

    def __init__(self, reactor: IReactorFromThreads, channel: IChannel) -> None:
        """Stand for this channel."""
        self._reactor = reactor
        self._channel = channel
        self.binding: Binding = channel.binding
        self.link: LinkInfo | None = getattr(channel, "link", None)
        self.connection = Seen(channel.connection.phase)

    def send(self, message: Message) -> None:
        """See L{IChannel.send}."""
        self._reactor.callFromThread(self._channel.send, message)

    def close(self, code: str = "") -> None:
        """See L{IChannel.close}."""
        self.connection.phase = Phase.CLOSED
        self._reactor.callFromThread(self._channel.close, code)

    def pause(self, wanted: bool) -> None:
        """See L{IChannel.pause}."""
        self._reactor.callFromThread(self._channel.pause, wanted)


@implementer(IPeer)
class PeerProxy:
    """The peer as the reactor sees it: whatever it is told is passed on to the one in the thread."""

    def __init__(self, reactor: IReactorFromThreads, worker: Worker, peer: IPeer) -> None:
        """Stand for this peer."""
        self._reactor = reactor
        self._worker = worker
        self._peer = peer
        self._near: IChannel | None = None
        self._far: ChannelProxy | None = None

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self._near = channel
        self._far = far = ChannelProxy(self._reactor, channel)
        self._pass_on(far, lambda: self._peer.opened(far))

    def received(self, message: Message | Unknown) -> None:
        """See L{IPeer.received}."""
        assert self._near is not None
        assert self._far is not None
        far, connection = self._far, self._near.connection
        seen = Seen(connection.phase, connection.hello, connection.challenge)

        def receive() -> None:
            """In the thread: see how far things had come, then hear it; unless we hung up in between."""
            if far.connection.phase is not Phase.CLOSED:
                far.connection = seen
                self._peer.received(message)

        self._pass_on(far, receive)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""
        if self._far is not None:
            self._pass_on(self._far, lambda: self._peer.writable(yes))

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        far, self._near, self._far = self._far, None, None
        if far is None:
            return

        def close() -> None:
            """In the thread: it is over."""
            far.connection.phase = Phase.CLOSED
            self._peer.closed(code)

        self._worker.do(close)

    def _pass_on(self, far: ChannelProxy, call: Call) -> None:
        """Make a call in the thread; what it raises ends the connection, as it would here."""

        def guarded() -> None:
            """In the thread."""
            try:
                call()
            except RemoteProtocolError as error:
                far.close(error.code)
            # A bug: the far side must not wait for an answer that never comes; the thread's own log tells of it.
            except Exception:
                far.close("internal")
                raise

        self._worker.do(guarded)
