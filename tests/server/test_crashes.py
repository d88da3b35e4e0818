"""
Mailboxes and rooms under everything at once: deposits, repetitions, reconnects, slow readers, time that passes or does not, a
full disk, and a process that dies between any two durable steps.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from securemsg.crypto import keys
from securemsg.protocol.messages import (
    Acceptance,
    Accepted,
    Deliver,
    Deposit,
    DepositRefused,
    Destination,
    Failed,
    ListMark,
    Part,
    Publish,
    RoomItem,
    RoomStep,
    Unknown,
    Welcome,
)
from securemsg.server.limits import DISK_SAMPLE, Rate, Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.case import changed
from tests.server.rig import DAY, ROOMY, Client, Rig, User

# Few accounts and rooms in memory and a small window, so that loading and paging happen all the time.
SMALL = Settings(
    registration="open", cached_accounts=1, cached_rooms=1, window_frames=3, window_size=500, max_unanswered=4,
    rooms=Rate(10_000, 1), room_steps=Rate(10_000, 1),
)  # fmt: skip


WHO = st.integers(0, 3)
ROOMS = (b"the first room..", b"the second room.")
WHERE = st.sampled_from(ROOMS)


@frozen
class Members:
    """
    A list that somebody has made.

    @ivar base: the digest of the list before; empty: there is none.
    @ivar proof: for the next step.
    @ivar deposit_id: of the step that brings it.
    """

    n: int
    digest: bytes
    base: bytes
    proof: bytes
    deposit_id: bytes


# What comes before the first list. Where there is no row any proof does.
NOBODY = Members(0, b"", b"", bytes(32), b"")


@define(eq=False)
class Endpoint:
    """
    A device: its connection, what it sent, and what it got.

    @ivar outbox: deposits without an answer, in order.
    @ivar stored: the highest n of a deposit that the server has stored.
    @ivar repeated: deposit ids that were sent again after an answer, and may come late, or once more after a crash.
    @ivar acknowledged: deposit ids that this process of the server must not deliver again.
    @ivar last: in this connection, the sender's device to the n of its latest delivery.
    @ivar lists: by room, the newest list that it was told of.
    @ivar made: by room, the newest list that it knows or has made.
    @ivar passed: in this connection, by room, the number of the latest list.
    @ivar stale: deposits that their room refused: the list that they went by was not there yet, or never will be.
    """

    user: User
    client: Client | None = None
    logged_in: bool = False
    n: int = 0
    stored: int = 0
    outbox: list[Deposit] = field(factory=list)
    accepted: list[Deposit] = field(factory=list)
    got: set[bytes] = field(factory=set)
    in_hand: list[Deliver] = field(factory=list)
    acknowledged: set[bytes] = field(factory=set)
    last: dict[bytes, int] = field(factory=dict)
    repeated: set[bytes] = field(factory=set)
    spoiled: set[bytes] = field(factory=set)
    lists: dict[bytes, Members] = field(factory=dict)
    made: dict[bytes, Members] = field(factory=dict)
    passed: dict[bytes, int] = field(factory=dict)
    stale: list[Deposit] = field(factory=list)


class MailboxMachine(RuleBasedStateMachine):
    """Three accounts, one of them with two devices, and a store whose commits take their time."""

    endpoints: list[Endpoint]
    rig: Rig

    @initialize(present=st.sets(WHO))
    def begin(self, present: set[int]) -> None:
        """Register everybody; some stay."""
        self.rig = Rig(SMALL, store=MemoryServerStore(manual=True), features=("rooms",))
        people = [self.rig.register(name) for name in ("alice", "bob", "carol")]
        bob, client = people[1]
        second = bob.sibling()
        bob.version = 2
        client.ask(Publish(1, bob.device_list()))
        people.append((second, self.rig.login(second)))
        # What they announced has to be known in the next process, too.
        self.rig.server.tick()
        self.rig.commit()
        for _, one in people:
            self.rig.lose(one)
        self.endpoints = [Endpoint(user) for user, _ in people]
        self.deposits: dict[bytes, Deposit] = {}
        self.lists: dict[bytes, Members] = {b"": NOBODY}
        self.dead: set[bytes] = set()
        self.was_full = False
        for who in sorted(present):
            self.connect(who)

    def everybody(self) -> None:
        """All log in."""
        for who in range(len(self.endpoints)):
            self.connect(who)

    def ready(self, which: int, wanted: Callable[[Endpoint], object] = lambda endpoint: True) -> Endpoint | None:
        """One of those who are logged in, and have something of this kind."""
        able = [one for one in self.endpoints if one.client is not None and one.logged_in and wanted(one)]
        return able[which % len(able)] if able else None

    # --- what people do ---------------------------------------------------------------------------------------------

    @rule(who=WHO)
    def connect(self, who: int) -> None:
        """Log in, perhaps over a connection that is there."""
        endpoint = self.endpoints[who]
        endpoint.client = self.rig.greet()
        endpoint.logged_in = False
        endpoint.in_hand.clear()
        endpoint.last.clear()
        endpoint.passed.clear()
        if self.was_full:
            # The connection before may have lost a refusal, after which others overtook.
            endpoint.repeated |= {deposit.deposit_id for deposit in endpoint.outbox}
        endpoint.client.ask(self.rig.proof(endpoint.client, endpoint.user, endpoint.n))

    @rule(who=WHO)
    def lose(self, who: int) -> None:
        """The network fails."""
        endpoint = self.endpoints[who]
        if endpoint.client is not None:
            self.absorb()
            self.rig.lose(endpoint.client)
            endpoint.client = None
            endpoint.logged_in = False

    @rule(who=WHO, to=st.sets(st.integers(0, 2), min_size=1), size=st.integers(0, 300), count=st.integers(1, 4))
    def deposit(self, who: int, to: set[int], size: int, count: int) -> None:
        """Make deposits; they are sent if the device is logged in, else after the next login."""
        endpoint = self.endpoints[who]
        sender = endpoint.user
        destinations = []
        for account in sorted(to):
            devices = [one.user for one in self.endpoints if one.user.name == self.endpoints[account].user.name]
            parts = [Part(one.device_id, b"to " + one.device_id) for one in devices if one is not sender]
            if parts:
                destinations.append(Destination(devices[0].name, parts))
        if not destinations:
            return
        for _ in range(count):
            self.send(endpoint, Deposit(keys.random_id(), endpoint.n + 1, DAY, bytes(size), destinations))

    def send(self, endpoint: Endpoint, deposit: Deposit) -> None:
        """Now, or after the next login."""
        endpoint.n = deposit.n
        self.deposits[deposit.deposit_id] = deposit
        endpoint.outbox.append(deposit)
        if endpoint.client is not None and endpoint.logged_in:
            endpoint.client.send(deposit)

    @rule(who=WHO, room=WHERE, ahead=st.booleans(), size=st.integers(0, 300))
    def step(self, who: int, room: bytes, ahead: bool, size: int) -> None:
        """Make the next list of a room, of the newest that is known, or of one that was made and not accepted."""
        endpoint = self.endpoints[who]
        # Where there is no row the second step would make it, if there was no room for the first.
        base = (endpoint.made if ahead and room in endpoint.lists else endpoint.lists).get(room, NOBODY)
        proof = keys.nonce()
        made = Members(base.n + 1, keys.nonce(), base.digest, proof, keys.random_id())
        self.lists[made.digest] = endpoint.made[room] = made
        item = RoomItem(room, made.n, made.digest, RoomStep(base.proof, keys.sha256(proof)))
        self.send(endpoint, self.of_room(endpoint, made.deposit_id, size, item))

    @rule(who=WHO, room=WHERE, ahead=st.booleans(), size=st.integers(0, 300), count=st.integers(1, 3))
    def say(self, who: int, room: bytes, ahead: bool, size: int, count: int) -> None:
        """Say something in a room, by one of these lists."""
        endpoint = self.endpoints[who]
        known = (endpoint.made if ahead else endpoint.lists).get(room, NOBODY)
        if known.n:
            for _ in range(count):
                item = RoomItem(room, known.n, known.digest, None)
                self.send(endpoint, self.of_room(endpoint, keys.random_id(), size, item))

    def of_room(self, endpoint: Endpoint, deposit_id: bytes, size: int, item: RoomItem) -> Deposit:
        """A deposit for everybody."""
        parts: dict[str, list[Part]] = {}
        for one in self.endpoints:
            part = [Part(one.user.device_id, b"to " + one.user.device_id)] if one is not endpoint else []
            parts[one.user.name] = parts.get(one.user.name, []) + part
        to = [Destination(name, those) for name, those in parts.items()]
        return Deposit(deposit_id, endpoint.n + 1, DAY, bytes(size), to, item)

    @rule(who=WHO, which=st.integers(0, 50), spoil=st.booleans())
    def repeat(self, who: int, which: int, spoil: bool) -> None:
        """Send something again that was answered, perhaps with other bytes."""
        endpoint = self.ready(who, lambda one: one.accepted)
        if endpoint is None or endpoint.client is None:
            return
        deposit = endpoint.accepted[which % len(endpoint.accepted)]
        endpoint.repeated.add(deposit.deposit_id)
        if spoil:
            endpoint.spoiled.add(deposit.deposit_id)
            deposit = changed(deposit, common=deposit.common + b"!")
        endpoint.client.send(deposit)

    @rule(who=WHO, which=st.integers(0, 50))
    def repeat_pending(self, who: int, which: int) -> None:
        """Send something again that was not answered yet."""
        endpoint = self.ready(who, lambda one: one.outbox)
        if endpoint is None or endpoint.client is None:
            return
        endpoint.client.send(endpoint.outbox[which % len(endpoint.outbox)])

    @rule(who=WHO, which=st.integers(0, 10))
    def acknowledge(self, who: int, which: int) -> None:
        """Commit some of what came, and say so."""
        endpoint = self.ready(who, lambda one: one.in_hand)
        if endpoint is not None:
            self.acknowledge_some(endpoint, which % len(endpoint.in_hand) + 1)

    def acknowledge_some(self, endpoint: Endpoint, count: int) -> None:
        """The first so many."""
        client = endpoint.client
        assert client is not None
        done = endpoint.in_hand[:count]
        del endpoint.in_hand[:count]
        # Only what is committed was got: all else has to come again.
        endpoint.got |= {delivery.deposit_id for delivery in done}
        client.acknowledge(done[-1].tag)
        if client.wire.code is None and not client.unsent and not client.wire.connection.unread:
            endpoint.acknowledged |= {delivery.deposit_id for delivery in done}

    # --- what the machine does --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def turn(self, count: int) -> None:
        """Some turns of the reactor."""
        for _ in range(count):
            self.rig.turn()

    @rule(seconds=st.sampled_from([0.002, 0.01, 1.0]))
    def wait(self, seconds: float) -> None:
        """Time passes for what is held back."""
        self.rig.timers.advance(seconds)

    @rule(who=WHO, stalls=st.booleans())
    def stall(self, who: int, stalls: bool) -> None:
        """A client does not read from its socket for a while."""
        endpoint = self.endpoints[who]
        if endpoint.client is not None and endpoint.logged_in and endpoint.client.wire.code is None:
            endpoint.client.wire.peer.writable(not stalls)

    @rule(full=st.booleans())
    def fill_disk(self, full: bool) -> None:
        """The disk is nearly full, or has room again; the server sees it when it looks the next time."""
        self.rig.space = 0 if full else ROOMY
        self.was_full |= full
        self.rig.time += DISK_SAMPLE

    @precondition(lambda self: self.rig.store.held)
    @rule()
    def commit(self) -> None:
        """The store does one thing of what it was asked."""
        self.rig.store.flush(1)

    @precondition(lambda self: self.rig.store.held)
    @rule()
    def commit_all(self) -> None:
        """The store catches up."""
        self.rig.store.flush()
        self.rig.run()

    @rule(present=st.sets(WHO))
    def crash(self, present: set[int]) -> None:
        """The process dies; some are there again at once."""
        self.absorb()
        self.rig.crash()
        self.check_rooms()
        for endpoint in self.endpoints:
            endpoint.client = None
            endpoint.logged_in = False
            endpoint.acknowledged.clear()
        for who in sorted(present):
            self.connect(who)

    # --- what must be true ------------------------------------------------------------------------------------------

    @invariant()
    def absorb(self) -> None:
        """Look at everything that came."""
        for endpoint in getattr(self, "endpoints", []):
            client = endpoint.client
            if client is None:
                continue
            inbox, client.inbox = client.inbox, []
            for message in inbox:
                self.look_at(endpoint, client, message)
        if hasattr(self, "rig"):
            assert self.rig.failures == []

    def look_at(self, endpoint: Endpoint, client: Client, message: object) -> None:
        """One message that came."""
        assert not isinstance(message, (Failed, Unknown)), message
        if isinstance(message, Welcome):
            # A server that names less than it has stored would look as if it had lost something.
            assert endpoint.stored <= message.highest <= endpoint.n
            endpoint.logged_in = True
            client.send(*endpoint.outbox)
        elif isinstance(message, Accepted):
            for acceptance in message.deposits:
                assert acceptance.missed == []
                self.answered(endpoint, acceptance)
        elif isinstance(message, DepositRefused):
            if message.code == "stale-room":
                self.refused(endpoint, self.deposits[message.deposit_id], message.room)
                return
            # Nothing else is refused. What has no room stays in the outbox, and others overtake it.
            assert message.code == "retry-later" or message.deposit_id in endpoint.spoiled, message
            assert message.code in ("conflict", "retry-later")
            endpoint.repeated.add(message.deposit_id)
        elif isinstance(message, Deliver):
            self.delivered(endpoint, message)

    def answered(self, endpoint: Endpoint, acceptance: Acceptance) -> None:
        """An acceptance is of something that this device sent, and that is in the store or acknowledged by everybody."""
        deposit = self.deposits[acceptance.deposit_id]
        if deposit.room is not None:
            assert acceptance.stored
            assert deposit.deposit_id not in self.dead
            self.told(endpoint, deposit.room.room, deposit.room.n, deposit.room.digest)
        if acceptance.stored:
            endpoint.stored = max(endpoint.stored, deposit.n)
        else:
            named = {part.device for to in deposit.to for part in to.parts}
            readers = [one for one in self.endpoints if one.user.device_id in named]
            assert all(deposit.deposit_id in one.got for one in readers), "accepted before it was safe"
        for waiting in (endpoint.outbox, endpoint.stale):
            if deposit in waiting:
                waiting.remove(deposit)
                endpoint.accepted.append(deposit)
        assert deposit in endpoint.accepted

    def delivered(self, endpoint: Endpoint, delivery: Deliver) -> None:
        """A delivery is for this device, unchanged, in the order of its sender, and not of what was acknowledged."""
        deposit = self.deposits[delivery.deposit_id]
        assert delivery.own == b"to " + endpoint.user.device_id
        sender = next(one for one in self.endpoints if one.user.device_id == delivery.device)
        is_spoiled = delivery.deposit_id in sender.spoiled and delivery.common == deposit.common + b"!"
        assert delivery.common == deposit.common or is_spoiled
        assert sender.user.name == delivery.account
        assert deposit in [*sender.outbox, *sender.accepted, *sender.stale]
        assert deposit.deposit_id not in self.dead
        assert delivery.room == deposit.room
        if delivery.room is not None:
            self.in_order(endpoint, delivery.room)
        if delivery.deposit_id not in sender.repeated:
            assert endpoint.last.get(delivery.device, 0) < deposit.n
            endpoint.last[delivery.device] = deposit.n
        assert delivery.deposit_id not in endpoint.acknowledged
        endpoint.in_hand.append(delivery)
        assert len(endpoint.in_hand) <= SMALL.window_frames

    # --- what must be true of rooms -----------------------------------------------------------------------------------

    def chain(self, room: bytes) -> list[Members]:
        """The lists of a room up to its row, the first one first."""
        rows = self.rig.store.query(f"SELECT n, digest FROM rooms WHERE room = x'{room.hex()}'")  # noqa: S608
        found: list[Members] = []
        for n, digest in rows:
            newest = self.lists[digest]
            assert newest.n == n
            while newest.n:
                found.insert(0, newest)
                newest = self.lists[newest.base]
        return found

    def told(self, endpoint: Endpoint, room: bytes, n: int, digest: bytes) -> None:
        """Whatever somebody is told of a room is committed, however soon the process dies."""
        chain = self.chain(room)
        assert len(chain) >= n
        assert chain[n - 1].digest == digest, "told of a list that is not there"
        for known in (endpoint.lists, endpoint.made):
            if known.get(room, NOBODY).n <= n:
                known[room] = chain[n - 1]

    def in_order(self, endpoint: Endpoint, item: RoomItem) -> None:
        """A list comes before what goes by it, and behind the one before and what went by that."""
        self.told(endpoint, item.room, item.n, item.digest)
        there = endpoint.got | {delivery.deposit_id for delivery in endpoint.in_hand}
        passed = endpoint.passed.get(item.room, 0)
        assert item.n > passed if item.step is not None else item.n >= passed
        endpoint.passed[item.room] = item.n
        for one in self.chain(item.room)[: item.n - (item.step is not None)]:
            maker = next(maker for maker in self.endpoints if self.deposits[one.deposit_id] in self.of(maker))
            assert maker is endpoint or one.deposit_id in there, "delivered before its list"

    def of(self, endpoint: Endpoint) -> list[Deposit]:
        """All that it deposited, but for what was refused for good."""
        return endpoint.outbox + endpoint.accepted + endpoint.stale

    def refused(self, endpoint: Endpoint, deposit: Deposit, mark: ListMark | None) -> None:
        """A deposit is refused for a list that is there, and that it does not fit."""
        item = deposit.room
        assert item is not None
        assert mark is not None
        if mark.version:
            self.told(endpoint, item.room, mark.version, mark.digest)
        if item.step is None:
            assert mark != ListMark(item.n, item.digest)
        else:
            assert mark.version
            assert mark.digest != self.lists[item.digest].base
        if mark.version >= item.n:
            self.dead.add(deposit.deposit_id)
        if deposit in endpoint.outbox:
            endpoint.outbox.remove(deposit)
            endpoint.stale.append(deposit)
        endpoint.repeated.add(deposit.deposit_id)

    def check_rooms(self) -> None:
        """The row is that of the last step that was stored, and no two of one number were."""
        stored = {deposit_id for (deposit_id,) in self.rig.store.query("SELECT deposit_id FROM deposits")}
        for room in ROOMS:
            steps = [one for one in self.lists.values() if one.deposit_id in stored and self.room_of(one) == room]
            assert sorted(steps, key=lambda one: one.n) == self.chain(room)

    def room_of(self, members: Members) -> bytes:
        """Of which room this list is."""
        item = self.deposits[members.deposit_id].room
        assert item is not None
        return item.room

    def teardown(self) -> None:
        """In the end everybody comes, and has everything that was accepted; and nothing is left on its way."""
        if not hasattr(self, "rig"):
            return
        self.absorb()
        self.rig.space = ROOMY
        self.rig.time += DISK_SAMPLE
        self.rig.commit()
        self.everybody()
        busy = True
        while busy:
            self.rig.commit()
            self.absorb()
            self.rig.commit()
            self.absorb()
            busy = False
            for endpoint in self.endpoints:
                if endpoint.in_hand:
                    busy = True
                    self.acknowledge_some(endpoint, len(endpoint.in_hand))
        for endpoint in self.endpoints:
            assert endpoint.outbox == []
            for deposit in endpoint.accepted:
                for part in [part for to in deposit.to for part in to.parts]:
                    reader = next(one for one in self.endpoints if one.user.device_id == part.device)
                    assert deposit.deposit_id in reader.got, "accepted and lost"
        self.check_rooms()
        self.check_rest()

    def check_rest(self) -> None:
        """At rest the server holds nothing, and its counts are those of the store."""
        commits = self.rig.server.commits
        self.rig.server.tick()
        self.rig.commit()
        assert (commits.size, commits.pending, len(commits.acks)) == (0, {}, 0)
        for endpoint in self.endpoints:
            assert endpoint.client is not None
            wire = endpoint.client.wire
            peer = wire.peer
            assert (peer.unanswered, wire.paused, wire.connection.unread) == (0, False, 0)
            device = peer.device
            assert (device.pins, device.messages, device.size) == (0, 0, 0)
            assert device.highest >= endpoint.stored


MailboxMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMailboxes = MailboxMachine.TestCase
