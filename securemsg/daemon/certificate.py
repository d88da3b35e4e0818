"""
Certificate and key of the server's end of TLS: issued ones, or self-made ones in the state folder. Either may be replaced while
the daemon runs: connections that come later use the other pair, those that are open keep theirs.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL
from twisted.logger import Logger

from securemsg.daemon.folder import StateError, read_private, write_private
from securemsg.errors import Unauthentic
from securemsg.net.tls import ServerCredentials, Spki, certificate_is_good, chain_problem

TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.pem"

DAY = 86400
# Clients pin the server identity, not this certificate; one of ours that expires within this time is replaced, seconds.
CERTIFICATE_DAYS = 730
CERTIFICATE_MARGIN = 90 * DAY
# An issued one that expires within this time is a warning, once a day, seconds.
WARNING_MARGIN = 14 * DAY

# Errors of reading that say nothing of the files: they are read again at the next look.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)

# Takes names and C{days}, and makes private key and certificate, both PEM.
MakePair = Callable[..., tuple[bytes, bytes]]

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


class IssuedPair:
    """
    An issued certificate and its key, which an ACME client or a person replaces while the daemon runs.

    @ivar refused: how often changed files were not good enough to be used.
    """

    def __init__(self, credentials: ServerCredentials, spki: Spki, now: Callable[[], float]) -> None:
        """
        @param credentials: those that were read at the start.
        """
        self._credentials = credentials
        self._spki = spki
        self._now = now
        self.refused = 0
        # Those that were read last. If they were bad, the pair in use came from others.
        self._files = credentials.files
        self._seen = _states(*self._files)
        self._warned_at: float | None = None

    def warn(self) -> None:
        """Log once a day that the pair in use ends soon."""
        now, end = self._now(), self._credentials.expires_at
        is_told = self._warned_at is not None and 0 <= now - self._warned_at < DAY
        if end - now < WARNING_MARGIN and not is_told:
            self._warned_at = now
            _log.warn(
                "the certificate {certificate} expires {end}; renew it, and it is used within a minute",
                certificate=str(self._credentials.files[0]),
                end=f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}",
            )

    def look(self) -> bool:
        """
        Read the files again if they have changed; see L{reload}.

        @return: whether there is another pair.
        """
        return _states(*self._files) != self._seen and self.reload(*self._files)

    def reload(self, certificate: Path, key: Path) -> bool:
        """
        Read the files again, and take them for new connections if they are good. If they are not, the log says why, and the
        pair stays as it is until they change again.

        @return: whether there is another pair.
        """
        self._files = certificate, key
        self._seen = _states(certificate, key)
        try:
            fresh = load_credentials(certificate, key, self._spki)
            problem = chain_problem(fresh.pem, self._now())
            if problem:
                raise StateError(f"{certificate}: {problem}")
        except Exception as error:  # noqa: BLE001 - the libraries fail in more ways than anybody lists, and the pair stays
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in PASSING:
                self._seen = ()
            self.refused += 1
            _log.error("the certificate stays as it is: {problem}", problem=str(error))
            return False
        if fresh.pem == self._credentials.pem and fresh.files == self._credentials.files:
            return False
        self._credentials.replace(fresh)
        end = datetime.fromtimestamp(fresh.expires_at, UTC)
        _log.info("new connections use {certificate}, which expires {end}", certificate=str(certificate), end=f"{end:%Y-%m-%d}")
        return True


class OwnPair:
    """
    Our own certificate and its key, in the state folder.

    @ivar credentials: what connections use.
    """

    def __init__(self, folder: Path, names: Sequence[str], make: MakePair, spki: Spki, now: Callable[[], float]) -> None:
        """
        See L{keep_credentials}.

        @raise StateError: the files cannot be read or written.
        """
        self._folder = folder
        self._names = names
        self._make = make
        self._spki = spki
        self._now = now
        self.credentials = keep_credentials(folder, names, make, spki, now())

    def look(self) -> bool:
        """
        Make the pair anew if it expires soon. If that fails, the log says why, and it is tried again at the next look.

        @return: whether there is another pair.
        """
        if self.credentials.expires_at > self._now() + CERTIFICATE_MARGIN:
            return False
        try:
            self.rotate()
        except StateError as error:
            _log.error("the TLS key was not made anew: {problem}", problem=str(error))
            return False
        return True

    def rotate(self) -> None:
        """
        Make the pair anew, for connections that come later.

        @raise StateError: the files cannot be written.
        """
        self.credentials.replace(make_credentials(self._folder, self._names, self._make, self._spki))
        end = datetime.fromtimestamp(self.credentials.expires_at, UTC)
        _log.info("new connections use a new TLS key, whose certificate expires {end}", end=f"{end:%Y-%m-%d}")


def _states(*paths: Path) -> tuple[object, ...]:
    """What changes when a file is written or exchanged."""
    states: list[object] = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            states.append(None)
        else:
            states.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(states)


def keep_credentials(folder: Path, names: Sequence[str], make: MakePair, spki: Spki, now: float) -> ServerCredentials:
    """
    Our own certificate; a new one if there is none, if it expires soon, or if it names other hosts.

    @param names: host names and IP addresses.
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
    return make_credentials(folder, names, make, spki)


def make_credentials(folder: Path, names: Sequence[str], make: MakePair, spki: Spki) -> ServerCredentials:
    """
    A new certificate of our own, and its key.

    @raise StateError: the files cannot be written.
    """
    certificate, key = folder / TLS_CERTIFICATE, folder / TLS_KEY
    key_pem, certificate_pem = make(names, days=CERTIFICATE_DAYS)
    write_private(key, key_pem)
    write_private(certificate, certificate_pem)
    return load_credentials(certificate, key, spki)
