"""
Who is logged in, and what is delivered to whom.

Delivery is strictly by position. A message that was committed while its reader was up to date and had room goes out from
memory; all else is read from the store, in pages no larger than what the reader's window has room for.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field
from zope.interface import implementer

from securemsg.errors import RemoteProtocolError
from securemsg.interfaces import DepositRow, IMailboxStore, MailboxRow
from securemsg.protocol.messages import Deliver, Drained
from securemsg.server.accounts import DeviceState, IReader
from securemsg.server.connection import ClientConnection, ISubscription, Work
from securemsg.server.limits import Settings

# A page is read when this part of the window is free: a quarter.
PAGE_PART = 4


@implementer(IReader, ISubscription)
@define(eq=False)
class Subscription:
    """
    A connection that reads a mailbox.

    @ivar cursor: the position up to which everything was delivered in this connection.
    """

    device: DeviceState
    caller: ClientConnection
    _router: Router = field(repr=False)
    cursor: int = field(init=False)
    _drained_at: int | None = field(init=False)
    _tag: int = field(init=False, default=0)
    # Position and size of what is not acknowledged; the last of them has the tag above.
    _in_flight: deque[tuple[int, int]] = field(init=False, factory=deque, repr=False)
    _size: int = field(init=False, default=0)
    _paging: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        """Begin behind what was acknowledged before."""
        self.cursor = self.device.acknowledged
        self._drained_at = self.device.committed

    def deliver_pending(self) -> None:
        """See L{ISubscription.deliver_pending}."""
        if not self._paging and self.cursor < self.device.committed and self._has_room_for_page():
            self._paging = True
            self.caller.run(self._page())
        self._say_drained()

    def committed(self, deposit: DepositRow, row: MailboxRow) -> None:
        """See L{IReader.committed}."""
        # Either a page met it already, or it waits in the store until the reader has come so far.
        if self._paging or self.cursor < self.device.committed or row.position <= self.cursor or not self._has_room():
            return
        self._deliver(
            row.position, deposit.account, deposit.device, deposit.deposit_id, deposit.arrived_at, deposit.common, row.own
        )

    def hand_over(
        self, account: str, device: bytes, deposit_id: bytes, arrived_at: int, common: bytes, own: bytes
    ) -> bool:
        """
        Deliver what waits in no mailbox.

        @return: whether there was room for it.
        """
        if not self._has_room():
            return False
        self._deliver(self.cursor + 1, account, device, deposit_id, arrived_at, common, own)
        return True

    def run(self, work: Work) -> None:
        """See L{IReader.run}."""
        self.caller.run(work)

    def end(self, code: str) -> None:
        """See L{IReader.end}."""
        self.caller.end(code)

    def left(self) -> None:
        """See L{ISubscription.left}."""
        if self.device.reader is self:
            self.device.reader = None
            self._router.logged_in -= not self.caller.is_local

    def acknowledge(self, tag: int) -> list[tuple[int, int]]:
        """
        See L{ISubscription.acknowledge}.

        @raise RemoteProtocolError: C{bad-acknowledgement}: this was never sent.
        """
        if tag > self._tag:
            raise RemoteProtocolError("bad-acknowledgement")
        count = tag - (self._tag - len(self._in_flight))
        acknowledged = [self._in_flight.popleft() for _ in range(count)]
        self._size -= sum([size for _, size in acknowledged])
        return acknowledged

    def _has_room(self) -> bool:
        """May more be delivered now?"""
        settings = self._router.settings
        return (
            not self.caller.full and len(self._in_flight) < settings.window_frames and self._size < settings.window_size
        )

    def _has_room_for_page(self) -> bool:
        """Is it worth asking the store? Whoever acknowledges one by one would else be read for one by one."""
        settings = self._router.settings
        return (
            self._has_room()
            and (settings.window_frames - len(self._in_flight)) * PAGE_PART >= settings.window_frames
            and (settings.window_size - self._size) * PAGE_PART >= settings.window_size
        )

    async def _page(self) -> None:
        """Read and deliver until the reader is up to date or its window is full."""
        settings = self._router.settings
        try:
            while self.caller.is_open and self.cursor < self.device.committed and self._has_room_for_page():
                end = self.device.committed
                limit = settings.window_frames - len(self._in_flight)
                room = settings.window_size - self._size
                page = await self._router.store.page(self.device.mailbox, self.cursor, limit, room)
                if not self.caller.is_open:
                    return
                for message in page:
                    room -= self._deliver(
                        message.position, message.account, message.device, message.deposit_id, message.arrived_at,
                        message.common, message.own,
                    )  # fmt: skip
                # That was everything up to there: what is missing is deleted, and does not come back.
                if len(page) < limit and room > 0:
                    self.cursor = max(self.cursor, end)
        finally:
            self._paging = False
        self.deliver_pending()

    def _deliver(
        self, position: int, account: str, device: bytes, deposit_id: bytes, arrived_at: int, common: bytes, own: bytes
    ) -> int:
        """
        Send one message, and remember that it is on its way.

        @return: its size.
        """
        self.cursor = position
        self._tag += 1
        size = len(common) + len(own)
        self._size += size
        self._in_flight.append((position, size))
        self.caller.send(Deliver(self._tag, account, device, deposit_id, arrived_at, common, own))
        return size

    def _say_drained(self) -> None:
        """Once, when all is delivered that was there at the login."""
        if self._drained_at is not None and self.cursor >= self._drained_at:
            self._drained_at = None
            self.caller.send(Drained())


@define(eq=False)
class Router:
    """
    All devices that are logged in.

    @ivar logged_in: how many devices, without those that live in this process.
    """

    store: IMailboxStore
    settings: Settings
    logged_in: int = field(init=False, default=0)

    def check_room(self, caller: ClientConnection, device: DeviceState | None = None) -> None:
        """
        May one more log in? A device that is logged in already may always, for it replaces itself.

        @raise RemoteProtocolError: C{server-full}.
        """
        if device is not None and device.reader is not None:
            return
        if not caller.is_local and self.logged_in >= self.settings.max_clients:
            raise RemoteProtocolError("server-full")

    def subscribe(self, caller: ClientConnection, device: DeviceState) -> Subscription:
        """This caller is this device from now on; whoever was it before is not."""
        if device.reader is not None:
            device.reader.end("replaced")
        subscription = Subscription(device, caller, self)
        device.reader = caller.subscription = subscription
        device.low_stock_sent = False
        self.logged_in += not caller.is_local
        return subscription
