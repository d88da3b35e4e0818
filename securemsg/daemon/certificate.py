"""Certificate and key of the server's end of TLS: issued ones, or self-made ones in the state folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from OpenSSL import SSL
from twisted.logger import Logger

from securemsg.daemon.folder import StateError, read_private, write_private
from securemsg.errors import Unauthentic
from securemsg.net.tls import ServerCredentials, Spki, certificate_is_good

TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.pem"

DAY = 86400
# Clients pin the server identity, not this certificate; a start replaces one that expires within this time, seconds.
CERTIFICATE_DAYS = 730
CERTIFICATE_MARGIN = 90 * DAY

_log = Logger()


def load_credentials(certificate: Path, key: Path, spki: Spki) -> ServerCredentials:
    """
    Read a certificate and its key.

    @raise StateError: they cannot be read, or do not belong together.
    """
    try:
        return ServerCredentials(certificate, key, spki)
    except OSError as error:
        raise StateError(f"{error.filename} cannot be read: {error.strerror}") from error
    except (SSL.Error, Unauthentic) as error:
        raise StateError(
            f"{certificate} and {key} are not a certificate and its private key, both PEM and without a passphrase;"
            " check --cert and --key"
        ) from error


def keep_credentials(
    folder: Path, names: Sequence[str], make: Callable[..., tuple[bytes, bytes]], spki: Spki, now: float
) -> ServerCredentials:
    """
    Our own certificate; a new one if there is none, if it expires soon, or if it names other hosts.

    @param names: host names and IP addresses.
    @param make: takes the names and C{days}, and makes private key and certificate, both PEM.
    @raise StateError: the files cannot be read or written.
    """
    certificate, key = folder / TLS_CERTIFICATE, folder / TLS_KEY
    kept = read_private(certificate)
    if kept is not None and certificate_is_good(kept, names, now, CERTIFICATE_MARGIN):
        try:
            return load_credentials(certificate, key, spki)
        except StateError:
            # A daemon was killed between writing the two files, or one is lost or damaged.
            _log.info("the TLS key did not match its certificate; both were replaced")
    key_pem, certificate_pem = make(names, days=CERTIFICATE_DAYS)
    write_private(key, key_pem)
    write_private(certificate, certificate_pem)
    return load_credentials(certificate, key, spki)
