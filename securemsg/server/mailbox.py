"""
The mailboxes: deposits are checked, told from their repetitions and given positions; acknowledgements empty them.

The order is that of C{docs/protocol.md}, "Server: order of durable steps": a repetition is recognised before anything else is
looked at. Both commands are plain calls as long as everything they need is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from attrs import define

from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import DepositRow, IMailboxStore, MailboxRow
from securemsg.protocol.messages import (
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
from securemsg.server.clock import ExpiryClock
from securemsg.server.commits import DIGEST_SIZE, GroupCommit, PendingDeposit, missed_in, receipt
from securemsg.server.connection import ClientConnection, Work
from securemsg.server.guests import Guests
from securemsg.server.limits import Buckets, DiskGuard, Settings

# Lists that go with one refusal; the frame has room for the largest one more. The rest comes with the next refusal.
MAX_ATTACHED = 64 * 1024

_encode = msgspec.msgpack.Encoder().encode


def digest_of(deposit: Deposit) -> bytes:
    """What a repetition must have in common: recipients, expiry and bytes. 32 bytes."""
    return keys.sha256(keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to)))


@define(eq=False)
class Mailboxes:
    """
    What waits for devices.

    @ivar _requests: counts what brings lists with it.
    @ivar _deposits: counts what leaves rows behind.
    """

    _accounts: AccountCache
    _commits: GroupCommit
    _store: IMailboxStore
    _settings: Settings
    _disk: DiskGuard
    _requests: Buckets
    _deposits: Buckets
    _clock: ExpiryClock
    _guests: Guests
    _now: Callable[[], float]

    def deposit(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """
        Keep a message for devices.

        @raise Refusal: it is not kept.
        """
        sender = connection.device
        digest = digest_of(message)
        pending = self._commits.pending.get((sender.mailbox, message.deposit_id))
        if pending is not None:
            if pending.row.digest[:DIGEST_SIZE] != digest:
                raise Refusal("conflict")
            self._commits.redirect(pending, connection)
            return None
        if message.n <= sender.highest:
            return self._check_repetition(connection, message, digest)
        # Above everything that was seen: no repetition. That it was seen is kept, whatever becomes of it.
        sender.highest = message.n
        self._commits.keep_highest(sender)
        return self._find_recipients(connection, message, digest)

    def deposit_as_guest(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """
        Keep a message of a guest for the contact C{server}; it is Accepted when that has acknowledged it.

        @raise Refusal: it is not kept; C{forbidden}: it is for somebody else.
        """
        self._guests.check_destination(message)
        return self.deposit(connection, message)

    def acknowledge(self, connection: ClientConnection, message: Acknowledge) -> None:
        """
        Forget what a device has committed, and deliver more.

        @raise RemoteProtocolError: C{bad-acknowledgement}.
        """
        subscription = connection.subscription
        assert subscription is not None, "the command table asks for a device"
        device = subscription.device
        acknowledged = subscription.acknowledge(message.tag)
        if acknowledged:
            position = acknowledged[-1][0]
            self._commits.acknowledge(device, position, len(acknowledged), sum([size for _, size in acknowledged]))
            self._commits.heard(device, [position for position, _ in acknowledged])
            subscription.deliver_pending()

    async def _check_repetition(self, connection: ClientConnection, message: Deposit, digest: bytes) -> Message | None:
        """This may be a repetition: ask the store."""
        stored = await self._store.find_deposit(connection.device.mailbox, message.deposit_id)
        # Whoever is fenced meanwhile is not heard any more, and the deposit will come again.
        if not connection.is_open:
            return None
        if stored is not None:
            if stored[:DIGEST_SIZE] != digest:
                raise Refusal("conflict")
            if self._commits.acks.awaits(connection, message.deposit_id):
                return None  # a guest's, and not acknowledged yet
            return Accepted(int(self._now()), [Acceptance(message.deposit_id, missed_in(stored))])
        work = self._find_recipients(connection, message, digest)
        return await work if work is not None else None

    def _find_recipients(self, connection: ClientConnection, message: Deposit, digest: bytes) -> Work | None:
        """Go on at once where everybody is in memory."""
        accounts = [self._accounts.get(destination.account) for destination in message.to]
        if None in accounts:
            # Guests are in no directory, so that a look for them costs nobody else anything.
            found = self._guests.find(connection.device, message)
            if found is not None:
                self._guests.deliver(connection, message, found)
                return None
            return self._load_recipients(connection, message, digest)
        self._accept(connection, message, digest, accounts)
        return None

    async def _load_recipients(self, connection: ClientConnection, message: Deposit, digest: bytes) -> None:
        """Bring every account into memory, then go on."""
        held: list[AccountState] = []
        try:
            for destination in message.to:
                account = await self._accounts.load(destination.account)
                if account is not None:
                    # It must not leave while the next one is loaded.
                    account.pins += 1
                    held.append(account)
            # Whoever was removed meanwhile is not there any more.
            if connection.is_open:
                self._accept(connection, message, digest, [self._accounts.get(to.account) for to in message.to])
        finally:
            for account in held:
                account.pins -= 1

    def _accept(
        self, connection: ClientConnection, message: Deposit, digest: bytes, accounts: Sequence[AccountState | None]
    ) -> None:
        """
        A new deposit: check it, and put it into the open batch.

        @raise Refusal: with nothing changed.
        """
        settings = self._settings
        if not 0 < message.expiry <= settings.max_expiry:
            raise Refusal("bad-request")
        if self._commits.size > settings.max_pending_size or not self._disk.has_room():
            raise Refusal("retry-later")
        sender = connection.device
        refusal = _check_devices(message, accounts, sender)
        if refusal is not None:
            # It is much longer than what it answers.
            if not self._requests.consume(sender.rate_key):
                raise Refusal("rate-limited")
            connection.send(refusal)
            return
        recipients: list[DeviceState] = []
        rows: list[MailboxRow] = []
        missed: list[Missed] = []
        common_size = len(message.common)
        for account, destination in zip(accounts, message.to, strict=True):
            assert account is not None, "compared above"
            for part in destination.parts:
                device = account.devices[part.device]
                size = common_size + len(part.own)
                if device.messages >= settings.mailbox_messages or device.size + size > settings.mailbox_size:
                    missed.append(Missed(account.name, device.id, "mailbox-full"))
                else:
                    recipients.append(device)
                    rows.append(MailboxRow(device.mailbox, device.last_position + 1, part.own))
        if not recipients:
            raise Refusal("mailbox-full")
        if not self._deposits.consume(sender.rate_key, 1 + len(missed)):
            raise Refusal("rate-limited")
        for device, row in zip(recipients, rows, strict=True):
            device.last_position = row.position
            device.messages += 1
            device.size += common_size + len(row.own)
        now = int(self._now())
        clock = self._clock.at(now)
        deposit = DepositRow(
            sender=sender.mailbox,
            deposit_id=message.deposit_id,
            digest=receipt(digest, missed),
            n=0 if sender.is_guest else message.n,
            account=sender.account.name,
            device=sender.id,
            arrived_at=now,
            expires_at=clock + message.expiry,
            forget_at=clock + max(message.expiry, settings.forget_after),
            common=message.common,
            rows=tuple(rows),
        )
        self._commits.add(PendingDeposit(connection, sender, deposit, recipients, missed))


def _check_devices(
    message: Deposit, accounts: Sequence[AccountState | None], sender: DeviceState
) -> DepositRefused | None:
    """
    Does the deposit name exactly the devices there are?

    @raise Refusal: C{bad-request}: an account or device is named twice.
    """
    if len(message.to) > 1 and len({destination.account for destination in message.to}) != len(message.to):
        raise Refusal("bad-request")
    gone: list[AccountRecord] = []
    stale: list[AccountRecord] = []
    for account, destination in zip(accounts, message.to, strict=True):
        if account is None:
            gone.append(AccountRecord(destination.account, bytes(32), SignedDeviceList(b"", bytes(64))))
        elif not _names_all(account, destination, sender):
            stale.append(account.record)
    if gone:
        return DepositRefused(message.deposit_id, "no-such-account", gone)
    if not stale:
        return None
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
    Whether the parts are for all devices of this account, but for the sending one.

    @raise Refusal: C{bad-request}: a device is named twice.
    """
    named = {part.device for part in destination.parts}
    if len(named) != len(destination.parts):
        raise Refusal("bad-request")
    own = account is sender.account
    return len(named) == len(account.devices) - own and named <= account.devices.keys() and not (own and sender.id in named)
