"""
A peer that works in a thread of its own, so that its disk does not hold up the reactor: the contact C{server}.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.errors import RemoteProtocolError
from securemsg.net.link import LinkInfo
from securemsg.net.memory import connect_memory, observe_memory
from securemsg.net.stream import StreamProtocol, Terms
from securemsg.net.turn import Turn
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Unknown
from securemsg.protocol.states import Phase, Side

# How often the one in the thread looks at its clock, and how long it stays away after its connection ended.
TICK = 1.0
PAUSE = 1.0

Call = Callable[[], object]


class Worker:
    """
    A thread that makes one call after another. A call that fails is logged, and the next one is made.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        """
        @param name: of the thread.
        """
        self._reactor = reactor
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopped: Deferred[None] = Deferred()

    def start(self) -> None:
        """
        Begin.
        """
        self._thread.start()

    def do(self, call: Call) -> None:
        """
        Make this call after those that wait; from any thread.
        """
        self._calls.put(call)

    def stop(self) -> Deferred[None]:
        """
        End after what waits already.

        @return: fires in the reactor's thread when the thread is through.
        """
        self._calls.put(None)
        return self._stopped

    def _run(self) -> None:
        """
        The thread.
        """
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - logged in full; the thread has more to do
                self._log.failure("a call in a thread of its own failed")
        self._reactor.callFromThread(self._stopped.callback, None)


@define
class Seen:
    """
    How far a conversation has come, as the peer in its thread has seen it: the connection itself may be ahead.
    """

    phase: Phase
    hello: bytes = b""
    challenge: bytes = b""


@implementer(IChannel)
class FarChannel:
    """
    The channel as the peer in its thread sees it.
    """

    def __init__(self, reactor: IReactorFromThreads, channel: IChannel) -> None:
        """
        Stand for this channel.
        """
        self._reactor = reactor
        self._channel = channel
        self.binding: Binding = channel.binding
        self.link: LinkInfo | None = getattr(channel, "link", None)
        self.connection = Seen(channel.connection.phase)

    def send(self, message: Message) -> None:
        """
        See L{IChannel.send}.
        """
        self._reactor.callFromThread(self._channel.send, message)

    def close(self, code: str = "") -> None:
        """
        See L{IChannel.close}.
        """
        self.connection.phase = Phase.CLOSED
        self._reactor.callFromThread(self._channel.close, code)

    def pause(self, wanted: bool) -> None:
        """
        See L{IChannel.pause}.
        """
        self._reactor.callFromThread(self._channel.pause, wanted)


@implementer(IPeer)
class FarPeer:
    """
    The peer as the reactor sees it: whatever it is told is passed on to the one in the thread.
    """

    def __init__(self, reactor: IReactorFromThreads, worker: Worker, peer: IPeer) -> None:
        """
        Stand for this peer.
        """
        self._reactor = reactor
        self._worker = worker
        self._peer = peer
        self._near: IChannel | None = None
        self._far: FarChannel | None = None

    def opened(self, channel: IChannel) -> None:
        """
        See L{IPeer.opened}.
        """
        self._near = channel
        self._far = far = FarChannel(self._reactor, channel)
        self._pass_on(far, lambda: self._peer.opened(far))

    def received(self, message: Message | Unknown) -> None:
        """
        See L{IPeer.received}.
        """
        assert self._near is not None
        assert self._far is not None
        far, connection = self._far, self._near.connection
        seen = Seen(connection.phase, connection.hello, connection.challenge)

        def receive() -> None:
            """
            In the thread: see how far things had come, then hear it; unless we hung up in between.
            """
            if far.connection.phase is not Phase.CLOSED:
                far.connection = seen
                self._peer.received(message)

        self._pass_on(far, receive)

    def writable(self, yes: bool) -> None:
        """
        See L{IPeer.writable}.
        """
        if self._far is not None:
            self._pass_on(self._far, lambda: self._peer.writable(yes))

    def closed(self, code: str) -> None:
        """
        See L{IPeer.closed}.
        """
        far, self._near, self._far = self._far, None, None
        if far is None:
            return

        def close() -> None:
            """
            In the thread: it is over.
            """
            far.connection.phase = Phase.CLOSED
            self._peer.closed(code)

        self._worker.do(close)

    def _pass_on(self, far: FarChannel, call: Call) -> None:
        """
        Make a call in the thread; what it raises ends the connection, as it would here.
        """

        def guarded() -> None:
            """
            In the thread.
            """
            try:
                call()
            except RemoteProtocolError as error:
                far.close(error.code)
            except Exception:
                far.close("internal")
                raise

        self._worker.do(guarded)


class Lodging(Protocol):
    """
    What lives in the thread, and is only ever touched there.
    """

    @property
    def peer(self) -> IPeer:
        """
        Who talks over the connection.
        """

    def tick(self) -> object:
        """
        Another second has passed.
        """

    def close(self) -> object:
        """
        It is over: let go of files.
        """


class Lodger:
    """
    Keeps somebody who lives in a thread of this process connected to the server, over memory.
    """

    def __init__(
        self,
        reactor: Any,
        worker: Worker,
        turn: Turn,
        door: Callable[[], IPeer],
        make: Callable[[], Lodging],
        failed: Callable[[Failure], None],
    ) -> None:
        """
        @param door: makes the server's side of a connection.
        @param make: called in the thread; opens what is needed there.
        @param failed: is told in the reactor's thread what C{make} raised.
        """
        self._reactor = reactor
        self._worker = worker
        self._failed = failed
        self._make = make
        self._lodging: Lodging | None = None
        self._peer: FarPeer | None = None
        self._waiting: IDelayedCall | None = None
        self._active = True
        self._ticking = False
        self._beat = LoopingCall(self._tick)
        self._beat.clock = reactor
        self._server = Terms(Side.SERVER, door, observe_memory, reactor, turn, handshake=False)
        self._client = Terms(Side.CLIENT, self._talker, observe_memory, reactor, turn, handshake=False, ended=self._lost)

    def start(self) -> None:
        """
        Open what is needed, then connect.
        """
        self._worker.start()
        self._worker.do(self._move_in)

    def stop(self) -> Deferred[None]:
        """
        Connect no more, and close everything.

        @return: fires when the thread has ended.
        """
        self._active = False
        if self._beat.running:
            self._beat.stop()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._worker.do(self._move_out)
        return self._worker.stop()

    def _move_in(self) -> None:
        """
        In the thread: open.
        """
        try:
            self._lodging = self._make()
        except Exception:  # noqa: BLE001 - handed on to the reactor's thread, whole
            self._reactor.callFromThread(self._failed, Failure())
        else:
            self._reactor.callFromThread(self._connect_first, self._lodging.peer)

    def _move_out(self) -> None:
        """
        In the thread: close.
        """
        lodging, self._lodging = self._lodging, None
        if lodging is not None:
            lodging.close()

    def _talker(self) -> IPeer:
        """
        Who talks at our end.
        """
        assert self._peer is not None
        return self._peer

    def _connect_first(self, peer: IPeer) -> None:
        """
        The lodging is ready.
        """
        if self._active:
            self._peer = FarPeer(self._reactor, self._worker, peer)
            self._connect()
            self._beat.start(TICK, now=False)

    def _connect(self) -> None:
        """
        Join our end and the server's.
        """
        self._waiting = None
        connect_memory(self._server, self._client, self._reactor)

    def _lost(self, stream: StreamProtocol, reason: Failure) -> None:
        """
        The connection ended: make another, unless everything ends.
        """
        if self._active:
            self._waiting = self._reactor.callLater(PAUSE, self._connect)

    def _tick(self) -> None:
        """
        A second has passed; a thread that is busy is not given the same again.
        """
        if not self._ticking:
            self._ticking = True
            self._worker.do(self._pass_tick)

    def _pass_tick(self) -> None:
        """
        In the thread: say so.
        """
        self._ticking = False
        if self._lodging is not None:
            self._lodging.tick()
