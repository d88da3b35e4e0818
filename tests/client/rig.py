"""
A small world in memory: users with real agents, and the real server between them, joined by real frames.

Nothing moves by itself: L{World.step} carries one frame or makes one call that was put off, L{World.settle} does so until
all is quiet. A L{Wire} lets a test see, drop, hold, alter and add messages in both directions. Processes die when a test
says so: at any commit, before or after it (L{Fate}).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.client import messages
from securemsg.client.agent import Agent
from securemsg.client.events import Event
from securemsg.client.messages import Line, Received, Sent
from securemsg.client.state import settings
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.invites import trust_inviter
from securemsg.client.state.profile import Profile, create_profile, load_profile, save_profile
from securemsg.client.state.records import OUTBOX, ROWS, find_sent
from securemsg.client.state.settings import Policy, UserSettings
from securemsg.crypto.keys import SigningKey
from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.interfaces import IProfileStore, IRecords, WriteBatch, WriteOutcome
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import MAX_FRAME, FrameDecoder, encode_frame
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Failed, Message, Unknown, decode_message, encode_message
from securemsg.protocol.states import TRANSITIONS, Side
from securemsg.server.core import Server
from securemsg.server.guests import KeyFile
from securemsg.server.limits import Settings
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.sqlite.memory import MemoryServerStore

START = 1_800_000_000
TLS = Binding("tcp", "tls-exporter", bytes(range(32)), bytes(range(1, 33)))
# More steps than any exchange takes: a world that does not come to rest is a bug.
PATIENCE = 20_000
SECOND = 1.0

# Sees every message of one direction, and says what arrives in its place.
Tap = Callable[[Message], list[Message]]


def outbox_rows(store: IProfileStore) -> int:
    """How many rows are in the outbox: messages, and what clients say to each other by themselves."""
    with store.reading() as records:
        return records.count(OUTBOX, ROWS)


class Killed(BaseException):
    """The process ends here, whatever it was at."""


@define(eq=False)
class Fate:
    """
    Counts the moments at which a process may die, and lets it die at one of them.

    @ivar moments: how many there were.
    @ivar deadline: the moment of death, from 1; 0: it lives.
    """

    moments: int = 0
    deadline: int = 0

    @property
    def is_dead(self) -> bool:
        """Has it come to that?"""
        return 0 < self.deadline <= self.moments

    def moment(self) -> None:
        """
        A moment passes.

        @raise Killed: it was the last.
        """
        self.moments += 1
        if self.moments == self.deadline:
            raise Killed


@implementer(IProfileStore)
@define(eq=False)
class MortalProfile:
    """The store of a client that may die before or after each commit."""

    inner: IProfileStore
    fate: Fate = field(factory=Fate)

    def writing(self) -> AbstractContextManager[IRecords]:
        """See L{IProfileStore.writing}."""
        return self._write()

    def reading(self) -> AbstractContextManager[IRecords]:
        """See L{IProfileStore.reading}."""
        return self.inner.reading()

    def close(self) -> None:
        """See L{IProfileStore.close}."""

    @contextmanager
    def _write(self) -> Iterator[IRecords]:
        """A transaction with a moment before its commit and one behind it."""
        with self.inner.writing() as records:
            yield records
            self.fate.moment()
        self.fate.moment()


class MortalServerStore(MemoryServerStore):
    """The store of a server that may die before or after each batch."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fate = Fate()

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """See L{IMailboxStore.write}."""
        self.fate.moment()
        super().write(batch, lambda outcome: self._committed(done, outcome))

    def _committed(self, done: Callable[[WriteOutcome], None], outcome: WriteOutcome) -> None:
        """It is committed; whether anybody hears of it is another matter."""
        self.fate.moment()
        done(outcome)


@implementer(IChannel)
@define(eq=False)
class WireEnd:
    """
    One end of a wire: a channel for its peer.

    @ivar moves: how often something arrived here.
    """

    wire: Wire
    connection: Connection
    peer: IPeer
    binding: Binding
    source: bytes = b""
    is_paused: bool = False
    code: str | None = None
    moves: int = 0
    _out: FrameDecoder = field(factory=lambda: FrameDecoder(MAX_FRAME))

    def send(self, message: Message) -> None:
        """See L{IChannel.send}."""
        if self.code is None:
            self.connection.send(message)
            self.flush()

    def flush(self) -> None:
        """Put what was said onto the wire."""
        self._out.feed(self.connection.data_to_send())
        for payload in iter(self._out.next, None):
            message = decode_message(payload)
            assert not isinstance(message, Unknown), "nobody here is newer than we are"
            self.wire.carry(self, message)

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """See L{IChannel.close}."""
        if self.code is not None:
            return
        phase = self.connection.phase
        if code and (self.connection.side, Failed) in TRANSITIONS[phase]:
            self.connection.send(Failed(code))
            self.flush()
        self.finish(code)
        self.wire.hang_up(self)

    def finish(self, code: str) -> None:
        """This end is over; its peer hears of that later, as over a network."""
        if self.code is None:
            self.code = code
            self.connection.close()
            self.wire.world.later(lambda: self.peer.closed(code))

    def moved_at(self) -> float:
        """See L{IChannel.moved_at}."""
        return float(self.moves)

    def pause(self, wanted: bool) -> None:
        """See L{IChannel.pause}."""
        self.is_paused = wanted

    def receive(self, message: Message | bytes) -> None:
        """Something arrives: a message, or bytes that only look like a frame's payload."""
        if self.code is not None:
            return
        self.moves += 1
        payload = message if isinstance(message, bytes) else encode_message(message)
        phase = self.connection.phase
        try:
            for received in self.connection.receive(encode_frame(payload)):
                phase = self.connection.phase
                if isinstance(received, Failed):
                    self.finish(received.code)
                    self.wire.hang_up(self)
                    return
                self.peer.received(received)
        except RemoteProtocolError as error:
            self.connection.phase = phase
            self.close(error.code)


@define(eq=False)
class Wire:
    """
    A connection between a client and the server.

    @ivar to_server: sees what the client says; C{to_client}: what the server says.
    @ivar held: directions (by the sender's side) in which nothing moves for now.
    @ivar log: everything that was said, with who said it, before any tap.
    """

    world: World
    client: WireEnd = field(init=False)
    server: WireEnd = field(init=False)
    to_server: Tap | None = None
    to_client: Tap | None = None
    held: set[Side] = field(factory=set)
    log: list[tuple[Side, Message]] = field(factory=list)
    _queues: dict[Side, deque[Message | bytes | None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing is on its way."""
        self._queues = {Side.CLIENT: deque(), Side.SERVER: deque()}

    def carry(self, end: WireEnd, message: Message) -> None:
        """Somebody said something."""
        side = end.connection.side
        self.log.append((side, message))
        tap = self.to_server if side is Side.CLIENT else self.to_client
        self._queues[side].extend([message] if tap is None else tap(message))

    def inject(self, side: Side, message: Message | bytes) -> None:
        """Put something onto the wire as if this side had said it."""
        self._queues[side].append(message)

    def hang_up(self, end: WireEnd) -> None:
        """One end is over: the other learns of it behind what is on its way."""
        self._queues[end.connection.side].append(None)

    def cut(self) -> None:
        """The network is gone, with everything that was on its way."""
        for queue in self._queues.values():
            queue.clear()
        self.client.finish("lost")
        self.server.finish("lost")

    def orphan(self, side: Side) -> None:
        """The process at one end is gone. What it had said may still arrive; what was said to it does not."""
        dead, other = (self.client, Side.SERVER) if side is Side.CLIENT else (self.server, Side.CLIENT)
        dead.code = "lost"
        self._queues[other].clear()
        if self.world.loses_last_words:
            self._queues[side].clear()
        self._queues[side].append(None)

    def move(self) -> bool:
        """
        Let one message arrive, from either side in turn.

        @return: whether there was one.
        """
        for side, end in ((Side.CLIENT, self.server), (Side.SERVER, self.client)):
            queue = self._queues[side]
            if not queue or side in self.held or (end.is_paused and end.code is None):
                continue
            message = queue.popleft()
            if message is None:
                end.finish("lost")
            else:
                end.receive(message)
            return True
        return False

    def trickle(self) -> None:
        """Part of what is on its way arrives, at both ends."""
        self.client.moves += 1
        self.server.moves += 1

    def on_its_way(self, side: Side) -> int:
        """How much this side said and did not arrive yet."""
        return len(self._queues[side])


@define(eq=False)
class User:
    """
    Somebody with a profile, and at times with an agent that is connected.

    @ivar store: survives every death.
    @ivar has_read: everything that was read through L{read}, in order.
    @ivar is_online: whether somebody who died is to connect again.
    """

    world: World
    name: str
    store: MortalProfile
    agent: Agent | None = None
    wire: Wire | None = None
    events: list[Event] = field(factory=list)
    has_read: list[Received] = field(factory=list)
    is_online: bool = False
    binding: Binding = TLS

    def connect(self, settle: bool = True) -> Wire:
        """Start an agent, and connect it to the server."""
        self.disconnect()
        self.is_online = True
        if self.agent is None:
            self.agent = Agent(
                self.store,
                self.profile(),
                now=self.world.now,
                seconds=self.world.seconds,
                soon=self.world.later,
                notify=self.events.append,
                jitter=lambda: 0.5,
            )
        self.wire = self.world.join(self.agent, self.binding)
        if settle:
            self.world.settle()
        return self.wire

    @property
    def is_connected(self) -> bool:
        """Are there processes at both ends of the wire?"""
        return self.wire is not None and self.wire.client.code is None and self.wire.server.code is None

    def profile(self) -> Profile:
        """The profile as it is committed."""
        with self.store.inner.reading() as records:
            profile = load_profile(records)
        assert profile is not None, "made with the user"
        return profile

    def backup(self) -> MemoryProfile:
        """A copy of the store as it is now."""
        assert isinstance(self.store.inner, MemoryProfile), "in memory"
        return self.store.inner.snapshot()

    def confirm_to(self, policy: Policy) -> None:
        """Choose who gets receipts."""
        with self.store.inner.writing() as records:
            settings.put(records, UserSettings(receipts=policy))

    def disconnect(self) -> None:
        """Lose the connection, if there is one."""
        self.is_online = False
        if self.wire is not None:
            self.wire.cut()
            self.wire = None

    def die(self) -> None:
        """The process is gone; only the store is left."""
        if self.agent is not None:
            self.world.forget(self.agent)
        self.agent = None
        if self.wire is not None:
            self.wire.orphan(Side.CLIENT)
            self.wire = None

    def send(self, to: str | Conversation, text: str, **options: Any) -> bytes:
        """Write a message, and let the agent look, if there is one."""
        if isinstance(to, Conversation):
            with self.store.writing() as records:
                message_id = messages.compose_in(records, to, text, now=int(self.world.now()), **options)
        else:
            message_id = messages.compose(self.store, to, text, now=self.world.now(), **options)
        self.pump()
        self.world.after_send(self)
        return message_id

    def pump(self) -> None:
        """What a ring of the bell does."""
        if self.agent is not None:
            self.agent.pump()
            self.world.settle()

    def sent(self, message_id: bytes) -> Sent:
        """What became of a message."""
        found = messages.sent(self.store, message_id)
        assert found is not None, "there is such a message"
        return found

    @staticmethod
    def outbox_seq(message_id: bytes, records: IRecords) -> int:
        """The place of a message in the outbox."""
        found = find_sent(records, message_id)
        assert found is not None, "there is such a message"
        return found[0].outbox

    def read(self) -> list[str]:
        """
        Take everything that is not given yet.

        @return: the texts.
        """
        fresh = messages.unread(self.store)
        messages.mark_read(self.store, [message.seq for message in fresh], now=self.world.clock)
        self.has_read += fresh
        return [message.text for message in fresh]

    def lines(self, name: str) -> list[Line]:
        """The history with somebody."""
        return messages.history(self.store, name, 1000)

    def texts(self, name: str) -> list[str]:
        """The texts of what somebody sent, in the order of history."""
        return [line.text for line in self.lines(name) if isinstance(line, Received)]

    def codes(self) -> list[str]:
        """The codes of all events that have one."""
        return [event.code for event in self.events if hasattr(event, "code")]


@define(eq=False)
class World:
    """
    One server, its users, and time.

    @ivar clock: what the clocks show.
    @ivar leaps: by how much they were set, in all.
    @ivar key_file: what the server is given of a key file, from its next start on.
    @ivar wires: of the moment.
    @ivar loses_last_words: what a process said before it died does not arrive; else it does.
    @ivar after_send: what happens to somebody who has sent something.
    """

    settings: Settings = field(factory=lambda: Settings(registration="open"))
    clock: float = START
    leaps: float = 0.0
    identity: SigningKey = field(factory=SigningKey.generate)
    store: MortalServerStore = field(factory=MortalServerStore)
    server: Server = field(init=False)
    users: dict[str, User] = field(factory=dict)
    wires: list[Wire] = field(factory=list)
    loses_last_words: bool = False
    key_file: KeyFile | None = None
    failure: Failure | None = None
    after_send: Callable[[User], None] = lambda user: None
    _calls: deque[tuple[object, Callable[[], None]]] = field(factory=deque, init=False)
    _delayed: deque[Callable[[], None]] = field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        """Start the server."""
        self._start()

    def now(self) -> float:
        """The time."""
        return self.clock

    def seconds(self) -> float:
        """Monotonic time."""
        return self.clock - self.leaps

    def set_clocks(self, seconds: float) -> None:
        """Somebody sets the clocks, forward or back."""
        self.clock += seconds
        self.leaps += seconds

    def later(self, call: Callable[[], None]) -> None:
        """Make a call at the end of this turn."""
        self._calls.append((getattr(call, "__self__", None), call))

    def delay(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call of the server's a moment later: when nothing else happens."""
        assert seconds <= 1, "no more than a moment"
        self._delayed.append(call)

    @property
    def is_quiet(self) -> bool:
        """Is nothing put off?"""
        return not self._calls

    @property
    def link(self) -> InviteLink:
        """An invite to this server."""
        return InviteLink("example.net", 8443, self.identity.public)

    def user(self, name: str, *, connect: bool = True) -> User:
        """Somebody new, who joins at once."""
        store = MortalProfile(MemoryProfile())
        profile = create_profile(self.link, name, int(self.clock))
        with store.inner.writing() as records:
            save_profile(records, profile)
            trust_inviter(records, profile, self.link, int(self.clock))
        user = self.users[name] = User(self, name, store)
        if connect:
            user.connect()
        return user

    def join(self, agent: IPeer, binding: Binding = TLS) -> Wire:
        """Connect an agent to the server."""
        wire = Wire(self)
        wire.client = WireEnd(wire, Connection(Side.CLIENT), agent, binding)
        wire.server = WireEnd(wire, Connection(Side.SERVER), self.server.connect(), binding)
        self.wires.append(wire)
        wire.server.peer.opened(wire.server)
        self.later(lambda: agent.opened(wire.client))
        return wire

    def forget(self, agent: Agent) -> None:
        """A process is gone, with whatever it had put off."""
        self._calls = deque((owner, call) for owner, call in self._calls if owner is not agent)

    def step(self) -> bool:
        """
        Let one thing happen.

        @return: whether anything did.
        @raise Killed: somebody died: see L{revive}.
        """
        if self.failure is not None:
            self.failure.raiseException()
        if self._calls:
            self._calls.popleft()[1]()
            return True
        for wire in list(self.wires):
            if wire.move():
                return True
            if wire.client.code is not None and wire.server.code is not None:
                self.wires.remove(wire)
        if self._delayed:
            self._delayed.popleft()()
            return True
        return False

    def settle(self) -> None:
        """Let things happen until all is quiet."""
        for _ in range(PATIENCE):
            if not self.step():
                return
        raise AssertionError("the world does not come to rest")

    def advance(self, seconds: float, ticks: int = 1) -> None:
        """Let time pass, with so many ticks of every agent on the way."""
        for _ in range(ticks):
            self.clock += seconds / ticks
            for user in self.users.values():
                if user.agent is not None:
                    user.agent.tick()
            self.settle()

    def revive(self) -> None:
        """Whoever has died starts again with what was committed, and lives."""
        for user in self.users.values():
            if user.store.fate.is_dead:
                user.store.fate = Fate()
                user.die()
        if self.store.fate.is_dead:
            self.restart_server()
        for user in self.users.values():
            if user.is_online and not user.is_connected:
                user.connect(settle=False)

    def survive(self, call: Callable[[], object] = lambda: None) -> None:
        """
        Do something, and let things happen until all is quiet, however often somebody dies over it. What was interrupted is
        done again, as people do.
        """
        while True:
            try:
                call()
                self.settle()
            except Killed:
                self.revive()
                continue
            return

    def restart_server(self) -> None:
        """The server process ends, and a new one finds what was committed."""
        for wire in self.wires:
            wire.orphan(Side.SERVER)
        self.store = self.store.crash()
        self.failure = None
        self._start()

    def _start(self) -> None:
        """A new server process."""
        self._delayed.clear()
        self.server = Server(
            self.store,
            self.settings,
            self.identity,
            now=self.now,
            seconds=self.seconds,
            soon=self.later,
            later=self.delay,
            spawn=self._spawn,
            free_space=lambda: 10**12,
            key_file=self.key_file,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine of the server's."""
        Deferred.fromCoroutine(coroutine).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """A coroutine of the server's ended badly: that is a bug, or the server's death."""
        self.failure = failure


def decoded(wire: Wire, side: Side, kind: type) -> list[Any]:
    """Everything of one kind that one side said."""
    return [message for sayer, message in wire.log if sayer is side and isinstance(message, kind)]


__all__ = [
    "TLS",
    "WireEnd",
    "Fate",
    "Killed",
    "LocalProtocolError",
    "MortalProfile",
    "MortalServerStore",
    "User",
    "Wire",
    "World",
    "decoded",
]
