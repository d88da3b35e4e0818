"""
Rooms: the server orders their member lists, and knows nothing else of them.

Of each room there is one row: the number of the newest list, its hash, and the hash of the proof that the next one must show.
Rows are never deleted. A row in memory moves on when a step is added to the batch; nobody hears of it before the commit.

Source: C{docs/protocol.md}, section "Rooms at the server".
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from securemsg.crypto import keys
from securemsg.interfaces import IRoomStore, StoredRoom
from securemsg.protocol.messages import ListMark, RoomItem
from securemsg.server.connection import ClientConnection
from securemsg.server.limits import Buckets

# How many pinned rows are skipped at most when one is evicted.
EVICTION_TRIES = 8


@define(eq=False)
class PendingStep:
    """
    A step on its way to the store.

    @ivar mark: the list that it brings.
    @ivar refusals: deposits that do not fit the room because of it, each with the connection that hears so after the commit.
    """

    room: RoomState = field(repr=False)
    mark: ListMark
    refusals: list[tuple[ClientConnection, bytes]] = field(factory=list, repr=False)


@define(eq=False)
class RoomState:
    """
    A room's row.

    @ivar mark: the newest list; version 0: there is no row.
    @ivar next: SHA-256 of the proof that the next step must show.
    @ivar pending: the step that made this row, until it is committed. The row must stay in memory as long.
    """

    mark: ListMark = ListMark(0, b"")
    next: bytes = b""
    pending: PendingStep | None = None

    def admits(self, item: RoomItem) -> bool:
        """Whether a deposit goes by the newest list, or is the next step. Where there is no row any step is."""
        step = item.step
        if step is None:
            return item.n == self.mark.version and item.digest == self.mark.digest
        return not self.mark.version or (item.n == self.mark.version + 1 and keys.sha256(step.proof) == self.next)

    def advance(self, item: RoomItem) -> PendingStep:
        """Move on by a step that is admitted and will be committed."""
        assert item.step is not None, "it is a step"
        self.mark = ListMark(item.n, item.digest)
        self.next = item.step.next
        self.pending = PendingStep(self, self.mark)
        return self.pending

    def settle(self, step: PendingStep) -> None:
        """This step is committed."""
        if self.pending is step:
            self.pending = None


@define(eq=False)
class Rooms:
    """
    The rows in memory, and what limits new ones. It relies on the store to return results in the order in which they were
    requested.

    @ivar steps: limits steps.
    @ivar new: limits steps that make a row.
    """

    _store: IRoomStore
    _capacity: int
    steps: Buckets
    new: Buckets
    _by_id: OrderedDict[bytes, RoomState] = field(init=False, factory=OrderedDict, repr=False)

    def __len__(self) -> int:
        """The number of rows in memory."""
        return len(self._by_id)

    def get(self, room: bytes) -> RoomState | None:
        """The row of a room, if it is in memory."""
        found = self._by_id.get(room)
        if found is not None:
            self._by_id.move_to_end(room)
        return found

    async def load(self, room: bytes) -> RoomState:
        """The row of a room, from memory or else from the store. It may be evicted as soon as something else is awaited."""
        return self.get(room) or self._adopt(room, await self._store.load_room(room))

    def _adopt(self, room: bytes, stored: StoredRoom | None) -> RoomState:
        """Bring what the store returned into memory. What is already in memory is newer."""
        found = self.get(room)
        if found is None:
            found = RoomState() if stored is None else RoomState(ListMark(stored.n, stored.digest), stored.next)
            self._by_id[room] = found
            self._evict(found)
        return found

    def _evict(self, fresh: RoomState) -> None:
        """Drop the rows that were not used for longest and are not pinned, until the rest fits."""
        for _ in range(EVICTION_TRIES):
            if len(self._by_id) <= self._capacity:
                return
            room, oldest = next(iter(self._by_id.items()))
            if oldest is fresh or oldest.pending is not None:
                self._by_id.move_to_end(room)
            else:
                del self._by_id[room]
