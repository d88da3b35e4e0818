"""People with real agents and connections around a real server, joined by memory, with a clock that only moves when told to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.connection import AccountConnection, NoLock
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import guest_context
from securemsg.cli.settings import Settings
from securemsg.client.events import Warned
from securemsg.client.state.invites import trust_inviter
from securemsg.client.state.profile import create_profile, load_profile, save_profile
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import SigningKey
from securemsg.net.link import LinkInfo
from securemsg.net.memory import connect_memory, observe_memory
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.turn import Turn, spawn
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IPeer
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Message, Unknown
from securemsg.protocol.states import Side
from securemsg.server import limits
from securemsg.server.core import Server
from securemsg.server.guests import KeyFile
from securemsg.storage.files import FileLock
from securemsg.storage.keyfiles import make_key_file
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.sqlite.memory import MemoryServerStore

START = 1_800_000_000
# More turns of the clock than any exchange takes.
MAX_TURNS = 2000

# As if over TCP: whoever comes through memory is the contact in the daemon's own process, which has no rooms.
FAR = LinkInfo(Binding("tcp", "tls-exporter", bytes(range(32)), bytes(range(1, 33))))
Watch = Callable[[Message | Unknown], None]


@define(eq=False)
class MemoryDialer:
    """Keeps one agent connected through memory, in the place of a L{securemsg.net.dialer.Dialer}."""

    place: Place
    peer: IPeer
    failed: Callable[[str], None]
    is_local: bool
    stream: StreamProtocol | None = None

    def start(self) -> None:
        """Connect, if the server is up."""
        if not self.place.is_up:
            self.place.clock.callLater(0, self.failed, "not-connected")
            return
        place = self.place
        observe = observe_memory if self.is_local else lambda transport: FAR
        server = ConnectionOptions(Side.SERVER, place.server.connect, observe, place.clock, place.turn, handshake=False)
        client = ConnectionOptions(Side.CLIENT, lambda: self.peer, observe, place.clock, place.turn, handshake=False)
        _, self.stream = connect_memory(server, client, place.clock)

    def stop(self, code: str = "") -> Deferred[None]:
        """Hang up."""
        if self.stream is not None:
            self.stream.close(code)
        done: Deferred[None] = Deferred()
        self.place.clock.callLater(0, done.callback, None)
        return done


@define(eq=False)
class Person:
    """Somebody with a profile, and the server connection of one command, made with the dialer."""

    name: str
    context: CommandContext
    connection: AccountConnection
    dialer: MemoryDialer | None = None
    warnings: list[Warned] = field(factory=list)


@define(eq=False)
class Place:
    """
    A server and those around it.

    @ivar key: the key file that the server holds.

    @ivar dialers: all that were made, in order.
    """

    clock: Clock = field(factory=Clock)
    is_up: bool = True
    key: SharedKey | None = None
    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp()))
    dialers: list[MemoryDialer] = field(factory=list)
    turn: Turn = field(init=False)
    server: Server = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the server."""
        self.turn = Turn(self.clock)
        self.server = Server(
            MemoryServerStore(),
            limits.Settings(registration="open"),
            SigningKey.generate(),
            self.now,
            self.clock.seconds,
            self.turn.later,
            self.clock.callLater,
            spawn,
            lambda: 2**40,
            key_file=None if self.key is None else KeyFile(self.key.name, self.key.login),
        )

    def now(self) -> float:
        """The time of everybody."""
        return START + self.clock.seconds()

    def person(self, name: str, *, again: bool = False, watch: Watch | None = None) -> Person:
        """Add a new person and register."""
        link = InviteLink("example", 8443, self.server.identity.public)
        store = MemoryProfile()
        profile = create_profile(link, name, START)
        with store.writing() as records:
            save_profile(records, profile)
            trust_inviter(records, profile, link, START)
        folder = self.folder / name
        folder.mkdir()
        context = CommandContext(Settings(), folder, store, profile, "by nothing", self.now)
        person = Person(name, context, self._connection(context, again, watch))
        person.connection.start()
        person.dialer = self.dialers[-1]
        self.settle()
        with store.reading() as records:
            registered = load_profile(records)
        assert registered is not None
        assert registered.registered
        person.context = evolve(context, profile=registered)
        return person

    def guest(self, key: SharedKey) -> Person:
        """Add a guest with a key file."""
        path = self.folder / key.name
        if not path.exists():
            make_key_file(path, key.secret)
        context = evolve(guest_context(Settings(), path), now=self.now)
        person = Person(key.name, context, self._connection(context, True))
        person.connection.start()
        person.dialer = self.dialers[-1]
        self.settle()
        return person

    def beside(self, person: Person) -> AccountConnection:
        """The server connection of another process on the same profile."""
        return self._connection(person.context, False)

    def settle(self, seconds: float = 0) -> None:
        """Run everything that is due, then let some time pass."""
        for _ in range(MAX_TURNS):
            if not any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                break
            self.clock.advance(0)
        else:
            raise AssertionError("the exchange never ends")
        if seconds:
            self.clock.pump([0.05] * int(seconds / 0.05))
            self.settle()

    def _connection(self, context: CommandContext, again: bool, watch: Watch | None = None) -> AccountConnection:
        """The server connection of one process."""

        def dial(peer: IPeer, failed: Callable[[str], None], persistent: bool) -> MemoryDialer:
            self.dialers.append(MemoryDialer(self, peer, failed, context.profile.name == SERVER_NAME))
            return self.dialers[-1]

        return AccountConnection(
            clock=self.clock,
            store=context.store,
            profile=context.profile,
            now=self.now,
            soon=self.turn.later,
            lock=NoLock() if context.folder is None else FileLock(context.folder / "lock"),
            dial=dial,
            listen=None,
            wake_owner=lambda: None,
            warn=lambda event: None,
            again=again,
            where="example:8443",
            watch=watch,
        )


class PlaceCase(SynchronousTestCase):
    """A test with its own place."""

    def setUp(self) -> None:
        """Make the place."""
        self.place = Place()
        self.addCleanup(shutil.rmtree, self.place.folder)
