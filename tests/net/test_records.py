"""Tests of L{securemsg.net.records}: both ways to read and write, and the choice between them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import spki_digest
from securemsg.net.records import PLAIN, RECORD_SIZE, Records, choose_records, direct_records
from securemsg.net.tls import ServerCredentials, _test_handshake
from tests.net.fakes import key_files


def make_pair() -> tuple[SSL.Connection, SSL.Connection]:
    """Two ends in memory."""
    return _test_handshake(ServerCredentials(*key_files(), spki_digest)._context)


class RecordTests(SynchronousTestCase):
    """Both ways do the same."""

    def test_same(self) -> None:
        """Records, their absence, an end, and bytes that no key fits."""
        for records in (PLAIN, direct_records(SSL)):
            one, other = make_pair()
            self.assertRaises(SSL.WantReadError, records.read, other)
            self.assertEqual(records.write(one, bytes(RECORD_SIZE)), RECORD_SIZE)
            other.bio_write(one.bio_read(2 * RECORD_SIZE))
            self.assertEqual(records.read(other), bytes(RECORD_SIZE))
            one.shutdown()
            other.bio_write(one.bio_read(1000))
            self.assertRaises(SSL.ZeroReturnError, records.read, other)
            one.bio_write(b"\x17\x03\x03\x00\x20" + bytes(32))
            caught = self.assertRaises(SSL.Error, records.read, one)
            self.assertTrue(caught.args[0])
            # Nothing is left over for the next connection.
            self.assertRaises(SSL.WantReadError, records.read, make_pair()[0])

    def test_write_fails(self) -> None:
        """What cannot be written is an error of either."""
        for records in (PLAIN, direct_records(SSL)):
            one, _ = make_pair()
            one.shutdown()
            self.assertRaises(SSL.Error, records.write, one, b"late")


class ChoiceTests(SynchronousTestCase):
    """OpenSSL's own functions, as long as they are what we take them for."""

    def test_direct(self) -> None:
        """They are used."""
        self.assertIsNot(choose_records(SSL, *make_pair()), PLAIN)

    def test_other_names(self) -> None:
        """Where they are missing, pyOpenSSL's way remains."""
        self.assertIs(choose_records(SimpleNamespace(), *make_pair()), PLAIN)

    def test_other_behaviour(self) -> None:
        """The same where they do something else, whatever it is."""
        lib = SSL._lib  # type: ignore[attr-defined]

        def choose(**other: Any) -> Records:
            """A choice, with some functions replaced."""
            functions = {"SSL_read": lib.SSL_read, "SSL_write": lib.SSL_write, **other}
            return choose_records(SimpleNamespace(_ffi=SSL._ffi, _lib=SimpleNamespace(**functions)), *make_pair())  # type: ignore[attr-defined]

        self.assertIsNot(choose(), PLAIN)
        self.assertIs(choose(SSL_write=lambda ssl, data, size: 0), PLAIN)
        self.assertIs(choose(SSL_write=lambda ssl, data, size: size), PLAIN)
        self.assertIs(choose(SSL_write=lambda ssl, data, size: lib.SSL_write(ssl, data, size) - 1), PLAIN)
        self.assertIs(choose(SSL_write=lambda ssl, data, size: lib.SSL_write(ssl, data, size) + 1), PLAIN)
        self.assertIs(choose(SSL_read=lambda ssl, buffer, size: size), PLAIN)
        self.assertIs(choose(SSL_read=lambda ssl, buffer, size: lib.SSL_read(ssl, buffer, size) - 1), PLAIN)
        self.assertIs(choose(SSL_read=lambda ssl, buffer, size: max(lib.SSL_read(ssl, buffer, size), 1)), PLAIN)
