"""Input of C{send}."""

from __future__ import annotations

import io
import os
import sys

import click
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.compose import checked
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.send import MAX_NAMES, MessageId, Peers, given_text, id_of, read_text
from securemsg.protocol.messages import MAX_TEXT


class Pipe(io.BytesIO):
    """Standard input that remembers how much was read of it."""

    def isatty(self) -> bool:
        """Not a terminal."""
        return False


class TextTests(SynchronousTestCase):
    """From standard input or the command line."""

    def test_line_end(self) -> None:
        """One line end at the end is dropped, and no more."""
        expected = {b"hi\n": "hi", b"hi\r\n": "hi", b"hi": "hi", b"a\n\n": "a\n", b" a ": " a ", b"\n\n": "\n", b"a\r": "a\r"}
        for data, text in expected.items():
            self.assertEqual(read_text(Pipe(data)), text)

    def test_dash(self) -> None:
        """A hyphen stands for standard input, as everywhere."""
        for text in (None, "-"):
            self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped\n")))
            self.assertEqual(given_text(text), "piped")
        self.assertEqual(given_text("--"), "--")

    def test_other_locale(self) -> None:
        """The bytes of an argument are UTF-8, whatever the locale has made of them."""
        self.patch(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
        self.assertEqual(given_text("für".encode().decode("ascii", "surrogateescape")), "für")
        error = self.assertRaises(SecuremsgError, given_text, b"f\xfcr".decode("ascii", "surrogateescape"))
        self.assertEqual(error.code, "not-utf8")

    def test_longest(self) -> None:
        """48 KiB are accepted, with or without a final line end."""
        for end in (b"", b"\n", b"\r\n"):
            self.assertEqual(len(read_text(Pipe(b"x" * MAX_TEXT + end))), MAX_TEXT)
        self.assertEqual(checked("ü" * (MAX_TEXT // 2)), "ü" * (MAX_TEXT // 2))

    def test_too_long(self) -> None:
        """A byte more is refused, and an endless input is not read to its end."""
        for end in (b"", b"\n"):
            problem = self.assertRaises(SecuremsgError, read_text, Pipe(b"x" * (MAX_TEXT + 1) + end))
            self.assertEqual((problem.status, problem.code), (Exit.REFUSED, "too-large"))
        pipe = Pipe(b"x" * 10 * MAX_TEXT)
        self.assertRaises(SecuremsgError, read_text, pipe)
        self.assertLess(pipe.tell(), MAX_TEXT + 10)
        self.assertRaises(SecuremsgError, checked, "ü" * (MAX_TEXT // 2 + 1))

    def test_not_text(self) -> None:
        """Text that is not UTF-8 is refused, from an argument or standard input."""
        for problem in (
            self.assertRaises(SecuremsgError, read_text, Pipe(b"\xff")),
            self.assertRaises(SecuremsgError, checked, "a\udcff"),
        ):
            self.assertEqual((problem.status, problem.code), (Exit.USAGE, "not-utf8"))

    def test_nothing(self) -> None:
        """
        An empty text is none, in an argument or on standard input, where a line end alone counts as none; so does an input
        that is not there.
        """
        for stream in (Pipe(b""), Pipe(b"\n"), Pipe(b"\r\n")):
            self.assertEqual(self.assertRaises(SecuremsgError, read_text, stream).code, "no-text")
        problem = self.assertRaises(SecuremsgError, checked, "")
        self.assertEqual((problem.status, problem.code), (Exit.USAGE, "no-text"))


class IdTests(SynchronousTestCase):
    """C{--id}."""

    def test_hex(self) -> None:
        """32 hex digits, in either case, and nothing else."""
        option = MessageId()
        self.assertEqual(option.convert("aB" * 16, None, None), b"\xab" * 16)
        for text in ("", "ab", "ab" * 17, "zz" * 16, "ab " * 16, "0x" + "a" * 30):
            self.assertRaises(click.BadParameter, option.convert, text, None, None)


class PeersTests(SynchronousTestCase):
    """Whom it goes to."""

    def test_names(self) -> None:
        """One name, or several with commas between; too many, or one that is none, are refused."""
        option = Peers()
        self.assertEqual(option.convert("bob", None, None), ("bob",))
        self.assertEqual(option.convert("bob,#team", None, None), ("bob", "#team"))
        self.assertRaises(click.BadParameter, option.convert, ",".join(["bob"] * (MAX_NAMES + 1)), None, None)
        for text in ("bob,", ",", "bob,,carol", "bob, carol"):
            self.assertRaises(SecuremsgError, option.convert, text, None, None)

    def test_ids(self) -> None:
        """With the same id, each gets the same id of its own again."""
        ids = [id_of(name, given) for name in ("bob", "carol") for given in (bytes(16), bytes(15) + b"\1")]
        self.assertEqual((len(set(ids)), {len(each or b"") for each in ids}), (4, {16}))
        self.assertEqual(id_of("bob", bytes(16)), ids[0])
        self.assertIsNone(id_of("bob", None))
