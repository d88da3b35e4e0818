"""Guests: who comes with a key file, and what becomes of a guest with each connection."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import guest, messages
from securemsg.client.agent import Agent
from securemsg.client.events import Disconnected, Failed, Ready
from securemsg.client.sessions import guests, pins
from securemsg.client.state import contacts
from securemsg.client.state.lists import LISTS
from securemsg.client.state.records import COUNTERS, NUMBER, OUTBOX, ROWS, SENT, OutboxRow, load, load_number, save, save_number
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.protocol import auth
from securemsg.protocol.auth import MEMORY, Binding
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import PSK
from securemsg.protocol.messages import Accepted, Challenge, Deposit, Hello, Message, Ping, Proof, Welcome
from securemsg.protocol.states import Side
from securemsg.server.guests import KeyFile
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import START, TLS, MortalProfile, User, Wire, World, decoded
from tests.client.test_malice import replacing

KEY = SharedKey(bytes(range(32)))
OTHER = SharedKey(bytes(32))


def world_with(key: SharedKey | None) -> World:
    """A world whose server holds this file, or none."""
    return World(key_file=None if key is None else KeyFile(key.name, key.login))


def make_guest(world: World, key: SharedKey = KEY, called: str = "guest") -> User:
    """Somebody who holds a file, and is not connected."""
    store = MemoryProfile()
    guest.prepare(store, key, "example.net", 8443, START)
    user = world.users[called] = User(world, key.name, MortalProfile(store))
    return user


class LoginTests(SynchronousTestCase):
    """Both ends prove that they hold the file, the server first."""

    def setUp(self) -> None:
        """A server with the file, and a guest who is not connected."""
        self.world = world_with(KEY)
        self.guest = make_guest(self.world)

    def refused(self, wire: Wire, code: str = "server-identity") -> None:
        """Check that the guest hung up, and that it proved nothing."""
        self.assertEqual(decoded(wire, Side.CLIENT, Proof), [])
        self.assertEqual(self.guest.events, [Failed(code), Disconnected(code)])
        self.assertEqual(self.guest.profile().connection, b"")

    def altered(self, **fields: object) -> Wire:
        """Connect through somebody who changes the challenge."""

        def tap(message: Message) -> list[Message]:
            return [msgspec.structs.replace(message, **fields) if isinstance(message, Challenge) else message]

        wire = self.guest.connect(settle=False)
        wire.to_client = tap
        self.world.settle()
        return wire

    def test_let_in(self) -> None:
        """Who holds the same file as the server is let in, and drained at once: nothing can have waited."""
        self.guest.connect()
        self.assertIn(Ready(), self.guest.events)
        assert self.guest.agent is not None
        self.assertTrue(self.guest.agent.is_drained)

    def test_greeting(self) -> None:
        """Greeting and proof name no account, device or file; and no question but for the time of day is asked by itself."""
        wire = self.guest.connect()
        [hello] = decoded(wire, Side.CLIENT, Hello)
        self.assertEqual((hello.role, hello.transport), ("key", "tcp"))
        [proof] = decoded(wire, Side.CLIENT, Proof)
        self.assertEqual((proof.account, proof.device), ("", b""))
        said = [type(message) for side, message in wire.log if side is Side.CLIENT]
        self.assertEqual(said, [Hello, Proof])

    def test_nothing_later(self) -> None:
        """A guest uploads and publishes nothing however long it stays."""
        wire = self.guest.connect()
        self.world.advance(8 * 3600, 200)
        said = {type(message) for side, message in wire.log if side is Side.CLIENT}
        self.assertEqual(said, {Hello, Proof, Ping})

    def test_server_without_file(self) -> None:
        """A server without a file, or with another one, is told nothing."""
        for key in (None, OTHER):
            self.world = world_with(key)
            self.guest = make_guest(self.world)
            self.refused(self.guest.connect())

    def test_guest_without_file(self) -> None:
        """Whoever has not the file, and believes anybody, is refused for good."""
        proofs = (bytes(64), keys.mac(OTHER.login, auth.KEY_PROOF_LABEL, b""))
        for proof in proofs:
            wire = self.guest.connect(settle=False)
            wire.to_server = lambda message, proof=proof: [
                msgspec.structs.replace(message, signature=proof) if isinstance(message, Proof) else message
            ]
            self.guest.events.clear()
            self.world.settle()
            self.assertEqual(self.guest.events, [Failed("login-failed"), Disconnected("login-failed")])
            assert self.guest.agent is not None
            self.assertFalse(self.guest.agent.is_ready)

    def test_altered_challenge(self) -> None:
        """A challenge that was changed on the way in anything at all does not bear the proof."""
        for fields in (
            {"nonce": bytes(32)},
            {"identity": bytes(32)},
            {"features": ["gifts"]},
            {"version": 2},
            {"signature": bytes(64)},
        ):
            self.guest = make_guest(self.world)
            self.refused(self.altered(**fields))

    def test_repeated_challenge(self) -> None:
        """A challenge of an earlier login does not fit a new greeting."""
        old = decoded(self.guest.connect(), Side.SERVER, Challenge)[0]
        self.guest = make_guest(self.world)
        self.refused(self.altered(**{name: getattr(old, name) for name in old.__struct_fields__}))

    def test_signed_challenge(self) -> None:
        """The signature of the server's identity, which accounts go by, is nothing to a guest; and the other way round."""

        def tap(message: Message) -> list[Message]:
            if not isinstance(message, Challenge):
                return [message]
            hello = wire.client.connection.hello
            parts = auth.challenge_parts(hello, 1, message.features, message.nonce, message.identity, wire.client.binding)
            return [msgspec.structs.replace(message, signature=self.world.identity.sign(auth.CHALLENGE_LABEL, *parts))]

        wire = self.guest.connect(settle=False)
        wire.to_client = tap
        self.world.settle()
        self.refused(wire)

    def test_unoffered_version(self) -> None:
        """A server that holds the file and chooses what nobody offered is told so."""

        def tap(message: Message) -> list[Message]:
            if not isinstance(message, Challenge):
                return [message]
            hello = wire.client.connection.hello
            parts = auth.challenge_parts(hello, 9, message.features, message.nonce, message.identity, wire.client.binding)
            proof = keys.mac(KEY.login, auth.KEY_CHALLENGE_LABEL, *parts)
            return [msgspec.structs.replace(message, version=9, signature=proof)]

        wire = self.guest.connect(settle=False)
        wire.to_client = tap
        self.world.settle()
        self.refused(wire, "unsupported-version")

    def test_count(self) -> None:
        """A server that says the connection has sent something is hung up on."""
        wire = self.guest.connect(settle=False)
        wire.to_client = replacing(Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=1))
        self.world.settle()
        self.assertEqual(wire.client.code, "bad-count")

    def test_no_identity(self) -> None:
        """A server that holds the file and shows an identity that is no key, such as zeros, is refused."""

        def tap(message: Message) -> list[Message]:
            if not isinstance(message, Challenge):
                return [message]
            hello = wire.client.connection.hello
            parts = auth.challenge_parts(hello, 1, message.features, message.nonce, bytes(32), wire.client.binding)
            proof = keys.mac(KEY.login, auth.KEY_CHALLENGE_LABEL, *parts)
            return [msgspec.structs.replace(message, identity=bytes(32), signature=proof)]

        wire = self.guest.connect(settle=False)
        wire.to_client = tap
        self.world.settle()
        self.refused(wire)

    def test_other_channel(self) -> None:
        """
        Somebody in the middle, who passes on everything between two channels, is found out by either end's exporter or key.
        """
        for binding in (evolve(TLS, exporter=bytes(32)), evolve(TLS, spki=bytes(32))):
            self.guest = make_guest(self.world)
            self.guest.agent = None
            wire = self.guest.connect(settle=False)
            wire.server.binding = binding
            self.world.settle()
            self.refused(wire)

    def test_no_exporter(self) -> None:
        """Over TCP nothing is said without keying material of this very connection."""
        wire = self.guest.connect(settle=False)
        wire.client.binding = Binding("tcp", "spki", b"", bytes(32))
        self.world.settle()
        self.assertEqual(wire.log, [])
        self.refused(wire)

    def test_account_stays(self) -> None:
        """The key file is nothing to accounts: they come with their own keys, and go by the pin."""
        wire = self.world.user("alice").connect()
        self.assertEqual(decoded(wire, Side.CLIENT, Hello)[0].role, "device")


class ConnectionTests(SynchronousTestCase):
    """Each connection makes a device."""

    def setUp(self) -> None:
        """A guest who is connected."""
        self.world = world_with(KEY)
        self.guest = make_guest(self.world)
        self.wire = self.guest.connect()

    def test_both_agree(self) -> None:
        """Device and identity follow from the two nonces, the exporter and the file: the server knows the same device."""
        [hello], [challenge] = decoded(self.wire, Side.CLIENT, Hello), decoded(self.wire, Side.SERVER, Challenge)
        profile = self.guest.profile()
        nonce = keys.connection_nonce(hello.nonce, challenge.nonce, TLS.exporter)
        self.assertEqual(profile.connection, nonce)
        self.assertEqual(profile.device_id, keys.guest_device(nonce))
        self.assertEqual(profile.identity.public, KEY.guest_identity(nonce).public)
        self.assertEqual(profile.pin, self.world.identity.public)
        server = self.wire.server.peer
        self.assertEqual(getattr(server, "device").id, profile.device_id)  # noqa: B009 - the rig knows only peers

    def test_new_each_time(self) -> None:
        """The next connection is another device, with another identity, to the same account."""
        before = self.guest.profile()
        self.guest.connect()
        after = self.guest.profile()
        self.assertEqual(before.name, after.name)
        for part in ("connection", "device_id", "identity"):
            self.assertNotEqual(getattr(before, part), getattr(after, part))
        self.assertNotEqual(before.identity.public, after.identity.public)

    def test_other_server(self) -> None:
        """Another server with the same file is as good as the one before: there is no pin that could be wrong."""
        self.world.identity = keys.SigningKey.generate()
        self.world.restart_server()
        self.guest.connect()
        assert self.guest.agent is not None
        self.assertTrue(self.guest.agent.is_ready)
        self.assertEqual(self.guest.profile().pin, self.world.identity.public)

    def test_two_guests(self) -> None:
        """Two with one file are two devices of one account, and neither throws the other out."""
        other = make_guest(self.world, called="other")
        other.connect()
        for user in (self.guest, other):
            assert user.agent is not None
            self.assertTrue(user.agent.is_ready)
        self.assertNotEqual(self.guest.profile().device_id, other.profile().device_id)

    def test_forgets_the_connection(self) -> None:
        """
        What belonged to the device before is forgotten: the contact, its lists, counters. Numbers of deposits go on, and what
        was sealed is to be made anew.
        """
        store = self.guest.store.inner
        before = self.guest.profile()
        number = messages.compose(store, SERVER_NAME, "hello", now=START)
        with store.writing() as records:
            records.put(contacts.TABLE, SERVER_NAME.encode(), b"contact")
            records.put(LISTS, SERVER_NAME.encode(), b"list", 3)
            records.put(COUNTERS, b"stream", b"1")
            records.put(SENT, b"stream", b"1", 1)
            save_number(records, COUNTERS, NUMBER, 7)
            order = User.outbox_seq(number, records)
            row = load(records, OutboxRow, OUTBOX, ROWS, order)
            assert row is not None
            save(records, OUTBOX, ROWS, msgspec.structs.replace(row, sealed=True), order)
            hello = Hello([1], [], "key", "tcp", keys.nonce())
            challenge = Challenge(1, [], keys.nonce(), self.world.identity.public, bytes(64))
            guest.begin(records, before, KEY, hello, challenge, TLS)
        with store.reading() as records:
            self.assertEqual(records.scan(contacts.TABLE) + records.scan(LISTS, SERVER_NAME.encode()) + records.scan(SENT), [])
            self.assertEqual([bucket for bucket, _, _ in records.scan(COUNTERS)], [NUMBER])
            self.assertEqual(load_number(records, COUNTERS, NUMBER), 7)
            row = load(records, OutboxRow, OUTBOX, ROWS, order)
            assert row is not None
            self.assertTrue(row.stale)
            self.assertEqual(pins.pinned_suite(records, before.conversation(SERVER_NAME)), pins.Chosen(PSK, KEY.secret))
            self.assertEqual(guest.key_file(records, before), KEY)



class ResendTests(SynchronousTestCase):
    """A word of acceptance that was lost."""

    def test_said_again(self) -> None:
        """
        What was taken, while only the word of that was lost, is sealed anew in the next connection, bytes and all, and counts
        once; then it is accepted.
        """
        world = world_with(KEY)
        server = world.user("server", connect=False)
        server.agent = Agent(
            server.store,
            server.profile(),
            now=world.now,
            seconds=world.seconds,
            soon=world.later,
            notify=server.events.append,
            jitter=lambda: 0.5,
        )
        world.join(server.agent, MEMORY)
        world.settle()
        with server.store.inner.writing() as records:
            guests.admit(records, KEY, START)
        user = make_guest(world)
        wire = user.connect()
        wire.to_client = lambda message: [] if isinstance(message, Accepted) else [message]
        number = user.send(SERVER_NAME, "once")
        self.assertEqual(server.read(), ["once"])
        self.assertEqual(user.sent(number).status, "queued")
        again = user.connect()
        self.assertEqual(user.sent(number).status, "accepted")
        self.assertEqual(server.read(), [])
        [before], [after] = decoded(wire, Side.CLIENT, Deposit), decoded(again, Side.CLIENT, Deposit)
        self.assertNotEqual(before.deposit_id, after.deposit_id)
        self.assertNotEqual(before.common, after.common)
        self.assertNotEqual(before.to[0].parts[0].own, after.to[0].parts[0].own)
        self.assertLess(before.n, after.n)
