"""
Somebody stands between a client and its server, with TLS of their own to either side, and passes everything on.

It is all real but for the sockets: TLS 1.3, the client's agent, the server's domain.
"""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.agent import Agent
from securemsg.client.events import Event, Failed, Ready
from securemsg.crypto.keys import spki_digest, tls_key_pair
from securemsg.net.stream import ConnectionOptions, StreamProtocol
from securemsg.net.tls import ClientTrust, SecureFactory, ServerCredentials
from securemsg.net.turn import Turn
from securemsg.protocol.auth import PROOF_LABEL, proof_parts
from securemsg.protocol.messages import Challenge, Drained, Hello, Message, Proof, Unknown
from securemsg.protocol.states import Phase, Side
from tests.client.rig import World
from tests.net.fakes import FakePeer, key_files, scratch

# More than any login takes.
ROUNDS = 50


@define
class Relay:
    """Two faces that pass on to each other whatever they hear."""

    to_client: FakePeer = field(factory=FakePeer)
    to_server: FakePeer = field(factory=FakePeer)

    def __attrs_post_init__(self) -> None:
        """Tie them together."""
        self.to_client.react = lambda message: self._pass(message, self.to_server)
        self.to_server.react = lambda message: self._pass(message, self.to_client)

    @staticmethod
    def _pass(message: Message | Unknown, other: FakePeer) -> None:
        """Say what was heard, if there is still somebody to say it to."""
        if other.channel is not None and other.channel.connection.phase is not Phase.CLOSED:
            assert not isinstance(message, Unknown)
            other.channel.send(message)


class MiddleTests(SynchronousTestCase):
    """
    Certificate checking was off. Here it is the server identity that is checked, and it vouches for one TLS key in one channel.
    """

    def setUp(self) -> None:
        """Alice is registered, and about to log in again."""
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.world = World()
        alice = self.world.user("alice")
        alice.disconnect()
        self.world.settle()
        self.events: list[Event] = []
        world, parts = self.world, (alice.store, alice.profile())
        self.agent = Agent(*parts, now=world.now, seconds=world.seconds, soon=world.later, notify=self.events.append)
        self.pumps: list[iosim.IOPump] = []
        self.server = ConnectionOptions(
            Side.SERVER, self.world.server.connect, self.credentials().observe, self.clock, self.turn
        )
        self.client = self.client_options(self.agent)

    def credentials(self) -> ServerCredentials:
        """The server's certificate and key."""
        return ServerCredentials(*key_files(), spki_digest)

    def stolen_name(self) -> ServerCredentials:
        """A certificate for the same names, with another key."""
        folder = scratch(self)
        key, certificate = tls_key_pair(["localhost", "127.0.0.1"], days=2)
        (folder / "key").write_bytes(key)
        (folder / "certificate").write_bytes(certificate)
        return ServerCredentials(folder / "certificate", folder / "key", spki_digest)

    def client_options(self, peer: Agent | FakePeer) -> ConnectionOptions:
        """Terms of a client's end."""
        trust = ClientTrust("localhost", spki_digest)
        return ConnectionOptions(Side.CLIENT, lambda: peer, trust.observe, self.clock, self.turn)

    def join(self, client: ConnectionOptions, server: ConnectionOptions, credentials: ServerCredentials) -> None:
        """Connect two ends with TLS between them."""

        def wrapped(options: ConnectionOptions, creator: ServerCredentials | ClientTrust) -> TLSMemoryBIOFactory:
            """A factory of this end."""
            factory = ProtocolFactory()
            factory.buildProtocol = lambda addr: StreamProtocol(options)  # type: ignore[method-assign]
            return SecureFactory(creator, options.side is Side.CLIENT, factory, self.clock)

        server_end = wrapped(server, credentials).buildProtocol(None)
        client_end = wrapped(client, ClientTrust("localhost", spki_digest)).buildProtocol(None)
        assert server_end is not None
        assert client_end is not None
        server_wire, client_wire = iosim.makeFakeServer(server_end), iosim.makeFakeClient(client_end)
        self.pumps.append(iosim.connect(server_end, server_wire, client_end, client_wire, clock=self.clock))

    def run_all(self) -> None:
        """Let everything happen."""
        for _ in range(ROUNDS):
            for pump in self.pumps:
                pump.flush()
            self.world.settle()
            self.clock.advance(0)

    def test_nobody(self) -> None:
        """With nobody in between the login succeeds."""
        self.join(self.client, self.server, self.credentials())
        self.run_all()
        self.assertTrue(self.agent.is_ready)
        self.assertEqual([type(event) for event in self.events if isinstance(event, Ready | Failed)], [Ready])

    def assert_found_out(self, relay: Relay) -> None:
        """Greetings passed, and then nothing that proves or tells anything."""
        self.assertEqual([type(message) for message in relay.to_client.messages], [Hello])
        self.assertEqual([type(message) for message in relay.to_server.messages], [Challenge])
        self.assertEqual([event for event in self.events if isinstance(event, Failed)], [Failed("server-identity")])
        self.assertFalse(self.agent.is_ready)
        self.assertEqual(self.world.server.logged_in, 0)

    def test_other_key(self) -> None:
        """
        Somebody in between with a certificate for the same name is found out before the client has proved or said anything.
        """
        relay, credentials = Relay(), self.stolen_name()
        self.join(self.client_options(relay.to_server), self.server, self.credentials())
        middle = ConnectionOptions(Side.SERVER, lambda: relay.to_client, credentials.observe, self.clock, self.turn)
        self.join(self.client, middle, credentials)
        self.run_all()
        self.assert_found_out(relay)

    def test_same_key(self) -> None:
        """Even with the TLS key of the server itself: what its identity signed belongs to another channel."""
        relay = Relay()
        self.join(self.client_options(relay.to_server), self.server, self.credentials())
        middle = ConnectionOptions(Side.SERVER, lambda: relay.to_client, self.credentials().observe, self.clock, self.turn)
        self.join(self.client, middle, self.credentials())
        self.run_all()
        self.assert_found_out(relay)

    def prove(self, relay: Relay, exporter: bytes | None) -> Message | Unknown:
        """
        Log in at the real server with Alice's own key.

        @param exporter: of the channel that she believes to be in; C{None}: of the one she is in.
        @return: what the server says.
        """
        relay.to_server.react = lambda message: None
        self.join(self.client_options(relay.to_server), self.server, self.credentials())
        self.run_all()
        channel, profile = relay.to_server.channel, self.agent.profile
        assert isinstance(channel, StreamProtocol)
        channel.send(Hello([1], [], "device", "tcp", bytes(32)))
        self.run_all()
        connection = channel.connection
        binding = evolve(channel.binding, exporter=exporter) if exporter else channel.binding
        own = profile.name, profile.device_id
        parts = proof_parts(connection.hello, connection.challenge, profile.pin, *own, 2**40, binding)
        channel.send(Proof(*own, 2**40, profile.device_key.sign(PROOF_LABEL, *parts)))
        self.run_all()
        return relay.to_server.messages[-1]

    def test_careless_client(self) -> None:
        """
        The server looks too: what a client signed for one channel logs nobody in through another, even if the client did not
        look whom it was talking to.
        """
        relay = Relay()
        self.prove(relay, bytes(32))
        self.assertEqual(relay.to_server.codes, ["login-failed"])
        self.assertEqual(self.world.server.logged_in, 0)
        self.assertIsInstance(self.prove(Relay(), None), Drained)
        self.assertEqual(self.world.server.logged_in, 1)
