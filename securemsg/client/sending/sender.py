"""Outgoing: makes deposits of drafts, handles the answers, and asks for accounts and bundles that are needed first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from attrs import define, field

from securemsg.client.context import Context
from securemsg.client.events import Changed
from securemsg.client.requests import Answer
from securemsg.client.rooms import ordering, steps
from securemsg.client.rooms.changes import removes_anybody
from securemsg.client.rooms.store import RoomState, get_room
from securemsg.client.sending import losses, outbox, results
from securemsg.client.sending.queues import SendQueue, SendQueues
from securemsg.client.sending.receipts import ReceiptRounds
from securemsg.client.sessions import pqxdh, prekeys, resets
from securemsg.client.sessions.peers import NeedAccount
from securemsg.client.sessions.pqxdh import NeedBundle
from securemsg.client.state import contacts
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.records import HISTORY, OUTBOX, RECEIPTS, ROWS, HistoryRow, OutboxRow, load, load_all
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.codes import DISTRUSTED, UNDELIVERABLE
from securemsg.protocol.envelope import Kind

# Rows of the outbox that are loaded in one transaction.
PAGE = 256
# If a deposit is not answered and no bytes move for this time, the connection counts as lost, seconds.
ANSWER_TIME = 30
# Bytes a second of the slowest link that is of any use.
MIN_RATE = 500
# A contact's device list that messages mention is fetched no more often than this, seconds, and of so many contacts it is known
# when that was last done.
LIST_PAUSE = 3600
MAX_FETCHED = 256
# Why a message of a room waits until its newest list is here, or its user decides.
ROOM_HOLDS = frozenset({"room-behind", "room-removal-waits", "room-forked", "room-broken", "room-changed"})

# The server is an older one.
NO_ROOMS = "server-without-rooms"

# Uses an answer, or refuses it.
UseAnswer = Callable[[IRecords, SendQueue, Answer], None]


def size_of(deposit: m.Deposit) -> int:
    """About how many bytes it takes on the wire."""
    return len(deposit.common) + sum(len(part.own) for destination in deposit.to for part in destination.parts)


@define(eq=False)
class Sender:
    """The outgoing half of an agent."""

    _context: Context
    _jitter: Callable[[], float]
    _queues: SendQueues = field(init=False)
    _fetched: dict[str, float] = field(init=False, factory=dict)
    _receipts: ReceiptRounds = field(init=False, factory=ReceiptRounds)
    _is_step_accepted: bool = field(init=False, default=False)
    # Accepted and not noted yet: the seq of the row, its n if it was stored, else 0, the server's time, and who missed it.
    _accepted: list[tuple[int, int, int, list[m.Missed]]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._queues = SendQueues(self._jitter)

    def restart(self) -> None:
        """Start over on a new connection: the whole outbox is sent, in order."""
        self._queues = SendQueues(self._jitter)
        self._accepted.clear()

    def pump(self, idle: bool) -> None:
        """
        Send what may be sent.

        @param idle: nothing is being received, so that receipts may be sent.
        """
        if self._is_step_accepted:
            self.commit_accepted()
        self._unblock()
        self._make_due(idle)
        self._load_new()
        while self._context.is_writable and self._queues.next(self._context.seconds()) is not None:
            self._send_some()
        if not self._queues.is_full:
            self.commit_accepted()

    def end_pauses(self) -> None:
        """Try at once what the server has refused for now; L{pump} must follow."""
        self._queues.end_pauses()

    def commit_accepted(self) -> None:
        """Commit what the server has accepted. While the window is full that waits for more answers, or the next tick."""
        if self._accepted:
            with self._context.store.writing() as records:
                self._note_accepted(records)

    @property
    def quiet_since(self) -> float:
        """
        When bytes last moved, and as long after that as what is not answered takes on a slow link: whatever buffers on the way
        takes it from us at once, and hides how it moves on.
        """
        size = self._queues.unanswered_size + self._context.requests.size
        return self._context.moved_at + size // MIN_RATE

    def check_time(self) -> None:
        """Hang up on a server that does not answer."""
        oldest, context = self._queues.oldest_unanswered(), self._context
        if oldest is None or context.channel is None:
            return
        if context.seconds() - max(oldest, self.quiet_since) > ANSWER_TIME:
            context.channel.close("timeout")

    def accepted(self, message: m.Accepted) -> None:
        """The server has accepted deposits; L{pump} must follow."""
        self._context.note_server_time(message.now)
        for item in message.deposits:
            found = self._queues.pop_sent(item.deposit_id)
            if found is not None:
                queue, seq, n = found
                queue.failures = 0
                # If it was not stored, the server may forget its n.
                self._accepted.append((seq, n if item.stored else 0, message.now, item.missed))
                # What is behind a step waits until that counts.
                self._is_step_accepted |= queue.is_stepping
                queue.is_stepping = False

    def refused(self, message: m.DepositRefused) -> None:
        """The server has refused a deposit."""
        found = self._queues.pop_sent(message.deposit_id)
        if found is None:
            return
        queue, seq, _ = found
        queue.is_stepping = False
        with self._context.store.writing() as records:
            if message.code == "stale-devices":
                self._renew(records, queue, seq, message.accounts)
            elif message.code == "stale-room" and queue.conversation.is_room:
                self._refused_by_room(records, queue, seq, message.room or m.ListMark(0, b""))
            elif message.code in UNDELIVERABLE:
                self._context.notify(Changed())
                if results.give_up(records, seq, message.code, self._context.time()) is not None:
                    self._queues.requeue(queue, seq)
            else:
                self._queues.requeue(queue, seq)
                self._delay(records, queue, seq, message.code)

    def fetch_list(self, name: str, version: int = 0) -> None:
        """Fetch a device list that a contact has mentioned, but not too often."""
        seconds = self._context.seconds()
        if seconds - self._fetched.get(name, float("-inf")) < LIST_PAUSE:
            return
        if len(self._fetched) > MAX_FETCHED:
            self._fetched.clear()
        self._fetched[name] = seconds
        self._context.ask(m.Fetch(0, name), lambda answer: self._list_received(name, version, answer))

    def _note_accepted(self, records: IRecords) -> None:
        """Note what the server has accepted; if the process ends before that, they are sent again."""
        accepted, self._accepted = self._accepted, []
        self._is_step_accepted = False
        context, now = self._context, self._context.time()
        for seq, stored, at, missed in accepted:
            if results.accepted(records, context.profile, seq, stored, at, missed, now):
                self._context.notify(Changed())
            results.note_stored(records, stored)

    # --- sending --------------------------------------------------------------------------------------------------

    def _make_due(self, idle: bool) -> None:
        """Put receipts and resets that are due, and what the server has lost, into the outbox."""
        now = self._context.time()
        wants_receipts = idle and self._receipts.is_due(self._context.seconds())
        with self._context.store.reading() as records:
            wants_receipts = wants_receipts and bool(records.scan(RECEIPTS, limit=1))
            has_resets = resets.is_due(records, now)
            has_lost = losses.is_due(records, now)
        if not wants_receipts and not has_lost and not has_resets:
            return
        with self._context.store.writing() as records:
            if wants_receipts:
                self._receipts.make(records, self._context.profile, now, self._context.seconds())
            resets.make_resets(records, self._context.profile, now)
            if has_lost:
                for conversation, seq in losses.requeue(records, now):
                    # Those behind are loaded with the rest.
                    if seq <= self._queues.last:
                        self._queues.add(conversation, seq)
                self._context.notify(Changed())

    def _load_new(self) -> None:
        with self._context.store.reading() as records:
            while rows := load_all(records, OutboxRow, OUTBOX, ROWS, self._queues.last, PAGE):
                for seq, row in rows:
                    if row.at and not row.sealed:
                        self._queues.schedule(row.at, row.to, seq)
                    else:
                        self._queues.add(row.to, seq)
        self._queues.add_due(self._context.time())

    def _unblock(self) -> None:
        """Release the queues of contacts whose identity the user has accepted, and those of rooms that may go on."""
        blocked, rooms = self._queues.blocked(), self._queues.holding()
        if not blocked and not rooms:
            return
        with self._context.store.reading() as records:
            for queue in rooms:
                self._unblock_room(records, queue)
            for queue in blocked:
                contact = contacts.get_contact(records, queue.conversation.account)
                if contact is None or not contact.has_changed:
                    queue.is_blocked, queue.failures = False, 0

    def _unblock_room(self, records: IRecords, queue: SendQueue) -> None:
        """Go on where the newest list has come, and with what the user has let go."""
        room = get_room(records, queue.conversation.room_id)
        is_over = room is None or room.state is RoomState.OUT
        for seq in list(queue.held):
            row = load(records, OutboxRow, OUTBOX, ROWS, seq)
            if row is None or row.withdrawn or is_over:
                self._queues.let_go(queue, seq)
            elif room is not None and room.may_send and not removes_anybody(records, room):
                history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
                if row.newcomers or history is None or history.code != "room-changed":
                    self._queues.let_go(queue, seq)

    def _send_some(self) -> None:
        """Note what was accepted and make as many deposits as may be sent now, in one transaction, then send them."""
        deposits: list[m.Deposit] = []
        questions: list[Callable[[], None]] = []
        context, now = self._context, self._context.time()
        with context.store.writing() as records:
            self._note_accepted(records)
            while (queue := self._queues.next(self._context.seconds())) is not None:
                seq = queue.waiting[0]
                if queue.conversation.is_room and not context.has_rooms:
                    ordering.note_support(records, queue.conversation.room_id, is_supported=False)
                    self._delay(records, queue, seq, NO_ROOMS)
                    continue
                try:
                    deposit = outbox.prepare(
                        records,
                        context.profile,
                        seq,
                        now,
                        may_expire=context.is_clock_right,
                        left_out=queue.left_out,
                        is_alone=not queue.unanswered,
                    )
                except Refusal as refusal:
                    self._defer(records, queue, seq, refusal, questions)
                    continue
                if deposit is None:
                    self._queues.drop(queue)
                    self._context.notify(Changed())
                else:
                    self._queues.mark_sent(queue, deposit.deposit_id, deposit.n, self._context.seconds(), size_of(deposit))
                    queue.is_stepping = deposit.room is not None and deposit.room.step is not None
                    queue.is_draining = False
                    deposits.append(deposit)
        for deposit in deposits:
            self._context.send(deposit)
        for question in questions:
            question()

    def _defer(
        self, records: IRecords, queue: SendQueue, seq: int, refusal: Refusal, questions: list[Callable[[], None]]
    ) -> None:
        """Ask the server for what a row needs before it can be sent."""
        if isinstance(refusal, NeedAccount):
            queue.is_asking = True
            name = refusal.account
            questions.append(lambda: self._fetch(queue, name))
        elif isinstance(refusal, NeedBundle):
            queue.is_asking = True
            need = refusal
            questions.append(lambda: self._claim(queue, need))
        elif refusal.code == "suite-unavailable" and not queue.is_checked:
            # There may be an RSA key by now.
            queue.is_asking = queue.is_checked = True
            questions.append(lambda: self._fetch(queue, queue.conversation.account))
        elif refusal.code == "room-step-waits":
            queue.is_draining = True
        elif refusal.code in ROOM_HOLDS:
            # What is behind it may be the very step that lets it go.
            self._queues.hold(queue)
            self._note_waiting(records, seq, refusal.code)
        else:
            queue.is_checked = False
            self._delay(records, queue, seq, refusal.code)

    def _delay(self, records: IRecords, queue: SendQueue, seq: int, code: str) -> None:
        """Hold a queue back for a while, or until the user has decided."""
        if code == "identity-changed":
            queue.is_blocked = True
            self._context.warn(records, code, queue.conversation.account)
        else:
            self._queues.pause(queue, self._context.seconds())
        self._note_waiting(records, seq, code)

    def _note_waiting(self, records: IRecords, seq: int, code: str) -> None:
        if results.note_waiting(records, seq, code):
            self._context.notify(Changed())

    def _refused_by_room(self, records: IRecords, queue: SendQueue, seq: int, mark: m.ListMark) -> None:
        """The server goes by another list of a room than we did: nobody has got this deposit."""
        profile, now = self._context.profile, self._context.time()
        self._queues.requeue(queue, seq)
        row, room = load(records, OutboxRow, OUTBOX, ROWS, seq), get_room(records, queue.conversation.room_id)
        if row is None or room is None:
            return
        is_dated = outbox.sealed_under(records, seq) != room.mark
        if row.kind == Kind.LIST:
            ours = steps.list_in(profile, row).mark
            # A server that lacks lists before ours may have taken ours, and others may go by it: it waits.
            is_dated = ours == mark or row.again or ours.version <= mark.version + 1
            if ours == mark:
                # It was taken, and the answer was lost.
                results.accepted(records, profile, seq, 0, now, [], now)
            elif is_dated:
                results.give_up(records, seq, "", now)
            if is_dated:
                self._queues.drop(queue)
            room = get_room(records, queue.conversation.room_id) or room
        room = ordering.note_server_mark(records, profile, room, mark, "", now)
        if room.may_send and not is_dated:
            # It goes by an older list, and somebody else has to send it what it lacks; or it contradicts itself.
            self._queues.pause(queue, self._context.seconds())
        self._context.notify(Changed())

    def _renew(self, records: IRecords, queue: SendQueue, seq: int, accounts: list[m.AccountRecord]) -> None:
        """Adopt a contact's new device list, and make the deposit anew."""
        context = self._context
        self._queues.requeue(queue, seq)
        results.mark_stale(records, seq)
        is_room = queue.conversation.is_room
        known = [record for record in accounts if is_room or record.name == queue.conversation.account]
        for record in known:
            try:
                context.adopt(records, record)
            except Refusal as refusal:
                self._distrust(records, queue, record.name, refusal)
                if not is_room:
                    return
        if not known and not is_room:
            self._recheck(records, queue.conversation.account)
        # An honest server refuses once for each change.
        if queue.failures:
            self._queues.pause(queue, context.seconds())
        queue.failures += 1

    def _distrust(self, records: IRecords, queue: SendQueue, name: str, refusal: Refusal) -> None:
        """Reject what the server says about a contact, and warn the user. In a room nobody waits for one member."""
        if refusal.code in DISTRUSTED:
            self._context.warn(records, refusal.code, name)
        if queue.conversation.is_room:
            queue.left_out[name] = refusal.code
        elif queue.waiting:
            self._delay(records, queue, queue.waiting[0], refusal.code)

    def _recheck(self, records: IRecords, name: str) -> None:
        """Have a contact looked up before the next message."""
        contact = contacts.get_contact(records, name)
        if contact is not None:
            contacts.put_contact(records, msgspec.structs.replace(contact, checked_at=0))

    # --- questions ------------------------------------------------------------------------------------------------

    def _fetch(self, queue: SendQueue, name: str) -> None:
        question = m.Fetch(0, name)
        use = partial(self._account_received, name)
        self._context.ask(question, lambda answer: self._answered(queue, question, answer, use))

    def _claim(self, queue: SendQueue, need: NeedBundle) -> None:
        question = m.Claim(0, need.account, need.device_id, need.spent)
        use = partial(self._bundle_received, need.account, need.device_id)
        self._context.ask(question, lambda answer: self._answered(queue, question, answer, use))

    def _answered(self, queue: SendQueue, question: m.Fetch | m.Claim, answer: Answer | Refusal, use: UseAnswer) -> None:
        """Use the answer to a question that a queue waited for."""
        queue.is_asking = False
        if self._context.channel is None:
            return
        with self._context.store.writing() as records:
            try:
                if isinstance(answer, Refusal):
                    raise answer
                use(records, queue, answer)
            except Refusal as refusal:
                if refusal.code == results.GONE and isinstance(question, m.Fetch) and not queue.conversation.is_room:
                    self._fail(records, queue)
                    return
                if refusal.code in (results.GONE, "no-such-device"):
                    # Of a device that is gone the directory names another list.
                    self._recheck(records, question.account)
                self._distrust(records, queue, question.account, refusal)

    def _account_received(self, name: str, records: IRecords, queue: SendQueue, answer: Answer) -> None:
        """
        Adopt the directory's record of a contact.

        @raise Refusal: it is rejected.
        """
        if not isinstance(answer, m.Account) or answer.record.name != name:
            raise Refusal("bad-device-list")
        context, now = self._context, self._context.time()
        contact = context.adopt(records, answer.record)
        if contacts.is_list_old(contact, now):
            context.warn(records, "contact-list-old", name)
        context.notify(Changed())

    def _bundle_received(
        self, account: str, device_id: bytes, records: IRecords, queue: SendQueue, answer: Answer
    ) -> None:
        """
        Begin a session with the bundle that the server handed out.

        @raise Refusal: it is rejected.
        """
        contact = contacts.get_contact(records, account)
        if contact is not None and isinstance(answer, m.Bundle) and contacts.device(contact, device_id) is not None:
            age = pqxdh.begin(records, self._context.profile, contact, device_id, answer, self._context.time())
            if age > prekeys.OLD_BUNDLE:
                self._context.warn(records, "bundle-old", contact.name)

    def _fail(self, records: IRecords, queue: SendQueue) -> None:
        """Give up everything in a queue: there is no such account."""
        while queue.waiting:
            results.give_up(records, queue.waiting[0], results.GONE, self._context.time())
            self._queues.drop(queue)
        self._context.notify(Changed())

    def _list_received(self, name: str, version: int, answer: Answer | Refusal) -> None:
        """Adopt the list that a contact mentioned."""
        if not isinstance(answer, m.Account) or answer.record.name != name or self._context.channel is None:
            return
        context = self._context
        with context.store.writing() as records:
            try:
                contact = context.adopt(records, answer.record)
                if contact.version < version:
                    context.warn(records, "contact-list-withheld", name)
            except IdentityChanged:
                context.warn(records, "identity-changed", name)
            except Refusal as refusal:
                if refusal.code in DISTRUSTED:
                    context.warn(records, refusal.code, name)
