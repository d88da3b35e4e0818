"""The login with a key file: both sides prove that they have it, over everything that was said and the channel."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from attrs import evolve
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.counters import ServerCounters
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import SigningKey
from securemsg.protocol import auth
from securemsg.protocol.auth import Binding
from securemsg.protocol.messages import Challenge, Drained, Failed, Hello, PrekeyStock, Proof, Welcome
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import Role
from securemsg.server.delivery import Delivery
from securemsg.server.guests import Guests, KeyFile
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.rig import START, TLS, Client, Rig

OTHER = b"\xff" * 32


def other_bindings() -> Iterator[Binding]:
    """Every channel that differs from ours in one part."""
    yield evolve(TLS, transport="unix")
    yield evolve(TLS, kind="none")
    yield evolve(TLS, exporter=OTHER)
    yield evolve(TLS, spki=OTHER)


class KeyCase(SynchronousTestCase):
    """A server with a key file."""

    def setUp(self) -> None:
        """Somebody else has another file."""
        self.key = SharedKey(bytes(range(32)))
        self.other = SharedKey(bytes(32))
        self.rig = Rig(key=self.key)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])


class ServerProofTests(KeyCase):
    """The server proves first."""

    def greet(self, rig: Rig | None = None) -> tuple[Client, Challenge]:
        """Say Hello, and hear who answers."""
        client = (rig or self.rig).greet_as_guest()
        return client, client.one(Challenge)

    def test_file(self) -> None:
        """The challenge is proved with the file, over the whole Hello, the answer and the channel."""
        client, challenge = self.greet()
        parts = auth.challenge_parts(
            client.connection.hello, challenge.version, challenge.features, challenge.nonce, self.rig.identity.public, TLS
        )
        self.assertEqual(challenge.identity, self.rig.identity.public)
        self.assertEqual(challenge.signature, keys.mac(self.key.login, auth.KEY_CHALLENGE_LABEL, *parts))

    def test_every_part(self) -> None:
        """
        It holds for this Hello, this version, these features, this nonce, this identity, this channel, this label and this
        file, and for no other.
        """
        client, challenge = self.greet()
        hello, identity = client.connection.hello, challenge.identity
        good = (hello, challenge.version, challenge.features, challenge.nonce, identity, TLS)
        changed = [
            (hello[:-1] + b"\xff", *good[1:]),
            (hello, 2, *good[2:]),
            (hello, 1, ["smell"], *good[3:]),
            (hello, 1, [], OTHER, *good[4:]),
            (hello, 1, [], challenge.nonce, OTHER, TLS),
            *[(*good[:5], binding) for binding in other_bindings()],
        ]
        for items in changed:
            parts = auth.challenge_parts(*items)
            self.assertNotEqual(challenge.signature, keys.mac(self.key.login, auth.KEY_CHALLENGE_LABEL, *parts), items)
        parts = auth.challenge_parts(*good)
        self.assertNotEqual(challenge.signature, keys.mac(self.key.login, auth.KEY_PROOF_LABEL, *parts))
        self.assertNotEqual(challenge.signature, keys.mac(self.other.login, auth.KEY_CHALLENGE_LABEL, *parts))
        self.assertEqual(challenge.signature, keys.mac(self.key.login, auth.KEY_CHALLENGE_LABEL, *parts))

    def test_without_file(self) -> None:
        """A server without a file gives an answer of the same form, which proves nothing, and lets nobody in."""
        rig = Rig()
        client, challenge = self.greet(rig)
        _, with_file = self.greet()
        self.assertEqual(
            [len(item) if isinstance(item, bytes) else item for item in msgspec.structs.astuple(challenge)],
            [len(item) if isinstance(item, bytes) else item for item in msgspec.structs.astuple(with_file)],
        )
        parts = auth.challenge_parts(client.connection.hello, 1, [], challenge.nonce, rig.identity.public, TLS)
        for login in (self.key.login, bytes(64), b""):
            self.assertNotEqual(challenge.signature, keys.mac(login, auth.KEY_CHALLENGE_LABEL, *parts))
        for key in (self.key, SharedKey(bytes(32))):
            self.assertEqual(rig.try_guest(key).failed(), "login-failed")
        self.assertEqual(rig.failures, [])

    def test_without_file_same_key(self) -> None:
        """
        The key that a server without a file answers with is made once: the same question in the same channel would get the
        same answer, as where there is a file.
        """
        delivery = Delivery(MemoryServerStore(), Settings(), ServerCounters())
        one, other = [Guests(None, bytes(32), delivery, PendingAcks(), 1, lambda: 0.0) for _ in range(2)]
        self.assertEqual(one.challenge((b"a", b"b")), one.challenge((b"a", b"b")))
        self.assertNotEqual(one.challenge((b"a", b"b")), other.challenge((b"a", b"b")))

    def test_devices_not_by_key(self) -> None:
        """To a device the server identity signs as ever, and to nobody with both."""
        alice, client = self.rig.register("alice")
        client = self.rig.connect()
        client.ask(Hello([1], [], "device", "tcp", keys.nonce()))
        self.rig.check(client, client.one(Challenge))

    def test_reveals_no_secret(self) -> None:
        """What the core has of the file shows no secret when it is printed."""
        shown = repr(KeyFile(self.key.name, self.key.login)) + repr(self.rig.server)
        for secret in (self.key.secret, self.key.login):
            self.assertNotIn(secret.hex(), shown)
            self.assertNotIn(repr(secret)[2:-1], shown)


class GuestProofTests(KeyCase):
    """Then the guest proves."""

    def refused(self, proof: Proof, client: Client | None = None) -> None:
        """This proof opens nothing."""
        client = client or self.rig.greet_as_guest()
        client.ask(proof)
        self.assertEqual([type(message) for message in client.inbox], [Challenge, Failed])
        self.assertEqual(client.failed(), "login-failed")
        self.assertEqual(self.rig.server.logged_in, 0)

    def test_welcome(self) -> None:
        """Whoever has the file is welcome: no n, no prekeys, an empty mailbox."""
        client = self.rig.try_guest(self.key)
        self.assertEqual(client.one(Welcome), Welcome(0, START, PrekeyStock(0, 0, 0, 0), []))
        client.one(Drained)
        self.assertIs(client.wire.peer.role, Role.GUEST)
        self.assertEqual(self.rig.server.logged_in, 1)

    def test_server_full(self) -> None:
        """Guests take places like everybody else."""
        self.rig.settings = Settings(max_clients=2)
        self.rig.start()
        came = [self.rig.try_guest(self.key) for _ in range(3)]
        self.assertEqual([len(client.pop(Welcome)) for client in came], [1, 1, 0])
        self.assertEqual(came[2].failed(), "server-full")

    def test_other_file(self) -> None:
        """Another file is no file."""
        client = self.rig.greet_as_guest()
        self.refused(self.rig.guest_proof(client, self.other), client)

    def test_every_part(self) -> None:
        """A proof over another Hello, Challenge, identity, n, channel or under another label is refused."""
        for number in range(11):
            client = self.rig.greet_as_guest()
            hello, challenge, identity = client.connection.hello, client.connection.challenge, self.rig.identity.public
            changed = [
                (hello[:-1] + bytes([hello[-1] ^ 1]), challenge, identity, "", b"", 0, TLS),
                (hello, challenge[:-1] + bytes([challenge[-1] ^ 1]), identity, "", b"", 0, TLS),
                (hello, challenge, SigningKey.generate().public, "", b"", 0, TLS),
                (hello, challenge, identity, "server", b"", 0, TLS),
                (hello, challenge, identity, "", bytes(16), 0, TLS),
                (hello, challenge, identity, "", b"", 1, TLS),
                *[(hello, challenge, identity, "", b"", 0, binding) for binding in other_bindings()],
                (hello, challenge, identity, "", b"", 0, TLS),
            ]
            self.assertEqual(len(changed), 11)
            label = auth.KEY_PROOF_LABEL if number < 10 else auth.KEY_CHALLENGE_LABEL
            parts = auth.proof_parts(*changed[number])
            self.refused(Proof("", b"", 0, keys.mac(self.key.login, label, *parts)), client)

    def test_highest(self) -> None:
        """A guest has no n: one that claims to have one is refused, though it has proved it."""
        client = self.rig.greet_as_guest()
        self.refused(self.rig.guest_proof(client, self.key, 7), client)

    def test_every_bit(self) -> None:
        """A MAC that differs in one bit is wrong, and so is one that is cut, empty or a signature."""
        for bit in (0, 7, 255, 511):
            client = self.rig.greet_as_guest()
            proof = self.rig.guest_proof(client, self.key).signature
            flipped = (int.from_bytes(proof, "big") ^ 1 << bit).to_bytes(64, "big")
            self.refused(Proof("", b"", 0, flipped), client)
        client = self.rig.greet_as_guest()
        self.refused(Proof("", b"", 0, self.rig.guest_proof(client, self.key).signature[:32]), client)
        self.refused(Proof("", b"", 0, b""))
        self.refused(Proof("", b"", 0, SigningKey.generate().sign(auth.PROOF_LABEL)))

    def test_servers_own_proof(self) -> None:
        """The server's proof sent back to it is no proof."""
        client = self.rig.greet_as_guest()
        challenge = next(message for message in client.inbox if isinstance(message, Challenge))
        self.refused(Proof("", b"", 0, challenge.signature), client)

    def test_replay(self) -> None:
        """A proof that was overheard is worth nothing in another connection."""
        first = self.rig.greet_as_guest()
        proof = self.rig.guest_proof(first, self.key)
        self.refused(proof)
        first.ask(proof)
        first.one(Welcome)

    def test_passed_on(self) -> None:
        """Nor in the same words over another TLS channel: nobody in the middle can pass it on."""
        client = self.rig.greet_as_guest()
        proof = self.rig.guest_proof(client, self.key)
        client.wire.peer.channel.binding = evolve(TLS, exporter=OTHER)
        self.refused(proof, client)

    def test_names_nobody(self) -> None:
        """A proof with a key file that names an account or a device as well is malformed, file or none."""
        for rig in (self.rig, Rig()):
            for account, device in (("server", b""), (self.key.name, b""), ("", bytes(16))):
                client = rig.greet_as_guest()
                client.ask(replace(rig.guest_proof(client, self.key), account=account, device=device))
                self.assertEqual(client.failed(), "malformed")

    def test_doors(self) -> None:
        """The operator's door is not for key files, and what is said of the transport must be true."""
        client = self.rig.connect(auth.UNIX, operator=True)
        client.ask(Hello([1], [], "key", "unix", keys.nonce()))
        self.assertEqual(client.inbox, [Failed("forbidden")])
        client = self.rig.connect()
        client.ask(Hello([1], [], "key", "memory", keys.nonce()))
        self.assertEqual(client.inbox, [Failed("forbidden")])

    def test_does_not_register(self) -> None:
        """Whoever came with a key file cannot register instead, nor does a device prove itself with one."""
        user = self.rig.user("alice")
        client = self.rig.greet_as_guest()
        client.ask(self.rig.registration(client, user))
        self.assertEqual(client.failed(), "out-of-turn")
        alice, _ = self.rig.register("alice")
        client = self.rig.greet()
        client.ask(replace(self.rig.guest_proof(client, self.key), account="alice", device=alice.device_id))
        self.assertEqual(client.failed(), "login-failed")

    def test_name_reserved(self) -> None:
        """Nobody registers the name that holders of the file appear under."""
        client = self.rig.try_register(self.rig.user(self.key.name))
        self.assertEqual(client.failed(), "reserved-name")
