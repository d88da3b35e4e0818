"""
What one would write on a free afternoon: a stock Twisted TLS relay, as a yardstick.

C{Int32StringReceiver} over TLS 1.3. The first string says which pair one belongs to; every later one goes to the other end of
the pair. No store, no acknowledgements, no accounts, no limits.
"""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from twisted.internet import endpoints, reactor
from twisted.internet.interfaces import IAddress, IReactorCore
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory

from bench.served import HOST
from securemsg.crypto.keys import tls_key_pair

# What both ends of a pair hear once they are one.
PAIRED = b"paired"


class Relay(Int32StringReceiver):
    """The server's end of one connection."""

    _other: Relay | None = None
    _named = False

    def __init__(self, waiting: dict[bytes, Relay]) -> None:
        self._waiting = waiting

    def stringReceived(self, string: bytes) -> None:
        """Find the other end, then pass everything on to it."""
        if self._other is not None:
            self._other.sendString(string)
        elif not self._named:
            self._named = True
            other = self._waiting.pop(string, None)
            if other is None:
                self._waiting[string] = self
            else:
                self._other, other._other = other, self
                for end in (self, other):
                    end.sendString(PAIRED)


class RelayFactory(Factory):
    """Knows who waits for the other end."""

    noisy = False

    def __init__(self) -> None:
        self._waiting: dict[bytes, Relay] = {}

    def buildProtocol(self, addr: IAddress | None) -> Relay:
        """A connection."""
        return Relay(self._waiting)


def main() -> None:
    """Listen on the port that is named on the command line."""
    key, certificate = tls_key_pair(["localhost"], days=2)
    options = CertificateOptions(
        # Twisted still announces the types of pyOpenSSL, which pyOpenSSL itself gives up.
        privateKey=load_pem_private_key(key, None),  # type: ignore[arg-type]
        certificate=load_pem_x509_certificate(certificate),  # type: ignore[arg-type]
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )
    assert IReactorCore.providedBy(reactor)
    endpoint = endpoints.serverFromString(reactor, f"tcp:{int(sys.argv[1])}:interface={HOST}:backlog=1024")
    endpoint.listen(TLSMemoryBIOFactory(options, False, RelayFactory()))
    reactor.run()


if __name__ == "__main__":
    main()
