"""
Delivery of messages to the devices that are logged in.

Messages are delivered strictly in order of position. A message that comes while its reader has got all before it, and has room,
is sent from memory at once; so is one whose commit returns at such a time. All others are read from the store, in pages no
larger than the reader's window has room for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field
from zope.interface import implementer

from securemsg.counters import ServerCounters
from securemsg.errors import RemoteProtocolError
from securemsg.interfaces import IMailboxStore
from securemsg.protocol.messages import Deliver, Drained, Message, RoomItem
from securemsg.server.accounts import DeviceState
from securemsg.server.connection import ClientConnection, Work
from securemsg.server.deposits import decode_item
from securemsg.server.limits import Settings
from securemsg.server.reader import IReader, ISubscription

# A page is read when at least one part in this many of the window is free: half of it.
PAGE_PART = 2


@implementer(IReader, ISubscription)
@define(eq=False)
class Subscription:
    """
    The delivery from one mailbox to the connection that is logged in as its device.

    @ivar cursor: everything up to this position was delivered over this connection.
    """

    device: DeviceState
    connection: ClientConnection
    _delivery: Delivery = field(repr=False)
    _send: Callable[[Message], None] = field(init=False, repr=False)
    cursor: int = field(init=False)
    _drained_at: int | None = field(init=False)
    _tag: int = field(init=False, default=0)
    # Position and size of each message that is not acknowledged; the last one has the tag above.
    _in_flight: deque[tuple[int, int]] = field(init=False, factory=deque, repr=False)
    _size: int = field(init=False, default=0)
    _is_paging: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        """Start after what was acknowledged before."""
        self._send = self.connection.channel.send
        self.cursor = self.device.acknowledged
        self._drained_at = self.device.committed

    def deliver_pending(self) -> None:
        """See L{ISubscription.deliver_pending}."""
        if not self._is_paging and self.cursor < self.device.committed and self._has_room_for_page():
            self._is_paging = True
            self.connection.run(self._deliver_pages())
        self._send_drained()

    def deliver_now(
        self, position: int, account: str, device: bytes, deposit_id: bytes, arrived_at: int, common: bytes, own: bytes
    ) -> bool:
        """See L{IReader.deliver_now}."""
        if self.cursor != position - 1 or not self.has_room():
            return False
        self.deliver(position, account, device, deposit_id, arrived_at, common, own)
        return True

    def committed(
        self,
        position: int,
        account: str,
        device: bytes,
        deposit_id: bytes,
        arrived_at: int,
        common: bytes,
        own: bytes,
        room: RoomItem | None,
    ) -> bool:
        """See L{IReader.committed}."""
        # Otherwise it was delivered already, or waits in the store until the reader has caught up.
        if self.device.committed <= self.cursor < position and not self._is_paging and self.has_room():
            self.deliver(position, account, device, deposit_id, arrived_at, common, own, room)
            return True
        return False

    def run(self, work: Work) -> None:
        """See L{IReader.run}."""
        self.connection.run(work)

    def end(self, code: str) -> None:
        """See L{IReader.end}."""
        self.connection.end(code)

    def left(self) -> None:
        """See L{ISubscription.left}."""
        if self.device.reader is self:
            self.device.reader = None
            self._delivery.count(self, -1)

    def acknowledge(self, tag: int) -> list[tuple[int, int]]:
        """
        See L{ISubscription.acknowledge}.

        @raise RemoteProtocolError: C{bad-acknowledgement}: this was never sent.
        """
        if tag > self._tag:
            raise RemoteProtocolError("bad-acknowledgement")
        acknowledged = []
        for _ in range(tag - (self._tag - len(self._in_flight))):
            entry = self._in_flight.popleft()
            self._size -= entry[1]
            acknowledged.append(entry)
        return acknowledged

    def has_room(self) -> bool:
        """Whether more may be delivered now."""
        settings = self._delivery.settings
        return (
            not self.connection.is_full and len(self._in_flight) < settings.window_frames and self._size < settings.window_size
        )

    def _has_room_for_page(self) -> bool:
        """Whether a page is worth reading: else a reader who acknowledges one by one costs one read for each."""
        settings = self._delivery.settings
        return (
            self.has_room()
            and (settings.window_frames - len(self._in_flight)) * PAGE_PART >= settings.window_frames
            and (settings.window_size - self._size) * PAGE_PART >= settings.window_size
        )

    async def _deliver_pages(self) -> None:
        settings = self._delivery.settings
        try:
            while self.connection.is_open and self.cursor < self.device.committed and self._has_room_for_page():
                end = self.device.committed
                limit = settings.window_frames - len(self._in_flight)
                room = settings.window_size - self._size
                page = await self._delivery.store.page(self.device.mailbox, self.cursor, limit, room)
                if not self.connection.is_open:
                    return
                for message in page:
                    room -= self.deliver(
                        message.position, message.account, message.device, message.deposit_id, message.arrived_at,
                        message.common, message.own, decode_item(message.room) if message.room else None,
                    )  # fmt: skip
                # That was everything up to `end`: positions that are missing were deleted, and do not come back.
                if len(page) < limit and room > 0:
                    self.cursor = max(self.cursor, end)
        finally:
            self._is_paging = False
        self.deliver_pending()

    def deliver(
        self,
        position: int,
        account: str,
        device: bytes,
        deposit_id: bytes,
        arrived_at: int,
        common: bytes,
        own: bytes,
        room: RoomItem | None = None,
    ) -> int:
        """
        Send one message.

        @return: its size in bytes.
        """
        self.cursor = position
        self._delivery.counters.deliveries += 1
        self._tag += 1
        size = len(common) + len(own)
        self._size += size
        self._in_flight.append((position, size))
        self._send(Deliver(self._tag, account, device, deposit_id, arrived_at, common, own, room))
        return size

    def _send_drained(self) -> None:
        """Send Drained once, when everything that waited at the login is delivered."""
        if self._drained_at is not None and self.cursor >= self._drained_at:
            self._drained_at = None
            self.connection.send(Drained())


@define(eq=False)
class Delivery:
    """
    Subscribes connections to mailboxes.

    @ivar logged_in: the number of devices that are logged in, without those in this process.
    @ivar _trees: the same for each tree, by its root.
    """

    store: IMailboxStore
    settings: Settings
    counters: ServerCounters = field(repr=False)
    logged_in: int = field(init=False, default=0)
    _trees: dict[int, int] = field(init=False, factory=dict, repr=False)

    def check_room(self, connection: ClientConnection, device: DeviceState | None = None) -> None:
        """
        Check that one more device may log in. A device that is already logged in may always, because it replaces itself.

        @param device: C{None}: a guest, or an account that does not exist yet.
        @raise RemoteProtocolError: C{server-full}: no more may log in, or no more of its account or tree.
        """
        if connection.is_local or (device is not None and device.reader is not None):
            return
        full = self.logged_in >= self.settings.max_clients
        if device is not None:
            account = device.account
            full = full or account.logged_in >= self.settings.account_limit
            full = full or self._trees.get(account.root, 0) >= self.settings.tree_limit
        if full:
            raise RemoteProtocolError("server-full")

    def subscribe(self, subscription: Subscription) -> None:
        """Log a connection in as a device; the connection that was logged in as it before is ended."""
        device, connection = subscription.device, subscription.connection
        if device.reader is not None:
            device.reader.end("replaced")
        device.reader = connection.subscription = subscription
        connection.device = device
        device.low_stock_sent = False
        if not connection.is_local:
            self.counters.logins += 1
        self.count(subscription, 1)

    def count(self, subscription: Subscription, change: int) -> None:
        """Count one login more or less, unless it is in this process."""
        if not subscription.connection.is_local:
            self.logged_in += change
            root = subscription.device.account.root
            self._trees[root] = self._trees.get(root, 0) + change
            if not self._trees[root]:
                del self._trees[root]
