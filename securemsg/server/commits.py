"""
Group commit, and what spares it: a message that all its devices acknowledge soon is never written.

A batch has deposits, acknowledgements, the highest C{n} of senders, and logins. While one batch is being committed, the next
one fills. If all its deposits were delivered, it is held for a moment, in which their acknowledgements may come; otherwise it
is committed as soon as possible. No deposit is accepted before it is either committed or acknowledged by all its devices.

Source: C{docs/protocol.md}, section "Server: order of durable steps".
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.counters import ServerCounters
from securemsg.interfaces import IMailboxStore, WriteBatch, WriteOutcome
from securemsg.protocol.messages import Acceptance, Accepted, DepositRefused
from securemsg.server.accounts import DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import CROWDED, UNANSWERED, ClientConnection
from securemsg.server.deposits import DIGEST_SIZE, OPEN, RUNNING, SETTLED, PendingDeposit, digest_of, missed_in
from securemsg.server.hold import Hold
from securemsg.server.limits import Settings
from securemsg.server.relayed import RelayedDeposits
from securemsg.server.rooms import PendingStep, RoomState

# Acceptances are sent together in frames of about this many bytes; there is room for the largest one more.
ANSWER_SIZE = 32 * 1024
ACCEPTANCE_SIZE = 24
MISSED_SIZE = 72
# Seconds that the highest C{n} of a sender may stay unwritten when nothing else has to be written.
HIGHEST_DELAY = 1.0


@define(eq=False)
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


@define(eq=False)
class GroupCommit:
    """
    The batch that fills and the one that is being committed.

    @ivar _later: calls a function after so many seconds.
    @ivar acks: deposits that are answered when their readers acknowledge them, however long after the commit.
    @ivar relayed: deposits that were never written.
    @ivar pending: all deposits in the two batches, by sender's mailbox and deposit id.
    @ivar size: the memory that they take, bytes.
    @ivar _old: how many of the deposits in the open batch were there at the last tick already: these are written at the next.
    @ivar _answers: answers that go out at the end of this turn.
    """

    _store: IMailboxStore
    _settings: Settings
    _now: Callable[[], float]
    _seconds: Callable[[], float]
    _soon: Callable[[Callable[[], None]], None]
    _later: Callable[[float, Callable[[], None]], object]
    _counters: ServerCounters
    acks: PendingAcks = field(init=False, factory=PendingAcks, repr=False)
    relayed: RelayedDeposits = field(init=False, factory=RelayedDeposits, repr=False)
    pending: dict[tuple[int, bytes], PendingDeposit] = field(init=False, factory=dict, repr=False)
    size: int = field(init=False, default=0)
    _open: Batch = field(init=False, factory=Batch, repr=False)
    _running: Batch | None = field(init=False, default=None, repr=False)
    _hold: Hold = field(init=False, factory=Hold, repr=False)
    _old: int = field(init=False, default=0)
    _expects_tick: bool = field(init=False, default=False)
    _expects_highest: bool = field(init=False, default=False)
    _urgent: bool = field(init=False, default=False)
    _scheduled: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _answers: dict[ClientConnection, list[Acceptance]] = field(init=False, factory=dict, repr=False)
    _crowd: set[ClientConnection] = field(init=False, factory=set, repr=False)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def add(self, deposit: PendingDeposit) -> None:
        """
        Deliver a deposit to the devices that are up to date, and add it to the batch. One of a room is not delivered before its
        commit: a crash would leave an order that some have seen and the store has not.
        """
        counters = self._counters
        counters.deposits += 1
        deposit.came_at = self._seconds()
        self.pending[deposit.key] = deposit
        self._open.deposits.append(deposit)
        self.size += deposit.size
        deposit.sender.pins += 1
        may_be_delivered = is_delivered = deposit.message.room is None
        message, arrived_at, sender = deposit.message, deposit.arrived_at, deposit.sender
        account, deposit_id, common = sender.account.name, message.deposit_id, message.common
        for device, position, own in deposit.places:
            device.unsettled[position] = deposit
            reader = device.reader
            if may_be_delivered and reader is not None and reader.deliver_now(
                position, account, sender.id, deposit_id, arrived_at, common, own
            ):
                deposit.was_delivered = True
                # In the turn in which it came: after 0 seconds.
                counters.deliver.counts[0] += 1
            else:
                is_delivered = False
        if is_delivered and self._hold.is_due:
            device, position, _ = deposit.places[0]
            self._hold.start(device, position, deposit.came_at)
        self._await_answer(deposit.connection)
        if self.size > self._settings.crowded_size:
            self._crowd.add(deposit.connection)
            deposit.connection.pause(CROWDED)
            is_delivered = False
        if not is_delivered:
            self.commit_soon()
        elif not self._expects_tick:
            self._expect_tick()

    def redirect(self, deposit: PendingDeposit, connection: ClientConnection) -> None:
        """Answer a pending deposit over the connection that has repeated it."""
        if deposit.answered:
            self._answer_soon(connection, Acceptance(deposit.message.deposit_id, deposit.missed, stored=False))
            connection.unanswered += 1
        elif deposit.connection is not connection:
            deposit.connection = connection
            self._await_answer(connection)

    def refuse_stale(self, connection: ClientConnection, deposit_id: bytes, room: RoomState) -> None:
        """Refuse a deposit that its room's row does not admit, once that row is committed: nobody hears of one that is not."""
        if room.pending is None:
            connection.refuse_deposit(DepositRefused(deposit_id, "stale-room", [], room.mark))
            return
        room.pending.refusals.append((connection, deposit_id))
        self._await_answer(connection)

    def keep_highest(self, sender: DeviceState) -> None:
        """
        Write the highest C{n} of this device with the next batch, or within L{HIGHEST_DELAY} seconds; only to be called while
        C{sender.is_highest_queued} is false.
        """
        self._open.senders[sender.mailbox] = sender
        sender.is_highest_queued = True
        sender.pins += 1
        if not self._expects_highest:
            self._expects_highest = True
            self._later(HIGHEST_DELAY, self._highest_due)

    def keep_logins(self, device: DeviceState) -> None:
        """Write the last logins of this device, and when it was seen, with the next batch: a login does not cost a commit."""
        if device.mailbox not in self._open.logins:
            self._open.logins[device.mailbox] = device
            device.pins += 1

    def acknowledge(self, device: DeviceState, acknowledged: list[tuple[int, int]]) -> None:
        """
        A device has these messages, by position and size: delete those that were written, write no others, and answer the
        deposits that waited for that.
        """
        position = acknowledged[-1][0]
        self._counters.acknowledgements += len(acknowledged)
        device.acknowledged = position
        if self._hold.device is device:
            self._hold.acknowledged(position, self._seconds())
        submitted, unsettled = device.submitted, device.unsettled
        stored = stored_size = relayed = relayed_size = 0
        for at, size in acknowledged:
            deposit = unsettled.pop(at, None)
            if deposit is not None:
                deposit.unacknowledged -= 1
                if not deposit.unacknowledged:
                    self._acknowledged_by_all(deposit)
            if at <= submitted:
                stored += 1
                stored_size += size
            else:
                relayed += 1
                relayed_size += size
        if relayed:
            _remove(device, relayed, relayed_size)
        if stored:
            self._delete(device, position, stored, stored_size)
        if self.acks:
            self._send_accepted(self.acks.acknowledged(device, [at for at, _ in acknowledged]))

    def commit_soon(self) -> None:
        """Commit the open batch at the end of this turn, or, while a commit runs, when that has returned."""
        self._urgent = True
        if not self._scheduled and not self._stopped and self._running is None:
            self._scheduled = True
            self._soon(self.flush)

    @property
    def is_idle(self) -> bool:
        """Whether no deposit waits for a commit or its answer, and no commit runs."""
        return self._running is None and not self.pending and not self._answers

    def stop(self) -> None:
        """Write the batch if that is possible at once, and nothing after it."""
        self.flush()
        self._stopped = True

    def _await_answer(self, connection: ClientConnection) -> None:
        """Count a deposit that waits; a connection with too many is not read from."""
        connection.unanswered += 1
        if connection.unanswered >= self._settings.max_unanswered:
            connection.pause(UNANSWERED)
            self.commit_soon()

    def _delete(self, device: DeviceState, position: int, messages: int, size: int) -> None:
        """Delete what was written for a device up to a position with one of the next batches."""
        known = self._open.acknowledged.get(device.mailbox)
        if known is None:
            device.pins += 1
        else:
            messages += known[2]
            size += known[3]
        self._open.acknowledged[device.mailbox] = (device, position, messages, size)
        if not self._expects_tick:
            self._expect_tick()

    def _acknowledged_by_all(self, deposit: PendingDeposit) -> None:
        """
        Answer a deposit. If it is not being written yet, it never will be, but for one that a mailbox missed: the answer to a
        repetition has to name that.
        """
        deposit.answered = True
        if deposit.connection not in self._answers:
            self._counters.accept.observe(self._seconds() - deposit.came_at)
        self._answer_soon(deposit.connection, Acceptance(deposit.message.deposit_id, deposit.missed, stored=False))
        if deposit.stage == OPEN and not deposit.missed:
            self.relayed.remember(deposit.key, deposit.message)
            self._settle(deposit)

    # --- time -------------------------------------------------------------------------------------------------------

    def _expect_tick(self) -> None:
        """Look at the open batch soon; to be called only if that is not expected already."""
        self._expects_tick = True
        self._later(self._hold.seconds, self._tick)

    def _tick(self) -> None:
        """Write what was there at the last tick already and has not been acknowledged; the rest is held for one tick more."""
        self._expects_tick = False
        if self._stopped:
            return
        self._hold.tick(self._seconds())
        batch, old = self._open, self._old
        late = [deposit for deposit in batch.deposits[:old] if deposit.stage == OPEN]
        fresh = [deposit for deposit in batch.deposits[old:] if deposit.stage == OPEN]
        if self._running is None and (late or batch.acknowledged):
            self._old = len(fresh)
            self._open = Batch(fresh)
            batch.deposits = late
            self._write(batch)
            return
        # While a commit runs, however long, what is acknowledged does not stay in memory.
        batch.deposits = late + fresh
        self._old = len(batch.deposits)
        if batch.deposits:
            self._expect_tick()

    def _highest_due(self) -> None:
        self._expects_highest = False
        if self._open.senders:
            self.commit_soon()

    def flush(self) -> None:
        """Write the batch, unless the one before is still being committed."""
        self._scheduled = False
        batch = self._open
        if self._stopped or self._running is not None:
            return
        self._urgent = False
        self._old = 0
        batch.deposits = [deposit for deposit in batch.deposits if deposit.stage == OPEN]
        if batch.deposits or batch.acknowledged or batch.senders or batch.logins:
            self._open = Batch()
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        """Hand a batch to the store."""
        self._running = batch
        self._counters.batches.observe(len(batch.deposits))
        for sender in batch.senders.values():
            sender.is_highest_queued = False
        rows = []
        for deposit in batch.deposits:
            deposit.stage = RUNNING
            rows.append(deposit.row(self._settings.forget_after))
            for device, position, _ in deposit.places:
                if position > device.acknowledged:
                    device.submitted = position
        self._store.write(
            WriteBatch(
                deposits=tuple(rows),
                acknowledged={mailbox: entry[1] for mailbox, entry in batch.acknowledged.items()},
                highest={mailbox: sender.highest for mailbox, sender in batch.senders.items()},
                logins={
                    mailbox: (b"".join(device.logins), device.has_rooms, device.last_seen)
                    for mailbox, device in batch.logins.items()
                },
            ),
            self._committed,
        )

    # --- after the commit -------------------------------------------------------------------------------------------

    def _committed(self, outcome: WriteOutcome) -> None:
        """The batch is durable: answer, deliver what was not delivered yet, and go on with the next one."""
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
        for index, deposit in enumerate(batch.deposits):
            self._finish(deposit, is_new=index not in outcome.known)
        if self._urgent:
            self.commit_soon()
        elif (self._open.deposits or self._open.acknowledged) and not self._expects_tick:
            self._expect_tick()

    def _answer(self, batch: Batch, outcome: WriteOutcome) -> None:
        """Answer the deposits of a batch, with few frames for each connection."""
        answers: dict[ClientConnection, list[Acceptance]] = {}
        now = self._seconds()
        for index, deposit in enumerate(batch.deposits):
            answer = None
            if outcome.known and (stored := outcome.known.get(index)) is not None:
                answer = self._answer_known(deposit, stored)
            elif not deposit.answered:
                answer = deposit.answer()
            if answer is not None:
                deposit.answered = True
                if deposit.connection not in answers:
                    self._counters.accept.observe(now - deposit.came_at)
                answers.setdefault(deposit.connection, []).append(answer)
        self._send_accepted(answers)

    def _answer_known(self, deposit: PendingDeposit, stored: bytes) -> Acceptance | None:
        """The answer to a deposit that the store had already; C{None}: there is none, or it has been given."""
        if deposit.answered:
            return None
        connection, message = deposit.connection, deposit.message
        if stored[:DIGEST_SIZE] == digest_of(message):
            return Acceptance(message.deposit_id, missed_in(stored), stored=True)
        deposit.answered = True
        self._answered(connection, 1)
        if deposit.was_delivered:
            # Nobody may be told that it was refused.
            connection.end("conflict")
        else:
            connection.refuse_deposit(DepositRefused(message.deposit_id, "conflict", []))
        return None

    def _finish(self, deposit: PendingDeposit, *, is_new: bool) -> None:
        """The commit has returned. Deliver what was written and not delivered; unless the store already had the deposit."""
        self._settle(deposit)
        message, sender = deposit.message, deposit.sender
        for device, position, own in deposit.places:
            if position <= device.acknowledged:
                continue
            del device.unsettled[position]
            if not is_new:
                _remove(device, 1, len(message.common) + len(own))
                continue
            if device.reader is not None and device.reader.committed(
                position, sender.account.name, sender.id, message.deposit_id, deposit.arrived_at, message.common, own,
                message.room,
            ):  # fmt: skip
                self._counters.deliver.observe(self._seconds() - deposit.came_at)
            device.committed = position

    def _settle(self, deposit: PendingDeposit) -> None:
        """Nothing more happens to this deposit."""
        deposit.stage = SETTLED
        del self.pending[deposit.key]
        deposit.sender.pins -= 1
        self.size -= deposit.size
        if deposit.step is not None:
            self._step_committed(deposit.step)
        if self._crowd and self.size <= self._settings.crowded_size:
            for connection in self._crowd:
                connection.resume(CROWDED)
            self._crowd.clear()

    def _step_committed(self, step: PendingStep) -> None:
        """Refuse what waited for this step."""
        step.room.settle(step)
        for connection, deposit_id in step.refusals:
            connection.refuse_deposit(DepositRefused(deposit_id, "stale-room", [], step.mark))
            self._answered(connection, 1)

    # --- answers ----------------------------------------------------------------------------------------------------

    def _answer_soon(self, connection: ClientConnection, answer: Acceptance) -> None:
        """Answer at the end of this turn, together with others."""
        if not self._answers:
            self._soon(self._send_answers)
        self._answers.setdefault(connection, []).append(answer)

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, {}
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


def _remove(device: DeviceState, messages: int, size: int) -> None:
    """Subtract from the mailbox's counts. What expired after delivery is subtracted twice; an empty mailbox corrects that."""
    device.messages = max(0, device.messages - messages)
    device.size = max(0, device.size - size)


def _chunks(accepted: list[Acceptance]) -> list[list[Acceptance]]:
    """Split acceptances into frames."""
    if len(accepted) == 1:
        return [accepted]
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
