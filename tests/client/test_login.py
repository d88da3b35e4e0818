"""The client's half of login: it knows the server before it proves anything."""

from __future__ import annotations

from functools import partial

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.events import Disconnected, Failed, Ready
from securemsg.client.state.profile import save_profile
from securemsg.crypto.keys import SigningKey, sha256
from securemsg.protocol import auth, messages
from securemsg.protocol.auth import Binding
from securemsg.protocol.messages import Challenge, Message, Proof, Register, Welcome
from securemsg.protocol.states import Side
from securemsg.server.limits import Settings
from tests.client.rig import START, TLS, User, Wire, World, decoded


class LoginTests(SynchronousTestCase):
    """Who may be at the other end."""

    def setUp(self) -> None:
        """Alice has an account, and is not connected."""
        self.world = World()
        self.alice = self.world.user("alice")
        self.alice.disconnect()
        self.world.settle()
        self.alice.events.clear()

    def refused(self, wire: Wire, code: str = "server-identity") -> None:
        """Check that Alice hung up, and that she proved nothing and did not say who she is."""
        self.assertEqual(decoded(wire, Side.CLIENT, Proof) + decoded(wire, Side.CLIENT, Register), [])
        self.nameless(wire)
        self.assertEqual(self.alice.events, [Failed(code), Disconnected(code)])

    def nameless(self, wire: Wire) -> None:
        """Check that no byte that Alice sent tells her name, her device or her identity."""
        profile = self.alice.profile()
        said = b"".join(messages.encode_message(message) for side, message in wire.log if side is Side.CLIENT)
        self.assertIn(b"tcp", said)
        for secret in (b"alice", profile.device_id, profile.identity.public, profile.device_key.public):
            self.assertNotIn(secret, said)

    def through(self, user: User, client: Binding, server: Binding) -> Wire:
        """Connect where each end observes another channel, as with somebody in the middle."""
        assert user.agent is not None, "she was connected before"
        wire = self.world.join(user.agent)
        wire.client.binding, wire.server.binding = client, server
        self.world.settle()
        return wire

    def altered(self, **fields: object) -> Wire:
        """Connect through somebody who changes the challenge."""

        def tap(message: Message) -> list[Message]:
            return [msgspec.structs.replace(message, **fields) if isinstance(message, Challenge) else message]

        wire = self.alice.connect(settle=False)
        wire.to_client = tap
        self.world.settle()
        return wire

    def test_welcome(self) -> None:
        """The server that was pinned is logged in to."""
        wire = self.alice.connect()
        self.assertIn(Ready(), self.alice.events)
        self.assertEqual(len(decoded(wire, Side.CLIENT, Proof)), 1)

    def test_other_server(self) -> None:
        """A server with another identity is not even told who asks, though its own signature is good."""
        self.world.identity = SigningKey.generate()
        self.world.restart_server()
        self.refused(self.alice.connect())

    def test_borrowed_identity(self) -> None:
        """A server that names the pinned identity without having its key is found out."""
        pin = self.world.identity.public
        self.world.identity = SigningKey.generate()
        self.world.restart_server()
        self.refused(self.altered(identity=pin))

    def test_altered_challenge(self) -> None:
        """A challenge that was changed on the way in anything at all does not bear the signature."""
        altered: tuple[dict[str, object], ...]
        altered = ({"nonce": bytes(32)}, {"features": ["gifts"]}, {"version": 2}, {"signature": bytes(64)})
        for fields in altered:
            with self.subTest(**fields):
                self.alice.events.clear()
                self.refused(self.altered(**fields))

    def test_repeated_challenge(self) -> None:
        """A challenge of an earlier login does not fit a new greeting."""
        old = decoded(self.alice.connect(), Side.SERVER, Challenge)[0]
        self.alice.disconnect()
        self.world.settle()
        self.alice.events.clear()
        self.refused(self.altered(**{name: getattr(old, name) for name in old.__struct_fields__}))

    def test_other_key(self) -> None:
        """A challenge that was made for another TLS key is refused: somebody stands in the middle."""
        self.refused(self.through(self.alice, TLS, evolve(TLS, spki=bytes(32))))

    def test_other_exporter(self) -> None:
        """A challenge that was made for another TLS connection is refused, though the key is the same."""
        self.refused(self.through(self.alice, TLS, evolve(TLS, exporter=bytes(32))))

    def test_no_exporter(self) -> None:
        """Over TCP nothing is said without keying material of this very connection."""
        for kind, exporter in (("spki", b""), ("tls-exporter", b""), ("tls-exporter", bytes(31))):
            self.alice.events.clear()
            wire = self.through(self.alice, Binding("tcp", kind, exporter, bytes(32)), TLS)
            self.assertEqual(wire.log, [])
            self.assertEqual(self.alice.events, [Failed("server-identity"), Disconnected("server-identity")])

    def test_unoffered_version(self) -> None:
        """A server that chooses a version or a feature that nobody offered is told so, though it signs that."""

        def tap(message: Message, version: int, features: list[str]) -> list[Message]:
            if not isinstance(message, Challenge):
                return [message]
            parts = auth.challenge_parts(
                wire.client.connection.hello, version, features, message.nonce, message.identity, wire.client.binding
            )
            signature = self.world.identity.sign(auth.CHALLENGE_LABEL, *parts)
            return [msgspec.structs.replace(message, version=version, features=features, signature=signature)]

        choices: tuple[tuple[int, list[str]], ...] = ((9, []), (auth.VERSION, ["smell"]))
        for version, features in choices:
            self.alice.events.clear()
            wire = self.alice.connect(settle=False)
            wire.to_client = partial(tap, version=version, features=features)
            self.world.settle()
            self.refused(wire, "unsupported-version")

    def test_unanswered(self) -> None:
        """Nor is anybody who says nothing, whether she logs in or registers."""
        for registered in (True, False):
            profile = evolve(self.alice.profile(), registered=registered)
            with self.alice.store.inner.writing() as records:
                save_profile(records, profile)
            wire = self.alice.connect(settle=False)
            wire.to_client = lambda message: []
            self.world.settle()
            self.assertEqual(len(wire.log), 2)
            self.nameless(wire)

    def test_refused_login(self) -> None:
        """A device that the server does not know has no future there."""
        profile = self.alice.profile()
        with self.alice.store.inner.writing() as records:
            save_profile(records, evolve(profile, device_key=SigningKey.generate()))
        self.alice.connect()
        self.assertEqual(self.alice.events, [Failed("login-failed"), Disconnected("login-failed")])


class RegistrationTests(SynchronousTestCase):
    """Accounts that are made."""

    def setUp(self) -> None:
        """Alice has keys, and no account."""
        self.world = World()
        self.alice = self.world.user("alice", connect=False)

    def test_registered(self) -> None:
        """The first connection makes the account, the second logs in."""
        self.assertEqual(len(decoded(self.alice.connect(), Side.CLIENT, Register)), 1)
        self.assertTrue(self.alice.profile().registered)
        self.assertEqual(len(decoded(self.alice.connect(), Side.CLIENT, Proof)), 1)

    def test_lost_reply(self) -> None:
        """A registration whose answer was lost is made again, and succeeds."""
        wire = self.alice.connect(settle=False)
        wire.to_client = lambda message: [] if isinstance(message, Welcome) else [message]
        self.world.settle()
        self.assertFalse(self.alice.profile().registered)
        self.alice.connect()
        self.assertTrue(self.alice.profile().registered)
        self.assertIn(Ready(), self.alice.events)

    def test_name_taken(self) -> None:
        """Somebody else's name is refused for good."""
        self.world.user("bob")
        other = World(identity=self.world.identity).user("bob", connect=False)
        other.world = self.world
        self.world.users["other"] = other
        other.connect()
        self.assertEqual(other.events, [Failed("name-taken"), Disconnected("name-taken")])

    def test_token_is_dropped(self) -> None:
        """The token admits once; then nobody needs it any more, and the profile keeps none."""
        world = World(settings=Settings(registration="invite"))
        world.store.add_token(sha256(b"token"), 1, START + 60, "", 0)
        user = world.user("alice", connect=False)
        profile = user.profile()
        with user.store.inner.writing() as records:
            save_profile(records, evolve(profile, token=b"token"))
        user.connect()
        self.assertIn(Ready(), user.events)
        self.assertEqual(user.profile().token, b"")

    def test_prekeys(self) -> None:
        """With the account come prekeys, so that others can write at once."""
        uploads = decoded(self.alice.connect(), Side.CLIENT, messages.Upload)
        self.assertEqual(len(uploads), 1)
        self.assertEqual((len(uploads[0].one_time), len(uploads[0].kem)), (50, 50))
