"""A peer that works in a thread of its own, so that its disk does not hold up the reactor: the contact C{server}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from securemsg.daemon.proxy import PeerProxy
from securemsg.daemon.worker import Worker
from securemsg.net.memory import connect_memory, observe_memory
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IPeer
from securemsg.protocol.states import Side

# How often the one in the thread looks at its clock, and how long it stays away after its connection ended.
TICK = 1.0
PAUSE = 1.0


class Hosted(Protocol):
    """What lives in the thread, and is only ever touched there."""

    @property
    def peer(self) -> IPeer:
        """Who talks over the connection."""

    def tick(self) -> object:
        """Another second has passed."""

    def close(self) -> object:
        """It is over: let go of files."""


class HostedClient:
    """Keeps somebody who lives in a thread of this process connected to the server, over memory."""

    def __init__(
        self,
        reactor: Any,
        worker: Worker,
        turn: Turn,
        door: Callable[[], IPeer],
        make: Callable[[], Hosted],
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
        self._hosted: Hosted | None = None
        self._peer: PeerProxy | None = None
        self._waiting: IDelayedCall | None = None
        self._active = True
        self._ticking = False
        self._beat = LoopingCall(self._tick)
        self._beat.clock = reactor
        self._server = ConnectionOptions(Side.SERVER, door, observe_memory, reactor, turn, handshake=False)
        self._client = ConnectionOptions(
            Side.CLIENT, self._talker, observe_memory, reactor, turn, handshake=False, ended=self._lost
        )

    def start(self) -> None:
        """Open what is needed, then connect."""
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
        """In the thread: open."""
        try:
            self._hosted = self._make()
        except Exception:  # noqa: BLE001 - handed on to the reactor's thread, whole
            self._reactor.callFromThread(self._failed, Failure())
        else:
            self._reactor.callFromThread(self._connect_first, self._hosted.peer)

    def _move_out(self) -> None:
        """In the thread: close."""
        hosted, self._hosted = self._hosted, None
        if hosted is not None:
            hosted.close()

    def _talker(self) -> IPeer:
        """Who talks at our end."""
        assert self._peer is not None
        return self._peer

    def _connect_first(self, peer: IPeer) -> None:
        """The lodging is ready."""
        if self._active:
            self._peer = PeerProxy(self._reactor, self._worker, peer)
            self._connect()
            self._beat.start(TICK, now=False)

    def _connect(self) -> None:
        """Join our end and the server's."""
        self._waiting = None
        connect_memory(self._server, self._client, self._reactor)

    def _lost(self, stream: StreamProtocol, reason: Failure) -> None:
        """The connection ended: make another, unless everything ends."""
        if self._active:
            self._waiting = self._reactor.callLater(PAUSE, self._connect)

    def _tick(self) -> None:
        """A second has passed; a thread that is busy is not given the same again."""
        if not self._ticking:
            self._ticking = True
            self._worker.do(self._pass_tick)

    def _pass_tick(self) -> None:
        """In the thread: say so."""
        self._ticking = False
        if self._hosted is not None:
            self._hosted.tick()
