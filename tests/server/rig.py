"""A whole server in memory with real frames: both ends are a C{Connection}, and nothing happens before L{Rig.run}."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.crypto import keys, pqxdh
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import AgreementKey, SigningKey
from securemsg.errors import LocalProtocolError, Refusal, RemoteProtocolError
from securemsg.protocol import auth
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IChannel
from securemsg.protocol.connection import Connection
from securemsg.protocol.devices import DEVICE_LIST_LABEL, Device, DeviceList, encode_device_list
from securemsg.protocol.messages import (
    Accepted,
    Acknowledge,
    Challenge,
    Deliver,
    Deposit,
    Destination,
    Failed,
    Hello,
    Message,
    Part,
    Prekey,
    Proof,
    Register,
    SignedDeviceList,
    Unknown,
    Upload,
    Welcome,
    decode_message,
)
from securemsg.protocol.states import Side
from securemsg.server.connection import ClientConnection
from securemsg.server.core import Server
from securemsg.server.guests import KeyFile
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore

TLS = Binding("tcp", "tls-exporter", bytes(range(32)), bytes(32))
START = 1_800_000_000
DAY = 86400
ROOMY = 10**12
# What arrives in one turn, at most, bytes: as a socket is read.
READ_SIZE = 64 * 1024
# What is held back from a commit is written after this time, seconds.
HELD = 1.0
# More turns than any exchange takes: a rig that does not come to rest is a bug.
ROUNDS = 10_000

M = TypeVar("M")


@implementer(IChannel)
@define(eq=False)
class Wire:
    """
    The server's end of a connection.

    @ivar paused: the server wants no messages for now.
    @ivar resumed: it wants messages again, from the next turn on.
    @ivar peak: the most bytes that ever waited for the end of a turn.
    """

    peer: ClientConnection
    binding: Binding = TLS
    source: bytes = b""
    connection: Connection = field(factory=lambda: Connection(Side.SERVER))
    paused: bool = False
    resumed: bool = False
    peak: int = 0
    out: bytes = b""
    code: str | None = None

    def send(self, message: Message) -> None:
        """Queue a message."""
        if self.code is None:
            self.connection.send(message)
            self.peak = max(self.peak, self.connection.queued)

    def flush(self) -> None:
        """The turn ends: write what was queued."""
        self.out += self.connection.data_to_send()

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """Say the code, where the phase lets us, and hang up."""
        if self.code is None:
            self.code = code
            if code:
                try:
                    self.connection.send(Failed(code, retry_after if self.connection.has_retry_after else None))
                except LocalProtocolError:
                    pass
            self.out += self.connection.data_to_send()
            self.connection.close()

    def moved_at(self) -> float:
        """No server asks."""
        return 0.0

    def pause(self, wanted: bool) -> None:
        """Stop handing messages over, or go on in the next turn."""
        assert wanted is not self.paused, "asked twice"
        self.paused = wanted
        self.resumed = not wanted

    @property
    def reads(self) -> bool:
        """Whether bytes are read from the network."""
        return self.code is None and not (self.paused and self.connection.is_full)

    def feed(self, data: bytes) -> None:
        """Bytes from the client, in one piece."""
        self.connection.receive(data)
        self.pull()

    def pull(self) -> None:
        """Hand over what is complete, until the server wants no more."""
        self.resumed = False
        phase = self.connection.phase
        if self.paused:
            return
        try:
            for message in self.connection.messages():
                phase = self.connection.phase
                if isinstance(message, Failed):
                    self.code = message.code
                    return
                self.peer.received(message)
                if self.paused:
                    return
        except RemoteProtocolError as error:
            # The connection closed itself before we could say why.
            self.connection.phase = phase
            self.close(error.code)


@define(eq=False)
class User:
    """An account with one device, and everything that only its owner has."""

    name: str
    server: bytes
    identity: SigningKey = field(factory=SigningKey.generate)
    device: SigningKey = field(factory=SigningKey.generate)
    agreement: AgreementKey = field(factory=AgreementKey.generate)
    device_id: bytes = field(factory=keys.random_id)
    version: int = 1
    body: bytes = b""
    others: list[Device] = field(factory=list)

    @property
    def own(self) -> Device:
        """The device, as it stands in lists."""
        return Device(self.device_id, self.device.public, self.agreement.public, None)

    def device_list(self, **changes: Any) -> SignedDeviceList:
        """The list, signed; with some of its items changed."""
        items: dict[str, Any] = {
            "server": self.server,
            "account": self.name,
            "version": self.version,
            "previous": keys.sha256(self.body) if self.body else b"",
            "issued_at": START,
            "devices": [self.own, *self.others],
        }
        body = encode_device_list(DeviceList(**{**items, **changes}))
        return SignedDeviceList(body, self.identity.sign(DEVICE_LIST_LABEL, body))

    def sibling(self) -> User:
        """A second device of the same account, on the list from the next version on."""
        other = User(self.name, self.server, self.identity)
        self.others.append(other.own)
        return other


@define(eq=False)
class Client:
    """The other end: what came is kept in C{inbox}."""

    rig: Rig
    wire: Wire
    connection: Connection = field(factory=lambda: Connection(Side.CLIENT))
    inbox: list[Message | Unknown] = field(factory=list)
    unsent: bytes = b""
    n: int = 0

    def send(self, *messages: Message) -> None:
        """Send messages; they go out when the rig runs."""
        for message in messages:
            self.connection.send(message)
        self.unsent += self.connection.data_to_send()

    def ask(self, *messages: Message) -> None:
        """Send messages, and run the rig."""
        self.send(*messages)
        self.rig.run()

    def raw(self, data: bytes) -> None:
        """Send bytes that our own end would not send."""
        self.unsent += data
        self.rig.run()

    def pop(self, kind: type[M]) -> list[M]:
        """Take all messages of one kind out of the inbox."""
        found: list[M] = [message for message in self.inbox if isinstance(message, kind)]
        self.inbox[:] = [message for message in self.inbox if not isinstance(message, kind)]
        return found

    def one(self, kind: type[M]) -> M:
        """Take the only message of this kind."""
        found = self.pop(kind)
        assert len(found) == 1, f"{len(found)} {kind.__name__}, and {self.inbox}"
        return found[0]

    def failed(self) -> str:
        """With which code the server hung up."""
        return self.one(Failed).code

    def deposit(self, *to: User, text: bytes = b"common", expiry: int = DAY, own: bytes = b"own") -> Deposit:
        """Make a deposit for the first devices of some users."""
        self.n += 1
        destinations = [
            Destination(user.name, [Part(user.device_id, own), *(Part(other.id, own) for other in user.others)]) for user in to
        ]
        return Deposit(keys.random_id(), self.n, expiry, text, destinations)

    def accepted(self) -> list[bytes]:
        """Take the ids of all deposits that were accepted."""
        return [acceptance.deposit_id for message in self.pop(Accepted) for acceptance in message.deposits]

    def delivered(self) -> list[bytes]:
        """Take the common parts that were delivered."""
        return [message.common for message in self.pop(Deliver)]

    def acknowledge(self, tag: int = 0) -> None:
        """Acknowledge up to this tag, or else everything that came, which is taken out of the inbox."""
        self.ask(Acknowledge(tag or max(message.tag for message in self.pop(Deliver))))


@define(eq=False)
class Rig:
    """The server, its store, its time, and everybody who is connected."""

    settings: Settings = field(factory=lambda: Settings(registration="open"))
    store: MemoryServerStore = field(factory=MemoryServerStore)
    identity: SigningKey = field(factory=SigningKey.generate)
    time: float = START
    leaps: float = 0.0
    space: int = ROOMY
    verify: Callable[..., None] = keys.verify
    source: bytes = b""
    key: SharedKey | None = None
    features: tuple[str, ...] = ()
    server: Server = field(init=False)
    failures: list[Failure] = field(factory=list)
    notes: list[tuple[str, str]] = field(factory=list)
    refusals: list[tuple[str, str, str]] = field(factory=list)
    actions: list[tuple[int, str, str, str]] = field(factory=list)
    logs_peers: bool = False
    peers: list[tuple[object, ...]] = field(factory=list)
    rotations: int = 0
    rotation_refusal: str = ""
    timers: Clock = field(factory=Clock)
    _clients: list[Client] = field(factory=list)
    _later: list[Callable[[], None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Start."""
        self.start()

    def start(self) -> None:
        """A new process over the same store."""
        self._clients = []
        self._later = []
        self.timers = Clock()
        self.server = Server(
            stores=self.store,
            settings=self.settings,
            identity=self.identity,
            now=lambda: self.time,
            seconds=lambda: self.time - self.leaps,
            soon=self._later.append,
            later=self.timers.callLater,
            spawn=self._spawn,
            free_space=lambda: self.space,
            verify=self.verify,
            key_file=KeyFile(self.key.name, self.key.login) if self.key is not None else None,
            log_account=lambda event, name: self.notes.append((event, name)),
            log_refusal=lambda *line: self.refusals.append(line),
            log_peers=(lambda sender, to, size: self.peers.append((sender, *to, size))) if self.logs_peers else None,
            audit=lambda *line: self.actions.append(line),
            rotate_key=self._rotate_key,
            certificate_expires_at=lambda: START + DAY,
        )

    def crash(self) -> None:
        """The process dies, and another one starts over what was committed."""
        self.store = self.store.crash()
        self.start()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; the test checks what has failed."""
        Deferred.fromCoroutine(work).addErrback(self.failures.append)

    def _rotate_key(self) -> None:
        """Count it, or refuse."""
        if self.rotation_refusal:
            raise Refusal(self.rotation_refusal)
        self.rotations += 1

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock, forward or back."""
        self.time += seconds
        self.leaps += seconds

    def turn(self) -> bool:
        """
        One turn of the reactor: every client's bytes arrive, what was put off is done, every answer goes out.

        @return: whether anything happened.
        """
        happened = False
        for client in list(self._clients):
            if client.wire.resumed and client.wire.code is None:
                client.wire.pull()
                happened = True
            if client.unsent and client.wire.reads:
                data, client.unsent = client.unsent[:READ_SIZE], client.unsent[READ_SIZE:]
                client.wire.feed(data)
                happened = True
        for client in self._clients:
            client.wire.flush()
        later, self._later[:] = list(self._later), []
        for call in later:
            call()
        for client in list(self._clients):
            client.wire.flush()
            data, client.wire.out = client.wire.out, b""
            client.inbox.extend(client.connection.receive(data))
            if client.wire.code is not None:
                self._clients.remove(client)
                client.wire.peer.closed(client.wire.code)
                happened = True
            happened = happened or bool(data)
        return happened or bool(later)

    def run(self) -> None:
        """Turn until nothing happens any more."""
        for _ in range(ROUNDS):
            if not self.turn():
                return
        raise AssertionError("it does not come to rest")

    def commit(self) -> None:
        """Let all that is held back be written, and a manual store do it, until nothing happens any more."""
        self.run()
        while self.store.held or self.timers.getDelayedCalls():
            if self.store.held:
                self.store.flush()
            else:
                self.timers.advance(HELD)
            self.run()

    def begin_commit(self) -> None:
        """Have a commit on its way with all that is held back, so that whatever asks the store waits."""
        self.server.commits.commit_soon()
        self.run()

    def lose(self, client: Client) -> None:
        """The network drops a connection."""
        if client in self._clients:
            self._clients.remove(client)
            client.wire.code = "lost"
            client.wire.connection.close()
            client.wire.peer.closed("lost")

    # --- people -----------------------------------------------------------------------------------------------------

    def connect(self, binding: Binding = TLS, operator: bool = False) -> Client:
        """Open a connection."""
        peer = self.server.connect(operator=operator)
        client = Client(self, Wire(peer, binding, self.source))
        self._clients.append(client)
        peer.opened(client.wire)
        return client

    def user(self, name: str) -> User:
        """Somebody who has keys, and no account yet."""
        return User(name, self.identity.public)

    def greet(self, role: Any = "device", binding: Binding = TLS) -> Client:
        """Connect and say Hello; the challenge was checked."""
        client = self.connect(binding)
        client.ask(Hello([1], list(self.features), role, binding.transport, keys.nonce()))  # type: ignore[arg-type]
        if client.wire.code is None:
            self.check(client, client.one(Challenge))
        return client

    def check(self, client: Client, challenge: Challenge) -> None:
        """The server identity answered in this very channel."""
        parts = auth.challenge_parts(
            client.connection.hello, challenge.version, challenge.features, challenge.nonce, self.identity.public,
            client.wire.binding,
        )  # fmt: skip
        keys.verify(self.identity.public, challenge.signature, auth.CHALLENGE_LABEL, *parts)

    def proof(self, client: Client, user: User, highest: int = 0) -> Proof:
        """What logs this user's device in."""
        parts = auth.proof_parts(
            client.connection.hello, client.connection.challenge, self.identity.public, user.name, user.device_id, highest,
            client.wire.binding,
        )  # fmt: skip
        return Proof(user.name, user.device_id, highest, user.device.sign(auth.PROOF_LABEL, *parts))

    def registration(self, client: Client, user: User, token: bytes = b"", **changes: Any) -> Register:
        """What makes this user's account."""
        devices = user.device_list(**changes)
        bare = Register(user.name, user.device_id, token, user.identity.public, devices, bytes(64), bytes(64))
        parts = auth.register_parts(
            client.connection.hello, client.connection.challenge, self.identity.public, bare, client.wire.binding
        )
        return replace(
            bare,
            identity_signature=user.identity.sign(auth.REGISTER_IDENTITY_LABEL, *parts),
            device_signature=user.device.sign(auth.REGISTER_DEVICE_LABEL, *parts),
        )

    def try_login(self, user: User) -> Client:
        """Log in, whatever comes of it; the store may still have something to do first."""
        client = self.greet()
        client.ask(self.proof(client, user))
        return client

    def login(self, user: User) -> Client:
        """Log in, and see that it worked."""
        client = self.try_login(user)
        client.n = max(client.n, client.one(Welcome).highest)
        return client

    def try_register(self, user: User, token: bytes = b"", binding: Binding = TLS, **changes: Any) -> Client:
        """Register, whatever comes of it."""
        client = self.greet("register", binding)
        client.ask(self.registration(client, user, token, **changes))
        return client

    def register(self, name: str) -> tuple[User, Client]:
        """Make an account; its device is logged in."""
        user = self.user(name)
        client = self.try_register(user)
        client.one(Welcome)
        user.body = user.device_list().body
        return user, client

    def greet_as_guest(self, binding: Binding = TLS) -> Client:
        """Connect and say Hello as somebody who has a key file; the challenge is left in the inbox."""
        client = self.connect(binding)
        client.ask(Hello([1], list(self.features), "key", binding.transport, keys.nonce()))  # type: ignore[arg-type]
        return client

    def guest_proof(self, client: Client, key: SharedKey, highest: int = 0) -> Proof:
        """What lets a holder of this file in."""
        parts = auth.proof_parts(
            client.connection.hello, client.connection.challenge, self.identity.public, "", b"", highest, client.wire.binding
        )
        return Proof("", b"", highest, keys.mac(key.login, auth.KEY_PROOF_LABEL, *parts))

    def try_guest(self, key: SharedKey) -> Client:
        """Come with a key file, whatever comes of it."""
        client = self.greet_as_guest()
        client.ask(self.guest_proof(client, key))
        return client

    def connect_guest(self, key: SharedKey) -> tuple[User, Client]:
        """
        Come with a key file, and see that it worked.

        @return: as whom the contact sees the guest, and the connection.
        """
        client = self.try_guest(key)
        challenge = client.one(Challenge)
        client.one(Welcome)
        hello = decode_message(client.connection.hello)
        assert isinstance(hello, Hello)
        nonce = keys.connection_nonce(hello.nonce, challenge.nonce, client.wire.binding.exporter)
        return User(key.name, self.identity.public, device_id=keys.guest_device(nonce)), client

    def contact(self) -> tuple[User, Client]:
        """The contact C{server}, which lives here and is logged in."""
        user = self.user("server")
        client = self.try_register(user, binding=auth.MEMORY)
        self.commit()
        client.one(Welcome)
        return user, client

    def login_contact(self, user: User) -> Client:
        """The contact connects anew."""
        client = self.greet(binding=auth.MEMORY)
        client.ask(self.proof(client, user))
        self.commit()
        client.n = max(client.n, client.one(Welcome).highest)
        return client

    def operator(self) -> Client:
        """The operator, logged in."""
        client = self.connect(auth.UNIX, operator=True)
        client.ask(Hello([1], [], "operator", "unix", keys.nonce()))
        self.check(client, client.one(Challenge))
        client.ask(Proof("", b"", 0, b""))
        client.one(Welcome)
        return client


def public(prekey: pqxdh.PublicPrekey) -> Prekey:
    """A prekey as it goes over the wire."""
    return Prekey(prekey.id, prekey.key, prekey.signature)


def upload(user: User, request: int = 1, first: int = 1, count: int = 2, replace: bool = False) -> Upload:
    """A full upload of prekeys."""
    return Upload(
        request,
        public(pqxdh.make_signed_prekey(user.device, first)[1]),
        public(pqxdh.make_last_resort_prekey(user.device, first)[1]),
        [public(pqxdh.make_one_time_prekey(user.device, first + index)[1]) for index in range(count)],
        [public(pqxdh.make_kem_prekey(user.device, first + index)[1]) for index in range(count)],
        replace,
    )
