"""The operator's commands about the server as a whole: connections, numbers, drain, log level, TLS key, snapshot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from heapq import nsmallest

from attrs import define, field

from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IServerStore
from securemsg.protocol.messages import (
    MAX_CONNECTION_ROWS,
    ConnectionRow,
    Connections,
    Done,
    GetStats,
    ListConnections,
    RotateKey,
    SetDraining,
    SetLogLevel,
    Stats,
    TakeSnapshot,
)
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.guests import Guests

Snapshot = Callable[[], Awaitable[None]]
# Those who are sent away come back at random within a time that lets so many log in a second, but within so many seconds.
RETURNS_A_SECOND = 500
MAX_SPREAD = 30


async def refuse_snapshot() -> None:
    """
    Refuse L{TakeSnapshot} where there is nothing to copy yet.

    @raise Refusal: C{retry-later}.
    """
    raise Refusal("retry-later")


def _fraction() -> float:
    """A random number from 0 up to 1."""
    return int.from_bytes(keys.random_bytes(4), "big") / 2**32


@define(eq=False)
class Operations:
    """
    Carries them out.

    @ivar _connections: all that are open; the server's own set.
    @ivar is_draining: whether nobody is let in.
    """

    _connections: set[ClientConnection]
    _store: IServerStore
    _guests: Guests
    _free_space: Callable[[], int]
    _now: Callable[[], float]
    _started: int
    _set_log_level: Callable[[str], None]
    _rotate_key: Callable[[], None]
    _certificate_expires_at: Callable[[], float]
    _take_snapshot: Snapshot
    _random: Callable[[], float] = _fraction
    is_draining: bool = field(init=False, default=False)

    def admits(self, connection: ClientConnection) -> bool:
        """Whether a new connection may stay: while the server drains, only those of the operator and of this process."""
        return not self.is_draining or connection.operator or connection.is_local

    async def list_connections(self, connection: ClientConnection, message: ListConnections) -> Connections:
        """List those that are logged in as a device, by account, and count the others."""
        rows = [
            ConnectionRow(one.device.account.name, one.device.id, one.since, one.channel.binding.transport)
            for one in self._connections
            if one.role is Role.DEVICE
        ]
        first = nsmallest(MAX_CONNECTION_ROWS, rows, key=lambda row: (row.account, row.device))
        return Connections(message.request, len(self._connections), len(rows), first)

    async def get_stats(self, connection: ClientConnection, message: GetStats) -> Stats:
        """Count what there is."""
        totals = await self._store.totals(int(self._now()))
        return Stats(
            message.request,
            self._started,
            len(self._connections),
            sum(one.role is Role.DEVICE for one in self._connections),
            len(self._guests.devices),
            totals.accounts,
            totals.devices,
            totals.messages,
            totals.size,
            totals.invites,
            self._free_space(),
            self.is_draining,
            int(self._certificate_expires_at()),
        )

    async def set_log_level(self, connection: ClientConnection, message: SetLogLevel) -> Done:
        """
        Log from another level on.

        @raise Refusal: C{forbidden}: the log is not the daemon's own.
        """
        self._set_log_level(message.level)
        return Done(message.request)

    async def take_snapshot(self, connection: ClientConnection, message: TakeSnapshot) -> Done:
        """
        Copy the databases.

        @raise Refusal: C{retry-later}: not now.
        """
        await self._take_snapshot()
        return Done(message.request)

    async def rotate_key(self, connection: ClientConnection, message: RotateKey) -> Done:
        """
        Make the TLS key anew, for new connections.

        @raise Refusal: C{forbidden}: it is not the daemon's own; C{retry-later}: it cannot be written.
        """
        self._rotate_key()
        return Done(message.request)

    async def set_draining(self, connection: ClientConnection, message: SetDraining) -> Done:
        """End all connections but those of the operator and of this process, and let nobody in; or let everybody in again."""
        self.is_draining = message.draining
        self.send_away([one for one in self._connections if not self.admits(one)])
        return Done(message.request)

    def send_away(self, leaving: Sequence[ClientConnection]) -> None:
        """End these connections. Their clients are told when to connect again, each another time."""
        spread = min(len(leaving) / RETURNS_A_SECOND, MAX_SPREAD)
        for one in leaving:
            one.end("stopping", 1 + int(self._random() * spread * 1000))
