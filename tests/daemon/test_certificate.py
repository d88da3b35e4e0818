"""Tests of L{securemsg.daemon.certificate}: which certificate the daemon shows, and when it makes another."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest, tls_key_pair
from securemsg.daemon.certificate import (
    CERTIFICATE_DAYS,
    DAY,
    TLS_CERTIFICATE,
    TLS_KEY,
    IssuedPair,
    OwnPair,
    keep_credentials,
    load_credentials,
)
from securemsg.daemon.folder import StateError, open_folder, write_private
from securemsg.net.tls import certificate_is_good
from tests.net.fakes import scratch

NAMES = ("localhost", "127.0.0.1", "::1", "chat.example")


class OwnCertificateTests(SynchronousTestCase):
    """The daemon makes its own."""

    def setUp(self) -> None:
        """Make a folder, and count what is made."""
        self.folder = scratch(self) / "thing"
        open_folder(self.folder)
        self.made = 0

    def make(self, names: Sequence[str], *, days: int) -> tuple[bytes, bytes]:
        """Make a pair, and count it."""
        self.made += 1
        return tls_key_pair(names, days=days)

    def keep(self, names: Sequence[str] = NAMES, later: float = 0) -> None:
        """Start, some time from now."""
        keep_credentials(self.folder, names, self.make, spki_digest, time.time() + later)

    def test_once(self) -> None:
        """It is made at the first start, private, and kept."""
        self.keep()
        first = (self.folder / TLS_CERTIFICATE).read_bytes()
        self.keep()
        self.assertEqual(((self.folder / TLS_CERTIFICATE).read_bytes(), self.made), (first, 1))
        for name in (TLS_CERTIFICATE, TLS_KEY):
            self.assertEqual((self.folder / name).stat().st_mode & 0o777, 0o600)

    def test_other_names(self) -> None:
        """Another advertised host needs another certificate; fewer names do not."""
        self.keep()
        self.keep(NAMES[:3])
        self.assertEqual(self.made, 1)
        self.keep((*NAMES[:3], "other.example"))
        self.assertEqual(self.made, 2)

    def test_renewed_in_time(self) -> None:
        """It is replaced when it expires soon, and not before."""
        self.keep()
        self.keep(later=(CERTIFICATE_DAYS - 100) * DAY)
        self.assertEqual(self.made, 1)
        self.keep(later=(CERTIFICATE_DAYS - 80) * DAY)
        self.assertEqual(self.made, 2)

    def test_key_lost(self) -> None:
        """A key that is lost, or of another certificate, makes both new; the daemon starts."""
        self.keep()
        (self.folder / TLS_KEY).unlink()
        self.keep()
        write_private(self.folder / TLS_KEY, tls_key_pair(NAMES, days=9)[0])
        self.keep()
        self.assertEqual(self.made, 3)

    def test_key_damaged(self) -> None:
        """A bit that is flipped in the secret part of the key, beside a good public one, makes both new."""
        self.keep()
        path = self.folder / TLS_KEY
        lines = path.read_text("ascii").splitlines()
        der = bytearray(b64decode("".join(lines[1:-1])))
        secret = der.index(b"\x02\x01\x01\x04\x20") + 5
        der[secret + 7] ^= 1
        write_private(path, f"{lines[0]}\n{b64encode(der).decode()}\n{lines[-1]}\n".encode())
        self.keep()
        self.assertEqual(self.made, 2)
        self.keep()
        self.assertEqual(self.made, 2)

    def test_any_damage(self) -> None:
        """Wherever a bit of either file is flipped, the daemon starts: the pair is still good, or both are made new."""
        self.keep()
        for path in (self.folder / TLS_CERTIFICATE, self.folder / TLS_KEY):
            whole = path.read_bytes()
            for place in range(0, len(whole), 3):
                damaged = bytearray(whole)
                damaged[place] ^= 1 << place % 7
                path.write_bytes(damaged)
                certificate_is_good((self.folder / TLS_CERTIFICATE).read_bytes(), NAMES, 0, 0)
                with contextlib.suppress(StateError):
                    load_credentials(self.folder / TLS_CERTIFICATE, self.folder / TLS_KEY, spki_digest)
            path.write_bytes(whole)

    def test_nonsense(self) -> None:
        """A file that is no certificate is replaced."""
        write_private(self.folder / TLS_CERTIFICATE, b"nonsense")
        self.keep()
        self.assertEqual(self.made, 1)
        self.assertFalse(certificate_is_good(b"nonsense", NAMES, 0, 0))


class OwnPairTests(SynchronousTestCase):
    """Our own pair while the daemon runs."""

    def setUp(self) -> None:
        """It was just made."""
        self.folder = scratch(self) / "thing"
        open_folder(self.folder)
        self.now = time.time()
        self.pair = OwnPair(self.folder, NAMES, tls_key_pair, spki_digest, lambda: self.now)
        self.before = self.pair.credentials.spki

    def test_renewed(self) -> None:
        """It is made anew when it expires soon, and not before; a start after that finds it good."""
        self.assertFalse(self.pair.look())
        self.now += (CERTIFICATE_DAYS - 91) * DAY
        self.assertFalse(self.pair.look())
        self.now += 2 * DAY
        self.assertTrue(self.pair.look())
        self.assertNotEqual(self.pair.credentials.spki, self.before)
        again = OwnPair(self.folder, NAMES, tls_key_pair, spki_digest, time.time)
        self.assertEqual(again.credentials.spki, self.pair.credentials.spki)

    def test_unwritable(self) -> None:
        """If it cannot be written, the log says so, the old one stays in use, and it is tried again."""
        self.now += (CERTIFICATE_DAYS - 80) * DAY
        moved = self.folder.rename(self.folder.with_name("moved"))
        with capturedLogs() as events:
            self.assertFalse(self.pair.look())
        self.assertIn("was not made anew", str(formatEvent(events[0])))
        self.assertRaises(StateError, self.pair.rotate)
        self.assertEqual(self.pair.credentials.spki, self.before)
        moved.rename(self.folder)
        self.assertTrue(self.pair.look())

    def test_rotated(self) -> None:
        """It is made anew when the operator wants it, and is private."""
        self.pair.rotate()
        self.assertNotEqual(self.pair.credentials.spki, self.before)
        for name in (TLS_CERTIFICATE, TLS_KEY):
            self.assertEqual((self.folder / name).stat().st_mode & 0o777, 0o600)


class IssuedCertificateTests(SynchronousTestCase):
    """The operator brings one."""

    def setUp(self) -> None:
        """Write a pair."""
        self.folder = scratch(self) / "thing"
        self.folder.mkdir()
        key, certificate = tls_key_pair(["localhost"], days=9)
        self.key, self.certificate = self.folder / "key", self.folder / "certificate"
        self.key.write_bytes(key)
        self.certificate.write_bytes(certificate)

    def complaint(self) -> str:
        """What is said of the pair."""
        with self.assertRaises(StateError) as caught:
            load_credentials(self.certificate, self.key, spki_digest)
        return str(caught.exception)

    def test_good(self) -> None:
        """A pair that fits is taken."""
        load_credentials(self.certificate, self.key, spki_digest)

    def test_missing(self) -> None:
        """A file that is not there is named."""
        self.key.unlink()
        self.assertIn(f"{self.key} cannot be read", self.complaint())

    def test_swapped(self) -> None:
        """Files that were swapped, are empty, or do not belong together are no pair."""
        self.certificate, self.key = self.key, self.certificate
        self.assertIn("not a certificate and its private key", self.complaint())
        self.certificate, self.key = self.key, self.certificate
        self.key.write_bytes(tls_key_pair(["localhost"], days=9)[0])
        self.assertIn("not a certificate and its private key", self.complaint())
        self.key.write_bytes(b"")
        self.assertIn("not a certificate and its private key", self.complaint())


class IssuedPairTests(SynchronousTestCase):
    """An issued pair that is replaced while the daemon runs."""

    def setUp(self) -> None:
        """One is in use."""
        folder = scratch(self)
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.write()
        self.credentials = load_credentials(self.certificate, self.key, spki_digest)
        self.now = time.time()
        self.pair = IssuedPair(self.credentials, spki_digest, lambda: self.now)
        self.before = self.credentials.spki

    def write(self, days: int = 90, *, only: str = "", chain: bytes = b"") -> None:
        """Write another pair, or one file of it."""
        key, certificate = tls_key_pair(NAMES, days=days)
        if only != "certificate":
            self.key.write_bytes(key)
        if only != "key":
            self.certificate.write_bytes(certificate + chain)

    def test_replaced(self) -> None:
        """Another pair is used by connections that come later; without a change nothing happens."""
        self.assertFalse(self.pair.look())
        self.write()
        self.assertTrue(self.pair.look())
        self.assertNotEqual(self.credentials.spki, self.before)
        self.assertFalse(self.pair.look())

    def test_bad(self) -> None:
        """Half a pair, none, an expired one, or a chain out of order leaves the one that is there; once, until it changes."""
        _, stranger = tls_key_pair(["other.example"], days=90)
        bad: list[Callable[[], object]] = [
            lambda: self.write(only="key"),
            lambda: self.certificate.write_bytes(b"nothing"),
            self.key.unlink,
            lambda: self.write(days=1),
            lambda: self.write(chain=stranger),
        ]
        for make in bad:
            make()
            self.now = time.time() + (2 * DAY if make is bad[3] else 0)
            self.assertFalse(self.pair.look())
            self.assertEqual(self.credentials.spki, self.before)
            self.assertFalse(self.pair.look())
        self.assertEqual(self.pair.refused, len(bad))
        self.write()
        self.assertTrue(self.pair.look())

    def test_warned(self) -> None:
        """In the last 14 days the log says once a day that it expires, until it is replaced, also if the clock is set back."""
        said = 0
        for days, lines in ((75.9, 0), (76.1, 1), (77, 1), (77.2, 2), (60, 2), (76.5, 3), (91, 4)):
            self.now = time.time() + days * DAY
            with capturedLogs() as events:
                self.pair.warn()
            said += len(events)
            self.assertEqual(said, lines, days)
        self.assertIn(str(self.certificate), str(formatEvent(events[0])))
        self.write(200)
        self.assertTrue(self.pair.look())
        with capturedLogs() as events:
            self.now += 2 * DAY
            self.pair.warn()
        self.assertEqual(events, [])

    def test_strange(self) -> None:
        """A request behind it, a passphrase, a pipe, and one that is not valid yet are refused, too, and nobody is asked."""
        request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        self.write(chain=request)
        self.assertTrue(self.pair.look())
        self.before = self.credentials.spki
        self.key.write_bytes(self.key.read_bytes().replace(b"PRIVATE", b"ENCRYPTED PRIVATE"))
        self.assertFalse(self.pair.look())
        self.certificate.unlink()
        os.mkfifo(self.certificate)
        self.assertFalse(self.pair.look())
        self.certificate.unlink()
        self.write()
        self.now -= 2 * DAY
        self.assertFalse(self.pair.look())
        self.assertEqual((self.credentials.spki, self.pair.refused), (self.before, 3))

    def test_passing(self) -> None:
        """Where no file could be opened, the same files are looked at again."""
        self.write()
        read = Path.read_bytes
        self.patch(Path, "read_bytes", lambda path: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many")))
        self.assertFalse(self.pair.look())
        self.patch(Path, "read_bytes", read)
        self.assertTrue(self.pair.look())

    def test_other_files(self) -> None:
        """The configuration may name other files."""
        certificate, key = self.certificate.with_name("c2"), self.key.with_name("k2")
        certificate.write_bytes(self.certificate.read_bytes())
        key.write_bytes(self.key.read_bytes())
        self.assertTrue(self.pair.reload(certificate, key))
        self.assertEqual(self.credentials.files, (certificate, key))

    def test_other_files_bad(self) -> None:
        """Other files that are bad are looked at again, and not those of before."""
        certificate, key = self.certificate.with_name("c2"), self.key.with_name("k2")
        certificate.write_bytes(self.certificate.read_bytes())
        key.write_bytes(b"no key")
        self.assertFalse(self.pair.reload(certificate, key))
        key.write_bytes(self.key.read_bytes())
        self.assertTrue(self.pair.look())
