"""Tests of L{securemsg.net.tls} and of streams above it, with real TLS in memory."""

from __future__ import annotations

import ssl
import warnings

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from securemsg.crypto.keys import spki_digest, tls_key_pair
from securemsg.net.stream import StreamProtocol
from securemsg.net.timeouts import CLOSING_TIME, HANDSHAKE_TIME, LOGIN_TIME
from securemsg.net.tls import ClientTrust, SecureFactory, ServerCredentials, certificate_expiry, is_tls_failure, shown_expiry
from securemsg.protocol.auth import ALPN
from securemsg.protocol.messages import Ping, Pong
from securemsg.protocol.states import Side
from tests.net.fakes import HELLO, End, key_files, log_in, scratch, secure_pair


class Recorder(Protocol):
    """A client that is not ours."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.received = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep the reason."""
        self.reason = reason


@implementer(IOpenSSLClientConnectionCreator)
class OtherClient:
    """A client's end with settings that ours does not have."""

    def __init__(self, protocols: tuple[bytes, ...] = (ALPN,), newest: int = SSL.TLS1_3_VERSION) -> None:
        """Offer these."""
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_max_proto_version(newest)
        if protocols:
            self.context.set_alpn_protos(list(protocols))

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One end."""
        self.connection = SSL.Connection(self.context, None)
        return self.connection


def server_end(credentials: ServerCredentials) -> tuple[End, Clock, StringTransport, TLSMemoryBIOProtocol]:
    """A server's end without a client."""
    clock = Clock()
    end = End(Side.SERVER, clock)
    stream = StreamProtocol(end.options(credentials.observe))
    factory = Factory()
    factory.buildProtocol = lambda addr: stream  # type: ignore[method-assign]
    outer = SecureFactory(credentials, False, factory, clock).buildProtocol(None)
    assert outer is not None
    transport = StringTransport()
    outer.makeConnection(transport)
    return end, clock, transport, outer


class HandshakeTests(SynchronousTestCase):
    """Who gets a connection, and what both ends know of it."""

    def test_both_open(self) -> None:
        """Two ends of ours agree, without a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pair = secure_pair()
        self.assertIsNotNone(pair.client.peer.channel)
        self.assertIsNotNone(pair.server.peer.channel)

    def test_binding(self) -> None:
        """Both ends see the same exporter and the same server key."""
        pair = secure_pair()
        assert isinstance(pair.client_stream, StreamProtocol)
        binding = pair.server_stream.binding
        self.assertEqual(pair.client_stream.binding, binding)
        self.assertEqual((binding.transport, binding.kind), ("tcp", "tls-exporter"))
        self.assertEqual(len(binding.exporter), 32)
        self.assertEqual(binding.spki, spki_digest(key_files()[0].read_bytes()))

    def test_exporter_is_fresh(self) -> None:
        """Another connection has another exporter."""
        one, other = secure_pair(), secure_pair()
        self.assertNotEqual(one.server_stream.binding.exporter, other.server_stream.binding.exporter)

    def test_group(self) -> None:
        """Two default ends agree on a post-quantum key exchange in TLS 1.3, and both know it."""
        pair = secure_pair()
        assert isinstance(pair.client_stream, StreamProtocol)
        for link in (pair.client_stream.link, pair.server_stream.link):
            assert link is not None
            self.assertEqual((link.version, link.group), ("TLSv1.3", "X25519MLKEM768"))
            self.assertIn(link.cipher, ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"))

    def test_certificate_expiry(self) -> None:
        """A client knows when the certificate ends; one that cannot be read says nothing, and harms nobody."""
        pair = secure_pair()
        assert isinstance(pair.client_stream, StreamProtocol)
        assert pair.client_stream.link is not None
        self.assertEqual(pair.client_stream.link.certificate_expires_at, certificate_expiry(key_files()[0].read_bytes()))
        self.assertEqual(shown_expiry(b"nonsense"), 0)

    def test_no_alpn(self) -> None:
        """A client that offers no ALPN is dropped without a message, and no peer is made for it."""
        other = Recorder()
        pair = secure_pair(client_creator=OtherClient(()), client_protocol=other)
        self.assertEqual(other.received, b"")
        self.assertIsNotNone(other.reason)
        self.assertIsNone(pair.server.peer.channel)
        self.assertEqual(pair.server.unopened, ["tls"])

    def test_wrong_alpn(self) -> None:
        """A client that wants another protocol fails in its handshake, with the alert made for that."""
        other = Recorder()
        pair = secure_pair(client_creator=OtherClient((b"h2", b"http/1.1")), client_protocol=other)
        assert other.reason is not None
        self.assertIn("no application protocol", str(other.reason.value))
        self.assertIsNone(pair.server.peer.channel)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_old_tls(self) -> None:
        """TLS 1.2 is refused."""
        other = Recorder()
        pair = secure_pair(client_creator=OtherClient(newest=SSL.TLS1_2_VERSION), client_protocol=other)
        assert other.reason is not None
        self.assertIn("protocol version", str(other.reason.value))
        self.assertIsNone(pair.server.peer.channel)

    def test_server_without_alpn(self) -> None:
        """Our client drops a server that agrees on no protocol."""
        credentials = ServerCredentials(*key_files(), spki_digest)
        credentials._context = SSL.Context(SSL.TLS_METHOD)
        credentials._context.use_certificate_chain_file(str(key_files()[0]))
        credentials._context.use_privatekey_file(str(key_files()[1]))
        pair = secure_pair(server_creator=credentials)
        self.assertIsNone(pair.client.peer.channel)
        self.assertEqual(pair.client.unopened, ["tls"])

    def test_no_resumption(self) -> None:
        """A client that waited for its ticket and shows it resumes nothing: it gets a whole handshake, and a connection."""
        credentials = ServerCredentials(*key_files(), spki_digest)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([ALPN.decode()])
        session = None
        for _ in range(2):
            end, _, transport, outer = server_end(credentials)
            to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(to_client, to_server, session=session)
            for step in (client.do_handshake, client.do_handshake, client.do_handshake, client.read):
                try:
                    step()
                except ssl.SSLWantReadError:
                    pass
                if to_server.pending:
                    outer.dataReceived(to_server.read())
                to_client.write(transport.value())
                transport.clear()
            session = client.session
            assert session is not None
            self.assertEqual((session.has_ticket, client.session_reused), (True, False))
            self.assertIsNotNone(end.peer.channel)


class SilenceTests(SynchronousTestCase):
    """Strangers hold a place for ten seconds at most."""

    def test_silent_handshake(self) -> None:
        """Who says nothing at all is cut off after ten seconds."""
        end, clock, transport, outer = server_end(ServerCredentials(*key_files(), spki_digest))
        clock.advance(HANDSHAKE_TIME - 1)
        self.assertFalse(transport.disconnected)
        clock.advance(1)
        self.assertTrue(transport.disconnected)
        outer.connectionLost(Failure(ConnectionError()))
        self.assertEqual((end.unopened, end.on_hangup), (["timeout"], ["timeout"]))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_dribbled_handshake(self) -> None:
        """A client hello that trickles in does not lengthen that time."""
        _, clock, transport, outer = server_end(ServerCredentials(*key_files(), spki_digest))
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03":
            outer.dataReceived(bytes((byte,)))
            clock.advance(1)
        self.assertTrue(transport.disconnected)

    def test_garbage_handshake(self) -> None:
        """Something else than TLS ends the connection, with no traceback."""
        end, _, transport, outer = server_end(ServerCredentials(*key_files(), spki_digest))
        outer.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(transport.disconnecting)
        outer.connectionLost(Failure(ConnectionError()))
        self.assertEqual(end.unopened, ["lost"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_silence_after_handshake(self) -> None:
        """A client that is silent after the handshake gets C{timeout} ten seconds later."""
        pair = secure_pair()
        pair.clock.advance(LOGIN_TIME)
        pair.pump.flush()
        self.assertEqual(pair.server.on_hangup, ["timeout"])
        self.assertEqual(pair.client.peer.codes, ["timeout"])


class TrafficTests(SynchronousTestCase):
    """Messages through TLS."""

    def test_messages(self) -> None:
        """Messages go both ways."""
        pair = secure_pair()
        log_in(pair.server.peer, pair.client.peer, pair.pump.flush)
        assert pair.client.peer.channel is not None
        pair.client.peer.channel.send(Ping(1))
        pair.pump.flush()
        pair.server_stream.send(Pong(1, 2))
        pair.pump.flush()
        self.assertEqual(pair.server.peer.messages, [Ping(1)])
        self.assertEqual(pair.client.peer.messages, [Pong(1, 2)])

    def test_close(self) -> None:
        """The last message arrives, and both peers are told once of the end."""
        pair = secure_pair()
        log_in(pair.server.peer, pair.client.peer, pair.pump.flush)
        pair.server_stream.close("replaced")
        pair.pump.flush()
        self.assertEqual(pair.client.peer.codes, ["replaced"])
        self.assertEqual(pair.server.peer.codes, ["replaced"])
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_full_server(self) -> None:
        """A code that is said before anything else reaches the other end as such, and not as a message."""
        pair = secure_pair()
        pair.server_stream.close("server-full")
        pair.pump.flush()
        self.assertEqual(pair.client.peer.codes, ["server-full"])
        self.assertEqual(pair.client.peer.messages, [])

    def test_never_reads(self) -> None:
        """A peer that reads neither the last message nor the end of TLS is cut off five seconds later."""
        pair = secure_pair()
        log_in(pair.server.peer, pair.client.peer, pair.pump.flush)
        pair.server_stream.close("replaced")
        self.assertFalse(pair.wire[1].disconnecting)
        pair.clock.advance(CLOSING_TIME)
        self.assertTrue(pair.wire[1].disconnecting)

    def test_full_buffer(self) -> None:
        """A full buffer below TLS is reported through TLS."""
        pair = secure_pair()
        log_in(pair.server.peer, pair.client.peer, pair.pump.flush)
        producer = pair.wire[1].producer
        assert producer is not None
        producer.pauseProducing()
        producer.resumeProducing()
        self.assertEqual(pair.server.peer.full, [True, False])

    def test_records_in_pieces(self) -> None:
        """TLS records that arrive byte by byte carry whole messages."""
        pair = secure_pair()
        assert pair.client.peer.channel is not None
        pair.client.peer.channel.send(HELLO)
        pair.clock.advance(0)
        for byte in pair.wire[0].getOutBuffer():
            pair.wire[1].protocol.dataReceived(bytes((byte,)))
        self.assertEqual(pair.server.peer.messages, [HELLO])

    def test_garbage_in_tls(self) -> None:
        """Nonsense inside TLS is answered with its code."""
        other = Recorder()
        pair = secure_pair(client_protocol=other)
        assert other.transport is not None
        other.transport.write(b"\x00\x00\x00\x01\xc1")
        pair.pump.flush()
        self.assertEqual(pair.server.on_hangup, ["malformed"])
        self.assertTrue(other.received.endswith(b"malformed"))

    def test_flipped_bit(self) -> None:
        """A record that was altered on its way ends the connection as lost, with no traceback."""
        pair = secure_pair()
        assert pair.client.peer.channel is not None
        pair.client.peer.channel.send(HELLO)
        pair.clock.advance(0)
        record = bytearray(pair.wire[0].getOutBuffer())
        record[-1] ^= 1
        pair.wire[1].protocol.dataReceived(bytes(record))
        pair.pump.flush()
        self.assertEqual(pair.server.peer.messages, [])
        self.assertEqual(pair.server.peer.codes, ["lost"])
        self.assertEqual(self.flushLoggedErrors(), [])


class IssuedCertificateTests(SynchronousTestCase):
    """A client that wants a certificate by a known issuer, for the very host it meant."""

    def reason(self, trust: ClientTrust) -> Failure | None:
        """Why a client with this trust lost its connection, if it did."""
        other = Recorder()
        secure_pair(client_creator=trust, client_protocol=other)
        return other.reason

    def test_accepted(self) -> None:
        """Right issuer and right name: the connection stands, for a DNS name and for an address."""
        for host in ("localhost", "127.0.0.1"):
            self.assertIsNone(self.reason(ClientTrust(host, spki_digest, key_files()[0])))

    def test_other_name(self) -> None:
        """A certificate for another host is a TLS failure."""
        for host in ("example.org", "127.0.0.2"):
            reason = self.reason(ClientTrust(host, spki_digest, key_files()[0]))
            assert reason is not None
            self.assertIsInstance(reason.value, VerificationError)
            self.assertTrue(is_tls_failure(reason))

    def test_other_issuer(self) -> None:
        """A certificate of an unknown issuer is a TLS failure."""
        _, certificate = tls_key_pair(["localhost"], days=1)
        authority = scratch(self) / "thing"
        authority.write_bytes(certificate)
        reason = self.reason(ClientTrust("localhost", spki_digest, authority))
        assert reason is not None
        self.assertTrue(is_tls_failure(reason))

    def test_pinned_needs_no_issuer(self) -> None:
        """Without authorities any certificate will do, under any name: the server identity is what counts."""
        self.assertIsNone(self.reason(ClientTrust("example.org", spki_digest)))


class CredentialTests(SynchronousTestCase):
    """The server's files."""

    def test_other_key(self) -> None:
        """A key that does not belong to the certificate is refused."""
        key, _ = tls_key_pair(["localhost"], days=1)
        path = scratch(self) / "thing"
        path.write_bytes(key)
        with self.assertRaises(SSL.Error):
            ServerCredentials(key_files()[0], path, spki_digest)

    def test_missing(self) -> None:
        """A file that is not there is an C{OSError}."""
        with self.assertRaises(OSError):
            ServerCredentials(key_files()[0], scratch(self) / "thing", spki_digest)

    def test_refused_connection(self) -> None:
        """A factory that makes no protocol makes none with TLS either."""
        factory = Factory()
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        credentials = ServerCredentials(*key_files(), spki_digest)
        self.assertIsNone(SecureFactory(credentials, False, factory, Clock()).buildProtocol(None))


class CounterTests(SynchronousTestCase):
    """What is counted of connections."""

    def test_handshake(self) -> None:
        """A handshake is counted by its group, a connection when it begins and when it ends."""
        pair = secure_pair()
        counters = pair.server.counters
        self.assertEqual((counters.opened, counters.closed, sum(counters.handshakes.values())), (1, 0, 1))
        self.assertTrue(all(counters.handshakes))
        pair.client_stream.close()  # type: ignore[attr-defined]
        pair.pump.flush()
        self.assertEqual((counters.opened, counters.closed, counters.failures), (1, 1, {}))

    def test_failure(self) -> None:
        """A handshake that fails is counted by why."""
        pair = secure_pair(client_protocol=Protocol(), client_creator=ClientTrust("localhost", spki_digest), greet=False)
        pair.wire[1].abortConnection()
        pair.pump.flush()
        counters = pair.server.counters
        self.assertEqual((counters.closed, counters.handshakes, counters.failures), (1, {}, {"lost": 1}))
