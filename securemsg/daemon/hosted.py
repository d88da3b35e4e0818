"""
The contact C{server} as the reactor's thread sees it.

The contact itself lives in a thread of its own, so that its disk does not hold up the reactor, and is only touched there. It is
kept connected to the server over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from securemsg.client.agent import LOCAL_ERROR
from securemsg.daemon.contact import EXPECTED_ERRORS, Contact
from securemsg.daemon.folder import CONTACT, DATABASE, StateError
from securemsg.daemon.proxy import PeerProxy
from securemsg.daemon.worker import Worker
from securemsg.errors import Refusal
from securemsg.net.memory import connect_memory, observe_memory
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IPeer
from securemsg.protocol.states import Side
from securemsg.responders.errors import without_text

# Seconds between two ticks of the contact, and until the next connection after one that ended.
TICK = 1.0
PAUSE = 1.0
# The contact makes keys and a database at its first start; slow disks are given time.
LOGIN_TIME = 60

OnLogin = Callable[[str], None]


class HostedContact:
    """Opens the contact in its thread, keeps it connected, and passes on what the daemon wants of it."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        connect: Callable[[], IPeer],
        folder: Path,
        make: Callable[[Path, Worker, OnLogin], Contact],
    ) -> None:
        """
        @param folder: of the contact's profile.
        @param connect: makes the server's side of a connection.
        @param make: called in the thread; is given the callback for each attempt to log in, which gets the code of the
            refusal or an empty one.
        """
        self._reactor = reactor
        self._worker = Worker(reactor, CONTACT)
        self._folder = folder
        self._make = make
        self._contact: Contact | None = None
        self._proxy: PeerProxy | None = None
        self._logged_in: Deferred[None] = Deferred()
        self._reconnect: IDelayedCall | None = None
        self._is_active = True
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self._server = ConnectionOptions(Side.SERVER, connect, observe_memory, reactor, turn, handshake=False)
        self._client = ConnectionOptions(
            Side.CLIENT, self._client_peer, observe_memory, reactor, turn, handshake=False, on_end=self._ended
        )

    async def start(self) -> None:
        """
        Open the contact, connect it, and wait until it is logged in.

        @raise StateError: it cannot log in.
        @raise Exception: any error of opening it.
        """
        try:
            await Deferred.fromCoroutine(self._start()).addTimeout(LOGIN_TIME, self._reactor)
        except DeferredTimeout:
            raise StateError(f"the contact server did not log in within {LOGIN_TIME} s") from None

    async def reply(self, account: str, text: str, present: frozenset[bytes]) -> None:
        """
        Send the operator's text, see L{Contact.reply}; returns when it is committed.

        @raise Refusal: C{retry-later} where the disk fails; or the contact's.
        """
        assert self._contact is not None, "it has logged in"
        try:
            await self._worker.call(self._contact.reply, account, text, present)
        except EXPECTED_ERRORS as error:
            self._log.error("the contact server cannot send a reply: {problem}", problem=str(error))
            raise Refusal("retry-later") from None

    def copy(self, path: Path) -> Deferred[None]:
        """See L{Contact.copy}."""
        assert self._contact is not None, "it has logged in"
        return self._worker.call(self._contact.copy, path)

    def forget_gone(self, present: frozenset[bytes]) -> None:
        """See L{Contact.forget_gone}."""
        if self._contact is not None:
            self._worker.do(partial(self._contact.forget_gone, present))

    def stop_answering(self) -> None:
        """End running commands, before the process ends without closing anything."""
        if self._contact is not None:
            self._contact.stop()

    def stop(self) -> Deferred[None]:
        """
        Connect no more, and close everything.

        @return: fires when the thread has ended.
        """
        self._is_active = False
        if self._ticks.running:
            self._ticks.stop()
        if self._reconnect is not None:
            self._reconnect.cancel()
            self._reconnect = None
        self._worker.do(self._close)
        return self._worker.stop()

    def _open(self) -> None:
        """In the thread."""
        self._contact = self._make(self._folder, self._worker, partial(self._reactor.callFromThread, self._login_ended))

    def _close(self) -> None:
        """In the thread."""
        if self._contact is not None:
            self._contact.close()

    async def _start(self) -> None:
        self._worker.start()
        await self._worker.call(self._open)
        if self._is_active and self._contact is not None:
            self._proxy = PeerProxy(self._reactor, self._worker, self._contact.peer)
            self._connect()
            self._ticks.start(TICK, now=False)
            await self._logged_in

    def _login_ended(self, code: str) -> None:
        """The contact is logged in, or was refused, or its own profile fails."""
        if self._logged_in.called:
            if code and code != LOCAL_ERROR:
                self._log.error("the contact server was refused: {code}", code=code)
        elif code == LOCAL_ERROR:
            assert self._contact is not None, "it has tried to log in"
            self._logged_in.errback(StateError(f"the contact server cannot log in: {self._contact.peer.local_error}"))
        elif code:
            together = f"{self._folder} and {DATABASE} belong together: restore both"
            self._logged_in.errback(StateError(f"the contact server was refused: {code}; {together}"))
        else:
            self._logged_in.callback(None)

    def _client_peer(self) -> IPeer:
        assert self._proxy is not None, "it connects once it is there"
        return self._proxy

    def _connect(self) -> None:
        self._reconnect = None
        connect_memory(self._server, self._client, self._reactor)

    def _ended(self, stream: StreamProtocol, reason: Failure) -> None:
        if self._is_active:
            self._reconnect = self._reactor.callLater(PAUSE, self._connect)

    def _tick(self) -> Deferred[None]:
        """A second has passed; the next tick waits for the end of this one."""
        assert self._contact is not None, "it ticks once it is there"
        return self._worker.call(self._contact.tick).addErrback(self._log_failure)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("a tick of the contact server failed", without_text(failure))
