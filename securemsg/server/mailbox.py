"""
The mailboxes: deposits are checked, recognised if they are repeated, and given positions; acknowledgements delete them.

The order is that of C{docs/protocol.md}, "Server: order of durable steps": a repetition is recognised before any other check.
Both commands are plain calls as long as everything they need is in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TypeAlias

from attrs import define

from securemsg.errors import Refusal
from securemsg.interfaces import IMailboxStore
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.messages import (
    MAX_N,
    Acceptance,
    Accepted,
    AccountRecord,
    Acknowledge,
    Deposit,
    DepositRefused,
    Destination,
    Message,
    Missed,
    SignedDeviceList,
)
from securemsg.server.accounts import AccountCache, AccountState, DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.clock import ExpiryClock
from securemsg.server.commits import GroupCommit
from securemsg.server.connection import ClientConnection, Work
from securemsg.server.deposits import DIGEST_SIZE, OVERHEAD, PendingDeposit, digest_of, is_repetition, missed_in
from securemsg.server.limits import Buckets, DiskGuard, Settings
from securemsg.server.relayed import fingerprint
from securemsg.server.rooms import Rooms, RoomState

# Device lists in one refusal, bytes; the frame has room for the largest one more. The others follow in the next refusal.
MAX_ATTACHED = 64 * 1024
# A deposit of a room counts once for so many mailboxes, or less: as what is written of them.
ROOM_SHARE = 16


# Whom a deposit is for; C{None}: an account that does not exist.
Recipients: TypeAlias = list[tuple[AccountState | None, Destination]]


@define(eq=False)
class Mailboxes:
    """
    Deposits and acknowledgements of devices.

    @ivar _acks: where deposits wait that are answered only when they are acknowledged; C{None}: none are.
    @ivar _deliver_to_guests: delivers a deposit of the contact to guests; C{False}: it is not for them, or they are not there.
    @ivar _requests: limits refusals that contain device lists.
    @ivar _deposits: limits deposits, which may leave rows in the store.
    @ivar _contact: limits those for the contact C{server}, which works for everybody.
    """

    _accounts: AccountCache
    _commits: GroupCommit
    _store: IMailboxStore
    _settings: Settings
    _disk: DiskGuard
    _requests: Buckets
    _deposits: Buckets
    _clock: ExpiryClock
    _deliver_to_guests: Callable[[ClientConnection, Deposit], bool]
    _now: Callable[[], float]
    _rooms: Rooms
    _contact: Buckets
    _acks: PendingAcks | None = None

    def deposit(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """
        Store a message for devices.

        @raise Refusal: it is not stored; C{bad-request}: its C{n} is above the bound.
        """
        sender = connection.device
        pending = self._commits.pending.get((sender.mailbox, message.deposit_id))
        if pending is not None:
            if not is_repetition(message, pending.message):
                raise Refusal("conflict")
            self._commits.redirect(pending, connection)
            return None
        n = message.n
        if n <= sender.highest:
            return self._check_repetition(connection, message)
        if n > MAX_N:
            # Nor kept: the device could never deposit anything above it.
            raise Refusal("bad-request")
        # Higher than any n before: no repetition. The n is kept even if the deposit is refused.
        sender.highest = n
        if not sender.is_highest_queued:
            self._commits.keep_highest(sender)
        if message.room is not None and message.room.step is not None:
            # A restored client may repeat a step under a new n: look in the store first, or the row would move on twice.
            return self._check_stored(connection, message)
        return self._find_recipients(connection, message)

    def acknowledge(self, connection: ClientConnection, message: Acknowledge) -> None:
        """
        Delete what a device has received, and deliver more.

        @raise RemoteProtocolError: C{bad-acknowledgement}.
        """
        subscription = connection.subscription
        assert subscription is not None, "the command table asks for a device"
        acknowledged = subscription.acknowledge(message.tag)
        if acknowledged:
            self._commits.acknowledge(connection.device, acknowledged)
            subscription.deliver_pending()

    def _check_repetition(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """Look for the same deposit among those that were never written, and then in the store."""
        relayed = self._commits.relayed.find((connection.device.mailbox, message.deposit_id))
        if relayed is None:
            return self._check_stored(connection, message)
        # What is of a room is always written.
        if message.room is not None or relayed != fingerprint(message):
            raise Refusal("conflict")
        connection.send(Accepted(int(self._now()), [Acceptance(message.deposit_id, [], stored=False)]))
        return None

    async def _check_stored(self, connection: ClientConnection, message: Deposit) -> Message | None:
        stored = await self._store.find_deposit(connection.device.mailbox, message.deposit_id)
        # A device that has logged in again meanwhile will repeat the deposit.
        if not connection.is_open:
            return None
        if stored is not None:
            if stored[:DIGEST_SIZE] != digest_of(message):
                raise Refusal("conflict")
            return Accepted(int(self._now()), [Acceptance(message.deposit_id, missed_in(stored), stored=True)])
        work = self._find_recipients(connection, message)
        return await work if work is not None else None

    def _find_recipients(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """
        Find the recipients and the room, at once if all of them are in memory.

        @raise Refusal: C{forbidden}: the sender cannot use rooms; C{bad-request}.
        """
        item = message.room
        if item is not None and not connection.device.has_rooms:
            raise Refusal("forbidden")
        _check_named(message, connection.device.account.name)
        recipients: Recipients = []
        for destination in message.to:
            account = self._accounts.get(destination.account)
            if account is None:
                return None if self._deliver_to_guests(connection, message) else self._load_recipients(connection, message)
            recipients.append((account, destination))
        room = None
        if item is not None:
            room = self._rooms.get(item.room)
            if room is None:
                return self._load_recipients(connection, message)
        self._accept(connection, message, recipients, room)
        return None

    async def _load_recipients(self, connection: ClientConnection, message: Deposit) -> None:
        held: list[AccountState] = []
        try:
            for destination in message.to:
                account = await self._accounts.load(destination.account)
                if account is not None:
                    # It must stay in memory while the next one is loaded.
                    account.pins += 1
                    held.append(account)
            room = await self._rooms.load(message.room.room) if message.room is not None else None
            # An account that was removed meanwhile is not found any more.
            if connection.is_open:
                self._accept(connection, message, [(self._accounts.get(to.account), to) for to in message.to], room)
        finally:
            for account in held:
                account.pins -= 1

    def _accept(
        self, connection: ClientConnection, message: Deposit, recipients: Recipients, room: RoomState | None
    ) -> None:
        """
        Check a new deposit, and add it to the batch.

        @raise Refusal: nothing was changed.
        """
        if not self._is_admitted(connection, message, recipients, room):
            return
        settings, sender, item = self._settings, connection.device, message.room
        is_step = item is not None and item.step is not None
        places: list[tuple[DeviceState, int, bytes]] = []
        missed: list[Missed] = []
        common_size = len(message.common)
        memory = common_size + OVERHEAD
        is_for_contact = False
        for account, destination in recipients:
            if destination.account == SERVER_NAME:
                is_for_contact = True
            most = (account.quota if account is not None else 0) or settings.mailbox_messages
            for part in destination.parts:
                memory += len(part.own) + OVERHEAD
                if account is None:
                    missed.append(Missed(destination.account, part.device, "no-such-account"))
                    continue
                device, own = account.devices[part.device], part.own
                size = common_size + len(own)
                if item is not None and not device.has_rooms:
                    missed.append(Missed(account.name, device.id, "no-rooms"))
                elif device.messages >= most or device.size + size > settings.mailbox_size:
                    missed.append(Missed(account.name, device.id, "mailbox-full"))
                else:
                    places.append((device, device.last_position + 1, own))
        # Who fills a mailbox does not escape a step.
        if not places and not is_step and any(one.code == "mailbox-full" for one in missed):
            raise Refusal("mailbox-full")
        if room is not None and not room.mark.version and not self._rooms.new.consume(sender.rate_key):
            raise Refusal("rate-limited")
        if is_for_contact and not self._contact.consume(sender.rate_key):
            raise Refusal("rate-limited")
        count = 1 if item is None else max(1, ceil((len(places) + len(missed)) / ROOM_SHARE))
        if not self._deposits.consume(sender.rate_key, count + len(missed)):
            raise Refusal("rate-limited")
        for device, position, own in places:
            device.last_position = position
            device.messages += 1
            device.size += common_size + len(own)
        now = int(self._now())
        step = room.advance(item) if room is not None and item is not None and is_step else None
        self._commits.add(
            PendingDeposit(connection, sender, message, now, self._clock.at(now), places, missed, memory, self._acks, step)
        )

    def _is_admitted(
        self, connection: ClientConnection, message: Deposit, recipients: Recipients, room: RoomState | None
    ) -> bool:
        """
        Check limits, then the row of its room, then devices.

        @return: C{False}: it is refused, now or when that row is committed, by an answer that says more than a code.
        @raise Refusal: it is refused.
        """
        settings = self._settings
        if not 0 < message.expiry <= settings.max_expiry:
            raise Refusal("bad-request")
        if self._commits.size > settings.max_pending_size or not self._disk.has_room():
            raise Refusal("retry-later")
        sender, item = connection.device, message.room
        if room is not None and item is not None:
            if item.step is not None and not self._rooms.steps.consume(sender.rate_key):
                raise Refusal("rate-limited")
            if not room.admits(item):
                self._commits.refuse_stale(connection, message.deposit_id, room)
                return False
        if not _are_current(recipients, sender, in_room=room is not None):
            # The refusal is much longer than the deposit.
            if not self._requests.consume(sender.rate_key):
                raise Refusal("rate-limited")
            connection.refuse_deposit(_refusal(message, recipients, sender))
            return False
        return True


def _check_named(message: Deposit, sender: str) -> None:
    """
    Check that each account has parts. In a room the account of the sender must be named, and may have none.

    @raise Refusal: C{bad-request}.
    """
    in_room = message.room is not None
    is_named = False
    for destination in message.to:
        if in_room and destination.account == sender:
            is_named = True
        elif not destination.parts:
            raise Refusal("bad-request")
    if in_room and not is_named:
        raise Refusal("bad-request")


def _are_current(recipients: Recipients, sender: DeviceState, *, in_room: bool) -> bool:
    """
    Whether the deposit names exactly the devices of its recipients. In a room an account may be gone.

    @raise Refusal: C{bad-request}: an account or device is named twice. C{retry-later}: the devices of one are being exchanged.
    """
    if len(recipients) > 1 and len({destination.account for _, destination in recipients}) != len(recipients):
        raise Refusal("bad-request")
    are_current = True
    for account, destination in recipients:
        parts = destination.parts
        if account is None:
            are_current = are_current and in_room
        elif account.is_renewing:
            raise Refusal("retry-later")
        elif len(parts) == 1 and account is not sender.account:
            if len(account.devices) != 1 or parts[0].device not in account.devices:
                are_current = False
        elif not _names_all(account, destination, sender):
            are_current = False
    return are_current


def _refusal(message: Deposit, recipients: Recipients, sender: DeviceState) -> DepositRefused:
    """The refusal of a deposit that names other devices, with the lists as they are now."""
    gone: list[AccountRecord] = []
    stale: list[AccountRecord] = []
    for account, destination in recipients:
        if account is None:
            if message.room is not None:
                continue
            gone.append(AccountRecord(destination.account, bytes(32), SignedDeviceList(b"", bytes(64))))
        elif not _names_all(account, destination, sender):
            stale.append(account.record)
    if gone:
        return DepositRefused(message.deposit_id, "no-such-account", gone)
    attached: list[AccountRecord] = []
    size = 0
    for record in stale:
        if size > MAX_ATTACHED:
            break
        attached.append(record)
        size += len(record.devices.body) + 256
    return DepositRefused(message.deposit_id, "stale-devices", attached)


def _names_all(account: AccountState, destination: Destination, sender: DeviceState) -> bool:
    """
    Whether the parts are for all devices of this account except the sender.

    @raise Refusal: C{bad-request}: a device is named twice.
    """
    parts, own = destination.parts, account is sender.account
    named = {part.device for part in parts}
    if len(named) != len(parts):
        raise Refusal("bad-request")
    return len(named) == len(account.devices) - own and named <= account.devices.keys() and not (own and sender.id in named)
