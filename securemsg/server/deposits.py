"""A deposit between its arrival and the end of what the server has to do with it."""

from __future__ import annotations

from typing import Final

import msgspec

from securemsg.crypto import keys
from securemsg.interfaces import DepositRow, MailboxRow, StoredRoom
from securemsg.protocol.messages import Acceptance, Deposit, Missed, RoomItem
from securemsg.server.accounts import DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import ClientConnection
from securemsg.server.rooms import PendingStep

DIGEST_SIZE = 32
# Memory for a deposit, or a part of one, besides its bytes.
OVERHEAD = 512

# The stages of a deposit.
OPEN: Final = 0     # in the batch that fills
RUNNING: Final = 1  # in the commit that runs
SETTLED: Final = 2  # committed, or acknowledged by all before it had to be

_encode = msgspec.msgpack.Encoder().encode
_decode_missed = msgspec.msgpack.Decoder(list[Missed]).decode
# The item of a room, as it was stored with a message.
decode_item = msgspec.msgpack.Decoder(RoomItem).decode


def digest_of(deposit: Deposit) -> bytes:
    """The digest that a repetition must share: of recipients, expiry, contents and the item of a room. 32 bytes."""
    items = (deposit.expiry, deposit.common, deposit.to)
    # Without an item it is what it was before there were rooms: such digests are stored.
    return keys.sha256(keys.DEPOSIT + _encode(items if deposit.room is None else (*items, deposit.room)))


def missed_in(stored: bytes) -> list[Missed]:
    """The mailboxes that missed a deposit, from the digest that it was stored with: they come behind it."""
    return _decode_missed(stored[DIGEST_SIZE:]) if len(stored) > DIGEST_SIZE else []


def is_repetition(deposit: Deposit, other: Deposit) -> bool:
    """Whether these two with the same deposit id are the same deposit."""
    is_same = deposit.expiry == other.expiry and deposit.common == other.common and deposit.to == other.to
    return is_same and deposit.room == other.room


class PendingDeposit:
    """
    A deposit of a device or guest. Rows for the store, and the digest, are made only if it has to be written.

    @ivar key: what a repetition is recognised by: the mailbox of the sender, and the deposit id.
    @ivar connection: gets the answer; it changes when the device repeats the deposit over a new connection.
    @ivar arrived_at: by the wall clock.
    @ivar clock: the expiry clock at that time.
    @ivar came_at: monotonic time of that, for measurements.
    @ivar places: the devices that it goes to, with the position in the mailbox and the device's own part.
    @ivar missed: the devices that it cannot be put into the mailboxes of.
    @ivar size: the memory that it takes, bytes.
    @ivar acks: where it waits for the acknowledgement after the commit; C{None}: it is answered when it is
        committed, or acknowledged by all before.
    @ivar step: what it is to its room, if it is a step.
    @ivar unacknowledged: how many of its devices have not acknowledged it.
    @ivar was_delivered: whether anybody may have got it before the commit.
    @ivar answered: whether the answer has been given; nobody is answered twice.
    """

    stage = OPEN
    came_at = 0.0
    was_delivered = False
    answered = False

    def __init__(
        self,
        connection: ClientConnection,
        sender: DeviceState,
        message: Deposit,
        arrived_at: int,
        clock: int,
        places: list[tuple[DeviceState, int, bytes]],
        missed: list[Missed],
        size: int,
        acks: PendingAcks | None,
        step: PendingStep | None = None,
    ) -> None:
        """Nothing has happened to it yet."""
        self.connection = connection
        self.sender = sender
        self.message = message
        self.arrived_at = arrived_at
        self.clock = clock
        self.places = places
        self.missed = missed
        self.size = size
        self.acks = acks
        self.step = step
        self.unacknowledged = len(places)
        self.key = sender.mailbox, message.deposit_id

    def row(self, forget_after: int) -> DepositRow:
        """
        What is written of it: all that its devices have not acknowledged.

        @param forget_after: how long a repetition is to be recognised, seconds.
        """
        message, sender, item = self.message, self.sender, self.message.room
        stored_digest = digest_of(message)
        if self.missed:
            stored_digest += _encode(self.missed)
        rows = [
            MailboxRow(device.mailbox, position, own) for device, position, own in self.places if position > device.acknowledged
        ]
        return DepositRow(
            sender=sender.mailbox,
            deposit_id=message.deposit_id,
            digest=stored_digest,
            # A guest's ends with the connection.
            n=message.n if self.acks is None else 0,
            account=sender.account.name,
            device=sender.id,
            arrived_at=self.arrived_at,
            expires_at=self.clock + message.expiry,
            forget_at=self.clock + max(message.expiry, forget_after),
            common=message.common,
            rows=tuple(rows),
            room=_encode(item) if item is not None else b"",
            step=StoredRoom(item.room, item.n, item.digest, item.step.next) if item is not None and item.step else None,
        )

    def answer(self) -> Acceptance | None:
        """The answer when the deposit is committed; C{None}: it is answered when it is acknowledged."""
        acceptance = Acceptance(self.message.deposit_id, self.missed, stored=True)
        if self.acks is None:
            return acceptance
        waiting = [(device, position) for device, position, _ in self.places if position > device.acknowledged]
        self.acks.add(self.connection, acceptance, digest_of(self.message), waiting)
        return None
