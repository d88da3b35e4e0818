"""
Group commit: while one batch is being committed, the next one fills.

A batch has deposits, acknowledgements and the highest C{n} of senders. Nobody is answered, and nothing is delivered, before the
commit has returned.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define, field, frozen

from securemsg.interfaces import DepositRow, IMailboxStore, WriteBatch, WriteOutcome
from securemsg.protocol.messages import Acceptance, Accepted, DepositRefused, Missed
from securemsg.server.accounts import DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import CROWDED, UNANSWERED, ClientConnection
from securemsg.server.limits import Settings

DIGEST_SIZE = 32
# Acceptances are sent together in frames of about this many bytes; there is room for the largest one more.
ANSWER_SIZE = 32 * 1024
ACCEPTANCE_SIZE = 24
MISSED_SIZE = 72
# Memory for a deposit, or a part of one, besides its bytes.
OVERHEAD = 512

_encode_missed = msgspec.msgpack.Encoder().encode
_decode_missed = msgspec.msgpack.Decoder(list[Missed]).decode


def stored_answer(digest: bytes, missed: list[Missed]) -> bytes:
    """What is stored to answer a repeated deposit alike: the digest, and the mailboxes that missed it, if any did."""
    return digest + _encode_missed(missed) if missed else digest


def missed_in(stored: bytes) -> list[Missed]:
    """The mailboxes that missed the deposit with this receipt."""
    return _decode_missed(stored[DIGEST_SIZE:]) if len(stored) > DIGEST_SIZE else []


@define(eq=False)
class PendingDeposit:
    """
    A deposit of a device, on its way to the store.

    @ivar connection: gets the answer; it changes when the device repeats the deposit over a new connection.
    @ivar recipients: the devices, in the order of the rows.
    """

    connection: ClientConnection
    sender: DeviceState
    row: DepositRow
    recipients: list[DeviceState]
    missed: list[Missed]
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Estimate the memory that it takes."""
        row = self.row
        self.size = len(row.common) + sum([len(part.own) for part in row.rows]) + OVERHEAD * (1 + len(row.rows))

    def answer(self) -> Acceptance | None:
        """The answer once the deposit is committed; C{None}: the deposit is answered later."""
        return Acceptance(self.row.deposit_id, self.missed)


@frozen
class Batch:
    """
    What one commit writes.

    @ivar acknowledged: by mailbox number: the device, the position, and how many messages and bytes that deletes.
    @ivar senders: by mailbox number: the devices whose highest C{n} is written.
    @ivar logins: likewise, the devices whose last logins are written.
    """

    deposits: list[PendingDeposit] = field(factory=list)
    acknowledged: dict[int, tuple[DeviceState, int, int, int]] = field(factory=dict)
    senders: dict[int, DeviceState] = field(factory=dict)
    logins: dict[int, DeviceState] = field(factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.deposits or self.acknowledged or self.senders or self.logins)


@define(eq=False)
class GroupCommit:
    """
    The batch that fills and the one that is being committed.

    @ivar acks: deposits that are answered when their readers acknowledge them.
    @ivar pending: all deposits in the two batches, by sender's mailbox and deposit id.
    @ivar size: the memory that they take, bytes.
    """

    _store: IMailboxStore
    _settings: Settings
    _now: Callable[[], float]
    _soon: Callable[[Callable[[], None]], None]
    acks: PendingAcks = field(init=False, factory=PendingAcks, repr=False)
    pending: dict[tuple[int, bytes], PendingDeposit] = field(init=False, factory=dict, repr=False)
    size: int = field(init=False, default=0)
    _open: Batch = field(init=False, factory=Batch, repr=False)
    _running: Batch | None = field(init=False, default=None, repr=False)
    _scheduled: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _crowd: set[ClientConnection] = field(init=False, factory=set, repr=False)

    def add(self, pending: PendingDeposit) -> None:
        """Add a deposit to the batch."""
        self.pending[pending.sender.mailbox, pending.row.deposit_id] = pending
        self._open.deposits.append(pending)
        self.size += pending.size
        pending.sender.pins += 1
        for device in pending.recipients:
            device.pins += 1
        self._await_answer(pending.connection)
        if self.size > self._settings.crowded_size:
            self._crowd.add(pending.connection)
            pending.connection.pause(CROWDED)
        self._schedule()

    def redirect(self, pending: PendingDeposit, connection: ClientConnection) -> None:
        """Answer a pending deposit over the connection that has repeated it."""
        if pending.connection is not connection:
            pending.connection = connection
            self._await_answer(connection)

    def keep_highest(self, sender: DeviceState) -> None:
        """Write the highest C{n} of this device."""
        if sender.mailbox not in self._open.senders:
            self._open.senders[sender.mailbox] = sender
            sender.pins += 1
            self._schedule()

    def keep_logins(self, device: DeviceState) -> None:
        """Write the last logins of this device with the next batch: a login does not cost a commit."""
        if device.mailbox not in self._open.logins:
            self._open.logins[device.mailbox] = device
            device.pins += 1

    def acknowledge(self, device: DeviceState, acknowledged: list[tuple[int, int]]) -> None:
        """Delete what a device has acknowledged, by position and size, and answer the deposits that waited for that."""
        positions = [position for position, _ in acknowledged]
        position, messages, size = positions[-1], len(positions), sum([size for _, size in acknowledged])
        known = self._open.acknowledged.get(device.mailbox)
        if known is None:
            device.pins += 1
        else:
            messages += known[2]
            size += known[3]
        self._open.acknowledged[device.mailbox] = (device, position, messages, size)
        device.acknowledged = position
        self._schedule()
        self._send_accepted(self.acks.acknowledged(device, positions))

    def _await_answer(self, connection: ClientConnection) -> None:
        """Count a deposit that waits; a connection with too many is not read from."""
        connection.unanswered += 1
        if connection.unanswered >= self._settings.max_unanswered:
            connection.pause(UNANSWERED)

    def flush(self) -> None:
        """Write the batch, unless the one before is still being committed."""
        self._scheduled = False
        batch = self._open
        if self._stopped or self._running is not None or not batch:
            return
        self._open = Batch()
        self._running = batch
        self._store.write(
            WriteBatch(
                deposits=tuple([pending.row for pending in batch.deposits]),
                acknowledged={mailbox: entry[1] for mailbox, entry in batch.acknowledged.items()},
                highest={mailbox: sender.highest for mailbox, sender in batch.senders.items()},
                logins={mailbox: b"".join(device.logins) for mailbox, device in batch.logins.items()},
            ),
            self._committed,
        )

    def stop(self) -> None:
        """Write the batch if that is possible at once, and nothing after it."""
        self.flush()
        self._stopped = True

    def _schedule(self) -> None:
        """Flush at the end of this turn, or, while a commit runs, when that has returned."""
        if not self._scheduled and not self._stopped and self._running is None:
            self._scheduled = True
            self._soon(self.flush)

    def _committed(self, outcome: WriteOutcome) -> None:
        """The batch is durable: answer, deliver, and write the next one."""
        batch = self._running
        assert batch is not None, "nothing was on its way"
        self._running = None
        for device, position, messages, size in batch.acknowledged.values():
            device.pins -= 1
            _remove(device, messages, size)
            if position >= device.last_position:
                device.messages = device.size = 0
        for device in (*batch.senders.values(), *batch.logins.values()):
            device.pins -= 1
        self._answer(batch, outcome)
        for index, pending in enumerate(batch.deposits):
            self._finish(pending, index not in outcome.known)
        if self._crowd and self.size <= self._settings.crowded_size:
            for connection in self._crowd:
                connection.resume(CROWDED)
            self._crowd.clear()
        if self._open.deposits or self._open.acknowledged or self._open.senders:
            self._schedule()

    def _answer(self, batch: Batch, outcome: WriteOutcome) -> None:
        """Answer the deposits of a batch, with few frames for each connection."""
        answers: dict[ClientConnection, list[Acceptance]] = {}
        for index, pending in enumerate(batch.deposits):
            if outcome.known and (stored := outcome.known.get(index)) is not None:
                if stored[:DIGEST_SIZE] != pending.row.digest[:DIGEST_SIZE]:
                    pending.connection.send(DepositRefused(pending.row.deposit_id, "conflict", []))
                    self._answered(pending.connection, 1)
                    continue
                answer: Acceptance | None = Acceptance(pending.row.deposit_id, missed_in(stored))
            else:
                answer = pending.answer()
            if answer is not None:
                answers.setdefault(pending.connection, []).append(answer)
        self._send_accepted(answers)

    def _send_accepted(self, answers: dict[ClientConnection, list[Acceptance]]) -> None:
        now = int(self._now())
        for connection, accepted in answers.items():
            for chunk in _chunks(accepted):
                connection.send(Accepted(now, chunk))
            self._answered(connection, len(accepted))

    def _answered(self, connection: ClientConnection, count: int) -> None:
        connection.unanswered -= count
        if connection.unanswered <= self._settings.max_unanswered // 2:
            connection.resume(UNANSWERED)

    def _finish(self, pending: PendingDeposit, written: bool) -> None:
        """A deposit is no longer pending: it was written, or the store already had it. Deliver it in the first case."""
        row = pending.row
        del self.pending[pending.sender.mailbox, row.deposit_id]
        self.size -= pending.size
        pending.sender.pins -= 1
        for device, part in zip(pending.recipients, row.rows, strict=True):
            device.pins -= 1
            if not written:
                _remove(device, 1, len(row.common) + len(part.own))
                continue
            if device.reader is not None:
                device.reader.committed(row, part)
            device.committed = part.position


def _remove(device: DeviceState, messages: int, size: int) -> None:
    """Subtract from the mailbox's counts. What expired after delivery is subtracted twice; an empty mailbox corrects that."""
    device.messages = max(0, device.messages - messages)
    device.size = max(0, device.size - size)


def _chunks(accepted: list[Acceptance]) -> list[list[Acceptance]]:
    """Split acceptances into frames."""
    if len(accepted) * ACCEPTANCE_SIZE <= ANSWER_SIZE and not any(acceptance.missed for acceptance in accepted):
        return [accepted]
    chunks: list[list[Acceptance]] = [[]]
    room = ANSWER_SIZE
    for acceptance in accepted:
        if room <= 0:
            chunks.append([])
            room = ANSWER_SIZE
        chunks[-1].append(acceptance)
        room -= ACCEPTANCE_SIZE + MISSED_SIZE * len(acceptance.missed)
    return chunks
