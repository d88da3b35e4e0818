"""
TLS 1.3, and nothing older: contexts, the factory that wraps ours, and what is observed of a handshake.

ALPN is required of both ends. There is no 0-RTT, no renegotiation and no compression. pyOpenSSL cannot stop OpenSSL from
sending session tickets, but with stateless tickets and the cache both off nothing can be resumed with them.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from weakref import WeakKeyDictionary

from attrs import evolve, frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    ISystemHandle,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from securemsg.net.link import LinkInfo, Wire
from securemsg.net.records import choose_records
from securemsg.protocol.auth import ALPN, EXPORTER_LABEL, EXPORTER_SIZE, Binding

# An idle connection gives its record buffers back: 24 kB each, as measured. pyOpenSSL has no name for it (openssl/ssl.h).
RELEASE_BUFFERS = 0x10

# Bytes that one end of a handshake sends at once, a chain of certificates included, at most.
MAX_FLIGHT = 1 << 20

# How each certificate of a chain begins in PEM.
CHAIN_BEGIN = b"-----BEGIN CERTIFICATE-----"

# Takes a certificate, PEM or DER, and gives the SHA-256 of its SubjectPublicKeyInfo; a parameter: it needs a crypto library.
Spki = Callable[[bytes], bytes]


class SecureFactory(TLSMemoryBIOFactory):
    """
    Puts TLS under the protocols of our factories.

    Ours collect their frames themselves, so that the buffer which Twisted would add only costs; and they may refuse
    a connection, which the factory of Twisted does not expect.
    """

    protocol = TLSMemoryBIOProtocol

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        """Wrap what the factory inside makes, if it makes anything."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


def openssl_version() -> str:
    """The OpenSSL that carries connections over TCP."""
    return " ".join(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace").split()[:2])


def _context() -> SSL.Context:
    """What both ends have in common."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(RELEASE_BUFFERS)
    return context


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Choose our protocol, or end the handshake with the alert C{no_application_protocol} (RFC 7301 3.2)."""
    if ALPN in offered:
        return ALPN
    raise SSL.Error([("SSL routines", "", "no application protocol")])


def _test_handshake(context: SSL.Context) -> tuple[SSL.Connection, SSL.Connection]:
    """
    Do a handshake in memory. A private key whose secret part is damaged still fits its certificate by its public part; only a
    signature shows the damage.

    @return: both ends, the client first.
    @raise SSL.Error: no client could connect.
    """
    server, client = SSL.Connection(context, None), SSL.Connection(_context(), None)
    server.set_accept_state()
    client.set_connect_state()
    client.set_alpn_protos([ALPN])
    # Hello, the server's answer, and what the client makes of it.
    for end, other in ((client, server), (server, client), (client, server)):
        with contextlib.suppress(SSL.WantReadError):
            end.do_handshake()
        other.bio_write(end.bio_read(MAX_FLIGHT))
    server.do_handshake()
    return client, server


@implementer(IOpenSSLServerConnectionCreator)
class ServerCredentials:
    """
    The server's end: certificate chain and key, from PEM files. They may be replaced: connections that are there keep theirs.

    @ivar files: both.
    @ivar spki: SHA-256 of the SubjectPublicKeyInfo.
    @ivar pem: the certificate and its chain.
    @ivar expires_at: when the certificate expires.
    @ivar records: how to read and write on what L{connection_on} gives.
    """

    def __init__(self, certificate: Path, key: Path, spki: Spki) -> None:
        """
        Read the files.

        @raise SSL.Error: a file is no PEM of its kind, they do not belong together, or the key is damaged.
        @raise OSError: a file cannot be read.
        """
        for path in (certificate, key):
            # A pipe would hold everything up.
            if path.exists() and not path.is_file():
                raise OSError(errno.EINVAL, "it is no regular file", str(path))
        pem = certificate.read_bytes()
        if b"ENCRYPTED" in key.read_bytes():
            # OpenSSL would ask for the passphrase at the terminal, and wait.
            raise SSL.Error([("PEM", "read", "it has a passphrase")])
        self._context = _context()
        self._context.use_certificate_chain_file(str(certificate))
        self._context.use_privatekey_file(str(key))
        self._context.check_privatekey()
        self._context.set_alpn_select_callback(_select)
        self.records = choose_records(SSL, *_test_handshake(self._context))
        self.files = certificate, key
        self.pem = pem
        self.spki = spki(pem)
        self.expires_at = certificate_expiry(pem)
        self._spkis = WeakKeyDictionary({self._context: self.spki})

    def replace(self, fresh: ServerCredentials) -> None:
        """Take another pair for the handshakes to come."""
        self._context, self.files, self.pem, self.spki = fresh._context, fresh.files, fresh.pem, fresh.spki
        self.expires_at = fresh.expires_at
        self._spkis[self._context] = self.spki

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The server's end of one connection."""
        return SSL.Connection(self._context, None)

    def connection_on(self, handle: socket.socket) -> SSL.Connection:
        """The server's end of one connection, which reads and writes on a socket by itself."""
        connection = SSL.Connection(self._context, handle)
        connection.set_accept_state()
        return connection

    def observe(self, transport: Wire) -> LinkInfo | None:
        """What protects a connection that a client made."""
        return _observe(transport, lambda connection: self._spkis.get(connection.get_context(), self.spki))


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class ClientTrust:
    """
    A client's end.

    As a rule any certificate will do: the server proves itself in Challenge, whose signature covers the key observed here.
    With C{authorities} the certificate must besides have been issued by one of them, for this very host.

    @ivar host: name or IP address, as the user gave it.
    @ivar authorities: PEM file of trusted issuers, or C{None}.
    """

    host: str
    spki: Spki
    authorities: Path | None = None

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The client's end of one connection."""
        context = _context()
        context.set_alpn_protos([ALPN])
        is_address = _is_address(self.host)
        ascii_host = self.host if is_address else self.host.encode("idna").decode("ascii")
        wanted = IPAddress_ID(ascii_host) if is_address else DNS_ID(ascii_host)
        if self.authorities is not None:
            context.load_verify_locations(str(self.authorities))

            def verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
                """OpenSSL has checked the chain; the name of the last certificate is ours to check."""
                if not ok or depth:
                    return bool(ok)
                try:
                    verify_service_identity(extract_patterns(certificate), [wanted], [])
                except Exception as problem:  # noqa: BLE001 - whatever it is: not verified, and OpenSSL must not see it raised
                    protocol.failVerification(Failure(problem))
                    return False
                return True

            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        connection = SSL.Connection(context, None)
        if not is_address:
            connection.set_tlsext_host_name(ascii_host.encode("ascii"))
        return connection

    def observe(self, transport: Wire) -> LinkInfo | None:
        """What protects a connection that we made."""
        der: list[bytes] = []

        def observed(connection: SSL.Connection) -> bytes:
            """The key that the server used in this very handshake."""
            certificate = connection.get_peer_certificate()
            assert certificate is not None, "TLS 1.3 without a pre-shared key has one"
            der.append(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
            return self.spki(der[0])

        link = _observe(transport, observed)
        return None if link is None else evolve(link, certificate_expires_at=shown_expiry(der[0]))


def _observe(transport: Wire, spki: Callable[[SSL.Connection], bytes]) -> LinkInfo | None:
    """What both ends see of a handshake; C{None} if it is not our protocol that was agreed upon."""
    assert ISystemHandle.providedBy(transport), "what carries TLS, here or in Twisted"
    connection = transport.getHandle()
    assert isinstance(connection, SSL.Connection), "as above"
    if connection.get_alpn_proto_negotiated() != ALPN:
        return None
    exporter = connection.export_keying_material(EXPORTER_LABEL, EXPORTER_SIZE, b"")
    return LinkInfo(
        Binding("tcp", "tls-exporter", exporter, spki(connection)),
        connection.get_protocol_version_name(),
        connection.get_cipher_name() or "",
        connection.get_group_name() or "",
    )


def certificate_expiry(pem: bytes) -> float:
    """
    When a certificate expires, Unix time.

    @raise Exception: of many kinds: it is none.
    """
    return _end_of(crypto.load_certificate(crypto.FILETYPE_PEM, pem))


def shown_expiry(der: bytes) -> float:
    """When the certificate of a server expires, Unix time, to show it to people; 0 where that cannot be read."""
    try:
        return max(_end_of(crypto.load_certificate(crypto.FILETYPE_ASN1, der)), 0)
    except Exception:  # noqa: BLE001 - a strange one fails in more ways than anybody lists, and proves nothing anyway
        return 0


def _end_of(certificate: crypto.X509) -> float:
    end = (certificate.get_notAfter() or b"").decode("ascii")
    return datetime.strptime(end, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def chain_problem(pem: bytes, now: float) -> str:
    """What is wrong with a certificate and its chain; empty: each is valid now, and issued by the next."""
    blocks = [CHAIN_BEGIN + block for block in pem.split(CHAIN_BEGIN)[1:]]
    chain = [crypto.load_certificate(crypto.FILETYPE_PEM, block).to_cryptography() for block in blocks]
    for number, certificate in enumerate(chain, 1):
        if certificate.not_valid_before_utc.timestamp() > now:
            return f"certificate {number} of {len(chain)} is not valid yet"
        if certificate.not_valid_after_utc.timestamp() <= now:
            return f"certificate {number} of {len(chain)} has expired"
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if certificate.issuer != issuer.subject:
            order = "put the certificate first, then each issuer"
            return f"certificate {number + 1} of {len(chain)} has not issued the one before it; {order}"
    return ""


def certificate_is_good(pem: bytes, names: Sequence[str], now: float, margin: float) -> bool:
    """
    Whether a certificate names all of these hosts and addresses, and holds for a while yet.

    @param margin: seconds from C{now} for which it must hold.
    """
    try:
        patterns, end = extract_patterns(crypto.load_certificate(crypto.FILETYPE_PEM, pem)), certificate_expiry(pem)
    except Exception:  # noqa: BLE001 - a damaged one fails in more ways than anybody lists, and is replaced
        return False
    named = {getattr(pattern, "pattern", None) for pattern in patterns}
    for name in names:
        wanted: object = ipaddress.ip_address(name) if _is_address(name) else name.encode("ascii")
        if wanted not in named:
            return False
    return end > now + margin


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)


def is_tls_failure(reason: Failure) -> bool:
    """Whether a connection ended because TLS could not be agreed upon, or the certificate is not what was asked for."""
    return reason.check(SSL.Error, VerificationError) is not None
