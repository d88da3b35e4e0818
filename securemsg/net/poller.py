"""
One epoll instance for many sockets, behind one descriptor of the reactor.

The reactor's own way to a socket costs more than to read from it: a logging context, several look-ups, and for each write a
change of what epoll waits for. Here a turn serves every socket that is ready, ends with the calls that were left for its end
(L{securemsg.net.turn}), and then writes what has collected.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from securemsg.net.turn import Turn

# Other systems than Linux have none.
IS_AVAILABLE = hasattr(select, "epoll")
# What a socket waits for; besides these epoll reports errors and ends.
READ, WRITE = 1, 4
# Sockets that are served before the reactor looks at its timers again.
MAX_EVENTS = 512


class Pollable(Protocol):
    """
    What has a socket here.

    @ivar log_prefix: names it in the log.
    """

    log_prefix: str

    def serve(self, events: int) -> None:
        """The socket is ready; must not raise."""

    def drop(self) -> None:
        """The reactor is stopping."""


class Writer(Protocol):
    """What has something to write at the end of the turn."""

    def flush(self) -> None:
        """Write it; must not raise."""


@implementer(IReadDescriptor)
class Poller:
    """
    Sockets that share an epoll instance. The reactor knows of it only while there are any.

    @ivar clock: the reactor as a clock.
    @ivar unwritten: who has something to write.
    """

    _log = Logger()

    def __init__(self, reactor: Any, turn: Turn) -> None:
        """Own the ends of these turns."""
        self._reactor = reactor
        self.clock: IReactorTime = reactor
        self.turn = turn
        self.unwritten: list[Writer] = []
        self._sockets: dict[int, Pollable] = {}
        self._epoll: select.epoll | None = None
        turn.flush_with(self._flush)

    def add(self, descriptor: int, pollable: Pollable, events: int) -> None:
        """
        Wait for events of a socket.

        @raise OSError: the system takes no more.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        self._sockets[descriptor] = pollable
        try:
            self._epoll.register(descriptor, events)
        except OSError:
            self.remove(descriptor)
            raise

    def change(self, descriptor: int, before: int, events: int) -> None:
        """
        Wait for other events. A socket that waits for none is not watched at all: epoll would go on reporting its end.

        @param before: what it waited for until now.
        """
        assert self._epoll is not None, "a socket that was added"
        if not before:
            self._epoll.register(descriptor, events)
        elif not events:
            self._epoll.unregister(descriptor)
        else:
            self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a socket, which is still open."""
        assert self._epoll is not None, "a socket that was added"
        del self._sockets[descriptor]
        try:
            self._epoll.unregister(descriptor)
        except OSError:
            # It waited for nothing.
            pass
        if not self._sockets:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    def write_later(self, writer: Writer) -> None:
        """Have it write at the end of this turn."""
        self.unwritten.append(writer)
        self.turn.expect()

    def fileno(self) -> int:
        """See C{IFileDescriptor}."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        """See C{ILoggingContext}."""
        return "TLS"

    def doRead(self) -> None:
        """Serve every socket that is ready, and end the turn."""
        if self._epoll is None:
            return
        # The reactor has made this context for us alone; another for each socket would cost more than the socket.
        names = context.get(ILogContext)
        before = names["system"]
        find = self._sockets.get
        self.turn.begin()
        try:
            for descriptor, events in self._epoll.poll(0, MAX_EVENTS):
                # It may have gone in this very turn. If its number has a new owner, that one finds nothing to do.
                pollable = find(descriptor)
                if pollable is not None:
                    names["system"] = pollable.log_prefix
                    pollable.serve(events)
        finally:
            names["system"] = before
            self.turn.end()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is stopping."""
        for pollable in list(self._sockets.values()):
            pollable.drop()

    def _flush(self) -> None:
        """Write; what is left to write meanwhile waits for the next turn."""
        writers, self.unwritten = self.unwritten, []
        for writer in writers:
            writer.flush()
